//! The confined process's loop: one request, one answer, until the engine goes away.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use picasso_image::unpack::LayerFolder;
use picasso_image::{LayerFile, UnpackError, UnpackedLayer};
use rustix::cmsg_space;
use rustix::fs::FileType;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendFlags,
    recvmsg, sendmsg,
};

use super::protocol::{Answer, Operation, REQUEST, Request};

/// Answers requests until the other end is closed.
pub(super) fn serve(socket: &OwnedFd, layers: OwnedFd) -> io::Result<()> {
    let mut folder = LayerFolder::open(layers)?;
    while let Some((request, descriptors)) = receive(socket)? {
        let answer = answer(&mut folder, &request, descriptors);
        send(socket, &answer)?;
    }
    Ok(())
}

/// The next request with its descriptors; `None` at the end. A packet that is no request ends the
/// process: its sender is not the engine as we know it.
fn receive(socket: &OwnedFd) -> io::Result<Option<(Request, Vec<OwnedFd>)>> {
    let mut packet = [0; REQUEST + 1];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut iov = [IoSliceMut::new(&mut packet)];
        match recvmsg(socket, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let request = Request::decode(&packet[..received.bytes]).map_err(io::Error::other)?;
    Ok(Some((request, descriptors)))
}

fn send(socket: &OwnedFd, answer: &Answer) -> io::Result<()> {
    let packet = answer.encode();
    loop {
        let mut control = SendAncillaryBuffer::default();
        match sendmsg(socket, &[IoSlice::new(&packet)], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map(drop).map_err(io::Error::from),
        }
    }
}

fn answer(folder: &mut LayerFolder, request: &Request, descriptors: Vec<OwnedFd>) -> Answer {
    let done = |result: Result<bool, UnpackError>| match result {
        Ok(yes) => Answer::Done(yes),
        Err(error) => Answer::of_error(&error),
    };
    match request.operation {
        Operation::Has => done(folder.has(&request.diff_id)),
        Operation::Remove => done(folder.remove(&request.diff_id).map(|()| true)),
        Operation::Unpack(bounds) => {
            let Ok([blob, accounts]) = <[OwnedFd; 2]>::try_from(descriptors) else {
                return Answer::Failed("the request came without its descriptors".to_owned());
            };
            let regular = rustix::fs::fstat(&blob)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
            if !regular {
                return Answer::Failed("the layer's blob is not a file".to_owned());
            }
            let result = folder.unpack(File::from(blob), &request.diff_id, bounds);
            if let Ok(layer) = &result
                && let Err(error) = hand_over(layer, File::from(accounts))
            {
                return Answer::Failed(format!("handing over the account files: {error}"));
            }
            Answer::of(&result)
        }
    }
}

fn hand_over(layer: &UnpackedLayer, mut accounts: File) -> io::Result<()> {
    for file in [&layer.passwd, &layer.group] {
        if let LayerFile::Content(content) = file {
            accounts.write_all(content)?;
        }
    }
    Ok(())
}
