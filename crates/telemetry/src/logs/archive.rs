//! What becomes of rotated files: carried to their directory, compressed, deleted when they are old.
//!
//! A thread of its own looks at the directories: at the start, after each rotation and once an hour. It
//! keeps no list of what to do, so whatever an earlier process left unfinished is done by the next.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::config::{FileSettings, directory_of};
use super::rotation::RotatedName;
use super::stamp::Stamp;

/// How often old files are looked for when nothing is rotated.
const INTERVAL: Duration = Duration::from_secs(3600);
/// End of the name of a file that is being written.
const PART: &str = ".part";

/// The thread that looks after rotated files. Dropping it ends the thread; what is half done is undone.
pub(crate) struct Archive {
    bell: Bell,
    thread: Option<JoinHandle<()>>,
}

/// Tells the thread that there is something to do.
#[derive(Clone, Default)]
pub(crate) struct Bell(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct State {
    files: Vec<FileSettings>,
    /// How often the thread was asked to look, and the question its last round has answered.
    asked: u64,
    answered: u64,
}

impl Archive {
    pub(crate) fn start() -> io::Result<Self> {
        let bell = Bell::default();
        let shared = Arc::clone(&bell.0);
        let thread = std::thread::Builder::new()
            .name("log-archive".to_owned())
            .spawn(move || shared.run())?;
        Ok(Self {
            bell,
            thread: Some(thread),
        })
    }

    pub(crate) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Replaces the files whose rotated forms are looked after.
    pub(crate) fn configure(&self, files: Vec<FileSettings>) {
        self.bell.0.state().files = files;
        self.bell.ring();
    }

    /// Waits until everything put aside before is dealt with; `false` if that takes longer than `timeout`.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let shared = &self.bell.0;
        let state = shared.state();
        let asked = state.asked;
        let waited = shared
            .changed
            .wait_timeout_while(state, timeout, |state| state.answered < asked);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        !waited.timed_out()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.bell.0.is_closed.store(true, Ordering::Relaxed);
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.0.state().asked += 1;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    fn run(&self) {
        while !self.is_closed() {
            let (files, asked) = self.wait();
            for file in &files {
                if let Err(error) = self.tidy(file) {
                    tracing::warn!(
                        target: "log",
                        directory = %file.archive().display(),
                        "rotated log files cannot be looked after: {error}",
                    );
                }
            }
            self.state().answered = asked;
            self.changed.notify_all();
        }
    }

    fn wait(&self) -> (Vec<FileSettings>, u64) {
        let is_done = |state: &mut State| state.asked == state.answered && !self.is_closed();
        let waited = self
            .changed
            .wait_timeout_while(self.state(), INTERVAL, is_done);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        (state.files.clone(), state.asked)
    }

    fn tidy(&self, file: &FileSettings) -> io::Result<()> {
        let Some(rotation) = &file.rotation else {
            return Ok(());
        };
        self.carry(file)?;
        let archive = file.archive();
        let oldest = rotation
            .retention
            .and_then(|retention| SystemTime::now().checked_sub(retention))
            .map(Stamp::of);
        for rotated in rotated_files(archive, &file.prefix)? {
            let path = archive.join(&rotated.name);
            if oldest.is_some_and(|oldest| rotated.at < oldest) {
                fs::remove_file(path)?;
            } else if rotation.compress && !rotated.is_compressed && !self.is_closed() {
                self.compress(&path)?;
            }
        }
        Ok(())
    }

    /// Moves rotated files that stayed beside the log because the archive is on another file system.
    fn carry(&self, file: &FileSettings) -> io::Result<()> {
        let (from, to) = (directory_of(&file.path), file.archive());
        if from == to {
            return Ok(());
        }
        for rotated in rotated_files(from, &file.prefix)? {
            let (source, target) = (from.join(&rotated.name), to.join(&rotated.name));
            match fs::rename(&source, &target) {
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                    self.rewrite(
                        &source,
                        &target,
                        |part| Ok(BufWriter::new(part)),
                        finish_plain,
                    )?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn compress(&self, path: &Path) -> io::Result<()> {
        let mut target = path.as_os_str().to_owned();
        target.push(".gz");
        let encoder = |part| Ok(GzEncoder::new(part, Compression::default()));
        self.rewrite(path, Path::new(&target), encoder, GzEncoder::finish)
    }

    /// Writes `source` through an encoder to `target` and removes it. The target appears whole or not at
    /// all, and is on the disk before the source is gone.
    fn rewrite<E: io::Write>(
        &self,
        source: &Path,
        target: &Path,
        encoder: impl FnOnce(File) -> io::Result<E>,
        finish: impl FnOnce(E) -> io::Result<File>,
    ) -> io::Result<()> {
        let mut part = target.as_os_str().to_owned();
        part.push(PART);
        let part = PathBuf::from(part);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(&part)?;
        let mut encoder = encoder(file)?;
        if let Err(error) = self.copy(&mut File::open(source)?, &mut encoder) {
            fs::remove_file(&part)?;
            // The next process begins again.
            return if self.is_closed() { Ok(()) } else { Err(error) };
        }
        finish(encoder)?.sync_all()?;
        fs::rename(&part, target)?;
        fs::remove_file(source)
    }

    fn copy(&self, source: &mut File, target: &mut impl io::Write) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if self.is_closed() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match source.read(&mut buffer)? {
                0 => return Ok(()),
                length => target.write_all(&buffer[..length])?,
            }
        }
    }
}

fn finish_plain(mut buffered: BufWriter<File>) -> io::Result<File> {
    buffered.flush()?;
    buffered
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
}

/// The rotated files of a log in `directory`, oldest first; none if there is no such directory. A file that
/// is there twice, because compressing it was interrupted at the end, is listed once, as plain text.
pub(crate) fn rotated_files(directory: &Path, prefix: &str) -> io::Result<Vec<RotatedName>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        files.extend(
            name.to_str()
                .and_then(|name| RotatedName::parse(prefix, name)),
        );
    }
    files.sort();
    files.dedup_by(|later, earlier| later.at == earlier.at);
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::logs::{LogFormat, Rotation};

    const NAME: &str = "HDB-2026-02-03T08-11-42.007Z.log";

    fn settings(directory: &Path, archive: &str) -> FileSettings {
        FileSettings {
            path: directory.join("hdb.log"),
            format: LogFormat::Text,
            prefix: "HDB".to_owned(),
            rotation: Some(Rotation {
                compress: true,
                directory: Some(directory.join(archive)),
                ..Rotation::default()
            }),
        }
    }

    #[test]
    fn what_an_earlier_process_left_is_compressed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path(NAME), "a line\n").unwrap();
        fs::write(path(&format!("{NAME}.gz{PART}")), "half a file").unwrap();
        let archive = Archive::start().unwrap();
        archive.configure(vec![settings(directory.path(), ".")]);
        assert!(archive.flush(Duration::from_secs(60)));

        let names = fs::read_dir(directory.path()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [format!("{NAME}.gz").as_str()]);
        let mut text = String::new();
        let file = File::open(path(&format!("{NAME}.gz"))).unwrap();
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "a line\n");
    }

    #[test]
    fn a_file_beside_the_log_is_carried_to_the_archive() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("old")).unwrap();
        fs::write(directory.path().join(NAME), "a line\n").unwrap();
        let shared = Shared::default();
        shared.carry(&settings(directory.path(), "old")).unwrap();
        let target = directory.path().join("old").join(NAME);
        assert_eq!(fs::read_to_string(&target).unwrap(), "a line\n");
        assert!(!directory.path().join(NAME).exists());

        // As it is done into another file system.
        let copy = directory.path().join("copy.log");
        let plain = |part| Ok(BufWriter::new(part));
        shared.rewrite(&target, &copy, plain, finish_plain).unwrap();
        assert_eq!(fs::read_to_string(&copy).unwrap(), "a line\n");
        assert!(!target.exists());
    }

    #[test]
    fn compressing_is_undone_when_the_process_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        fs::write(&path, "a line\n").unwrap();
        let shared = Shared::default();
        shared.is_closed.store(true, Ordering::Relaxed);
        shared.compress(&path).unwrap();
        let names = fs::read_dir(directory.path()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [NAME]);
    }
}
