//! A table in memory and a chain around it.
#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod table;

use std::sync::Arc;

use base::ConnInfo;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_chain::{Body, Chain, Stage};
use resource::{Caller, Exposure, Registry, Resource};
use rest::{Rest, RestConfig};

pub(crate) use self::table::Table;

/// The REST handler with some tables behind it.
pub(crate) struct Service {
    pub(crate) registry: Arc<Registry>,
    pub(crate) dogs: Arc<Table>,
    chain: Chain,
    caller: Caller,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::with(RestConfig::default())
    }

    /// `Dog` with a text key and `Book` with a number as key; the caller is a super user.
    pub(crate) fn with(config: RestConfig) -> Self {
        let registry = Arc::new(Registry::new());
        let dogs = Arc::new(Table::dogs());
        registry.export(
            "Dog",
            Arc::clone(&dogs) as Arc<dyn Resource>,
            Exposure::default(),
        );
        registry.export("Book", Arc::new(Table::books()), Exposure::default());
        let rest = Rest::new(Arc::clone(&registry), config);
        Self {
            chain: Chain::new([("rest", Stage::handler(rest))]),
            caller: Caller::internal("test"),
            registry,
            dogs,
        }
    }

    pub(crate) fn by(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    pub(crate) fn export(&self, path: &str, resource: Arc<dyn Resource>) {
        self.registry.export(path, resource, Exposure::default());
    }

    pub(crate) async fn send(&self, request: Call<'_>) -> Reply {
        let (head, body) = self.begin(request).await.into_parts();
        let body = body
            .collect(u64::MAX)
            .await
            .map_err(|error| error.to_string());
        Reply {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    /// The response before its body is read.
    pub(crate) async fn begin(&self, call: Call<'_>) -> http::Response<Body> {
        let mut request = Request::builder().method(call.method).uri(call.url);
        for (name, value) in &call.headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(call.body)).expect(call.url);
        request.extensions_mut().insert(self.caller.clone());
        request
            .extensions_mut()
            .insert(Arc::new(ConnInfo::loopback()));
        self.chain.answer(request.into()).await.into()
    }

    pub(crate) async fn get(&self, url: &str) -> Reply {
        self.send(Call::new("GET", url)).await
    }

    pub(crate) async fn put(&self, url: &str, json: &str) -> Reply {
        self.send(Call::new("PUT", url).json(json)).await
    }

    /// `GET url` must answer this JSON.
    #[track_caller]
    pub(crate) fn shows(&self, url: &str, expected: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let reply = self.get(url).await;
            assert_eq!(reply.text(), expected, "{url} at {place}");
            assert_eq!(reply.status, 200, "{url} at {place}");
        }
    }
}

/// A request in the making.
pub(crate) struct Call<'a> {
    method: &'a str,
    url: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: Bytes,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: &'a str, url: &'a str) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn accept(self, accept: &'a str) -> Self {
        self.header("accept", accept)
    }

    pub(crate) fn body(mut self, content_type: &'a str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into().into();
        self.header("content-type", content_type)
    }

    pub(crate) fn untyped_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into().into();
        self
    }

    pub(crate) fn json(self, json: &str) -> Self {
        self.body("application/json", json)
    }
}

/// A response that has been read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Result<Bytes, String>,
}

impl Reply {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.body.as_ref().expect("a whole body")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.bytes()).expect("text")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("visible ASCII"))
    }

    /// The `detail` of problem details.
    pub(crate) fn detail(&self) -> String {
        let value = resource::json::from_slice(self.bytes()).expect("JSON");
        let detail = value
            .as_map()
            .and_then(|problem| problem.get("detail")?.as_str());
        detail
            .unwrap_or_else(|| panic!("no detail in {value:?}"))
            .to_owned()
    }

    /// Status and body.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, text: &str) {
        assert_eq!((self.status.as_u16(), self.text()), (status, text));
    }

    /// Status and the detail of the problem.
    #[track_caller]
    pub(crate) fn fails(&self, status: u16, detail: &str) {
        assert_eq!(self.status, status, "{:?}", self.body);
        assert_eq!(self.detail(), detail);
    }
}
