//! Numbers that touch files: read off the workers, within the time a scrape has, and kept for one that has none.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use resource::{Catalog, TableStatistics};
use store::{DatabaseStatistics, Store};

/// The last known numbers.
#[derive(Debug, Default)]
pub(super) struct Slow {
    pub(super) databases: ArcSwap<Vec<DatabaseStatistics>>,
    pub(super) disks: ArcSwap<Vec<DiskSpace>>,
    pub(super) tables: ArcSwap<Vec<TableNumbers>>,
    /// How long each reading took last.
    pub(super) took: Mutex<Vec<(&'static str, Duration)>>,
}

/// The file system of a directory of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskSpace {
    pub(crate) path: PathBuf,
    pub(crate) total_bytes: u64,
    pub(crate) free_bytes: u64,
}

impl DiskSpace {
    /// What the system says; `None` if the directory cannot be looked at.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let stat = rustix::fs::statvfs(path).ok()?;
        Some(Self {
            path: path.to_owned(),
            total_bytes: stat.f_blocks * stat.f_frsize,
            free_bytes: stat.f_bavail * stat.f_frsize,
        })
    }

    /// From 0 to 1.
    pub(crate) fn free_ratio(&self) -> f64 {
        self.free_bytes as f64 / self.total_bytes.max(1) as f64
    }
}

/// One table.
#[derive(Debug, Clone)]
pub(super) struct TableNumbers {
    pub(super) database: String,
    pub(super) table: String,
    pub(super) statistics: TableStatistics,
}

impl Slow {
    /// Reads everything again. What is not ready within `budget` stays as it was, and is still completed for the
    /// next scrape.
    pub(super) async fn refresh(
        self: &Arc<Self>,
        store: Arc<Store>,
        directory: PathBuf,
        with_tables: bool,
        budget: Duration,
    ) {
        let databases = {
            let (slow, store) = (Arc::clone(self), Arc::clone(&store));
            tokio::task::spawn_blocking(move || {
                let began = Instant::now();
                slow.databases
                    .store(Arc::new(store.statistics_of_databases()));
                let disks = DiskSpace::of(&directory).into_iter().collect();
                slow.disks.store(Arc::new(disks));
                slow.note("storage", began.elapsed());
            })
        };
        let tables = with_tables.then(|| {
            let slow = Arc::clone(self);
            tokio::spawn(async move {
                let began = Instant::now();
                let numbers = read_tables(&*store).await;
                slow.tables.store(Arc::new(numbers));
                slow.note("tables", began.elapsed());
            })
        });
        let all = async {
            // A reading that panicked leaves the last numbers.
            let _ = databases.await;
            if let Some(tables) = tables {
                let _ = tables.await;
            }
        };
        // Past the budget the tasks go on by themselves.
        let _ = tokio::time::timeout(budget, all).await;
    }

    fn note(&self, collector: &'static str, time: Duration) {
        let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        match took.iter_mut().find(|(name, _)| *name == collector) {
            Some((_, last)) => *last = time,
            None => took.push((collector, time)),
        }
    }
}

async fn read_tables(catalog: &dyn Catalog) -> Vec<TableNumbers> {
    let mut numbers = Vec::new();
    for database in catalog.databases() {
        for table in catalog.tables(&database).unwrap_or_default() {
            let table = table.name().to_owned();
            // Dropped meanwhile: it has no numbers any more.
            if let Ok(statistics) = catalog.statistics(&database, &table, false).await {
                numbers.push(TableNumbers {
                    database: database.clone(),
                    table,
                    statistics,
                });
            }
        }
    }
    numbers
}
