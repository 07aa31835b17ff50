//! The tenant's strings - arguments, environment, working directory, files - as they travel from the
//! engine to the isolated child in a sealed memory file that nobody in between reads.

use std::ffi::CString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};

use crate::ProcessSpec;

/// Bytes all strings may have together; Linux itself allows a quarter of the stack (2 MiB).
pub(crate) const MAX_BLOB: usize = 1 << 20;
/// Strings one list may have.
const MAX_STRINGS: usize = 16_384;

const SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

/// The parsed strings, ready for execve. They hold secrets: there is no `Debug`.
#[derive(PartialEq, Eq)]
pub(crate) struct ProcessBlob {
    pub(crate) cwd: CString,
    pub(crate) argv: Vec<CString>,
    pub(crate) env: Vec<CString>,
    /// Names and contents of files.
    pub(crate) files: Vec<(CString, Vec<u8>)>,
}

/// Why strings cannot become a process; sentences for the function's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BlobFault {
    #[error("the arguments, the environment and the files are longer than 1 MiB together")]
    TooLong,
    #[error("an argument, an environment variable or the working directory contains a NUL byte")]
    Nul,
    #[error("the image names no program to run, and neither does the route")]
    NoProgram,
    #[error("a file's name has other characters than letters, digits and \"_\"")]
    FileName,
}

/// Lays the strings out: three lists (working directory, arguments, environment), each a count
/// (u32, little endian) and NUL-terminated strings; then a count of files, each a NUL-terminated name,
/// a length (u32) and as many bytes.
pub(crate) fn encode(process: &ProcessSpec) -> Result<Vec<u8>, BlobFault> {
    if process.argv.first().is_none_or(String::is_empty) {
        return Err(BlobFault::NoProgram);
    }
    let env: Vec<String> = process.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mut bytes = Vec::with_capacity(4096);
    for list in [std::slice::from_ref(&process.cwd), &process.argv, &env] {
        let count = u32::try_from(list.len()).map_err(|_| BlobFault::TooLong)?;
        if list.len() > MAX_STRINGS {
            return Err(BlobFault::TooLong);
        }
        bytes.extend_from_slice(&count.to_le_bytes());
        for text in list {
            if text.bytes().any(|b| b == 0) {
                return Err(BlobFault::Nul);
            }
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
    }
    let count = u32::try_from(process.files.len()).map_err(|_| BlobFault::TooLong)?;
    bytes.extend_from_slice(&count.to_le_bytes());
    for file in &process.files {
        if !is_file_name(file.name.as_bytes()) {
            return Err(BlobFault::FileName);
        }
        let length = u32::try_from(file.content.len()).map_err(|_| BlobFault::TooLong)?;
        bytes.extend_from_slice(file.name.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&file.content);
    }
    if bytes.len() > MAX_BLOB { Err(BlobFault::TooLong) } else { Ok(bytes) }
}

/// A sealed memory file with `bytes`.
pub(crate) fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("picasso", flags)?;
    let mut written = 0;
    while written < bytes.len() {
        written += rustix::io::pwrite(&fd, &bytes[written..], written as u64)?;
    }
    rustix::fs::fcntl_add_seals(&fd, SEALS)?;
    Ok(fd)
}

/// Reads a sealed memory file of at most `max` bytes; refuses one that could still change.
pub(crate) fn read_sealed(fd: BorrowedFd<'_>, max: usize) -> io::Result<Vec<u8>> {
    if !rustix::fs::fcntl_get_seals(fd)?.contains(SEALS) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    let size = usize::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(usize::MAX);
    if size > max {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let mut bytes = vec![0; size];
    let mut read = 0;
    while read < size {
        match rustix::io::pread(fd, &mut bytes[read..], read as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => read += n,
        }
    }
    Ok(bytes)
}

impl ProcessBlob {
    /// Reads and parses the file. Hostile content gives an error, never more memory than its size
    /// warrants.
    pub(crate) fn read(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Self::parse(&read_sealed(fd, MAX_BLOB)?).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADMSG))
    }

    fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut cwd = list(&mut bytes)?;
        let argv = list(&mut bytes)?;
        let env = list(&mut bytes)?;
        let files = files(&mut bytes)?;
        if cwd.len() != 1 || !bytes.is_empty() {
            return None;
        }
        Some(Self { cwd: cwd.pop()?, argv, env, files })
    }
}

fn list(bytes: &mut &[u8]) -> Option<Vec<CString>> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok().filter(|n| *n <= MAX_STRINGS)?;
    let mut strings = Vec::new();
    for _ in 0..count {
        let end = bytes.iter().position(|b| *b == 0)?;
        strings.push(CString::new(&bytes[..end]).ok()?);
        *bytes = &bytes[end + 1..];
    }
    Some(strings)
}

/// Whoever writes it must not be led anywhere by it.
fn is_file_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

fn files(bytes: &mut &[u8]) -> Option<Vec<(CString, Vec<u8>)>> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok().filter(|n| *n <= MAX_STRINGS)?;
    let mut files = Vec::new();
    for _ in 0..count {
        let end = bytes.iter().position(|b| *b == 0)?;
        let name = CString::new(&bytes[..end]).ok().filter(|name| is_file_name(name.as_bytes()))?;
        let (length, rest) = bytes[end + 1..].split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (content, rest) = rest.split_at_checked(length)?;
        files.push((name, content.to_vec()));
        *bytes = rest;
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::SecretFile;

    fn spec() -> ProcessSpec {
        ProcessSpec {
            argv: vec!["/bin/hello".to_owned(), String::new(), "ü".to_owned()],
            env: vec![("A".to_owned(), "b=c".to_owned())],
            cwd: "/srv".to_owned(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            channel: crate::Channel::Streams,
            files: vec![SecretFile { name: "KEY_1".to_owned(), content: b"a\0b".to_vec() }],
            identity: None,
        }
    }

    #[test]
    fn strings_survive_the_way_through_a_sealed_file() {
        let fd = sealed(&encode(&spec()).unwrap()).unwrap();
        let blob = ProcessBlob::read(fd.as_fd()).unwrap();
        assert_eq!(blob.cwd, c"/srv".to_owned());
        assert_eq!(blob.argv, [c"/bin/hello".to_owned(), c"".to_owned(), c"ü".to_owned()]);
        assert_eq!(blob.env, [c"A=b=c".to_owned()]);
        assert_eq!(blob.files, [(c"KEY_1".to_owned(), b"a\0b".to_vec())]);
    }

    #[test]
    fn a_file_that_can_still_change_is_refused() {
        let fd = rustix::fs::memfd_create("t", MemfdFlags::ALLOW_SEALING).unwrap();
        assert_eq!(ProcessBlob::read(fd.as_fd()).err().and_then(|e| e.raw_os_error()), Some(libc::EPERM));
    }

    #[test]
    fn strings_that_no_process_can_have_are_refused_with_a_sentence() {
        let mut nul = spec();
        nul.env[0].1 = "a\0b".to_owned();
        assert_eq!(encode(&nul), Err(BlobFault::Nul));
        let mut none = spec();
        none.argv.clear();
        assert_eq!(encode(&none), Err(BlobFault::NoProgram));
        let mut long = spec();
        long.argv.push("x".repeat(MAX_BLOB));
        assert_eq!(encode(&long), Err(BlobFault::TooLong));
    }

    #[test]
    fn every_cut_or_lying_blob_is_refused() {
        let whole = encode(&spec()).unwrap();
        for end in 0..whole.len() {
            assert!(ProcessBlob::parse(&whole[..end]).is_none(), "cut at {end}");
        }
        let mut lying = whole.clone();
        lying[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(ProcessBlob::parse(&lying).is_none());
        let mut longer = whole;
        longer.push(0);
        assert!(ProcessBlob::parse(&longer).is_none());
    }

    #[test]
    fn a_file_is_named_like_a_variable_at_both_ends() {
        for bad in ["", ".", "..", "a/b", "../a", "a.b", "a\0"] {
            let mut bad_name = spec();
            bad_name.files[0].name = bad.to_owned();
            assert_eq!(encode(&bad_name), Err(BlobFault::FileName), "{bad}");
        }
        let whole = encode(&spec()).unwrap();
        let at = whole.windows(5).position(|w| w == b"KEY_1").unwrap();
        let mut hostile = whole;
        hostile[at..at + 5].copy_from_slice(b"../..");
        assert!(ProcessBlob::parse(&hostile).is_none());
    }

    #[test]
    fn debug_output_of_a_process_shows_names_only() {
        let mut spec = spec();
        spec.env[0].1 = "hidden-1".to_owned();
        spec.files[0].content = b"hidden-2".to_vec();
        let shown = format!("{spec:?}");
        assert!(shown.contains("KEY_1") && !shown.contains("hidden"), "{shown}");
        assert!(!shown.contains("104, 105"), "{shown}");
    }
}
