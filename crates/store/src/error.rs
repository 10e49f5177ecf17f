//! Why the store or one of its databases cannot work.

use std::path::PathBuf;

use resource::ErrorKind;

use crate::FormatError;

/// A failure of the store itself, as opposed to a request that it refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory cannot be read or made.
    #[error("cannot use the database directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another program has opened the directory.
    #[error("the database directory {0} is in use by another program")]
    InUse(PathBuf),
    /// A file in the directory has a name that no database can have.
    #[error("'{0}' is not a database name")]
    Name(String),
    /// A database file was written by another version of this program.
    #[error("database '{database}' has format {found}, this program reads format {expected}")]
    Version {
        /// The database.
        database: String,
        /// What the file says.
        found: u32,
        /// What this program writes.
        expected: u32,
    },
    /// A file of a database cannot be opened.
    #[error("cannot open database '{database}'")]
    Open {
        /// The database.
        database: String,
        /// Why.
        #[source]
        source: EngineError,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// A failure of the storage engine or of what is stored in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] heed::Error),
    /// Stored bytes cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The file of a copy cannot be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A change was refused after part of it was made, for example because a stored record is damaged.
    #[error(transparent)]
    Refused(resource::Error),
}

impl EngineError {
    /// Whether the transactions of a failed commit may succeed one by one.
    pub(crate) fn may_concern_one(&self) -> bool {
        self.is_full() || matches!(self, Self::Refused(_))
    }

    /// Whether there is no room for what was to be written, in the map or on the disk.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Engine(heed::Error::Mdb(heed::MdbError::MapFull)) => true,
            Self::Engine(heed::Error::Mdb(heed::MdbError::Other(code))) => {
                std::io::Error::from_raw_os_error(*code).kind() == std::io::ErrorKind::StorageFull
            }
            Self::Engine(heed::Error::Io(error)) | Self::Io(error) => matches!(
                error.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }
}

impl From<EngineError> for resource::Error {
    fn from(error: EngineError) -> Self {
        match error {
            full if full.is_full() => Self::new(
                ErrorKind::InsufficientStorage,
                "The database is full, nothing was written",
            ),
            EngineError::Engine(heed::Error::Mdb(heed::MdbError::ReadersFull)) => {
                Self::unavailable("Too many open queries, please try again later")
            }
            EngineError::Refused(error) => error,
            other => Self::internal(format!("storage engine: {other}")),
        }
    }
}
