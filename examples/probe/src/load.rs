//! Eating memory and processes, and not wanting to end.

use std::hint::black_box;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Takes and touches memory, a mebibyte at a time, up to 64 GiB; says how far it is.
pub fn memory() -> std::io::Result<()> {
    let mut taken = Vec::new();
    for mebibytes in 1..=65_536 {
        taken.push(black_box(vec![0xa5_u8; 1 << 20]));
        println!("{mebibytes}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn sleeper() -> std::io::Result<Child> {
    Command::new("/proc/self/exe")
        .args(["sleep", "1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Starts processes until it cannot, at most 1,000.
pub fn fork() -> std::io::Result<()> {
    let mut children = Vec::new();
    for count in 0..1000 {
        match sleeper() {
            Ok(child) => children.push(child),
            Err(error) => {
                println!("started {count}: errno {}", error.raw_os_error().unwrap_or(0));
                break;
            }
        }
    }
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

/// Leaves a process behind.
pub fn orphan() -> std::io::Result<()> {
    let child = sleeper()?;
    println!("left {}", child.id());
    Ok(())
}

/// Uses that much processor time; says how long that took.
pub fn burn(milliseconds: u64) -> std::io::Result<()> {
    let started = Instant::now();
    while processor_time()? < milliseconds {
        black_box((0..100_000_u64).fold(0, |sum, number| black_box(sum ^ number)));
    }
    println!("burnt in {}", started.elapsed().as_millis());
    Ok(())
}

/// This process's processor time in milliseconds, in steps of 10 (proc(5): utime and stime).
fn processor_time() -> std::io::Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    Ok(fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}

/// Sleeps with SIGTERM (and SIGINT, SIGHUP) ignored.
pub fn ignore_term() -> std::io::Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        crate::syscalls::ignore(signal);
    }
    println!("ready");
    std::io::stdout().flush()?;
    std::thread::sleep(Duration::from_hours(1));
    Ok(())
}

/// Exits with this code when it gets SIGTERM.
pub fn end_on_term(code: i32) -> std::io::Result<()> {
    crate::syscalls::exit_on(libc::SIGTERM, code);
    println!("ready");
    std::io::stdout().flush()?;
    std::thread::sleep(Duration::from_hours(1));
    Ok(())
}

/// Ends by a signal of the kernel's own, which even the first process of a namespace cannot
/// ignore.
pub fn crash() {
    crate::syscalls::segfault();
}
