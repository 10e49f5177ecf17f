//! Prints what happens at a path, one message a line: `watch URL [COUNT]`.
//!
//! ```sh
//! cargo run -p proto-ws --example watch -- ws://user:password@127.0.0.1:9926/Dog/ 3
//! ```

use std::error::Error;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tungstenite::Message;
use tungstenite::client::IntoClientRequest as _;

fn main() -> ExitCode {
    match watch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn watch() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: watch URL [COUNT]")?;
    let count = arguments
        .next()
        .map_or(Ok(usize::MAX), |count| count.parse())?;

    let mut request = url.into_client_request()?;
    let authority = request.uri().authority().ok_or("the URL has no host")?;
    if let Some((user, _)) = authority.as_str().rsplit_once('@') {
        let basic = format!("Basic {}", STANDARD.encode(user));
        request
            .headers_mut()
            .insert("authorization", basic.parse()?);
    }
    let (mut socket, _) = tungstenite::connect(request)?;
    let mut seen = 0;
    while seen < count {
        match socket.read()? {
            Message::Text(text) => {
                println!("{text}");
                seen += 1;
            }
            Message::Close(Some(frame)) => {
                return Err(format!("closed with {} {}", frame.code, frame.reason).into());
            }
            Message::Close(None) => return Err("closed".into()),
            _ => {}
        }
    }
    Ok(socket.close(None)?)
}
