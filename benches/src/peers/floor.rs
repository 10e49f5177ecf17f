//! The floor of the machine: servers that make the system calls of a server and do nothing else.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context as _, Result};
use rustix::event::epoll;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Mqtt,
    Echo,
}

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n{\"message\":\"hello\"}";
const LISTENER: u64 = u64::MAX;

struct Peer {
    stream: TcpStream,
    subscribed: bool,
    outbound: Vec<u8>,
}

struct Floor {
    kind: Kind,
    /// By index, which is never used again: the clients of one run are few.
    peers: Vec<Option<Peer>>,
}

pub(super) fn serve(listener: TcpListener, kind: Kind) -> Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let data = epoll::EventData::new_u64(LISTENER);
    epoll::add(&epoll, &listener, data, epoll::EventFlags::IN)?;
    let mut floor = Floor {
        kind,
        peers: Vec::new(),
    };
    let mut events = [epoll::Event {
        flags: epoll::EventFlags::empty(),
        data: epoll::EventData::new_u64(0),
    }; 256];
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let ready = match epoll::wait(&epoll, &mut events[..], None) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..ready] {
            let data = event.data;
            if data.u64() == LISTENER {
                floor.accept(&listener, &epoll)?;
            } else {
                floor.handle_input(usize::try_from(data.u64())?, &mut buffer);
            }
        }
        floor.flush();
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener, epoll: &rustix::fd::OwnedFd) -> Result<()> {
        let (stream, _) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("accept"),
        };
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(self.peers.len() as u64);
        epoll::add(epoll, &stream, data, epoll::EventFlags::IN)?;
        self.peers.push(Some(Peer {
            stream,
            subscribed: false,
            outbound: Vec::new(),
        }));
        Ok(())
    }

    fn handle_input(&mut self, index: usize, buffer: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        match peer.stream.read(buffer) {
            Ok(length) if length > 0 => match self.kind {
                Kind::Http => peer.outbound.extend_from_slice(RESPONSE),
                Kind::Echo => peer.outbound.extend_from_slice(&buffer[..length]),
                Kind::Mqtt => self.handle_mqtt(index, &buffer[..length]),
            },
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(_) | Err(_) => self.peers[index] = None,
        }
    }

    /// Trusts the load generator: it sends CONNECT and SUBSCRIBE alone and whole, and publishes whole
    /// packets. PUBLISH with QoS 1 is answered once for each read, which is less than a server must do.
    fn handle_mqtt(&mut self, index: usize, bytes: &[u8]) {
        let Some(peer) = self.peers.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        match bytes[0] >> 4 {
            1 => peer.outbound.extend([0x20, 2, 0, 0]),
            8 => {
                peer.subscribed = true;
                peer.outbound.extend([0x90, 3, 0, 1, 0]);
            }
            3 => {
                if bytes[0] & 0x06 != 0 {
                    peer.outbound.extend([0x40, 2, 0, 1]);
                }
                for peer in self
                    .peers
                    .iter_mut()
                    .flatten()
                    .filter(|peer| peer.subscribed)
                {
                    peer.outbound.extend_from_slice(bytes);
                }
            }
            _ => {}
        }
    }

    fn flush(&mut self) {
        for slot in &mut self.peers {
            let Some(peer) = slot else { continue };
            if peer.outbound.is_empty() {
                continue;
            }
            match peer.stream.write(&peer.outbound) {
                Ok(written) => {
                    peer.outbound.drain(..written);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => *slot = None,
            }
        }
    }
}
