//! A few threads that hash passwords, so that no worker has to.

use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use resource::Error;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Threads and the bounded queue in front of them. The threads end when the pool is dropped.
pub(crate) struct HashPool {
    jobs: SyncSender<Job>,
}

impl HashPool {
    /// Starts the threads.
    pub(crate) fn start(threads: NonZeroUsize, queue: usize) -> io::Result<Self> {
        let (jobs, queued) = sync_channel(queue);
        let queued = Arc::new(Mutex::new(queued));
        for index in 0..threads.get() {
            let queued = Arc::clone(&queued);
            std::thread::Builder::new()
                .name(format!("hash-{index}"))
                .spawn(move || work(&queued))?;
        }
        Ok(Self { jobs })
    }

    /// Runs `job` on one of the threads. A job whose future was dropped before its turn is skipped.
    ///
    /// # Errors
    ///
    /// 503 if too many are waiting, 500 if the job panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            if !answer.is_closed() {
                // The asker may leave at any moment; then nobody wants the result.
                let _ = answer.send(job());
            }
        });
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => {
                Error::unavailable("Too many logins are being checked, please try again later")
            }
            TrySendError::Disconnected(_) => Error::internal("the hashing threads have ended"),
        })?;
        answered
            .await
            .map_err(|_| Error::internal("a password check panicked"))
    }
}

fn work(queued: &Mutex<Receiver<Job>>) {
    loop {
        // One idle thread waits inside the channel and the others for the lock; both end by a job.
        let job = queued.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // Unwind safety: the job is consumed, and its asker learns from the closed channel.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn one_thread(queue: usize) -> HashPool {
        HashPool::start(NonZeroUsize::MIN, queue).unwrap()
    }

    #[tokio::test]
    async fn a_full_queue_is_503() {
        let pool = one_thread(1);
        let (release, released) = mpsc::channel::<()>();
        let (started, has_started) = oneshot::channel();
        let mut running = Box::pin(pool.run(move || {
            started.send(()).unwrap();
            released.recv().unwrap();
        }));
        assert!(futures_util::poll!(&mut running).is_pending());
        has_started.await.unwrap();
        let mut waiting = Box::pin(pool.run(|| 1));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(pool.run(|| 2).await.unwrap_err().status(), 503);
        release.send(()).unwrap();
        assert_eq!(waiting.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_panic_costs_only_its_own_job() {
        let pool = one_thread(4);
        let panicked: Result<(), Error> = pool.run(|| panic!("on purpose")).await;
        assert_eq!(panicked.unwrap_err().status(), 500);
        assert_eq!(pool.run(|| 3).await.unwrap(), 3);
    }
}
