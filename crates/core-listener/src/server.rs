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
use std::time::Duration;

use base::WorkerId;
use futures_util::future::BoxFuture;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use crate::accept::Acceptor;
use crate::address::{self, ListenAddress};
use crate::bind::{self, UnixSocketFile};
use crate::config::TcpConfig;
use crate::error::{BindError, StartError};
use crate::handle::{Bound, CloseReport, Lifecycle, Place, ServerHandle, ServerState, Shared};
use crate::handover::InheritedSockets;
use crate::listener::{Listener, OpenSocket};
use crate::sockets::{ListenSocket, SocketStore, StoredSocket};
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
    inherited: Option<InheritedSockets>,
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
            inherited: None,
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

    /// Uses the listening sockets of an earlier process where they fit: same setting, same address. The
    /// earlier process learns of it when [`start`](Self::start) succeeds. See
    /// [`ServerHandle::hand_over`](crate::ServerHandle::hand_over).
    ///
    /// ```no_run
    /// # async fn example(server: core_listener::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{path::Path, time::Duration};
    /// use core_listener::InheritedSockets;
    ///
    /// let path = Path::new("run/hand-over");
    /// let server = match InheritedSockets::receive(path)? {
    ///     Some(sockets) => server.inherit(sockets),
    ///     None => server,
    /// };
    /// let server = server.start()?;
    /// // Until the next process comes:
    /// server.hand_over(path).await?;
    /// server.close_within(Duration::from_secs(10)).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn inherit(mut self, sockets: InheritedSockets) -> Self {
        self.inherited = Some(sockets);
        self
    }

    /// Starts, serves until SIGINT or SIGTERM, and closes within `limit`. For programs without a runtime of
    /// their own; it makes one for the waiting.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), and [`StartError::Signals`] if signals cannot be awaited.
    pub fn serve_blocking(self, limit: Duration) -> Result<CloseReport, StartError> {
        let signals = |error| StartError::Signals { error };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(signals)?;
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
            let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
            let server = self.start()?;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                // Somebody inside has closed it.
                report = server.wait() => return Ok(report),
            }
            Ok(server.close_within(limit).await)
        })
    }

    /// Opens every socket, starts every worker and returns when all of them accept.
    ///
    /// Blocks for the few milliseconds that this takes, and for as long as the service factories run.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a socket, thread or service is not to be had; then nothing is left running.
    pub fn start(mut self) -> Result<ServerHandle, StartError> {
        let mut inherited = self.inherited.take();
        let plans = self.bind(inherited.as_mut())?;
        let (shared, workers) = self.prepare(plans)?;
        let handle = ServerHandle(shared);
        let mut threads = Vec::with_capacity(workers.len());
        match run(&handle, workers, &mut threads) {
            Ok(()) => {
                if let Some(inherited) = inherited {
                    inherited.confirm();
                }
                Ok(handle)
            }
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
        let range = match &listener.workers {
            _ if listener.is_unix() => 0..=0,
            None => all,
            Some(range) => *range.start()..=*range.end().min(all.end()),
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

    fn bind(&self, mut inherited: Option<&mut InheritedSockets>) -> Result<Vec<Plan>, StartError> {
        let mut plans: Vec<Plan> = Vec::with_capacity(self.listeners.len());
        for listener in &self.listeners {
            let workers = self.range(listener)?;
            if listener.is_unix() && listener.tls.is_some() {
                let setting = listener.setting.clone();
                return Err(StartError::TlsOnUnixSocket { setting });
            }
            if let Some(OpenSocket(socket)) = &listener.open {
                plans.push(borrow(listener, workers, socket)?);
                continue;
            }
            let sockets = inherited
                .as_mut()
                .map(|inherited| inherited.take(&listener.setting, &listener.address))
                .unwrap_or_default();
            let plan = match sockets.is_empty() {
                true => self.open(listener, workers, &plans)?,
                false => adopt(listener, workers, sockets)?,
            };
            plans.push(plan);
        }
        Ok(plans)
    }

    fn open(
        &self,
        listener: &Listener,
        workers: RangeInclusive<u16>,
        before: &[Plan],
    ) -> Result<Plan, StartError> {
        let setting = listener.setting.clone();
        let (places, sockets, file) = match &listener.address {
            ListenAddress::Unix(path) => {
                let (socket, file) = bind::bind_unix(&setting, path, &self.tcp)?;
                let sockets = vec![ListenSocket::Unix(socket)];
                (vec![Place::Unix(path.clone())], sockets, Some(file))
            }
            internet => {
                let (tcp, copies) = (&self.tcp, workers.len());
                let (any_port, hosts) = (listener.any_port, listener.hosts);
                let bound = bind::bind_tcp(&setting, internet, tcp, copies, any_port, hosts)
                    .map_err(|error| explain(error, before))?;
                let places = bound.iter().map(|bound| Place::Tcp(bound.local)).collect();
                let sockets = bound.into_iter().flat_map(|bound| bound.sockets);
                (places, sockets.map(ListenSocket::Tcp).collect(), None)
            }
        };
        Ok(Plan {
            setting,
            places,
            workers,
            sockets,
            file,
        })
    }

    /// Everything that can fail before a thread runs.
    fn prepare(self, plans: Vec<Plan>) -> Result<(Arc<Shared>, Vec<Worker>), StartError> {
        let limit = self
            .max_connections
            .map(|limit| Arc::new(Semaphore::new(limit.get().min(Semaphore::MAX_PERMITS))));
        let tcp = Arc::new(self.tcp);
        let ranges: Vec<_> = plans.iter().map(|plan| plan.workers.clone()).collect();
        let (mut stored, mut files, mut bound) = (Vec::new(), Vec::new(), Vec::new());
        for mut plan in plans {
            files.extend(plan.file.take());
            stored.append(&mut plan.assign()?);
            let setting = plan.setting;
            bound.extend(plan.places.into_iter().map(|place| Bound {
                setting: setting.clone(),
                place,
            }));
        }
        let sockets = Arc::new(SocketStore::new(stored, files));
        let accepting = watch::Sender::new(0);
        let mut counters = Vec::new();
        let mut workers = Vec::with_capacity(usize::from(self.workers.get()));
        for id in (0..self.workers.get()).map(WorkerId) {
            let mut acceptors = Vec::new();
            for (listener, range) in self.listeners.iter().zip(&ranges) {
                if !range.contains(&id.0) {
                    continue;
                }
                let counted = Arc::new(Counters::default());
                counters.push((listener.setting.clone(), id, counted.clone()));
                acceptors.push(Acceptor::new(
                    listener,
                    sockets.clone(),
                    id,
                    tcp.clone(),
                    limit.clone(),
                    accepting.clone(),
                    counted,
                ));
            }
            let worker = Worker::new(id, acceptors, self.hooks.clone(), self.blocking_threads)
                .map_err(|error| StartError::Worker { worker: id, error })?;
            workers.push(worker);
        }
        let shared = Shared {
            lifecycle: watch::Sender::new(Lifecycle::Running),
            state: watch::Sender::new(ServerState::Running),
            running_workers: watch::Sender::new(0),
            accepting,
            worker_restarts: AtomicU64::new(0),
            sockets,
            bound,
            counters,
            drained: AtomicU64::new(0),
            forced: AtomicU64::new(0),
        };
        Ok((Arc::new(shared), workers))
    }
}

/// A listener with its sockets.
struct Plan {
    setting: Arc<str>,
    /// Several if it has all addresses of a host.
    places: Vec<Place>,
    workers: RangeInclusive<u16>,
    sockets: Vec<ListenSocket>,
    file: Option<UnixSocketFile>,
}

impl Plan {
    /// Gives every socket to a worker, and every worker a socket. There may be more or fewer of them than
    /// workers when an earlier process opened them.
    fn assign(&mut self) -> Result<Vec<StoredSocket>, StartError> {
        let sockets = std::mem::take(&mut self.sockets);
        let stored = |worker, socket| StoredSocket {
            setting: self.setting.clone(),
            worker: WorkerId(worker),
            socket,
        };
        let opened = sockets.len();
        let mut assigned: Vec<_> = self
            .workers
            .clone()
            .cycle()
            .zip(sockets)
            .map(|(worker, socket)| stored(worker, socket))
            .collect();
        for (worker, sibling) in self.workers.clone().skip(opened).zip((0..opened).cycle()) {
            let duplicate = assigned[sibling].socket.duplicate();
            let socket = duplicate.map_err(|error| StartError::Duplicate {
                setting: self.setting.clone(),
                error,
            })?;
            assigned.push(stored(worker, socket));
        }
        Ok(assigned)
    }
}

/// A listener on a socket that the embedding program opened.
fn borrow(
    listener: &Listener,
    workers: RangeInclusive<u16>,
    socket: &ListenSocket,
) -> Result<Plan, StartError> {
    let setting = listener.setting.clone();
    let failed = |error| StartError::Duplicate {
        setting: setting.clone(),
        error,
    };
    if listener.any_port.is_some() {
        return Err(StartError::AnyPortOfOpenSocket { setting });
    }
    socket.set_nonblocking().map_err(failed)?;
    let place = match socket {
        ListenSocket::Tcp(socket) => Place::Tcp(socket.local_addr().map_err(failed)?),
        ListenSocket::Unix(_) => Place::Unix(socket.path().unwrap_or_default()),
    };
    let sockets = vec![socket.duplicate().map_err(failed)?];
    Ok(Plan {
        setting,
        places: vec![place],
        workers,
        sockets,
        file: None,
    })
}

/// A listener on sockets that an earlier process opened.
fn adopt(
    listener: &Listener,
    workers: RangeInclusive<u16>,
    sockets: Vec<ListenSocket>,
) -> Result<Plan, StartError> {
    let setting = listener.setting.clone();
    let first = sockets.first().expect("the caller has some");
    let failed = |error| StartError::Duplicate {
        setting: setting.clone(),
        error,
    };
    let (places, file) = match (first, &listener.address) {
        (ListenSocket::Tcp(_), _) => (tcp_places(&sockets).map_err(failed)?, None),
        (ListenSocket::Unix(_), ListenAddress::Unix(path)) => {
            let file = UnixSocketFile::new(path).map_err(failed)?;
            (vec![Place::Unix(path.clone())], Some(file))
        }
        (ListenSocket::Unix(_), _) => {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        }
    };
    Ok(Plan {
        setting,
        places,
        workers,
        sockets,
        file,
    })
}

/// Each address once, though every worker has a socket of its own there.
fn tcp_places(sockets: &[ListenSocket]) -> io::Result<Vec<Place>> {
    let mut addresses = Vec::new();
    for socket in sockets {
        if let ListenSocket::Tcp(socket) = socket {
            let address = socket.local_addr()?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses.into_iter().map(Place::Tcp).collect())
}

/// A port that is taken by an earlier listener of this server is a mistake in the configuration.
fn explain(error: BindError, plans: &[Plan]) -> StartError {
    let wanted = error.address.parse::<SocketAddr>();
    let overlaps = |place: &Place| match (place, &wanted) {
        (Place::Tcp(bound), Ok(wanted)) => address::overlap(*bound, *wanted),
        _ => false,
    };
    let taken_by = |plan: &&Plan| plan.places.iter().any(overlaps);
    match plans.iter().find(taken_by) {
        Some(plan) if error.error.kind() == io::ErrorKind::AddrInUse => StartError::SameAddress {
            first: plan.setting.clone(),
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
