//! Chains under a host or a path of their own.

use std::sync::Arc;

use crate::chain::{Chain, Next};
use crate::request::{OriginalPathname, Request};
use crate::response::{Response, internal_server_error};
use crate::stage::{BoxFuture, Wrap};

/// Where a stage is mounted. The host is in lower case without port, the path has a slash in front and none
/// behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) host: Option<Arc<str>>,
    pub(crate) path: Option<Arc<str>>,
}

impl Mount {
    /// How well this mount matches; the greater the better, `None` not at all.
    fn rank(&self, host: Option<&str>, path: &str) -> Option<(bool, usize)> {
        if let Some(own) = &self.host
            && !host.is_some_and(|host| host.eq_ignore_ascii_case(own))
        {
            return None;
        }
        let length = match &self.path {
            Some(prefix) => rest_below(prefix, path).map(|_| prefix.len())?,
            None => 0,
        };
        Some((self.host.is_some(), length))
    }
}

/// What remains of `path` behind `prefix`, which ends at the border of a segment.
fn rest_below<'p>(prefix: &str, path: &'p str) -> Option<&'p str> {
    match path.strip_prefix(prefix)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// A mount and its chain.
pub(crate) struct Mounted {
    mount: Mount,
    chain: Chain,
}

impl Mounted {
    pub(crate) fn new(mount: Mount, chain: Chain) -> Self {
        Self { mount, chain }
    }
}

/// Sends each request to the chain that it belongs to; without one, on.
pub(crate) struct Mounts(Vec<Mounted>);

impl Mounts {
    pub(crate) fn new(mounts: Vec<Mounted>) -> Self {
        Self(mounts)
    }

    fn chosen(&self, request: &Request) -> Option<&Mounted> {
        let host = request.hostname().map(without_brackets);
        let ranked = self.0.iter().filter_map(|mounted| {
            let rank = mounted.mount.rank(host, request.pathname())?;
            Some((rank, mounted))
        });
        ranked
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, mounted)| mounted)
    }
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

impl Wrap for Mounts {
    fn wrap<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
        let Some(Mounted { mount, chain }) = self.chosen(&request) else {
            return Box::pin(next.run(request));
        };
        if let Some(prefix) = &mount.path
            && let Err(error) = cut(&mut request, prefix)
        {
            tracing::error!(target: "http", %error, "a mounted path could not be cut off");
            return Box::pin(std::future::ready(internal_server_error()));
        }
        Box::pin(next.run_other(chain, request))
    }
}

fn cut(request: &mut Request, prefix: &str) -> Result<(), crate::request::InvalidPath> {
    let original: Arc<str> = request.pathname().into();
    let rest = rest_below(prefix, &original).unwrap_or("/");
    request.set_pathname(rest)?;
    if request.extensions().get::<OriginalPathname>().is_none() {
        request.extensions_mut().insert(OriginalPathname(original));
    }
    Ok(())
}
