//! A tar reader for hostile input, shared by imports and the unpacker.
//!
//! The `tar` crate reads extension headers whole, however long they claim to be; here every
//! header has a bound, sparse files are refused, and data after the end mark is an error. It
//! reads ustar, GNU long names and PAX records (POSIX.1-2017, pax interchange format); header
//! fields are still taken apart by `tar::Header`.

use std::io::{self, Read};

use tar::Header;

use crate::UnpackError;

const BLOCK: usize = 512;
const MAX_LONG_NAME: u64 = 8 * 1024;
const MAX_PAX: u64 = 512 * 1024;
const MAX_EXTENSIONS: u32 = 8;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Device,
}

/// One entry, its extension headers applied.
#[derive(Debug)]
pub(crate) struct Entry {
    pub kind: Kind,
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub size: u64,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds since the epoch, never negative, and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes (`SCHILY.xattr.` records).
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads entries one after the other; [`Self::read_data`] reads the current one's content.
pub(crate) struct TarReader<R> {
    inner: R,
    data_left: u64,
    padding: u64,
}

impl<R: Read> TarReader<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, data_left: 0, padding: 0 }
    }

    /// Moves to the next entry; `None` after the end mark, once nothing but zeros followed it.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, UnpackError> {
        self.skip_entry()?;
        let mut extensions = Extensions::default();
        for _ in 0..=MAX_EXTENSIONS {
            let Some(block) = self.read_header()? else {
                if extensions.is_used() {
                    return Err(refused("the tar ends after an extension header"));
                }
                self.expect_only_zeros()?;
                return Ok(None);
            };
            let header = Header::from_byte_slice(&block);
            let size = header.entry_size().map_err(|_| refused("a tar header has no readable size"))?;
            match block[156] {
                b'x' => extensions.pax = Some(self.extension(size, MAX_PAX)?),
                b'L' => extensions.long_path = Some(until_nul(self.extension(size, MAX_LONG_NAME)?)),
                b'K' => extensions.long_link = Some(until_nul(self.extension(size, MAX_LONG_NAME)?)),
                // Global records name the archive's maker, not files (as Go's reader treats them).
                b'g' => {
                    self.extension(size, MAX_PAX)?;
                }
                flag => {
                    let entry = extensions.apply(flag, header, size)?;
                    if entry.kind == Kind::File {
                        self.begin_data(entry.size);
                    }
                    return Ok(Some(entry));
                }
            }
        }
        Err(refused("a tar entry has more than 8 extension headers"))
    }

    /// Reads content of the current entry; 0 at its end.
    pub fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, UnpackError> {
        let most = usize::try_from(self.data_left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..most]).map_err(read_error)?;
        if count == 0 {
            return Err(refused("the tar ends in the middle of a file"));
        }
        self.data_left -= count as u64;
        Ok(count)
    }

    fn begin_data(&mut self, size: u64) {
        self.data_left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn skip_entry(&mut self) -> Result<(), UnpackError> {
        self.data_left = self
            .data_left
            .checked_add(self.padding)
            .ok_or_else(|| refused("a tar header has an impossible size"))?;
        self.padding = 0;
        let mut sink = [0_u8; 16 * 1024];
        while self.read_data(&mut sink)? > 0 {}
        Ok(())
    }

    fn extension(&mut self, size: u64, max: u64) -> Result<Vec<u8>, UnpackError> {
        if size > max {
            return Err(refused("a tar extension header is too long"));
        }
        self.begin_data(size);
        let mut content = vec![0; usize::try_from(size).unwrap_or_default()];
        let mut filled = 0;
        while filled < content.len() {
            filled += self.read_data(&mut content[filled..])?;
        }
        self.skip_entry()?;
        Ok(content)
    }

    /// The next header block with its checksum verified; `None` at the end mark or the end.
    fn read_header(&mut self) -> Result<Option<[u8; BLOCK]>, UnpackError> {
        let mut block = [0_u8; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]).map_err(read_error)? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(refused("the tar ends in the middle of a header")),
                count => filled += count,
            }
        }
        if block == [0; BLOCK] {
            return Ok(None);
        }
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
            .sum();
        match Header::from_byte_slice(&block).cksum() {
            Ok(stated) if stated == sum => Ok(Some(block)),
            _ => Err(refused("it is not a tar, or a header in it is damaged (wrong checksum)")),
        }
    }

    fn expect_only_zeros(&mut self) -> Result<(), UnpackError> {
        let mut buffer = [0_u8; 16 * 1024];
        loop {
            match self.inner.read(&mut buffer).map_err(read_error)? {
                0 => return Ok(()),
                count if buffer[..count].iter().all(|byte| *byte == 0) => {}
                _ => return Err(refused("there is data after the end of the tar")),
            }
        }
    }
}

/// Extension headers that precede an entry.
#[derive(Default)]
struct Extensions {
    pax: Option<Vec<u8>>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Extensions {
    fn is_used(&self) -> bool {
        self.pax.is_some() || self.long_path.is_some() || self.long_link.is_some()
    }

    fn apply(self, flag: u8, header: &Header, size: u64) -> Result<Entry, UnpackError> {
        let number = |field: io::Result<u64>, what: &str| {
            field.map_err(|_| refused(format!("a tar header has no readable {what}")))
        };
        let mut entry = Entry {
            kind: Kind::File,
            path: self.long_path.unwrap_or_else(|| header.path_bytes().into_owned()),
            link: self
                .long_link
                .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                .unwrap_or_default(),
            size,
            mode: header.mode().map_err(|_| refused("a tar header has no readable mode"))? & 0o7777,
            uid: number(header.uid(), "owner")?,
            gid: number(header.gid(), "group")?,
            mtime: (seconds(number(header.mtime(), "time")?), 0),
            xattrs: Vec::new(),
        };
        if let Some(records) = &self.pax {
            apply_pax(&mut entry, records)?;
        }
        entry.kind = match flag {
            // Before ustar a folder was a file whose name ends with a slash.
            b'0' | 0 | b'7' if entry.path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'S' => return Err(sparse()),
            other => {
                let shown = char::from(other).escape_default();
                return Err(refused(format!("the tar has an entry of the unknown type '{shown}'")));
            }
        };
        if entry.kind != Kind::File {
            entry.size = 0;
        }
        Ok(entry)
    }
}

fn apply_pax(entry: &mut Entry, mut records: &[u8]) -> Result<(), UnpackError> {
    while !records.is_empty() {
        let (key, value, rest) = pax_record(records).ok_or_else(|| refused("a PAX record is damaged"))?;
        records = rest;
        match key {
            b"path" => entry.path = value.to_vec(),
            b"linkpath" => entry.link = value.to_vec(),
            b"size" => entry.size = decimal(value)?,
            b"uid" => entry.uid = decimal(value)?,
            b"gid" => entry.gid = decimal(value)?,
            b"mtime" => entry.mtime = pax_time(value)?,
            key if key.starts_with(b"GNU.sparse.") => return Err(sparse()),
            key => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    entry.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
    }
    Ok(())
}

/// Takes `<length> <key>=<value>\n` off the front.
fn pax_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(8).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let record = records.get(space + 1..length)?;
    let record = record.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &records[length..]))
}

fn decimal(value: &[u8]) -> Result<u64, UnpackError> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| refused("a PAX record has a number that cannot be read"))
}

fn pax_time(value: &[u8]) -> Result<(i64, u32), UnpackError> {
    let bad = || refused("a PAX record has a time that cannot be read");
    let text = std::str::from_utf8(value).map_err(|_| bad())?;
    if text.starts_with('-') {
        return Ok((0, 0));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: u32 = digits.parse().map_err(|_| bad())?;
    Ok((seconds(whole), nanos))
}

/// Clamped to what ext4 and overlayfs can store (the year 2446).
fn seconds(value: u64) -> i64 {
    i64::try_from(value.min((1 << 34) - (1 << 31) - 1)).unwrap_or_default()
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(end) = name.iter().position(|byte| *byte == 0) {
        name.truncate(end);
    }
    name
}

fn sparse() -> UnpackError {
    refused("the tar has a sparse file; make it without the --sparse option of tar")
}

fn refused(reason: impl Into<String>) -> UnpackError {
    UnpackError::Refused(reason.into())
}

/// Errors that carry a system error number come from our disk; the others from a decoder or
/// a guard that did not like the input.
pub(crate) fn read_error(error: io::Error) -> UnpackError {
    if error.raw_os_error().is_some() {
        return UnpackError::Failed(format!("reading the archive: {error}"));
    }
    match error.downcast::<UnpackError>() {
        Ok(inner) => inner,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            refused("the compressed data ends too early")
        }
        Err(error) => refused(format!("the compressed data is damaged: {error}")),
    }
}
