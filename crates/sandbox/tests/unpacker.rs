//! The unpacker as a real process: what it writes, what it refuses, and what it cannot do.
//!
//! The process is this test binary itself, started again: without libtest, whose own threads
//! would not be those that are confined.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use picasso_image::{LayerFile, LayerUnpacker, UnpackBounds, UnpackError};
use picasso_sandbox::unpacker::{UnpackerClient, unpacker_main};
use picasso_testkit::process::wait_until;
use picasso_types::Digest;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tempfile::TempDir;
use tokio::sync::mpsc;

const LAYERS: &str = "PICASSO_TEST_UNPACKER_LAYERS";
const BOUNDS: UnpackBounds =
    UnpackBounds { max_bytes: 256 << 20, max_inodes: 10_000, timeout: Duration::from_mins(1) };

/// An unpacker process; killed when dropped.
struct Unpacker(Child);

impl Unpacker {
    fn start(layers: &Path) -> (Self, OwnedFd) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .env(LAYERS, layers)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        (Self(child), ours)
    }

    fn proc_file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.0.id())).unwrap()
    }

    fn status(&self, key: &str) -> String {
        let status = self.proc_file("status");
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{key}:")));
        line.unwrap().trim().to_owned()
    }

    async fn ended(&mut self) -> std::process::ExitStatus {
        let child = &mut self.0;
        wait_until(Duration::from_secs(20), "the unpacker's end", || {
            std::future::ready(child.try_wait().unwrap().is_some())
        })
        .await
        .unwrap();
        self.0.wait().unwrap()
    }
}

impl Drop for Unpacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A layer folder, a client, and the way to give it another process.
struct Bed {
    dir: TempDir,
    client: UnpackerClient,
    sockets: mpsc::Sender<OwnedFd>,
}

impl Bed {
    fn new() -> Option<Self> {
        let missing = (!rustix::process::geteuid().is_root()).then_some("not root");
        if !picasso_testkit::process::require("root", missing) {
            return None;
        }
        let (sockets, receiver) = mpsc::channel(4);
        Some(Self { dir: tempfile::tempdir().unwrap(), client: UnpackerClient::new(receiver), sockets })
    }

    fn layers(&self) -> PathBuf {
        self.dir.path().join("layers")
    }

    async fn start(&self) -> Unpacker {
        let (unpacker, socket) = Unpacker::start(&self.layers());
        self.sockets.send(socket).await.unwrap();
        unpacker
    }

    async fn unpack(&self, tar: &[u8]) -> Result<picasso_image::UnpackedLayer, UnpackError> {
        self.client.unpack(blob(tar), &Digest::of(tar), BOUNDS).await
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.layers()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn blob(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o4751);
        header.set_uid(33);
        header.set_gid(65_535);
        header.set_mtime(1_600_000_000);
        tar.append_data(&mut header, path, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

async fn a_layer_is_written_as_it_says() {
    let Some(bed) = Bed::new() else { return };
    let _unpacker = bed.start().await;
    let passwd = vec![b'p'; 700_000];
    let group = vec![b'g'; 600_000];
    let tar = layer(&[
        ("usr/bin/tool", b"program"),
        ("etc/passwd", &passwd),
        ("etc/group", &group),
        ("opt/.wh..wh..opq", b""),
        ("srv/.wh.old", b""),
    ]);
    let digest = Digest::of(&tar);
    assert!(!bed.client.has(&digest).await.unwrap());
    let unpacked = bed.unpack(&tar).await.unwrap();
    assert_eq!(unpacked.passwd, LayerFile::Content(passwd));
    assert_eq!(unpacked.group, LayerFile::Content(group));
    assert_eq!((unpacked.tar_bytes, unpacked.bytes), (tar.len() as u64, 1_300_007));

    let root = bed.layers().join(digest.hex());
    let tool = std::fs::metadata(root.join("usr/bin/tool")).unwrap();
    assert_eq!((tool.uid(), tool.gid(), tool.mode() & 0o7777), (33, 65_535, 0o4751));
    assert_eq!(tool.mtime(), 1_600_000_000);
    let old = std::fs::symlink_metadata(root.join("srv/old")).unwrap();
    assert!(old.file_type().is_char_device() && old.rdev() == 0);
    let mut value = [0; 4];
    let length = rustix::fs::getxattr(root.join("opt"), "trusted.overlay.opaque", &mut value).unwrap();
    assert_eq!(&value[..length], b"y");
    assert_eq!(std::fs::metadata(bed.layers()).unwrap().permissions().mode() & 0o7777, 0o700);

    assert!(bed.client.has(&digest).await.unwrap());
    assert_eq!(bed.unpack(&tar).await.unwrap(), unpacked, "the second time it is only proven");
    bed.client.remove(&digest).await.unwrap();
    bed.client.remove(&digest).await.unwrap();
    assert!(!bed.client.has(&digest).await.unwrap());
    assert_eq!(bed.names(), Vec::<String>::new());
}

async fn the_process_has_lost_all_that_it_does_not_need() {
    let Some(bed) = Bed::new() else { return };
    let unpacker = bed.start().await;
    bed.unpack(&layer(&[("a", b"1")])).await.unwrap();

    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SYS_ADMIN.
    let kept = format!("{:016x}", 1_u64 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 21);
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(unpacker.status(set), kept, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(unpacker.status(set), "0000000000000000", "{set}");
    }
    assert_eq!((unpacker.status("Seccomp"), unpacker.status("NoNewPrivs")), ("2".to_owned(), "1".to_owned()));
    assert_eq!(unpacker.status("Threads"), "1");
    for namespace in ["mnt", "net", "ipc", "uts"] {
        let of = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/{namespace}")).unwrap();
        assert_ne!(of(&unpacker.0.id().to_string()), of("self"), "{namespace}");
    }
    let root = format!("/proc/{}/root", unpacker.0.id());
    let seen: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(seen.len(), 1, "it sees its layers only: {seen:?}");
    let mounts = unpacker.proc_file("mountinfo");
    assert_eq!(mounts.lines().count(), 1, "{mounts}");
    assert!(mounts.contains("nosuid,nodev,noexec"), "{mounts}");
    let limits = unpacker.proc_file("limits");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(limit("Max address space"), "1073741824");
    assert_eq!((limit("Max open files"), limit("Max core file size")), ("512".to_owned(), "0".to_owned()));
    assert_eq!(limit("Max processes"), "0");
}

async fn a_hostile_layer_is_refused_and_the_process_goes_on() {
    let Some(bed) = Bed::new() else { return };
    let _unpacker = bed.start().await;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_link(&mut header, "l", "/").unwrap();
    let mut hostile = tar.into_inner().unwrap();
    hostile.truncate(512);
    hostile.extend(layer(&[("l/escaped-from-the-unpacker", b"x")]));
    let error = bed.unpack(&hostile).await.unwrap_err();
    assert!(matches!(&error, UnpackError::Refused(reason) if reason.contains("symbolic link")), "{error}");
    let wrong = bed.client.unpack(blob(&layer(&[("a", b"1")])), &Digest::of(b"other"), BOUNDS).await;
    assert!(matches!(wrong, Err(UnpackError::Refused(_))));
    assert_eq!(bed.names(), Vec::<String>::new());
    assert!(!Path::new("/escaped-from-the-unpacker").exists());
    bed.unpack(&layer(&[("a", b"1")])).await.unwrap();
}

async fn the_largest_allowed_zstd_window_fits_in_its_memory() {
    let Some(bed) = Bed::new() else { return };
    let mut unpacker = bed.start().await;
    let tar = layer(&[("noise", &vec![7; 40 << 20])]);
    let compress = |window_log: u32| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(window_log)).unwrap();
        encoder.write_all(&tar).unwrap();
        encoder.finish().unwrap()
    };
    bed.client.unpack(blob(&compress(27)), &Digest::of(&tar), BOUNDS).await.unwrap();
    let error = bed.client.unpack(blob(&compress(29)), &Digest::of(&tar), BOUNDS).await.unwrap_err();
    assert!(matches!(error, UnpackError::Refused(_)), "{error}");
    assert!(unpacker.0.try_wait().unwrap().is_none(), "it lives on");
}

async fn a_process_that_died_is_replaced_and_the_request_asked_again() {
    let Some(bed) = Bed::new() else { return };
    let mut first = bed.start().await;
    bed.unpack(&layer(&[("a", b"1")])).await.unwrap();
    std::fs::create_dir_all(bed.layers().join(".tmp-7/half/made")).unwrap();
    first.0.kill().unwrap();
    first.ended().await;
    let second = layer(&[("b", b"2")]);
    let asking = bed.unpack(&second);
    let replacing = async { bed.start().await };
    let (unpacked, _process) = tokio::join!(asking, replacing);
    assert_eq!(unpacked.unwrap().diff_id, Digest::of(&second));
    assert!(!bed.layers().join(".tmp-7").exists(), "what the dead one left is gone");
}

async fn a_caller_that_goes_away_leaves_no_answer_for_the_next_one() {
    let Some(bed) = Bed::new() else { return };
    let _unpacker = bed.start().await;
    let large = layer(&[("large", &vec![1; 64 << 20])]);
    let gone = tokio::time::timeout(Duration::from_millis(5), bed.unpack(&large)).await;
    let small = layer(&[("etc/passwd", b"small")]);
    let unpacked = bed.unpack(&small).await.unwrap();
    assert_eq!(unpacked.passwd, LayerFile::Content(b"small".to_vec()));
    assert!(gone.is_err() && bed.client.has(&Digest::of(&large)).await.unwrap());
}

async fn it_ends_with_its_engine_and_at_messages_that_no_engine_sends() {
    let Some(bed) = Bed::new() else { return };
    let (mut idle, socket) = Unpacker::start(&bed.layers());
    drop(socket);
    assert!(idle.ended().await.success());
    let (mut fooled, socket) = Unpacker::start(&bed.layers());
    rustix::net::send(&socket, b"not a request", rustix::net::SendFlags::NOSIGNAL).unwrap();
    assert!(!fooled.ended().await.success());
    let mut said = String::new();
    fooled.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("picasso unpacker:"), "{said}");
}

fn main() -> ExitCode {
    if let Some(layers) = std::env::var_os(LAYERS) {
        let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        return unpacker_main(socket, Path::new(&layers));
    }
    macro_rules! trials {
        ($($name:ident),* $(,)?) => {
            vec![$(Trial::test(stringify!($name), || { run($name()); Ok(()) })),*]
        };
    }
    let trials = trials![
        a_layer_is_written_as_it_says,
        the_process_has_lost_all_that_it_does_not_need,
        a_hostile_layer_is_refused_and_the_process_goes_on,
        the_largest_allowed_zstd_window_fits_in_its_memory,
        a_process_that_died_is_replaced_and_the_request_asked_again,
        a_caller_that_goes_away_leaves_no_answer_for_the_next_one,
        it_ends_with_its_engine_and_at_messages_that_no_engine_sends,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}
