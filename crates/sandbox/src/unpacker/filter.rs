//! The unpacker's system calls: what reading a blob and writing a tree needs, nothing else.
//!
//! Anything else ends the process: no part of it can need another call, so one that comes is
//! an attack or a bug, and the supervisor starts a fresh unpacker. A plain list is enough here:
//! the filter is loaded once in the process's life.

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;

/// Paths are opened by `openat2` alone: the kernel keeps them below the layer's folder.
const ALLOWED: &[libc::c_long] = &[
    // Messages.
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    // Blob and files.
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fcntl,
    // The tree.
    libc::SYS_openat2,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_fsetxattr,
    libc::SYS_fsync,
    libc::SYS_syncfs,
    // Memory, time, chance and the end.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The filter as the kernel takes it.
pub(super) fn program() -> Vec<sock_filter> {
    let mut program = vec![
        statement(BPF_LD | BPF_W | BPF_ABS, OFFSET_ARCHITECTURE),
        // Numbers of another ABI mean other calls.
        jump(AUDIT_ARCH_X86_64, 1, 0),
        statement(BPF_RET | BPF_K, libc::SECCOMP_RET_KILL_PROCESS),
        statement(BPF_LD | BPF_W | BPF_ABS, OFFSET_NUMBER),
    ];
    for (at, number) in ALLOWED.iter().enumerate() {
        // A number that does not fit is no call of this kernel: the entry matches nothing.
        let number = u32::try_from(*number).unwrap_or(u32::MAX);
        let to_allow = u8::try_from(ALLOWED.len() - at).unwrap_or(u8::MAX);
        program.push(jump(number, to_allow, 0));
    }
    program.push(statement(BPF_RET | BPF_K, libc::SECCOMP_RET_KILL_PROCESS));
    program.push(statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW));
    program
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or_default(), jt: 0, jf: 0, k }
}

fn jump(k: u32, if_equal: u8, otherwise: u8) -> sock_filter {
    let code = u16::try_from(BPF_JMP | BPF_JEQ | BPF_K).unwrap_or_default();
    sock_filter { code, jt: if_equal, jf: otherwise, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn verdict(architecture: u32, number: u32) -> u32 {
        let program = program();
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = program[at];
            at += 1;
            match u32::from(instruction.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    accumulator = if instruction.k == OFFSET_NUMBER { number } else { architecture };
                }
                code if code == BPF_JMP | BPF_JEQ | BPF_K => {
                    let equal = accumulator == instruction.k;
                    at += usize::from(if equal { instruction.jt } else { instruction.jf });
                }
                _ => return instruction.k,
            }
        }
    }

    #[test]
    fn exactly_the_listed_calls_are_allowed() {
        for number in 0..1024_u32 {
            let listed = ALLOWED.contains(&libc::c_long::from(number));
            let expected = if listed { libc::SECCOMP_RET_ALLOW } else { libc::SECCOMP_RET_KILL_PROCESS };
            assert_eq!(verdict(AUDIT_ARCH_X86_64, number), expected, "call {number}");
        }
        let read = u32::try_from(libc::SYS_read).unwrap();
        assert_eq!(verdict(AUDIT_ARCH_X86_64, 0x4000_0000 | read), libc::SECCOMP_RET_KILL_PROCESS, "x32");
        assert_eq!(verdict(0x4000_0003, 3), libc::SECCOMP_RET_KILL_PROCESS, "i386");
    }
}
