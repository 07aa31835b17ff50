//! The fixed messages between engine and unpacker, one per packet, little-endian.
//!
//! A request is 64 bytes; `unpack` carries two descriptors: the blob (read) and a memory file
//! (write) for the account files, whose lengths the answer tells. An answer is 40 bytes and a
//! sentence of at most 1 KiB.

use std::time::Duration;

use picasso_image::{LayerFile, UnpackBounds, UnpackError, UnpackedLayer};
use picasso_types::Digest;
use picasso_types::text::cut;

const MAGIC: &[u8; 4] = b"PCU1";
pub(super) const REQUEST: usize = 64;
const ANSWER_HEAD: usize = 40;
const MAX_TEXT: usize = 1024;
pub(super) const MAX_ANSWER: usize = ANSWER_HEAD + MAX_TEXT;
/// The largest account file that is handed over.
const MAX_ACCOUNT_FILE: u32 = 1024 * 1024;

/// What the engine asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Unpack(UnpackBounds),
    Has,
    Remove,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub operation: Operation,
    pub diff_id: Digest,
}

/// A packet that is no message of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a packet that is no message of this protocol")]
pub(super) struct Malformed;

impl Request {
    pub fn encode(&self) -> Result<[u8; REQUEST], Malformed> {
        let mut packet = [0; REQUEST];
        packet[..4].copy_from_slice(MAGIC);
        packet[4] = match self.operation {
            Operation::Unpack(_) => 1,
            Operation::Has => 2,
            Operation::Remove => 3,
        };
        packet[8..40].copy_from_slice(&from_hex(self.diff_id.hex())?);
        if let Operation::Unpack(bounds) = self.operation {
            let millis = u64::try_from(bounds.timeout.as_millis()).unwrap_or(u64::MAX);
            packet[40..48].copy_from_slice(&bounds.max_bytes.to_le_bytes());
            packet[48..56].copy_from_slice(&bounds.max_inodes.to_le_bytes());
            packet[56..64].copy_from_slice(&millis.to_le_bytes());
        }
        Ok(packet)
    }

    pub fn decode(packet: &[u8]) -> Result<Self, Malformed> {
        let packet: &[u8; REQUEST] = packet.try_into().map_err(|_| Malformed)?;
        if packet[..4] != *MAGIC || packet[5..8] != [0; 3] {
            return Err(Malformed);
        }
        // More than any layer may have or take: keeps sums and deadlines from overflowing.
        let bounded = |at: usize, most: u64| {
            let value = number(packet, at);
            if value <= most { Ok(value) } else { Err(Malformed) }
        };
        let operation = match packet[4] {
            1 => Operation::Unpack(UnpackBounds {
                max_bytes: bounded(40, 1 << 50)?,
                max_inodes: bounded(48, 1 << 32)?,
                timeout: Duration::from_millis(bounded(56, 24 * 3600 * 1000)?),
            }),
            2 => Operation::Has,
            3 => Operation::Remove,
            _ => return Err(Malformed),
        };
        Ok(Self { operation, diff_id: Digest::from_hash(&packet[8..40]) })
    }
}

/// What the unpacker answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// A layer; its account files' contents are in the memory file, passwd first.
    Unpacked {
        bytes: u64,
        inodes: u64,
        tar_bytes: u64,
        passwd: AccountFile,
        group: AccountFile,
    },
    /// `Has`: whether the layer is there. `Remove`: true.
    Done(bool),
    Refused(String),
    Failed(String),
}

/// A [`LayerFile`] without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountFile {
    Absent,
    Hidden,
    Content(u32),
}

impl AccountFile {
    pub fn of(file: &LayerFile) -> Self {
        match file {
            LayerFile::Absent => Self::Absent,
            LayerFile::Hidden => Self::Hidden,
            LayerFile::Content(content) => Self::Content(u32::try_from(content.len()).unwrap_or(u32::MAX)),
        }
    }

    pub fn length(self) -> u32 {
        if let Self::Content(length) = self { length } else { 0 }
    }

    fn encode(self) -> (u8, u32) {
        match self {
            Self::Absent => (0, 0),
            Self::Hidden => (1, 0),
            Self::Content(length) => (2, length),
        }
    }

    fn decode(kind: u8, length: u32) -> Result<Self, Malformed> {
        match kind {
            0 => Ok(Self::Absent),
            1 => Ok(Self::Hidden),
            2 if length <= MAX_ACCOUNT_FILE => Ok(Self::Content(length)),
            _ => Err(Malformed),
        }
    }
}

impl Answer {
    pub fn of(result: &Result<UnpackedLayer, UnpackError>) -> Self {
        match result {
            Ok(layer) => Self::Unpacked {
                bytes: layer.bytes,
                inodes: layer.inodes,
                tar_bytes: layer.tar_bytes,
                passwd: AccountFile::of(&layer.passwd),
                group: AccountFile::of(&layer.group),
            },
            Err(error) => Self::of_error(error),
        }
    }

    pub fn of_error(error: &UnpackError) -> Self {
        match error {
            UnpackError::Refused(reason) => Self::Refused(reason.clone()),
            UnpackError::Failed(reason) => Self::Failed(reason.clone()),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut packet = vec![0; ANSWER_HEAD];
        packet[..4].copy_from_slice(MAGIC);
        match self {
            Self::Unpacked { bytes, inodes, tar_bytes, passwd, group } => {
                let ((passwd, passwd_length), (group, group_length)) = (passwd.encode(), group.encode());
                packet[4] = 1;
                (packet[5], packet[6]) = (passwd, group);
                packet[8..12].copy_from_slice(&passwd_length.to_le_bytes());
                packet[12..16].copy_from_slice(&group_length.to_le_bytes());
                packet[16..24].copy_from_slice(&bytes.to_le_bytes());
                packet[24..32].copy_from_slice(&inodes.to_le_bytes());
                packet[32..40].copy_from_slice(&tar_bytes.to_le_bytes());
            }
            Self::Done(yes) => (packet[4], packet[5]) = (2, u8::from(*yes)),
            Self::Refused(reason) => {
                packet[4] = 3;
                packet.extend_from_slice(cut(reason, MAX_TEXT).as_bytes());
            }
            Self::Failed(reason) => {
                packet[4] = 4;
                packet.extend_from_slice(cut(reason, MAX_TEXT).as_bytes());
            }
        }
        packet
    }

    pub fn decode(packet: &[u8]) -> Result<Self, Malformed> {
        if packet.len() < ANSWER_HEAD || packet.len() > MAX_ANSWER || packet[..4] != *MAGIC {
            return Err(Malformed);
        }
        let (head, text) = packet.split_at(ANSWER_HEAD);
        let length = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let text = || String::from_utf8(text.to_vec()).map_err(|_| Malformed);
        Ok(match head[4] {
            1 => Self::Unpacked {
                bytes: number(head, 16),
                inodes: number(head, 24),
                tar_bytes: number(head, 32),
                passwd: AccountFile::decode(head[5], length(8))?,
                group: AccountFile::decode(head[6], length(12))?,
            },
            2 => Self::Done(head[5] == 1),
            3 => Self::Refused(text()?),
            4 => Self::Failed(text()?),
            _ => return Err(Malformed),
        })
    }
}

fn number(packet: &[u8], at: usize) -> u64 {
    packet[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn from_hex(hex: &str) -> Result<[u8; 32], Malformed> {
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let pair = hex.get(2 * at..2 * at + 2).ok_or(Malformed)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| Malformed)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_wire() {
        let bounds =
            UnpackBounds { max_bytes: 7 << 30, max_inodes: 99, timeout: Duration::from_millis(1500) };
        for operation in [Operation::Unpack(bounds), Operation::Has, Operation::Remove] {
            let request = Request { operation, diff_id: Digest::of(b"x") };
            assert_eq!(Request::decode(&request.encode().unwrap()).unwrap(), request);
        }
        for answer in [
            Answer::Unpacked {
                bytes: 1,
                inodes: 2,
                tar_bytes: u64::MAX,
                passwd: AccountFile::Hidden,
                group: AccountFile::Content(70_000),
            },
            Answer::Done(true),
            Answer::Done(false),
            Answer::Refused("too large".to_owned()),
            Answer::Failed(String::new()),
        ] {
            assert_eq!(Answer::decode(&answer.encode()).unwrap(), answer);
        }
        assert!(Answer::Refused("é".repeat(2000)).encode().len() <= MAX_ANSWER);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let good = Request { operation: Operation::Has, diff_id: Digest::of(b"x") }.encode().unwrap();
        assert_eq!(Request::decode(&good[..63]), Err(Malformed));
        for (at, value) in [(0, b'X'), (4, 0), (4, 9), (5, 1)] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(Request::decode(&bad), Err(Malformed), "byte {at} = {value}");
        }
        let mut endless = good;
        endless[4] = 1;
        endless[56..64].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(Request::decode(&endless), Err(Malformed));
        let mut large = Answer::Done(true).encode();
        (large[4], large[5]) = (1, 2);
        large[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Answer::decode(&large), Err(Malformed));
    }
}
