//! One worker: a thread, a current-thread runtime, its accept loops and its connections.

use std::io;
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base::{Shutdown, WorkerId};
use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;

use crate::accept::Acceptor;
use crate::handle::{Lifecycle, ServerState, Shared};
use crate::listener::WorkerService;
use crate::panics;

/// Makes a future that one worker runs for life.
pub(crate) type StartHook = Arc<dyn Fn(WorkerId) -> BoxFuture<'static, ()> + Send + Sync>;

/// Whether the worker accepts.
pub(crate) type Started = Result<(), StartFailure>;

/// What kept a worker from accepting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFailure {
    /// A service factory or a start hook panicked with this text.
    #[error("a service panicked while it was built: {0}")]
    Panicked(String),
    /// The runtime could not watch a socket.
    #[error("cannot watch a socket: {0}")]
    System(io::Error),
}

/// Longest pause before a worker that keeps crashing is replaced once more; the first replacement comes at
/// once.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A worker that has lived for so long did not crash of what crashed the one before.
const STABLE: Duration = Duration::from_secs(60);

/// A worker that has not been started.
pub(crate) struct Worker {
    /// Of the first incarnation, made before any thread runs so that a failure is an answer of `start`.
    runtime: Runtime,
    duties: Duties,
}

/// What a worker does, and its successor again if it crashes.
struct Duties {
    id: WorkerId,
    acceptors: Vec<Acceptor>,
    hooks: Vec<StartHook>,
    blocking_threads: NonZeroUsize,
}

/// How the life of a worker ended.
enum Life {
    /// The server was closed, or did not start.
    Over,
    /// A panic that nobody closer to it could deal with.
    Crashed,
}

/// Counts a worker as running for as long as it lives, its successors included.
struct Presence(Arc<Shared>);

impl Presence {
    fn new(shared: Arc<Shared>) -> Self {
        shared.running_workers.send_modify(|running| *running += 1);
        Self(shared)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.running_workers.send_modify(|running| {
            *running -= 1;
            // Before those who wait for the last worker hear of it.
            if *running == 0 {
                self.0.state.send_replace(ServerState::Closed);
            }
        });
    }
}

impl Worker {
    /// A worker with a runtime of its own.
    ///
    /// # Errors
    ///
    /// What the system answered when it had no event queue to give.
    pub(crate) fn new(
        id: WorkerId,
        acceptors: Vec<Acceptor>,
        hooks: Vec<StartHook>,
        blocking_threads: NonZeroUsize,
    ) -> io::Result<Self> {
        let duties = Duties {
            id,
            acceptors,
            hooks,
            blocking_threads,
        };
        Ok(Self {
            runtime: duties.runtime()?,
            duties,
        })
    }

    pub(crate) fn id(&self) -> WorkerId {
        self.duties.id
    }

    /// Starts the thread; it says through `started` when it accepts.
    pub(crate) fn spawn(
        self,
        shared: Arc<Shared>,
        started: SyncSender<Started>,
    ) -> io::Result<JoinHandle<()>> {
        let presence = Presence::new(shared.clone());
        thread::Builder::new()
            .name(format!("motet-worker-{}", self.id()))
            .spawn(move || {
                // Declared first, dropped last: `wait` must not return before the runtime is gone.
                let _presence = presence;
                self.live(&shared, started);
            })
    }

    /// Lives until the server is closed. After a crash a new runtime takes the place of the old one, with
    /// services built anew, on duplicates of the same sockets: clients in their queues wait and are served.
    fn live(self, shared: &Shared, started: SyncSender<Started>) {
        let Self { runtime, duties } = self;
        let (mut runtime, mut started) = (Some(runtime), Some(started));
        let mut pause = Duration::ZERO;
        loop {
            let begin = Instant::now();
            let life = match runtime.take().map_or_else(|| duties.runtime(), Ok) {
                Ok(runtime) => duties.live_once(runtime, shared, pause, started.take()),
                Err(error) => {
                    tracing::error!(worker = %duties.id, %error, "cannot replace the worker");
                    Life::Crashed
                }
            };
            match life {
                Life::Over => return,
                Life::Crashed if !shared.lifecycle.borrow().is_running() => return,
                Life::Crashed => {}
            }
            shared.worker_restarts.fetch_add(1, Ordering::Relaxed);
            pause = match begin.elapsed() < STABLE {
                true => (pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE),
                false => Duration::ZERO,
            };
            tracing::error!(worker = %duties.id, ?pause, "the worker crashed and is replaced");
        }
    }
}

impl Duties {
    fn runtime(&self) -> io::Result<Runtime> {
        Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(self.blocking_threads.get())
            .build()
    }

    fn live_once(
        &self,
        runtime: Runtime,
        shared: &Shared,
        pause: Duration,
        started: Option<SyncSender<Started>>,
    ) -> Life {
        // What is left half-changed is dropped with the runtime.
        let life = panic::catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(self.run(shared, pause, started))
        }));
        // Drops every task that is left. Blocking calls that still run keep their threads until they return;
        // nobody waits for their results.
        runtime.shutdown_background();
        life.unwrap_or_else(|payload| {
            tracing::error!(worker = %self.id, panic = panics::message(&*payload), "a worker panicked");
            Life::Crashed
        })
    }

    async fn run(
        &self,
        shared: &Shared,
        pause: Duration,
        started: Option<SyncSender<Started>>,
    ) -> Life {
        let mut lifecycle = shared.lifecycle.subscribe();
        if !pause.is_zero() {
            let stopped = lifecycle.wait_for(|lifecycle| !lifecycle.is_running());
            if tokio::time::timeout(pause, stopped).await.is_ok() {
                return Life::Over;
            }
        }
        let (shutdown, connections, accepting) =
            (Shutdown::new(), TaskTracker::new(), TaskTracker::new());
        let crash = Arc::new(Notify::new());
        let opened = self.open(&shutdown, &connections, &accepting, &crash);
        let failure = opened.as_ref().err().map(ToString::to_string);
        if let Some(started) = started {
            // The receiver waits for exactly this, unless another worker has failed before.
            let _ = started.send(opened);
            if failure.is_some() {
                return Life::Over;
            }
        }
        if let Some(failure) = failure {
            tracing::error!(worker = %self.id, failure, "cannot replace the worker");
            return Life::Crashed;
        }

        tokio::select! {
            biased;
            // The sender lives in `shared`, so this cannot fail.
            _ = lifecycle.wait_for(|lifecycle| !lifecycle.is_running()) => {}
            () = crash.notified() => return Life::Crashed,
        }
        let draining = self.active();
        shutdown.start();
        accepting.close();
        connections.close();
        tokio::select! {
            () = async { accepting.wait().await; connections.wait().await } => {}
            () = deadline(lifecycle) => {}
        }
        let forced = self.active();
        shared.forced.fetch_add(forced, Ordering::Relaxed);
        shared
            .drained
            .fetch_add(draining.saturating_sub(forced), Ordering::Relaxed);
        Life::Over
    }

    /// Builds the services, starts the hooks and then the accept loops.
    fn open(
        &self,
        shutdown: &Shutdown,
        connections: &TaskTracker,
        accepting: &TaskTracker,
        crash: &Arc<Notify>,
    ) -> Result<(), StartFailure> {
        // Code of others runs here. What is half-built after a panic is dropped with the worker.
        let services = panic::catch_unwind(AssertUnwindSafe(|| self.build(crash)))
            .map_err(|payload| StartFailure::Panicked(panics::message(&*payload).to_owned()))?;
        for (acceptor, service) in self.acceptors.iter().zip(services) {
            let accept = acceptor
                .clone()
                .open(service, shutdown.clone(), connections.clone())
                .map_err(StartFailure::System)?;
            let crash = crash.clone();
            accepting.spawn(async move {
                if !panics::contain("an accept loop", accept).await {
                    crash.notify_one();
                }
            });
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a start hook ends with the worker, and no drain waits for it"
    )]
    fn build(&self, crash: &Arc<Notify>) -> Vec<WorkerService> {
        let services = self
            .acceptors
            .iter()
            .map(|acceptor| acceptor.build(self.id))
            .collect();
        for hook in &self.hooks {
            let (task, crash) = (hook(self.id), crash.clone());
            tokio::spawn(async move {
                if !panics::contain("a worker's start hook", task).await {
                    crash.notify_one();
                }
            });
        }
        services
    }

    /// Connections that are open on this worker.
    fn active(&self) -> u64 {
        self.acceptors
            .iter()
            .map(|acceptor| acceptor.counters().active.read())
            .sum()
    }
}

/// Waits until the connections that are left must be cut. The deadline may be moved earlier meanwhile.
async fn deadline(mut lifecycle: watch::Receiver<Lifecycle>) {
    loop {
        let until = match *lifecycle.borrow_and_update() {
            Lifecycle::Forced => return,
            Lifecycle::Draining { until } => until,
            Lifecycle::Running => None,
        };
        let expired = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = expired => return,
            // The sender outlives the worker.
            _ = lifecycle.changed() => {}
        }
    }
}
