//! `WWW-Authenticate` of registries (RFC 9110 §11.6.1; the token protocol of distribution).

/// How a registry wants us to authenticate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Ask the token service `realm` for a token.
    Bearer { realm: String, service: Option<String> },
    /// Send user name and password.
    Basic,
}

/// Reads one header value; `None` for schemes that are not known here.
pub(super) fn parse(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    Some(Challenge::Bearer { realm: parameter(rest, "realm")?, service: parameter(rest, "service") })
}

/// Values may hold commas inside their quotes (`scope="repository:a:pull,push"`).
fn parameter(mut text: &str, wanted: &str) -> Option<String> {
    loop {
        let (key, rest) = text.trim_start_matches([' ', ',']).split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        if key.trim().eq_ignore_ascii_case(wanted) {
            return Some(value.trim().to_owned());
        }
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_and_basic_challenges_are_read() {
        let header =
            r#"Bearer scope="repository:a/b:pull,push",realm="https://auth.example.org/token",service="reg""#;
        assert_eq!(
            parse(header),
            Some(Challenge::Bearer {
                realm: "https://auth.example.org/token".to_owned(),
                service: Some("reg".to_owned())
            })
        );
        assert_eq!(parse(r#"Basic realm="x""#), Some(Challenge::Basic));
        assert_eq!(parse("Negotiate"), None);
        assert_eq!(parse("Bearer nonsense"), None);
        assert_eq!(parse(r#"Bearer realm="unclosed"#), None);
    }
}
