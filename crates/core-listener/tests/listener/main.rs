//! The listener as its peers see it: real sockets on port 0, raw bytes and hyper's own client.
#![expect(
    clippy::disallowed_methods,
    reason = "the tasks of a test end with its runtime"
)]

mod bind;
mod drain;
mod handle;
mod handover;
mod http1;
mod http2;
mod limits;
mod one_port;
mod pipelining;
mod raw;
mod refusals;
mod stats;
mod strict;
mod support;
mod timeouts;
mod tls;
mod unix;
mod upgrade;
mod workers;
