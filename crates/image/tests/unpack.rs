//! Unpacking layers: what is on the disk afterwards.

mod support;

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use picasso_image::LayerFile;
use picasso_types::Digest;
use rustix::fs::{getxattr, lgetxattr};
use support::{BOUNDS, Layers, Tar, gzip, is_root};
use tar::EntryType;

#[test]
fn owners_modes_times_and_links_are_right() {
    if !is_root() {
        return;
    }
    let layers = Layers::new();
    let tar = Tar::new()
        .owned_by(0, 0, 0o1777, 1_500_000_000)
        .folder("tmp/")
        .owned_by(33, 34, 0o4755, 1_600_000_000)
        .file("usr/bin/tool", "program")
        .hard_link("usr/bin/alias", "usr/bin/tool")
        .owned_by(1000, 65535, 0o777, 1_600_000_001)
        .symlink("usr/lib64", "/absolute/target")
        .owned_by(5, 6, 0o640, 7)
        .entry(EntryType::Fifo, "pipe", "", b"")
        .owned_by(0, 0, 0o555, 42)
        .folder("./");
    let unpacked = layers.take(&tar.end()).unwrap();
    let root = layers.path(&unpacked.diff_id);
    let stat = |path: &str| std::fs::symlink_metadata(root.join(path)).unwrap();

    let tool = stat("usr/bin/tool");
    assert_eq!((tool.uid(), tool.gid(), tool.mode() & 0o7777), (33, 34, 0o4755));
    assert_eq!((tool.mtime(), tool.nlink()), (1_600_000_000, 2));
    assert_eq!(stat("usr/bin/alias").ino(), tool.ino());
    let link = stat("usr/lib64");
    assert_eq!((link.uid(), link.gid(), link.mtime()), (1000, 65535, 1_600_000_001));
    assert_eq!(std::fs::read_link(root.join("usr/lib64")).unwrap().to_str(), Some("/absolute/target"));
    let pipe = stat("pipe");
    assert!(pipe.file_type().is_fifo());
    assert_eq!((pipe.uid(), pipe.gid(), pipe.mode() & 0o7777, pipe.mtime()), (5, 6, 0o640, 7));
    let (tmp, top) = (stat("tmp"), stat("."));
    assert_eq!((tmp.mode() & 0o7777, tmp.mtime()), (0o1777, 1_500_000_000));
    assert_eq!((top.mode() & 0o7777, top.mtime()), (0o555, 42));
    assert_eq!(stat("usr").mode() & 0o7777, 0o755, "a folder that the tar did not name");
    assert_eq!((unpacked.bytes, unpacked.inodes), (7, 8));
}

#[test]
fn whiteouts_and_opaque_folders_become_overlayfs_marks() {
    if !is_root() {
        return;
    }
    let layers = Layers::new();
    let tar = Tar::new()
        .file("etc/.wh.passwd", "")
        .folder("opt/")
        .file("opt/.wh..wh..opq", "")
        .file("opt/kept", "1")
        .file("var/.wh.cache", "")
        .file("var/cache/new", "the folder is there again")
        .file("srv/file", "the layer's own")
        .file("srv/.wh.file", "");
    let unpacked = layers.take(&tar.end()).unwrap();
    let root = layers.path(&unpacked.diff_id);
    let whiteout = std::fs::symlink_metadata(root.join("etc/passwd")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let opaque = |path: &str| {
        let mut value = [0; 8];
        lgetxattr(root.join(path), "trusted.overlay.opaque", &mut value).is_ok_and(|n| value[..n] == *b"y")
    };
    assert!(opaque("opt") && root.join("opt/kept").exists() && !root.join("opt/.wh..wh..opq").exists());
    assert!(opaque("var/cache"), "what lower layers have in it stays hidden");
    assert!(!opaque("var") && !opaque("etc"));
    assert_eq!(std::fs::read(root.join("srv/file")).unwrap(), b"the layer's own");
    assert_eq!((unpacked.passwd, unpacked.group), (LayerFile::Hidden, LayerFile::Absent));
}

#[test]
fn overlayfs_understands_the_marks() {
    if !is_root() {
        return;
    }
    let layers = Layers::new();
    let lower = Tar::new()
        .file("etc/passwd", "old")
        .file("etc/keep", "kept")
        .file("opt/hidden", "x")
        .file("var/cache/old", "x")
        .file("srv/data/old", "x");
    let upper = Tar::new()
        .file("etc/.wh.passwd", "")
        .file("opt/.wh..wh..opq", "")
        .file("opt/new", "x")
        .file("var/.wh.cache", "")
        .file("var/cache/new", "x")
        .file("srv/data/new", "x")
        .file("srv/.wh.data", "");
    let path = |tar: Tar| layers.path(&layers.take(&tar.end()).unwrap().diff_id).display().to_string();
    let (lower, upper) = (path(lower), path(upper));
    let merged = tempfile::tempdir().unwrap();
    let options = std::ffi::CString::new(format!("lowerdir={upper}:{lower}")).unwrap();
    let flags = rustix::mount::MountFlags::RDONLY;
    rustix::mount::mount("overlay", merged.path(), "overlay", flags, options.as_c_str()).unwrap();
    let seen =
        ["etc", "opt", "var/cache", "srv/data"].map(|folder| support::files(&merged.path().join(folder)));
    rustix::mount::unmount(merged.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(seen, [vec!["keep"], vec!["new"], vec!["new"], vec!["new"]]);
}

#[test]
fn account_files_are_told_with_what_hides_them() {
    if !is_root() {
        return;
    }
    let told = |tar: Tar| {
        let layers = Layers::new();
        let unpacked = layers.take(&tar.end()).unwrap();
        (unpacked.passwd, unpacked.group)
    };
    let content = |text: &str| LayerFile::Content(text.as_bytes().to_vec());
    assert_eq!(told(Tar::new().file("a", "")), (LayerFile::Absent, LayerFile::Absent));
    assert_eq!(
        told(Tar::new().file("./etc/passwd", "p").file("/etc/group", "g")),
        (content("p"), content("g"))
    );
    assert_eq!(told(Tar::new().file("etc/passwd", "1").file("etc/passwd", "2")).0, content("2"));
    assert_eq!(told(Tar::new().symlink("etc/passwd", "other")).0, LayerFile::Hidden);
    assert_eq!(told(Tar::new().file(".wh.etc", "")), (LayerFile::Hidden, LayerFile::Hidden));
    assert_eq!(
        told(Tar::new().file("etc/passwd", "p").file("etc/.wh..wh..opq", "")),
        (content("p"), LayerFile::Hidden)
    );
}

#[test]
fn every_compression_and_every_way_to_write_long_names_is_read() {
    if !is_root() {
        return;
    }
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let gnu =
        Tar::new().entry(EntryType::GNULongName, "././@LongLink", "", long.as_bytes()).file("cut", "gnu");
    let pax = Tar::new()
        .pax(&[
            ("path", long.as_bytes()),
            ("uid", b"1234"),
            ("mtime", b"1600000000.5"),
            ("SCHILY.xattr.user.note", b"line\nline"),
            ("SCHILY.xattr.security.capability", b"\x01\x00\x00\x02"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ])
        .file("cut", "pax");
    for (tar, expected) in [(gnu.end(), "gnu"), (pax.end(), "pax")] {
        for bytes in [
            tar.clone(),
            gzip(&tar),
            [gzip(&tar[..600]), gzip(&tar[600..])].concat(),
            zstd::encode_all(tar.as_slice(), 3).unwrap(),
        ] {
            let layers = Layers::new();
            let unpacked = layers.take_with(&bytes, &Digest::of(&tar), BOUNDS).unwrap();
            assert_eq!(unpacked.tar_bytes, tar.len() as u64);
            let path = layers.path(&unpacked.diff_id).join(&long);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
            if expected == "pax" {
                let stat = std::fs::metadata(&path).unwrap();
                assert_eq!((stat.uid(), stat.mtime_nsec()), (1234, 500_000_000));
                let mut value = [0; 16];
                let length = getxattr(&path, "user.note", &mut value).unwrap();
                assert_eq!(&value[..length], b"line\nline");
                assert!(getxattr(&path, "security.capability", &mut value).is_err());
                assert!(getxattr(&path, "user.overlay.opaque", &mut value).is_err());
            }
        }
    }
}

#[test]
fn later_entries_replace_earlier_ones() {
    if !is_root() {
        return;
    }
    let layers = Layers::new();
    let tar = Tar::new()
        .symlink("a", "/etc/shadow")
        .file("a", "now a file")
        .folder("b/")
        .symlink("b", "elsewhere")
        .file("c", "x")
        .file("c/d", "");
    let error = layers.take(&tar.end()).unwrap_err();
    assert!(error.to_string().contains("not a folder"), "{error}");

    let tar = Tar::new().symlink("a", "/etc/shadow").file("a", "now a file").folder("b/").symlink("b", "x");
    let unpacked = layers.take(&tar.end()).unwrap();
    let root = layers.path(&unpacked.diff_id);
    assert_eq!(std::fs::read(root.join("a")).unwrap(), b"now a file");
    assert!(std::fs::symlink_metadata(root.join("a")).unwrap().is_file());
    assert!(std::fs::symlink_metadata(root.join("b")).unwrap().is_symlink());
}

#[test]
fn a_wrong_digest_is_refused_even_where_the_layer_is_there() {
    if !is_root() {
        return;
    }
    let layers = Layers::new();
    let tar = Tar::new().file("etc/passwd", "mine").end();
    let first = layers.take(&tar).unwrap();
    assert_eq!(layers.take(&tar).unwrap(), first, "unpacking again tells the same");
    let other = Tar::new().file("etc/passwd", "not mine").end();
    let error = layers.take_with(&other, &first.diff_id, BOUNDS).unwrap_err();
    assert!(error.to_string().contains("but the image says"), "{error}");
    assert_eq!(layers.names(), [first.diff_id.hex()]);
}
