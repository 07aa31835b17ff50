//! A function of the formats `json` and `http` that does what the header `x-do` of each request
//! says: answers it, or breaks the contract in one of the ways that must not harm another caller.

mod http;
mod json;

use std::error::Error;
use std::io::{BufRead, BufReader, Stdin, Write};
use std::time::Duration;

/// One request.
struct Call {
    /// Its id.
    id: String,
    /// Its header `x-do`.
    what: String,
    /// Its body; of `count` only the length, in digits.
    body: Vec<u8>,
}

/// The format, as the environment names it.
#[derive(Clone, Copy)]
enum Wire {
    Json,
    Http,
}

type Input = BufReader<Stdin>;

impl Wire {
    /// The next request; `None` at the end of stdin.
    fn read(self, input: &mut Input) -> Result<Option<Call>, Box<dyn Error>> {
        match self {
            Self::Json => json::read(input),
            Self::Http => http::read(input),
        }
    }

    /// An answer with that body; `id` says of which call it is, which the contract leaves open.
    fn answer(self, body: &[u8], id: Option<&str>) -> Vec<u8> {
        match self {
            Self::Json => json::answer(body, id),
            Self::Http => http::answer(body, id),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let wire = if std::env::var("FN_FORMAT").as_deref() == Ok("http") { Wire::Http } else { Wire::Json };
    let mut input = BufReader::new(std::io::stdin());
    while let Some(call) = wire.read(&mut input)? {
        serve(wire, &call, &mut input)?;
    }
    Ok(())
}

fn serve(wire: Wire, call: &Call, input: &mut Input) -> Result<(), Box<dyn Error>> {
    let (name, number) = call.what.split_once(' ').unwrap_or((&call.what, "0"));
    let answer = wire.answer(&call.body, None);
    match name {
        // In one write and in two: both are seen in the wild.
        "second" => say(&[answer.clone(), answer].concat())?,
        "second-write" => {
            say(&answer)?;
            say(&answer)?;
        }
        // A second answer when the next request has begun to come.
        "belated" => {
            say(&answer)?;
            if !input.fill_buf()?.is_empty() {
                say(&answer)?;
            }
        }
        // A second answer some time later, from a thread that knows whose it is.
        "thread" => {
            say(&answer)?;
            let late = wire.answer(&call.body, Some(&call.id));
            let pause = Duration::from_micros(number.parse()?);
            std::thread::spawn(move || {
                std::thread::sleep(pause);
                // Nobody may be there to read it.
                let _ = say(&late);
            });
        }
        // Something else than an answer.
        "babble" => say(&[b"no answer: ", call.body.as_slice(), b"\n"].concat())?,
        // Half of an answer, and the end.
        "half" => {
            say(&answer[..answer.len() / 2])?;
            return Err("ended in the middle of an answer".into());
        }
        "crash" => std::process::abort(),
        "sleep" => {
            std::thread::sleep(Duration::from_millis(number.parse()?));
            say(&answer)?;
        }
        "huge" => say(&wire.answer(&vec![b'x'; number.parse()?], None))?,
        _ => say(&answer)?,
    }
    Ok(())
}

/// Writes all of it at once.
fn say(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
