//! The root directory: made owner-only at the first start and held by one process at a time.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::Context as _;

/// The file with the id of the process that holds the directory; empty after an orderly stop.
pub(crate) const PID_FILE: &str = "motet.pid";

/// The root directory, locked until dropped.
#[derive(Debug)]
pub struct Root {
    pid_file: File,
}

/// Another process holds the directory.
#[derive(Debug)]
pub struct AlreadyRunning {
    pid: String,
}

impl AlreadyRunning {
    /// The process with this id.
    pub(crate) fn of(pid: impl std::fmt::Display) -> Self {
        Self {
            pid: pid.to_string(),
        }
    }
}

impl std::fmt::Display for AlreadyRunning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Error: Motet is already running (pid: {})", self.pid)
    }
}

impl std::error::Error for AlreadyRunning {}

/// Makes the directory, readable by its owner alone, if it is missing.
///
/// # Errors
///
/// What the file system says.
pub fn create(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("root directory {}", path.display()))
}

impl Root {
    /// Makes the directory if it is missing and takes its lock, which the system releases even after SIGKILL.
    ///
    /// # Errors
    ///
    /// [`AlreadyRunning`] with the process id of the holder, or what the file system says.
    pub fn take(path: &Path) -> anyhow::Result<Self> {
        let at = || format!("root directory {}", path.display());
        create(path)?;
        let options = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(PID_FILE));
        let mut pid_file = options.with_context(at)?;
        match pid_file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                pid_file.read_to_string(&mut pid).with_context(at)?;
                return Err(AlreadyRunning {
                    pid: pid.trim().to_owned(),
                }
                .into());
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(at),
        }
        pid_file
            .set_len(0)
            .and_then(|()| pid_file.rewind())
            .with_context(at)?;
        writeln!(pid_file, "{}", std::process::id()).with_context(at)?;
        Ok(Self { pid_file })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // The file stays: removing it would race with a process that is just about to lock it.
        let _ = self.pid_file.set_len(0);
    }
}

/// Writes the password of the first administrator where only the owner can read it.
///
/// # Errors
///
/// What the file system says.
pub fn keep_password(
    root: &Path,
    username: &str,
    password: &str,
) -> anyhow::Result<std::path::PathBuf> {
    let path = root.join("admin-password");
    if path.exists() {
        fs::remove_file(&path)?;
    }
    crate::certificates::owner_only(&path, format!("{username}:{password}\n").as_bytes())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_told_the_pid_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = Root::take(dir.path()).unwrap();
        // A lock belongs to the open file, so a second open in the same process conflicts as well.
        let error = Root::take(dir.path()).unwrap_err();
        let expected = format!(
            "Error: Motet is already running (pid: {})",
            std::process::id()
        );
        assert_eq!(
            error.downcast_ref::<AlreadyRunning>().unwrap().to_string(),
            expected
        );
        drop(first);
        Root::take(dir.path()).unwrap();
    }
}
