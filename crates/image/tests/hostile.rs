//! Hostile layers: refused with a sentence, and nothing left behind, on disk and in the model.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

mod support;

use std::time::Duration;

use picasso_image::unpack::InspectOnly;
use picasso_image::{LayerUnpacker, UnpackBounds, UnpackError};
use picasso_types::Digest;
use proptest::prelude::*;
use support::{BOUNDS, Layers, Tar, blob, gzip, is_root};
use tar::EntryType;

/// Unpacks, expects a refusal, and that nothing stays.
fn refuse(tar: &[u8], bounds: UnpackBounds) -> String {
    let layers = Layers::new();
    let refused = layers.take_with(tar, &Digest::of(tar), bounds).unwrap_err();
    assert_eq!(layers.names(), Vec::<String>::new(), "something was left behind");
    assert!(matches!(refused, UnpackError::Refused(_)), "our fault: {refused}");
    refused.to_string()
}

type Case = (&'static str, Vec<u8>, &'static str);

/// Trees that want to be somewhere else or something impossible, each with what its message has
/// to say.
fn hostile_trees() -> Vec<Case> {
    let secret = "/etc/hostname";
    vec![
        ("dot-dot", Tar::new().file("../x", "").end(), "outside the layer's folder"),
        ("dot-dot inside", Tar::new().file("a/../../x", "").end(), "outside the layer's folder"),
        ("dot-dot in a hard link", Tar::new().file("x", "").hard_link("y", "../x").end(), "outside"),
        ("a file through a link", Tar::new().symlink("l", "/tmp").file("l/x", "").end(), "symbolic link"),
        ("a folder through a link", Tar::new().symlink("l", "..").folder("l/x/").end(), "symbolic link"),
        (
            "through a chain of links",
            Tar::new().folder("d/").symlink("d/l", "..").symlink("m", "d/l").file("m/d/l/x", "").end(),
            "symbolic link",
        ),
        (
            "a hard link through a link",
            Tar::new().symlink("l", "/etc").hard_link("x", "l/hostname").end(),
            "symbolic link",
        ),
        (
            "a whiteout through a link",
            Tar::new().symlink("l", "/etc").file("l/.wh.passwd", "").end(),
            "symbolic link",
        ),
        (
            "an opaque mark through a link",
            Tar::new().symlink("l", "/etc").file("l/.wh..wh..opq", "").end(),
            "symbolic link",
        ),
        ("a hard link to the host", Tar::new().hard_link("x", secret).end(), "not"),
        (
            "a hard link to nothing",
            Tar::new().hard_link("x", "missing").end(),
            "not a file of the same layer",
        ),
        (
            "a hard link to a folder",
            Tar::new().folder("d/").hard_link("x", "d").end(),
            "not a file of the same layer",
        ),
        (
            "a hard link to a whiteout",
            Tar::new().file(".wh.w", "").hard_link("x", "w").end(),
            "not a file of the same layer",
        ),
        ("a hard link to the root", Tar::new().hard_link("x", "./").end(), "points at the root"),
        ("a whiteout of ..", Tar::new().file("a/.wh...", "").end(), "impossible name"),
        ("a whiteout of .", Tar::new().file("a/.wh..", "").end(), "impossible name"),
        ("a whiteout of nothing", Tar::new().file("a/.wh.", "").end(), "impossible name"),
        ("a device", Tar::new().entry(EntryType::Block, "sda", "", b"").end(), "device node"),
        ("a null device", Tar::new().entry(EntryType::Char, "null", "", b"").end(), "device node"),
        ("a foreign owner", Tar::new().owned_by(65_536, 0, 0o644, 0).file("x", "").end(), "below 65536"),
        ("a foreign group", Tar::new().owned_by(0, 1 << 31, 0o644, 0).file("x", "").end(), "below 65536"),
        ("the root as a file", Tar::new().file(".", "").end(), "root is not a folder"),
        ("a full folder as a file", Tar::new().file("d/x", "").file("d", "").end(), "both as a folder"),
        ("a file as a folder", Tar::new().file("d", "").file("d/x", "").end(), "not a folder"),
    ]
}

/// Archives that are too much or no archives at all.
fn hostile_archives() -> Vec<Case> {
    let huge = {
        let mut tar = Tar::new();
        tar.header(EntryType::Regular, b"huge", b"", u64::MAX / 2);
        tar.end()
    };
    let endless_name = {
        let mut tar = Tar::new();
        tar.header(EntryType::GNULongName, b"././@LongLink", b"", 1 << 40);
        tar.end()
    };
    let bad_sum = {
        let mut bytes = Tar::new().file("x", "").end();
        bytes[0] ^= 1;
        bytes
    };
    vec![
        ("too many bytes", Tar::new().file("zeros", vec![0; 2 << 20]).end(), "more than 1048576 bytes"),
        ("a huge claim", huge, "more than 1048576 bytes"),
        ("an endless name", endless_name, "extension header is too long"),
        ("too deep", Tar::new().pax(&[("path", &b"d/".repeat(200))]).file("x", "").end(), "folders deep"),
        (
            "too long",
            Tar::new().pax(&[("path", &b"dddddddd/".repeat(500))]).file("x", "").end(),
            "longer than 4000",
        ),
        (
            "a long component",
            Tar::new().pax(&[("path", &[b'x'; 300])]).file("x", "").end(),
            "longer than 255",
        ),
        ("a NUL", Tar::new().pax(&[("path", b"a\0b")]).file("x", "").end(), "NUL"),
        (
            "a damaged PAX record",
            Tar::new().entry(EntryType::XHeader, "p", "", b"999 path=x\n").file("x", "").end(),
            "PAX",
        ),
        ("a PAX sparse file", Tar::new().pax(&[("GNU.sparse.major", b"1")]).file("x", "").end(), "sparse"),
        ("a GNU sparse file", Tar::new().entry(EntryType::GNUSparse, "x", "", b"").end(), "sparse"),
        ("an unknown type", Tar::new().entry(EntryType::new(b'Z'), "x", "", b"").end(), "unknown type 'Z'"),
        ("an empty link", Tar::new().symlink("x", "").end(), "impossible target"),
        ("only an extension", Tar::new().pax(&[("path", b"x")]).end(), "ends after an extension"),
        ("a wrong checksum", bad_sum, "wrong checksum"),
        ("garbage", b"garbage ".repeat(200), "not a tar"),
        ("a short file", Tar::new().file("x", vec![1; 2000]).cut()[..1500].to_vec(), "ends in the middle"),
        ("half a header", Tar::new().file("x", "").cut()[..300].to_vec(), "ends in the middle of a header"),
        (
            "trailing data",
            [Tar::new().file("x", "").end(), Tar::new().file("y", "").end()].concat(),
            "after the end",
        ),
        ("broken gzip", gzip(&Tar::new().file("x", vec![3; 9000]).end())[..40].to_vec(), "compressed data"),
        (
            "gzip and more",
            [gzip(&Tar::new().file("x", "").end()), b"more".to_vec()].concat(),
            "compressed data",
        ),
    ]
}

#[test]
fn hostile_layers_are_refused_and_leave_nothing() {
    if !is_root() {
        return;
    }
    for (what, tar, expected) in hostile_trees().into_iter().chain(hostile_archives()) {
        let reason = refuse(&tar, BOUNDS);
        assert!(reason.contains(expected), "{what}: {reason}");
        assert!(reason.len() < 400 && !reason.contains('\0'), "{what}: {reason}");
    }
}

#[tokio::test]
async fn the_check_that_writes_nothing_refuses_the_same() {
    for (what, tar, expected) in hostile_trees().into_iter().chain(hostile_archives()) {
        let error = InspectOnly.unpack(blob(&tar), &Digest::of(&tar), BOUNDS).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{what}: {error}");
    }
}

#[test]
fn bombs_of_inodes_time_and_compression_are_stopped() {
    if !is_root() {
        return;
    }
    let few = UnpackBounds { max_inodes: 5, ..BOUNDS };
    let many = (0..6).fold(Tar::new(), |tar, at| tar.file(&format!("f{at}"), "")).end();
    assert!(refuse(&many, few).contains("more than 5 files"));
    let implied = Tar::new().file("a/b/c/d/e/f", "").end();
    assert!(refuse(&implied, few).contains("more than 5 files"), "folders that entries need count too");
    let again = (0..6).fold(Tar::new(), |tar, _| tar.file("same", "")).end();
    assert!(refuse(&again, few).contains("more than 5 files"), "overwriting is work too");
    let short = UnpackBounds { timeout: Duration::ZERO, ..BOUNDS };
    assert!(refuse(&many, short).contains("longer than 0 seconds"));

    let layers = Layers::new();
    let padding = [Tar::new().file("x", "").end(), vec![0; 64 << 20]].concat();
    let error = layers.take_with(&gzip(&padding), &Digest::of(&padding), BOUNDS).unwrap_err();
    assert!(error.to_string().contains("larger than this cloud allows"), "{error}");
    assert!(layers.names().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a tar holds: nothing outside the folder changes, a refusal leaves nothing, and
    /// disk and model agree.
    #[test]
    fn no_sequence_of_entries_escapes(entries in proptest::collection::vec(entry(), 1..12)) {
        if is_root() {
            let tar = entries.into_iter().fold(Tar::new(), |tar, (kind, path, link)| {
                let content: &[u8] = if kind == EntryType::Regular { b"written" } else { b"" };
                tar.entry(kind, &path, &link, content)
            }).end();
            let layers = Layers::new();
            let outside = layers.dir.path().parent().unwrap().join("outside-of-every-layer");
            let result = layers.take(&tar);
            prop_assert!(!outside.exists());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let model = runtime.block_on(InspectOnly.unpack(blob(&tar), &Digest::of(&tar), BOUNDS));
            match (result, model) {
                (Ok(unpacked), Ok(model)) => {
                    prop_assert_eq!(layers.names(), vec![unpacked.diff_id.hex().to_owned()]);
                    prop_assert_eq!(unpacked, model);
                }
                (Err(disk @ UnpackError::Refused(_)), Err(model)) => {
                    prop_assert!(layers.names().is_empty());
                    prop_assert_eq!(disk.to_string(), model.to_string());
                }
                (disk, model) => prop_assert!(false, "disk {:?}, model {:?}", disk, model),
            }
        }
    }

    /// Bytes flipped anywhere: an error or a layer, never a panic or a failure of ours.
    #[test]
    fn damaged_archives_are_never_our_fault(
        flips in proptest::collection::vec((0_usize..4096, any::<u8>()), 1..8),
        compressed in any::<bool>(),
    ) {
        let whole = Tar::new().pax(&[("path", b"a/b"), ("size", b"5")]).file("x", "12345").symlink("l", "t").end();
        let mut bytes = if compressed { gzip(&whole) } else { whole };
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] ^= value;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(InspectOnly.unpack(blob(&bytes), &Digest::of(b"none"), BOUNDS));
        prop_assert!(matches!(result, Err(UnpackError::Refused(_))), "{:?}", result);
    }
}

fn entry() -> impl Strategy<Value = (EntryType, String, String)> {
    let kind = prop_oneof![
        4 => Just(EntryType::Regular),
        3 => Just(EntryType::Directory),
        3 => Just(EntryType::Symlink),
        3 => Just(EntryType::Link),
        1 => Just(EntryType::Fifo),
    ];
    let part = prop_oneof![
        6 => Just("a"), 6 => Just("b"), 3 => Just("etc"), 3 => Just("passwd"), 1 => Just(".."),
        1 => Just("."), 2 => Just(".wh.a"), 1 => Just(".wh..wh..opq"), 1 => Just("outside-of-every-layer"),
    ];
    let path = proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let link = prop_oneof![
        3 => path.clone(),
        1 => Just("/tmp".to_owned()),
        1 => Just("..".to_owned()),
        1 => Just("../..".to_owned()),
    ];
    (kind, path, link)
}
