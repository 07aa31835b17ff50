//! A server of the formats `http-stream` and `http-server` that does what the header `x-do` of
//! each request says: answers it, or breaks the contract in one of the ways that must not harm
//! another caller.

mod listen;
mod wire;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use self::listen::Connection;
use self::wire::Request;

/// Requests it has begun to serve.
static SERVED: AtomicUsize = AtomicUsize::new(0);
/// Requests it is serving, and most it ever served at one time.
static BUSY: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

fn main() -> ExitCode {
    std::thread::spawn(note_sigterm);
    let outcome = listen::each_connection(|connection| {
        std::thread::spawn(move || {
            // Callers come and go; only they can tell what a broken connection means.
            let _ = serve(connection);
        });
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the server as a well-behaved one ends.
fn note_sigterm() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let kind = tokio::signal::unix::SignalKind::terminate();
        if let Ok(mut term) = tokio::signal::unix::signal(kind) {
            term.recv().await;
            let _ = writeln!(io::stderr().lock(), "SIGTERM came, nothing is left to do");
            std::process::exit(0);
        }
    });
}

fn serve(mut connection: Connection) -> io::Result<()> {
    let Some(mut request) = Request::head(&mut connection)? else { return Ok(()) };
    SERVED.fetch_add(1, Ordering::Relaxed);
    let busy = BUSY[0].fetch_add(1, Ordering::Relaxed) + 1;
    BUSY[1].fetch_max(busy, Ordering::Relaxed);
    let outcome = act(&mut request, &mut connection);
    BUSY[0].fetch_sub(1, Ordering::Relaxed);
    outcome
}

fn act(request: &mut Request, connection: &mut Connection) -> io::Result<()> {
    let what = request.header("x-do").unwrap_or_default().to_owned();
    let (name, number) = what.split_once(' ').unwrap_or((&what, "0"));
    let number: u64 = number.parse().unwrap_or_default();
    if name == "refuse" {
        return connection.write_all(&wire::answer(413, b"not read"));
    }
    if name == "count" {
        let length = request.body(connection, &mut io::sink())?;
        return connection.write_all(&wire::answer(200, length.to_string().as_bytes()));
    }
    let mut body = Vec::new();
    request.body(connection, &mut body)?;
    let answer = wire::answer(200, &body);
    match name {
        "describe" => {
            let text = format!(
                "{} {}\n{}\nserved {} at most {}\n",
                request.method,
                request.target,
                request.headers.join("\n"),
                SERVED.load(Ordering::Relaxed),
                BUSY[1].load(Ordering::Relaxed)
            );
            connection.write_all(&wire::answer(201, text.as_bytes()))
        }
        // In one write and in two: both are seen in the wild.
        "second" => connection.write_all(&[answer.clone(), answer].concat()),
        "second-write" => {
            connection.write_all(&answer)?;
            connection.write_all(&answer)
        }
        // A second answer some time later, when another call may be under way.
        "thread" => {
            connection.write_all(&answer)?;
            std::thread::sleep(Duration::from_micros(number));
            connection.write_all(&answer)
        }
        "babble" => connection.write_all(&[b"no answer: ", body.as_slice(), b"\n"].concat()),
        "half" => connection.write_all(&answer[..answer.len() - body.len() / 2 - 1]),
        "silence" => Ok(()),
        "crash" => std::process::abort(),
        "sleep" => {
            std::thread::sleep(Duration::from_millis(number));
            connection.write_all(&answer)
        }
        "status" => connection.write_all(&wire::plain(number, &body)),
        _ => connection.write_all(&answer),
    }
}
