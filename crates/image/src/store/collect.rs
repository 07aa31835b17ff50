//! Removing what nothing needs: blobs, records and unpacked layers.

use std::collections::HashSet;

use picasso_types::Digest;

use super::ImageStore;
use crate::{ImageError, Scope};

impl ImageStore {
    /// Removes blobs and layers of images without a name that `referenced` (the digests that
    /// versions pin) does not list either. An image younger than the grace time stays: its
    /// version may be in the making.
    pub async fn collect(&self, referenced: &[Digest]) -> Result<(), ImageError> {
        let referenced: HashSet<&Digest> = referenced.iter().collect();
        let failed = || ImageError::failed("removing unused images");
        let doubtful = {
            let _writer = self.0.writer.lock().await;
            self.revoke(&referenced).map_err(failed())?;
            self.remove_unreachable().map_err(failed())?;
            self.0.disk.doubtful_layers().map_err(failed())?
        };
        self.drop_layers(doubtful.into_iter().collect()).await;
        Ok(())
    }

    /// Takes back the right to images that a scope neither names nor uses.
    fn revoke(&self, referenced: &HashSet<&Digest>) -> std::io::Result<()> {
        let now = self.0.settings.clock.now();
        let grace = i64::try_from(self.0.settings.collect_grace.as_micros()).unwrap_or(i64::MAX);
        let scopes: Vec<Scope> = self.read_state().scopes.keys().cloned().collect();
        for scope in scopes {
            let mut index = self.read_state().scope(&scope);
            let before = index.granted.len();
            let named: HashSet<Digest> = index.names.values().map(|entry| entry.digest.clone()).collect();
            index.granted.retain(|digest, since| {
                named.contains(digest) || referenced.contains(digest) || now.since(*since) < grace
            });
            if index.granted.len() < before {
                self.0.disk.save_scope(&scope, &index)?;
                self.write_state().scopes.insert(scope, index);
            }
        }
        Ok(())
    }

    fn remove_unreachable(&self) -> std::io::Result<()> {
        let disk = &self.0.disk;
        let dead: Vec<_> = {
            let state = self.read_state();
            let granted: HashSet<&Digest> =
                state.scopes.values().flat_map(|scope| scope.granted.keys()).collect();
            state
                .records
                .iter()
                .filter(|(digest, _)| !granted.contains(digest))
                .map(|(_, r)| r.clone())
                .collect()
        };
        for record in dead {
            record.diff_ids().try_for_each(|diff_id| disk.doubt_layer(diff_id))?;
            disk.remove_record(&record.manifest.digest)?;
            self.write_state().records.remove(&record.manifest.digest);
            self.proven().remove(&record.manifest.digest);
        }
        let needed: HashSet<Digest> = self
            .read_state()
            .records
            .values()
            .flat_map(|record| record.blobs().map(|blob| blob.digest.clone()).collect::<Vec<_>>())
            .collect();
        for digest in disk.blobs()? {
            if !needed.contains(&digest) && !self.0.pins.holds(&digest) {
                disk.remove_blob(&digest)?;
            }
        }
        Ok(())
    }

    /// Removes unpacked layers that no image needs. A failure is logged and left for the next
    /// collection: the layer stays doubtful.
    pub(super) async fn drop_layers(&self, diff_ids: Vec<Digest>) {
        for diff_id in diff_ids {
            let _nobody_unpacks = self.0.layer_gate.write().await;
            if self.0.pins.holds(&diff_id) {
                continue;
            }
            let removed = if self.read_state().needs_layer(&diff_id) {
                Ok(())
            } else {
                self.0.unpacker.remove(&diff_id).await.map_err(|error| error.to_string())
            };
            let trusted =
                removed.and_then(|()| self.0.disk.trust_layer(&diff_id).map_err(|error| error.to_string()));
            if let Err(error) = trusted {
                tracing::warn!(layer = %diff_id, error, "an unused layer was not removed");
            }
        }
    }
}
