//! A network cable between the server and a service: a forwarder that can go silent, as a pulled
//! cable does. Nothing is refused and nothing is closed; no byte gets through.

use std::io;
use std::net::Ipv4Addr;

use picasso_testkit::process::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards a port of its own to another.
#[derive(Debug)]
pub struct Cable {
    port: u16,
    whole: watch::Sender<bool>,
}

impl Cable {
    /// Forwards to `target` on this machine.
    pub async fn to(target: u16) -> io::Result<Self> {
        let port = free_port()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let (whole, state) = watch::channel(true);
        tokio::spawn(forward(listener, target, state));
        Ok(Self { port, whole })
    }

    /// Where the server is to connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Nothing gets through from now on.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// What was sent meanwhile arrives now.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn forward(listener: TcpListener, target: u16, state: watch::Receiver<bool>) {
    while let Ok((near, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            whole(&state).await;
            let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            // Both halves end when either does: each side's end of stream closes the other's.
            tokio::join!(carry(near_in, far_out, &state), carry(far_in, near_out, &state));
        });
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        whole(state).await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    whole(state).await;
}

async fn whole(state: &watch::Receiver<bool>) {
    // An error says that the cable was dropped: nobody cuts it any more.
    drop(state.clone().wait_for(|whole| *whole).await);
}
