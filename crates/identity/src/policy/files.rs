//! The policy files of a host: which there are, whether they changed, and what they say together.
//!
//! As oslo.policy has it: one file, then those of folders in the order of their names, later rules in
//! the place of earlier ones.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::file::{FileFault, MAX_FILE_BYTES, parse_file};
use super::rules::RuleSet;

/// Most files of one folder.
const MAX_FILES: usize = 100;
/// What files of a folder end in; others (copies of editors and packages) are left alone.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Where rules are that take the place of the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFiles {
    /// The policy file.
    pub file: PathBuf,
    /// Whether there must be one; where not, a missing file is one without rules.
    pub is_required: bool,
    /// Folders with further files; a missing one has none.
    pub dirs: Vec<PathBuf>,
}

/// What the files look like from outside: other stamps, other content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, Option<Look>)>);

/// Device and inode, size, time of change of content and of the inode, seconds and nanoseconds.
type Look = (u64, u64, u64, [i64; 4]);

impl PolicyFiles {
    /// How the files look now. To be taken before [`PolicyFiles::read`], so that a change in between
    /// shows.
    pub fn stamp(&self) -> Stamp {
        let look = |path: PathBuf| {
            let look = fs::metadata(&path).ok().map(|data| {
                let times = [data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()];
                (data.dev(), data.ino(), data.size(), times)
            });
            (path, look)
        };
        let in_dirs = self.dirs.iter().flat_map(|dir| {
            let files = files_of(dir).unwrap_or_default();
            std::iter::once(dir.clone()).chain(files)
        });
        Stamp(std::iter::once(self.file.clone()).chain(in_dirs).map(look).collect())
    }

    /// The defaults with the files' rules in their place. Blocks.
    pub fn read(&self) -> Result<RuleSet, FileFault> {
        let mut rules = BTreeMap::new();
        match read_file(&self.file) {
            Err(error) if error.kind() == ErrorKind::NotFound && !self.is_required => {}
            text => rules.extend(parsed(&self.file, text)?),
        }
        for dir in &self.dirs {
            for path in files_of(dir).map_err(|error| unreadable(dir, &error))? {
                rules.extend(parsed(&path, read_file(&path))?);
            }
        }
        Ok(RuleSet::new(rules))
    }
}

fn parsed(
    path: &Path,
    text: io::Result<String>,
) -> Result<BTreeMap<String, super::rules::Override>, FileFault> {
    parse_file(path, &text.map_err(|error| unreadable(path, &error))?)
}

fn unreadable(path: &Path, error: &io::Error) -> FileFault {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => {
            "; the user that the server runs as (server.user) must be able to read it"
        }
        _ => "",
    };
    FileFault { place: path.display().to_string(), reason: format!("it cannot be read: {error}{hint}") }
}

/// One byte more than the bound at most: what is too long is told by the parser.
fn read_file(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// The policy files of a folder in the order of their names.
fn files_of(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_policy = path.extension().is_some_and(|end| ENDINGS.iter().any(|known| end == *known));
        if is_hidden || !is_policy {
            continue;
        }
        if files.len() == MAX_FILES {
            let reason = format!("there are more than {MAX_FILES} policy files in it");
            return Err(io::Error::new(ErrorKind::InvalidData, reason));
        }
        files.push(path);
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            fs::create_dir(folder.0.path().join("policy.d")).unwrap();
            folder
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), text).unwrap();
        }

        fn files(&self, is_required: bool) -> PolicyFiles {
            PolicyFiles {
                file: self.0.path().join("policy.yaml"),
                is_required,
                dirs: vec![self.0.path().join("policy.d"), self.0.path().join("missing.d")],
            }
        }

        fn text_of(&self, rule: &str) -> String {
            self.files(false).read().unwrap().overrides()[rule].text.clone()
        }
    }

    #[test]
    fn files_of_the_folder_come_after_the_file_in_the_order_of_their_names() {
        let folder = Folder::new();
        folder.write("policy.yaml", "a: role:file\nb: role:file\nc: role:file\n");
        folder.write("policy.d/20-last.yaml", "a: role:last\n");
        folder.write("policy.d/10-first.json", r#"{"a": "role:first", "b": "role:first"}"#);
        for ignored in ["policy.d/30.yaml~", "policy.d/.40.yaml", "policy.d/README"] {
            folder.write(ignored, "a: role:ignored\n");
        }
        assert_eq!(
            ["a", "b", "c"].map(|rule| folder.text_of(rule)),
            ["role:last", "role:first", "role:file"]
        );
    }

    #[test]
    fn a_missing_file_is_a_fault_only_where_there_must_be_one() {
        let folder = Folder::new();
        assert!(folder.files(false).read().unwrap().overrides().is_empty());
        let fault = folder.files(true).read().unwrap_err();
        assert!(fault.place.ends_with("policy.yaml") && fault.reason.contains("cannot be read"), "{fault}");
    }

    #[test]
    fn what_is_no_file_of_text_within_bounds_is_a_fault() {
        let folder = Folder::new();
        fs::create_dir(folder.0.path().join("policy.d/a.yaml")).unwrap();
        assert!(folder.files(false).read().unwrap_err().to_string().contains("it is no file"));
        fs::remove_dir(folder.0.path().join("policy.d/a.yaml")).unwrap();
        fs::write(folder.0.path().join("policy.yaml"), [0xff]).unwrap();
        assert!(folder.files(false).read().unwrap_err().to_string().contains("UTF-8"));
        folder.write("policy.yaml", &"#".repeat(MAX_FILE_BYTES + 1));
        assert!(folder.files(false).read().unwrap_err().to_string().contains("longer than"));
        folder.write("policy.yaml", "");
        for number in 0..=MAX_FILES {
            folder.write(&format!("policy.d/{number}.yaml"), "");
        }
        assert!(folder.files(false).read().unwrap_err().to_string().contains("more than 100 policy files"));
    }

    #[test]
    fn every_change_shows_in_the_stamp() {
        let folder = Folder::new();
        let mut last = folder.files(false).stamp();
        assert_eq!(last, folder.files(false).stamp());
        let mut changed = |what: &str| {
            let now = folder.files(false).stamp();
            assert_ne!(now, last, "{what}");
            last = now;
        };
        folder.write("policy.yaml", "a: role:x\n");
        changed("a new file");
        let other = folder.0.path().join("other");
        fs::write(&other, "a: role:y\n").unwrap();
        fs::rename(&other, folder.0.path().join("policy.yaml")).unwrap();
        changed("another file of the same size in its place");
        folder.write("policy.d/a.yaml", "");
        changed("a file of the folder");
        fs::remove_file(folder.0.path().join("policy.d/a.yaml")).unwrap();
        changed("a file less");
    }
}
