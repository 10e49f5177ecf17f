//! Path, query and `Last-Event-ID`: no panic, and a stream or a problem for every request.
#![no_main]

use std::sync::Arc;

use base::Timestamp;
use futures_util::FutureExt as _;
use http::{HeaderValue, Method};
use http_chain::{Handler as _, Request};
use libfuzzer_sys::fuzz_target;
use proto_sse::{Sse, SseConfig};
use resource::{
    Answer, Caller, Context, Exposure, Hub, Methods, Registry, Resource, Scope, SourceId,
    SubscribeOptions, Subscription,
};

struct Anything(Hub, SourceId);

impl Resource for Anything {
    fn name(&self) -> &str {
        "Dog"
    }
    fn methods(&self) -> Methods {
        Methods::TABLE
    }
    fn subscribe<'a>(
        &'a self,
        scope: Scope,
        _: &'a SubscribeOptions,
        context: &'a Context,
    ) -> Answer<'a, Subscription> {
        let live = self.0.subscribe(context.worker, self.1, &scope);
        Answer::ready(Ok(Subscription::new(live, Timestamp::ZERO, None)))
    }
}

fuzz_target!(|input: (&str, &[u8])| {
    let (target, last_event_id) = input;
    let Ok(mut request) = Request::new(Method::GET, &format!("/Dog{target}")) else {
        return;
    };
    let headers = request.headers_mut();
    headers.insert("accept", HeaderValue::from_static("text/event-stream"));
    if let Ok(id) = HeaderValue::from_bytes(last_event_id) {
        headers.insert("last-event-id", id);
    }
    request.extensions_mut().insert(Caller::internal("fuzz"));
    let registry = Arc::new(Registry::new());
    let dog = Arc::new(Anything(Hub::new(1), SourceId::next()));
    registry.export("Dog", dog, Exposure::default());
    let sse = Sse::new(registry, SseConfig::default());
    // A stream has timers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let _entered = runtime.as_ref().map(|runtime| runtime.enter());
    let _ = sse.handle(request).now_or_never();
});
