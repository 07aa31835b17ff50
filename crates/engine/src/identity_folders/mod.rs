//! The identities of sandboxes: each sandbox of a route with an identity has a folder of its own with
//! the route's, which is renewed before it ends and withdrawn when it does not hold any more.
//!
//! Nothing of an identity is kept but in those folders. Routes without one never come here.

mod held;
mod route;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picasso_sandbox::Sandbox;
use picasso_store::Changed;
use picasso_types::{Clock, Failure, ProjectId, RouteId};

pub(crate) use held::HeldIdentity;

use crate::call_events::End;
use crate::identities::{FunctionIdentity, Identities, IdentityRefusal};
use crate::slot;
use crate::target::Target;
use route::RouteIdentity;

/// How long an identity is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often an identity is asked for anew because its route changed meanwhile.
const ATTEMPTS: u32 = 5;

/// The identities of all sandboxes of an engine.
#[derive(Debug)]
pub(crate) struct IdentityFolders {
    identities: Option<Arc<dyn Identities>>,
    sandbox: Arc<dyn Sandbox>,
    clock: Arc<dyn Clock>,
    /// Routes of which a sandbox has an identity, or is about to.
    routes: Mutex<HashMap<RouteId, Arc<RouteIdentity>>>,
}

/// What a sandbox is started with of its identity. There is no `Debug`: nothing may show it.
pub(crate) struct SandboxIdentity {
    /// Variables of its environment.
    pub(crate) env: Vec<(String, String)>,
    /// Kept as long as the sandbox is there.
    pub(crate) held: Arc<HeldIdentity>,
}

impl IdentityFolders {
    pub(crate) fn new(
        identities: Option<Arc<dyn Identities>>,
        sandbox: Arc<dyn Sandbox>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self { identities, sandbox, clock, routes: Mutex::default() })
    }

    /// The identity of a sandbox that is about to be started for a route that has one; `None` where it
    /// was taken from the route meanwhile. Else how the start ends: it never goes on without.
    pub(crate) async fn of_sandbox(
        self: &Arc<Self>,
        target: &Target,
    ) -> Result<Option<SandboxIdentity>, End> {
        let Some(identities) = &self.identities else {
            return Err(unavailable("this server gives functions no identities".to_owned()));
        };
        let asking = self.enter(target);
        for _ in 0..ATTEMPTS {
            let changes = asking.0.changes();
            let identity = match ask(&**identities, &asking.0.project, &asking.0.route).await {
                Ok(Some(identity)) => identity,
                Ok(None) => return Ok(None),
                Err(refusal) => return Err(end_of(&refusal)),
            };
            let folder = self
                .sandbox
                .make_identity_folder()
                .await
                .map_err(|error| slot::end_of_driver_error(&error, &asking.0.route))?;
            if let Err(error) = folder.replace(&identity.files) {
                tracing::error!(route = %asking.0.route, %error, "an identity could not be written");
                return Err(End { may_repeat: true, ..End::of(Failure::Internal) });
            }
            let held = asking.0.held(folder, &identity.env);
            if asking.0.add(&held, changes, identity.renew_at) {
                return Ok(Some(SandboxIdentity { env: identity.env, held }));
            }
        }
        Err(End { may_repeat: true, ..unavailable("it changes too often".to_owned()) })
    }

    /// Routes have changed: whether their identities still hold is asked at once.
    pub(crate) fn changed(&self, changed: &Changed) {
        for route in self.lock().values() {
            let concerns = match changed {
                Changed::Apps(apps) => apps.contains(&route.app),
                Changed::Anything => true,
            };
            if concerns {
                route.note_change();
            }
        }
    }

    /// How many routes are looked after.
    #[cfg(test)]
    pub(crate) fn routes(&self) -> usize {
        self.lock().len()
    }

    /// The target's route, which is looked after from now on.
    fn enter(self: &Arc<Self>, target: &Target) -> Asking {
        let mut routes = self.lock();
        let id = &target.route.id;
        let route = routes.entry(id.clone()).or_insert_with(|| {
            let project = target.app.project_id.clone();
            let route = Arc::new(RouteIdentity::new(project, target.app.id.clone(), id.clone()));
            tokio::spawn(route::look_after(self.clone(), route.clone()));
            route
        });
        route.enter();
        Asking(route.clone())
    }

    /// Forgets a route that no sandbox needs; whether it did.
    fn forget_unused(&self, route: &RouteIdentity) -> bool {
        let mut routes = self.lock();
        let unused = route.is_unused();
        if unused {
            routes.remove(&route.route);
        }
        unused
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RouteId, Arc<RouteIdentity>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sandbox that is about to be started keeps its route looked after.
struct Asking(Arc<RouteIdentity>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Asks for an identity, which answers in time or is not to be had.
async fn ask(
    identities: &dyn Identities,
    project: &ProjectId,
    route: &RouteId,
) -> Result<Option<FunctionIdentity>, IdentityRefusal> {
    match tokio::time::timeout(PATIENCE, identities.of_route(project, route)).await {
        Ok(answer) => answer,
        Err(_) => Err(IdentityRefusal::Unavailable),
    }
}

/// How calls end whose sandbox gets no identity.
fn end_of(refusal: &IdentityRefusal) -> End {
    match refusal {
        IdentityRefusal::Suspended => End::of(Failure::IdentitySuspended),
        IdentityRefusal::Refused(_) => unavailable(refusal.to_string()),
        IdentityRefusal::Unavailable => End { may_repeat: true, ..unavailable(refusal.to_string()) },
    }
}

fn unavailable(reason: String) -> End {
    End::of(Failure::IdentityUnavailable { reason })
}
