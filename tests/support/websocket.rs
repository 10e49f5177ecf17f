//! WebSocket by tungstenite.

use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::HandshakeError;
use tungstenite::{Error, Message, WebSocket};

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

    /// Connects to a path with an `Authorization` header.
    ///
    /// # Errors
    ///
    /// The HTTP status of a refusal.
    ///
    /// # Panics
    ///
    /// If there is no HTTP answer at all.
    pub fn try_connect_as(
        address: SocketAddr,
        path: &str,
        authorization: Option<&str>,
    ) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        let mut request = format!("ws://{address}{path}")
            .into_client_request()
            .expect("a URL");
        if let Some(authorization) = authorization {
            let value = authorization.parse().expect("a header value");
            request.headers_mut().insert("authorization", value);
        }
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Waits for the closing frame and gives its code; events before it are skipped.
    ///
    /// # Panics
    ///
    /// If none comes within the time limit.
    pub fn close_code(&mut self) -> u16 {
        loop {
            if let Message::Close(Some(frame)) = self.0.read().expect("a message") {
                return frame.code.into();
            }
        }
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
