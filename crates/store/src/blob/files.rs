//! The files of a database's blobs: `<directory>/<database>.dir/<two digits>/<id>`.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, ReadDir};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use resource::{Error, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::environment::Engine;
use crate::error::EngineError;

/// Number of a file: random, so that it is never used again and tells nothing.
pub(crate) type BlobId = u128;

/// Files looked at in one step of a sweep.
const SWEEP_STEP_FILES: usize = 1_000;
/// Directories that the files of a database are spread over.
const FANS: u16 = 256;

/// The name of a file.
pub(super) fn name(id: BlobId) -> String {
    format!("{id:032x}")
}

/// The file of that name; `None` for a name that no file has.
pub(super) fn id(name: &str) -> Option<BlobId> {
    let id = BlobId::from_str_radix(name, 16).ok()?;
    (self::name(id) == name).then_some(id)
}

/// The files of one database, and what was taken and is in no record yet.
#[derive(Debug)]
pub(crate) struct BlobFiles {
    directory: PathBuf,
    uploads: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: HashMap<BlobId, Weak<Taken>>,
    /// Files that are being written or wait for their commit.
    uncommitted: HashSet<BlobId>,
}

/// Content that no record has yet.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(super) id: BlobId,
    pub(super) media_type: Option<String>,
    pub(super) content: Content,
    files: Arc<BlobFiles>,
}

/// The bytes of content that was taken.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Memory(Bytes),
    File {
        file: Arc<TakenFile>,
        size: u64,
        checksum: u32,
    },
}

/// A file that is removed with its last handle, unless a commit names it.
#[derive(Debug)]
pub(crate) struct TakenFile {
    id: BlobId,
    files: Arc<BlobFiles>,
    is_committed: AtomicBool,
}

impl BlobFiles {
    /// The files of `database` below `directory`, which is made when it is needed.
    pub(crate) fn new(directory: &Path, database: &str, max_uploads: usize) -> Arc<Self> {
        Arc::new(Self {
            directory: directory.join(format!("{database}.dir")),
            uploads: Arc::new(Semaphore::new(max_uploads)),
            state: Mutex::default(),
        })
    }

    /// The right to take content.
    ///
    /// # Errors
    ///
    /// 503 when too much is being taken.
    pub(super) fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.uploads)
            .try_acquire_owned()
            .map_err(|_| Error::unavailable("Too many uploads, please try again later"))
    }

    /// Registers content, so that a write finds it.
    pub(super) fn register(
        self: &Arc<Self>,
        media_type: Option<String>,
        content: Content,
    ) -> Arc<Taken> {
        let id = match &content {
            Content::File { file, .. } => file.id,
            Content::Memory(_) => uuid::Uuid::new_v4().as_u128(),
        };
        let taken = Arc::new(Taken {
            id,
            media_type,
            content,
            files: Arc::clone(self),
        });
        self.state().taken.insert(id, Arc::downgrade(&taken));
        taken
    }

    /// Content that was taken and is still held.
    pub(super) fn taken(&self, id: BlobId) -> Option<Arc<Taken>> {
        self.state().taken.get(&id)?.upgrade()
    }

    /// Opens a file.
    pub(super) fn open(&self, id: BlobId) -> io::Result<File> {
        File::open(self.path(id))
    }

    /// Bytes of a file and their CRC-32; all of them are read.
    pub(crate) fn checked(&self, id: BlobId) -> io::Result<(u64, u32)> {
        let mut digest = Digest::default();
        io::copy(&mut self.open(id)?, &mut digest)?;
        Ok((digest.size, digest.hasher.finalize()))
    }

    /// Removes a file that no commit names any more. One that stays because of a failure is found by the sweep at the
    /// next start.
    pub(crate) fn remove(&self, id: BlobId) {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a file of a blob could not be removed");
            }
            _ => {}
        }
    }

    /// Removes all files, with the database.
    pub(crate) fn remove_all(&self) {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = self.directory.display();
                tracing::warn!(%path, %error, "the files of blobs could not be removed");
            }
            _ => {}
        }
    }

    fn fan(&self, fan: u16) -> PathBuf {
        self.directory.join(format!("{fan:02x}"))
    }

    fn path(&self, id: BlobId) -> PathBuf {
        // The first two of 32 digits.
        self.fan((id >> 120) as u16).join(name(id))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.files.state().taken.remove(&self.id);
    }
}

impl TakenFile {
    pub(crate) fn id(&self) -> BlobId {
        self.id
    }

    /// Whether a commit has named the file.
    pub(crate) fn is_committed(&self) -> bool {
        self.is_committed.load(Ordering::Acquire)
    }

    /// A commit names the file: it stays.
    pub(crate) fn committed(&self) {
        self.is_committed.store(true, Ordering::Release);
    }
}

impl Drop for TakenFile {
    fn drop(&mut self) {
        if !self.is_committed() {
            self.files.remove(self.id);
        }
        self.files.state().uncommitted.remove(&self.id);
    }
}

/// A file being written; removed when it is given up.
#[derive(Debug)]
pub(super) struct FileWriter {
    handle: File,
    file: Arc<TakenFile>,
    path: PathBuf,
    digest: Digest,
}

#[derive(Debug, Default)]
struct Digest {
    hasher: crc32fast::Hasher,
    size: u64,
}

impl io::Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FileWriter {
    /// A new file.
    pub(super) fn create(files: &Arc<BlobFiles>) -> Result<Self, Error> {
        let id = uuid::Uuid::new_v4().as_u128();
        files.state().uncommitted.insert(id);
        let file = Arc::new(TakenFile {
            id,
            files: Arc::clone(files),
            is_committed: AtomicBool::new(false),
        });
        let path = files.path(id);
        let handle = match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_fan(&path)
                .and_then(|()| File::create_new(&path))
                .map_err(failed)?,
            handle => handle.map_err(failed)?,
        };
        Ok(Self {
            handle,
            file,
            path,
            digest: Digest::default(),
        })
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.handle.write_all(bytes).map_err(failed)?;
        self.digest.write_all(bytes).map_err(failed)
    }

    /// Makes the file durable, its name included.
    pub(super) fn finish(self) -> Result<Content, Error> {
        self.handle.sync_all().map_err(failed)?;
        sync_parent(&self.path).map_err(failed)?;
        Ok(Content::File {
            file: self.file,
            size: self.digest.size,
            checksum: self.digest.hasher.finalize(),
        })
    }
}

/// Makes the directories of a file, durably.
fn make_fan(path: &Path) -> io::Result<()> {
    let Some(fan) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(fan)?;
    // The database's directory, its parent and the one above may be new.
    fan.ancestors().skip(1).take(3).try_for_each(|directory| {
        match directory.as_os_str().is_empty() {
            true => Ok(()),
            false => File::open(directory)?.sync_all(),
        }
    })
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::new(
            ErrorKind::InsufficientStorage,
            "There is no room for the content of a blob",
        ),
        _ => Error::internal(format!(
            "the content of a blob could not be written: {error}"
        )),
    }
}

/// A walk through the files that removes those that no commit names.
///
/// It runs on the writer thread, so no commit comes in between.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    next_fan: u16,
    current: Option<ReadDir>,
    removed: u64,
}

impl Sweep {
    /// Looks at some files; `true` at the end. A directory that cannot be read is passed over and logged.
    pub(crate) fn step(&mut self, files: &BlobFiles, engine: &Engine) -> Result<bool, EngineError> {
        let txn = engine.read()?;
        for _ in 0..SWEEP_STEP_FILES {
            let Some(entries) = &mut self.current else {
                if self.next_fan == FANS {
                    if self.removed > 0 {
                        tracing::info!(files = self.removed, "removed files of unfinished uploads");
                    }
                    return Ok(true);
                }
                self.current = read_dir(&files.fan(self.next_fan));
                self.next_fan += 1;
                continue;
            };
            let Some(Ok(entry)) = entries.next() else {
                self.current = None;
                continue;
            };
            let Some(id) = entry.file_name().to_str().and_then(id) else {
                continue;
            };
            let is_waiting = files.state().uncommitted.contains(&id);
            if !is_waiting && engine.blob_files.get(&txn, &id.to_be_bytes())?.is_none() {
                files.remove(id);
                self.removed += 1;
            }
        }
        Ok(false)
    }
}

fn read_dir(path: &Path) -> Option<ReadDir> {
    match fs::read_dir(path) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "files of blobs could not be listed");
            None
        }
    }
}
