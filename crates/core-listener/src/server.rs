//! Puts listeners together and starts the workers.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::thread::JoinHandle;

use base::WorkerId;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, watch};

use crate::accept::{Acceptor, ListenSocket};
use crate::address::{self, ListenAddress};
use crate::bind;
use crate::config::TcpConfig;
use crate::error::{BindError, StartError};
use crate::handle::{Bound, Lifecycle, Place, ServerHandle, Shared};
use crate::listener::Listener;
use crate::stats::Counters;
use crate::worker::{StartFailure, StartHook, Worker};

/// A server that has not been started: how many workers, what they listen on, what else they run.
pub struct Server {
    workers: NonZeroU16,
    listeners: Vec<Listener>,
    hooks: Vec<StartHook>,
    tcp: TcpConfig,
    max_connections: Option<NonZeroUsize>,
    blocking_threads: NonZeroUsize,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("workers", &self.workers)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server with this many worker threads and nothing to listen on.
    pub fn new(workers: NonZeroU16) -> Self {
        Self {
            workers,
            listeners: Vec::new(),
            hooks: Vec::new(),
            tcp: TcpConfig::default(),
            max_connections: None,
            blocking_threads: NonZeroUsize::new(16).expect("16 is not zero"),
        }
    }

    /// Adds a listener.
    pub fn listen(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Runs a future on every worker for as long as it lives, for example its event dispatcher or a timer.
    /// Hooks are called in the order they were added, after the worker's services were built and before
    /// it accepts. A drain does not wait for the futures: they are dropped after the worker's last connection.
    pub fn on_worker_start<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(WorkerId) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.hooks
            .push(Arc::new(move |worker| -> BoxFuture<'static, ()> {
                Box::pin(hook(worker))
            }));
        self
    }

    /// Sets the options of TCP sockets.
    pub fn tcp(mut self, tcp: TcpConfig) -> Self {
        self.tcp = tcp;
        self
    }

    /// Limits the connections that are open at once, over all listeners and workers. Default: no limit.
    ///
    /// At the limit the workers stop accepting until a connection ends. Clients wait in the kernel's queue
    /// (each accept loop may hold one more that it has accepted and not started), so a burst is delayed
    /// and not turned away.
    pub fn max_connections(mut self, limit: Option<NonZeroUsize>) -> Self {
        self.max_connections = limit;
        self
    }

    /// Limits the threads that each worker may use for `tokio::task::spawn_blocking`. Default 16.
    pub fn blocking_threads(mut self, limit: NonZeroUsize) -> Self {
        self.blocking_threads = limit;
        self
    }

    /// Opens every socket, starts every worker and returns when all of them accept.
    ///
    /// Blocks for the few milliseconds that this takes, and for as long as the service factories run.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a socket, thread or service is not to be had; then nothing is left running.
    pub fn start(self) -> Result<ServerHandle, StartError> {
        let plans = self.bind()?;
        let (shared, workers) = self.prepare(plans)?;
        let handle = ServerHandle(shared);
        let mut threads = Vec::with_capacity(workers.len());
        match run(&handle, workers, &mut threads) {
            Ok(()) => Ok(handle),
            Err(error) => {
                handle.force_close();
                // A worker's panic was caught and is the error, or it is in the log.
                threads.into_iter().for_each(|thread| drop(thread.join()));
                Err(error)
            }
        }
    }

    /// The workers that open this listener.
    fn range(&self, listener: &Listener) -> Result<RangeInclusive<u16>, StartError> {
        let all = 0..=self.workers.get() - 1;
        let range = match (&listener.address, &listener.workers) {
            (ListenAddress::Unix(_), _) => 0..=0,
            (_, None) => all,
            (_, Some(range)) => *range.start()..=*range.end().min(all.end()),
        };
        if range.is_empty() {
            let wanted = listener.workers.clone().unwrap_or(range);
            return Err(StartError::NoWorker {
                setting: listener.setting.clone(),
                range: format!("{}-{}", wanted.start(), wanted.end()),
                workers: self.workers.get(),
            });
        }
        Ok(range)
    }

    fn bind(&self) -> Result<Vec<Plan>, StartError> {
        let mut plans: Vec<Plan> = Vec::with_capacity(self.listeners.len());
        for listener in &self.listeners {
            let workers = self.range(listener)?;
            let (place, sockets) = match &listener.address {
                ListenAddress::Unix(_) if listener.tls.is_some() => {
                    return Err(StartError::TlsOnUnixSocket {
                        setting: listener.setting.clone(),
                    });
                }
                ListenAddress::Unix(path) => {
                    let (socket, file) = bind::bind_unix(&listener.setting, path, &self.tcp)?;
                    (
                        Place::Unix(path.clone()),
                        vec![ListenSocket::Unix(socket, file)],
                    )
                }
                internet => {
                    let bound =
                        bind::bind_tcp(&listener.setting, internet, &self.tcp, workers.len())
                            .map_err(|error| explain(error, &plans))?;
                    (
                        Place::Tcp(bound.local),
                        bound.sockets.into_iter().map(ListenSocket::Tcp).collect(),
                    )
                }
            };
            plans.push(Plan {
                bound: Bound {
                    setting: listener.setting.clone(),
                    place,
                },
                workers,
                sockets,
            });
        }
        Ok(plans)
    }

    /// Everything that can fail before a thread runs.
    fn prepare(self, mut plans: Vec<Plan>) -> Result<(Arc<Shared>, Vec<Worker>), StartError> {
        let limit = self
            .max_connections
            .map(|limit| Arc::new(Semaphore::new(limit.get().min(Semaphore::MAX_PERMITS))));
        let tcp = Arc::new(self.tcp);
        let mut counters = Vec::new();
        let mut workers = Vec::with_capacity(usize::from(self.workers.get()));
        for id in (0..self.workers.get()).map(WorkerId) {
            let mut acceptors = Vec::new();
            for (listener, plan) in self.listeners.iter().zip(&mut plans) {
                if !plan.workers.contains(&id.0) {
                    continue;
                }
                let socket = plan
                    .sockets
                    .pop()
                    .expect("one socket was bound for each worker in the range");
                let counted = Arc::new(Counters::default());
                counters.push((listener.setting.clone(), id, counted.clone()));
                acceptors.push(Acceptor::new(
                    listener,
                    socket,
                    id,
                    tcp.clone(),
                    limit.clone(),
                    counted,
                ));
            }
            let worker = Worker::new(id, acceptors, self.hooks.clone(), self.blocking_threads)
                .map_err(|error| StartError::Worker { worker: id, error })?;
            workers.push(worker);
        }
        let shared = Shared {
            lifecycle: watch::Sender::new(Lifecycle::Running),
            running_workers: watch::Sender::new(0),
            bound: plans.into_iter().map(|plan| plan.bound).collect(),
            counters,
            drained: AtomicU64::new(0),
            forced: AtomicU64::new(0),
        };
        Ok((Arc::new(shared), workers))
    }
}

/// A listener with its sockets, one for each worker in the range.
struct Plan {
    bound: Bound,
    workers: RangeInclusive<u16>,
    sockets: Vec<ListenSocket>,
}

/// A port that is taken by an earlier listener of this server is a mistake in the configuration.
fn explain(error: BindError, plans: &[Plan]) -> StartError {
    let wanted = error.address.parse::<SocketAddr>();
    let taken_by = |plan: &&Plan| match (&plan.bound.place, &wanted) {
        (Place::Tcp(bound), Ok(wanted)) => address::overlap(*bound, *wanted),
        _ => false,
    };
    match plans.iter().find(taken_by) {
        Some(plan) if error.error.kind() == io::ErrorKind::AddrInUse => StartError::SameAddress {
            first: plan.bound.setting.clone(),
            second: error.setting,
            address: error.address,
        },
        _ => StartError::Bind(error),
    }
}

/// Starts the threads and waits until each accepts.
fn run(
    handle: &ServerHandle,
    workers: Vec<Worker>,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<(), StartError> {
    let mut starting = Vec::with_capacity(workers.len());
    for worker in workers {
        let id = worker.id();
        let (started, receiver) = mpsc::sync_channel(1);
        let thread = worker
            .spawn(handle.0.clone(), started)
            .map_err(|error| StartError::Worker { worker: id, error })?;
        threads.push(thread);
        starting.push((id, receiver));
    }
    for (worker, receiver) in starting {
        match receiver.recv() {
            Ok(Ok(())) => {}
            Ok(Err(StartFailure::Panicked(message))) => {
                return Err(StartError::FactoryPanicked { worker, message });
            }
            Ok(Err(StartFailure::System(error))) => {
                return Err(StartError::Worker { worker, error });
            }
            Err(_) => {
                let error = io::Error::other("it ended before it accepted");
                return Err(StartError::Worker { worker, error });
            }
        }
    }
    Ok(())
}
