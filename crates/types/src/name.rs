//! App names: the short one a user chose and the full one that is unique in the cloud.
//!
//! Contract: old Picasso stored `{name}-{project_id}` cut to 30 characters, which made
//! two projects' apps collide. Here the project id keeps at least eight characters and
//! grows until the result is free ([`FullName::candidates`]).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::FieldFault;
use crate::ids::ProjectId;

/// The length the old service cut full names to.
const CLASSIC_LEN: usize = 30;
/// Of the project id at least this much stays.
const MIN_PROJECT_LEN: usize = 8;

/// The name a user gave an app: 1 to 63 letters, digits, `-` or `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppName(String);

impl AppName {
    /// Parses a name; the fault names the field `name`.
    pub fn parse(text: &str) -> Result<Self, FieldFault> {
        let fits = (1..=63).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            Ok(Self(text.to_owned()))
        } else {
            Err(FieldFault::new("name", "must be 1 to 63 letters, digits, \"-\" or \"_\""))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An app's name as stored and shown: unique over all projects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FullName(String);

impl FullName {
    /// Takes a full name from a URL or the store: up to 128 of the characters of an app name.
    pub fn parse(text: &str) -> Result<Self, FieldFault> {
        let fits = (1..=128).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            Ok(Self(text.to_owned()))
        } else {
            Err(FieldFault::new("app", "must be 1 to 128 letters, digits, \"-\" or \"_\""))
        }
    }

    /// The names to try for an app, in order: `{name}-{project_id}` cut to 30 characters with
    /// the project id never below 8, then one more character of the project id each.
    pub fn candidates(name: &AppName, project: &ProjectId) -> impl Iterator<Item = Self> {
        let name = name.as_str().to_owned();
        let project = project.as_str().to_owned();
        let room = CLASSIC_LEN.saturating_sub(name.len() + 1);
        let first = room.max(MIN_PROJECT_LEN).min(project.len());
        (first..=project.len()).map(move |len| Self(format!("{name}-{}", &project[..len])))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(name: &str) -> String {
        let project = ProjectId::parse("968f523b6fec4a7694aaa27b300bb879").unwrap();
        FullName::candidates(&AppName::parse(name).unwrap(), &project).next().unwrap().to_string()
    }

    #[test]
    fn a_short_name_is_cut_to_thirty_characters_as_the_old_service_did() {
        assert_eq!(first("hello"), "hello-968f523b6fec4a7694aaa27b");
        assert_eq!(first("hello").len(), 30);
    }

    #[test]
    fn a_long_name_keeps_eight_characters_of_the_project() {
        let long = "x".repeat(63);
        assert_eq!(first(&long), format!("{long}-968f523b"));
    }

    #[test]
    fn each_further_candidate_takes_one_more_character_of_the_project() {
        let project = ProjectId::parse("968f523b6fec4a7694aaa27b300bb879").unwrap();
        let name = AppName::parse(&"x".repeat(25)).unwrap();
        let all: Vec<_> = FullName::candidates(&name, &project).map(|n| n.to_string()).collect();
        assert_eq!(all.len(), 25);
        assert!(all[0].ends_with("-968f523b"));
        assert!(all[1].ends_with("-968f523b6"));
        assert!(all[24].ends_with("-968f523b6fec4a7694aaa27b300bb879"));
    }

    #[test]
    fn a_name_with_other_characters_is_refused() {
        for bad in ["", "a b", "a/b", "ä", "a.b", &"x".repeat(64)] {
            assert!(AppName::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
