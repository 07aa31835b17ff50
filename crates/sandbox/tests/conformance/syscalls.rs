//! System calls: every number is tried.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bed::{Bed, probe, spec};

/// What must be refused, by number: not taken from the filter's own table.
const REFUSED: &[(&str, libc::c_long)] = &[
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("kcmp", libc::SYS_kcmp),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("bpf", libc::SYS_bpf),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("keyctl", libc::SYS_keyctl),
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot),
    ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount),
    ("fsopen", libc::SYS_fsopen),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fspick", libc::SYS_fspick),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns),
    ("clone3", libc::SYS_clone3),
    ("kexec_load", libc::SYS_kexec_load),
    ("kexec_file_load", libc::SYS_kexec_file_load),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("reboot", libc::SYS_reboot),
    ("swapon", libc::SYS_swapon),
    ("swapoff", libc::SYS_swapoff),
    ("quotactl", libc::SYS_quotactl),
    ("quotactl_fd", libc::SYS_quotactl_fd),
    ("acct", libc::SYS_acct),
    ("settimeofday", libc::SYS_settimeofday),
    ("clock_settime", libc::SYS_clock_settime),
    ("clock_adjtime", libc::SYS_clock_adjtime),
    ("adjtimex", libc::SYS_adjtimex),
    ("iopl", libc::SYS_iopl),
    ("ioperm", libc::SYS_ioperm),
    ("name_to_handle_at", libc::SYS_name_to_handle_at),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("sethostname", libc::SYS_sethostname),
    ("setdomainname", libc::SYS_setdomainname),
    ("syslog", libc::SYS_syslog),
    ("vhangup", libc::SYS_vhangup),
    ("sync", libc::SYS_sync),
    ("modify_ldt", libc::SYS_modify_ldt),
    ("memfd_secret", libc::SYS_memfd_secret),
    ("fanotify_init", libc::SYS_fanotify_init),
    ("fanotify_mark", libc::SYS_fanotify_mark),
    ("lookup_dcookie", libc::SYS_lookup_dcookie),
    ("move_pages", libc::SYS_move_pages),
    ("migrate_pages", libc::SYS_migrate_pages),
    ("mbind", libc::SYS_mbind),
    ("set_mempolicy", libc::SYS_set_mempolicy),
    ("get_mempolicy", libc::SYS_get_mempolicy),
    ("uselib", libc::SYS_uselib),
    ("_sysctl", libc::SYS__sysctl),
    ("nfsservctl", libc::SYS_nfsservctl),
    ("ustat", libc::SYS_ustat),
    ("sysfs", libc::SYS_sysfs),
];

pub async fn every_refused_number_is_refused(bed: Arc<Bed>) {
    let run = bed.run_with(&spec(), &probe(&["syscalls"]), b"").await;
    let tried: BTreeMap<libc::c_long, &str> = run
        .lines()
        .into_iter()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(number, outcome)| (number.parse().unwrap(), outcome))
        .collect();
    for (name, number) in REFUSED {
        let outcome = tried[number];
        assert!(["errno 1", "errno 38"].contains(&outcome), "{name}: {outcome}");
    }
    // Beyond what the filter knows: absent, as on an older kernel.
    for number in 463..=600 {
        assert_eq!(tried[&number], "errno 38", "number {number}");
    }
    // And the ordinary ones are there.
    for (name, number) in [("read", libc::SYS_read), ("openat", libc::SYS_openat), ("mmap", libc::SYS_mmap)] {
        assert!(!["errno 1", "errno 38"].contains(&tried[&number]), "{name}: {}", tried[&number]);
    }
    assert_eq!(tried[&libc::SYS_getpid], "returned");
}

pub async fn refused_arguments_are_refused(bed: Arc<Bed>) {
    let run = bed.run_with(&spec(), &probe(&["syscall-arguments"]), b"").await;
    let returned: Vec<&str> =
        run.lines().into_iter().filter_map(|line| line.strip_suffix(" returned")).collect();
    assert_eq!(
        returned,
        [
            "socket [1, 3, 0]",
            "socket [16, 3, 0]",
            "socket [2, 1, 6]",
            "socket [2, 2, 17]",
            "socket [10, 1, 0]",
            "socket [1, 5, 0]",
            "socket [16, 3, 0]",
        ],
        "{}",
        run.stdout
    );
    assert_eq!(run.after("int80 getpid"), "killed 31");
    assert_eq!(run.after("x32 getpid []"), "killed 31");
}
