//! The user the engine runs as, and how a process becomes it.

use std::ffi::CString;
use std::io;

use rustix::fs::{Gid, Uid};
use rustix::process::Signal;
use rustix::thread;

use crate::native::raw;

/// A user of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Further groups it is to be in.
    pub(super) groups: Vec<u32>,
}

impl User {
    /// Looks a user up; root is refused.
    ///
    /// `own_groups`: it keeps the groups that the host's database has it in. The Docker driver
    /// needs that (the group of Docker's socket); all else gets along without, and so has none.
    pub(super) fn find(name: &str, own_groups: bool) -> Result<Self, String> {
        let c_name = CString::new(name).map_err(|_| "the user name has a NUL byte".to_owned())?;
        match raw::user_by_name(&c_name) {
            Ok(Some((0, _))) => Err(format!("the engine must not run as root; user {name} is")),
            Ok(Some((uid, gid))) => {
                let groups = if own_groups { raw::groups_of_user(&c_name, gid) } else { Ok(Vec::new()) };
                let groups = groups.map_err(|e| format!("looking up the groups of user {name}: {e}"))?;
                Ok(Self { name: name.to_owned(), uid, gid, groups })
            }
            Ok(None) => Err(format!(
                "there is no user {name} to run the engine as; make one with \
                 `useradd --system --no-create-home --shell /usr/sbin/nologin {name}`, or name \
                 another in the configuration"
            )),
            Err(e) => Err(format!("looking up user {name}: {e}")),
        }
    }

    /// Makes the calling process this user, without any privilege left or to be had.
    pub(super) fn become_it(&self) -> io::Result<()> {
        for number in 0..64 {
            let capability = thread::CapabilitySet::from_bits_retain(1 << number);
            match thread::remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                // The first number this kernel does not know.
                Err(rustix::io::Errno::INVAL) => break,
                Err(e) => return Err(e.into()),
            }
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        thread::set_thread_groups(&groups)?;
        thread::set_thread_res_gid(gid, gid, gid)?;
        thread::set_thread_res_uid(uid, uid, uid)?;
        thread::set_no_new_privs(true)?;
        Ok(())
    }
}

/// Has the kernel kill the calling process when its parent dies. `parent` is who that should be:
/// a parent that died before this call is noticed.
pub(super) fn die_with(parent: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = rustix::process::getppid().map(|p| p.as_raw_nonzero().get().cast_unsigned());
    if now == Some(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_further_groups_only_where_it_needs_them() {
        let without = User::find("nobody", false).unwrap();
        assert!(without.groups.is_empty());
        let with = User::find("nobody", true).unwrap();
        assert!(with.groups.contains(&with.gid), "{with:?}");
    }

    #[test]
    fn root_and_a_user_that_is_not_there_are_refused_by_name() {
        assert!(User::find("root", false).unwrap_err().contains("root"));
        assert!(User::find("no-such-user-here", false).unwrap_err().contains("useradd"));
    }
}
