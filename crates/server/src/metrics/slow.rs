//! Numbers that touch files: read off the workers, within the time a scrape has, and kept for one that has none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use resource::{Catalog, TableStatistics};
use store::{DatabaseStatistics, Store};

/// The last known numbers.
#[derive(Debug, Default)]
pub(super) struct Slow {
    pub(super) databases: ArcSwap<Vec<DatabaseStatistics>>,
    pub(super) disks: ArcSwap<Vec<DiskSpace>>,
    tables: Mutex<BTreeMap<TableName, TableStatistics>>,
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TableName {
    pub(super) database: String,
    pub(super) table: String,
}

impl Slow {
    /// Reads everything again. What is not ready within `budget` stays as it was.
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
        let all = async {
            // A reading that panicked leaves the last numbers.
            let _ = databases.await;
            if with_tables {
                let began = Instant::now();
                self.read_tables(&*store).await;
                self.note("tables", began.elapsed());
            }
        };
        // Past the budget a reading of databases goes on by itself; tables that were not reached keep their numbers.
        let _ = tokio::time::timeout(budget, all).await;
    }

    async fn read_tables(&self, catalog: &dyn Catalog) {
        let mut seen = BTreeSet::new();
        for database in catalog.databases() {
            for table in catalog.tables(&database).unwrap_or_default() {
                let name = TableName {
                    database: database.clone(),
                    table: table.name().to_owned(),
                };
                let statistics = catalog.statistics(&database, &name.table, false).await;
                // Dropped meanwhile: it has no numbers any more.
                if let Ok(statistics) = statistics {
                    self.tables().insert(name.clone(), statistics);
                    seen.insert(name);
                }
            }
        }
        self.tables().retain(|name, _| seen.contains(name));
    }

    /// What is known of tables.
    pub(super) fn tables(&self) -> MutexGuard<'_, BTreeMap<TableName, TableStatistics>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, collector: &'static str, time: Duration) {
        let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        match took.iter_mut().find(|(name, _)| *name == collector) {
            Some((_, last)) => *last = time,
            None => took.push((collector, time)),
        }
    }
}
