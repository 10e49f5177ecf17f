//! One worker: a thread, a current-thread runtime, its accept loops and its connections.

use std::io;
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};

use base::{Shutdown, WorkerId};
use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::accept::Acceptor;
use crate::handle::{Lifecycle, Shared};
use crate::listener::WorkerService;
use crate::panics;
use crate::stats::Counters;

/// Makes a future that one worker runs for life.
pub(crate) type StartHook = Arc<dyn Fn(WorkerId) -> BoxFuture<'static, ()> + Send + Sync>;

/// Whether the worker accepts.
pub(crate) type Started = Result<(), StartFailure>;

/// What kept a worker from accepting.
pub(crate) enum StartFailure {
    /// A service factory or a start hook panicked with this text.
    Panicked(String),
    /// The runtime could not watch a socket.
    System(io::Error),
}

/// A worker that has not been started.
pub(crate) struct Worker {
    runtime: Runtime,
    duties: Duties,
}

/// What a worker does.
struct Duties {
    id: WorkerId,
    acceptors: Vec<Acceptor>,
    hooks: Vec<StartHook>,
}

/// Counts a worker as running for as long as it lives.
struct Presence(Arc<Shared>);

impl Presence {
    fn new(shared: Arc<Shared>) -> Self {
        shared.running_workers.send_modify(|running| *running += 1);
        Self(shared)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.running_workers.send_modify(|running| *running -= 1);
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
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(blocking_threads.get())
            .build()?;
        Ok(Self {
            runtime,
            duties: Duties {
                id,
                acceptors,
                hooks,
            },
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
                self.runtime.block_on(self.duties.run(&shared, started));
                // Drops every task that is left. Blocking calls that still run keep their threads until they
                // return; nobody waits for their results.
                self.runtime.shutdown_background();
            })
    }
}

impl Duties {
    async fn run(self, shared: &Shared, started: SyncSender<Started>) {
        let (shutdown, connections, accepting) =
            (Shutdown::new(), TaskTracker::new(), TaskTracker::new());
        let counters: Vec<_> = self
            .acceptors
            .iter()
            .map(|acceptor| acceptor.counters().clone())
            .collect();
        let opened = self.open(&shutdown, &connections, &accepting);
        let failed = opened.is_err();
        // The receiver waits for exactly this, unless another worker has failed before.
        let _ = started.send(opened);
        if failed {
            return;
        }

        let mut lifecycle = shared.lifecycle.subscribe();
        // The sender lives in `shared`, so this cannot fail.
        let _ = lifecycle
            .wait_for(|lifecycle| !lifecycle.is_running())
            .await;
        let draining = active(&counters);
        shutdown.start();
        accepting.close();
        connections.close();
        tokio::select! {
            () = async { accepting.wait().await; connections.wait().await } => {}
            () = deadline(lifecycle) => {}
        }
        let forced = active(&counters);
        shared.forced.fetch_add(forced, Ordering::Relaxed);
        shared
            .drained
            .fetch_add(draining.saturating_sub(forced), Ordering::Relaxed);
    }

    /// Builds the services, starts the hooks and then the accept loops.
    fn open(
        self,
        shutdown: &Shutdown,
        connections: &TaskTracker,
        accepting: &TaskTracker,
    ) -> Result<(), StartFailure> {
        // Code of others runs here. What is half-built after a panic is dropped with the worker.
        let services = panic::catch_unwind(AssertUnwindSafe(|| self.build()))
            .map_err(|payload| StartFailure::Panicked(panics::message(&*payload).to_owned()))?;
        for (acceptor, service) in self.acceptors.into_iter().zip(services) {
            let accept = acceptor
                .open(service, shutdown.clone(), connections.clone())
                .map_err(StartFailure::System)?;
            accepting.spawn(async move {
                panics::contain("an accept loop", accept).await;
            });
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a start hook ends with the worker, and no drain waits for it"
    )]
    fn build(&self) -> Vec<WorkerService> {
        let services = self
            .acceptors
            .iter()
            .map(|acceptor| acceptor.build(self.id))
            .collect();
        for hook in &self.hooks {
            let task = hook(self.id);
            tokio::spawn(async move {
                panics::contain("a worker's start hook", task).await;
            });
        }
        services
    }
}

fn active(counters: &[Arc<Counters>]) -> u64 {
    counters.iter().map(|counters| counters.active.read()).sum()
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
