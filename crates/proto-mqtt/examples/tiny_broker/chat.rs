//! A resource that keeps nothing: what is published goes to whoever listens.

use std::sync::Arc;

use base::VersionClock;
use resource::{
    Answer, Body, Context, Error, Event, EventKind, Hub, Methods, Resource, Scope, SourceId,
    SubscribeOptions, Subscription, Write, WriteKind, WriteOutcome, Written,
};

pub(crate) struct Chat {
    hub: Hub,
    source: SourceId,
    clock: VersionClock,
}

impl Chat {
    pub(crate) fn new(hub: Hub) -> Self {
        let (source, clock) = (SourceId::next(), VersionClock::default());
        Self { hub, source, clock }
    }

    fn send(&self, write: Write, context: &Context) -> Result<Written, Error> {
        let WriteKind::Message(properties) = write.kind else {
            return Err(Error::method_not_allowed("chat", "put"));
        };
        let version = self.clock.tick();
        let (key, body) = (write.key.clone(), write.body.map(Body::from));
        self.hub.publish(&[Arc::new(Event {
            publisher: context.publisher.clone(),
            properties,
            ..Event::new(self.source, EventKind::Message, key, body, version)
        })]);
        let (key, outcome) = (write.key, WriteOutcome::Sent);
        Ok(Written {
            key,
            outcome,
            version,
        })
    }
}

impl Resource for Chat {
    fn name(&self) -> &str {
        "chat"
    }
    fn methods(&self) -> Methods {
        Methods {
            publish: true,
            subscribe: true,
            ..Methods::NONE
        }
    }
    fn write<'a>(&'a self, writes: Vec<Write>, context: &'a Context) -> Answer<'a, Vec<Written>> {
        let sent = writes.into_iter().map(|write| self.send(write, context));
        Answer::ready(sent.collect())
    }
    fn subscribe<'a>(
        &'a self,
        scope: Scope,
        _: &'a SubscribeOptions,
        context: &'a Context,
    ) -> Answer<'a, Subscription> {
        let live = self.hub.subscribe(context.worker, self.source, &scope);
        Answer::ready(Ok(Subscription::new(live, self.clock.tick(), None)))
    }
}
