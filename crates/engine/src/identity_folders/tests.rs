//! Renewal and withdrawal by a clock of the tests', over Keystones that fail when they are told to.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use picasso_image::RootFs;
use picasso_sandbox::{
    Ended, Features, IdentityFolder, IdentityFolders as Folders, ProcessSpec, Reaped, Sandbox, SandboxError,
    SandboxIo, SlotId, SlotSpec,
};
use picasso_store::Changed;
use picasso_types::{Clock, Failure, ProjectId, RouteId, Timestamp};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{IdentityFolders, SandboxIdentity};
use crate::identities::{FunctionIdentity, Identities, IdentityRefusal};
use crate::target::Target;
use crate::testing;

const HOUR: Duration = Duration::from_hours(1);
const ALMOST_AN_HOUR: Duration = Duration::from_secs(3599);

/// What is answered to the next questions.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A token that is new with each question, with this variable.
    Token {
        env: &'static str,
        lasts: Option<Duration>,
    },
    /// The route has none.
    Nothing,
    Refused(IdentityRefusal),
    /// The next question is answered once this is told, and later ones with a token.
    Late(Arc<Notify>, IdentityRefusal),
    Never,
}

/// Gives the identities that a test wants.
#[derive(Debug)]
pub struct FakeIdentities {
    answer: Mutex<Answer>,
    asked: AtomicUsize,
    clock: Arc<dyn Clock>,
}

impl FakeIdentities {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let answer = Mutex::new(Answer::Token { env: "one", lasts: None });
        Arc::new(Self { answer, asked: AtomicUsize::new(0), clock })
    }

    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

#[async_trait]
impl Identities for FakeIdentities {
    async fn of_route(
        &self,
        _: &ProjectId,
        _: &RouteId,
    ) -> Result<Option<FunctionIdentity>, IdentityRefusal> {
        let number = self.asked.fetch_add(1, SeqCst) + 1;
        let answer = self.answer.lock().unwrap().clone();
        let (env, lasts) = match answer {
            Answer::Token { env, lasts } => (env, lasts),
            Answer::Nothing => return Ok(None),
            Answer::Refused(refusal) => return Err(refusal),
            Answer::Late(told, next) => {
                self.answer(Answer::Refused(next));
                told.notified().await;
                ("one", None)
            }
            Answer::Never => std::future::pending().await,
        };
        Ok(Some(FunctionIdentity {
            env: vec![("OS_CLOUD".to_owned(), env.to_owned())],
            files: vec![("token".to_owned(), format!("token {number}").into_bytes())],
            renew_at: lasts.map(|lasts| self.clock.now().plus(lasts)),
        }))
    }
}

/// The time that tokio's tests make pass.
#[derive(Debug)]
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp(0).plus(self.0.elapsed())
    }
}

/// Folders, and nothing that runs.
#[derive(Debug)]
struct OnlyFolders(Arc<Folders>);

#[async_trait]
impl Sandbox for OnlyFolders {
    fn name(&self) -> &'static str {
        "folders"
    }

    fn features(&self) -> Features {
        Features { egress: false, socket_folder: false, ports: false }
    }

    async fn make_identity_folder(&self) -> Result<IdentityFolder, SandboxError> {
        Ok(self.0.make().unwrap())
    }

    async fn prepare(&self, _: &RootFs) -> Result<(), SandboxError> {
        unreachable!("nothing is started")
    }

    async fn make_slot(&self, _: &SlotSpec) -> Result<SlotId, SandboxError> {
        unreachable!("nothing is started")
    }

    async fn start(&self, _: SlotId, _: &RootFs, _: &ProcessSpec) -> Result<SandboxIo, SandboxError> {
        unreachable!("nothing is started")
    }

    async fn wait(&self, _: SlotId) -> Result<Ended, SandboxError> {
        unreachable!("nothing is started")
    }

    async fn terminate(&self, _: SlotId) -> Result<(), SandboxError> {
        unreachable!("nothing is started")
    }

    async fn kill(&self, _: SlotId) -> Result<(), SandboxError> {
        unreachable!("nothing is started")
    }

    async fn remove(&self, _: SlotId) -> Result<(), SandboxError> {
        unreachable!("nothing is started")
    }

    async fn reap(&self) -> Result<Reaped, SandboxError> {
        unreachable!("nothing is started")
    }
}

struct Bench {
    root: TempDir,
    keystone: Arc<FakeIdentities>,
    identities: Arc<IdentityFolders>,
    target: Target,
}

impl Bench {
    fn new(first: Answer) -> Self {
        let root = tempfile::tempdir().unwrap();
        let clock = Arc::new(PausedClock(Instant::now()));
        let keystone = FakeIdentities::new(clock.clone());
        keystone.answer(first);
        let folders = Folders::open(&root.path().join("i"), "").unwrap();
        let identities = IdentityFolders::new(Some(keystone.clone()), Arc::new(OnlyFolders(folders)), clock);
        Self { root, keystone, identities, target: testing::target("/f") }
    }

    async fn start(&self) -> Result<SandboxIdentity, Failure> {
        let started = self.identities.of_sandbox(&self.target).await;
        started.map(|identity| identity.unwrap()).map_err(|end| end.failure.unwrap())
    }

    fn folders(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.root.path().join("i")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// The tokens of all sandboxes; `""` where one has none.
    fn tokens(&self) -> Vec<String> {
        let read = |path: &PathBuf| std::fs::read_to_string(path.join("token")).unwrap_or_default();
        self.folders().iter().map(read).collect()
    }

    fn change(&self) {
        self.identities.changed(&Changed::Apps([self.target.app.id.clone()].into()));
    }
}

fn lasting(lasts: Duration) -> Answer {
    Answer::Token { env: "one", lasts: Some(lasts) }
}

/// Lets all that is due happen.
async fn pass(time: Duration) {
    tokio::time::sleep(time + Duration::from_millis(1)).await;
}

fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).unwrap().next().is_none()
}

#[tokio::test(start_paused = true)]
async fn one_question_renews_all_sandboxes_of_a_route_before_their_token_ends() {
    let bench = Bench::new(lasting(HOUR));
    let (a, b) = (bench.start().await.unwrap(), bench.start().await.unwrap());
    assert_eq!(a.env, [("OS_CLOUD".to_owned(), "one".to_owned())]);
    assert_ne!(a.held.folder(), b.held.folder());
    assert_eq!(bench.tokens(), ["token 1", "token 2"]);
    pass(ALMOST_AN_HOUR).await;
    assert_eq!(bench.keystone.asked(), 2);
    pass(Duration::from_secs(1)).await;
    assert_eq!(bench.tokens(), ["token 3", "token 3"]);
    pass(HOUR * 2).await;
    assert_eq!(bench.tokens(), ["token 5", "token 5"]);
    drop(a);
    assert_eq!(bench.folders().len(), 1);
    drop(b);
    pass(Duration::ZERO).await;
    assert_eq!((bench.folders().len(), bench.identities.routes()), (0, 0));
    pass(HOUR * 10).await;
    assert_eq!(bench.keystone.asked(), 5, "nobody needs it any more");
}

#[tokio::test(start_paused = true)]
async fn keystone_away_at_renewal_leaves_the_old_token_and_is_asked_again() {
    let bench = Bench::new(lasting(HOUR));
    let held = bench.start().await.unwrap();
    bench.keystone.answer(Answer::Refused(IdentityRefusal::Unavailable));
    pass(HOUR + Duration::from_mins(4)).await;
    assert_eq!(bench.tokens(), ["token 1"]);
    assert!(!held.held.is_withdrawn());
    let asked = bench.keystone.asked();
    assert!((5..15).contains(&asked), "{asked} questions within four minutes");
    let failure = bench.start().await.err().unwrap();
    assert!(matches!(failure, Failure::IdentityUnavailable { .. }), "{failure:?}");
    bench.keystone.answer(lasting(HOUR));
    pass(Duration::from_mins(1)).await;
    assert_eq!(bench.tokens(), [format!("token {}", bench.keystone.asked())]);
    assert_eq!(bench.keystone.asked(), asked + 2);
    assert!(!held.held.is_withdrawn());
    // One that does not answer at all holds nothing up for ever.
    bench.keystone.answer(Answer::Never);
    assert!(matches!(bench.start().await, Err(Failure::IdentityUnavailable { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_whose_token_must_have_ended_serves_no_call() {
    let bench = Bench::new(lasting(HOUR));
    let held = bench.start().await.unwrap();
    bench.keystone.answer(Answer::Refused(IdentityRefusal::Unavailable));
    pass(HOUR + Duration::from_mins(7)).await;
    assert!(held.held.is_withdrawn());
    assert_eq!(bench.tokens(), [""]);
    assert!(matches!(bench.start().await, Err(Failure::IdentityUnavailable { .. })));
    bench.keystone.answer(lasting(HOUR));
    let next = bench.start().await.unwrap();
    pass(HOUR).await;
    assert!(!next.held.is_withdrawn());
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_does_not_hold_any_more_is_withdrawn_as_soon_as_its_route_changes() {
    let refused = || IdentityRefusal::Refused("the trust is gone".to_owned());
    for (answer, failure) in [
        (Answer::Refused(IdentityRefusal::Suspended), Some(Failure::IdentitySuspended)),
        (Answer::Refused(refused()), Some(Failure::IdentityUnavailable { reason: refused().to_string() })),
        (Answer::Nothing, None),
    ] {
        let bench = Bench::new(lasting(HOUR));
        let (a, b) = (bench.start().await.unwrap(), bench.start().await.unwrap());
        bench.keystone.answer(answer);
        pass(Duration::from_secs(1)).await;
        assert!(!a.held.is_withdrawn());
        bench.change();
        tokio::join!(a.held.withdrawn(), b.held.withdrawn());
        assert!(bench.folders().iter().all(|folder| is_empty(folder)));
        match failure {
            Some(failure) => assert_eq!(bench.start().await.err(), Some(failure)),
            None => assert!(bench.identities.of_sandbox(&bench.target).await.ok().unwrap().is_none()),
        }
        // Granted anew it is another sandbox's: these have none for good.
        bench.keystone.answer(lasting(HOUR));
        bench.change();
        let c = bench.start().await.unwrap();
        pass(HOUR * 2).await;
        assert_eq!(bench.tokens().iter().filter(|token| !token.is_empty()).count(), 1);
        drop((a, b));
        assert_eq!(bench.folders().len(), 1);
        drop(c);
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_withdrawn_at_its_renewal_at_the_latest() {
    let bench = Bench::new(lasting(HOUR));
    let held = bench.start().await.unwrap();
    bench.keystone.answer(Answer::Refused(IdentityRefusal::Refused("the user is disabled".to_owned())));
    pass(HOUR).await;
    assert!(held.held.is_withdrawn());
    assert_eq!(bench.tokens(), [""]);
}

#[tokio::test(start_paused = true)]
async fn sandboxes_with_the_variables_of_an_earlier_identity_get_nothing_of_the_new_one() {
    let bench = Bench::new(lasting(HOUR));
    let old = bench.start().await.unwrap();
    bench.keystone.answer(Answer::Token { env: "two", lasts: Some(HOUR) });
    bench.change();
    old.held.withdrawn().await;
    let new = bench.start().await.unwrap();
    pass(HOUR).await;
    assert!(!new.held.is_withdrawn());
    assert_eq!(bench.tokens(), [String::new(), format!("token {}", bench.keystone.asked())]);
}

#[tokio::test(start_paused = true)]
async fn a_change_while_an_identity_is_asked_for_is_not_missed() {
    let told = Arc::new(Notify::new());
    let bench = Bench::new(Answer::Late(told.clone(), IdentityRefusal::Suspended));
    let start = bench.start();
    let change = async {
        pass(Duration::from_secs(1)).await;
        assert_eq!(bench.keystone.asked(), 1);
        bench.change();
        told.notify_one();
    };
    let (started, ()) = tokio::join!(start, change);
    assert_eq!(started.err(), Some(Failure::IdentitySuspended));
    assert_eq!(bench.folders().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_due_again_at_once_is_not_asked_for_without_end() {
    let bench = Bench::new(lasting(Duration::ZERO));
    let _held = bench.start().await.unwrap();
    pass(HOUR).await;
    assert!(bench.keystone.asked() < 100, "{}", bench.keystone.asked());
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_whose_folder_takes_no_more_files_makes_way_for_another() {
    let bench = Bench::new(lasting(HOUR));
    let held = bench.start().await.unwrap();
    pass(HOUR * 100).await;
    assert!(held.held.is_withdrawn());
    assert_eq!(bench.tokens(), [""]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_gives_no_identities_runs_nothing_without() {
    let mut bench = Bench::new(Answer::Nothing);
    let (sandbox, clock) = (bench.identities.sandbox.clone(), bench.identities.clock.clone());
    bench.identities = IdentityFolders::new(None, sandbox, clock);
    assert!(matches!(bench.start().await, Err(Failure::IdentityUnavailable { .. })));
}
