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
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use http_chain::BoxFuture;
use resource::{
    Comparator, Comparison, Condition, Context, Conversion, Error, Key, Map, Operator, Query,
    Resource, Target, Value, Write, WriteKind,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use self::row::job_table;

pub(crate) use self::outcome::Outcome;
pub(crate) use self::progress::Progress;

use crate::redact::redacted;
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
    table: Arc<dyn Resource>,
    queue: mpsc::Sender<BoxFuture<'static, ()>>,
    limits: Arc<JobLimits>,
}

impl Jobs {
    /// Marks jobs that an earlier process left unfinished as failed and starts the thread. `table` is the
    /// one that [`job_table`] defines.
    ///
    /// # Errors
    ///
    /// What the table answers, and 500 if there is no thread to be had.
    pub async fn open(table: Arc<dyn Resource>, limits: JobLimits) -> Result<Self, Error> {
        let (queue, waiting) = mpsc::channel(limits.waiting.max(1));
        let jobs = Self {
            table,
            queue,
            limits: Arc::new(limits),
        };
        jobs.fail_interrupted().await?;
        start_thread(waiting, jobs.limits.running.max(1)).map_err(|error| {
            Error::internal(format!("cannot start the thread of jobs: {error}"))
        })?;
        Ok(jobs)
    }

    /// Starts `work` and answers with the id of its job.
    pub(crate) async fn start<F, Working>(
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

    /// [`start`](Self::start), answering the id alone.
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
        self.create(row::created(&id, kind, &user, request)).await?;
        let jobs = self.clone();
        let job = id.clone();
        place.send(Box::pin(async move { jobs.run(job, work).await }));
        Ok(id)
    }

    async fn run<F, Working>(self, id: String, work: F)
    where
        F: FnOnce(Progress) -> Working + Send + 'static,
        Working: Future<Output = Result<Outcome, Failure>> + Send + 'static,
    {
        self.report(&id, row::started()).await;
        let progress = Progress::new(self.clone(), &id);
        let reached = progress.clone();
        // What the job worked with is dropped, so nothing that is half done is seen by anybody.
        let working = AssertUnwindSafe(async move { work(progress).await }).catch_unwind();
        let result = working.await.unwrap_or_else(|_| {
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
        let end = row::ended(&id, result);
        self.report(&id, reached.with_last(end)).await;
    }

    async fn create(&self, row: Map) -> Result<(), Error> {
        let key = row.get("id").and_then(Value::as_str).map(Key::from);
        let write = Write::new(key, WriteKind::InsertIfAbsent, Some(Value::Map(row)));
        self.table
            .write(vec![write], &Context::internal())
            .await
            .map(drop)
    }

    async fn update(&self, id: &str, changes: Map) -> Result<(), Error> {
        let key = Some(Key::from(id));
        let write = Write::new(key, WriteKind::UpdateIfPresent, Some(Value::Map(changes)));
        let context = Context::internal();
        self.table.write(vec![write], &context).await.map(drop)
    }

    /// [`update`](Self::update) where nobody waits for the answer.
    async fn report(&self, id: &str, changes: Map) {
        if let Err(error) = self.update(id, changes).await {
            tracing::error!(target: "operations", job = id, %error, "the row of a job could not be changed");
        }
    }

    /// The job of that id, as clients see it.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Map>, Error> {
        let target = Target::record(Key::from(id));
        let context = Context::internal();
        let record = self.table.get(&target, &context).await?;
        Ok(record.and_then(|record| row::shown(&record.body.to_value())))
    }

    /// The jobs that were started between two times, both included, oldest first.
    pub(crate) async fn started_between(&self, from: i64, to: i64) -> Result<Vec<Map>, Error> {
        let bounds = Value::Array(vec![Value::Int(from), Value::Int(to)]);
        let condition = compare(row::START, Comparator::Between, bounds);
        let mut found = self.search(condition).await?;
        found.sort_by_key(|row| row.get(row::START).and_then(Value::as_i64));
        Ok(found
            .iter()
            .filter_map(|row| row::shown(&Value::Map(row.clone())))
            .collect())
    }

    async fn fail_interrupted(&self) -> Result<(), Error> {
        let status = |word: &str| compare(row::STATUS, Comparator::Equals, Value::from(word));
        let unfinished = vec![status(row::CREATED), status(row::IN_PROGRESS)];
        let found = self
            .search(Condition::Group(Operator::Or, unfinished))
            .await?;
        for job in found {
            if let Some(id) = job.get("id").and_then(Value::as_str) {
                tracing::warn!(target: "operations", job = id, "a job was interrupted by a restart");
                self.update(id, row::interrupted()).await?;
            }
        }
        Ok(())
    }

    async fn search(&self, condition: Condition) -> Result<Vec<Map>, Error> {
        let target = Target::query(Query {
            condition: Some(condition),
            ..Query::default()
        });
        let context = Context::internal();
        let mut records = self.table.search(&target, &context).await?;
        let mut found = Vec::new();
        while let Some(batch) = records.next().await {
            let rows = batch?.into_iter().map(|record| record.body.to_value());
            found.extend(rows.filter_map(|row| row.as_map().cloned()));
        }
        Ok(found)
    }
}

fn compare(attribute: &str, comparator: Comparator, value: Value) -> Condition {
    Condition::Compare(Comparison {
        attribute: vec![attribute.to_owned()],
        comparator,
        value,
        conversion: Conversion::Typed,
    })
}

/// The thread ends when no more jobs can come; those that run then end with it.
fn start_thread(
    mut waiting: mpsc::Receiver<BoxFuture<'static, ()>>,
    running: usize,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let work = async move {
        let mut jobs = JoinSet::new();
        loop {
            while jobs.len() >= running {
                jobs.join_next().await;
            }
            let Some(job) = waiting.recv().await else {
                return;
            };
            jobs.spawn(job);
            while jobs.try_join_next().is_some() {}
        }
    };
    let thread = std::thread::Builder::new().name("jobs".to_owned());
    thread.spawn(move || runtime.block_on(work)).map(drop)
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
