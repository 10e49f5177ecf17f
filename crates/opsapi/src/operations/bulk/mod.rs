//! Operations on many records, as jobs (`operations-api.md` §8).

mod delete_before;
mod export;
mod fetch;
mod load;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use resource::{Catalog, Context, Error, ErrorKind, Resource, Write, Written};

use crate::config::BulkLimits;
use crate::jobs::Jobs;
use crate::{Failure, Operation};

/// What bulk operations work with.
#[derive(Clone)]
struct Bulk {
    catalog: Arc<dyn Catalog>,
    jobs: Jobs,
    limits: Arc<BulkLimits>,
}

pub(super) fn operations(
    catalog: &Arc<dyn Catalog>,
    jobs: &Jobs,
    limits: &BulkLimits,
) -> Vec<Operation> {
    let bulk = Bulk {
        catalog: Arc::clone(catalog),
        jobs: jobs.clone(),
        limits: Arc::new(limits.clone()),
    };
    let mut operations = load::operations(&bulk);
    operations.extend(export::operations(&bulk));
    operations.extend(delete_before::operations(&bulk));
    operations
}

/// How often a batch that met an overloaded database is sent again, and how long the first pause is. A job
/// has time, and those who wait for an answer go first.
const RETRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Writes a batch as one transaction.
async fn write_batch(
    table: &dyn Resource,
    writes: Vec<Write>,
    context: &Context,
) -> Result<Vec<Written>, Error> {
    for attempt in 0..RETRIES {
        match table.write(writes.clone(), context).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(attempt)).await;
            }
            result => return result,
        }
    }
    table.write(writes, context).await
}

/// Work with files and long loops, off the thread that all jobs share.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Error::internal("a part of a job panicked"))?
}
