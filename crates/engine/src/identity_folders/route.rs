//! One route whose sandboxes have an identity: one task renews it for all of them, and withdraws it
//! when it does not hold any more. It ends with the last of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use picasso_sandbox::IdentityFolder;
use picasso_types::{AppId, ProjectId, RouteId, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{HeldIdentity, IdentityFolders, ask};
use crate::identities::{FunctionIdentity, IdentityRefusal};

/// The clock is looked at this often: it may be set, and the machine may have slept.
const LOOK: Duration = Duration::from_secs(30);
/// Pause after a renewal that could not be had; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// An identity that could not be had for this time has ended: as long as there is a token that is good
/// for a while, that is what is answered.
const GIVEN_UP: Duration = Duration::from_mins(5);

/// A route whose sandboxes have an identity.
#[derive(Debug)]
pub(super) struct RouteIdentity {
    pub(super) project: ProjectId,
    pub(super) app: AppId,
    pub(super) route: RouteId,
    state: Mutex<State>,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    held: Vec<Weak<HeldIdentity>>,
    /// Sandboxes that are about to be started.
    asking: usize,
    /// How often the route was changed.
    changes: u64,
    /// When the first of what is held is to be renewed.
    renew_at: Option<Timestamp>,
}

impl State {
    fn sandboxes(&mut self) -> Vec<Arc<HeldIdentity>> {
        self.held.retain(|held| held.strong_count() > 0);
        self.held.iter().filter_map(Weak::upgrade).filter(|held| !held.is_withdrawn()).collect()
    }
}

impl RouteIdentity {
    pub(super) fn new(project: ProjectId, app: AppId, route: RouteId) -> Self {
        Self { project, app, route, state: Mutex::default(), wake: Arc::default() }
    }

    pub(super) fn enter(&self) {
        self.lock().asking += 1;
    }

    pub(super) fn leave(&self) {
        self.lock().asking -= 1;
        self.wake();
    }

    /// The identity of a sandbox of this route, whose task hears of its end.
    pub(super) fn held(&self, folder: IdentityFolder, env: &[(String, String)]) -> Arc<HeldIdentity> {
        HeldIdentity::new(folder, env, self.route.clone(), self.wake.clone())
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn is_unused(&self) -> bool {
        let mut state = self.lock();
        state.asking == 0 && state.sandboxes().is_empty()
    }

    pub(super) fn changes(&self) -> u64 {
        self.lock().changes
    }

    pub(super) fn note_change(&self) {
        self.lock().changes += 1;
        self.wake();
    }

    /// A sandbox has got what was answered after so many changes; `false` when there was another since.
    pub(super) fn add(&self, held: &Arc<HeldIdentity>, changes: u64, renew_at: Option<Timestamp>) -> bool {
        let mut state = self.lock();
        if state.changes != changes {
            return false;
        }
        let first = state.sandboxes().is_empty();
        state.held.push(Arc::downgrade(held));
        state.renew_at = if first { renew_at } else { state.renew_at.into_iter().chain(renew_at).min() };
        drop(state);
        self.wake();
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every update leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All sandboxes get what was answered after so many changes; `false` when there was another since.
    fn renew(&self, identity: &FunctionIdentity, changes: u64) -> bool {
        let mut state = self.lock();
        if state.changes != changes {
            return false;
        }
        state.renew_at = identity.renew_at;
        for held in state.sandboxes() {
            if held.differs(&identity.env) {
                tracing::info!(route = %self.route, "a sandbox has variables of an earlier identity and ends");
                held.withdraw();
            } else if let Err(error) = held.renew(&identity.files) {
                tracing::warn!(route = %self.route, %error, "an identity could not be renewed; its sandbox ends");
                held.withdraw();
            }
        }
        true
    }

    /// No sandbox has an identity any more; `false` when there was another change.
    fn withdraw(&self, changes: u64, why: &str) -> bool {
        let mut state = self.lock();
        if state.changes != changes {
            return false;
        }
        state.renew_at = None;
        let sandboxes = state.sandboxes();
        if !sandboxes.is_empty() {
            let count = sandboxes.len();
            tracing::info!(project = %self.project, route = %self.route, sandboxes = count, why,
                "an identity was withdrawn");
        }
        for held in sandboxes {
            held.withdraw();
        }
        true
    }
}

/// When to ask next.
#[derive(Debug)]
struct Plan {
    /// The changes that the last answer knew of.
    asked: u64,
    /// When to ask again after an answer that could not be had.
    retry_at: Option<Instant>,
    pause: Duration,
    /// Since when nothing could be had.
    away_since: Option<Instant>,
}

impl Plan {
    fn new() -> Self {
        Self { asked: 0, retry_at: None, pause: FIRST_PAUSE, away_since: None }
    }

    /// Whether nothing could be had for so long that nothing will.
    fn gives_up(&mut self) -> bool {
        let now = Instant::now();
        now.duration_since(*self.away_since.get_or_insert(now)) >= GIVEN_UP
    }

    fn wait(&self, route: &RouteIdentity, now: Timestamp) -> Duration {
        let state = route.lock();
        if state.changes != self.asked {
            return Duration::ZERO;
        }
        if let Some(retry_at) = self.retry_at {
            return retry_at.saturating_duration_since(Instant::now());
        }
        state.renew_at.map_or(LOOK, |renew_at| {
            Duration::from_micros(u64::try_from(renew_at.since(now)).unwrap_or(0)).min(LOOK)
        })
    }

    fn is_due(&self, route: &RouteIdentity, now: Timestamp) -> bool {
        let state = route.lock();
        state.changes != self.asked
            || match self.retry_at {
                Some(retry_at) => Instant::now() >= retry_at,
                None => state.renew_at.is_some_and(|renew_at| now >= renew_at),
            }
    }

    fn again(&mut self) {
        self.retry_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn done(&mut self) {
        *self = Self { asked: self.asked, ..Self::new() };
    }
}

/// Looks after a route until no sandbox needs it.
pub(super) async fn look_after(folders: Arc<IdentityFolders>, route: Arc<RouteIdentity>) {
    let Some(identities) = folders.identities.clone() else { return };
    let mut plan = Plan::new();
    loop {
        let wait = plan.wait(&route, folders.clock.now());
        tokio::select! {
            () = route.wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
        if folders.forget_unused(&route) {
            return;
        }
        if !plan.is_due(&route, folders.clock.now()) {
            continue;
        }
        let changes = route.changes();
        let answer = ask(&*identities, &route.project, &route.route).await;
        // Where there was another change meanwhile, it is asked again at once.
        plan.asked = changes;
        let counts = match answer {
            Ok(Some(identity)) => {
                let ends_soon = identity.renew_at.is_some_and(|at| at <= folders.clock.now());
                let counts = route.renew(&identity, changes);
                if ends_soon {
                    // Nothing newer is to be had yet.
                    plan.away_since = None;
                    plan.again();
                    continue;
                }
                counts
            }
            Ok(None) => route.withdraw(changes, "the route has none any more"),
            Err(refusal @ IdentityRefusal::Unavailable) if plan.gives_up() => {
                route.withdraw(changes, &refusal.to_string())
            }
            Err(IdentityRefusal::Unavailable) => {
                tracing::warn!(route = %route.route, "an identity cannot be renewed now; its sandboxes keep the old one");
                plan.again();
                continue;
            }
            Err(refusal) => route.withdraw(changes, &refusal.to_string()),
        };
        if counts {
            plan.done();
        }
    }
}
