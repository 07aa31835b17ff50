//! The query of a URL: known fields, each at most once, each fault named by its field.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use picasso_types::FieldFault;

/// The fields of a query.
#[derive(Debug)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads a query that may have the `known` fields.
    pub(crate) fn parse(query: Option<&str>, known: &'static [&'static str]) -> Result<Self, FieldFault> {
        let mut fields: Vec<(&'static str, String)> = Vec::new();
        for (name, value) in pairs(query)? {
            let Some(name) = known.iter().find(|known| **known == name) else {
                let allowed = known.join(", ");
                let name: String = name.chars().take(64).collect();
                return Err(FieldFault::new(name, format!("is not a filter; there are: {allowed}")));
            };
            if fields.iter().any(|(seen, _)| seen == name) {
                return Err(FieldFault::new(*name, "is there twice"));
            }
            fields.push((name, value));
        }
        Ok(Self(fields))
    }

    /// The value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// The names and values of a query, decoded.
pub(crate) fn pairs(query: Option<&str>) -> Result<Vec<(String, String)>, FieldFault> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name).ok_or_else(|| FieldFault::new("query", "must be UTF-8"))?;
            let value = decoded(value).ok_or_else(|| FieldFault::new(name.as_str(), "must be UTF-8"))?;
            Ok((name, value))
        })
        .collect()
}

/// The first value of one field where others do not matter; `None` when it is not there or not UTF-8.
pub(crate) fn value(uri: &http::Uri, name: &str) -> Option<String> {
    let mut pairs =
        uri.query().unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .find(|(field, _)| decoded(field).is_some_and(|field| field == name))
        .and_then(|(_, value)| decoded(value))
}

/// `None` when it is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_and_its_faults_name_their_field() {
        let query = Query::parse(Some("app=a+b&route=%2Fx%3D1&&limit"), &["app", "route", "limit"]).unwrap();
        assert_eq!((query.get("app"), query.get("route")), (Some("a b"), Some("/x=1")));
        assert_eq!((query.get("limit"), query.get("other")), (Some(""), None));
        for (query, field) in [("x=1", "x"), ("app=1&app=2", "app"), ("app=%ff", "app"), ("%ff=1", "query")] {
            assert_eq!(Query::parse(Some(query), &["app"]).unwrap_err().field, field, "{query}");
        }
    }
}
