//! The probe: a program that tries, from inside a sandbox, what a curious or hostile function
//! would try, and says what came of it.
//!
//! `probe CHECK [ARGUMENT…]` prints one line for each thing it tried; exit code 2 means that the
//! check itself was called wrongly.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what the probe is for")]

mod files;
mod identity;
mod load;
mod network;
mod syscalls;

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::from(2)
        }
    }
}

type Checked = Result<ExitCode, Box<dyn std::error::Error>>;

fn run(arguments: &[&str]) -> Checked {
    match arguments {
        ["echo"] => {
            std::io::copy(&mut std::io::stdin(), &mut std::io::stdout())?;
        }
        ["exit", code] => return Ok(ExitCode::from(code.parse::<u8>()?)),
        ["say", out, error] => {
            println!("{out}");
            eprintln!("{error}");
        }
        ["sleep", seconds] => std::thread::sleep(Duration::from_secs(seconds.parse()?)),
        ["output", bytes] => output(bytes.parse()?)?,
        ["swallow"] => println!("{}", std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?),
        ["wait-for-stdin"] => {
            println!("ready");
            std::io::stdout().flush()?;
            std::io::stdin().read_to_end(&mut Vec::new())?;
        }
        ["identity"] => identity::identity()?,
        ["processes"] => identity::processes()?,
        ["cat", path] => {
            let bytes = std::fs::read(path)?;
            std::io::stdout().write_all(&bytes)?;
        }
        ["list", path] => files::list(path)?,
        ["read", paths @ ..] => files::read(paths),
        ["read-again", path] => files::read_again(path)?,
        ["write", paths @ ..] => files::write(paths),
        ["remove", paths @ ..] => files::remove(paths),
        ["fill-bytes", path] => files::fill_bytes(path),
        ["fill-inodes", path] => files::fill_inodes(path),
        ["memory"] => load::memory()?,
        ["fork"] => load::fork()?,
        ["orphan"] => load::orphan()?,
        ["burn", milliseconds] => load::burn(milliseconds.parse()?)?,
        ["ignore-term"] => load::ignore_term()?,
        ["end-on-term", code] => load::end_on_term(code.parse()?)?,
        ["crash"] => load::crash(),
        ["syscalls"] => syscalls::every_number()?,
        ["syscall-arguments"] => syscalls::arguments()?,
        ["syscall", number, values @ ..] => syscalls::one(number, values)?,
        ["int80"] => syscalls::int80(),
        ["connect", addresses @ ..] => network::connect(addresses)?,
        ["listen", port] => network::listen(port.parse()?)?,
        ["serve", port, bytes] => network::serve(port.parse()?, bytes.parse()?)?,
        ["serve-names", address] => network::serve_names(address)?,
        ["resolve", name] => network::resolve(name)?,
        ["hold", address, count] => network::hold(address, count.parse()?)?,
        ["fetch", address, bytes] => network::fetch(address, bytes.parse()?)?,
        _ => return Err("unknown check; see its source for what there is".into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes that many bytes, each the low byte of its position divided by 251.
fn output(bytes: u64) -> std::io::Result<()> {
    let pattern: Vec<u8> = (0..=250).cycle().take(251 * 256).collect();
    let mut stdout = std::io::stdout().lock();
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(pattern.len());
        stdout.write_all(&pattern[..part])?;
        left -= part as u64;
    }
    stdout.flush()
}
