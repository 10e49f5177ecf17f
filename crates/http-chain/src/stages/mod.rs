//! Ready-made stages. Each documents its place in the order and the reason.

mod body_limit;
mod cors;
mod handler_timeout;
mod host_check;
mod in_flight;
mod request_log;
mod server_timing;

pub use self::body_limit::BodyLimit;
pub use self::cors::{Cors, CorsConfig, CorsOrigins};
pub use self::handler_timeout::HandlerTimeout;
pub use self::host_check::HostCheck;
pub use self::in_flight::InFlightLimit;
pub use self::request_log::{LogLevel, RequestId, RequestLog, RequestLogConfig};
pub use self::server_timing::ServerTiming;
