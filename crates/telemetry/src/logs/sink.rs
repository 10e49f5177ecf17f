//! One destination: a bounded queue of bytes and the thread that empties it.

use std::collections::VecDeque;
use std::io::{self, Stderr, Stdout, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::config::FileSettings;
use super::format::own_line;
use super::{FLUSH_TIMEOUT, LogFormat, LogLimits};

/// What the thread writes to.
pub(crate) trait Destination: Send + 'static {
    /// Writes all of `lines`.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;

    /// The line that says how many lines are missing, and why.
    fn lost_line(&self, lines: u64, reason: &str) -> String;

    /// Does what its owner asks for; what means nothing to this destination is done at once.
    fn handle(&mut self, command: Command) -> io::Result<()>;

    /// When it wants [`handle_timeout`](Self::handle_timeout) to be called though there are no lines.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self) {}

    /// Files put aside since the start.
    fn rotations(&self) -> u64 {
        0
    }
}

/// What the owner of a destination can ask for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Open the path again.
    Reopen,
    /// Put the file aside now, unless it is empty.
    Rotate,
    /// Go on with other settings; the path is the same.
    Configure(FileSettings),
    /// Write what the destination itself has to say in this form.
    Format(LogFormat),
}

/// Standard output or standard error.
pub(crate) struct Stream<W> {
    writer: W,
    format: LogFormat,
}

impl Stream<Stdout> {
    pub(crate) fn output(format: LogFormat) -> Self {
        let writer = io::stdout();
        Self { writer, format }
    }
}

impl Stream<Stderr> {
    pub(crate) fn error(format: LogFormat) -> Self {
        let writer = io::stderr();
        Self { writer, format }
    }
}

impl<W: Write + Send + 'static> Destination for Stream<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.writer.write_all(lines)?;
        self.writer.flush()
    }

    fn lost_line(&self, lines: u64, reason: &str) -> String {
        let message = format!("{lines} log lines were lost: {reason}");
        own_line(self.format, false, &message, Some(lines))
    }

    fn handle(&mut self, command: Command) -> io::Result<()> {
        if let Command::Format(format) = command {
            self.format = format;
        }
        Ok(())
    }
}

/// A destination with its queue. Dropping it writes what waits and ends the thread.
pub(crate) struct Sink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// There is something to do for the thread.
    work: Condvar,
    /// The thread has taken or written something.
    progress: Condvar,
}

struct State {
    limits: LogLimits,
    waiting: Vec<u8>,
    waiting_lines: u64,
    /// Bytes ever put into `waiting`, and bytes the thread is done with.
    queued: u64,
    done: u64,
    /// Lines dropped since the destination was last told.
    dropped: u64,
    totals: Totals,
    /// Somebody waited for room in vain, and nothing has moved since.
    is_stalled: bool,
    /// The thread sleeps. Waking it is a system call, which most lines save.
    is_idle: bool,
    commands: VecDeque<(Command, SyncSender<io::Result<()>>)>,
    is_closed: bool,
}

/// What a destination has done since its start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Lines that it did not get or could not write.
    pub(crate) lost: u64,
    /// Bytes written.
    pub(crate) bytes: u64,
    /// Files put aside.
    pub(crate) rotations: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.bytes += other.bytes;
        self.rotations += other.rotations;
    }
}

/// What the thread takes out at once.
struct Work {
    lines: u64,
    bytes: u64,
    dropped: u64,
    commands: VecDeque<(Command, SyncSender<io::Result<()>>)>,
}

impl Sink {
    /// Starts the thread called `name`.
    pub(crate) fn start(
        name: &str,
        destination: impl Destination,
        limits: LogLimits,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(limits)),
            work: Condvar::new(),
            progress: Condvar::new(),
        });
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(destination)
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    pub(crate) fn writer(&self) -> QueueWriter {
        QueueWriter(Arc::clone(&self.shared))
    }

    /// Waits until what was queued before is written; `false` if that takes longer than `timeout`. The
    /// thread of the destination, which would wait for itself, is not made to wait.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let own = self.thread.as_ref().map(|thread| thread.thread().id());
        if own == Some(std::thread::current().id()) {
            return false;
        }
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

    /// Writes what waits to the destination as it is, then lets it handle `command`. `None` if that takes
    /// longer than `timeout`; it may still be done later.
    pub(crate) fn ask(&self, command: Command, timeout: Duration) -> Option<io::Result<()>> {
        let (answer, answered) = sync_channel(1);
        let mut state = self.shared.state();
        state.commands.push_back((command, answer));
        drop(state);
        self.shared.work.notify_one();
        answered.recv_timeout(timeout).ok()
    }

    pub(crate) fn set_limits(&self, limits: LogLimits) {
        self.shared.state().limits = limits;
    }

    pub(crate) fn totals(&self) -> Totals {
        self.shared.state().totals
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

impl State {
    fn new(limits: LogLimits) -> Self {
        Self {
            limits,
            waiting: Vec::new(),
            waiting_lines: 0,
            queued: 0,
            done: 0,
            dropped: 0,
            totals: Totals::default(),
            is_stalled: false,
            is_idle: false,
            commands: VecDeque::new(),
            is_closed: false,
        }
    }

    /// Whether a line of `length` bytes finds no room. One line always fits, so that a limit below its
    /// length does not silence it.
    fn is_full(&self, length: usize) -> bool {
        !self.waiting.is_empty() && self.waiting.len() + length > self.limits.queue_bytes
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues one line, if need be after waiting for room for a bounded time.
    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.is_full(line.len()) && !state.is_stalled && !state.limits.max_wait.is_zero() {
            let max_wait = state.limits.max_wait;
            let waited = self
                .progress
                .wait_timeout_while(state, max_wait, |state| state.is_full(line.len()));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.is_stalled = state.is_full(line.len());
        }
        if state.is_full(line.len()) || state.is_closed {
            state.dropped += 1;
            state.totals.lost += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        state.waiting_lines += 1;
        state.queued += line.len() as u64;
        let is_asleep = std::mem::take(&mut state.is_idle);
        drop(state);
        if is_asleep {
            self.work.notify_one();
        }
    }

    fn run(&self, mut destination: impl Destination) {
        let mut lines = Vec::new();
        let mut failed = Failures::default();
        while let Some(work) = self.take(&mut lines, destination.poll_timeout()) {
            let missing = failed.lines + work.dropped;
            if missing > 0 {
                let reason = failed.reason.as_deref().unwrap_or("the queue was full");
                let text = destination.lost_line(missing, reason);
                lines.extend_from_slice(text.as_bytes());
            }
            let mut done = Totals::default();
            match lines.is_empty() {
                true => destination.handle_timeout(),
                false => match destination.write(&lines) {
                    Ok(()) => {
                        failed = Failures::default();
                        done.bytes = lines.len() as u64;
                    }
                    Err(error) => {
                        failed.lines = missing + work.lines;
                        failed.reason = Some(error.to_string());
                        done.lost = work.lines;
                    }
                },
            }
            lines.clear();
            // One burst must not keep its memory for ever.
            lines.shrink_to(64 * 1024);
            for (command, answer) in work.commands {
                // Nobody listens any more when the caller ran out of time.
                let _ = answer.send(destination.handle(command));
            }
            let mut state = self.state();
            state.totals += done;
            state.totals.rotations = destination.rotations();
            state.done += work.bytes;
            drop(state);
            self.progress.notify_all();
        }
    }

    /// Waits for something to do, at most until `timeout`, and moves the waiting lines into `lines`, which
    /// is empty. `None`: the end.
    fn take(&self, lines: &mut Vec<u8>, timeout: Option<Instant>) -> Option<Work> {
        let has_nothing = |state: &State| {
            state.waiting.is_empty() && state.commands.is_empty() && !state.is_closed
        };
        let mut state = self.state();
        state.is_idle = has_nothing(&state);
        let mut state = match timeout {
            None => self.work.wait_while(state, |state| has_nothing(state)),
            Some(timeout) => {
                let left = timeout.saturating_duration_since(Instant::now());
                self.work
                    .wait_timeout_while(state, left, |state| has_nothing(state))
                    .map(|(state, _)| state)
                    .map_err(|error| PoisonError::new(error.into_inner().0))
            }
        }
        .unwrap_or_else(PoisonError::into_inner);
        state.is_idle = false;
        if state.is_closed && state.waiting.is_empty() && state.commands.is_empty() {
            return None;
        }
        std::mem::swap(&mut state.waiting, lines);
        state.is_stalled = false;
        let work = Work {
            lines: std::mem::take(&mut state.waiting_lines),
            bytes: lines.len() as u64,
            dropped: std::mem::take(&mut state.dropped),
            commands: std::mem::take(&mut state.commands),
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

/// Puts lines into the queue.
#[derive(Clone)]
pub(crate) struct QueueWriter(Arc<Shared>);

impl QueueWriter {
    /// Queues one line, which has its line break.
    pub(crate) fn push(&self, line: &[u8]) {
        self.0.push(line);
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
        fn lost_line(&self, lines: u64, reason: &str) -> String {
            format!("lost {lines}: {reason}\n")
        }

        fn handle(&mut self, _: Command) -> io::Result<()> {
            Ok(())
        }

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
        let sink = Sink::start("test", gated, limits).unwrap();
        Fixture {
            sink,
            permits,
            written,
        }
    }

    /// Queues one line and waits until the thread has taken it and hangs in its write.
    fn occupy(fixture: &Fixture) {
        fixture.sink.writer().push(b"first\n");
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
            fixture.sink.writer().push(line);
        }
        assert_eq!(fixture.sink.totals().lost, 2);
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
        let writer = fixture.sink.writer();
        writer.push(b"a\n");
        writer.push(b"b\n");
        assert!(fixture.sink.shared.state().is_stalled);
        let before = std::time::Instant::now();
        for _ in 0..10_000 {
            writer.push(b"c\n");
        }
        // Waiting 1 ms for each would take ten seconds.
        assert!(before.elapsed() < Duration::from_secs(5));
        assert_eq!(fixture.sink.totals().lost, 10_001);
        drop(fixture.permits);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_reported_after_recovery() {
        let fixture = fixture(1024);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let reason = full.to_string();
        fixture.permits.send(Err(full)).unwrap();
        fixture.sink.writer().push(b"gone\n");
        assert!(fixture.sink.flush(FLUSH_TIMEOUT));
        assert_eq!(fixture.sink.totals().lost, 1);
        fixture.permits.send(Ok(())).unwrap();
        fixture.sink.writer().push(b"there\n");
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
            sink.writer().push(format!("{number}\n").as_bytes());
        }
        drop(sink);
        let all: String = written.iter().collect();
        assert_eq!(all.lines().count(), 1000);
        assert!(all.ends_with("\n999\n"));
    }
}
