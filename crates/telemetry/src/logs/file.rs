//! The log file, which we put aside by size and age, and others may move away under our hands.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::archive::Bell;
use super::config::{FileSettings, directory_of};
use super::format::own_line;
use super::rotation::rotated_name;
use super::sink::{Command, Destination};

/// How often we look whether the path still leads to our file, and whether it is old enough to be put aside.
/// `http-server.md` §9.2 asks for ten seconds at most.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// A file that is appended to, put aside and opened again.
pub(crate) struct LogFile {
    settings: FileSettings,
    file: File,
    size: u64,
    /// The last write failed and may have left half a line.
    is_torn: bool,
    /// When the file is old enough.
    rotate_at: Option<SystemTime>,
    check_at: Instant,
    /// Putting the file aside failed; the next attempt.
    retry_at: Option<Instant>,
    rotations: u64,
    bell: Bell,
}

impl LogFile {
    /// `bell` is rung when there is a rotated file to look after.
    pub(crate) fn open(settings: FileSettings, bell: Bell) -> io::Result<Self> {
        let mut log = Self {
            file: open(&settings.path)?,
            settings,
            size: 0,
            is_torn: false,
            rotate_at: None,
            check_at: Instant::now(),
            retry_at: None,
            rotations: 0,
            bell,
        };
        log.look_at_file();
        Ok(log)
    }

    fn replace_file(&mut self, file: File) {
        self.file = file;
        self.is_torn = false;
        self.look_at_file();
    }

    /// Takes over the size and age of the open file.
    fn look_at_file(&mut self) {
        let metadata = self.file.metadata();
        let now = SystemTime::now();
        // Not every file system knows when a file was made.
        let created = metadata.as_ref().ok().and_then(|it| it.created().ok());
        self.size = metadata.map_or(0, |metadata| metadata.len());
        let interval = self.settings.rotation.as_ref().and_then(|it| it.interval);
        self.rotate_at = interval.and_then(|interval| created.unwrap_or(now).checked_add(interval));
        self.check_at = Instant::now() + CHECK_INTERVAL;
    }

    /// Opens the path again if it leads to another file by now, or to none.
    fn follow_path(&mut self) {
        if Instant::now() < self.check_at {
            return;
        }
        self.check_at = Instant::now() + CHECK_INTERVAL;
        if !self.is_ours()
            && let Ok(file) = open(&self.settings.path)
        {
            self.replace_file(file);
        }
    }

    /// Whether the path leads to the open file.
    fn is_ours(&self) -> bool {
        match (fs::metadata(&self.settings.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => identity(&there) == identity(&ours),
            _ => false,
        }
    }

    fn rotate_if_old(&mut self) {
        let now = SystemTime::now();
        if self.rotate_at.is_none_or(|at| now < at) {
            return;
        }
        match self.size {
            // Nothing to put aside: the next line starts a new age.
            0 => {
                let interval = self.settings.rotation.as_ref().and_then(|it| it.interval);
                self.rotate_at = interval.and_then(|interval| now.checked_add(interval));
            }
            _ => {
                self.try_rotate();
            }
        }
    }

    /// Puts the file aside unless that failed a moment ago; a failure is told in the file, which stays in
    /// use. Returns whether there is a new file.
    fn try_rotate(&mut self) -> bool {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        match self.rotate() {
            Ok(()) => {
                self.retry_at = None;
                true
            }
            Err(error) => {
                self.retry_at = Some(Instant::now() + CHECK_INTERVAL);
                let archive = self.settings.archive().display();
                let message = format!("the log cannot be put aside in {archive}: {error}");
                let line = own_line(self.settings.format, true, &message, None);
                // When this fails too, the lines behind it fail and are counted.
                let _ = self.append(line.as_bytes());
                false
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        if !self.is_ours() {
            // Somebody else has put it aside; what is there now is not full.
            let file = open(&self.settings.path)?;
            self.replace_file(file);
            return Ok(());
        }
        let aside = self.move_aside()?;
        match open(&self.settings.path) {
            Ok(file) => {
                self.replace_file(file);
                self.rotations += 1;
                self.bell.ring();
                Ok(())
            }
            Err(error) => {
                // Lines still go into the old file, so it must have its name back.
                fs::rename(aside, &self.settings.path)?;
                Err(error)
            }
        }
    }

    /// Gives the file its new name. Into another file system it is carried later, by the thread that looks
    /// after rotated files: copying takes long.
    fn move_aside(&self) -> io::Result<PathBuf> {
        let archive = self.settings.archive();
        make_directory(archive)?;
        let here = directory_of(&self.settings.path);
        let name = self.unused_name(&[archive, here]);
        let aside = archive.join(&name);
        match fs::rename(&self.settings.path, &aside) {
            Ok(()) => Ok(aside),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let aside = here.join(&name);
                fs::rename(&self.settings.path, &aside)?;
                Ok(aside)
            }
            Err(error) => Err(error),
        }
    }

    /// A name with the present time, or a little later if two files are put aside in one millisecond.
    fn unused_name(&self, directories: &[&Path]) -> String {
        let mut at = SystemTime::now();
        loop {
            let name = rotated_name(&self.settings.prefix, at);
            let is_used = directories.iter().any(|directory| {
                directory.join(&name).exists() || directory.join(format!("{name}.gz")).exists()
            });
            if !is_used {
                return name;
            }
            at += Duration::from_millis(1);
        }
    }

    /// How many bytes of `lines`, up to a line's end, the file may still take. A line that is longer than a
    /// whole file has one for itself.
    fn room_for(&self, lines: &[u8]) -> usize {
        let limit = self.settings.rotation.as_ref().and_then(|it| it.max_bytes);
        let Some(limit) = limit else {
            return lines.len();
        };
        let room = usize::try_from(limit.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if lines.len() <= room {
            return lines.len();
        }
        let is_end = |byte: &u8| *byte == b'\n';
        let fitting = lines[..room].iter().rposition(is_end);
        let first = || lines.iter().position(is_end).unwrap_or(lines.len() - 1);
        match fitting {
            Some(end) => end + 1,
            None if self.size == 0 => first() + 1,
            None => 0,
        }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if std::mem::replace(&mut self.is_torn, true) {
            self.file.write_all(b"\n")?;
            self.size += 1;
        }
        self.file.write_all(lines)?;
        self.is_torn = false;
        self.size += lines.len() as u64;
        Ok(())
    }
}

impl Destination for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.follow_path();
        self.rotate_if_old();
        let mut rest = lines;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.room_for(rest));
            self.append(now)?;
            rest = later;
            if !rest.is_empty() && !self.try_rotate() {
                // A file that is too long is better than lines that are missing.
                return self.append(rest);
            }
        }
        Ok(())
    }

    fn lost_line(&self, lines: u64, reason: &str) -> String {
        let message = format!("{lines} log lines were lost: {reason}");
        own_line(self.settings.format, true, &message, Some(lines))
    }

    fn handle(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Reopen => {
                let file = open(&self.settings.path)?;
                self.replace_file(file);
            }
            Command::Rotate if self.size > 0 => self.rotate()?,
            Command::Rotate => {}
            Command::Configure(settings) => {
                self.settings = settings;
                self.retry_at = None;
                self.look_at_file();
            }
            Command::Format(format) => self.settings.format = format,
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.check_at)
    }

    fn handle_timeout(&mut self) {
        self.follow_path();
        self.rotate_if_old();
    }

    fn rotations(&self) -> u64 {
        self.rotations
    }
}

/// Requests name users and addresses, so a log is not for everybody on the machine.
fn open(path: &Path) -> io::Result<File> {
    make_directory(directory_of(path))?;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(directory)
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{LogFormat, Rotation};

    fn log(path: &Path, rotation: Option<Rotation>) -> LogFile {
        let settings = FileSettings {
            path: path.to_owned(),
            format: LogFormat::Text,
            prefix: "HDB".to_owned(),
            rotation,
        };
        LogFile::open(settings, Bell::default()).unwrap()
    }

    /// The rotated files in order.
    fn rotated(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("HDB-")
        });
        paths.sort();
        let read = |path| fs::read_to_string(path).unwrap();
        paths.into_iter().map(read).collect()
    }

    #[test]
    fn a_moved_file_is_noticed_without_being_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b.log");
        let moved = directory.path().join("old.log");
        let mut log = log(&path, None);
        log.write(b"one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        assert!(log.poll_timeout().unwrap() <= Instant::now() + CHECK_INTERVAL);
        log.write(b"two\n").unwrap();
        log.check_at = Instant::now();
        log.handle_timeout();
        log.write(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_log_is_not_readable_by_everybody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        log(&path, None);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o007, 0);
    }

    #[test]
    fn no_file_exceeds_its_size_and_no_line_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hdb.log");
        let rotation = Rotation {
            max_bytes: Some(8),
            ..Rotation::default()
        };
        let mut log = log(&path, Some(rotation));
        log.write(b"aa\nbb\ncc\n").unwrap();
        log.write(b"longer than a file\ndd\n").unwrap();
        assert_eq!(
            rotated(directory.path()),
            ["aa\nbb\n", "cc\n", "longer than a file\n"]
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "dd\n");
        assert_eq!(log.rotations(), 3);
    }

    #[test]
    fn a_file_that_was_moved_before_it_was_full_is_not_missed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hdb.log");
        let rotation = Rotation {
            max_bytes: Some(8),
            ..Rotation::default()
        };
        let mut log = log(&path, Some(rotation));
        log.write(b"one\n").unwrap();
        fs::rename(&path, directory.path().join("moved.log")).unwrap();
        log.write(b"two\nthree\n").unwrap();
        let moved = fs::read_to_string(directory.path().join("moved.log"));
        assert_eq!(moved.unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(log.rotations(), 0);
    }

    #[test]
    fn an_old_file_is_put_aside_unless_it_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hdb.log");
        let hour = Duration::from_secs(3600);
        let rotation = Rotation {
            interval: Some(hour),
            ..Rotation::default()
        };
        let mut log = log(&path, Some(rotation));
        let started = SystemTime::now();
        log.rotate_at = Some(started);
        log.handle_timeout();
        assert_eq!(log.rotations(), 0);
        assert!(log.rotate_at.unwrap() >= started + hour);

        log.write(b"old\n").unwrap();
        log.rotate_at = Some(started);
        log.write(b"new\n").unwrap();
        assert_eq!(rotated(directory.path()), ["old\n"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        assert!(log.rotate_at.unwrap() > started);
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_stays_in_use_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hdb.log");
        let blocked = directory.path().join("blocked");
        fs::write(&blocked, "a file where the directory should be").unwrap();
        let rotation = Rotation {
            max_bytes: Some(4),
            directory: Some(blocked),
            ..Rotation::default()
        };
        let mut log = log(&path, Some(rotation));
        log.write(b"one\ntwo\n").unwrap();
        log.write(b"three\n").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("cannot be put aside").count(), 1, "{text}");
        assert!(
            text.starts_with("one\n") && text.ends_with("\ntwo\nthree\n"),
            "{text}"
        );
    }
}
