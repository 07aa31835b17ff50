//! A function of the unit tests: a thread at the other end of real pipes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use picasso_sandbox::{Endpoint, fenced_pipes};
use tokio::time::{Instant, sleep, timeout};

use crate::function_log::FunctionLog;
use crate::hot::lease::{Holder, Lease};
use crate::hot::link::{HotAnswer, HotCall, HotFormat, Link, LinkFault, Started};
use crate::testing;

/// No test waits longer.
pub(super) const SOON: Duration = Duration::from_secs(20);
/// The limit of bodies that are held as a whole.
pub(super) const MAX_BODY: u64 = 1000;

/// Remembers what became of each lease.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Vec<bool>>);

impl Holder for Leases {
    fn returned(&self, kept: bool) {
        self.0.lock().unwrap().push(kept);
    }
}

impl Leases {
    /// Waits until `count` calls are over; whether each kept its sandbox.
    pub(super) async fn ended(&self, count: usize) -> Vec<bool> {
        let ended = async {
            loop {
                let all = self.0.lock().unwrap().clone();
                if all.len() >= count {
                    return all;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, ended).await.expect("the calls end")
    }
}

/// The function's own ends.
pub(super) struct Function {
    pub(super) stdin: BufReader<File>,
    pub(super) stdout: File,
}

impl Function {
    pub(super) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.stdin.read_line(&mut line).unwrap() > 0).then_some(line)
    }

    pub(super) fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stdin.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub(super) fn say(&mut self, text: &str) {
        self.stdout.write_all(text.as_bytes()).unwrap();
    }
}

/// A link of `format` to a thread that runs `function`.
pub(super) struct Sandbox {
    pub(super) link: Arc<dyn Link>,
    pub(super) leases: Arc<Leases>,
    pub(super) function: Option<JoinHandle<()>>,
}

impl Sandbox {
    pub(super) async fn start(
        format: impl HotFormat,
        function: impl FnOnce(Function) + Send + 'static,
    ) -> Self {
        let ((stdin, to), (from, stdout)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let (stdin, stdout) =
            (File::from(std::os::fd::OwnedFd::from(stdin)), std::os::fd::OwnedFd::from(stdout).into());
        let (to, from, fence) = fenced_pipes(to.into(), from.into()).unwrap();
        let target = Arc::new(testing::target("/a"));
        let started = Started {
            stdin: Box::pin(to),
            stdout: Box::pin(from),
            fence: Some(fence),
            endpoint: Endpoint::Streams,
            log: Arc::new(FunctionLog::new(target.clone(), 1 << 20)),
            target,
            max_buffered_body_bytes: MAX_BODY,
            conduct: crate::hot::conduct::Conduct::default(),
            start_timeout: SOON,
        };
        let link = format.open(started).await.unwrap();
        let function =
            std::thread::spawn(move || function(Function { stdin: BufReader::new(stdin), stdout }));
        Self { link, leases: Arc::default(), function: Some(function) }
    }

    pub(super) fn lease(&self) -> Lease {
        Lease::new(self.leases.clone())
    }

    /// One call with that body, until its deadline.
    pub(super) async fn call_until(
        &self,
        body: impl Into<Bytes>,
        deadline: Instant,
    ) -> Result<HotAnswer, LinkFault> {
        let mut invocation = testing::invocation("/a");
        let body = body.into();
        invocation.headers.insert(http::header::CONTENT_LENGTH, body.len().into());
        invocation.body = Box::pin(stream::iter([Ok(body)]));
        timeout(SOON, self.link.call(HotCall { invocation, deadline }, self.lease()))
            .await
            .expect("an answer")
    }

    /// Waits until the function has ended, which must have gone well.
    pub(super) fn joined(&mut self) {
        self.function.take().unwrap().join().unwrap();
    }

    /// One call with that body.
    pub(super) async fn call(&self, body: impl Into<Bytes>) -> Result<HotAnswer, LinkFault> {
        self.call_until(body, Instant::now() + SOON).await
    }

    /// The body of the answer to a call, read whole.
    pub(super) async fn answered(&self, body: &str) -> String {
        let answer = self.call(body.to_owned()).await.unwrap_or_else(|fault| panic!("{}", sentence(fault)));
        text(answer).await.unwrap()
    }

    /// Why a call failed, before its answer or in the middle of it.
    pub(super) async fn failed(&self, body: &str) -> String {
        match self.call(body.to_owned()).await {
            Ok(answer) => text(answer).await.expect_err("the call fails"),
            Err(fault) => sentence(fault),
        }
    }
}

/// The body of an answer, or why it was cut short.
pub(super) async fn text(mut answer: HotAnswer) -> Result<String, String> {
    let mut all = Vec::new();
    while let Some(part) = timeout(SOON, answer.body.next()).await.expect("the answer goes on") {
        all.extend(part.map_err(|failure| failure.to_string())?);
    }
    Ok(String::from_utf8(all).unwrap())
}

/// A fault in words.
pub(super) fn sentence(fault: LinkFault) -> String {
    match fault {
        LinkFault::Unsent(_) => "unsent".to_owned(),
        LinkFault::BrokenOff(sentence) => sentence,
        LinkFault::Body(error) => error.to_string(),
        LinkFault::Failed(failure) => failure.to_string(),
    }
}
