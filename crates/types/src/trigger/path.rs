//! Paths into an event: `data.payload.ips[0]`, as filters and inputs write them.

use std::fmt;

use serde_json::Value;

/// Longest path, bytes.
const MAX_PATH: usize = 256;
/// Most steps of a path.
const MAX_STEPS: usize = 16;

/// One step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// A path whose first step names an attribute of the event or `data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPath {
    text: String,
    root: String,
    steps: Vec<Step>,
}

impl EventPath {
    /// Parses a path; the message says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "must be an attribute of the event (type, source, subject, id, time), or data with keys and \
                 indexes, as in data.payload.ips[0]: up to {MAX_PATH} bytes and {MAX_STEPS} steps"
            )
        };
        if text.is_empty() || text.len() > MAX_PATH {
            return Err(wrong());
        }
        let mut parts = text.split('.');
        let root = parts.next().unwrap_or_default();
        let (root, indexes) = with_indexes(root).ok_or_else(wrong)?;
        let is_attribute = (1..=64).contains(&root.len())
            && root.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let mut steps: Vec<Step> = indexes;
        for part in parts {
            let (key, indexes) = with_indexes(part).ok_or_else(wrong)?;
            if key.is_empty() {
                return Err(wrong());
            }
            steps.push(Step::Key(key.to_owned()));
            steps.extend(indexes);
        }
        if !is_attribute || steps.len() > MAX_STEPS || (root != "data" && !steps.is_empty()) {
            return Err(wrong());
        }
        Ok(Self { text: text.to_owned(), root: root.to_owned(), steps })
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The attribute that it begins with; `data` for the event's data.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// What lies at the path within the event's data.
    pub fn within<'a>(&self, data: &'a Value) -> Option<&'a Value> {
        self.steps.iter().try_fold(data, |value, step| match step {
            Step::Key(key) => value.as_object()?.get(key),
            Step::Index(index) => value.as_array()?.get(*index),
        })
    }
}

impl fmt::Display for EventPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `ips[0][1]` is `ips` and its indexes; `None` for brackets that are none.
fn with_indexes(part: &str) -> Option<(&str, Vec<Step>)> {
    let Some(at) = part.find('[') else {
        return (!part.contains(']')).then(|| (part, Vec::new()));
    };
    let (key, mut rest) = part.split_at(at);
    let mut indexes = Vec::new();
    while !rest.is_empty() {
        let (number, behind) = rest.strip_prefix('[')?.split_once(']')?;
        let is_number = (1..=6).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        indexes.push(Step::Index(number.parse().ok().filter(|_| is_number)?));
        rest = behind;
    }
    Some((key, indexes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_to_a_value_or_to_none() {
        let data = json!({"a": {"b-c": [[1, 2], "x"]}, "n": null});
        let at = |path: &str| EventPath::parse(path).unwrap().within(&data).cloned();
        assert_eq!(at("data.a.b-c[0][1]"), Some(json!(2)));
        assert_eq!(at("data.n"), Some(json!(null)));
        assert_eq!(at("data"), Some(data.clone()));
        for missing in ["data.z", "data.a[0]", "data.a.b-c[2]", "data.a.b-c.x"] {
            assert_eq!(at(missing), None, "{missing}");
        }
        assert_eq!(EventPath::parse("subject").unwrap().root(), "subject");
    }

    #[test]
    fn what_is_no_path_is_refused_with_an_example() {
        let deep = format!("data{}", ".a".repeat(17));
        for wrong in
            ["", ".", "data.", "data..a", "data.a[", "data.a[x]", "data.a]", "type.a", "Data.a", &deep]
        {
            assert!(EventPath::parse(wrong).unwrap_err().contains("data.payload.ips[0]"), "{wrong}");
        }
    }
}
