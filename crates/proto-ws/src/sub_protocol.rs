//! Protocols that are spoken inside a WebSocket as if it were a byte stream.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use base::{BoxedIo, ConnInfo, Shutdown};
use resource::Caller;

type Served = Pin<Box<dyn Future<Output = ()> + Send>>;
type Serve = dyn Fn(BoxedIo, Arc<ConnInfo>, Shutdown, Caller) -> Served + Send + Sync;

/// One registered sub-protocol.
#[derive(Clone)]
pub(crate) struct SubProtocol {
    pub(crate) name: Arc<str>,
    serve: Arc<Serve>,
}

impl SubProtocol {
    pub(crate) fn new<F, Fut>(name: Arc<str>, serve: F) -> Self
    where
        F: Fn(BoxedIo, Arc<ConnInfo>, Shutdown, Caller) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let serve = move |io, conn, shutdown, caller| -> Served {
            Box::pin(serve(io, conn, shutdown, caller))
        };
        Self {
            name,
            serve: Arc::new(serve),
        }
    }

    pub(crate) fn serve(
        &self,
        io: BoxedIo,
        conn: Arc<ConnInfo>,
        shutdown: Shutdown,
        caller: Caller,
    ) -> Served {
        (self.serve)(io, conn, shutdown, caller)
    }
}

impl fmt::Debug for SubProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
