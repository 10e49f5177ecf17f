//! Static files from a directory.
//!
//! `path` turns a URL into a relative path that cannot leave the root, `beneath` opens it so that no
//! symbolic link leads out either, `conditional` and `range` decide between 200, 206, 304, 412 and
//! 416, and `stream` sends what does not fit in one piece. All of it runs on Tokio's blocking threads:
//! a disk that stalls holds up this request, never the worker.

mod beneath;
mod conditional;
mod media_type;
mod path;
mod range;
mod stream;

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use self::conditional::{Validators, Verdict};
use self::path::SitePath;
use self::range::Selection;
use self::stream::{FileBody, READ_BYTES};
use crate::body::Body;
use crate::request::Request;
use crate::response::{Response, internal_server_error};
use crate::stage::{BoxFuture, Handler};

/// Where the files are and how they are served; the names of the `static` section.
#[derive(Debug, Clone)]
pub struct StaticFilesConfig {
    /// The directory. It is opened for each request, so replacing it as a whole works.
    pub root: PathBuf,
    /// URL prefix, with or without slashes at its ends. Default: `/`.
    pub url_path: String,
    /// Serves `index.html` for a directory. Default: on.
    pub index: bool,
    /// Suffixes to try, in order, without the dot, when there is no such file: `html` makes `/about`
    /// serve `about.html`. Default: none.
    pub extensions: Vec<String>,
    /// What happens when there is no such file. Default: the request is handed back.
    pub absent: Absent,
    /// The value of `Cache-Control`. Default: `no-cache`, which makes browsers ask each time whether
    /// the file has changed (and get a 304).
    pub cache_control: Option<HeaderValue>,
    /// Serves files and directories whose name begins with a dot. Default: off.
    pub dotfiles: bool,
}

impl StaticFilesConfig {
    /// The defaults for the directory `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            url_path: "/".to_owned(),
            index: true,
            extensions: Vec::new(),
            absent: Absent::HandBack,
            cache_control: Some(HeaderValue::from_static("no-cache")),
            dotfiles: false,
        }
    }
}

/// What [`StaticFiles`] does with a `GET` or `HEAD` below its prefix that names no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
    /// Hands the request back to the chain.
    HandBack,
    /// Answers 404 `File not found`, and 400 to a path that no file can have.
    NotFound,
    /// Serves this file, relative to the root, with this status: the page of a single-page application.
    File {
        /// Relative to the root.
        path: PathBuf,
        /// 404 or, for client-side routes, 200.
        status: StatusCode,
    },
}

/// A directory that cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve files from '{root}'")]
pub struct StaticFilesError {
    root: String,
    source: io::Error,
}

/// A [`Handler`] for the files below a directory, by `GET` and `HEAD`.
///
/// Files that are added, changed or removed show at once. Symbolic links may point anywhere within the
/// root and nowhere else; a path with `..`, a backslash, an encoded slash or NUL is no path of a file.
/// Served files carry `ETag` (weak, from size and time), `Last-Modified`, `Accept-Ranges` and
/// `X-Content-Type-Options: nosniff`. One range is answered with 206; a request for several gets the
/// whole file, as RFC 9110 (section 14.2) permits.
///
/// Place: before authentication if the files are public, else behind it. Needs a Tokio runtime.
///
/// ```no_run
/// use http_chain::{Chain, Stage};
/// use http_chain::files::{StaticFiles, StaticFilesConfig};
///
/// let files = StaticFiles::new(StaticFilesConfig::new("web"))?;
/// let chain = Chain::new([("static", Stage::handler(files))]);
/// # Ok::<(), http_chain::files::StaticFilesError>(())
/// ```
#[derive(Debug, Clone)]
pub struct StaticFiles {
    site: Arc<Site>,
}

impl StaticFiles {
    /// Serves what `config` describes.
    ///
    /// # Errors
    ///
    /// [`StaticFilesError`] if the root is no directory that can be read now.
    pub fn new(mut config: StaticFilesConfig) -> Result<Self, StaticFilesError> {
        if let Err(source) = std::fs::read_dir(&config.root) {
            return Err(StaticFilesError {
                root: config.root.display().to_string(),
                source,
            });
        }
        config.url_path = match config.url_path.trim_matches('/') {
            "" => String::new(),
            prefix => format!("/{prefix}"),
        };
        Ok(Self {
            site: Arc::new(Site { config }),
        })
    }
}

impl Handler for StaticFiles {
    fn accepts(&self, request: &Request) -> bool {
        matches!(*request.method(), Method::GET | Method::HEAD)
            && self.site.below_prefix(request.pathname()).is_some()
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        let site = Arc::clone(&self.site);
        Box::pin(async move {
            if !self.accepts(&request) {
                return ControlFlow::Continue(request);
            }
            match tokio::task::spawn_blocking(move || site.answer(request)).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::error!(target: "http", %error, "a file could not be read");
                    ControlFlow::Break(internal_server_error())
                }
            }
        })
    }
}

#[derive(Debug)]
struct Site {
    config: StaticFilesConfig,
}

/// What a path leads to.
enum Lookup {
    File(Box<Found>),
    /// A directory with an index, asked for without its slash.
    DirectoryWithoutSlash,
    Absent,
}

struct Found {
    file: File,
    metadata: Metadata,
    name: PathBuf,
}

impl Site {
    /// What follows the prefix, on a segment boundary: `/api` covers `/api` and `/api/x`, not `/apis`.
    fn below_prefix<'p>(&self, pathname: &'p str) -> Option<&'p str> {
        let below = pathname.strip_prefix(self.config.url_path.as_str())?;
        (below.is_empty() || below.starts_with('/')).then_some(below)
    }

    fn answer(&self, request: Request) -> ControlFlow<Response, Request> {
        let path = self
            .below_prefix(request.pathname())
            .and_then(|below| path::decode(below, self.config.dotfiles));
        let lookup = match &path {
            Some(path) => self.look_up(path),
            None if self.config.absent == Absent::NotFound => {
                return ControlFlow::Break(Response::text(
                    StatusCode::BAD_REQUEST,
                    "Not a path of a file\n",
                ));
            }
            None => Ok(Lookup::Absent),
        };
        let response = match lookup {
            Ok(Lookup::File(found)) => self.serve(&request, *found, StatusCode::OK),
            Ok(Lookup::DirectoryWithoutSlash) => Ok(redirect_to_directory(request.url())),
            Ok(Lookup::Absent) => match self.answer_absent(&request) {
                Some(response) => response,
                None => return ControlFlow::Continue(request),
            },
            Err(error) => Err(error),
        };
        ControlFlow::Break(response.unwrap_or_else(|error| {
            tracing::error!(target: "http", %error, path = request.pathname(), "a file could not be read");
            internal_server_error()
        }))
    }

    fn answer_absent(&self, request: &Request) -> Option<io::Result<Response>> {
        match &self.config.absent {
            Absent::HandBack => None,
            Absent::NotFound => Some(Ok(Response::text(StatusCode::NOT_FOUND, "File not found"))),
            Absent::File { path, status } => Some(match self.open(path) {
                Ok(Some(found)) if found.metadata.is_file() => self.serve(request, found, *status),
                Ok(_) => Ok(Response::text(StatusCode::NOT_FOUND, "File not found")),
                Err(error) => Err(error),
            }),
        }
    }

    fn look_up(&self, path: &SitePath) -> io::Result<Lookup> {
        if let Some(found) = self.open(&path.relative)? {
            if found.metadata.is_file() && !path.names_directory {
                return Ok(Lookup::File(Box::new(found)));
            }
            if found.metadata.is_dir() && self.config.index {
                let index = self
                    .open(&path.relative.join("index.html"))?
                    .filter(|index| index.metadata.is_file());
                match index {
                    Some(index) if path.names_directory => {
                        return Ok(Lookup::File(Box::new(index)));
                    }
                    Some(_) => return Ok(Lookup::DirectoryWithoutSlash),
                    None => {}
                }
            }
        }
        if !path.names_directory {
            for extension in &self.config.extensions {
                let mut name = path.relative.clone().into_os_string();
                name.push(".");
                name.push(extension);
                if let Some(found) = self
                    .open(Path::new(&name))?
                    .filter(|found| found.metadata.is_file())
                {
                    return Ok(Lookup::File(Box::new(found)));
                }
            }
        }
        Ok(Lookup::Absent)
    }

    /// Opens a file or directory; `None` when there is none that may be served.
    fn open(&self, relative: &Path) -> io::Result<Option<Found>> {
        let file = match beneath::open(&self.config.root, relative) {
            Ok(file) => file,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Asked of the open file, so it is about what will be sent.
        let metadata = file.metadata()?;
        Ok(Some(Found {
            file,
            metadata,
            name: relative.to_owned(),
        }))
    }

    fn serve(&self, request: &Request, found: Found, status: StatusCode) -> io::Result<Response> {
        let validators = Validators {
            etag: weak_etag(&found.metadata),
            last_modified: found.metadata.modified().ok().map(whole_seconds),
        };
        let mut headers = self.standing_headers(&validators);
        // A page that says "not found" must not turn into "not modified" or a part of itself.
        let is_success = status == StatusCode::OK;
        if is_success {
            match conditional::evaluate(request.method(), request.headers(), &validators) {
                Verdict::Proceed => {}
                Verdict::NotModified => {
                    headers.remove(header::LAST_MODIFIED);
                    return Ok(response(StatusCode::NOT_MODIFIED, headers, Body::Empty));
                }
                Verdict::PreconditionFailed => {
                    return Ok(response(
                        StatusCode::PRECONDITION_FAILED,
                        headers,
                        Body::Empty,
                    ));
                }
            }
        }
        let size = found.metadata.len();
        let selection = match is_success {
            true => range::select(request.method(), request.headers(), &validators, size),
            false => Selection::Whole,
        };
        let (status, start, end) = match selection {
            Selection::Whole => (status, 0, size),
            Selection::Part { start, end } => (StatusCode::PARTIAL_CONTENT, start, end),
            Selection::Unsatisfiable => {
                headers.insert(
                    header::CONTENT_RANGE,
                    HeaderValue::try_from(format!("bytes */{size}")).map_err(io::Error::other)?,
                );
                return Ok(response(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    headers,
                    Body::Empty,
                ));
            }
        };
        headers.insert(header::CONTENT_TYPE, media_type::of(&found.name));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
        if let Selection::Part { start, end } = selection {
            let text = format!("bytes {start}-{}/{size}", end - 1);
            headers.insert(
                header::CONTENT_RANGE,
                HeaderValue::try_from(text).map_err(io::Error::other)?,
            );
        }
        let body = match *request.method() == Method::HEAD {
            true => Body::Empty,
            false => file_body(found.file, start, end)?,
        };
        Ok(response(status, headers, body))
    }

    fn standing_headers(&self, validators: &Validators) -> HeaderMap {
        let mut headers = HeaderMap::new();
        // A script or style sheet must not be made of a file that is neither, nor an address with
        // secrets be told to other sites.
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(
            header::REFERRER_POLICY,
            HeaderValue::from_static("same-origin"),
        );
        if let Some(cache_control) = &self.config.cache_control {
            headers.insert(header::CACHE_CONTROL, cache_control.clone());
        }
        if let Ok(etag) = HeaderValue::from_str(&validators.etag) {
            headers.insert(header::ETAG, etag);
        }
        if let Some(time) = validators.last_modified
            && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(time))
        {
            headers.insert(header::LAST_MODIFIED, date);
        }
        headers
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::with_body(status, body);
    *response.headers_mut() = headers;
    response
}

/// A short file is read at once; a longer one piece by piece as the client takes it.
fn file_body(mut file: File, start: u64, end: u64) -> io::Result<Body> {
    if start > 0 {
        file.seek(SeekFrom::Start(start))?;
    }
    let length = end - start;
    if length > READ_BYTES {
        return Ok(Body::new(FileBody::new(file, length)));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file became shorter",
        ));
    }
    Ok(Bytes::from(bytes).into())
}

/// Errors of opening that mean "no such file", among them names no file system could hold.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::NotFound
            | Kind::NotADirectory
            | Kind::PermissionDenied
            | Kind::InvalidFilename
            | Kind::InvalidInput
    ) || beneath::is_loop(error)
}

/// Changes whenever size or time of the file change. Weak, since two versions may share both.
fn weak_etag(metadata: &Metadata) -> String {
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!(
        "W/\"{:x}-{:x}\"",
        metadata.len(),
        modified.unwrap_or_default().as_nanos()
    )
}

/// HTTP dates have no fractions; comparing a file's with one would call every file modified.
fn whole_seconds(time: SystemTime) -> SystemTime {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => UNIX_EPOCH + std::time::Duration::from_secs(since.as_secs()),
        Err(_) => UNIX_EPOCH,
    }
}

/// `301` to the same URL with a slash behind its path, so that relative links in the index work. More
/// than one slash at the front would name another host.
fn redirect_to_directory(url: &str) -> Response {
    let (path, query) = url
        .split_once('?')
        .map_or((url, None), |(path, query)| (path, Some(query)));
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("/{}/{query}", path.trim_start_matches(['/', '\\']));
    match HeaderValue::try_from(location) {
        Ok(location) => {
            Response::new(StatusCode::MOVED_PERMANENTLY).with_header(header::LOCATION, location)
        }
        Err(_) => Response::text(StatusCode::BAD_REQUEST, "Not a path of a file\n"),
    }
}
