//! Functions that no trigger names: a subscription in the container's metadata does, or a header of the
//! client's request (`X-Function-URL`).

use std::sync::Arc;

use picasso_engine::{Lookup, Target};
use picasso_store::StoreError;
use picasso_types::trigger::TriggerType;
use picasso_types::{FullName, ProjectId};

use super::{ObjectEvent, ObjectFault, ObjectTriggers};
use crate::event::Event;
use crate::firing::{FireOptions, Order};

/// Events within a minute for one such function.
const MAX_PER_MINUTE: u32 = 600;

impl ObjectEvent {
    /// The project of the function that the client named, where not everybody may call it: the client's
    /// own. Who hands events on has to ask whether the client may, and take `function_url` out otherwise.
    pub fn private_function_of(&self) -> Option<ProjectId> {
        let (project, ..) = function_of(self.function_url.as_deref()?)?;
        project.filter(|project| self.user_project_id.as_deref() == Some(project.as_str()))
    }
}

/// A function, and where it is named.
pub(super) struct Named {
    place: &'static str,
    target: Arc<Target>,
}

impl ObjectTriggers {
    /// The functions that an event in this project names itself.
    pub(super) async fn named_by(
        &self,
        project: &ProjectId,
        change: &ObjectEvent,
    ) -> Result<Vec<Named>, StoreError> {
        let mut named = Vec::new();
        if let Some(subscription) = &change.subscription {
            let path = format!("/{}", subscription.route.trim_start_matches('/'));
            if let Lookup::Found(target, _) =
                self.catalog.lookup(project, &subscription.app, &path, "POST").await?
            {
                named.push(Named { place: "metadata", target });
            }
        }
        if let Some(url) = &change.function_url
            && let Some(target) = self.at_url(url, change).await?
        {
            named.push(Named { place: "header", target });
        }
        Ok(named)
    }

    /// The function at a URL: a public one, or one of the project of the client's token.
    async fn at_url(&self, url: &str, change: &ObjectEvent) -> Result<Option<Arc<Target>>, StoreError> {
        let Some((project, app, path)) = function_of(url) else { return Ok(None) };
        let found = match &project {
            None => {
                let Ok(app) = FullName::parse(&app) else { return Ok(None) };
                self.catalog.lookup_public(&app, &path, "POST").await?
            }
            Some(project) if change.user_project_id.as_deref() == Some(project.as_str()) => {
                self.catalog.lookup(project, &app, &path, "POST").await?
            }
            Some(_) => return Ok(None),
        };
        Ok(match found {
            Lookup::Found(target, _) if project.is_some() || target.route.is_public => Some(target),
            _ => None,
        })
    }

    /// How many calls the event made.
    pub(super) async fn fire_named(
        &self,
        Named { place, target }: Named,
        change: &ObjectEvent,
        event: &Event,
    ) -> Result<usize, ObjectFault> {
        let route = target.route.id.clone();
        if self.is_own(&route, change).await? {
            return Ok(0);
        }
        let key = format!("{place}-{route}");
        if self.caps.is_reached(&key, MAX_PER_MINUTE, self.clock.now()) {
            tracing::warn!(
                project = %target.app.project_id,
                %route,
                "too many events within a minute for a function that Swift's metadata or a header name; passed over"
            );
            return Ok(0);
        }
        let order = Order { key: &key, name: place, kind: TriggerType::Object, target };
        let fired = self.firer.order(order, event, FireOptions::default()).await;
        if let Err(error) = &fired {
            tracing::info!(%route, %error, "an object's change makes no call for a function that Swift's metadata or a header name");
        }
        self.counted(&key, fired)
    }
}

/// The project (of a private one), app and path of a function's URL: `…/r/{app}/{route}` or
/// `…/v1/r/{project}/{app}/{route}`.
fn function_of(url: &str) -> Option<(Option<ProjectId>, String, String)> {
    let (_, rest) = url.split_once("://")?;
    let path = &rest[rest.find('/')?..];
    let path = path.split(['?', '#']).next()?;
    let (project, rest) = match path.strip_prefix("/v1/r/") {
        Some(rest) => {
            let (project, rest) = rest.split_once('/')?;
            (Some(ProjectId::parse(project).ok()?), rest)
        }
        None => (None, path.strip_prefix("/r/")?),
    };
    let (app, route) = rest.split_once('/').unwrap_or((rest, ""));
    (!app.is_empty()).then(|| (project, app.to_owned(), format!("/{route}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_url_says_its_project_app_and_path() {
        let of =
            |url| function_of(url).map(|(project, app, path)| (project.map(|p| p.to_string()), app, path));
        let named = |project: Option<&str>, app: &str, path: &str| {
            Some((project.map(str::to_owned), app.to_owned(), path.to_owned()))
        };
        assert_eq!(of("http://p:10001/r/img/resize"), named(None, "img", "/resize"));
        assert_eq!(of("https://p/v1/r/p1/img/a/b?x=1"), named(Some("p1"), "img", "/a/b"));
        for none in ["http://p:10001/", "http://p/f/img/x", "img/resize", "http://p/r/"] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
