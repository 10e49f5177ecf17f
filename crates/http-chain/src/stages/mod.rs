//! Ready-made stages. Each documents its place in the order and the reason.

mod body_limit;
mod client_table;
mod cors;
mod counted_io;
mod default_fields;
mod handler_timeout;
mod host_check;
mod in_flight;
mod rate_limit;
mod request_log;
mod server_timing;
mod server_wide;
mod trusted_proxies;
mod write_queue;

pub use self::body_limit::BodyLimit;
pub use self::cors::{Cors, CorsConfig, CorsOrigins};
pub use self::default_fields::{DefaultFields, SecurityHeaders, SecurityHeadersConfig};
pub use self::handler_timeout::{HandlerTimeout, NotAnError};
pub use self::host_check::HostCheck;
pub use self::in_flight::{InFlight, InFlightLimit};
pub use self::rate_limit::{InvalidRate, RateLimit, RateLimitConfig, RateLimitKey};
pub use self::request_log::{LogLevel, RequestId, RequestLog, RequestLogConfig, RequestLogFormat};
pub use self::server_timing::ServerTiming;
pub use self::server_wide::{ExpectCheck, ServerOptions};
pub use self::trusted_proxies::{ForwardedClient, ForwardedHost, InvalidNetwork, TrustedProxies};
pub use self::write_queue::{WriteQueue, WriteQueueConfig, WriteQueueGauge};
