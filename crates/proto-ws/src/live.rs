//! One connection to a resource: events out, and commands in where they are accepted.

use std::collections::VecDeque;
use std::sync::Arc;

use base::Shutdown;
use bytes::Bytes;
use content::EncodeError;
use resource::event::encoding_id;
use resource::{
    Authenticator, Context, Delivery, Error, ErrorKind, EventKind, Resource, Subscription,
};

use crate::close::Close;
use crate::command::Command;
use crate::config::WsConfig;
use crate::envelope::{self, Encoding};
use crate::link::{Ended, Link, LinkEvent};
use crate::recheck::Recheck;
use crate::writes::Writes;

/// Tells the compressed form of an encoding from the encoding.
const DEFLATED: u64 = encoding_id("ws/deflate");

/// A subscription that waits for its socket.
pub(crate) struct Live {
    pub(crate) resource: Arc<dyn Resource>,
    pub(crate) context: Context,
    pub(crate) subscription: Subscription,
    pub(crate) encoding: Encoding,
    pub(crate) raw_events: bool,
    pub(crate) mark_initial: bool,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) config: Arc<WsConfig>,
}

impl Live {
    /// Serves the connection until it ends.
    pub(crate) async fn run(self, link: Link, shutdown: Shutdown) {
        let mut connection = Connection {
            recheck: Recheck::new(self.authenticator.clone(), &self.config),
            link,
            pending: VecDeque::new(),
            writes: Writes::default(),
            live: self,
        };
        let ended = connection.serve(&shutdown).await;
        let Connection { link, live, .. } = connection;
        // F3: the subscription does not wait for the closing handshake.
        drop(live);
        link.finish(ended).await;
    }
}

struct Connection {
    live: Live,
    link: Link,
    /// Deliveries that were fetched and not sent: the next ones are fetched when these are written.
    pending: VecDeque<Arc<Delivery>>,
    writes: Writes,
    recheck: Recheck,
}

impl Connection {
    async fn serve(&mut self, shutdown: &Shutdown) -> Ended {
        if self.live.subscription.is_reset()
            && let Err(ended) = self.send(envelope::reset(self.live.encoding))
        {
            return ended;
        }
        loop {
            if let Err(ended) = self.step(shutdown).await {
                return ended;
            }
        }
    }

    /// Sends what there is room for, and handles the next thing that happens.
    async fn step(&mut self, shutdown: &Shutdown) -> Result<(), Ended> {
        self.send_pending()?;
        let wants_events = self.pending.is_empty() && self.link.is_drained();
        let writes = !self.writes.is_idle() && self.link.has_room();
        let reads = self.writes.has_room();
        let live = &mut self.live;
        tokio::select! {
            () = shutdown.started() => Err(Close::going_away().into()),
            event = self.link.next(reads) => match event? {
                LinkEvent::Drained => Ok(()),
                LinkEvent::Text(text) => self.handle_message(&text, true),
                LinkEvent::Binary(bytes) => self.handle_message(&bytes, false),
            },
            batch = live.subscription.next(), if wants_events => self.handle_batch(batch),
            failure = self.writes.next_failure(&live.resource, &live.context), if writes => {
                let (id, error) = failure;
                if error.kind() == ErrorKind::Internal {
                    tracing::error!(target: "ws", %error, "write failed");
                }
                self.send(envelope::failure(id, &error, self.live.encoding))
            }
            () = self.recheck.due() => {
                Ok(self.recheck.check(&*live.resource, &mut live.context)?)
            }
        }
    }

    fn handle_batch(&mut self, batch: Result<Vec<Arc<Delivery>>, Error>) -> Result<(), Ended> {
        let batch = batch.map_err(|error| Close::of_error(&error))?;
        if batch.is_empty() && self.live.mark_initial {
            return self.send(envelope::end_of_initial(self.live.encoding));
        }
        self.pending.extend(batch);
        Ok(())
    }

    fn send_pending(&mut self) -> Result<(), Ended> {
        while self.link.has_room() {
            let Some(delivery) = self.pending.pop_front() else {
                break;
            };
            self.send_delivery(&delivery)?;
        }
        Ok(())
    }

    /// Sends an event, compressed once for all connections of this worker that compress alike.
    fn send_delivery(&mut self, delivery: &Delivery) -> Result<(), Ended> {
        let message = self.live.encode(delivery).map_err(unencodable)?;
        let encoding = self.live.encoding_id(delivery) ^ DEFLATED;
        let is_text = self.live.encoding.is_text();
        self.link
            .send_shared(&message, is_text, |variant, compress| {
                delivery.encode_once(encoding.wrapping_add(variant), |_| compress())
            });
        Ok(())
    }

    fn send(&mut self, message: Result<Bytes, EncodeError>) -> Result<(), Ended> {
        let message = message.map_err(unencodable)?;
        self.link.send(&message, self.live.encoding.is_text());
        Ok(())
    }

    /// Tables ignore messages unless writes are accepted.
    fn handle_message(&mut self, message: &Bytes, is_text: bool) -> Result<(), Ended> {
        if !self.live.config.accept_writes {
            return Ok(());
        }
        let encoding = match (is_text, self.live.encoding) {
            (true, _) => Encoding::Json,
            (false, Encoding::Json) => {
                return Err(Close::unsupported_data("a message must be JSON text").into());
            }
            (false, binary) => binary,
        };
        let command = Command::decode(message, encoding)?;
        self.writes.push(command, message.len());
        Ok(())
    }
}

impl Live {
    /// The bytes of an event, shared with the other connections of this worker.
    fn encode(&self, delivery: &Delivery) -> Result<Bytes, EncodeError> {
        let (raw, encoding) = (self.raw_events, self.encoding);
        let mut failure = None;
        let bytes = delivery.encode_once(self.encoding_id(delivery), |event| {
            envelope::event(event, raw, encoding).unwrap_or_else(|error| {
                failure = Some(error);
                Bytes::new()
            })
        });
        match failure {
            Some(error) => Err(error),
            None if bytes.is_empty() => Err(EncodeError::new("WebSocket", "this event")),
            None => Ok(bytes),
        }
    }

    fn encoding_id(&self, delivery: &Delivery) -> u64 {
        let is_raw_patch = self.raw_events && delivery.event.kind == EventKind::Patch;
        self.encoding.id(is_raw_patch)
    }
}

fn unencodable(error: EncodeError) -> Close {
    Close::unexpected(format!("EncodeError: {error}"))
}
