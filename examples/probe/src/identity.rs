//! Who a function is, and whom it sees.

use std::fs;

/// Ids, capabilities, filter state, limits, environment, working directory, arguments.
pub fn identity() -> std::io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let wanted = ["Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp:", "Pid:", "PPid:", "NStgid:"];
    for line in status.lines().filter(|line| wanted.iter().any(|start| line.starts_with(start))) {
        println!("{}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    for line in fs::read_to_string("/proc/self/limits")?.lines().skip(1) {
        println!("limit {}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    println!(
        "uid_map {}",
        fs::read_to_string("/proc/self/uid_map")?.split_whitespace().collect::<Vec<_>>().join(" ")
    );
    println!("cwd {}", std::env::current_dir()?.display());
    println!("hostname {}", fs::read_to_string("/proc/sys/kernel/hostname")?.trim());
    for (name, value) in std::env::vars() {
        println!("env {name}={value}");
    }
    Ok(())
}

/// Every process in `/proc`: its id and name.
pub fn processes() -> std::io::Result<()> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            let comm = fs::read_to_string(format!("/proc/{name}/comm")).unwrap_or_default();
            println!("process {name} {}", comm.trim());
        }
    }
    Ok(())
}
