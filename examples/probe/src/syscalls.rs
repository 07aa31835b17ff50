//! System calls by number, each tried in a process of its own.

#![expect(unsafe_code, reason = "trying system calls that no safe function makes is what this is for")]

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// Calls that end, double or stop their caller, whatever their arguments.
const ALWAYS_DONE: [libc::c_long; 7] = [
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_pause,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
];

/// The signal a child's parent gets, part of `clone`'s flags.
const SIGCHLD: i64 = libc::SIGCHLD as i64;

/// Tries every number up to 600 with arguments that mean nothing (-1 everywhere).
pub fn every_number() -> std::io::Result<()> {
    for number in 0..=600 {
        if ALWAYS_DONE.contains(&number) {
            continue;
        }
        println!(
            "{number} {}",
            child(&["syscall", &number.to_string(), "-1", "-1", "-1", "-1", "-1", "-1"])?
        );
    }
    Ok(())
}

/// Tries the arguments that decide about a call.
pub fn arguments() -> std::io::Result<()> {
    let families = (0..48).map(|family| ("socket", libc::SYS_socket, vec![family, 3, 0]));
    let kinds = [(2, 1, 6), (2, 2, 17), (10, 1, 0), (1, 5, 0), (16, 3, 0), (16, 3, 9), (16, 3, 15)]
        .into_iter()
        .chain([(2, 5, 0), (2, 5, 132), (2, 6, 33), (2, 1, 262), (10, 2, 1), (2, 2, 136)])
        .map(|(family, kind, protocol)| ("socket", libc::SYS_socket, vec![family, kind, protocol]));
    let pairs = [1, 2, 30].map(|family| ("socketpair", libc::SYS_socketpair, vec![family, 1, 0, 0]));
    let namespaces =
        [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
    let clones = namespaces.map(|flag| ("clone", libc::SYS_clone, vec![flag | SIGCHLD]));
    let ioctls = [0x5412, 0x541c, 0x541d, 0x1_0000_5412]
        .map(|request| ("ioctl", libc::SYS_ioctl, vec![0, request, 0]));
    let others = [
        ("prctl", libc::SYS_prctl, vec![1, 9]),
        ("prctl", libc::SYS_prctl, vec![0x1_0000_0001, 9]),
        ("personality", libc::SYS_personality, vec![0x0040_0000]),
        ("unshare", libc::SYS_unshare, vec![0x1000_0000]),
        ("x32 getpid", 0x4000_0000 | libc::SYS_getpid, vec![]),
    ];
    let all = families.chain(kinds).chain(pairs).chain(clones).chain(ioctls).chain(others);
    for (name, number, values) in all {
        let words: Vec<String> = ["syscall".to_owned(), number.to_string()]
            .into_iter()
            .chain(values.iter().map(i64::to_string))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        println!("{name} {values:?} {}", child(&words)?);
    }
    println!("int80 getpid {}", child(&["int80"])?);
    Ok(())
}

/// One call in this process; prints what it returned.
pub fn one(number: &str, values: &[&str]) -> Result<(), std::num::ParseIntError> {
    let number: libc::c_long = number.parse()?;
    let mut arguments: [libc::c_long; 6] = [0; 6];
    for (argument, value) in arguments.iter_mut().zip(values) {
        *argument = value.parse()?;
    }
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: the process exists for this call only; the arguments name no memory of it (0 and -1
    // are not mapped), so nothing it goes on to use is changed.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    if result == -1 {
        println!("errno {}", std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    } else {
        println!("returned");
    }
    Ok(())
}

/// `getpid` of the i386 ABI.
pub fn int80() {
    let result: i64;
    // SAFETY: takes no memory; r8 to r11 may be cleared by the kernel and are given up.
    unsafe {
        std::arch::asm!(
            "int 0x80", inlateout("rax") 20_i64 => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    println!("{}", if result > 0 { "returned".to_owned() } else { format!("errno {}", -result) });
}

/// Ignores a signal.
pub fn ignore(signal: libc::c_int) {
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// What [`exit_on`]'s signal makes this process exit with.
static EXIT_CODE: AtomicI32 = AtomicI32::new(0);

extern "C" fn exit_by_signal(_signal: libc::c_int) {
    // SAFETY: _exit may be called in a handler and has no preconditions.
    unsafe { libc::_exit(EXIT_CODE.load(Ordering::Relaxed)) }
}

/// Exits with `code` when the signal comes.
pub fn exit_on(signal: libc::c_int, code: i32) {
    EXIT_CODE.store(code, Ordering::Relaxed);
    let handler: extern "C" fn(libc::c_int) = exit_by_signal;
    // SAFETY: the handler makes one system call, which is allowed in one.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
}

/// Ends this process with SIGSEGV.
pub fn segfault() {
    // SAFETY: not sound, and meant not to be: page 0 is not mapped, the process ends here.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
}

/// Runs a check in a new process: what it printed, or how it ended.
fn child(arguments: &[&str]) -> std::io::Result<String> {
    let mut child = Command::new("/proc/self/exe")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > Duration::from_secs(2) {
            child.kill()?;
            child.wait()?;
            return Ok("hung".to_owned());
        }
        std::thread::sleep(Duration::from_micros(300));
    };
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut said)?;
    }
    Ok(match (status.signal(), said.trim()) {
        (Some(signal), _) => format!("killed {signal}"),
        (None, "") => format!("silent {status}"),
        (None, said) => said.to_owned(),
    })
}
