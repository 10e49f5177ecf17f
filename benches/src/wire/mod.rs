//! What the load generator must know of each protocol: to open a connection, to write a message, and to
//! find the ends of messages in what comes back. Requests are made once and sent many times.

pub mod http;
pub mod mqtt;
pub mod sse;
pub mod websocket;

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A blocking connection whose answers are awaited for at most 20 seconds.
///
/// # Errors
///
/// If the server does not accept it.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// Reads byte by byte until the input ends with `end`; what follows stays in the socket.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> Result<Vec<u8>> {
    let mut input = Vec::new();
    let mut byte = [0];
    while !input.ends_with(end) {
        stream.read_exact(&mut byte).context("no answer")?;
        input.push(byte[0]);
    }
    Ok(input)
}
