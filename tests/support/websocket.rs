//! WebSocket by tungstenite.

use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tungstenite::{Message, WebSocket};

use crate::wait::LIMIT;

/// A connected client.
pub struct Client(WebSocket<TcpStream>);

impl Client {
    /// Connects to a path.
    ///
    /// # Panics
    ///
    /// If the handshake fails.
    pub fn connect(address: SocketAddr, path: &str) -> Self {
        Self::try_connect(address, path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Connects to a path, or says why not.
    ///
    /// # Errors
    ///
    /// The HTTP answer of the server.
    pub fn try_connect(address: SocketAddr, path: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        stream
            .set_read_timeout(Some(LIMIT))
            .map_err(|error| error.to_string())?;
        tungstenite::client(format!("ws://{address}{path}"), stream)
            .map(|(socket, _)| Self(socket))
            .map_err(|error| error.to_string())
    }

    /// The next event envelope.
    ///
    /// # Panics
    ///
    /// If something else comes, or nothing within the time limit.
    pub fn event(&mut self) -> Value {
        loop {
            match self.0.read().expect("a message") {
                Message::Text(text) => return serde_json::from_str(&text).expect("an envelope"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// Sends a text message.
    pub fn send(&mut self, value: &Value) {
        self.0
            .send(Message::text(value.to_string()))
            .expect("the message is sent");
    }

    /// The socket itself.
    pub fn socket(&mut self) -> &mut WebSocket<TcpStream> {
        &mut self.0
    }
}
