//! The listening sockets of a running server, kept beside those that the workers use.
//!
//! A worker that is replaced, and a process that takes over, get duplicates of them: the kernel's queue of a
//! socket survives as long as one of its duplicates is open, so nobody who waits in it is turned away.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base::WorkerId;

use crate::bind::UnixSocketFile;

/// A listening socket as the starting thread bound it.
#[derive(Debug)]
pub(crate) enum ListenSocket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl ListenSocket {
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    /// The event queues of the workers need it so.
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(true),
            Self::Unix(socket) => socket.set_nonblocking(true),
        }
    }

    /// The path of a Unix socket.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(socket) => socket.local_addr().ok()?.as_pathname().map(PathBuf::from),
        }
    }
}

/// One socket of one listener, and the worker that accepts from it.
#[derive(Debug)]
pub(crate) struct StoredSocket {
    pub(crate) setting: Arc<str>,
    pub(crate) worker: WorkerId,
    pub(crate) socket: ListenSocket,
}

/// See the module. Empty once the server is asked to stop.
#[derive(Debug, Default)]
pub(crate) struct SocketStore(Mutex<Option<Stored>>);

#[derive(Debug)]
struct Stored {
    sockets: Vec<StoredSocket>,
    files: Vec<UnixSocketFile>,
}

impl SocketStore {
    pub(crate) fn new(sockets: Vec<StoredSocket>, files: Vec<UnixSocketFile>) -> Self {
        Self(Mutex::new(Some(Stored { sockets, files })))
    }

    /// Duplicates of what this worker accepts from for this listener; none if the server is to stop.
    pub(crate) fn duplicates(
        &self,
        setting: &str,
        worker: WorkerId,
    ) -> io::Result<Vec<ListenSocket>> {
        self.map(|stored| stored.worker == worker && &*stored.setting == setting)
            .map(|socket| socket.map(|(_, socket)| socket))
            .collect()
    }

    /// Setting and a duplicate of every socket.
    pub(crate) fn all(&self) -> io::Result<Vec<(Arc<str>, ListenSocket)>> {
        self.map(|_| true).collect()
    }

    fn map(
        &self,
        wanted: impl Fn(&StoredSocket) -> bool,
    ) -> impl Iterator<Item = io::Result<(Arc<str>, ListenSocket)>> {
        let stored = self.lock();
        let duplicates: Vec<_> = stored
            .iter()
            .flat_map(|stored| &stored.sockets)
            .filter(|stored| wanted(stored))
            .map(|stored| Ok((stored.setting.clone(), stored.socket.duplicate()?)))
            .collect();
        duplicates.into_iter()
    }

    /// Leaves the files of Unix sockets to the process that has taken over.
    pub(crate) fn leave_files(&self) {
        if let Some(stored) = &mut *self.lock() {
            stored.files.drain(..).for_each(UnixSocketFile::leave);
        }
    }

    /// Removes the files of Unix sockets, then closes these duplicates: nobody new finds a socket whose
    /// queue is being emptied.
    pub(crate) fn close(&self) {
        // The lock is free again when the files are removed.
        let stored = self.lock().take();
        if let Some(Stored { files, sockets }) = stored {
            drop(files);
            drop(sockets);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Stored>> {
        // Nothing that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
