//! The system call filter of every sandbox.
//!
//! An allow-list: what [`table`] names is allowed, refused with `EPERM`, absent with `ENOSYS` or
//! decided by its arguments ([`rules`]); every number it does not name answers `ENOSYS`, so that
//! programs fall back as on an older kernel. Calls through another ABI (i386, x32) kill the
//! process. [`filter`] is the program for the native driver; [`profile`] says the same of
//! the table to Docker and to OCI runtimes.
//!
//! | Kept out | How |
//! |---|---|
//! | mounts, `chroot`, `pivot_root`, the newer mount calls | `EPERM` |
//! | namespaces: `unshare`, `setns`, `clone` with `CLONE_NEW*` | `EPERM`; `clone3`: `ENOSYS` |
//! | other processes: `ptrace`, `process_vm_*`, `kcmp`, `pidfd_getfd` | `EPERM` |
//! | io_uring, `userfaultfd`, `perf_event_open`, `bpf`, fanotify, `modify_ldt`, `memfd_secret` | `EPERM` |
//! | kernel keys; file handles past the mount (`open_by_handle_at`) | `EPERM` |
//! | modules, kexec, reboot, swap, quota, accounting, clocks, names, ports, the kernel log | `EPERM` |
//! | whole-machine `sync`; NUMA policies | `EPERM`; `ENOSYS` |
//! | sockets but Unix, TCP, UDP and netlink's routing family | `EAFNOSUPPORT`, `EPROTONOSUPPORT` |
//! | `TIOCSTI`, `TIOCLINUX`, `TIOCCONS`; `PR_SET_PDEATHSIG`; odd personalities | `EPERM` |

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the system call table is written for x86_64");

mod compile;
pub(crate) mod profile;
mod rules;
mod table;
#[cfg(test)]
mod tests;

use crate::SandboxError;

/// The filter as the array of `struct sock_filter` that `seccomp(SECCOMP_SET_MODE_FILTER)` takes,
/// in this machine's byte order, 8 bytes an instruction.
pub fn filter() -> Result<Vec<u8>, SandboxError> {
    let program = compile::compile(table::rows()).map_err(|_| SandboxError::Failed {
        context: "writing the system call filter".to_owned(),
        reason: "the table needs a jump of more than 255 instructions".to_owned(),
    })?;
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        bytes.extend_from_slice(&instruction.code.to_ne_bytes());
        bytes.push(instruction.jump_true);
        bytes.push(instruction.jump_false);
        bytes.extend_from_slice(&instruction.k.to_ne_bytes());
    }
    Ok(bytes)
}
