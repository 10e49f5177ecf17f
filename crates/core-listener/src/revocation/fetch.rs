//! Fetches a small thing over plain HTTP.

use std::error::Error;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Redirections that are followed for one thing.
const MAX_REDIRECTIONS: usize = 3;

/// Why there is nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0} is not an HTTP address")]
    NotHttp(String),
    #[error("cannot reach {url}: {error}")]
    Connect { url: String, error: std::io::Error },
    #[error("{url} did not answer properly: {error}")]
    Answer {
        url: String,
        error: Box<dyn Error + Send + Sync>,
    },
    #[error("{url} answered {status}")]
    Status { url: String, status: StatusCode },
}

/// A request body with its media type.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) media_type: HeaderValue,
    pub(super) body: Bytes,
}

/// Whether the address is one that [`fetch`] can use.
pub(super) fn is_http(url: &str) -> bool {
    let parsed = url.parse::<Uri>();
    parsed.is_ok_and(|url| url.scheme_str() == Some("http") && url.authority().is_some())
}

/// What is at `url`, of at most `limit` bytes: by GET, or by POST if there is a question. Redirections of a GET
/// are followed while they lead to other HTTP addresses.
pub(super) async fn fetch(
    url: &str,
    question: Option<Question>,
    limit: usize,
) -> Result<Bytes, FetchError> {
    let mut url = url.to_owned();
    for _ in 0..=MAX_REDIRECTIONS {
        match fetch_once(&url, question.clone(), limit).await? {
            Answer::Content(content) => return Ok(content),
            Answer::Elsewhere(status, next) if question.is_some() => {
                return Err(FetchError::Status { url: next, status });
            }
            Answer::Elsewhere(_, next) => url = next,
        }
    }
    Err(FetchError::Answer {
        url,
        error: "too many redirections".into(),
    })
}

enum Answer {
    Content(Bytes),
    Elsewhere(StatusCode, String),
}

async fn fetch_once(
    url: &str,
    question: Option<Question>,
    limit: usize,
) -> Result<Answer, FetchError> {
    let answer = |error: Box<dyn Error + Send + Sync>| FetchError::Answer {
        url: url.to_owned(),
        error,
    };
    let not_http = || FetchError::NotHttp(url.to_owned());
    let target: Uri = url.parse().map_err(|_| not_http())?;
    let authority = target
        .authority()
        .filter(|_| is_http(url))
        .ok_or_else(not_http)?;
    // The brackets of an IPv6 address belong to the URL alone.
    let host = authority.host().trim_matches(['[', ']']);
    let port = authority.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| FetchError::Connect {
            url: url.to_owned(),
            error,
        })?;
    let request = request(&target, question).map_err(|error| answer(error.into()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| answer(error.into()))?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limit).collect().await?;
        Ok::<_, Box<dyn Error + Send + Sync>>((head, body.to_bytes()))
    };
    // The connection ends when the exchange has let go of its sender; its own error says nothing more.
    let (exchange, _) = tokio::join!(exchange, connection);
    let (head, body) = exchange.map_err(answer)?;
    if head.status.is_success() {
        return Ok(Answer::Content(body));
    }
    let location = head
        .headers
        .get(LOCATION)
        .filter(|_| head.status.is_redirection());
    match location.and_then(|location| location.to_str().ok()) {
        Some(location) => Ok(Answer::Elsewhere(head.status, resolve(&target, location))),
        None => Err(FetchError::Status {
            url: url.to_owned(),
            status: head.status,
        }),
    }
}

fn request(target: &Uri, question: Option<Question>) -> http::Result<Request<Full<Bytes>>> {
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    let host = target
        .authority()
        .map_or("", |authority| authority.as_str());
    let request = Request::builder()
        .uri(path)
        .header(HOST, host)
        .header(CONNECTION, "close");
    match question {
        None => request.body(Full::default()),
        Some(Question { media_type, body }) => request
            .method(Method::POST)
            .header(CONTENT_TYPE, media_type)
            .body(Full::new(body)),
    }
}

/// The address that a redirection leads to.
fn resolve(base: &Uri, location: &str) -> String {
    match (location.starts_with('/'), base.authority()) {
        (true, Some(authority)) => format!("http://{authority}{location}"),
        _ => location.to_owned(),
    }
}
