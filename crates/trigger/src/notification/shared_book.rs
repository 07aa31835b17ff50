//! The book that all deliveries are looked up in, kept as the database has it.
//!
//! Changes are heard from the catalog. While they are not - the database is away, or the book was not
//! read yet - nobody knows who is subscribed: nothing is taken from the broker then.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use picasso_engine::{Catalog, ChangesFollower};
use picasso_store::{Changed, Store, StoreError};
use picasso_types::trigger::TriggerType;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::book::{Book, Heard, Subscription};

/// Triggers that are read at a time.
const PAGE: u32 = 500;
/// The pause after a failure to read, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The book, and whether it is what the database has.
#[derive(Debug)]
pub(super) struct SharedBook {
    book: RwLock<Book>,
    is_fresh: watch::Sender<bool>,
    changes: watch::Sender<u64>,
}

impl SharedBook {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            book: RwLock::default(),
            is_fresh: watch::Sender::new(false),
            changes: watch::Sender::new(0),
        })
    }

    /// Tells when the book begins and ceases to be fresh.
    pub(super) fn freshness(&self) -> watch::Receiver<bool> {
        self.is_fresh.subscribe()
    }

    /// Counts how often it was read or changed.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn subscribed(&self, heard: Heard<'_>) -> Vec<Subscription> {
        self.book.read().unwrap_or_else(PoisonError::into_inner).subscribed(heard)
    }

    fn change(&self, change: impl FnOnce(&mut Book)) {
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut book);
        #[expect(clippy::cast_precision_loss, reason = "a gauge of how many there are")]
        metrics::gauge!("picasso_notification_subscriptions").set(book.len() as f64);
        drop(book);
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn set_fresh(&self, is_fresh: bool) {
        self.is_fresh.send_if_modified(|was| std::mem::replace(was, is_fresh) != is_fresh);
    }

    /// Keeps it as the database has it, until `stopping`.
    pub(super) async fn keep(
        self: Arc<Self>,
        store: Arc<dyn Store>,
        catalog: Arc<Catalog>,
        stopping: CancellationToken,
    ) {
        let following = async {
            // Before the first look: what is changed during it is read again.
            let mut changes = catalog.follow();
            let mut away = catalog.away();
            loop {
                self.read(store.as_ref()).await;
                self.set_fresh(true);
                if self.follow(store.as_ref(), &mut changes, &mut away).await.is_none() {
                    return;
                }
            }
        };
        tokio::select! {
            () = following => {}
            () = stopping.cancelled() => {}
        }
        self.set_fresh(false);
    }

    /// Reads all triggers, however long the database takes.
    async fn read(&self, store: &dyn Store) {
        let mut pause = PAUSES.0;
        loop {
            let error = match read_all(store).await {
                Ok(book) => return self.change(|current| *current = book),
                Err(error) => error,
            };
            self.set_fresh(false);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "subscriptions to notifications cannot be read; notifications wait"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Takes in changes until everything is to be read again; `None` when the catalog is gone.
    async fn follow(
        &self,
        store: &dyn Store,
        changes: &mut ChangesFollower,
        away: &mut watch::Receiver<bool>,
    ) -> Option<()> {
        loop {
            let apps = tokio::select! {
                // First what was changed, then that the database is back: the catalog tells it so.
                biased;
                heard = changes.next() => match heard? {
                    Changed::Anything => return Some(()),
                    Changed::Apps(apps) => apps,
                },
                gone = away.changed() => {
                    gone.ok()?;
                    let is_away = *away.borrow_and_update();
                    self.set_fresh(!is_away);
                    continue;
                }
            };
            for app in apps {
                match store.list_triggers_of_app(&app).await {
                    Ok(triggers) => self.change(|book| book.replace(&app, triggers)),
                    Err(error) => {
                        self.set_fresh(false);
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "changed subscriptions to notifications cannot be read"
                        );
                        return Some(());
                    }
                }
            }
        }
    }
}

async fn read_all(store: &dyn Store) -> Result<Book, StoreError> {
    let mut all = Vec::new();
    loop {
        let after = all.last().map(|trigger: &picasso_types::trigger::Trigger| trigger.id.clone());
        let page = store.list_triggers_of_kind(TriggerType::Notification, after.as_ref(), PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        all.extend(page);
        if is_last {
            return Ok(Book::of(all));
        }
    }
}
