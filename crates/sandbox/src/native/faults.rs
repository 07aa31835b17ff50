//! Sentences for starts that failed: what happened, to what, what to do.

use std::io;

use super::child::{StartFault, Step};
use crate::{ProcessSpec, SandboxError};

/// Longest piece of a tenant's string in a sentence, characters.
const QUOTED: usize = 200;

/// What a failed start means: the image's or route's fault, or ours.
pub(super) fn start_error(fault: StartFault, process: &ProcessSpec) -> SandboxError {
    let error = io::Error::from_raw_os_error(fault.errno);
    let program = quote(process.argv.first().map_or("", String::as_str));
    let cwd = quote(&process.cwd);
    let uid = process.uid;
    let sentence = match (fault.step, fault.errno) {
        (Step::WorkDir, libc::ENOENT) => {
            format!("the working directory {cwd} does not exist in the image")
        }
        (Step::WorkDir, libc::ENOTDIR) => {
            format!("the working directory {cwd} is not a directory in the image")
        }
        (Step::WorkDir, libc::EACCES) => {
            format!("user {uid} may not enter the working directory {cwd} of the image")
        }
        (Step::WorkDir, _) => format!("the working directory {cwd} cannot be entered: {error}"),
        (Step::Lookup, _) => format!(
            "the program {program} is in no directory of PATH; \
             check the image's entry point and command"
        ),
        (Step::Exec, libc::ENOENT | libc::ENOTDIR) => format!(
            "the program {program}, or the interpreter or loader it names, does not exist in the \
             image; check the entry point and command"
        ),
        (Step::Exec, libc::EACCES) => {
            format!("the program {program} is not a file that user {uid} may execute")
        }
        (Step::Exec, libc::ENOEXEC) => format!(
            "the program {program} is not in a format this machine runs: another architecture, or \
             a script without a #! line"
        ),
        (Step::Exec, libc::E2BIG) => {
            "the arguments and the environment are too long for a process".to_owned()
        }
        (Step::Exec, libc::ENOMEM) => {
            format!("the program {program} does not fit into the function's memory limit")
        }
        (Step::Exec, _) => format!("the program {program} cannot be executed: {error}"),
        (step, _) => {
            return SandboxError::Failed {
                context: format!("isolating a process ({step:?})"),
                reason: error.to_string(),
            };
        }
    };
    SandboxError::CannotStart(sentence)
}

fn quote(text: &str) -> String {
    let short: String = text.chars().take(QUOTED).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(step: Step, errno: i32) -> String {
        let process = ProcessSpec {
            argv: vec!["hello\n".to_owned()],
            env: Vec::new(),
            cwd: "/srv".to_owned(),
            uid: 7,
            gid: 7,
            groups: Vec::new(),
            files: Vec::new(),
            identity: None,
            channel: crate::Channel::Streams,
        };
        start_error(StartFault { step, errno }, &process).to_string()
    }

    #[test]
    fn the_images_faults_are_told_with_what_to_look_at() {
        assert!(sentence(Step::Lookup, libc::ENOENT).contains(r#""hello\n" is in no directory"#));
        assert!(sentence(Step::WorkDir, libc::ENOENT).contains(r#""/srv" does not exist"#));
        assert!(sentence(Step::Exec, libc::EACCES).contains("user 7 may execute"));
        assert!(sentence(Step::Exec, libc::ENOEXEC).contains("another architecture"));
    }

    #[test]
    fn our_own_faults_are_not_put_on_the_function() {
        let fault = StartFault { step: Step::Cgroup, errno: libc::ENOSPC };
        let process = ProcessSpec {
            argv: Vec::new(),
            env: Vec::new(),
            cwd: String::new(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            files: Vec::new(),
            identity: None,
            channel: crate::Channel::Streams,
        };
        assert!(matches!(start_error(fault, &process), SandboxError::Failed { .. }));
    }
}
