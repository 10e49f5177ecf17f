//! What a site of static files consists of and how it is served.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::media_type::MediaTypes;
use super::range::RangePolicy;
use super::tags::EntityTags;
use crate::coding::ContentCoding;

/// Where the files are and how they are served; most names are those of the `static` section.
#[derive(Debug, Clone)]
pub struct StaticFilesConfig {
    /// The directory. It is opened for each request, so replacing it as a whole works.
    pub root: PathBuf,
    /// Patterns of the files that belong to the site, relative to `root`: `*` within a segment, `**` over
    /// segments, `?`, `[a-z]`, `{a,b}`. The part before the first wildcard is not part of the URL, and of
    /// several patterns the first that has the file wins. Default: empty, which means all.
    pub files: Vec<String>,
    /// Patterns of files that do not belong to it. Default: none.
    pub ignore: Vec<String>,
    /// URL prefix, with or without slashes at its ends. Default: `/`.
    pub url_path: String,
    /// Serves the index file for a directory. Default: on.
    pub index: bool,
    /// The name of the index file. Default: `index.html`.
    pub index_file: String,
    /// Suffixes to try, in order, without the dot, when there is no such file: `html` makes `/about`
    /// serve `about.html`. Default: none.
    pub extensions: Vec<String>,
    /// Lists a directory that has no index, 10,000 names at most. Default: off.
    pub listing: bool,
    /// What happens when there is no such file. Default: the request is handed back.
    pub absent: Absent,
    /// Default: `public, max-age=0`, which makes browsers ask each time whether the file has changed (and
    /// get a 304).
    pub cache_control: CachePolicy,
    /// Default: [`EntityTags::WeakStat`].
    pub entity_tags: EntityTags,
    /// Content codings for which a file beside the asked one may stand ready (`app.js.br` for `app.js`),
    /// the preferred first. Such a file is used when the client accepts its coding and it is not older than
    /// the original. Default: br, zstd, gzip.
    pub precompressed: Vec<ContentCoding>,
    /// How ranges are answered; `None` ignores them. Default: [`RangePolicy::default`].
    pub ranges: Option<RangePolicy>,
    /// Media types by extension; a file of an unknown one is `application/octet-stream`, whatever is in it.
    pub media_types: MediaTypes,
    /// Files and directories whose name begins with a dot. Default: [`Dotfiles::Ignore`].
    pub dotfiles: Dotfiles,
    /// Default: [`SymbolicLinks::WithinRoot`].
    pub symbolic_links: SymbolicLinks,
    /// Answers `/docs/index.html` with 301 to `/docs/`, and `/a.txt/` with 301 to `/a.txt`. Default: off.
    pub canonical: bool,
    /// Serves names with a colon, which on Windows name drives and streams. Default: on, but on Windows.
    pub colons: bool,
    /// Requests that may wait for a disk at the same time; further ones get 503 with `Retry-After: 1`. What
    /// is known to be absent, and a body that is being sent, do not count. Default: 1024.
    pub max_pending: usize,
    /// What happens to methods other than `GET` and `HEAD`. Default: the request is handed back.
    pub other_methods: OtherMethods,
}

impl StaticFilesConfig {
    /// The defaults for the directory `root`: those of `static` in a configuration file.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            files: Vec::new(),
            ignore: Vec::new(),
            url_path: "/".to_owned(),
            index: true,
            index_file: "index.html".to_owned(),
            extensions: Vec::new(),
            listing: false,
            absent: Absent::HandBack,
            cache_control: cache_control(Duration::ZERO, false).into(),
            entity_tags: EntityTags::default(),
            precompressed: vec![ContentCoding::Br, ContentCoding::Zstd, ContentCoding::Gzip],
            ranges: Some(RangePolicy::default()),
            media_types: MediaTypes::default(),
            dotfiles: Dotfiles::Ignore,
            symbolic_links: SymbolicLinks::WithinRoot,
            canonical: false,
            colons: !cfg!(windows),
            max_pending: 1024,
            other_methods: OtherMethods::HandBack,
        }
    }

    /// The defaults of a file server on its own, which answers everything: 404 for what is absent, 405 for
    /// other methods, redirects to the one URL of each file, dotfiles served, no colons, no `Cache-Control`,
    /// nothing precompressed.
    pub fn file_server(root: impl Into<PathBuf>) -> Self {
        Self {
            absent: Absent::NotFound,
            cache_control: CachePolicy::Omit,
            precompressed: Vec::new(),
            dotfiles: Dotfiles::Serve,
            canonical: true,
            colons: false,
            other_methods: OtherMethods::Refuse,
            ..Self::new(root)
        }
    }
}

/// The `Cache-Control` of files, and of the 304 in their place.
#[derive(Clone)]
pub enum CachePolicy {
    /// None.
    Omit,
    /// The same for all; [`cache_control`] makes the usual ones.
    Fixed(HeaderValue),
    /// What the function says for a file (path relative to the root); `None` omits the field.
    Custom(CacheFunction),
}

/// See [`CachePolicy::Custom`].
pub type CacheFunction = Arc<dyn Fn(&Path) -> Option<HeaderValue> + Send + Sync>;

impl CachePolicy {
    pub(super) fn of(&self, file: &Path) -> Option<HeaderValue> {
        match self {
            Self::Omit => None,
            Self::Fixed(value) => Some(value.clone()),
            Self::Custom(function) => function(file),
        }
    }
}

impl From<HeaderValue> for CachePolicy {
    fn from(value: HeaderValue) -> Self {
        Self::Fixed(value)
    }
}

impl fmt::Debug for CachePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Omit => f.write_str("Omit"),
            Self::Fixed(value) => f.debug_tuple("Fixed").field(value).finish(),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// `Cache-Control` for files that may be reused for `max_age` (in whole seconds, at most a year). With
/// `is_immutable` a browser does not ask even when the page is reloaded, which suits names with a hash.
///
/// ```
/// use std::time::Duration;
/// use http_chain::files::cache_control;
///
/// let day = cache_control(Duration::from_secs(86_400), true);
/// assert_eq!(day, "public, max-age=86400, immutable");
/// ```
pub fn cache_control(max_age: Duration, is_immutable: bool) -> HeaderValue {
    const YEAR_S: u64 = 365 * 86_400;
    let seconds = max_age.as_secs().min(YEAR_S);
    let immutable = if is_immutable { ", immutable" } else { "" };
    HeaderValue::try_from(format!("public, max-age={seconds}{immutable}"))
        .expect("digits and fixed text")
}

/// What [`StaticFiles`](super::StaticFiles) does with a `GET` or `HEAD` below its prefix that names no
/// file. All but `HandBack` answer 400 to a path that no file can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
    /// Hands the request back to the chain.
    HandBack,
    /// Answers 404 `File not found`.
    NotFound,
    /// Serves this file, relative to the root, with this status.
    File {
        /// Relative to the root.
        path: PathBuf,
        /// 404 or, for client-side routes, 200.
        status: StatusCode,
    },
    /// Serves this file with 200 when the last segment of the path has no dot, as the routes of a
    /// single-page application; `/missing.js` is 404. It has to exist at the start.
    SpaFallback {
        /// Relative to the root.
        path: PathBuf,
    },
}

/// What is done with names that begin with a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dotfiles {
    /// They are files like others.
    Serve,
    /// 403.
    Deny,
    /// There are no such files.
    Ignore,
}

/// Which symbolic links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolicLinks {
    /// Those that stay within the root; others lead nowhere.
    WithinRoot,
    /// All. Whoever can make a link in the root can publish what the server can read.
    Anywhere,
}

/// What is done with methods other than `GET` and `HEAD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherMethods {
    /// The request is handed back.
    HandBack,
    /// 405 with `Allow: GET, HEAD`.
    Refuse,
}

/// Settings that cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StaticFilesError {
    /// The root, or where a pattern begins, is no directory that can be read now.
    #[error("cannot serve files from '{directory}'")]
    Directory {
        /// The directory.
        directory: String,
        /// Why.
        source: io::Error,
    },
    /// A pattern is malformed or leads out of the root.
    #[error("'{pattern}' is no pattern of files: {problem}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The fallback of a single-page application cannot be served.
    #[error("the fallback '{file}' is no file below the root")]
    Fallback {
        /// As given.
        file: String,
    },
}
