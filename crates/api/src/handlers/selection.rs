//! Which version of a function one request runs: the active one, one by number, or one that an alias
//! draws - always the same for one client where the alias says what tells clients apart.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use picasso_engine::{AliasTargets, Selected, Target};
use picasso_types::{Sticky, random};

/// What one request runs.
pub(super) struct Drawn {
    pub(super) target: Arc<Target>,
    /// What its caller is to send with the next ones, so that they run the same.
    pub(super) cookie: Option<NewCookie>,
}

/// A cookie that a client has not yet.
pub(super) struct NewCookie {
    name: String,
    value: String,
}

/// Draws the version for a request. A client that has no cookie yet gets one where `may_set_cookie`.
/// `None` when the version went this very moment.
pub(super) fn draw(selected: &Selected, headers: &HeaderMap, may_set_cookie: bool) -> Option<Drawn> {
    let alias = match selected {
        Selected::Version(target) => return Some(Drawn { target: target.clone(), cookie: None }),
        Selected::Alias(alias) => alias,
    };
    let given = alias.alias.spec.sticky.as_ref().and_then(|sticky| key(sticky, headers));
    match (&alias.alias.spec.sticky, given) {
        (Some(Sticky::Cookie(name)), None) if may_set_cookie => with_new_cookie(alias, name),
        (_, given) => Some(Drawn { target: alias.draw(given)?, cookie: None }),
    }
}

fn with_new_cookie(alias: &AliasTargets, name: &str) -> Option<Drawn> {
    let value = random::uuid();
    let target = alias.draw(Some(value.as_bytes()))?;
    Some(Drawn { target, cookie: Some(NewCookie { name: name.to_owned(), value }) })
}

/// What tells the client apart; `None` where it says nothing.
fn key<'a>(sticky: &Sticky, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    let value = match sticky {
        Sticky::Header(name) => headers.get(HeaderName::from_bytes(name.as_bytes()).ok()?)?.as_bytes(),
        Sticky::Cookie(name) => {
            headers.get_all(header::COOKIE).iter().find_map(|value| cookie(value, name))?
        }
    };
    (!value.is_empty()).then_some(value)
}

fn cookie<'a>(value: &'a HeaderValue, name: &str) -> Option<&'a [u8]> {
    value.as_bytes().split(|byte| *byte == b';').find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        (pair[..at].trim_ascii() == name.as_bytes()).then(|| pair[at + 1..].trim_ascii())
    })
}

impl NewCookie {
    /// `Set-Cookie` for the function URLs of `app`, written as in the URL: other functions of the
    /// listener do not get it, nor do scripts.
    pub(super) fn header(&self, app: &str, secure: bool) -> Option<HeaderValue> {
        let secure = if secure { "; Secure" } else { "" };
        let text = format!("{}={}; Path=/f/{app}; HttpOnly; SameSite=Lax{secure}", self.name, self.value);
        HeaderValue::from_str(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_client_is_known_by_its_header_or_its_cookie() {
        let sent = headers(&[
            ("x-user", "ann"),
            ("x-empty", ""),
            ("cookie", "a=1; who= bob ;b=2"),
            ("cookie", "c=3"),
        ]);
        let by = |sticky| key(&sticky, &sent).map(|value| std::str::from_utf8(value).unwrap());
        assert_eq!(by(Sticky::Header("x-user".to_owned())), Some("ann"));
        assert_eq!(by(Sticky::Header("x-empty".to_owned())), None);
        assert_eq!(by(Sticky::Header("x-none".to_owned())), None);
        for (name, value) in
            [("a", Some("1")), ("who", Some("bob")), ("c", Some("3")), ("ho", None), ("Who", None)]
        {
            assert_eq!(by(Sticky::Cookie(name.to_owned())), value, "{name}");
        }
    }

    #[test]
    fn a_new_cookie_is_for_one_alias_and_not_for_scripts() {
        let cookie = NewCookie { name: "who".to_owned(), value: "1".to_owned() };
        let set = |secure| cookie.header("app-1@live", secure).unwrap();
        assert_eq!(set(false), "who=1; Path=/f/app-1@live; HttpOnly; SameSite=Lax");
        assert_eq!(set(true), "who=1; Path=/f/app-1@live; HttpOnly; SameSite=Lax; Secure");
    }
}
