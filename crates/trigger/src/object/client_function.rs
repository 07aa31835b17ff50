//! The function that the client of Swift named in a header of its request (`X-Function-URL`).

use picasso_types::{FullName, ProjectId};

/// A function that may be meant: whether it is there, the catalog knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClientFunction {
    /// One that everybody may call: `…/r/{app}/{route}`.
    Public { app: FullName, path: String },
    /// One of the project of the client's own token: `…/v1/r/{project}/{app}/{route}`.
    Private { project: ProjectId, app: String, path: String },
}

impl ClientFunction {
    /// The function at a URL, for a client whose token is of the project `own`. Private functions of
    /// other projects count as not named.
    pub(super) fn read(url: &str, own: Option<&str>) -> Option<Self> {
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
        if app.is_empty() {
            return None;
        }
        let path = format!("/{route}");
        match project {
            None => Some(Self::Public { app: FullName::parse(app).ok()?, path }),
            Some(project) if own == Some(project.as_str()) => {
                Some(Self::Private { project, app: app.to_owned(), path })
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_url_says_its_project_app_and_path() {
        let of = |url| ClientFunction::read(url, Some("p1"));
        let public = ClientFunction::Public {
            app: FullName::parse("img-0123456789ab").unwrap(),
            path: "/resize".to_owned(),
        };
        let private = ClientFunction::Private {
            project: ProjectId::parse("p1").unwrap(),
            app: "img".to_owned(),
            path: "/a/b".to_owned(),
        };
        assert_eq!(of("http://p:10001/r/img-0123456789ab/resize"), Some(public));
        assert_eq!(of("https://p/v1/r/p1/img/a/b?x=1"), Some(private));
        for none in ["http://p:10001/", "http://p/f/img/x", "img/resize", "http://p/r/"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn a_private_function_is_the_clients_own_projects_alone() {
        let url = "https://p/v1/r/p1/img/a";
        assert!(ClientFunction::read(url, Some("p1")).is_some());
        assert_eq!(ClientFunction::read(url, Some("p2")), None);
        assert_eq!(ClientFunction::read(url, None), None);
    }
}
