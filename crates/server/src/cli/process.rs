//! `start`, `stop`, `restart`, `status`: the server as a process in the background.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::config::FILE_NAMES;
use crate::root;

/// The variable that tells the program that it runs in the background.
pub const DETACHED: &str = "MOTET_DETACHED";
/// The last line that is expected of a program that has started.
const STARTED: &str = "successfully started";
/// How long `start` waits for it. A start may take longer, for instance while it loads data.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long `stop` waits beyond the time that the configuration gives to requests in flight.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What is known about the process of a root directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It runs.
    Running(Pid),
    /// It was stopped.
    Stopped,
    /// It ended without having been stopped; this was its id.
    Errored(Pid),
    /// There has never been one.
    NotInstalled,
}

impl Status {
    /// Of the server with this root directory.
    pub(super) fn of(root: &Path) -> Self {
        let Ok(mut file) = File::open(root.join(root::PID_FILE)) else {
            let is_configured = FILE_NAMES.iter().any(|name| root.join(name).is_file());
            return match is_configured {
                true => Self::Stopped,
                false => Self::NotInstalled,
            };
        };
        let mut text = String::new();
        let pid = match file.read_to_string(&mut text) {
            Ok(_) => text.trim().parse().ok().and_then(Pid::from_raw),
            Err(_) => None,
        };
        let Some(pid) = pid else {
            return Self::Stopped;
        };
        // The id may belong to somebody else by now; the lock cannot.
        let is_locked = test_kill_process(pid).is_ok()
            && matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        match is_locked {
            true => Self::Running(pid),
            false => Self::Errored(pid),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Running(_) => "running",
            Self::Stopped => "stopped",
            Self::Errored(_) => "errored",
            Self::NotInstalled => "not installed",
        }
    }

    /// As of a service: 0 running, 1 ended by itself, 3 stopped, 4 unknown.
    fn exit_code(self) -> u8 {
        match self {
            Self::Running(_) => 0,
            Self::Errored(_) => 1,
            Self::Stopped => 3,
            Self::NotInstalled => 4,
        }
    }

    /// As an object with the one member `motet`.
    fn describe(self, root: &Path) -> resource::Map {
        use resource::{Map, Value};
        let mut about = Map::from_iter([("status", Value::from(self.word()))]);
        if let Self::Running(pid) = self {
            about.insert("pid", i64::from(pid.as_raw_nonzero().get()));
        }
        about.insert("rootPath", root.display().to_string());
        Map::from_iter([("motet", Value::Map(about))])
    }
}

/// Prints the status.
pub(super) fn status(root: &Path, as_json: bool) -> ExitCode {
    let status = Status::of(root);
    let value = resource::Value::Map(status.describe(root));
    print!("{}", super::operation::format(&value, as_json));
    ExitCode::from(status.exit_code())
}

/// Starts the server in the background and waits until it accepts connections; prints what it printed.
pub(super) fn start(root: &Path, words: &[String]) -> anyhow::Result<()> {
    if let Status::Running(pid) = Status::of(root) {
        return Err(root::AlreadyRunning::of(pid.as_raw_nonzero()).into());
    }
    root::create(root)?;
    let path = root.join("log").join("motet.out");
    let (mut child, mut output) = spawn(&path, words)?;
    let begin = Instant::now();
    let mut printed = String::new();
    loop {
        let ended = child.try_wait().context("the process in the background")?;
        output.rewind()?;
        printed.clear();
        output.read_to_string(&mut printed)?;
        if let Some(status) = ended {
            anyhow::bail!(
                "the server did not start ({status}):\n{}",
                printed.trim_end()
            );
        }
        let has_started = printed.contains(STARTED);
        if has_started || begin.elapsed() > START_LIMIT {
            print!("{printed}");
            if has_started {
                // A password that was shown once does not stay in a file.
                output.set_len(0)?;
            } else {
                println!(
                    "The server is still starting; it writes to {}",
                    path.display()
                );
            }
            println!("Running in the background (pid: {})", child.id());
            return Ok(());
        }
        wait_a_little();
    }
}

/// Runs this program again with its output in a file that only the owner can read.
fn spawn(path: &Path, words: &[String]) -> anyhow::Result<(Child, File)> {
    let at = || path.display().to_string();
    let directory = path.parent().context("the output lies in a directory")?;
    fs::create_dir_all(directory).with_context(at)?;
    // Appending, so that what follows a truncation begins at the start.
    let output = File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .with_context(at)?;
    output.set_len(0).with_context(at)?;
    let child = Command::new(program()?)
        .arg("run")
        .args(words)
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .spawn()
        .context("cannot start the process in the background")?;
    Ok((child, output))
}

fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("where the program lies")
}

/// Leaves the terminal that started this process.
pub fn detach() {
    // A process that was started again after a restart leads its session already.
    let _ = rustix::process::setsid();
}

/// Asks the server to stop and waits until it has.
pub(super) fn stop(root: &Path, grace: Duration) -> anyhow::Result<()> {
    let Status::Running(pid) = Status::of(root) else {
        println!("Motet is not running.");
        return Ok(());
    };
    println!("Stopping Motet.");
    signal(pid, Signal::TERM)?;
    let begin = Instant::now();
    while Status::of(root) == Status::Running(pid) {
        anyhow::ensure!(
            begin.elapsed() < grace + STOP_LIMIT,
            "the process {} does not stop; a second signal closes its connections at once",
            pid.as_raw_nonzero()
        );
        wait_a_little();
    }
    Ok(())
}

/// Asks the server to begin again in place, without losing a request.
pub(super) fn restart(root: &Path) -> anyhow::Result<()> {
    let Status::Running(pid) = Status::of(root) else {
        anyhow::bail!("Motet is not running; 'motet start' starts it");
    };
    println!("Restarting Motet (pid: {}).", pid.as_raw_nonzero());
    signal(pid, Signal::USR2)
}

fn signal(pid: Pid, signal: Signal) -> anyhow::Result<()> {
    kill_process(pid, signal)
        .with_context(|| format!("cannot signal the process {}", pid.as_raw_nonzero()))
}

/// Another process starts or ends, which gives no event to await.
#[expect(
    clippy::disallowed_methods,
    reason = "no worker runs in this process, and there is nothing to await"
)]
fn wait_a_little() {
    std::thread::sleep(Duration::from_millis(25));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_process_that_holds_no_lock_has_ended_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Status::of(dir.path()), Status::NotInstalled);
        let held = root::Root::take(dir.path()).unwrap();
        let own = Pid::from_raw(std::process::id().try_into().unwrap()).unwrap();
        assert_eq!(Status::of(dir.path()), Status::Running(own));
        drop(held);
        assert_eq!(Status::of(dir.path()), Status::Stopped);
        fs::write(
            dir.path().join(root::PID_FILE),
            format!("{}\n", std::process::id()),
        )
        .unwrap();
        assert_eq!(Status::of(dir.path()), Status::Errored(own));
    }
}
