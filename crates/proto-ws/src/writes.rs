//! The writes of one connection: one after the other, in the order they were sent.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use resource::{Context, Error, Resource, Value};

use crate::command::Command;

/// Commands that may wait before the socket is not read any more.
const MAX_WAITING: usize = 64;
/// Bytes of messages that may wait; one message may exceed it.
const MAX_WAITING_BYTES: usize = 1 << 20;

type Running = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Commands in progress. The next one starts when the one before is committed, so that none overtakes.
#[derive(Default)]
pub(crate) struct Writes {
    waiting: VecDeque<(Command, usize)>,
    waiting_bytes: usize,
    running: Option<(Value, Running)>,
}

impl Writes {
    /// Whether another message may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING && self.waiting_bytes < MAX_WAITING_BYTES
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    /// Adds a command that took `message_bytes` to say.
    pub(crate) fn push(&mut self, command: Command, message_bytes: usize) {
        self.waiting_bytes += message_bytes;
        self.waiting.push_back((command, message_bytes));
    }

    /// Carries commands out until one fails; its id and why. Pending for ever when nothing is left.
    ///
    /// Cancel safe.
    pub(crate) async fn next_failure(
        &mut self,
        resource: &Arc<dyn Resource>,
        context: &Context,
    ) -> (Value, Error) {
        poll_fn(|cx| self.poll_failure(cx, resource, context)).await
    }

    fn poll_failure(
        &mut self,
        cx: &mut task::Context<'_>,
        resource: &Arc<dyn Resource>,
        context: &Context,
    ) -> Poll<(Value, Error)> {
        loop {
            if self.running.is_none() {
                let Some((command, message_bytes)) = self.waiting.pop_front() else {
                    return Poll::Pending;
                };
                self.waiting_bytes -= message_bytes;
                let id = command.id.clone();
                self.running = Some((id, start(command, resource, context)));
            }
            let Some((id, running)) = &mut self.running else {
                return Poll::Pending;
            };
            let result = task::ready!(running.as_mut().poll(cx));
            let id = std::mem::take(id);
            self.running = None;
            if let Err(error) = result {
                return Poll::Ready((id, error));
            }
        }
    }
}

fn start(command: Command, resource: &Arc<dyn Resource>, context: &Context) -> Running {
    let (resource, context) = (Arc::clone(resource), context.clone());
    Box::pin(async move {
        let write = command.into_write()?;
        resource.write(vec![write], &context).await.map(drop)
    })
}
