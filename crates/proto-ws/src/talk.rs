//! One connection to a resource made of code: messages in, replies out (`realtime.md` §2.5).

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use base::Shutdown;
use bytes::Bytes;
use content::ContentTypes;
use futures_core::Stream;
use resource::{Authenticator, Context, Error, Incoming, Replies, Reply, Resource, Target, Value};
use tokio::sync::mpsc;

use crate::close::Close;
use crate::config::WsConfig;
use crate::envelope::Encoding;
use crate::link::{Ended, Link, LinkEvent};
use crate::recheck::Recheck;

/// A conversation that waits for its socket.
pub(crate) struct Talk {
    resource: Arc<dyn Resource>,
    context: Context,
    replies: Replies,
    /// Has room for one message, which is read ahead.
    incoming: mpsc::Sender<Value>,
    settings: TalkSettings,
}

/// The other end of the channel.
struct Received(mpsc::Receiver<Value>);

impl Stream for Received {
    type Item = Value;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Value>> {
        self.0.poll_recv(cx)
    }
}

/// How a conversation is held.
pub(crate) struct TalkSettings {
    pub(crate) encoding: Encoding,
    pub(crate) types: ContentTypes,
    /// `Content-Type` of the request: the format of all that the client sends.
    pub(crate) content_type: Option<String>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) config: Arc<WsConfig>,
}

impl Talk {
    /// Opens the conversation.
    pub(crate) async fn open(
        resource: Arc<dyn Resource>,
        target: &Target,
        context: Context,
        settings: TalkSettings,
    ) -> Result<Self, Error> {
        let (incoming, received) = mpsc::channel(1);
        let received: Incoming = Box::pin(Received(received));
        let replies = resource.connect(target, received, &context).await?;
        Ok(Self {
            resource,
            context,
            replies,
            incoming,
            settings,
        })
    }

    /// Serves the connection until it ends.
    pub(crate) async fn run(mut self, mut link: Link, shutdown: Shutdown) {
        let mut recheck = Recheck::new(self.settings.authenticator.take(), &self.settings.config);
        let ended = loop {
            if let Err(ended) = self.step(&mut link, &mut recheck, &shutdown).await {
                break ended;
            }
        };
        // F3: the resource learns of the end at once.
        drop(self);
        link.finish(ended).await;
    }

    async fn step(
        &mut self,
        link: &mut Link,
        recheck: &mut Recheck,
        shutdown: &Shutdown,
    ) -> Result<(), Ended> {
        // Nobody listens any more: what comes is read and dropped, so that a close frame is seen.
        let is_deaf = self.incoming.is_closed();
        let reads = is_deaf || self.incoming.capacity() > 0;
        let is_drained = link.is_drained();
        tokio::select! {
            () = shutdown.started() => Err(Close::going_away().into()),
            () = recheck.due() => Ok(recheck.check(&*self.resource, &mut self.context)?),
            event = link.next(reads) => match event? {
                LinkEvent::Drained => Ok(()),
                LinkEvent::Text(text) => Ok(self.handle_message(text, true)?),
                LinkEvent::Binary(bytes) => Ok(self.handle_message(bytes, false)?),
            },
            () = room(&self.incoming), if !reads => Ok(()),
            reply = poll_fn(|cx| self.replies.as_mut().poll_next(cx)), if is_drained => match reply {
                None => Err(Close::normal().into()),
                Some(Err(error)) => Err(Close::of_error(&error).into()),
                Some(Ok(reply)) => Ok(send(link, reply, self.settings.encoding)?),
            },
        }
    }

    fn handle_message(&self, message: Bytes, is_text: bool) -> Result<(), Close> {
        let content_type = self.settings.content_type.as_deref();
        let looks_like_json = matches!(message.first(), Some(b'{' | b'['));
        let value = match (content_type, is_text) {
            (None, true) if !looks_like_json => {
                // The engine has checked that text is UTF-8.
                Value::from(String::from_utf8_lossy(&message).into_owned())
            }
            (None, false) if !looks_like_json => Value::Bytes(message),
            (content_type, _) => self
                .settings
                .types
                .decode(content_type.or(Some("application/json")), &message)
                .map_err(|error| Close::invalid_payload(error.to_string()))?,
        };
        // There is room, or nobody listens.
        let _ = self.incoming.try_send(value);
        Ok(())
    }
}

/// Waits until the resource has taken what was read ahead, or listens no more. Cancel safe.
async fn room(incoming: &mpsc::Sender<Value>) {
    drop(incoming.reserve().await);
}

fn send(link: &mut Link, reply: Reply, encoding: Encoding) -> Result<(), Close> {
    match reply {
        Reply::Value(value) => {
            let message = encoding
                .encode(&value)
                .map_err(|error| Close::unexpected(format!("EncodeError: {error}")))?;
            link.send(&message, encoding.is_text());
        }
        Reply::Raw { content_type, data } => {
            let is_text = is_text_type(&content_type) && std::str::from_utf8(&data).is_ok();
            link.send(&data, is_text);
        }
    }
    Ok(())
}

/// W4: text, JSON and YAML come as text messages.
fn is_text_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence.starts_with("text/") || essence.ends_with("json") || essence.ends_with("yaml")
}
