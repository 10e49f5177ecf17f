//! Hands the listening sockets of one process to the next, so that a restart loses no connection.
//!
//! ```text
//!   old process                                        new process
//!   hand_over(path)        ◀── connects ───            InheritedSockets::receive(path)
//!   one message a socket   ─── setting + descriptor ─▶ Server::inherit(sockets)
//!                                                      start(): both accept from the same queues
//!   returns                ◀── ready ───
//!   close_within(…)
//! ```
//!
//! The two accept from the very same kernel queues, so there is no moment without a listener, and no queue is
//! thrown away when the old process closes its descriptors. Several sockets that merely share a port
//! ([`TcpConfig::share_port`](crate::TcpConfig)) cannot promise that: a handshake that completes on a socket
//! between its last accept and its close is reset by the kernel.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt, Interest};

use crate::address::ListenAddress;
use crate::bind;
use crate::config::TcpConfig;
use crate::error::BindError;
use crate::handle::ServerHandle;
use crate::sockets::ListenSocket;

/// How long each process waits for the other to go on.
const PATIENCE: Duration = Duration::from_secs(60);
/// In place of the length of a name: no more sockets follow.
const END: [u8; 2] = [0xFF, 0xFF];
/// What the new process sends when it accepts.
const READY: u8 = b'R';

/// A peer that has left is an error and no signal. Elsewhere the runtime of Rust ignores the signal.
#[cfg(target_os = "linux")]
const SEND: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const SEND: SendFlags = SendFlags::empty();

/// Descriptors are not for programs that we start; where the system cannot see to that at once, we do.
#[cfg(target_os = "linux")]
const RECEIVE: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const RECEIVE: RecvFlags = RecvFlags::empty();

/// Why listening sockets were not handed over. Both processes go on as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// The Unix socket on which the processes meet could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system refused, or the other process left in the middle.
    #[error("cannot hand over listening sockets")]
    Io(#[from] io::Error),
    /// The server is stopping; it has no sockets any more.
    #[error("the server is closing and has no listening sockets to hand over")]
    Closing,
    /// The other process is not one of ours, or of a version that does it differently.
    #[error("the other process sent what is no listening socket")]
    Protocol,
}

impl ServerHandle {
    /// Waits on a Unix socket at `path` (owner only) until another process has taken over the listening
    /// sockets and accepts. Then close this server.
    ///
    /// A process that connects and leaves before it accepts changes nothing; the next one may try. Dropping
    /// the future stops waiting.
    ///
    /// # Errors
    ///
    /// [`HandOverError`] if the Unix socket cannot be opened, or this server is closing.
    pub async fn hand_over(&self, path: &Path) -> Result<(), HandOverError> {
        let (listener, _file) = meeting_place(path)?;
        loop {
            let (peer, _) = listener.accept().await?;
            let sockets = self.0.sockets.all()?;
            if sockets.is_empty() {
                return Err(HandOverError::Closing);
            }
            match tokio::time::timeout(PATIENCE, give(peer, &sockets)).await {
                Ok(Ok(())) => {
                    self.0.sockets.leave_files();
                    return Ok(());
                }
                Ok(Err(error)) => tracing::warn!(%error, "a hand-over was not completed"),
                Err(_) => tracing::warn!("a hand-over took too long"),
            }
        }
    }
}

fn meeting_place(
    path: &Path,
) -> Result<(tokio::net::UnixListener, bind::UnixSocketFile), HandOverError> {
    let setting: Arc<str> = "the socket for a hand-over".into();
    let (listener, file) = bind::bind_unix(&setting, path, &TcpConfig::default())?;
    Ok((tokio::net::UnixListener::from_std(listener)?, file))
}

/// Sends all sockets and waits until the peer accepts from them.
async fn give(
    mut peer: tokio::net::UnixStream,
    sockets: &[(Arc<str>, ListenSocket)],
) -> io::Result<()> {
    for (setting, socket) in sockets {
        let descriptor = match socket {
            ListenSocket::Tcp(socket) => socket.as_fd(),
            ListenSocket::Unix(socket) => socket.as_fd(),
        };
        let length = u16::try_from(setting.len())
            .ok()
            .filter(|length| length.to_be_bytes() != END)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a setting is too long"))?;
        let message = [&length.to_be_bytes(), setting.as_bytes()].concat();
        send(&peer, &message, Some(descriptor)).await?;
    }
    send(&peer, &END, None).await?;
    match peer.read_u8().await? {
        READY => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not ready")),
    }
}

async fn send(
    peer: &tokio::net::UnixStream,
    message: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut sent = 0;
    while sent < message.len() {
        sent += peer
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                let descriptors = descriptor.as_slice();
                // The descriptor goes with the first byte.
                if sent == 0 && !descriptors.is_empty() {
                    control.push(SendAncillaryMessage::ScmRights(descriptors));
                }
                let bytes = [IoSlice::new(&message[sent..])];
                Ok(sendmsg(peer, &bytes, &mut control, SEND)?)
            })
            .await?;
    }
    Ok(())
}

/// Listening sockets of an earlier process, for [`Server::inherit`](crate::Server::inherit).
#[derive(Debug)]
pub struct InheritedSockets {
    sockets: Vec<(String, ListenSocket)>,
    giver: UnixStream,
}

impl InheritedSockets {
    /// Asks the process that waits at `path` for its listening sockets; `None` if nobody waits there.
    /// Blocks for the moment that this takes.
    ///
    /// # Errors
    ///
    /// [`HandOverError`] if the process that waits there does not hand them over.
    pub fn receive(path: &Path) -> Result<Option<Self>, HandOverError> {
        let giver = match UnixStream::connect(path) {
            Ok(giver) => giver,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                    _ => Err(error.into()),
                };
            }
        };
        giver.set_read_timeout(Some(PATIENCE))?;
        let mut received = Self {
            sockets: Vec::new(),
            giver,
        };
        while let Some(socket) = received.next()? {
            received.sockets.push(socket);
        }
        Ok(Some(received))
    }

    /// Tells the other process that it can close, although nobody accepts yet: for a program that has to end before
    /// the next one can begin. Clients wait in the kernel's queues meanwhile, whose length is the limit.
    ///
    /// # Errors
    ///
    /// What the system says; the other process has left then.
    pub fn acknowledge(&mut self) -> io::Result<()> {
        self.giver.write_all(&[READY])
    }

    /// Keeps the sockets open and waits on a Unix socket at `path` (owner only) until a process has taken them over
    /// and accepts. The first that comes is the only one that is waited for.
    ///
    /// # Errors
    ///
    /// [`HandOverError`] if the Unix socket cannot be opened, or the process leaves in the middle.
    pub async fn hand_on(self, path: &Path) -> Result<(), HandOverError> {
        let (listener, _file) = meeting_place(path)?;
        let sockets = self.sockets.into_iter();
        let sockets: Vec<_> = sockets
            .map(|(setting, socket)| (Arc::<str>::from(setting), socket))
            .collect();
        let (peer, _) = listener.accept().await?;
        let given = tokio::time::timeout(PATIENCE, give(peer, &sockets)).await;
        Ok(given.map_err(io::Error::from)??)
    }

    fn next(&mut self) -> Result<Option<(String, ListenSocket)>, HandOverError> {
        let mut length = [0; 2];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let read = recvmsg(
            &self.giver,
            &mut [IoSliceMut::new(&mut length)],
            &mut control,
            RECEIVE,
        )
        .map_err(io::Error::from)?;
        let mut descriptor = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                descriptor = descriptors.last();
            }
        }
        self.giver.read_exact(&mut length[read.bytes..])?;
        if length == END {
            return Ok(None);
        }
        let mut name = vec![0; usize::from(u16::from_be_bytes(length))];
        self.giver.read_exact(&mut name)?;
        let name = String::from_utf8(name).map_err(|_| HandOverError::Protocol)?;
        let socket = descriptor
            .ok_or(HandOverError::Protocol)
            .and_then(listen_socket)?;
        Ok(Some((name, socket)))
    }

    /// The sockets that this setting opened in the other process, if they listen where it does here.
    pub(crate) fn take(&mut self, setting: &str, address: &ListenAddress) -> Vec<ListenSocket> {
        let fits = |(name, socket): &mut (String, ListenSocket)| {
            name == setting && listens_on(socket, address)
        };
        self.sockets
            .extract_if(.., fits)
            .map(|(_, socket)| socket)
            .collect()
    }

    /// Tells the other process that we accept.
    pub(crate) fn confirm(mut self) {
        if let Err(error) = self.giver.write_all(&[READY]) {
            tracing::warn!(%error, "the process before this one did not learn that it can end");
        }
    }
}

/// What the descriptor is, as the system says and not as the sender does.
fn listen_socket(descriptor: OwnedFd) -> Result<ListenSocket, HandOverError> {
    let socket = socket2::Socket::from(descriptor);
    socket.set_cloexec(true)?;
    if !socket.is_listener()? {
        return Err(HandOverError::Protocol);
    }
    let address = socket.local_addr()?;
    if address.as_socket().is_some() {
        Ok(ListenSocket::Tcp(socket.into()))
    } else if address.is_unix() {
        Ok(ListenSocket::Unix(socket.into()))
    } else {
        Err(HandOverError::Protocol)
    }
}

fn listens_on(socket: &ListenSocket, address: &ListenAddress) -> bool {
    let fits = |local: SocketAddr, wanted: SocketAddr| {
        local.ip() == wanted.ip() && (wanted.port() == 0 || wanted.port() == local.port())
    };
    match socket {
        ListenSocket::Unix(_) => match (socket.path(), address) {
            (Some(path), ListenAddress::Unix(wanted)) => path == *wanted,
            _ => false,
        },
        ListenSocket::Tcp(socket) => {
            let Ok(local) = socket.local_addr() else {
                return false;
            };
            match bind::resolve(address) {
                Ok(bind::Resolved::These(wanted)) => {
                    wanted.into_iter().any(|wanted| fits(local, wanted))
                }
                Ok(bind::Resolved::Wildcard(port)) => {
                    local.ip().is_unspecified() && (port == 0 || port == local.port())
                }
                Err(_) => false,
            }
        }
    }
}
