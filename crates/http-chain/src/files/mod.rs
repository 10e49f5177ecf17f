//! Static files from a directory, and single pieces of content with conditions and ranges.
//!
//! ```text
//! StaticFiles ─▶ site: path ─▶ pattern ─▶ beneath ─▶ Found ─┐
//! serve_file ───────────────────────────────────────────────┤
//! serve_content ────────────────────────────────────────────┴▶ Content ─▶ conditional ─▶ range ─▶ stream
//! ```
//!
//! [`path`] turns a URL into a relative path that cannot leave the root, `beneath` opens it so that no
//! symbolic link leads out either, [`conditional`] and [`range`] decide between 200, 206, 304, 412 and 416,
//! and `stream` sends what does not fit in one piece. All that touches a disk runs on Tokio's blocking
//! threads: a disk that stalls holds up this request, never the worker.

mod beneath;
pub mod conditional;
mod config;
mod content;
mod etag;
mod listing;
mod media_type;
mod multipart;
pub mod path;
mod pattern;
mod pending;
pub mod range;
mod section;
mod serve_file;
mod site;
mod sniff;
mod stream;
mod tags;

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

pub use self::config::{
    Absent, CacheFunction, CachePolicy, Dotfiles, OtherMethods, StaticFilesConfig,
    StaticFilesError, SymbolicLinks, cache_control,
};
pub use self::content::{Content, serve_content};
pub use self::etag::{EntityTag, InvalidEntityTag};
pub use self::media_type::MediaTypes;
use self::pending::Pending;
pub use self::range::{MultiRange, RangePolicy};
pub use self::section::{StaticSection, StaticSectionError};
pub use self::serve_file::serve_file;
use self::site::Site;
pub use self::tags::{EntityTags, TagFunction};
use crate::request::Request;
use crate::response::{Response, overloaded};
use crate::stage::{BoxFuture, Handler};

/// A [`Handler`] for the files below a directory, by `GET` and `HEAD`.
///
/// Files that are added, changed or removed show at once. Symbolic links may point anywhere within the
/// root and nowhere else; a path with `..`, a backslash, an encoded slash or NUL is no path of a file.
/// Served files carry `ETag` (weak, from size and time, unless configured otherwise), `Last-Modified`,
/// `Accept-Ranges` and `X-Content-Type-Options: nosniff`; conditions, ranges and precompressed siblings are
/// answered as RFC 9110 says.
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
    pending: Pending,
}

impl StaticFiles {
    /// Serves what `config` describes.
    ///
    /// # Errors
    ///
    /// [`StaticFilesError`] if the root, or where a pattern begins, is no directory that can be read now, a
    /// pattern is malformed, or the fallback of a single-page application is no file.
    pub fn new(config: StaticFilesConfig) -> Result<Self, StaticFilesError> {
        let pending = Pending::new(config.max_pending);
        let site = Arc::new(Site::new(config)?);
        Ok(Self { site, pending })
    }
}

/// A handler that answers every request with the files below `root`, as
/// [`StaticFilesConfig::file_server`] describes. To change a setting, give that to [`StaticFiles::new`].
///
/// ```no_run
/// use http_chain::{Chain, Stage};
///
/// let chain = Chain::new([("files", Stage::handler(http_chain::files::file_server("public")?))]);
/// # Ok::<(), http_chain::files::StaticFilesError>(())
/// ```
///
/// # Errors
///
/// [`StaticFilesError`] if the root is no directory that can be read now.
pub fn file_server(root: impl Into<PathBuf>) -> Result<StaticFiles, StaticFilesError> {
    StaticFiles::new(StaticFilesConfig::file_server(root))
}

impl Handler for StaticFiles {
    fn accepts(&self, request: &Request) -> bool {
        self.site.accepts(request)
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        let site = Arc::clone(&self.site);
        Box::pin(async move {
            if !site.accepts(&request) || site.surely_hands_back(&request) {
                return ControlFlow::Continue(request);
            }
            let Some(place) = self.pending.try_take() else {
                let text = "Service unavailable, too many requests for files\n";
                return ControlFlow::Break(overloaded(text));
            };
            let answering = tokio::task::spawn_blocking(move || {
                let _place = place;
                site.answer(request)
            });
            match answering.await {
                Ok(outcome) => outcome,
                Err(error) => ControlFlow::Break(content::unreadable(&io::Error::other(error), "")),
            }
        })
    }
}
