//! Looking a path up among the files of a site, and answering with what is found.

use std::fs::{File, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{self, HeaderName};
use http::{HeaderValue, Method, StatusCode};

use super::beneath;
use super::config::{
    Absent, Dotfiles, OtherMethods, StaticFilesConfig, StaticFilesError, SymbolicLinks,
};
use super::content::{Content, unreadable};
use super::listing;
use super::media_type::OCTET_STREAM;
use super::path::{self, SitePath};
use super::pattern::{self, Layer};
use super::tags::Tagger;
use crate::coding::{self, ContentCoding};
use crate::request::Request;
use crate::response::Response;

/// How much older than its original a precompressed file may be: what writes both, such as a build or a
/// checkout, does so in any order.
const SIBLING_TOLERANCE: Duration = Duration::from_secs(2);

/// A checked configuration.
#[derive(Debug)]
pub(super) struct Site {
    config: StaticFilesConfig,
    layers: Vec<Layer>,
    ignored: Option<Layer>,
    tagger: Tagger,
}

/// What a path leads to.
enum Lookup {
    File(Box<Found>),
    /// The file or directory has another URL.
    Moved(Moved),
    /// The names in a directory without an index.
    Listing(Vec<String>),
    Absent,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Moved {
    /// A directory was asked for without its slash.
    Directory,
    /// A file was asked for with a slash.
    File,
    /// An index file was asked for by its name.
    Index,
}

/// An open file or directory.
struct Found {
    file: File,
    metadata: Metadata,
    /// Relative to the root.
    name: PathBuf,
}

impl Site {
    pub(super) fn new(mut config: StaticFilesConfig) -> Result<Self, StaticFilesError> {
        let layers = pattern::layers(&config.root, &config.files)?;
        for layer in &layers {
            let directory = config.root.join(&layer.base);
            if let Err(source) = std::fs::read_dir(&directory) {
                return Err(StaticFilesError::Directory {
                    directory: directory.display().to_string(),
                    source,
                });
            }
        }
        config.url_path = match config.url_path.trim_matches('/') {
            "" => String::new(),
            prefix => format!("/{prefix}"),
        };
        let site = Self {
            layers,
            ignored: pattern::ignored(&config.root, &config.ignore)?,
            tagger: Tagger::new(config.entity_tags.clone()),
            config,
        };
        if let Absent::SpaFallback { path } = &site.config.absent
            && !matches!(site.open(path), Ok(Some(found)) if found.metadata.is_file())
        {
            return Err(StaticFilesError::Fallback {
                file: path.display().to_string(),
            });
        }
        Ok(site)
    }

    pub(super) fn accepts(&self, request: &Request) -> bool {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        (is_read || self.config.other_methods == OtherMethods::Refuse)
            && self.below_prefix(request.pathname()).is_some()
    }

    /// Whether a request will be handed back, as far as that is known without waiting for a disk. Every
    /// `GET` of a resource behind the files passes here: 1.6 µs against 25 for the way to another thread and
    /// back.
    pub(super) fn surely_hands_back(&self, request: &Request) -> bool {
        if self.config.absent != Absent::HandBack
            || self.config.symbolic_links != SymbolicLinks::WithinRoot
        {
            return false;
        }
        let below = self.below_prefix(request.pathname()).unwrap_or_default();
        let Ok(path) = path::decode(below, self.config.colons) else {
            return true;
        };
        let is_absent = |name: &Path| beneath::is_known_absent(&self.config.root, name);
        self.layers.iter().all(|layer| {
            let name = layer.base.join(&path.relative);
            let mut extensions = self.config.extensions.iter();
            is_absent(&name)
                && extensions.all(|extension| is_absent(&with_suffix(&name, extension)))
        })
    }

    /// Answers a request that the site accepts, or hands it back. Blocks.
    pub(super) fn answer(&self, request: Request) -> ControlFlow<Response, Request> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return ControlFlow::Break(method_not_allowed());
        }
        let below = self.below_prefix(request.pathname()).unwrap_or_default();
        let answer = match path::decode(below, self.config.colons) {
            Ok(path) if path.is_hidden && self.config.dotfiles != Dotfiles::Serve => {
                self.answer_hidden(&request)
            }
            Ok(path) => self.answer_path(&request, &path),
            Err(_) if self.config.absent == Absent::HandBack => Ok(None),
            Err(_) => Ok(Some(not_a_path())),
        };
        match answer {
            Ok(Some(response)) => ControlFlow::Break(response),
            Ok(None) => ControlFlow::Continue(request),
            Err(error) => ControlFlow::Break(unreadable(&error, request.pathname())),
        }
    }

    /// What follows the prefix, on a segment boundary: `/api` covers `/api` and `/api/x`, not `/apis`.
    fn below_prefix<'p>(&self, pathname: &'p str) -> Option<&'p str> {
        let below = pathname.strip_prefix(self.config.url_path.as_str())?;
        (below.is_empty() || below.starts_with('/')).then_some(below)
    }

    fn answer_hidden(&self, request: &Request) -> io::Result<Option<Response>> {
        match self.config.dotfiles {
            Dotfiles::Deny => Ok(Some(Response::text(StatusCode::FORBIDDEN, "Forbidden\n"))),
            Dotfiles::Serve | Dotfiles::Ignore => self.answer_absent(request),
        }
    }

    fn answer_path(&self, request: &Request, path: &SitePath) -> io::Result<Option<Response>> {
        for layer in &self.layers {
            match self.look_up(layer, path)? {
                Lookup::File(found) => {
                    return self.serve(request, *found, StatusCode::OK).map(Some);
                }
                Lookup::Moved(moved) => return Ok(Some(redirect(request, moved))),
                Lookup::Listing(names) => {
                    let pathname = request.original_pathname();
                    return Ok(Some(listing::page(request.method(), pathname, names)));
                }
                Lookup::Absent => {}
            }
        }
        self.answer_absent(request)
    }

    fn answer_absent(&self, request: &Request) -> io::Result<Option<Response>> {
        let (path, status) = match &self.config.absent {
            Absent::HandBack => return Ok(None),
            Absent::SpaFallback { path } if !has_dot(request.pathname()) => (path, StatusCode::OK),
            Absent::NotFound | Absent::SpaFallback { .. } => return Ok(Some(file_not_found())),
            Absent::File { path, status } => (path, *status),
        };
        match self.open(path)? {
            Some(found) if found.metadata.is_file() => self.serve(request, found, status).map(Some),
            _ => Ok(Some(file_not_found())),
        }
    }

    /// An exact file, else the index of a directory, else a file with one of the extensions.
    fn look_up(&self, layer: &Layer, path: &SitePath) -> io::Result<Lookup> {
        let name = layer.base.join(&path.relative);
        if let Some(found) = self.open(&name)? {
            if self.is_served(layer, &found) {
                return Ok(self.file_by_name(found, path));
            }
            if found.metadata.is_dir() {
                match self.look_into(layer, &found, path)? {
                    Lookup::Absent => {}
                    lookup => return Ok(lookup),
                }
            }
        }
        if path.names_directory || path.relative.as_os_str().is_empty() {
            return Ok(Lookup::Absent);
        }
        for extension in &self.config.extensions {
            let found = self.open(&with_suffix(&name, extension))?;
            if let Some(found) = found.filter(|found| self.is_served(layer, found)) {
                return Ok(Lookup::File(Box::new(found)));
            }
        }
        Ok(Lookup::Absent)
    }

    /// What a directory shows: its index, else its names, if either is on.
    fn look_into(&self, layer: &Layer, found: &Found, path: &SitePath) -> io::Result<Lookup> {
        if self.config.index {
            let index = self.open(&found.name.join(&self.config.index_file))?;
            match index.filter(|index| self.is_served(layer, index)) {
                Some(index) if path.names_directory => return Ok(Lookup::File(Box::new(index))),
                Some(_) => return Ok(Lookup::Moved(Moved::Directory)),
                None => {}
            }
        }
        match (self.config.listing, path.names_directory) {
            (false, _) => Ok(Lookup::Absent),
            (true, false) => Ok(Lookup::Moved(Moved::Directory)),
            (true, true) => self.list(layer, found).map(Lookup::Listing),
        }
    }

    /// What may be asked for in a directory; links that lead nowhere are left out.
    fn list(&self, layer: &Layer, directory: &Found) -> io::Result<Vec<String>> {
        let mut listed = Vec::new();
        for name in listing::names(&directory.file)? {
            if name.starts_with('.') && self.config.dotfiles != Dotfiles::Serve {
                continue;
            }
            match self.open(&directory.name.join(&name))? {
                Some(found) if found.metadata.is_dir() => listed.push(format!("{name}/")),
                Some(found) if self.is_served(layer, &found) => listed.push(name),
                _ => {}
            }
        }
        Ok(listed)
    }

    fn file_by_name(&self, found: Found, path: &SitePath) -> Lookup {
        let is_index = || path.relative.file_name() == Some(self.config.index_file.as_ref());
        match (path.names_directory, self.config.canonical) {
            (true, false) => Lookup::Absent,
            (true, true) => Lookup::Moved(Moved::File),
            (false, true) if self.config.index && is_index() => Lookup::Moved(Moved::Index),
            (false, _) => Lookup::File(Box::new(found)),
        }
    }

    fn is_served(&self, layer: &Layer, found: &Found) -> bool {
        let is_ignored = |ignored: &Layer| ignored.covers(&found.name);
        found.metadata.is_file()
            && layer.covers(&found.name)
            && !self.ignored.as_ref().is_some_and(is_ignored)
    }

    /// Opens a file or directory; `None` when there is none that may be served.
    fn open(&self, relative: &Path) -> io::Result<Option<Found>> {
        let opened = match self.config.symbolic_links {
            SymbolicLinks::WithinRoot => beneath::open(&self.config.root, relative),
            SymbolicLinks::Anywhere => beneath::open_anywhere(&self.config.root.join(relative)),
        };
        let file = match opened {
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
        let media_type = self.config.media_types.of(&found.name);
        let original = found.name.clone();
        let siblings = self.siblings(&found)?;
        let varies = !siblings.is_empty();
        let (found, coding) = choose(request, found, siblings);

        let tag = self.tagger.tag(&found.name, &found.file, &found.metadata)?;
        let mut content = Content::file(found.file)?
            .media_type(media_type.unwrap_or(OCTET_STREAM))
            .ranges(self.config.ranges);
        if let Some(tag) = tag {
            content = content.etag(tag);
        }
        for (name, value) in self.standing_headers(&original) {
            content = content.header(name, value);
        }
        if varies {
            let name = HeaderValue::from_static("Accept-Encoding");
            content = content.header(header::VARY, name);
        }
        if let Some(coding) = coding {
            let name = HeaderValue::from_static(coding.as_str());
            content = content.header(header::CONTENT_ENCODING, name);
        }
        content.answer(request.method(), request.headers(), status)
    }

    fn standing_headers(&self, file: &Path) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        // A script or style sheet must not be made of a file that is neither, nor an address with
        // secrets be told to other sites.
        let fixed = [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "same-origin"),
        ];
        let cache_control = self.config.cache_control.of(file);
        fixed
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .into_iter()
            .chain(cache_control.map(|value| (header::CACHE_CONTROL, value)))
    }

    /// The precompressed forms of a file that are up to date.
    fn siblings(&self, original: &Found) -> io::Result<Vec<(ContentCoding, Found)>> {
        let mut siblings = Vec::new();
        for coding in &self.config.precompressed {
            let name = with_suffix(&original.name, suffix(*coding));
            if let Some(sibling) = self.open(&name)?
                && sibling.metadata.is_file()
                && is_up_to_date(&sibling.metadata, &original.metadata)
            {
                siblings.push((*coding, sibling));
            }
        }
        Ok(siblings)
    }
}

/// The form of a file that the client likes best.
fn choose(
    request: &Request,
    original: Found,
    mut siblings: Vec<(ContentCoding, Found)>,
) -> (Found, Option<ContentCoding>) {
    let offered: Vec<_> = siblings.iter().map(|(coding, _)| *coding).collect();
    let accepted = request.header(header::ACCEPT_ENCODING.as_str());
    let chosen = accepted.and_then(|field| coding::choose(field.as_bytes(), &offered, false));
    let place = offered.iter().position(|coding| Some(*coding) == chosen);
    match place.map(|place| siblings.swap_remove(place)) {
        Some((coding, sibling)) => (sibling, Some(coding)),
        None => (original, None),
    }
}

fn is_up_to_date(sibling: &Metadata, original: &Metadata) -> bool {
    match (sibling.modified(), original.modified()) {
        (Ok(sibling), Ok(original)) => sibling + SIBLING_TOLERANCE >= original,
        _ => false,
    }
}

/// The extension that compressing programs give their files.
fn suffix(coding: ContentCoding) -> &'static str {
    match coding {
        ContentCoding::Br => "br",
        ContentCoding::Zstd => "zst",
        ContentCoding::Gzip => "gz",
        ContentCoding::Deflate => "zz",
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Whether the last segment has a dot, and so means a file and not a route.
fn has_dot(pathname: &str) -> bool {
    let last = pathname.rsplit('/').next().unwrap_or_default();
    last.contains('.') || last.to_ascii_lowercase().contains("%2e")
}

/// Errors of opening that mean "no such file", among them names no file system could hold.
pub(super) fn is_absence(error: &io::Error) -> bool {
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

fn file_not_found() -> Response {
    Response::text(StatusCode::NOT_FOUND, "File not found")
}

fn not_a_path() -> Response {
    Response::text(StatusCode::BAD_REQUEST, "Not a path of a file\n")
}

pub(super) fn method_not_allowed() -> Response {
    Response::text(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed\n")
        .with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
}

/// `301` to the URL of what was meant, as the client spells it: relative links in an index only work below
/// its directory. More than one slash at the front would name another host.
pub(super) fn redirect(request: &Request, moved: Moved) -> Response {
    let path = request.original_pathname();
    let path = match moved {
        Moved::Directory => format!("{path}/"),
        Moved::File => path.trim_end_matches('/').to_owned(),
        Moved::Index => path[..=path.rfind('/').unwrap_or_default()].to_owned(),
    };
    let query = request.query().map(|query| format!("?{query}"));
    let location = format!(
        "/{}{}",
        path.trim_start_matches(['/', '\\']),
        query.unwrap_or_default()
    );
    match HeaderValue::try_from(location) {
        Ok(location) => {
            Response::new(StatusCode::MOVED_PERMANENTLY).with_header(header::LOCATION, location)
        }
        Err(_) => not_a_path(),
    }
}
