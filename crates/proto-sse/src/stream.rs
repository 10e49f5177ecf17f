//! The body of an open stream: the only file that awaits.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base::{Shutdown, Timestamp};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use resource::{
    Action, Authenticator, Context, Delivery, Error, IdentityChanges, Resource, Scope,
    Subscription, Value, json,
};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval_at, sleep_until};

use crate::config::SseConfig;
use crate::envelope::{Style, position};
use crate::failure;
use crate::framing::{Block, encode_comment};
use crate::statistics::StreamCount;
use crate::target::Target;

/// A block of at least this size is sent as it is, shared with the other readers; smaller ones are copied
/// into one chunk.
const SHARED_BYTES: usize = 8 * 1024;

/// An open stream.
pub(crate) struct ResourceStream {
    subscription: Subscription,
    style: Style,
    /// Taken from the subscription and not sent yet.
    waiting: VecDeque<Arc<Delivery>>,
    /// Blocks of our own that come before anything else.
    prelude: Vec<u8>,
    /// The position behind the backlog was sent.
    is_positioned: bool,
    is_ended: bool,
    chunk_bytes: usize,
    keep_alive: Duration,
    silence: Pin<Box<Sleep>>,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    permission: Option<Permission>,
    count: StreamCount,
}

/// What happened first.
enum Step {
    Deliveries(Result<Vec<Arc<Delivery>>, Error>),
    Silence,
    Recheck,
    Shutdown,
}

impl ResourceStream {
    pub(crate) fn new(
        subscription: Subscription,
        target: &Target,
        config: &SseConfig,
        shutdown: Option<Shutdown>,
        permission: Option<Permission>,
        count: StreamCount,
    ) -> Self {
        let mut prelude = Vec::with_capacity(64);
        let retry = Block {
            retry_ms: Some(u64::try_from(config.retry.as_millis()).unwrap_or(u64::MAX)),
            ..Block::default()
        };
        retry.encode(&mut prelude);
        if subscription.is_reset() {
            // What a reader knows may contain records that were deleted meanwhile: it begins anew.
            encode_control("reset", br#"{"type":"reset"}"#, &mut prelude);
        }
        Self {
            subscription,
            style: Style {
                is_raw: target.options.raw_events,
                has_names: target.event_names,
                is_single: matches!(target.scope, Scope::Key(_)),
            },
            waiting: VecDeque::new(),
            prelude,
            is_positioned: false,
            is_ended: false,
            chunk_bytes: config.chunk_bytes,
            keep_alive: config.keep_alive,
            silence: Box::pin(sleep_until(Instant::now() + config.keep_alive)),
            shutdown: Box::pin(async move {
                match shutdown {
                    Some(shutdown) => shutdown.started().await,
                    None => pending().await,
                }
            }),
            permission,
            count,
        }
    }

    /// The chunks of the body. Dropping the stream ends the subscription.
    pub(crate) fn into_chunks(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut stream| async move {
            let chunk = stream.next_chunk().await?;
            stream
                .silence
                .as_mut()
                .reset(Instant::now() + stream.keep_alive);
            Some((Ok(chunk), stream))
        })
    }

    async fn next_chunk(&mut self) -> Option<Bytes> {
        loop {
            self.mark_position();
            if !self.prelude.is_empty() || !self.waiting.is_empty() {
                return Some(self.fill_chunk());
            }
            if self.is_ended {
                return None;
            }
            match self.next_step().await {
                Step::Deliveries(Ok(deliveries)) => self.waiting.extend(deliveries),
                Step::Deliveries(Err(error)) => self.fail(&error),
                Step::Silence => encode_comment("keep-alive", &mut self.prelude),
                Step::Recheck => self.recheck(),
                Step::Shutdown => self.is_ended = true,
            }
        }
    }

    async fn next_step(&mut self) -> Step {
        let recheck = async {
            match &mut self.permission {
                Some(permission) => permission.wait_for_recheck().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = &mut self.shutdown => Step::Shutdown,
            () = recheck => Step::Recheck,
            deliveries = self.subscription.next() => Step::Deliveries(deliveries),
            () = &mut self.silence => Step::Silence,
        }
    }

    /// Once everything before the live events is sent, tells the reader where to continue: without this, one
    /// that was sent no event with an id would miss what happens while it is away.
    fn mark_position(&mut self) {
        if self.is_positioned || !self.waiting.is_empty() || !self.subscription.is_live() {
            return;
        }
        self.is_positioned = true;
        let covered = self.subscription.covered();
        if covered > Timestamp::ZERO {
            let id = position(covered);
            let block = Block {
                id: Some(&id),
                ..Block::default()
            };
            block.encode(&mut self.prelude);
        }
    }

    /// As much of what is ready as makes a chunk.
    fn fill_chunk(&mut self) -> Bytes {
        let mut chunk = std::mem::take(&mut self.prelude);
        let mut events = 0;
        while chunk.len() < self.chunk_bytes
            && let Some(delivery) = self.waiting.front()
        {
            let block = self.style.encode(delivery);
            if block.len() >= SHARED_BYTES && !chunk.is_empty() {
                break;
            }
            self.waiting.pop_front();
            events += 1;
            if block.len() >= SHARED_BYTES {
                self.count.sent(events, block.len());
                return block;
            }
            chunk.extend_from_slice(&block);
        }
        self.count.sent(events, chunk.len());
        chunk.into()
    }

    fn fail(&mut self, error: &Error) {
        // A live subscription fails in one way only.
        match self.subscription.is_live() {
            true => {
                self.count.overflowed();
                self.end("overflow", br#"{"type":"overflow"}"#);
            }
            false => {
                let problem = Value::Map(failure::problem(error));
                self.end("error", &json::to_vec(&problem));
            }
        }
    }

    fn recheck(&mut self) {
        let Some(permission) = &mut self.permission else {
            return;
        };
        match permission.check() {
            Standing::Same => {}
            // The reader connects again and continues with what it may see now.
            Standing::Changed => self.is_ended = true,
            Standing::Lost => self.end("unauthorized", br#"{"type":"unauthorized"}"#),
        }
    }

    /// Sends a last event and ends.
    fn end(&mut self, event: &str, data: &[u8]) {
        encode_control(event, data, &mut self.prelude);
        self.is_ended = true;
    }
}

/// A block that is about the stream, not about a record.
fn encode_control(event: &str, data: &[u8], out: &mut Vec<u8>) {
    let block = Block {
        event: Some(event),
        data: Some(data),
        ..Block::default()
    };
    block.encode(out);
}

impl Drop for ResourceStream {
    fn drop(&mut self) {
        self.count.dropped_at_close(self.waiting.len());
    }
}

fn recheck_every(period: Duration) -> Interval {
    // An interval of zero would panic; a millisecond is as good as always.
    let period = period.max(Duration::from_millis(1));
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// The right of one caller to read one resource, which can be lost.
pub(crate) struct Permission {
    authenticator: Arc<dyn Authenticator>,
    resource: Arc<dyn Resource>,
    context: Context,
    changes: IdentityChanges,
    interval: Interval,
}

/// What became of a permission.
pub(crate) enum Standing {
    Same,
    /// It is another one, for example of fewer attributes.
    Changed,
    Lost,
}

impl Permission {
    pub(crate) fn new(
        authenticator: Arc<dyn Authenticator>,
        resource: Arc<dyn Resource>,
        context: Context,
        recheck: Duration,
    ) -> Self {
        Self {
            changes: authenticator.changes(),
            interval: recheck_every(recheck),
            authenticator,
            resource,
            context,
        }
    }

    /// Waits until users or roles have changed, or the time has come. Cancel safe.
    pub(crate) async fn wait_for_recheck(&mut self) {
        tokio::select! {
            () = self.changes.next() => {}
            _ = self.interval.tick() => {}
        }
    }

    pub(crate) fn check(&mut self) -> Standing {
        let Some(caller) = self.authenticator.refresh(&self.context.caller) else {
            return Standing::Lost;
        };
        let before = self.context.caller.table_access(&*self.resource);
        self.context.caller = caller;
        if self
            .resource
            .authorize(&self.context, &[Action::Read])
            .is_err()
        {
            return Standing::Lost;
        }
        match self.context.caller.table_access(&*self.resource) == before {
            true => Standing::Same,
            false => Standing::Changed,
        }
    }
}
