//! The methods of HTTP, as far as they mean something here (`rest.md` §3).

use http::Method;
use resource::Methods;

use crate::address::{Address, Place};

/// A method this interface recognizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Query,
    Copy,
    Move,
    Trace,
    Brew,
}

impl Verb {
    pub(crate) fn of(method: &Method) -> Option<Self> {
        Some(match method.as_str() {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "QUERY" => Self::Query,
            "COPY" => Self::Copy,
            "MOVE" => Self::Move,
            "TRACE" => Self::Trace,
            "BREW" => Self::Brew,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Query => "QUERY",
            Self::Copy => "COPY",
            Self::Move => "MOVE",
            Self::Trace => "TRACE",
            Self::Brew => "BREW",
        }
    }

    /// Whether a resource with these methods answers it anywhere.
    pub(crate) fn is_in(self, methods: Methods) -> bool {
        match self {
            Self::Get | Self::Head | Self::Query => methods.get,
            Self::Post => methods.create || methods.post,
            Self::Put => methods.put,
            Self::Patch => methods.patch,
            Self::Delete => methods.delete,
            Self::Options => true,
            Self::Copy => methods.get && methods.put,
            Self::Move => methods.get && methods.put && methods.delete,
            Self::Trace | Self::Brew => false,
        }
    }

    /// Whether a resource with these methods answers it at this address.
    fn is_at(self, methods: Methods, address: &Address) -> bool {
        let is_record = matches!(address.place, Place::Record(_));
        match self {
            // A property can be read, and nothing else.
            Self::Get | Self::Head | Self::Options => self.is_in(methods),
            _ if address.property.is_some() => false,
            Self::Post if is_record => methods.post,
            Self::Patch => is_record && methods.patch,
            Self::Copy | Self::Move => is_record && self.is_in(methods),
            Self::Query => !is_record && methods.get,
            Self::Put => address.place != Place::Resource && methods.put,
            _ => self.is_in(methods),
        }
    }
}

/// The value of `Allow` for `OPTIONS *`: what some resource may implement.
pub(crate) const ALLOWED_SOMEWHERE: &str =
    "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, QUERY, COPY, MOVE";

/// The value of `Allow`: what is implemented at this address, or anywhere if the address cannot be read.
/// TRACE is not among it, as it is never answered.
pub(crate) fn allow(methods: Methods, address: Option<&Address>) -> String {
    let verbs = [
        Verb::Get,
        Verb::Head,
        Verb::Post,
        Verb::Put,
        Verb::Patch,
        Verb::Delete,
        Verb::Options,
        Verb::Query,
        Verb::Copy,
        Verb::Move,
    ];
    let allowed: Vec<&str> = verbs
        .into_iter()
        .filter(|verb| match address {
            Some(address) => verb.is_at(methods, address),
            None => verb.is_in(methods),
        })
        .map(Verb::name)
        .collect();
    allowed.join(", ")
}
