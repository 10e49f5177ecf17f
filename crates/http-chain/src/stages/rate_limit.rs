//! The limit on the requests of one client.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware};
use governor::{Quota, RateLimiter};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::client_table::{Client, ClientTable};
use crate::exchange::Exchange;
use crate::request::Request;
use crate::response::Response;
use crate::stage::Gate;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// A full table is searched for clients that may be forgotten at most this often.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// By what clients are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RateLimitKey {
    /// The address, behind a [trusted proxy](super::TrustedProxies) that of its client. The addresses of
    /// an IPv6 /64 network, which one client can have, count as one; processes that use a Unix socket are
    /// not limited.
    #[default]
    Ip,
    /// The user that authentication settled; anonymous clients by address. The stage then has to stand
    /// behind authentication.
    User,
}

/// How many requests of one client are answered (`http.rateLimit`).
#[derive(Debug, Clone, Copy)]
pub struct RateLimitConfig {
    /// Requests that come back within one `interval`. Default: 100.
    pub requests: NonZeroU32,
    /// Default: 1 s.
    pub interval: Duration,
    /// Requests a client may make at once when it was silent long enough. Default: 100.
    pub burst: NonZeroU32,
    /// Default: by address.
    pub by: RateLimitKey,
    /// Clients remembered at one time, about 100 bytes each. When that many are busy, all further ones share
    /// one allowance until some have been silent long enough. Default: 100,000.
    pub max_clients: u32,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        let hundred = NonZeroU32::MIN.saturating_add(99);
        Self {
            requests: hundred,
            interval: Duration::from_secs(1),
            burst: hundred,
            by: RateLimitKey::Ip,
            max_clients: 100_000,
        }
    }
}

/// A rate that no limiter can keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{requests} requests in {interval:?} cannot be told apart: less than a nanosecond each")]
pub struct InvalidRate {
    requests: NonZeroU32,
    interval: Duration,
}

/// Answers 429 with `Retry-After` to the client that asks too often, and tells every client where it stands
/// by `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (seconds until all is there again).
///
/// The allowance flows back evenly (GCRA). The tables are shared by all clones and all workers, so it makes
/// no difference which worker a client reaches.
///
/// Place: by address at the edge, inside the request log and [`TrustedProxies`](super::TrustedProxies); by
/// user directly behind authentication. Of several in one chain the innermost that a request reached is
/// the one whose fields are sent.
#[derive(Debug, Clone)]
pub struct RateLimit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: RateLimitConfig,
    limiter: Limiter,
    has_overflowed: Arc<AtomicBool>,
    last_sweep: Mutex<Option<Instant>>,
    clock: DefaultClock,
}

type Limiter = RateLimiter<Client, ClientTable, DefaultClock, StateInformationMiddleware>;

/// Where a client stands after its request.
#[derive(Debug, Clone, Copy)]
struct Standing {
    limit: u32,
    remaining: u32,
    reset: Duration,
}

impl RateLimit {
    /// Limits as `config` says.
    ///
    /// # Errors
    ///
    /// [`InvalidRate`] if the requests are less than a nanosecond apart.
    pub fn new(config: RateLimitConfig) -> Result<Self, InvalidRate> {
        let period = config.interval / config.requests.get();
        let quota = Quota::with_period(period).ok_or(InvalidRate {
            requests: config.requests,
            interval: config.interval,
        })?;
        let quota = quota.allow_burst(config.burst);
        let has_overflowed = Arc::new(AtomicBool::new(false));
        let table = ClientTable::new(config.max_clients as usize, Arc::clone(&has_overflowed));
        let limiter =
            RateLimiter::<_, _, _, NoOpMiddleware>::new(quota, table, DefaultClock::default());
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                limiter: limiter.with_middleware(),
                has_overflowed,
                last_sweep: Mutex::new(None),
                clock: DefaultClock::default(),
            }),
        })
    }

    /// Clients that are remembered, for metrics.
    pub fn clients(&self) -> usize {
        self.shared.limiter.len()
    }

    fn too_many(&self, wait: Duration) -> Response {
        let mut response = Response::text(StatusCode::TOO_MANY_REQUESTS, "Too many requests\n");
        let standing = Standing {
            limit: self.shared.config.burst.get(),
            remaining: 0,
            reset: wait,
        };
        let headers = response.headers_mut();
        standing.write(headers);
        headers.insert(header::RETRY_AFTER, whole_seconds(wait).max(1).into());
        response
    }
}

impl Shared {
    fn client(&self, exchange: &Exchange) -> Option<Client> {
        let user = match self.config.by {
            RateLimitKey::Ip => None,
            RateLimitKey::User => exchange.caller().and_then(|caller| caller.username()),
        };
        match user {
            Some(name) => Some(Client::User(Arc::clone(name))),
            None => exchange.client_ip().map(|ip| Client::Ip(network_of(ip))),
        }
    }

    /// Counts one request of `client`; the error is how long to wait.
    fn check(&self, client: &Client) -> Result<Standing, Duration> {
        let checked = self.limiter.check_key(client);
        // Read first: it is nearly always false, and a write would take the cache line from the others.
        if self.has_overflowed.load(Ordering::Relaxed) {
            self.forget_silent_clients();
        }
        match checked {
            Ok(state) => {
                let (limit, remaining) =
                    (self.config.burst.get(), state.remaining_burst_capacity());
                let period = state.quota().replenish_interval();
                Ok(Standing {
                    limit,
                    remaining,
                    reset: period * limit.saturating_sub(remaining),
                })
            }
            Err(not_until) => Err(not_until.wait_time_from(self.clock.now())),
        }
    }

    fn forget_silent_clients(&self) {
        let mut last = self
            .last_sweep
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= SWEEP_PAUSE) {
            self.has_overflowed.store(false, Ordering::Relaxed);
            self.limiter.retain_recent();
            *last = Some(Instant::now());
        }
    }
}

impl Gate for RateLimit {
    fn enter(&self, exchange: &Exchange, _request: &mut Request) -> ControlFlow<Response> {
        let Some(client) = self.shared.client(exchange) else {
            return ControlFlow::Continue(());
        };
        match self.shared.check(&client) {
            Ok(standing) => {
                exchange.leave_note(standing);
                ControlFlow::Continue(())
            }
            Err(wait) => ControlFlow::Break(self.too_many(wait)),
        }
    }

    fn leave(&self, exchange: &Exchange, response: &mut Response) {
        if let Some(standing) = exchange.note::<Standing>() {
            standing.write(response.headers_mut());
        }
    }
}

impl Standing {
    fn write(self, headers: &mut HeaderMap) {
        if headers.contains_key(LIMIT) {
            return;
        }
        headers.insert(LIMIT, self.limit.into());
        headers.insert(REMAINING, self.remaining.into());
        headers.insert(RESET, HeaderValue::from(whole_seconds(self.reset)));
    }
}

/// Rounded up, so that a client that waits as told is not refused again.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn network_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(burst: u32, max_clients: u32) -> Shared {
        let config = RateLimitConfig {
            requests: NonZeroU32::MIN,
            interval: Duration::from_secs(3600),
            burst: NonZeroU32::new(burst).unwrap(),
            max_clients,
            ..RateLimitConfig::default()
        };
        Arc::into_inner(RateLimit::new(config).unwrap().shared).unwrap()
    }

    fn address(number: u32) -> Client {
        Client::Ip(IpAddr::V4(number.into()))
    }

    #[test]
    fn a_flood_of_addresses_cannot_grow_the_tables() {
        let limit = limit(1, 160);
        for number in 0..5_000 {
            let _ = limit.check(&address(number));
        }
        assert!(limit.limiter.len() <= 160, "{}", limit.limiter.len());
    }

    #[test]
    fn a_known_client_keeps_its_allowance_when_the_table_is_full() {
        let limit = limit(2, 16);
        assert_eq!(limit.check(&address(0)).unwrap().remaining, 1);
        for number in 1..500 {
            let _ = limit.check(&address(number));
        }
        assert_eq!(limit.check(&address(0)).unwrap().remaining, 0);
        assert!(limit.check(&address(1_000)).is_err());
    }

    #[test]
    fn each_client_has_an_allowance_of_its_own() {
        let limit = limit(2, 1000);
        for number in 0..3 {
            assert_eq!(limit.check(&address(number)).unwrap().remaining, 1);
            assert_eq!(limit.check(&address(number)).unwrap().remaining, 0);
            let wait = limit.check(&address(number)).unwrap_err();
            assert!((3599..=3600).contains(&whole_seconds(wait)), "{wait:?}");
        }
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_client() {
        let parse = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1"));
        assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
    }

    #[test]
    fn a_rate_below_a_nanosecond_is_refused() {
        let config = RateLimitConfig {
            interval: Duration::from_nanos(1),
            ..RateLimitConfig::default()
        };
        assert!(RateLimit::new(config).is_err());
    }
}
