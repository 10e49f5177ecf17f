//! A restart that loses no request: the process keeps its id and its place in the foreground or background, and the
//! listening sockets stay open from the old program to the new one.
//!
//! ```text
//!   this process                         holder (a short-lived child)
//!   hand_over ───── sockets ──────────▶  receive, acknowledge
//!   drain: requests in flight end        clients wait in the kernel's queues
//!   close the store, release the root
//!   exec itself ── same process id ──▶   hand_on
//!   inherit the sockets, accept  ◀─────  ends
//! ```
//!
//! Two servers side by side, as `core-listener` can have them, would both need the store, which one process has at a
//! time.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use core_listener::{InheritedSockets, ServerHandle};
use rustix::process::{Pid, WaitOptions, waitpid};
use tokio::sync::Notify;

/// The command of the holder, which is not for people.
pub const HOLDER: &str = "__hold-sockets";
/// The variable with the place where the new program finds its sockets.
pub const INHERIT: &str = "MOTET_INHERIT";
/// The variable with the process id of the holder.
pub const HOLDER_ID: &str = "MOTET_HOLDER";
/// How long the holder may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the two meetings take place.
struct Places {
    first: PathBuf,
    second: PathBuf,
}

impl Places {
    fn of(root: &Path) -> Self {
        Self {
            first: root.join("restart-old"),
            second: root.join("restart-new"),
        }
    }
}

/// Sockets in the hands of the holder; what is left is to end and to begin again.
pub struct Prepared {
    places: Places,
    holder: Child,
}

/// Gives the listening sockets to a holder. This process accepts until it is told to close.
///
/// # Errors
///
/// If the holder cannot be started or does not take the sockets; nothing has changed then.
pub async fn prepare(handle: &ServerHandle, root: &Path) -> anyhow::Result<Prepared> {
    let places = Places::of(root);
    let program = std::env::current_exe().context("where the program lies")?;
    let mut holder = Command::new(program)
        .arg(HOLDER)
        .arg(&places.first)
        .arg(&places.second)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start the holder of the sockets")?;
    let taken = tokio::time::timeout(PATIENCE, handle.hand_over(&places.first)).await;
    let taken = taken
        .context("the holder did not come")
        .and_then(|taken| Ok(taken?));
    if let Err(error) = taken {
        // It may have ended by itself.
        let _ = holder.kill();
        let _ = holder.wait();
        return Err(error);
    }
    Ok(Prepared { places, holder })
}

impl Prepared {
    /// Becomes the new program. Only returns if that is impossible.
    pub fn exec(self) -> anyhow::Error {
        let program = match std::env::current_exe() {
            Ok(program) => program,
            Err(error) => return anyhow::Error::new(error).context("where the program lies"),
        };
        let error = Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(INHERIT, &self.places.second)
            .env(HOLDER_ID, self.holder.id().to_string())
            .exec();
        anyhow::Error::new(error).context("cannot start the program again")
    }
}

/// The sockets that the program before this one left, if there was one.
///
/// # Errors
///
/// If they were left and cannot be taken.
pub fn inherited(place: Option<&Path>) -> anyhow::Result<Option<InheritedSockets>> {
    let Some(place) = place else { return Ok(None) };
    let start = std::time::Instant::now();
    loop {
        if let Some(sockets) = InheritedSockets::receive(place)? {
            return Ok(Some(sockets));
        }
        anyhow::ensure!(
            start.elapsed() < PATIENCE,
            "nobody holds the sockets at {}",
            place.display()
        );
        wait_a_little();
    }
}

/// Asks for a restart; what it was asked of notices.
#[derive(Debug, Clone, Default)]
pub struct Trigger(Arc<Notify>);

impl Trigger {
    /// Asks. Several requests before the restart are one.
    pub fn restart(&self) {
        self.0.notify_one();
    }

    /// Waits for a request.
    pub async fn asked(&self) {
        self.0.notified().await;
    }
}

/// Lets the system forget the holder, once it has ended; whether it has.
pub fn reap(holder: u32) -> bool {
    let id = i32::try_from(holder).ok().and_then(Pid::from_raw);
    let waited = waitpid(id, WaitOptions::NOHANG);
    // An error means that there is no such child.
    !matches!(waited, Ok(None))
}

/// What the holder does: takes the sockets from one process and gives them to the next.
///
/// # Errors
///
/// If either does not come, or leaves in the middle.
pub fn hold(first: &Path, second: &Path) -> anyhow::Result<()> {
    let mut sockets = inherited(Some(first))?.context("a place was given")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        sockets.acknowledge()?;
        sockets.hand_on(second).await?;
        anyhow::Ok(())
    })
}

/// Another process opens the place, which gives no event to await.
#[expect(
    clippy::disallowed_methods,
    reason = "no worker runs yet, and there is nothing to await"
)]
fn wait_a_little() {
    std::thread::sleep(Duration::from_millis(5));
}
