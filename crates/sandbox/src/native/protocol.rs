//! What engine and spawner say to each other over their SOCK_SEQPACKET socket.
//!
//! Fixed binary messages, one a packet, little endian: numbers and ids, never paths or tenants'
//! strings. The spawner believes nothing: [`Request::decode`] checks every range. Descriptors
//! travel with [`Request::Start`] by SCM_RIGHTS: stdin, stdout, stderr, process strings; and back
//! with [`Report::Hello`], [`Report::Started`] and [`Report::Sockets`].

use picasso_types::NetworkMode;
use picasso_types::text::cut;

use super::child::StartFault;
use super::mounts::MAX_LAYERS;
use crate::{Channel, Ended, EndedBy, IdentityFolderId, Reaped, SlotLimits};

/// Ids a sandbox has: 0 to 65,535.
pub(crate) const IDS: u32 = 65_536;
/// Supplementary groups of a process.
pub(crate) const MAX_GROUPS: usize = 64;
/// Longest text of a refusal, bytes.
const MAX_TEXT: usize = 1024;

/// The bounds of a slot's numbers; beyond them a message is refused.
pub(crate) const MEMORY_BYTES: std::ops::RangeInclusive<u64> = (4 << 20)..=(1 << 42);
pub(crate) const CPU_MILLIS: std::ops::RangeInclusive<u64> = 1..=1_024_000;
pub(crate) const PIDS: std::ops::RangeInclusive<u64> = 1..=100_000;
pub(crate) const TMP_BYTES: std::ops::RangeInclusive<u64> = 4096..=(1 << 42);
pub(crate) const TMP_INODES: std::ops::RangeInclusive<u64> = 2..=10_000_000;
pub(crate) const NOFILE: std::ops::RangeInclusive<u64> = 8..=1_048_576;
/// Sockets one request may ask for.
pub(crate) const MAX_SOCKETS: u8 = 16;

/// A slot as the spawner numbers it: a serial number and, in the low 12 bits, its index.
pub(crate) type SpawnerSlot = u64;

/// The engine's requests. `id` comes back in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    MakeSlot {
        id: u32,
        limits: SlotLimits,
        network: NetworkMode,
    },
    Start {
        id: u32,
        start: Start,
    },
    Kill {
        id: u32,
        slot: SpawnerSlot,
    },
    Remove {
        id: u32,
        slot: SpawnerSlot,
    },
    Reap {
        id: u32,
    },
    /// Sends SIGTERM to a slot's first process.
    Terminate {
        id: u32,
        slot: SpawnerSlot,
    },
    /// Unconnected TCP sockets of a slot's network namespace.
    Sockets {
        id: u32,
        slot: SpawnerSlot,
        count: u8,
    },
}

/// What to start in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) slot: SpawnerSlot,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// Digests of the layers, lowest first.
    pub(crate) layers: Vec<[u8; 32]>,
    /// What is made for it beside its streams.
    pub(crate) channel: Channel,
    /// Whether its strings have files with them.
    pub(crate) files: bool,
    /// The folder with its identity.
    pub(crate) identity: Option<IdentityFolderId>,
}

/// The spawner's answers and reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// First message on a socket. With it travels the folder of the folders with identities.
    Hello {
        egress: bool,
    },
    Made {
        id: u32,
        slot: SpawnerSlot,
    },
    /// Done: killed, terminated or removed.
    Done {
        id: u32,
    },
    /// Started. With it travel the descriptor of its channel, where that has one, and then that of
    /// its freezer, where there is one.
    Started {
        id: u32,
        channel: bool,
        freezer: Option<FreezerKind>,
    },
    /// The sockets that travel with it.
    Sockets {
        id: u32,
    },
    Reaped {
        id: u32,
        reaped: Reaped,
    },
    /// The process could not be started.
    StartFault {
        id: u32,
        fault: StartFault,
    },
    Refused {
        id: u32,
        kind: RefusalKind,
        text: String,
    },
    /// A started process came to its end; not an answer to anything.
    Ended {
        slot: SpawnerSlot,
        ended: Ended,
    },
}

/// How a freezer's file is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FreezerKind {
    /// `freezer.state` of cgroup v1.
    V1 = 1,
    /// `cgroup.freeze` of cgroup v2.
    V2 = 2,
}

/// Which error the engine makes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RefusalKind {
    Unsupported = 1,
    Slot = 2,
    Failed = 3,
}

impl Request {
    /// The message's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Vec::with_capacity(128);
        match self {
            Self::MakeSlot { id, limits, network } => {
                w.push(1);
                put32(&mut w, *id);
                limits.put(&mut w);
                w.push(u8::from(*network == NetworkMode::Egress));
            }
            Self::Start { id, start } => {
                w.push(2);
                put32(&mut w, *id);
                start.put(&mut w);
            }
            Self::Kill { id, slot } => {
                w.push(3);
                put32(&mut w, *id);
                put64(&mut w, *slot);
            }
            Self::Remove { id, slot } => {
                w.push(4);
                put32(&mut w, *id);
                put64(&mut w, *slot);
            }
            Self::Reap { id } => {
                w.push(5);
                put32(&mut w, *id);
            }
            Self::Terminate { id, slot } => {
                w.push(6);
                put32(&mut w, *id);
                put64(&mut w, *slot);
            }
            Self::Sockets { id, slot, count } => {
                w.push(7);
                put32(&mut w, *id);
                put64(&mut w, *slot);
                w.push(*count);
            }
        }
        w
    }

    /// Reads a message; `None` where it is not exactly one, or a number is out of its range.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let r = &mut Reader(bytes);
        let kind = r.byte()?;
        let id = r.u32()?;
        let request = match kind {
            1 => {
                let limits = SlotLimits::take(r)?;
                let network = match r.byte()? {
                    0 => NetworkMode::None,
                    1 => NetworkMode::Egress,
                    _ => return None,
                };
                Self::MakeSlot { id, limits, network }
            }
            2 => Self::Start { id, start: Start::take(r)? },
            3 => Self::Kill { id, slot: r.u64()? },
            4 => Self::Remove { id, slot: r.u64()? },
            5 => Self::Reap { id },
            6 => Self::Terminate { id, slot: r.u64()? },
            7 => {
                let slot = r.u64()?;
                let count = r.byte().filter(|n| (1..=MAX_SOCKETS).contains(n))?;
                Self::Sockets { id, slot, count }
            }
            _ => return None,
        };
        r.0.is_empty().then_some(request)
    }
}

impl SlotLimits {
    /// Appends their bytes.
    pub(super) fn put(&self, w: &mut Vec<u8>) {
        for number in [
            self.memory_bytes,
            self.cpu_millis.into(),
            self.pids.into(),
            self.tmp_bytes,
            self.tmp_inodes,
            self.nofile,
        ] {
            put64(w, number);
        }
    }

    /// Reads what [`Self::put`] wrote; `None` where a number is out of its range.
    pub(super) fn take(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            memory_bytes: r.within(&MEMORY_BYTES)?,
            cpu_millis: u32::try_from(r.within(&CPU_MILLIS)?).ok()?,
            pids: u32::try_from(r.within(&PIDS)?).ok()?,
            tmp_bytes: r.within(&TMP_BYTES)?,
            tmp_inodes: r.within(&TMP_INODES)?,
            nofile: r.within(&NOFILE)?,
        })
    }
}

impl Start {
    /// Appends its bytes.
    pub(super) fn put(&self, w: &mut Vec<u8>) {
        put64(w, self.slot);
        put32(w, self.uid);
        put32(w, self.gid);
        put_count(w, self.groups.len());
        self.groups.iter().for_each(|g| put32(w, *g));
        put_count(w, self.layers.len());
        self.layers.iter().for_each(|l| w.extend_from_slice(l));
        put_channel(w, self.channel);
        w.push(u8::from(self.files));
        put64(w, self.identity.map_or(0, IdentityFolderId::number));
    }

    /// Reads what [`Self::put`] wrote, and checks every range.
    pub(super) fn take(r: &mut Reader<'_>) -> Option<Self> {
        let slot = r.u64()?;
        let below = |id: u32| (id < IDS).then_some(id);
        let uid = below(r.u32()?)?;
        let gid = below(r.u32()?)?;
        let groups = (0..r.count(MAX_GROUPS)?).map(|_| below(r.u32()?)).collect::<Option<Vec<u32>>>()?;
        let layers = (0..r.count(MAX_LAYERS)?)
            .map(|_| r.take(32)?.try_into().ok())
            .collect::<Option<Vec<[u8; 32]>>>()?;
        let channel = channel(r)?;
        let files = r.flag()?;
        let identity = IdentityFolderId::from_number(r.u64()?);
        // An overlay of no image is no root.
        (!layers.is_empty()).then_some(Self { slot, uid, gid, groups, layers, channel, files, identity })
    }
}

impl Report {
    /// The message's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Vec::with_capacity(32);
        match self {
            Self::Hello { egress } => w.extend_from_slice(&[1, u8::from(*egress)]),
            Self::Made { id, slot } => {
                w.push(2);
                put32(&mut w, *id);
                put64(&mut w, *slot);
            }
            Self::Done { id } => {
                w.push(3);
                put32(&mut w, *id);
            }
            Self::Reaped { id, reaped } => {
                w.push(4);
                put32(&mut w, *id);
                put32(&mut w, reaped.sandboxes);
                put32(&mut w, reaped.networks);
            }
            Self::StartFault { id, fault } => {
                w.push(5);
                put32(&mut w, *id);
                w.extend_from_slice(&fault.to_bytes());
            }
            Self::Refused { id, kind, text } => {
                w.push(6);
                put32(&mut w, *id);
                w.push(*kind as u8);
                w.extend_from_slice(cut(text, MAX_TEXT).as_bytes());
            }
            Self::Ended { slot, ended } => {
                w.push(7);
                put64(&mut w, *slot);
                let (how, number) = match ended.by {
                    EndedBy::Exit(code) => (0, code),
                    EndedBy::Signal(signal) => (1, signal),
                };
                w.push(how);
                put32(&mut w, number.cast_unsigned());
                w.push(u8::from(ended.out_of_memory));
                put64(&mut w, ended.memory_peak_bytes.unwrap_or(u64::MAX));
            }
            Self::Started { id, channel, freezer } => {
                w.push(8);
                put32(&mut w, *id);
                w.push(u8::from(*channel));
                w.push(freezer.map_or(0, |kind| kind as u8));
            }
            Self::Sockets { id } => {
                w.push(9);
                put32(&mut w, *id);
            }
        }
        w
    }

    /// Reads a message; `None` where it is not exactly one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let r = &mut Reader(bytes);
        let report = match r.byte()? {
            1 => Self::Hello { egress: r.flag()? },
            2 => Self::Made { id: r.u32()?, slot: r.u64()? },
            3 => Self::Done { id: r.u32()? },
            4 => {
                let id = r.u32()?;
                let reaped = Reaped { sandboxes: r.u32()?, networks: r.u32()? };
                Self::Reaped { id, reaped }
            }
            5 => Self::StartFault { id: r.u32()?, fault: StartFault::from_bytes(r.take(5)?)? },
            6 => {
                let id = r.u32()?;
                let kind = match r.byte()? {
                    1 => RefusalKind::Unsupported,
                    2 => RefusalKind::Slot,
                    3 => RefusalKind::Failed,
                    _ => return None,
                };
                let text = String::from_utf8_lossy(r.take(r.0.len())?).into_owned();
                Self::Refused { id, kind, text }
            }
            7 => {
                let slot = r.u64()?;
                let (how, number) = (r.byte()?, r.u32()?.cast_signed());
                let by = match how {
                    0 => EndedBy::Exit(number),
                    1 => EndedBy::Signal(number),
                    _ => return None,
                };
                let out_of_memory = r.flag()?;
                let memory_peak_bytes = Some(r.u64()?).filter(|n| *n != u64::MAX);
                Self::Ended { slot, ended: Ended { by, out_of_memory, memory_peak_bytes } }
            }
            8 => {
                let (id, channel) = (r.u32()?, r.flag()?);
                let freezer = match r.byte()? {
                    0 => None,
                    1 => Some(FreezerKind::V1),
                    2 => Some(FreezerKind::V2),
                    _ => return None,
                };
                Self::Started { id, channel, freezer }
            }
            9 => Self::Sockets { id: r.u32()? },
            _ => return None,
        };
        r.0.is_empty().then_some(report)
    }
}

fn put32(w: &mut Vec<u8>, number: u32) {
    w.extend_from_slice(&number.to_le_bytes());
}

pub(super) fn put64(w: &mut Vec<u8>, number: u64) {
    w.extend_from_slice(&number.to_le_bytes());
}

/// Counts are bounded long before 65,536; one that is not becomes a number no reader accepts.
fn put_count(w: &mut Vec<u8>, count: usize) {
    w.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
}

fn put_channel(w: &mut Vec<u8>, channel: Channel) {
    let (kind, port) = match channel {
        Channel::Streams => (0, 0),
        Channel::SocketFolder => (1, 0),
        Channel::Listener { port } => (2, port),
        Channel::Port { port } => (3, port),
    };
    w.push(kind);
    w.extend_from_slice(&port.to_le_bytes());
}

fn channel(r: &mut Reader<'_>) -> Option<Channel> {
    let kind = r.byte()?;
    let port = u16::from_le_bytes(r.take(2)?.try_into().ok()?);
    match (kind, port) {
        (0, 0) => Some(Channel::Streams),
        (1, 0) => Some(Channel::SocketFolder),
        (2, 1..) => Some(Channel::Listener { port }),
        (3, 1..) => Some(Channel::Port { port }),
        _ => None,
    }
}

/// Reads a message from its start.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn within(&mut self, range: &std::ops::RangeInclusive<u64>) -> Option<u64> {
        self.u64().filter(|n| range.contains(n))
    }

    fn count(&mut self, max: usize) -> Option<usize> {
        let count = usize::from(u16::from_le_bytes(self.take(2)?.try_into().ok()?));
        (count <= max).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::child::Step;
    use crate::native::packet::MAX_MESSAGE;

    fn limits() -> SlotLimits {
        SlotLimits {
            memory_bytes: 128 << 20,
            cpu_millis: 500,
            pids: 64,
            tmp_bytes: 1 << 20,
            tmp_inodes: 100,
            nofile: 256,
        }
    }

    fn start() -> Start {
        let layers = vec![[9; 32], [1; 32]];
        Start {
            slot: 7,
            uid: 1000,
            gid: 100,
            groups: vec![4, 27],
            layers,
            channel: Channel::Streams,
            files: false,
            identity: None,
        }
    }

    #[test]
    fn every_request_is_read_as_it_was_written() {
        for request in [
            Request::MakeSlot { id: 1, limits: limits(), network: NetworkMode::Egress },
            Request::Start { id: 2, start: start() },
            Request::Start { id: 2, start: Start { channel: Channel::SocketFolder, files: true, ..start() } },
            Request::Start { id: 2, start: Start { channel: Channel::Listener { port: 1 }, ..start() } },
            Request::Start {
                id: 2,
                start: Start { identity: IdentityFolderId::from_number(u64::MAX), ..start() },
            },
            Request::Start { id: 2, start: Start { channel: Channel::Port { port: 65_535 }, ..start() } },
            Request::Terminate { id: 6, slot: 9 },
            Request::Sockets { id: 7, slot: 8, count: MAX_SOCKETS },
            Request::Kill { id: 3, slot: 4097 },
            Request::Remove { id: 4, slot: 1 },
            Request::Reap { id: u32::MAX },
        ] {
            let bytes = request.encode();
            assert_eq!(Request::decode(&bytes), Some(request.clone()));
            for end in 0..bytes.len() {
                assert_eq!(Request::decode(&bytes[..end]), None, "{request:?} cut at {end}");
            }
            assert_eq!(Request::decode(&[bytes, vec![0]].concat()), None);
        }
    }

    #[test]
    fn every_report_is_read_as_it_was_written() {
        let ended = Ended { by: EndedBy::Signal(9), out_of_memory: true, memory_peak_bytes: None };
        for report in [
            Report::Hello { egress: true },
            Report::Made { id: 1, slot: 2 },
            Report::Done { id: 3 },
            Report::Reaped { id: 4, reaped: Reaped { sandboxes: 5, networks: 6 } },
            Report::StartFault { id: 5, fault: StartFault { step: Step::Exec, errno: 13 } },
            Report::Refused { id: 6, kind: RefusalKind::Slot, text: "no such slot".to_owned() },
            Report::Ended { slot: 7, ended },
            Report::Started { id: 8, channel: true, freezer: None },
            Report::Started { id: 8, channel: false, freezer: Some(FreezerKind::V1) },
            Report::Started { id: 8, channel: true, freezer: Some(FreezerKind::V2) },
            Report::Sockets { id: 9 },
        ] {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let refused = |change: fn(&mut SlotLimits)| {
            let mut limits = limits();
            change(&mut limits);
            let request = Request::MakeSlot { id: 1, limits, network: NetworkMode::None };
            Request::decode(&request.encode()).is_none()
        };
        assert!(refused(|l| l.memory_bytes = 0));
        assert!(refused(|l| l.memory_bytes = u64::MAX));
        assert!(refused(|l| l.cpu_millis = 0));
        assert!(refused(|l| l.pids = 0));
        assert!(refused(|l| l.tmp_bytes = u64::MAX));
        assert!(refused(|l| l.tmp_inodes = 0));
        assert!(refused(|l| l.nofile = u64::MAX));
        let start_refused = |change: fn(&mut Start)| {
            let mut start = start();
            change(&mut start);
            Request::decode(&Request::Start { id: 1, start }.encode()).is_none()
        };
        assert!(start_refused(|s| s.uid = IDS));
        assert!(start_refused(|s| s.gid = u32::MAX));
        assert!(start_refused(|s| s.groups = vec![IDS]));
        assert!(start_refused(|s| s.groups = vec![1; MAX_GROUPS + 1]));
        assert!(start_refused(|s| s.layers.clear()));
        assert!(start_refused(|s| s.layers = vec![[0; 32]; MAX_LAYERS + 1]));
        assert!(start_refused(|s| s.layers = vec![[0; 32]; 70_000]));
        assert!(start_refused(|s| s.channel = Channel::Listener { port: 0 }));
        assert!(start_refused(|s| s.channel = Channel::Port { port: 0 }));
        for count in [0, MAX_SOCKETS + 1] {
            assert_eq!(Request::decode(&Request::Sockets { id: 1, slot: 1, count }.encode()), None);
        }
    }

    #[test]
    fn the_longest_request_fits_a_packet() {
        let start = Start { groups: vec![1; MAX_GROUPS], layers: vec![[0; 32]; MAX_LAYERS], ..start() };
        assert!(Request::Start { id: 1, start }.encode().len() <= MAX_MESSAGE);
    }
}
