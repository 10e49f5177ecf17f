//! Reading a log: the operation `read_log` as a function.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;

use super::archive::rotated_files;
use super::config::directory_of;
use super::entry::{Entries, LogEntry, RawEntry};
use super::stamp::Stamp;
use super::{LogLevel, rotation::RotatedName};

/// One log: the file in use and, if known, where its rotated files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFiles {
    path: PathBuf,
    /// Directory and first part of the names.
    rotated: Option<(PathBuf, String)>,
}

impl LogFiles {
    /// A file that is not rotated, for instance `install.log`. Those in use come from
    /// [`Logs::files`](super::Logs::files).
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            rotated: None,
        }
    }

    /// Also the files called `<prefix>-<time>.log`, compressed or not, in `directory` and in that of the
    /// file itself.
    pub fn with_rotated(mut self, directory: impl Into<PathBuf>, prefix: &str) -> Self {
        self.rotated = Some((directory.into(), prefix.to_owned()));
        self
    }
}

/// In which order entries are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOrder {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// Which entries; the parameters of `read_log` (`operations-api.md` §12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// Of this level and no other. Default: all.
    pub level: Option<LogLevel>,
    /// Not older, to the millisecond; [`parse_time`](super::parse_time) reads it. Default: the beginning.
    pub from: Option<SystemTime>,
    /// Not newer, to the millisecond. Default: the end.
    pub until: Option<SystemTime>,
    /// How many matching entries are passed over. Default: 0.
    pub start: usize,
    /// How many entries are returned at most. Default: 1000.
    pub limit: usize,
    /// By time; `None` is as they are in the files, oldest file first. Default: `None`.
    pub order: Option<LogOrder>,
    /// A text that the entry contains, in any of its lines, its time and tags included. Default: none.
    pub filter: Option<String>,
    /// Also in rotated files. Default: yes.
    pub rotated: bool,
    /// Bytes of entries that are returned at most; at least one is. Default: 16 MiB.
    pub max_bytes: usize,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self {
            level: None,
            from: None,
            until: None,
            start: 0,
            limit: 1000,
            order: None,
            filter: None,
            rotated: true,
            max_bytes: 16 * 1024 * 1024,
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LogPage {
    /// The entries in the order asked for.
    pub entries: Vec<LogEntry>,
    /// [`LogQuery::max_bytes`] ended the page early.
    pub is_cut: bool,
    /// Rotated files that could not be read to their end; their entries up to there are in the page.
    pub problems: Vec<ReadError>,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the log file {}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Reads the entries that `query` asks for.
///
/// Blocks and may read all files from end to end, so it belongs on a pool. Memory is bounded by the page: one
/// entry at a time is held besides it, whatever the size of the files. Newest first costs two passes over
/// the files that the page touches.
///
/// ```
/// use telemetry::logs::{self, LogFiles, LogLevel, LogOrder, LogQuery};
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("hdb.log");
/// std::fs::write(&path, "\
/// 2026-02-03T08:11:42.007Z [main/0] [notify]: started
/// 2026-02-03T08:11:43.500Z [http/1] [error] [http]: GET / HTTP/1.1 500
/// ")?;
/// let query = LogQuery { order: Some(LogOrder::Descending), limit: 1, ..LogQuery::default() };
/// let page = logs::read(&LogFiles::new(path), &query)?;
/// assert_eq!(page.entries[0].level, LogLevel::Error);
/// assert_eq!(page.entries[0].tags, ["http"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ReadError`] if there is no such log, or the file in use or the directory cannot be read.
pub fn read(files: &LogFiles, query: &LogQuery) -> Result<LogPage, ReadError> {
    let sources = sources(files, query)?;
    let query = Matcher::new(query);
    let mut page = match query.query.order {
        Some(LogOrder::Descending) => newest_first(&sources, &query),
        _ => oldest_first(&sources, &query),
    };
    // Threads race for the queue, so neighbours in a file may be milliseconds out of order.
    match query.query.order {
        Some(LogOrder::Ascending) => page.entries.sort_by(|a, b| a.timestamp.cmp(&b.timestamp)),
        Some(LogOrder::Descending) => page.entries.sort_by(|a, b| b.timestamp.cmp(&a.timestamp)),
        None => {}
    }
    Ok(page)
}

/// A file to read, oldest first in a list.
enum Source {
    /// The file in use, held open because its name may go to another file at any time.
    Open { path: PathBuf, file: File },
    /// A rotated file, which may be compressed or deleted before it is its turn.
    Rotated { path: PathBuf },
}

fn sources(files: &LogFiles, query: &LogQuery) -> Result<Vec<Source>, ReadError> {
    let path = &files.path;
    let error = |source| ReadError {
        path: path.clone(),
        source,
    };
    // Before looking for rotated files, or one put aside in between would be missed.
    let current = match File::open(path) {
        Ok(file) => Ok(file),
        Err(source) => Err(error(source)),
    };
    let own = current.as_ref().ok().and_then(|file| file.metadata().ok());
    let own = own.map(|metadata| (metadata.dev(), metadata.ino()));

    let mut sources = Vec::new();
    if let (true, Some((directory, prefix))) = (query.rotated, &files.rotated) {
        let here = directory_of(path);
        let mut found = rotated_in(directory, prefix)?;
        if here != directory {
            found.extend(rotated_in(here, prefix)?);
            found.sort();
            // One that is on its way from here to there is in both.
            found.dedup_by(|(later, _), (earlier, _)| later.at == earlier.at);
        }
        let from = query.from.map(Stamp::of);
        // Every line of a file is older than its putting aside.
        found.retain(|(rotated, _)| from.is_none_or(|from| rotated.at >= from));
        let is_own = |path: &Path| {
            let metadata = fs::metadata(path).ok();
            own.is_some() && metadata.map(|metadata| (metadata.dev(), metadata.ino())) == own
        };
        let others = found.into_iter().map(|(_, path)| path);
        sources.extend(
            others
                .filter(|path| !is_own(path))
                .map(|path| Source::Rotated { path }),
        );
    }
    match current {
        Ok(file) => sources.push(Source::Open {
            path: path.clone(),
            file,
        }),
        // Between two steps of somebody who moves it away.
        Err(error) if error.source.kind() == io::ErrorKind::NotFound && !sources.is_empty() => {}
        Err(error) => return Err(error),
    }
    Ok(sources)
}

fn rotated_in(directory: &Path, prefix: &str) -> Result<Vec<(RotatedName, PathBuf)>, ReadError> {
    let found = rotated_files(directory, prefix).map_err(|source| ReadError {
        path: directory.to_owned(),
        source,
    })?;
    let with_path = |rotated: RotatedName| {
        let path = directory.join(&rotated.name);
        (rotated, path)
    };
    Ok(found.into_iter().map(with_path).collect())
}

impl Source {
    fn path(&self) -> &Path {
        match self {
            Self::Open { path, .. } | Self::Rotated { path } => path,
        }
    }

    /// Shows the entries that match to `see`, from the first on, until it breaks.
    fn scan(
        &self,
        query: &Matcher<'_>,
        see: &mut dyn FnMut(RawEntry) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let mut entries = Entries::new(self.reader()?);
        while let Some(entry) = entries.read()? {
            if query.matches(&entry) && see(entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn reader(&self) -> io::Result<Box<dyn BufRead + '_>> {
        match self {
            Self::Open { file, .. } => {
                let mut file = file;
                io::Seek::rewind(&mut file)?;
                Ok(Box::new(BufReader::new(file)))
            }
            Self::Rotated { path } => open_rotated(path),
        }
    }
}

fn open_rotated(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let compressed = |file| Box::new(BufReader::new(MultiGzDecoder::new(BufReader::new(file))));
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Ok(compressed(File::open(path)?));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(BufReader::new(file))),
        // It was compressed since the directory was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut path = path.as_os_str().to_owned();
            path.push(".gz");
            Ok(compressed(File::open(path)?))
        }
        Err(error) => Err(error),
    }
}

struct Matcher<'a> {
    query: &'a LogQuery,
    from: Option<Stamp>,
    until: Option<Stamp>,
}

impl<'a> Matcher<'a> {
    fn new(query: &'a LogQuery) -> Self {
        Self {
            query,
            from: query.from.map(Stamp::of),
            until: query.until.map(Stamp::of),
        }
    }

    fn matches(&self, entry: &RawEntry) -> bool {
        let filter = self.query.filter.as_deref();
        self.query.level.is_none_or(|level| entry.level == level)
            && self.from.is_none_or(|from| entry.at >= from)
            && self.until.is_none_or(|until| entry.at <= until)
            && filter.is_none_or(|text| entry.text.contains(text))
    }
}

fn oldest_first(sources: &[Source], query: &Matcher<'_>) -> LogPage {
    let mut page = LogPage::default();
    let mut skip = query.query.start;
    let mut bytes = 0;
    for source in sources {
        let missing = |page: &LogPage| query.query.limit.saturating_sub(page.entries.len());
        if page.is_cut || missing(&page) == 0 {
            break;
        }
        let scanned = source.scan(query, &mut |entry| {
            if skip > 0 {
                skip -= 1;
                return ControlFlow::Continue(());
            }
            let entry = entry.into_entry();
            bytes += entry.bytes();
            page.is_cut = bytes > query.query.max_bytes && !page.entries.is_empty();
            if page.is_cut {
                return ControlFlow::Break(());
            }
            page.entries.push(entry);
            match missing(&page) {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        page.note(source, scanned);
    }
    page
}

/// Two passes over each file, newest file first: one counts, one takes the part that is wanted. Keeping
/// `start + limit` entries instead would cost memory that the caller chooses.
fn newest_first(sources: &[Source], query: &Matcher<'_>) -> LogPage {
    let mut page = LogPage::default();
    let mut skip = query.query.start;
    let mut bytes = 0;
    for source in sources.iter().rev() {
        let missing = query.query.limit.saturating_sub(page.entries.len());
        if page.is_cut || missing == 0 {
            break;
        }
        let mut count = 0;
        let scanned = source.scan(query, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        page.note(source, scanned);
        if count <= skip {
            skip -= count;
            continue;
        }
        let last = count - skip;
        skip = 0;
        let first = last.saturating_sub(missing);
        let tail = take_tail(source, query, first..last, &mut bytes, &mut page);
        page.entries.extend(tail.into_iter().rev());
    }
    page
}

/// The entries of `source` with these numbers, or the later ones of them if all take too much memory.
fn take_tail(
    source: &Source,
    query: &Matcher<'_>,
    numbers: std::ops::Range<usize>,
    bytes: &mut usize,
    page: &mut LogPage,
) -> VecDeque<LogEntry> {
    let mut tail: VecDeque<LogEntry> = VecDeque::new();
    let mut number = 0;
    // A failure ends this pass where it ended the first one, which has noted it.
    let _ = source.scan(query, &mut |entry| {
        number += 1;
        if number <= numbers.start {
            return ControlFlow::Continue(());
        }
        let entry = entry.into_entry();
        *bytes += entry.bytes();
        tail.push_back(entry);
        while *bytes > query.query.max_bytes && page.entries.len() + tail.len() > 1 {
            page.is_cut = true;
            *bytes -= tail.pop_front().map_or(*bytes, |oldest| oldest.bytes());
        }
        match number == numbers.end {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    tail
}

impl LogPage {
    fn note(&mut self, source: &Source, scanned: io::Result<()>) {
        if let Err(error) = scanned {
            self.problems.push(ReadError {
                path: source.path().to_owned(),
                source: error,
            });
        }
    }
}
