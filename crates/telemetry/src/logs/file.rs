//! The log file, which others may move away under our hands.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::sink::Destination;

/// How often we look whether the path still leads to our file (`http-server.md` §9.2).
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// A file that is appended to and can be opened again.
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    checked: Instant,
    check_interval: Duration,
}

impl LogFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: open(path)?,
            checked: Instant::now(),
            check_interval: CHECK_INTERVAL,
        })
    }

    /// Opens the path again if it leads to another file by now, or to none.
    fn follow_path(&mut self) {
        if self.checked.elapsed() < self.check_interval {
            return;
        }
        self.checked = Instant::now();
        let is_ours = match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => identity(&there) == identity(&ours),
            _ => false,
        };
        if !is_ours && let Ok(file) = open(&self.path) {
            self.file = file;
        }
    }
}

impl Destination for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.follow_path();
        self.file.write_all(lines)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        self.checked = Instant::now();
        Ok(())
    }
}

/// Requests name users and addresses, so a log is not for everybody on the machine.
fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(directory)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_file_is_noticed_without_being_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b.log");
        let moved = directory.path().join("old.log");
        let mut log = LogFile::open(&path).unwrap();
        log.check_interval = Duration::ZERO;
        log.write(b"one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        log.write(b"two\n").unwrap();
        log.write(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\nthree\n");
    }

    #[test]
    fn a_log_is_not_readable_by_everybody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        LogFile::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o007, 0);
    }
}
