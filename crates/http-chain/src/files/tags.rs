//! The entity tags of files.

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::etag::EntityTag;

/// Files whose hash is remembered; when they are this many, all are forgotten.
const MAX_REMEMBERED: usize = 4096;

/// A file that was changed this recently may change again without a new time.
const SETTLED: Duration = Duration::from_secs(2);

/// How the files of a directory get their entity tags.
#[derive(Clone, Default)]
pub enum EntityTags {
    /// None: conditions go by the time of modification alone.
    None,
    /// Weak, from size and time of modification in nanoseconds. Nothing is read for it.
    #[default]
    WeakStat,
    /// Strong, from the content (SHA-256): equal on all nodes, kept by a deployment that touches nothing,
    /// and good for `If-Match` and `If-Range`. A changed file is read once more for it, before the answer;
    /// one larger than `max_bytes` gets a weak tag instead.
    Content {
        /// Largest file that is hashed.
        max_bytes: u64,
    },
    /// What the function says for a file (path relative to the root); it runs on a blocking thread.
    Custom(TagFunction),
}

/// See [`EntityTags::Custom`].
pub type TagFunction = Arc<dyn Fn(&Path, &Metadata) -> Option<EntityTag> + Send + Sync>;

impl fmt::Debug for EntityTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::WeakStat => f.write_str("WeakStat"),
            Self::Content { max_bytes } => write!(f, "Content {{ max_bytes: {max_bytes} }}"),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// Makes the tags of one directory and remembers those that are costly.
#[derive(Debug, Default)]
pub(super) struct Tagger {
    tags: EntityTags,
    /// Cold: asked once for each file served, and never held while a file is read.
    remembered: Mutex<HashMap<PathBuf, (Stamp, EntityTag)>>,
}

/// What changes with the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: SystemTime,
    /// On Unix, where the file is and when its entry changed: a file moved into place keeps its old time.
    identity: (u64, u64, i64, i64),
}

impl Tagger {
    pub(super) fn new(tags: EntityTags) -> Self {
        Self {
            tags,
            remembered: Mutex::default(),
        }
    }

    /// The tag of an open file. The position of the file is left anywhere. Blocks.
    pub(super) fn tag(
        &self,
        path: &Path,
        file: &File,
        metadata: &Metadata,
    ) -> io::Result<Option<EntityTag>> {
        match &self.tags {
            EntityTags::None => Ok(None),
            EntityTags::Content { max_bytes } if metadata.len() <= *max_bytes => {
                self.content_tag(path, file, metadata).map(Some)
            }
            EntityTags::WeakStat | EntityTags::Content { .. } => Ok(Some(weak_stat(metadata))),
            EntityTags::Custom(function) => Ok(function(path, metadata)),
        }
    }

    fn content_tag(&self, path: &Path, file: &File, metadata: &Metadata) -> io::Result<EntityTag> {
        let Ok(modified) = metadata.modified() else {
            return hashed(file);
        };
        let stamp = Stamp {
            size: metadata.len(),
            modified,
            identity: identity(metadata),
        };
        let known = self.lock().get(path).cloned();
        if let Some((known, tag)) = known
            && known == stamp
        {
            return Ok(tag);
        }
        let tag = hashed(file)?;
        let age = SystemTime::now().duration_since(modified);
        if age.is_ok_and(|age| age > SETTLED) {
            let mut remembered = self.lock();
            if remembered.len() >= MAX_REMEMBERED {
                remembered.clear();
            }
            remembered.insert(path.to_owned(), (stamp, tag.clone()));
        }
        Ok(tag)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Stamp, EntityTag)>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes whenever size or time of the file change. Weak, since two versions may share both.
pub(super) fn weak_stat(metadata: &Metadata) -> EntityTag {
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanoseconds = modified.unwrap_or_default().as_nanos();
    EntityTag::weak(&format!("{:x}-{nanoseconds:x}", metadata.len()))
        .expect("hexadecimal digits and a dash")
}

fn hashed(mut file: &File) -> io::Result<EntityTag> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    let opaque: String = hash.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(EntityTag::strong(&opaque).expect("hexadecimal digits"))
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> (u64, u64, i64, i64) {
    use std::os::unix::fs::MetadataExt as _;
    (
        metadata.dev(),
        metadata.ino(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

#[cfg(not(unix))]
fn identity(_metadata: &Metadata) -> (u64, u64, i64, i64) {
    (0, 0, 0, 0)
}
