//! A file from a web server, over HTTP and HTTPS, with bounds on time and size.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use resource::Value;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::Failure;
use crate::config::BulkLimits;

/// Media types that a file of rows may have.
const MEDIA_TYPES: [&str; 4] = [
    "text/csv",
    "application/octet-stream",
    "text/plain",
    "application/vnd.ms-excel",
];

/// Fields of ours that a caller cannot set: they belong to the connection.
const OWN_FIELDS: [HeaderName; 2] = [HOST, CONNECTION];

/// A URL of the schemes `http` and `https`.
#[derive(Debug, Clone)]
pub(super) struct Address {
    uri: Uri,
    host: String,
    port: u16,
    secure: bool,
}

impl Address {
    /// `None` if it is no such URL.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        // The brackets of an IPv6 address belong to the URL alone.
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16();
        if host.is_empty() || authority.as_str().contains('@') {
            return None;
        }
        Some(Self {
            port: port.unwrap_or(if secure { 443 } else { 80 }),
            uri,
            host,
            secure,
        })
    }
}

/// The header fields in an object of texts; `None` if it is none.
pub(super) fn header_fields(value: &Value) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for (name, value) in value.as_map()?.iter() {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_str(value.as_str()?).ok()?;
        if !OWN_FIELDS.contains(&name) {
            fields.insert(name, value);
        }
    }
    Some(fields)
}

/// Downloads into a file without a name, which is gone when it is closed.
pub(super) async fn to_file(
    address: &Address,
    fields: &HeaderMap,
    limits: &BulkLimits,
) -> Result<File, Failure> {
    let failed = |text: String| Failure::new(400, format!("cannot load {}: {text}", address.uri));
    // Ends the connection when it is dropped.
    let mut connections = JoinSet::new();
    let download = async {
        let response = send(address, fields, &mut connections).await?;
        check(&response)?;
        save(response, limits).await
    };
    match timeout(limits.download_timeout, download).await {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(text)) => Err(failed(text)),
        Err(_) => Err(failed("it takes too long".to_owned())),
    }
}

/// Time for a connection, its TLS handshake and the head of the response.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

async fn send(
    address: &Address,
    fields: &HeaderMap,
    connections: &mut JoinSet<()>,
) -> Result<Response<Incoming>, String> {
    let request = request(address, fields).map_err(|error| error.to_string())?;
    let answered = async {
        let stream = TcpStream::connect((address.host.as_str(), address.port))
            .await
            .map_err(|error| error.to_string())?;
        match address.secure {
            false => exchange(stream, request, connections).await,
            true => exchange(handshake(address, stream).await?, request, connections).await,
        }
    };
    match timeout(HEAD_TIMEOUT, answered).await {
        Ok(answered) => answered,
        Err(_) => Err("no answer".to_owned()),
    }
}

async fn handshake(
    address: &Address,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs);
    let found = found.await.map_err(|error| error.to_string())?;
    roots.add_parsable_certificates(found.certs);
    let config = ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .map_err(|error| error.to_string())?
    .with_root_certificates(roots)
    .with_no_client_auth();
    let name = ServerName::try_from(address.host.clone()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(config));
    let connected = connector.connect(name, stream).await;
    connected.map_err(|error| error.to_string())
}

fn request(address: &Address, fields: &HeaderMap) -> http::Result<Request<Empty<Bytes>>> {
    let path = address.uri.path_and_query();
    let host = address.uri.authority().map_or("", |host| host.as_str());
    let mut request = Request::builder()
        .uri(path.map_or("/", |path| path.as_str()))
        .header(HOST, host)
        .header(CONNECTION, "close")
        .header(ACCEPT, MEDIA_TYPES.join(", "))
        .body(Empty::new())?;
    for (name, value) in fields {
        request.headers_mut().insert(name, value.clone());
    }
    Ok(request)
}

async fn exchange(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Empty<Bytes>>,
    connections: &mut JoinSet<()>,
) -> Result<Response<Incoming>, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io))
        .await
        .map_err(|error| error.to_string())?;
    // Its error says no more than that of the body.
    connections.spawn(async move { drop(connection.await) });
    let response = sender.send_request(request).await;
    response.map_err(|error| error.to_string())
}

fn check(response: &Response<Incoming>) -> Result<(), String> {
    if response.status() != StatusCode::OK {
        return Err(format!("the answer is {}", response.status()));
    }
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|text| text.split(';').next());
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    match MEDIA_TYPES.contains(&essence.as_str()) {
        true => Ok(()),
        false => Err(format!(
            "the type '{essence}' is none of {}",
            MEDIA_TYPES.join(", ")
        )),
    }
}

async fn save(response: Response<Incoming>, limits: &BulkLimits) -> Result<File, String> {
    let mut body = response.into_body();
    let mut file = tempfile::tempfile().map_err(|error| error.to_string())?;
    let mut left = limits.download_bytes;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        left = left
            .checked_sub(data.len() as u64)
            .ok_or_else(|| format!("it has more than {} bytes", limits.download_bytes))?;
        let written = tokio::task::spawn_blocking(move || file.write_all(&data).map(|()| file));
        let written = written.await.map_err(|error| error.to_string())?;
        file = written.map_err(|error| error.to_string())?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s8_only_http_and_https_are_urls_of_files() {
        for url in [
            "file:///etc/passwd",
            "ftp://a/b",
            "/a",
            "http://",
            "http://u:p@a/b",
            "",
        ] {
            assert!(Address::parse(url).is_none(), "{url}");
        }
        let address = Address::parse("https://[::1]/a.csv?b=c").unwrap();
        assert_eq!(
            (address.host.as_str(), address.port, address.secure),
            ("::1", 443, true)
        );
    }

    #[test]
    fn fields_of_the_connection_are_not_passed_through() {
        let fields =
            |text: &str| header_fields(&resource::json::from_slice(text.as_bytes()).unwrap());
        let given = fields(r#"{"Authorization": "Bearer x", "Host": "other"}"#).unwrap();
        assert_eq!(given.keys().collect::<Vec<_>>(), ["authorization"]);
        assert!(fields(r#"{"a b": "c"}"#).is_none());
        assert!(fields(r#"{"a": "c\nd"}"#).is_none());
        assert!(fields("[]").is_none());
    }
}
