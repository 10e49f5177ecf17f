//! Jobs: work that goes on after its request was answered (`operations-api.md` §8).
//!
//! ```text
//! request ─▶ row CREATED ─▶ bounded queue ─▶ thread of the jobs: IN_PROGRESS ─▶ COMPLETE or ERROR
//! ```
//!
//! The row in `system.hdb_job` is there before the request is answered and is the only memory of a job: a
//! server that finds a row without an end when it starts marks it as failed, so no job is ever forgotten.
//! Jobs run on a thread of their own, a few at a time, with the rights of whoever started them; they reach
//! data through the same tables as requests do, batch by batch, so that others get their turn.

mod outcome;
mod progress;
mod row;

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use http_chain::BoxFuture;
use resource::{
    Catalog, Comparator, Comparison, Condition, Context, Conversion, Error, Key, Map, Operator,
    Query, Resource, Target, Value, Write, WriteKind,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

pub(crate) use self::outcome::Outcome;
pub(crate) use self::progress::Progress;

use crate::redact::redacted;
use crate::system_table::SystemTable;
use crate::{Call, Failure, Reply};

/// Bounds of the jobs of a server.
#[derive(Debug, Clone)]
pub struct JobLimits {
    /// Jobs that run at the same time. Default 2.
    pub running: usize,
    /// Jobs that wait for their turn; one more is refused with 503. Default 100.
    pub waiting: usize,
    /// Time between two reports of progress in the row of a job. Default 1 s.
    pub report_interval: Duration,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            running: 2,
            waiting: 100,
            report_interval: Duration::from_secs(1),
        }
    }
}

/// Starts jobs and knows how they are doing. Cloning shares them.
///
/// When the last clone is dropped, jobs end where they are; the next start of the server reports them.
#[derive(Clone)]
pub struct Jobs {
    rows: Rows,
    queue: mpsc::Sender<BoxFuture<'static, ()>>,
    _thread: Arc<JobThread>,
}

/// The rows of all jobs.
#[derive(Clone)]
struct Rows {
    table: Arc<SystemTable>,
    report_interval: Duration,
}

impl Jobs {
    /// Starts the thread of the jobs, which first marks those that an earlier process left unfinished as
    /// failed. The table `system.hdb_job` is made if there is none.
    ///
    /// # Errors
    ///
    /// If there is no thread to be had.
    pub fn start(catalog: &Arc<dyn Catalog>, limits: JobLimits) -> io::Result<Self> {
        let (queue, waiting) = mpsc::channel(limits.waiting.max(1));
        let rows = Rows {
            table: Arc::new(SystemTable::new(catalog, row::table())),
            report_interval: limits.report_interval,
        };
        let thread = JobThread::start(rows.clone(), waiting, limits.running.max(1))?;
        Ok(Self {
            rows,
            queue,
            _thread: Arc::new(thread),
        })
    }

    /// Starts `work` and answers with the id of its job.
    pub(crate) async fn run<F, Working>(
        &self,
        kind: &'static str,
        call: &Call,
        work: F,
    ) -> Result<Reply, Failure>
    where
        F: FnOnce(Progress) -> Working + Send + 'static,
        Working: Future<Output = Result<Outcome, Failure>> + Send + 'static,
    {
        let id = self.enqueue(kind, call, work).await?;
        Ok(Reply::value(Map::from_iter([
            ("message", Value::from(format!("Starting job with id {id}"))),
            ("job_id", Value::from(id)),
        ])))
    }

    /// [`run`](Self::run), answering the id alone.
    pub(crate) async fn enqueue<F, Working>(
        &self,
        kind: &'static str,
        call: &Call,
        work: F,
    ) -> Result<String, Failure>
    where
        F: FnOnce(Progress) -> Working + Send + 'static,
        Working: Future<Output = Result<Outcome, Failure>> + Send + 'static,
    {
        // Before the row is made, so that a job that is refused leaves no trace.
        let place = self.queue.clone().try_reserve_owned();
        let place = place
            .map_err(|_| Failure::new(503, "Too many jobs are waiting, please try again later"))?;
        let id = uuid::Uuid::new_v4().to_string();
        let user = call.context.caller.username();
        let user = user.map(|name| name.to_string()).unwrap_or_default();
        let request = redacted(&call.parameters);
        let rows = self.rows.clone();
        rows.create(row::created(&id, kind, &user, request)).await?;
        let job = id.clone();
        place.send(Box::pin(async move { rows.perform(job, work).await }));
        Ok(id)
    }

    /// The job of that id, as clients see it.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Map>, Error> {
        let target = Target::record(Key::from(id));
        let (table, context) = (self.rows.table.open().await?, Context::internal());
        let record = table.get(&target, &context).await?;
        Ok(record.and_then(|record| row::shown(&record.body.to_value())))
    }

    /// The jobs that were started between two times, both included, oldest first.
    pub(crate) async fn started_between(&self, from: i64, to: i64) -> Result<Vec<Map>, Error> {
        let bounds = Value::Array(vec![Value::Int(from), Value::Int(to)]);
        let condition = compare(row::START, Comparator::Between, bounds);
        let mut found = search(&*self.rows.table.open().await?, condition).await?;
        found.sort_by_key(|row| row.get(row::START).and_then(Value::as_i64));
        let shown = |row: Map| row::shown(&Value::Map(row));
        Ok(found.into_iter().filter_map(shown).collect())
    }
}

impl Rows {
    async fn perform<F, Working>(self, id: String, work: F)
    where
        F: FnOnce(Progress) -> Working + Send + 'static,
        Working: Future<Output = Result<Outcome, Failure>> + Send + 'static,
    {
        self.report(&id, row::started()).await;
        let progress = Progress::new(self.clone(), &id);
        let reached = progress.clone();
        // What the job worked with is dropped, so nothing that is half done is seen by anybody.
        let working = AssertUnwindSafe(async move { work(progress).await }).catch_unwind();
        let mut result = working.await.unwrap_or_else(|_| {
            tracing::error!(target: "operations", job = id, "a job panicked");
            Err(Failure::new(
                500,
                "The job failed unexpectedly, see the log",
            ))
        });
        if let Err(failure) = &result {
            let body = Value::Map(failure.body().clone());
            tracing::warn!(target: "operations", job = id, error = ?body, "a job failed");
        }
        let then = result.as_mut().ok().and_then(Outcome::take_then);
        let end = row::ended(&id, result);
        self.report(&id, reached.with_last(end)).await;
        if let Some(then) = then {
            then();
        }
    }

    async fn create(&self, row: Map) -> Result<(), Error> {
        let key = row.get("id").and_then(Value::as_str).map(Key::from);
        let write = Write::new(key, WriteKind::InsertIfAbsent, Some(Value::Map(row)));
        let table = self.table.open().await?;
        table
            .write(vec![write], &Context::internal())
            .await
            .map(drop)
    }

    /// Changes the row of a job where nobody waits for the answer.
    async fn report(&self, id: &str, changes: Map) {
        let updated = async { update(&*self.table.open().await?, id, changes).await };
        if let Err(error) = updated.await {
            tracing::error!(target: "operations", job = id, %error, "the row of a job could not be changed");
        }
    }
}

/// Marks what an earlier process did not finish. Jobs of this process were made later.
async fn fail_interrupted(table: &SystemTable, started: i64) -> Result<(), Error> {
    let status = |word: &str| compare(row::STATUS, Comparator::Equals, Value::from(word));
    let unfinished = vec![status(row::CREATED), status(row::IN_PROGRESS)];
    let table = table.open().await?;
    let found = search(&*table, Condition::Group(Operator::Or, unfinished)).await?;
    for job in found {
        let time = job.get(row::CREATED_AT).and_then(Value::as_i64);
        if let Some(id) = job.get("id").and_then(Value::as_str)
            && time.is_none_or(|time| time < started)
        {
            tracing::warn!(target: "operations", job = id, "a job was interrupted by a restart");
            update(&*table, id, row::interrupted()).await?;
        }
    }
    Ok(())
}

async fn update(table: &dyn Resource, id: &str, changes: Map) -> Result<(), Error> {
    let key = Some(Key::from(id));
    let write = Write::new(key, WriteKind::UpdateIfPresent, Some(Value::Map(changes)));
    let context = Context::internal();
    table.write(vec![write], &context).await.map(drop)
}

async fn search(table: &dyn Resource, condition: Condition) -> Result<Vec<Map>, Error> {
    let target = Target::query(Query {
        condition: Some(condition),
        ..Query::default()
    });
    let context = Context::internal();
    let mut records = table.search(&target, &context).await?;
    let mut found = Vec::new();
    while let Some(batch) = records.next().await {
        let rows = batch?.into_iter().map(|record| record.body.to_value());
        found.extend(rows.filter_map(|row| row.as_map().cloned()));
    }
    Ok(found)
}

fn compare(attribute: &str, comparator: Comparator, value: Value) -> Condition {
    Condition::Compare(Comparison {
        attribute: vec![attribute.to_owned()],
        comparator,
        value,
        conversion: Conversion::Typed,
    })
}

/// The thread of all jobs. Dropping it ends them and waits until they have let go of their tables.
struct JobThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl JobThread {
    fn start(
        rows: Rows,
        waiting: mpsc::Receiver<BoxFuture<'static, ()>>,
        running: usize,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let work = async move {
            tokio::select! {
                () = work(rows, waiting, running) => {}
                _ = stopped => {}
            }
        };
        let thread = std::thread::Builder::new().name("jobs".to_owned());
        let thread = thread.spawn(move || {
            runtime.block_on(work);
            // What still blocks has no tables and nobody to tell.
            runtime.shutdown_background();
        })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for JobThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was logged where it happened.
            drop(thread.join());
        }
    }
}

async fn work(rows: Rows, mut waiting: mpsc::Receiver<BoxFuture<'static, ()>>, running: usize) {
    let started = row::now_millis();
    if let Err(error) = fail_interrupted(&rows.table, started).await {
        tracing::error!(target: "operations", %error, "interrupted jobs could not be marked");
    }
    let mut jobs = JoinSet::new();
    loop {
        while jobs.len() >= running {
            jobs.join_next().await;
        }
        tokio::select! {
            Some(_) = jobs.join_next() => {}
            job = waiting.recv() => match job {
                Some(job) => drop(jobs.spawn(job)),
                None => return,
            }
        }
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}
