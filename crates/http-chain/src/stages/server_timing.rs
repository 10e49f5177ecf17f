//! The `Server-Timing` field.

use http::HeaderValue;
use http::header::HeaderName;

use crate::exchange::Exchange;
use crate::response::{CacheMiss, Response};
use crate::stage::Gate;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Adds the milliseconds until the head of the response, as `hdb;dur=12.34`, to what handlers measured
/// themselves, and `miss` if the response is a [`CacheMiss`]. It can reveal timing to an attacker; leave the
/// stage out where that matters (`http.serverTiming`).
///
/// Place: around the handlers to be measured.
#[derive(Debug, Clone, Copy)]
pub struct ServerTiming {
    metric: &'static str,
    decimals: usize,
}

impl Default for ServerTiming {
    /// The metric of application ports: `hdb` with two decimals.
    fn default() -> Self {
        Self {
            metric: "hdb",
            decimals: 2,
        }
    }
}

impl ServerTiming {
    /// The metric of the Operations API: `db` with three decimals.
    pub fn operations() -> Self {
        Self {
            metric: "db",
            decimals: 3,
        }
    }
}

impl Gate for ServerTiming {
    fn leave(&self, exchange: &Exchange, response: &mut Response) {
        let millis = exchange.elapsed().as_secs_f64() * 1000.0;
        let miss = match response.extensions().get::<CacheMiss>() {
            Some(CacheMiss) => ", miss",
            None => "",
        };
        let text = format!("{};dur={millis:.*}{miss}", self.metric, self.decimals);
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().append(SERVER_TIMING, value);
        }
    }
}
