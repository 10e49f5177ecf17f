//! The one thread that writes to a database: takes what waits, commits it together, tells everybody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use resource::{Error, Written};
use tokio::sync::oneshot;

use crate::apply::apply;
use crate::batch::{Batch, Failure, WriterMemory};
use crate::database::Database;
use crate::environment::Engine;
use crate::error::EngineError;
use crate::maintenance::Maintenance;
use crate::prepare::{Author, PreparedWrite};
use crate::stage::stage;
use crate::structure::{self, Alteration};
use crate::table::Table;

/// Several writes that happen together or not at all.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) writes: Vec<PreparedWrite>,
    pub(crate) author: Author,
    pub(crate) reply: oneshot::Sender<Result<Vec<Written>, Error>>,
}

/// Work for the writer.
#[derive(Debug)]
pub(crate) enum Command {
    /// Change records.
    Transaction(Transaction),
    /// Change tables.
    Alter(Alteration, oneshot::Sender<Result<Vec<Arc<Table>>, Error>>),
    /// Answer when no index is being built and nothing dropped is left to be removed.
    Settle(oneshot::Sender<()>),
    /// Fail, as a mistake in this crate might.
    #[cfg(test)]
    Panic,
}

/// Starts the writer thread of a database. It ends when the queue is closed and empty.
pub(crate) fn start(
    database: Arc<Database>,
    engine: Arc<Engine>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("store-write-{}", database.name))
        .spawn(move || {
            let maintenance = Maintenance::new(&database.common.config);
            let mut writer = Writer {
                database: &database,
                engine: &engine,
                memory: WriterMemory::default(),
                maintenance,
                waiting: Vec::new(),
            };
            writer.run();
        })
}

struct Writer<'w> {
    database: &'w Arc<Database>,
    engine: &'w Engine,
    memory: WriterMemory,
    maintenance: Maintenance,
    /// Who waits for the background work to end.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Writer<'_> {
    fn run(&mut self) {
        use crate::queue::Taken;
        let max_writes = self.database.common.config.max_commit_writes;
        loop {
            let deadline = self.maintenance.deadline();
            match self.database.queue.take(max_writes, Some(deadline)) {
                Taken::Items(commands) => self.guarded(|writer| writer.handle(commands)),
                Taken::Nothing => {}
                Taken::Closed => return,
            }
            if Instant::now() >= self.maintenance.deadline() {
                self.guarded(Self::maintain);
            }
        }
    }

    /// A panic is logged and costs the requests at hand, whose answers are dropped and so read as failures.
    /// Nothing half-done stays: the engine's transaction ends with the stack, and the memory only holds names.
    fn guarded(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            tracing::error!(database = %self.database.name, "the writer of a database panicked and goes on");
        }
    }

    fn handle(&mut self, commands: Vec<Command>) {
        let mut transactions = Vec::new();
        for command in commands {
            match command {
                Command::Transaction(transaction) => transactions.push(transaction),
                Command::Alter(alteration, reply) => {
                    self.commit(std::mem::take(&mut transactions));
                    let altered =
                        structure::alter(self.database, self.engine, &mut self.memory, alteration);
                    self.maintenance.look_now();
                    drop(reply.send(altered));
                }
                #[cfg(test)]
                Command::Panic => panic!("asked to"),
                Command::Settle(reply) => {
                    self.waiting.push(reply);
                    self.maintenance.look_now();
                }
            }
        }
        self.commit(transactions);
    }

    /// Commits transactions together. When there is no room for all of them, or one meets a damaged record, each
    /// is tried alone, so that none is refused because of another.
    fn commit(&mut self, mut transactions: Vec<Transaction>) {
        if transactions.is_empty() {
            return;
        }
        let started = Instant::now();
        let writes: usize = transactions
            .iter()
            .map(|transaction| transaction.writes.len())
            .sum();
        match self.try_commit(&mut transactions) {
            Ok(results) => self.reply(transactions, results),
            Err(error) if error.may_concern_one() && transactions.len() > 1 => {
                self.database.measures.retried(transactions.len());
                for mut transaction in transactions {
                    let alone = self.try_commit(std::slice::from_mut(&mut transaction));
                    let result = alone.unwrap_or_else(|error| vec![Err(error.into())]);
                    self.reply(vec![transaction], result);
                }
            }
            Err(error) => {
                tracing::error!(database = %self.database.name, %error, "a commit failed");
                let error = Error::from(error);
                let results = transactions.iter().map(|_| Err(error.clone())).collect();
                self.reply(transactions, results);
            }
        }
        self.database.queue.measured(writes, started.elapsed());
    }

    /// One durable commit, counted; a result for each transaction.
    fn try_commit(
        &mut self,
        transactions: &mut [Transaction],
    ) -> Result<Vec<Result<Vec<Written>, Error>>, EngineError> {
        let started = Instant::now();
        self.database.measures.commit_begins();
        let results = self.commit_once(transactions);
        // Before anybody is answered, so that who has the answer finds it counted.
        self.database.measures.commit_ended(started.elapsed());
        results
    }

    fn commit_once(
        &mut self,
        transactions: &mut [Transaction],
    ) -> Result<Vec<Result<Vec<Written>, Error>>, EngineError> {
        let mut batch = Batch::begin(self.database, self.engine, &mut self.memory)?;
        let mut results = Vec::with_capacity(transactions.len());
        for transaction in transactions {
            results.push(match run(&mut batch, transaction) {
                Ok(written) => Ok(written),
                Err(Failure::Refused(error)) => Err(error),
                Err(Failure::Engine(error)) => return Err(error),
            });
        }
        let schema_changed = batch.commit()?;
        if schema_changed {
            self.maintenance.look_now();
        }
        Ok(results)
    }

    /// Counts and answers.
    fn reply(&self, transactions: Vec<Transaction>, results: Vec<Result<Vec<Written>, Error>>) {
        for (transaction, result) in transactions.into_iter().zip(results) {
            let written = result.as_ref().ok().map(Vec::len);
            self.database.measures.transaction_ended(written);
            // Nobody may be waiting any more; what was committed stays committed.
            drop(transaction.reply.send(result));
        }
    }

    fn maintain(&mut self) {
        let more = self
            .maintenance
            .step(self.database, self.engine, &mut self.memory);
        match more {
            Ok(true) => {}
            Ok(false) => self.waiting.drain(..).for_each(|waiting| {
                // Nobody may be waiting any more.
                let _ = waiting.send(());
            }),
            Err(error) => {
                tracing::error!(database = %self.database.name, %error, "background work failed, trying again later");
            }
        }
    }
}

fn run(batch: &mut Batch<'_>, transaction: &mut Transaction) -> Result<Vec<Written>, Failure> {
    let mut staged = stage(batch, &mut transaction.writes)?;
    let written = std::mem::take(&mut staged.written);
    match apply(batch, staged, &transaction.author) {
        Ok(()) => Ok(written),
        // Part of it may be applied already, so the commit cannot go on without it.
        Err(Failure::Refused(error)) => Err(Failure::Engine(EngineError::Refused(error))),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use resource::{Catalog as _, Context, Hub, Key, Map, Value, Write, WriteKind};

    use super::*;
    use crate::{Store, StoreConfig};

    #[tokio::test]
    async fn a_panic_fails_the_requests_at_hand_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::new(directory.path()), Hub::new(1)).unwrap();
        let schema =
            crate::schema::parse("type T @table { id: Int @primaryKey }", "t.graphql").unwrap();
        let table = store.ensure(schema.tables).await.unwrap().remove(0);
        let context = Context::internal();
        let put = |n| {
            Write::new(
                Some(Key::Int(n)),
                WriteKind::Put,
                Some(Value::Map(Map::new())),
            )
        };
        let database = store.database("data").unwrap();
        for n in 0..20 {
            let before = table.write(vec![put(n)], &context);
            database.queue.push(Command::Panic, 1).unwrap();
            let after = table.write(vec![put(n)], &context);
            // Whichever were taken together with the panic fail; none waits for ever.
            for error in [before.await, after.await]
                .into_iter()
                .filter_map(Result::err)
            {
                assert_eq!(error.status(), 500);
            }
        }
        table.write(vec![put(100)], &context).await.unwrap();
        assert!(store.table("data", "T").is_ok());
        let found = store.verify("data").await.unwrap();
        assert_eq!(found.problems, Vec::<String>::new());
    }
}
