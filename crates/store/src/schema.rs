//! What a database says of its schema, held against what this binary needs.

use sqlx::migrate::Migrator;

use crate::StoreError;

/// Version and checksum of an applied migration.
pub(crate) type Applied = (i64, Vec<u8>);

/// Whether exactly the migrator's migrations were applied; `applied` is in order of versions.
pub(crate) fn is_current(migrator: &Migrator, applied: &[Applied]) -> bool {
    applied.len() == migrator.iter().count()
        && migrator
            .iter()
            .zip(applied)
            .all(|(needed, (version, checksum))| needed.version == *version && *needed.checksum == **checksum)
}

pub(crate) fn mismatch(migrator: &Migrator, applied: &[Applied]) -> StoreError {
    let needed = migrator.iter().map(|m| m.version).max().unwrap_or_default();
    let found = match applied.last() {
        None => "empty".to_owned(),
        Some((version, _)) if *version == needed => format!("version {version} of another build"),
        Some((version, _)) => format!("version {version}"),
    };
    StoreError::SchemaMismatch { found, needed: format!("version {needed}") }
}
