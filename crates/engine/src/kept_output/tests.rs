//! What is kept of an output, with an object store and without, and with one that is away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use picasso_objects::{FileObjects, ObjectError, ObjectName, ObjectStore};
use picasso_store::{KeptObjectStore as _, SecretKey, SqliteSettings, SqliteStore};
use picasso_types::{CallId, InstanceId, ProjectId, SystemClock, Timestamp};

use super::*;
use crate::large_outputs::OutputObjects;

/// Files that can be away.
#[derive(Debug)]
struct Objects {
    files: FileObjects,
    away: AtomicBool,
    puts: AtomicUsize,
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put(&self, name: &ObjectName, part: Bytes) -> Result<(), ObjectError> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        if self.away.load(Ordering::Relaxed) {
            return Err(ObjectError::Unavailable { context: "putting", reason: "it is away".to_owned() });
        }
        self.files.put(name, part).await
    }

    async fn get(&self, name: &ObjectName) -> Result<Bytes, ObjectError> {
        self.files.get(name).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.files.delete(name).await
    }

    fn is_local(&self) -> bool {
        true
    }
}

struct Fixture {
    large: Arc<LargeOutputs>,
    objects: Arc<Objects>,
    store: Arc<SqliteStore>,
    instance: InstanceId,
    of: OutputOf,
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SecretKey::from_bytes(&[7; 32]).unwrap();
        let settings = SqliteSettings::at(folder.path().join("picasso.db"));
        let store = SqliteStore::connect(&settings, key.clone(), Arc::new(SystemClock)).await.unwrap();
        store.upgrade().await.unwrap();
        let files = FileObjects::open(folder.path().join("outputs")).unwrap();
        let objects = Arc::new(Objects { files, away: AtomicBool::new(false), puts: AtomicUsize::new(0) });
        let (store, instance) = (Arc::new(store), InstanceId::generate());
        let outputs = OutputObjects { objects: objects.clone(), key: Arc::new(key) };
        let large = Arc::new(LargeOutputs::new(outputs, store.clone(), &instance));
        let project = ProjectId::parse("demo").unwrap();
        let of = OutputOf { call: CallId::generate(), project, remove_after: Timestamp(i64::MAX) };
        Self { large, objects, store, instance, of, folder }
    }

    fn kept(&self, max_result_bytes: usize, max_log_bytes: usize) -> KeptOutput {
        kept(max_result_bytes, max_log_bytes, &self.of, Some(&self.large))
    }

    async fn read(&self, result: &KeptResult) -> Vec<u8> {
        let object = result.object.as_ref().unwrap();
        let parts = self.large.read(&self.of.call, &self.of.project, object).await.unwrap();
        parts.map(Result::unwrap).collect::<Vec<_>>().await.concat()
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        let mut folders = vec![self.folder.path().join("outputs")];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }
}

fn kept(result: usize, log: usize, of: &OutputOf, large: Option<&Arc<LargeOutputs>>) -> KeptOutput {
    let keeping = CallKeeping { max_result_bytes: result, max_log_bytes: log, ..CallKeeping::default() };
    KeptOutput::new(&keeping, Arc::new(SystemClock), of, large, 0)
}

fn nobody() -> OutputOf {
    let project = ProjectId::parse("demo").unwrap();
    OutputOf { call: CallId::generate(), project, remove_after: Timestamp(0) }
}

#[tokio::test]
async fn an_output_is_cut_at_its_bounds_and_says_so() {
    let kept = kept(5, 200, &nobody(), None);
    let content_type = http::HeaderValue::from_static("text/plain");
    kept.set_head(&HeaderMap::from_iter([(http::header::CONTENT_TYPE, content_type)]));
    for _ in 0..1000 {
        kept.keep_result(b"abc").await;
        kept.push_line("stderr", "four");
    }
    kept.drop_lines(5, 50);
    let output = kept.close().await;
    let result = KeptResult::decode(&output.result).unwrap();
    assert_eq!((result.body.as_slice(), result.total_bytes), (b"abcab".as_slice(), 3000));
    assert_eq!(result.content_type.as_deref(), Some("text/plain"));
    let log = KeptLog::decode(&output.log).unwrap();
    let (lines, cut) = (log.lines.len() as u64, log.cut.unwrap());
    assert!((1..5).contains(&lines));
    assert_eq!((cut.lines, cut.bytes), (1005 - lines, (1000 - lines) * 4 + 50));
}

#[tokio::test]
async fn any_bytes_come_back_and_nothing_is_kept_of_nothing() {
    let empty = kept(1000, 1000, &nobody(), None);
    assert_eq!(empty.close().await, CallOutput::default());
    let kept = kept(1000, 1000, &nobody(), None);
    let bytes: Vec<u8> = (0..=255).collect();
    kept.keep_result(&bytes).await;
    kept.push_line("stdout", "line");
    let output = kept.close().await;
    assert_eq!(KeptResult::decode(&output.result).unwrap().body, bytes);
    let log = KeptLog::decode(&output.log).unwrap();
    assert_eq!((log.lines[0].line.as_str(), log.lines[0].stream.as_str()), ("line", "stdout"));
    assert_eq!(KeptResult::decode(&[]), Some(KeptResult::default()));
    assert_eq!(KeptLog::decode(b"{"), None);
}

#[tokio::test]
async fn a_large_output_lies_sealed_in_the_object_store_and_a_small_one_in_the_database() {
    let f = Fixture::new().await;
    for size in [0, 1, 64 << 10, (64 << 10) + 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES, 5_000_000] {
        let kept = f.kept(4 << 20, 1000);
        let bytes: Vec<u8> = b"some secret text ".iter().copied().cycle().take(size).collect();
        for chunk in bytes.chunks(10_007) {
            kept.keep_result(chunk).await;
        }
        let output = kept.close().await;
        let result = KeptResult::decode(&output.result).unwrap();
        let whole = &bytes[..size.min(4 << 20)];
        assert_eq!((result.total_bytes, result.kept_bytes()), (size as u64, whole.len() as u64));
        assert_eq!(output.objects.len(), usize::from(size > 64 << 10));
        if size > 64 << 10 {
            assert!(result.body.is_empty() && f.read(&result).await == whole);
        } else {
            assert!(result.body == whole);
        }
    }
    for file in f.files() {
        let content = std::fs::read(file).unwrap();
        assert!(!content.windows(6).any(|bytes| bytes == b"secret"));
    }
}

#[tokio::test]
async fn parts_that_were_swapped_cut_or_taken_away_are_noticed() {
    let f = Fixture::new().await;
    let kept = f.kept(4 << 20, 1000);
    kept.keep_result(&vec![b'x'; 2 * PART_BYTES + 5]).await;
    let result = KeptResult::decode(&kept.close().await.result).unwrap();
    let object = result.object.clone().unwrap();
    let read = async |call: &CallId| {
        let parts = f.large.read(call, &f.of.project, &object).await?;
        parts.collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<_>, _>>()
    };
    read(&f.of.call).await.unwrap();
    assert!(read(&CallId::generate()).await.is_err(), "another call's");
    let files = f.files();
    let parts: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    std::fs::write(&files[0], &parts[1]).unwrap();
    std::fs::write(&files[1], &parts[0]).unwrap();
    assert!(read(&f.of.call).await.is_err(), "swapped");
    std::fs::write(&files[0], &parts[0]).unwrap();
    std::fs::write(&files[1], &parts[1][..100]).unwrap();
    assert!(read(&f.of.call).await.is_err(), "cut");
    std::fs::write(&files[1], &parts[1]).unwrap();
    std::fs::remove_file(&files[2]).unwrap();
    assert!(read(&f.of.call).await.is_err(), "taken away");
}

#[tokio::test]
async fn a_store_that_is_away_leaves_the_beginning_and_costs_the_next_calls_nothing() {
    let f = Fixture::new().await;
    f.objects.away.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let kept = f.kept(4 << 20, 4 << 20);
        kept.keep_result(&vec![b'x'; 3_000_000]).await;
        for _ in 0..20_000 {
            kept.push_line("stderr", "a line of some length that is kept");
            kept.relieve_log().await;
        }
        let output = kept.close().await;
        assert_eq!(output.objects, []);
        let result = KeptResult::decode(&output.result).unwrap();
        assert_eq!((result.total_bytes, result.body.len()), (3_000_000, 64 << 10));
        let log = KeptLog::decode(&output.log).unwrap();
        let cut = log.cut.unwrap();
        assert_eq!(log.lines.len() as u64 + cut.lines, 20_000);
        assert!(log.lines.len() > 500 && log.object.is_none());
    }
    assert_eq!(f.objects.puts.load(Ordering::Relaxed), 1);
    // What was begun is nobody's, at once.
    assert_eq!(f.store.list_removable_objects(&f.instance, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_call_that_is_ended_while_a_part_is_stored_leaves_no_gap() {
    let f = Fixture::new().await;
    let kept = f.kept(4 << 20, 1000);
    {
        let first = vec![b'x'; PART_BYTES];
        let begun = kept.keep_result(&first);
        // Polled once: it waits for the database.
        assert!(futures_util::poll!(std::pin::pin!(begun)).is_pending());
    }
    kept.keep_result(&vec![b'y'; PART_BYTES]).await;
    let output = kept.close().await;
    assert_eq!(output.objects, []);
    let result = KeptResult::decode(&output.result).unwrap();
    assert_eq!((result.total_bytes, result.body), (2 * PART_BYTES as u64, vec![b'x'; 64 << 10]));
}

#[tokio::test]
async fn whoever_follows_too_slowly_is_told_how_many_lines_are_not_shown() {
    let f = Fixture::new().await;
    let kept = f.kept(1000, 4 << 20);
    for number in 0..20_000 {
        kept.push_line("stderr", &format!("line {number:06}"));
    }
    let NewLines { lines, next, full } = kept.lines_from(0);
    assert_eq!((next, full), (20_000, false));
    let missed = 20_000 - (lines.len() - 1);
    assert!(missed > 0 && lines[0].line.starts_with(&format!("[{missed} lines are not shown here")));
    assert_eq!(lines[1].line, format!("line {missed:06}"));
    assert_eq!(kept.lines_from(19_999).lines.len(), 1);
    assert!(kept.lines_from(20_000).lines.is_empty());
}
