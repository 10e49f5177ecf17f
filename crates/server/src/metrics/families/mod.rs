//! Families whose numbers are counted elsewhere and asked for at a scrape.

mod listeners;
mod live;
mod process;
mod storage;

pub(super) use self::storage::{MORE_TABLE_FAMILIES, TABLE_FAMILIES};

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use auth::Directory;
use core_listener::{ListenerStats, ServerHandle};
use http_chain::stages::WriteQueueGauge;
use proto_mqtt::Broker;
use proto_sse::Sse;
use proto_ws::WebSockets;
use resource::Hub;
use store::Store;
use telemetry::Metrics;
use telemetry::logs::LogStatistics;
use telemetry::metrics::{Family, Kind, MetricError, Samples};
use tokio::runtime::RuntimeMetrics;

use super::slow::Slow;
use crate::certificates::Certificates;
use crate::health::Health;

/// What is asked. Each part may come later than the families; until then their numbers are 0 or absent.
pub struct Sources {
    pub(super) workers: usize,
    pub(super) listeners: OnceLock<ServerHandle>,
    pub(super) runtimes: Mutex<Vec<RuntimeMetrics>>,
    pub(super) hub: OnceLock<Hub>,
    pub(super) sse: OnceLock<Sse>,
    pub(super) web_sockets: OnceLock<WebSockets>,
    pub(super) broker: OnceLock<Arc<Broker>>,
    pub(super) directory: OnceLock<Arc<Directory>>,
    pub(super) store: OnceLock<Arc<Store>>,
    pub(super) health: OnceLock<Arc<Health>>,
    pub(super) certificates: OnceLock<Arc<Certificates>>,
    pub(super) log: OnceLock<Box<dyn Fn() -> LogStatistics + Send + Sync>>,
    queues: Mutex<Vec<(&'static str, WriteQueueGauge)>>,
    /// Whether the configuration was understood when it was read last, and when that was.
    reload: Mutex<(bool, SystemTime)>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $setter:ident: $field:ident = $kind:ty,)*) => {$(
        $(#[$doc])*
        pub fn $setter(&self, source: $kind) {
            // A second one is a mistake of the composition; the first stays.
            let _ = self.$field.set(source);
        }
    )*};
}

impl Sources {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers,
            listeners: OnceLock::new(),
            runtimes: Mutex::default(),
            hub: OnceLock::new(),
            sse: OnceLock::new(),
            web_sockets: OnceLock::new(),
            broker: OnceLock::new(),
            directory: OnceLock::new(),
            store: OnceLock::new(),
            health: OnceLock::new(),
            certificates: OnceLock::new(),
            log: OnceLock::new(),
            queues: Mutex::default(),
            // There is no server without one.
            reload: Mutex::new((true, SystemTime::now())),
        }
    }

    setters! {
        /// The listeners.
        set_listeners: listeners = ServerHandle,
        /// The distributor of events.
        set_hub: hub = Hub,
        /// The handler of event streams.
        set_sse: sse = Sse,
        /// The handler of WebSockets.
        set_web_sockets: web_sockets = WebSockets,
        /// The MQTT broker.
        set_broker: broker = Arc<Broker>,
        /// Users and roles.
        set_directory: directory = Arc<Directory>,
        /// Databases.
        set_store: store = Arc<Store>,
        /// What probes are told.
        set_health: health = Arc<Health>,
        /// The certificates in use.
        set_certificates: certificates = Arc<Certificates>,
        /// The counts of the log.
        set_log: log = Box<dyn Fn() -> LogStatistics + Send + Sync>,
    }

    pub(super) fn add_runtime(&self, runtime: RuntimeMetrics) {
        let mut runtimes = self.runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        runtimes.push(runtime);
    }

    /// A queue of writes; `listener` is the label of the first of the listeners that share it.
    pub fn add_queue(&self, listener: &'static str, gauge: WriteQueueGauge) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.push((listener, gauge));
    }

    fn queues(&self) -> Vec<(&'static str, WriteQueueGauge)> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.clone()
    }

    /// The configuration was read again, and was right or wrong.
    pub fn config_reloaded(&self, is_right: bool) {
        let mut reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        *reload = (is_right, SystemTime::now());
    }

    fn reload(&self) -> (bool, SystemTime) {
        *self.reload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runtimes(&self) -> Vec<RuntimeMetrics> {
        let runtimes = self.runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        runtimes.clone()
    }

    fn listener_stats(&self) -> Vec<ListenerStats> {
        self.listeners
            .get()
            .map(ServerHandle::stats)
            .unwrap_or_default()
    }
}

/// Registers everything that is asked for.
pub(super) fn register(
    registry: &Metrics,
    sources: &Arc<Sources>,
    slow: &Arc<Slow>,
) -> Result<(), MetricError> {
    listeners::register(registry, sources)?;
    live::register(registry, sources)?;
    process::register(registry, sources)?;
    storage::register(registry, slow)
}

/// A family that is read off one source.
fn collect<S: Send + Sync + 'static>(
    registry: &Metrics,
    source: &Arc<S>,
    family: Family,
    kind: Kind,
    read: impl Fn(&S, &mut Samples) + Send + Sync + 'static,
) -> Result<(), MetricError> {
    let source = Arc::clone(source);
    registry.collect(family, kind, move |samples| read(&source, samples))
}
