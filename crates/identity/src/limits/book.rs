//! The book of what Keystone said of each project, and until when it counts. Does no I/O; what time
//! it is, it is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use picasso_types::{ProjectId, ProjectLimits};

/// Entries of projects, of a bounded number of them.
#[derive(Debug)]
pub(super) struct Book {
    capacity: usize,
    entries: Mutex<HashMap<ProjectId, (Instant, Arc<Entry>)>>,
}

/// What is known of one project.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Held by the one that asks Keystone.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    limits: Arc<ProjectLimits>,
    /// When Keystone said it; `None` for the settings' limits.
    said: Option<Instant>,
    fresh_until: Instant,
}

impl Book {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), entries: Mutex::default() }
    }

    /// The project's entry; where there are too many, the half that was not used for longest goes.
    pub(super) fn entry(&self, project: &ProjectId, now: Instant) -> Arc<Entry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((used, entry)) = entries.get_mut(project) {
            *used = now;
            return Arc::clone(entry);
        }
        if entries.len() >= self.capacity {
            let mut by_use: Vec<_> =
                entries.iter().map(|(project, (used, _))| (*used, project.clone())).collect();
            by_use.sort_unstable_by_key(|(used, _)| *used);
            for (_, project) in by_use.iter().take(by_use.len().div_ceil(2)) {
                entries.remove(project);
            }
        }
        let entry = Arc::<Entry>::default();
        entries.insert(project.clone(), (now, Arc::clone(&entry)));
        entry
    }
}

impl Entry {
    fn known(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limits, where nobody needs to be asked.
    pub(super) fn fresh(&self, now: Instant) -> Option<Arc<ProjectLimits>> {
        self.known().as_ref().filter(|known| now < known.fresh_until).map(|known| Arc::clone(&known.limits))
    }

    /// The limits, however old.
    pub(super) fn last(&self) -> Option<Arc<ProjectLimits>> {
        self.known().as_ref().map(|known| Arc::clone(&known.limits))
    }

    /// Keystone said `limits`.
    pub(super) fn told(
        &self,
        limits: Arc<ProjectLimits>,
        now: Instant,
        cache_time: Duration,
    ) -> Arc<ProjectLimits> {
        let known = Known { limits: Arc::clone(&limits), said: Some(now), fresh_until: now + cache_time };
        *self.known() = Some(known);
        limits
    }

    /// Keystone said nothing: what it said before counts on, until it is `keep_time` old. Nobody
    /// asks again during `pause`.
    pub(super) fn not_told(
        &self,
        defaults: &Arc<ProjectLimits>,
        now: Instant,
        pause: Duration,
        keep_time: Duration,
    ) -> Arc<ProjectLimits> {
        let mut known = self.known();
        let kept = known.take().filter(|known| known.said.is_some_and(|said| now < said + keep_time));
        let (limits, said) = match kept {
            Some(known) => (known.limits, known.said),
            None => (Arc::clone(defaults), None),
        };
        *known = Some(Known { limits: Arc::clone(&limits), said, fresh_until: now + pause });
        limits
    }
}

#[cfg(test)]
mod tests {
    use picasso_types::{Limit, LimitSource, Resource};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(max: i64) -> Arc<ProjectLimits> {
        Arc::new(ProjectLimits::new(|_| Limit::from_signed(max, LimitSource::Default)))
    }

    fn max(limits: Option<Arc<ProjectLimits>>) -> Option<u64> {
        limits.and_then(|limits| limits.of(Resource::Apps).max)
    }

    #[test]
    fn what_was_said_is_asked_again_after_its_time() {
        let (entry, now) = (Entry::default(), Instant::now());
        assert_eq!(max(entry.fresh(now)), None);
        entry.told(limits(7), now, SECOND * 60);
        assert_eq!(max(entry.fresh(now + SECOND * 59)), Some(7));
        assert_eq!(max(entry.fresh(now + SECOND * 60)), None);
    }

    #[test]
    fn without_an_answer_the_last_one_counts_for_its_time_and_then_the_settings() {
        let (entry, now, defaults) = (Entry::default(), Instant::now(), limits(1));
        let unheard = |at: Duration| max(Some(entry.not_told(&defaults, now + at, SECOND, SECOND * 10)));
        assert_eq!(unheard(Duration::ZERO), Some(1), "nothing was said before");
        entry.told(limits(7), now, SECOND);
        assert_eq!(unheard(SECOND * 9), Some(7));
        assert_eq!(max(entry.fresh(now + SECOND * 9)), Some(7), "nobody asks during the pause");
        assert_eq!(max(entry.fresh(now + SECOND * 10)), None);
        assert_eq!(unheard(SECOND * 10), Some(1));
    }

    #[test]
    fn the_book_forgets_who_has_not_come_for_longest() {
        let (book, now) = (Book::new(4), Instant::now());
        let project = |n: u32| ProjectId::parse(&format!("p{n}")).unwrap();
        let first: Vec<_> = (0..4).map(|n| book.entry(&project(n), now + SECOND * n)).collect();
        book.entry(&project(0), now + SECOND * 5);
        for n in 4..100 {
            book.entry(&project(n), now + SECOND * (n + 2));
            assert!(book.entries.lock().unwrap().len() <= 4);
            let zero = book.entry(&project(0), now + SECOND * (n + 2));
            assert!(Arc::ptr_eq(&zero, &first[0]), "it is used all the time");
        }
    }
}
