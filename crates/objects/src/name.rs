//! Names of parts: ours, the same in every store, and not to be guessed.

use std::fmt;

use picasso_types::{ObjectId, ProjectId};

/// The name of one part: `<project>/<two digits>/<object>.<part>`. The digits spread the objects of
/// a project over folders. Every piece is letters, digits, `-` or `_`, so no name leads elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    folder: String,
    file: String,
}

impl ObjectName {
    /// The part number `part` of an object of a project.
    pub fn new(project: &ProjectId, object: &ObjectId, part: u32) -> Self {
        let object = object.as_str();
        // An id of ours begins with random hex digits; another one is still a safe name.
        let spread = object.get(..2).unwrap_or(object);
        Self { folder: format!("{project}/{spread}"), file: format!("{object}.{part:05}") }
    }

    /// What comes before the last slash.
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// What comes after it.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.folder, self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_project_digits_object_and_part() {
        let project = ProjectId::parse("968f523b6fec4a7694aaa27b300bb879").unwrap();
        let object = ObjectId::parse("0b1d9e0e-3c31-4b47-a3ef-2f3f8a9b8a52").unwrap();
        let name = ObjectName::new(&project, &object, 7).to_string();
        assert_eq!(name, "968f523b6fec4a7694aaa27b300bb879/0b/0b1d9e0e-3c31-4b47-a3ef-2f3f8a9b8a52.00007");
    }
}
