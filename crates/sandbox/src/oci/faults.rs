//! What a runtime's last words mean: the image's fault, told as the native driver tells it, or ours.

use serde::Deserialize;

use crate::native::{StartFault, Step};

/// One line of a runtime's JSON log.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

/// The last error in a runtime's log (`--log-format json`); its last line where it has another
/// form.
pub(super) fn last_words(log: &str) -> String {
    let lines = || log.lines().rev().filter(|line| !line.trim().is_empty());
    let parsed = lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    parsed
        .filter(|line| matches!(line.level.as_str(), "error" | "fatal" | "panic"))
        .map(|line| line.msg)
        .next()
        .unwrap_or_else(|| lines().next().unwrap_or_default().to_owned())
}

/// What a runtime that did not start a function meant. The words are those of Go's `os/exec` and
/// of `execve(2)`, which runc, runsc, crun and youki hand through.
pub(super) fn meaning(words: &str) -> StartFault {
    let fault = |step, errno| StartFault { step, errno };
    let lower = words.to_lowercase();
    let says = |text: &str| lower.contains(text);
    if says("chdir to cwd") || says("mkdir ") || says("set working directory") {
        return fault(Step::WorkDir, errno(&lower).filter(|e| *e != libc::EROFS).unwrap_or(libc::ENOENT));
    }
    if says("executable file not found in $path") || says("executable file `") && says("not found") {
        return fault(Step::Lookup, libc::ENOENT);
    }
    match errno(&lower) {
        Some(errno) if says("exec: \"") || says("exec /") || says("executable path") => {
            fault(Step::Exec, errno)
        }
        _ => fault(Step::Runtime, libc::EIO),
    }
}

fn errno(words: &str) -> Option<i32> {
    [
        ("no such file or directory", libc::ENOENT),
        ("permission denied", libc::EACCES),
        ("is a directory", libc::EACCES),
        ("not a directory", libc::ENOTDIR),
        ("exec format error", libc::ENOEXEC),
        ("argument list too long", libc::E2BIG),
        ("read-only file system", libc::EROFS),
    ]
    .into_iter()
    .find_map(|(text, errno)| words.contains(text).then_some(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_a_log_is_found() {
        let log = "{\"level\":\"warning\",\"msg\":\"a\"}\n{\"level\":\"error\",\"msg\":\"b \\\"c\\\"\"}\n\
                   {\"level\":\"debug\",\"msg\":\"d\"}\n";
        assert_eq!(last_words(log), "b \"c\"");
        assert_eq!(last_words("cannot\ncannot at all\n\n"), "cannot at all");
        assert_eq!(last_words(""), "");
    }

    #[test]
    fn what_runc_says_of_an_image_becomes_the_native_drivers_fault() {
        let run = "runc run failed: unable to start container process: ";
        for (words, step, errno) in [
            ("exec: \"x\": executable file not found in $PATH", Step::Lookup, libc::ENOENT),
            ("exec: \"/bin/x\": stat /bin/x: no such file or directory", Step::Exec, libc::ENOENT),
            ("exec: \"/etc/passwd\": permission denied", Step::Exec, libc::EACCES),
            ("exec: \"/work\": is a directory", Step::Exec, libc::EACCES),
            ("mkdir /srv: read-only file system", Step::WorkDir, libc::ENOENT),
            (
                "chdir to cwd (\"/etc/passwd\") set in config.json failed: not a directory",
                Step::WorkDir,
                libc::ENOTDIR,
            ),
            ("can't get final child's PID from pipe: EOF", Step::Runtime, libc::EIO),
        ] {
            assert_eq!(meaning(&format!("{run}{words}")), StartFault { step, errno }, "{words}");
        }
    }
}
