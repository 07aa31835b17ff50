//! Who an image's process runs as.
//!
//! The rules are Docker's: `user`, `uid`, `user:group`, `uid:gid` and their mixtures; without a
//! group the user's own group and the groups that list it (OCI image-spec 1.1, config.md, User).

use crate::{ImageError, LayerFile};

/// Ids inside a sandbox.
const SANDBOX_IDS: u32 = 65_536;
const MAX_GROUPS: usize = 64;

/// The account files as the process would find them, from all layers.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    passwd: Option<Vec<u8>>,
    group: Option<Vec<u8>>,
}

impl Accounts {
    /// Adds the next higher layer's files.
    pub fn stack(&mut self, passwd: LayerFile, group: LayerFile) {
        for (slot, file) in [(&mut self.passwd, passwd), (&mut self.group, group)] {
            match file {
                LayerFile::Absent => {}
                LayerFile::Hidden => *slot = None,
                LayerFile::Content(content) => *slot = Some(content),
            }
        }
    }

    fn user(&self, wanted: &str) -> Option<User> {
        records(self.passwd.as_ref()).find_map(|fields| {
            let [name, _, uid, gid, ..] = fields.as_slice() else { return None };
            (*name == wanted || *uid == wanted).then_some(User {
                name: (*name).to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
            })
        })
    }

    fn group(&self, wanted: &str) -> Option<u32> {
        records(self.group.as_ref()).find_map(|fields| {
            let [name, _, gid, ..] = fields.as_slice() else { return None };
            (*name == wanted).then(|| gid.parse().ok())?
        })
    }

    fn groups_of(&self, user: &str) -> Vec<u32> {
        records(self.group.as_ref())
            .filter_map(|fields| {
                let [_, _, gid, members, ..] = fields.as_slice() else { return None };
                members.split(',').any(|member| member == user).then(|| gid.parse().ok())?
            })
            .take(MAX_GROUPS)
            .collect()
    }
}

struct User {
    name: String,
    uid: u32,
    gid: u32,
}

/// The ids that a process gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResolvedUser {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

fn records(file: Option<&Vec<u8>>) -> impl Iterator<Item = Vec<&str>> {
    file.map_or(&[][..], Vec::as_slice)
        .split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(|line| line.split(':').collect())
}

/// Resolves the `User` of a configuration.
pub(crate) fn resolve_user(text: &str, accounts: &Accounts) -> Result<ResolvedUser, ImageError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let entry = accounts.user(user);
    let uid = match (&entry, user.parse::<u32>()) {
        (Some(entry), _) => entry.uid,
        (None, Ok(uid)) => uid,
        (None, Err(_)) if user == "root" => 0,
        (None, Err(_)) => return unknown("user", user, "/etc/passwd"),
    };
    let mut groups = Vec::new();
    let gid = match group {
        Some(group) => match (accounts.group(group), group.parse::<u32>()) {
            (Some(gid), _) | (None, Ok(gid)) => gid,
            (None, Err(_)) if group == "root" => 0,
            (None, Err(_)) => return unknown("group", group, "/etc/group"),
        },
        None => {
            if let Some(entry) = &entry {
                groups = accounts.groups_of(&entry.name);
            }
            entry.map_or(0, |entry| entry.gid)
        }
    };
    if let Some(beyond) = [uid, gid].iter().chain(&groups).find(|id| **id >= SANDBOX_IDS) {
        return Err(ImageError::Invalid(format!(
            "the image's user \"{}\" has the id {beyond}; a sandbox has ids below 65536 only",
            shorten(text)
        )));
    }
    groups.retain(|other| *other != gid);
    groups.sort_unstable();
    groups.dedup();
    Ok(ResolvedUser { uid, gid, groups })
}

fn unknown<T>(what: &str, name: &str, file: &str) -> Result<T, ImageError> {
    Err(ImageError::Invalid(format!(
        "the image wants to run as {what} \"{}\", which is not in its {file}; add it there or name a number",
        shorten(name)
    )))
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        let mut accounts = Accounts::default();
        accounts.stack(
            LayerFile::Content(b"root:x:0:0:root:/root:/bin/sh\nold:x:7:7::/:\n".to_vec()),
            LayerFile::Content(b"root:x:0:\n".to_vec()),
        );
        accounts.stack(
            LayerFile::Content(
                b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/false\nbig:x:70000:1::/:\n".to_vec(),
            ),
            LayerFile::Content(b"root:x:0:\nwww:x:34:\nlogs:x:4:syslog,web\nteam:x:50:web\n".to_vec()),
        );
        accounts
    }

    fn ids(text: &str) -> (u32, u32, Vec<u32>) {
        let user = resolve_user(text, &accounts()).unwrap();
        (user.uid, user.gid, user.groups)
    }

    #[test]
    fn names_numbers_and_groups_resolve_as_docker_does() {
        assert_eq!(ids(""), (0, 0, vec![]));
        assert_eq!(ids("root"), (0, 0, vec![]));
        assert_eq!(ids("web"), (33, 34, vec![4, 50]));
        assert_eq!(ids("33"), (33, 34, vec![4, 50]));
        assert_eq!(ids("1000"), (1000, 0, vec![]));
        assert_eq!(ids("1000:2000"), (1000, 2000, vec![]));
        assert_eq!(ids("web:logs"), (33, 4, vec![]));
        assert_eq!(ids(":50"), (0, 50, vec![]));
    }

    #[test]
    fn unknown_names_replaced_files_and_ids_beyond_a_sandbox_are_refused() {
        let refused = |text: &str| resolve_user(text, &accounts()).unwrap_err().to_string();
        assert!(refused("nobody").contains("\"nobody\", which is not in its /etc/passwd"));
        assert!(
            refused("old").contains("not in its /etc/passwd"),
            "the upper layer's file replaces the lower one"
        );
        assert!(refused("web:nogroup").contains("/etc/group"));
        assert!(refused("big").contains("70000"));
        assert!(refused("65536").contains("below 65536"));
        assert!(refused("99999999999").contains("not in its /etc/passwd"));
    }

    #[test]
    fn a_whiteout_hides_the_account_file() {
        let mut accounts = accounts();
        accounts.stack(LayerFile::Hidden, LayerFile::Absent);
        assert!(resolve_user("web", &accounts).is_err());
        assert_eq!(resolve_user("1000:logs", &accounts).unwrap().gid, 4);
    }
}
