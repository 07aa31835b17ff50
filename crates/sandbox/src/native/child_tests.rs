//! The order in which a child gives up its rights, and what it does where a step fails.

use std::os::fd::{AsFd, OwnedFd};

use super::blob;
use super::child::{Launch, Seat, StartFault, Step, become_function, sit_down};
use super::mounts::{self, Mask, Skeleton, Tree};
use super::recorder::Recorder;
use crate::{Channel, ProcessSpec, SecretFile};

/// What the fake descriptors of a launch are.
struct Fixture {
    k: Recorder,
    tasks: Vec<OwnedFd>,
    fds: Vec<OwnedFd>,
    process: OwnedFd,
    layers: Vec<String>,
    masks: Vec<Mask>,
    channel: Channel,
    secrets: bool,
    identity: Option<&'static str>,
}

impl Fixture {
    fn new(k: Recorder, argv: &[&str], path: &str) -> Self {
        Self::with_files(k, argv, path, &[])
    }

    fn with_files(k: Recorder, argv: &[&str], path: &str, files: &[SecretFile]) -> Self {
        let process = ProcessSpec {
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            env: vec![("PATH".to_owned(), path.to_owned())],
            cwd: "/srv".to_owned(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            channel: Channel::Streams,
            files: files.to_vec(),
            identity: None,
        };
        let names = ["netns", "userns", "in", "out", "err", "line"];
        Self {
            tasks: vec![k.named("memory/tasks"), k.named("pids/tasks")],
            fds: names.iter().map(|name| k.named(name)).collect(),
            process: blob::sealed(&blob::encode(&process).unwrap()).unwrap(),
            layers: vec!["aa".to_owned(), "bb".to_owned()],
            channel: Channel::Streams,
            secrets: !files.is_empty(),
            identity: None,
            masks: vec![Mask::File("kcore"), Mask::Dir("acpi")],
            k,
        }
    }

    fn run(&self) -> StartFault {
        let [netns, userns, stdin, stdout, stderr, line] =
            [0, 1, 2, 3, 4, 5].map(|n: usize| self.fds[n].as_fd());
        let seat = Seat { tasks: &self.tasks, netns, userns, line, masks: &self.masks, base_id: 1 << 28 };
        let launch = Launch {
            tree: Tree {
                userns,
                layers: &self.layers,
                skeleton: Skeleton::None,
                base_id: 1 << 28,
                tmp_bytes: 1 << 20,
                tmp_inodes: 50,
                socket_folder: (self.channel == Channel::SocketFolder).then_some((7, 8)),
                secrets: self.secrets.then_some((9, 10)),
                identity: self.identity,
            },
            channel: self.channel,
            uid: 1000,
            gid: 100,
            groups: &[27],
            nofile: 256,
            streams: [stdin, stdout, stderr],
            process: self.process.as_fd(),
            filter: &[0; 16],
        };
        let start = |stage| {
            self.k.note_seated();
            become_function(&self.k, &seat, &stage, &launch)
        };
        let Err(fault) = sit_down(&self.k, &seat).and_then(start);
        fault
    }

    fn position(done: &[String], call: &str) -> usize {
        done.iter().position(|c| c.starts_with(call)).unwrap_or_else(|| panic!("{call}: {done:#?}"))
    }
}

#[test]
fn rights_are_given_up_in_order_and_the_function_comes_last() {
    let fixture = Fixture::new(Recorder::default(), &["/bin/f"], "/bin");
    fixture.run();
    let done = fixture.k.take();
    let order = [
        "write memory/tasks 0",
        "write pids/tasks 0",
        "unshare Cgroup",
        "setns Network netns",
        "close-all-but line userns",
        "die-with-parent",
        "orphaned? line",
        "hostname picasso",
        "signals",
        "session",
        "rlimit Core 1",
        "attach tmpfs at dir:dev",
        "attach proc at dir:proc",
        "bind dev/null proc/kcore",
        "bind dev/mqueue proc/acpi",
        "seated",
        "overlay root",
        "pivot",
        "rlimit OpenFiles 256",
        "chown in 268436456:268435556",
        "stream 2 err",
        "cloexec 3",
        "setns User userns",
        "ids 1000:100 [27]",
        "drop-capabilities",
        "no-new-privileges",
        "cwd /srv",
        "seccomp 16 bytes",
        "exec /bin/f",
    ];
    let positions = order.map(|call| Fixture::position(&done, call));
    assert!(positions.is_sorted(), "{done:#?}");
    assert_eq!(positions.last(), Some(&(done.len() - 1)));
    // A change of ids clears it, so it is asked for again, and only then is the spawner looked for.
    let last = |call: &str| done.iter().rposition(|c| c.starts_with(call)).unwrap();
    assert!(last("ids ") < last("die-with-parent") && last("die-with-parent") < last("orphaned?"));
}

#[test]
fn the_tree_shows_the_layers_under_the_sandboxs_own_ids_and_nothing_writable_but_scratch() {
    let fixture = Fixture::new(Recorder::default(), &["/bin/f"], "/bin");
    fixture.run();
    let done = fixture.k.take();
    for call in [
        "clone dir:native/skeleton/none",
        "restrict tree:none nosuid,ro,nodev idmap=userns",
        "attach tree:none at dir:l0",
        "clone dir:layers/bb",
        "restrict tree:bb nosuid,ro,nodev idmap=userns",
        "attach tree:bb at dir:l1",
        "attach tree:aa at dir:l2",
        "overlay root lowerdir=l0:l1:l2",
        "fsmount proc [] nosuid,ro,noexec,nodev",
        "fsmount tmpfs [size=1048576,nr_inodes=50,mode=1777,uid=268435456,gid=268435456] nosuid,nodev",
        "mknod tmpfs/null 1:3",
        "restrict tmpfs nosuid,ro,noexec",
        "open-in dir:root dev/shm",
    ] {
        assert!(done.iter().any(|c| c == call), "{call}: {done:#?}");
    }
    // Every mount but the scratch ones and the device nodes, before they are sealed, is read-only.
    let writable = |c: &&String| c.starts_with("fsmount") && !c.contains(",ro");
    assert_eq!(done.iter().filter(writable).count(), 3);
}

#[test]
fn a_step_that_fails_is_named_and_nothing_after_it_happens() {
    for (call, step, errno) in [
        ("write pids/tasks", Step::Cgroup, libc::ENOSPC),
        ("setns Network", Step::Network, libc::EPERM),
        ("clone dir:layers/aa", Step::Layer, libc::ENOENT),
        ("overlay", Step::Root, libc::EINVAL),
        ("mknod", Step::Devices, libc::EPERM),
        ("open-in dir:root proc", Step::Proc, libc::ELOOP),
        ("pivot", Step::Pivot, libc::EINVAL),
        ("setns User", Step::Identity, libc::EPERM),
        ("drop-capabilities", Step::Identity, libc::EPERM),
        ("seccomp", Step::Filter, libc::EINVAL),
        ("cwd", Step::WorkDir, libc::ENOENT),
    ] {
        let fixture = Fixture::new(Recorder::default().failing(call, errno), &["/bin/f"], "/bin");
        assert_eq!(fixture.run(), StartFault { step, errno }, "{call}");
        let done = fixture.k.take();
        assert!(done.last().unwrap().starts_with(call), "{call}: {done:#?}");
    }
}

#[test]
fn a_child_whose_spawner_died_does_not_become_a_function() {
    let fixture = Fixture::new(Recorder::default().failing("orphaned?", libc::EIO), &["/bin/f"], "/bin");
    assert_eq!(fixture.run().step, Step::Orphan);
    assert!(!fixture.k.take().iter().any(|c| c.starts_with("exec")));
}

#[test]
fn a_channel_is_made_inside_and_passed_on_before_the_function_is() {
    let mut fixture = Fixture::new(Recorder::default(), &["/bin/f"], "/bin");
    fixture.channel = Channel::SocketFolder;
    fixture.run();
    let done = fixture.k.take();
    let order = ["mkdirat tmpfs/iofs 7:8", "pass dir:iofs through line", "setns User"];
    assert!(order.map(|call| Fixture::position(&done, call)).is_sorted(), "{done:#?}");
    fixture.channel = Channel::Listener { port: 9001 };
    fixture.run();
    let done = fixture.k.take();
    let order = ["setns Network", "listen 9001", "pass listener through line", "setns User"];
    assert!(order.map(|call| Fixture::position(&done, call)).is_sorted(), "{done:#?}");
    fixture.channel = Channel::Port { port: 80 };
    fixture.run();
    assert!(!fixture.k.take().iter().any(|call| call.starts_with("pass")));
}

#[test]
fn secrets_become_files_once_the_rights_are_given_up_and_show_themselves_read_only() {
    let files = [SecretFile { name: "KEY".to_owned(), content: b"value".to_vec() }];
    let mut fixture = Fixture::with_files(Recorder::default(), &["/bin/f"], "/bin", &files);
    fixture.run();
    let done = fixture.k.take();
    let order = [
        "fsmount tmpfs [size=4194304,nr_inodes=1024,mode=700,uid=9,gid=10] nosuid,noexec,nodev",
        "attach tmpfs at dir:run/secrets",
        "clone dir:root/run/secrets",
        "restrict tree:run/secrets nosuid,ro,noexec,nodev",
        "attach tree:run/secrets at dir:run/secrets",
        "pivot",
        "drop-capabilities",
        "write-new tmpfs/KEY 5 bytes",
        "seccomp",
        "exec",
    ];
    assert!(order.map(|call| Fixture::position(&done, call)).is_sorted(), "{done:#?}");
    // A start that names no files has no place for them.
    fixture.secrets = false;
    assert_eq!(fixture.run(), StartFault { step: Step::Blob, errno: libc::EBADMSG });
    assert!(!fixture.k.take().iter().any(|call| call.starts_with("write-new")));
}

#[test]
fn an_identity_is_shown_read_only_before_the_root_is_changed_and_only_where_one_is_named() {
    let mut fixture = Fixture::new(Recorder::default(), &["/bin/f"], "/bin");
    fixture.run();
    assert!(!fixture.k.take().iter().any(|call| call.contains("run/picasso")));
    fixture.identity = Some("0000000000000007");
    fixture.run();
    let done = fixture.k.take();
    let order = [
        "clone dir:native/identity/0000000000000007",
        "restrict tree:0000000000000007 nosuid,ro,noexec,nodev",
        "open-in dir:root run/picasso/identity",
        "attach tree:0000000000000007 at dir:run/picasso/identity",
        "pivot",
        "setns User",
    ];
    assert!(order.map(|call| Fixture::position(&done, call)).is_sorted(), "{done:#?}");
    fixture.k = Recorder::default().failing("clone dir:native/identity", libc::ENOENT);
    assert_eq!(fixture.run(), StartFault { step: Step::Scratch, errno: libc::ENOENT });
}

#[test]
fn a_program_without_a_slash_is_looked_for_in_path() {
    let k = Recorder::default()
        .failing("exec /a/f", libc::ENOENT)
        .failing("exec ./f", libc::ENOENT)
        .failing("exec /b/f", libc::EACCES)
        .failing("exec /c/f", libc::ENOTDIR);
    let fixture = Fixture::new(k, &["f"], "/a::/b:/c");
    assert_eq!(fixture.run(), StartFault { step: Step::Exec, errno: libc::EACCES });
    let done = fixture.k.take();
    let tried: Vec<&str> = done.iter().filter_map(|c| c.strip_prefix("exec ")?.split(' ').next()).collect();
    assert_eq!(tried, ["/a/f", "./f", "/b/f", "/c/f"]);
    let k = Recorder::default().failing("exec", libc::ENOENT);
    let missing = Fixture::new(k, &["f"], "/a").run();
    assert_eq!(missing, StartFault { step: Step::Lookup, errno: libc::ENOENT });
}

#[test]
fn faults_survive_the_way_to_the_spawner() {
    let fault = StartFault { step: Step::Exec, errno: libc::EACCES };
    assert_eq!(StartFault::from_bytes(&fault.to_bytes()), Some(fault));
    assert_eq!(StartFault::from_bytes(&[]), None);
    assert_eq!(StartFault::from_bytes(&[200, 0, 0, 0, 0]), None);
}

#[test]
fn only_masked_parts_that_exist_are_masked() {
    let masks = mounts::masks(|name| name == "kcore" || name == "scsi");
    assert_eq!(masks, [Mask::File("kcore"), Mask::Dir("scsi")]);
}
