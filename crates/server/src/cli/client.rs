//! The Operations API as a client: one request over the Unix socket of the server on this machine, or over TLS to
//! another.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// Port of the Operations API where none is given.
const PORT: u16 = 9925;

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

/// Which server.
pub(super) enum Target {
    /// The one on this machine, by its socket.
    Local(PathBuf),
    /// Another.
    Remote(Remote),
}

/// A server that is reached by TCP.
pub(super) struct Remote {
    host: String,
    port: u16,
    is_secure: bool,
    path: String,
    credentials: Option<Credentials>,
    accepts_any_certificate: bool,
}

impl Target {
    /// Reads a URL or a bare host, which means `https://<host>:9925`. Credentials in a URL win.
    pub(super) fn remote(
        target: &str,
        credentials: Option<Credentials>,
        accepts_any_certificate: bool,
    ) -> anyhow::Result<Self> {
        // Not repeated whole: it may hold a password.
        const WRONG: &str = "the target is no URL: expected a host name, or http(s)://host:port";
        let is_url = target.contains("://");
        let url = match is_url {
            true => target.to_owned(),
            false => format!("https://{target}"),
        };
        let uri: Uri = url.parse().context(WRONG)?;
        let authority = uri.authority().context(WRONG)?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            other => bail!("{WRONG}; the scheme is '{}'", other.unwrap_or_default()),
        };
        let of_url = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let default_port = match (is_url, is_secure) {
            (false, _) => PORT,
            (true, true) => 443,
            (true, false) => 80,
        };
        Ok(Self::Remote(Remote {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(default_port),
            is_secure,
            path: uri.path().to_owned(),
            credentials: of_url.map(credentials_of).or(credentials),
            accepts_any_certificate,
        }))
    }
}

/// `user:password` of a URL.
fn credentials_of(text: &str) -> Credentials {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Credentials {
        user: decoded(user),
        password: decoded(password),
    }
}

/// Sends one operation; the status and the body of the answer.
pub(super) async fn post(target: &Target, body: Vec<u8>) -> anyhow::Result<(StatusCode, Bytes)> {
    match target {
        Target::Local(path) => {
            let stream = match UnixStream::connect(path).await {
                Ok(stream) => stream,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    bail!("No domain socket found, unable to perform this operation")
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    bail!("Motet must be running to perform this operation")
                }
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            };
            exchange(stream, request("localhost", "/", None, body)?).await
        }
        Target::Remote(remote) => remote.post(body).await,
    }
}

impl Remote {
    async fn post(&self, body: Vec<u8>) -> anyhow::Result<(StatusCode, Bytes)> {
        let host = match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        };
        let request = request(&host, &self.path, self.credentials.as_ref(), body)?;
        let at = || format!("cannot reach {host}");
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .with_context(at)?;
        if !self.is_secure {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(self.host.clone()).with_context(at)?;
        let connector = TlsConnector::from(Arc::new(tls(self.accepts_any_certificate)?));
        let stream = connector.connect(name, stream).await.with_context(|| {
            format!(
                "cannot reach {host} securely (rejectUnauthorized=false accepts any certificate)"
            )
        })?;
        exchange(stream, request).await
    }
}

fn request(
    host: &str,
    path: &str,
    credentials: Option<&Credentials>,
    body: Vec<u8>,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let mut request = Request::post(path)
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json");
    if let Some(Credentials { user, password }) = credentials {
        let basic = STANDARD.encode(format!("{user}:{password}"));
        request = request.header(AUTHORIZATION, format!("Basic {basic}"));
    }
    Ok(request.body(Full::new(Bytes::from(body)))?)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, body))
    };
    // The connection has to be polled for the answer to come, and ends once `sender` is gone.
    let (answer, _) = tokio::join!(answer, connection);
    answer.context("no whole answer")
}

fn tls(accepts_any_certificate: bool) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    if accepts_any_certificate {
        let verifier = Arc::new(AnyCertificate(provider));
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        return Ok(builder.with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Accepts every certificate, because the user said so; signatures still have to be right.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(target: &str) -> Remote {
        let given = Credentials {
            user: "given".to_owned(),
            password: "x".to_owned(),
        };
        match Target::remote(target, Some(given), false).unwrap() {
            Target::Remote(remote) => remote,
            Target::Local(_) => unreachable!("a remote target"),
        }
    }

    #[test]
    fn section_4_2_a_bare_host_means_https_and_the_port_of_operations() {
        for (target, host, port, is_secure) in [
            ("db.example.com", "db.example.com", 9925, true),
            ("db.example.com:1", "db.example.com", 1, true),
            ("http://127.0.0.1:9925/", "127.0.0.1", 9925, false),
            ("https://[::1]", "::1", 443, true),
        ] {
            let remote = remote(target);
            assert_eq!(
                (remote.host.as_str(), remote.port, remote.is_secure),
                (host, port, is_secure),
                "{target}"
            );
        }
        assert!(Target::remote("ftp://x", None, false).is_err());
    }

    #[test]
    fn section_4_2_credentials_in_the_url_win() {
        let credentials = remote("https://me:p%40ss@db:1").credentials.unwrap();
        assert_eq!(
            (credentials.user.as_str(), credentials.password.as_str()),
            ("me", "p@ss")
        );
        assert_eq!(remote("db").credentials.unwrap().user, "given");
    }
}
