//! One destination: a bounded queue of bytes and the thread that empties it.

use std::io::{self, Stderr, Stdout, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::{FLUSH_TIMEOUT, LogLevel, LogLimits};

/// What the thread writes to.
pub(crate) trait Destination: Send + 'static {
    /// Writes all of `lines`.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;

    /// Opens the destination again, where that means something.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Destination for Stdout {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.write_all(lines)?;
        self.flush()
    }
}

impl Destination for Stderr {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.write_all(lines)
    }
}

/// The line that says how many lines are missing, and why.
pub(crate) type DroppedLine = Box<dyn Fn(u64, &str) -> String + Send>;

/// A destination with its queue. Dropping it writes what waits and ends the thread.
pub(crate) struct Sink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    limits: LogLimits,
    state: Mutex<State>,
    /// There is something to do for the thread.
    work: Condvar,
    /// The thread has taken or written something.
    progress: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    waiting_lines: u64,
    /// Bytes ever put into `waiting`, and bytes the thread is done with.
    queued: u64,
    done: u64,
    /// Lines dropped since the destination was last told, and ever.
    dropped: u64,
    lost: u64,
    /// Somebody waited for room in vain, and nothing has moved since.
    is_stalled: bool,
    reopen: Option<SyncSender<io::Result<()>>>,
    is_closed: bool,
}

/// What the thread takes out at once.
struct Work {
    lines: u64,
    bytes: u64,
    dropped: u64,
    reopen: Option<SyncSender<io::Result<()>>>,
}

impl Sink {
    /// Starts the thread called `name`.
    pub(crate) fn start(
        name: &str,
        destination: impl Destination,
        limits: LogLimits,
        dropped_line: DroppedLine,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            limits,
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
        });
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(destination, &dropped_line)
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    pub(crate) fn writer(&self) -> QueueWriter {
        QueueWriter(Arc::clone(&self.shared))
    }

    /// Waits until what was queued before is written; `false` if that takes longer than `timeout`.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let state = self.shared.state();
        let until = state.queued;
        let waited = self
            .shared
            .progress
            .wait_timeout_while(state, timeout, |state| state.done < until);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        !waited.timed_out()
    }

    /// Writes what waits to the destination as it is, and opens it again. `None` if that takes longer than
    /// `timeout`.
    pub(crate) fn reopen(&self, timeout: Duration) -> Option<io::Result<()>> {
        let (answer, answered) = sync_channel(1);
        self.shared.state().reopen = Some(answer);
        self.shared.work.notify_one();
        answered.recv_timeout(timeout).ok()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.shared.state().lost
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.work.notify_one();
        // A destination that hangs must not keep the process: then the thread is left to its fate.
        let is_written = self.flush(FLUSH_TIMEOUT);
        if let Some(thread) = self.thread.take()
            && is_written
        {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues one line, if need be after waiting for room for a bounded time.
    fn push(&self, line: &[u8]) {
        let limits = self.limits;
        // One line always fits, so that a limit below its length does not silence it.
        let is_full = |state: &State| {
            !state.waiting.is_empty() && state.waiting.len() + line.len() > limits.queue_bytes
        };
        let mut state = self.state();
        if is_full(&state) && !state.is_stalled {
            let waited = self
                .progress
                .wait_timeout_while(state, limits.max_wait, |state| is_full(state));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.is_stalled = is_full(&state);
        }
        if is_full(&state) || state.is_closed {
            state.dropped += 1;
            state.lost += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        state.waiting_lines += 1;
        state.queued += line.len() as u64;
        drop(state);
        self.work.notify_one();
    }

    fn run(&self, mut destination: impl Destination, dropped_line: &DroppedLine) {
        let mut lines = Vec::new();
        let mut failed = Failures::default();
        while let Some(work) = self.take(&mut lines) {
            if failed.lines + work.dropped > 0 {
                let reason = failed.reason.as_deref().unwrap_or("the queue was full");
                let text = dropped_line(failed.lines + work.dropped, reason);
                lines.extend_from_slice(text.as_bytes());
            }
            match destination.write(&lines) {
                Ok(()) => failed = Failures::default(),
                Err(error) => {
                    failed.lines += work.lines + work.dropped;
                    failed.reason = Some(error.to_string());
                    self.state().lost += work.lines;
                }
            }
            lines.clear();
            // One burst must not keep its memory for ever.
            lines.shrink_to(64 * 1024);
            if let Some(answer) = work.reopen {
                // Nobody listens any more when the caller ran out of time.
                let _ = answer.send(destination.reopen());
            }
            self.state().done += work.bytes;
            self.progress.notify_all();
        }
    }

    /// Waits for something to do and moves the waiting lines into `lines`, which is empty. `None`: the end.
    fn take(&self, lines: &mut Vec<u8>) -> Option<Work> {
        let is_idle = |state: &mut State| {
            state.waiting.is_empty() && state.reopen.is_none() && !state.is_closed
        };
        let state = self.work.wait_while(self.state(), is_idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.waiting.is_empty() && state.reopen.is_none() {
            return None;
        }
        std::mem::swap(&mut state.waiting, lines);
        state.is_stalled = false;
        let work = Work {
            lines: std::mem::take(&mut state.waiting_lines),
            bytes: lines.len() as u64,
            dropped: std::mem::take(&mut state.dropped),
            reopen: state.reopen.take(),
        };
        drop(state);
        self.progress.notify_all();
        Some(work)
    }
}

/// Lines that could not be written since the last success.
#[derive(Default)]
struct Failures {
    lines: u64,
    reason: Option<String>,
}

/// Puts lines into the queue; each write is one line.
#[derive(Clone)]
pub(crate) struct QueueWriter(Arc<Shared>);

impl Write for QueueWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for QueueWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Standard output and standard error.
pub(crate) struct StdStreams {
    pub(crate) output: Sink,
    pub(crate) error: Sink,
    pub(crate) has_colors: bool,
}

impl StdStreams {
    pub(crate) fn writer(&self) -> StreamWriter {
        StreamWriter {
            output: self.output.writer(),
            error: self.error.writer(),
        }
    }

    pub(crate) fn into_sinks(self) -> (Sink, Sink) {
        (self.output, self.error)
    }
}

/// Picks the stream by level.
pub(crate) struct StreamWriter {
    output: QueueWriter,
    error: QueueWriter,
}

impl<'a> MakeWriter<'a> for StreamWriter {
    type Writer = QueueWriter;

    fn make_writer(&'a self) -> QueueWriter {
        self.output.clone()
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> QueueWriter {
        match LogLevel::of(metadata) {
            LogLevel::Error | LogLevel::Fatal => self.error.clone(),
            _ => self.output.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A destination that waits for permission before each write, and reports what it wrote.
    struct Gated {
        permits: Receiver<io::Result<()>>,
        written: Sender<String>,
    }

    impl Destination for Gated {
        fn write(&mut self, lines: &[u8]) -> io::Result<()> {
            self.permits.recv().unwrap_or(Ok(()))?;
            let text = String::from_utf8(lines.to_vec()).unwrap();
            let _ = self.written.send(text);
            Ok(())
        }
    }

    struct Fixture {
        sink: Sink,
        permits: Sender<io::Result<()>>,
        written: Receiver<String>,
    }

    fn fixture(queue_bytes: usize) -> Fixture {
        let (permits, permitted) = channel();
        let (writes, written) = channel();
        let gated = Gated {
            permits: permitted,
            written: writes,
        };
        let limits = LogLimits {
            queue_bytes,
            max_wait: Duration::from_millis(1),
        };
        let dropped = Box::new(|lines, reason: &str| format!("lost {lines}: {reason}\n"));
        let sink = Sink::start("test", gated, limits, dropped).unwrap();
        Fixture {
            sink,
            permits,
            written,
        }
    }

    /// Queues one line and waits until the thread has taken it and hangs in its write.
    fn occupy(fixture: &Fixture) {
        fixture.sink.writer().write_all(b"first\n").unwrap();
        let shared = &fixture.sink.shared;
        let taken = shared
            .progress
            .wait_while(shared.state(), |state| !state.waiting.is_empty());
        drop(taken.unwrap());
    }

    #[test]
    fn a_full_queue_drops_and_says_so_later() {
        let fixture = fixture(8);
        occupy(&fixture);
        for line in [b"aaaa\n", b"bbbb\n", b"cccc\n"] {
            fixture.sink.writer().write_all(line).unwrap();
        }
        assert_eq!(fixture.sink.lost(), 2);
        fixture.permits.send(Ok(())).unwrap();
        fixture.permits.send(Ok(())).unwrap();
        assert_eq!(fixture.written.recv().unwrap(), "first\n");
        assert_eq!(
            fixture.written.recv().unwrap(),
            "aaaa\nlost 2: the queue was full\n"
        );
        assert!(fixture.sink.flush(FLUSH_TIMEOUT));
    }

    #[test]
    fn only_the_first_line_waits_for_a_destination_that_hangs() {
        let fixture = fixture(1);
        occupy(&fixture);
        let mut writer = fixture.sink.writer();
        writer.write_all(b"a\n").unwrap();
        writer.write_all(b"b\n").unwrap();
        assert!(fixture.sink.shared.state().is_stalled);
        let before = std::time::Instant::now();
        for _ in 0..10_000 {
            writer.write_all(b"c\n").unwrap();
        }
        // Waiting 1 ms for each would take ten seconds.
        assert!(before.elapsed() < Duration::from_secs(5));
        assert_eq!(fixture.sink.lost(), 10_001);
        drop(fixture.permits);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_reported_after_recovery() {
        let fixture = fixture(1024);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let reason = full.to_string();
        fixture.permits.send(Err(full)).unwrap();
        fixture.sink.writer().write_all(b"gone\n").unwrap();
        assert!(fixture.sink.flush(FLUSH_TIMEOUT));
        assert_eq!(fixture.sink.lost(), 1);
        fixture.permits.send(Ok(())).unwrap();
        fixture.sink.writer().write_all(b"there\n").unwrap();
        assert_eq!(
            fixture.written.recv().unwrap(),
            format!("there\nlost 1: {reason}\n")
        );
    }

    #[test]
    fn dropping_the_sink_loses_nothing() {
        let Fixture {
            sink,
            permits,
            written,
        } = fixture(usize::MAX);
        drop(permits);
        for number in 0..1000 {
            sink.writer()
                .write_all(format!("{number}\n").as_bytes())
                .unwrap();
        }
        drop(sink);
        let all: String = written.iter().collect();
        assert_eq!(all.lines().count(), 1000);
        assert!(all.ends_with("\n999\n"));
    }
}
