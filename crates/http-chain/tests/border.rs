//! The border to tower, in both directions.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::ops::ControlFlow;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use http_chain::{Body, BoxFuture, Chain, LayerWrap, Request, Response, ServiceHandler, Stage};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

/// A layer as third parties write them: it changes the types of both bodies, adds a header and answers
/// some requests itself.
#[derive(Clone)]
struct Teapot<S> {
    inner: S,
}

impl<S> Service<http::Request<Body>> for Teapot<S>
where
    S: Service<http::Request<Full<Bytes>>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = http::Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut inner = self.inner.clone();
        Box::pin(async move {
            if request.uri().path() == "/tea" {
                let mut response = http::Response::new(Full::from("short and stout"));
                *response.status_mut() = StatusCode::IM_A_TEAPOT;
                return Ok(response);
            }
            let (parts, body) = request.into_parts();
            let body = Full::new(body.collect(1000).await.unwrap());
            let Ok(response) = inner.call(http::Request::from_parts(parts, body)).await;
            let (mut parts, body) = response.into_parts();
            parts.headers.append("x-layers", "teapot".parse().unwrap());
            Ok(http::Response::from_parts(
                parts,
                Full::new(body.collect(1000).await.unwrap()),
            ))
        })
    }
}

fn teapot<S>() -> impl Layer<S, Service = Teapot<S>> {
    layer_fn(|inner| Teapot { inner })
}

fn echo() -> Stage {
    Stage::handler(|mut request: Request| async move {
        match request.pathname() {
            "/echo" => ControlFlow::Break(request.bytes(1000).await.map(Response::from).into()),
            _ => ControlFlow::Continue(request),
        }
    })
}

async fn post(chain: &Chain, path: &str, body: &'static str) -> (u16, String, usize) {
    let request = http::Request::post(path)
        .body(Full::<Bytes>::from(body))
        .unwrap();
    let Ok(response) = chain.clone().call(request).await;
    let (status, layers) = (
        response.status().as_u16(),
        response.headers().get_all("x-layers").iter().count(),
    );
    let body = response.into_body().collect(1000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap(), layers)
}

#[tokio::test]
async fn a_tower_layer_surrounds_the_rest_of_the_chain_wherever_it_stands() {
    let chain = Chain::new([
        ("outer", Stage::wrap(LayerWrap::new(&teapot()))),
        ("inner", Stage::wrap(LayerWrap::new(&teapot()))),
        ("echo", echo()),
    ]);
    assert_eq!(
        post(&chain, "/echo", "hello").await,
        (200, "hello".to_owned(), 2)
    );
    assert_eq!(
        post(&chain, "/other", "").await,
        (404, "Not found\n".to_owned(), 2)
    );
    assert_eq!(
        post(&chain, "/tea", "").await,
        (418, "short and stout".to_owned(), 0)
    );
}

#[tokio::test]
async fn a_layer_that_drops_the_extensions_gets_500_and_no_panic() {
    #[derive(Clone)]
    struct Forgetful<S>(S);
    impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for Forgetful<S> {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
            self.0.poll_ready(cx)
        }
        fn call(&mut self, request: http::Request<Body>) -> S::Future {
            self.0.call(http::Request::new(request.into_body()))
        }
    }
    let chain = Chain::new([
        (
            "forgetful",
            Stage::wrap(LayerWrap::new(&layer_fn(Forgetful))),
        ),
        ("echo", echo()),
    ]);
    assert_eq!(post(&chain, "/echo", "hello").await.0, 500);
}

#[tokio::test]
async fn a_tower_service_is_a_handler_and_a_chain_is_a_tower_service() {
    #[derive(Clone)]
    struct Greeter;
    impl Service<http::Request<Body>> for Greeter {
        type Response = http::Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            ready(Ok(http::Response::new(Full::from(format!(
                "{} {}",
                request.method(),
                request.uri()
            )))))
        }
    }
    let inner = Chain::new([
        ("echo", echo()),
        ("greeter", Stage::handler(ServiceHandler::new(Greeter))),
    ]);
    assert_eq!(post(&inner, "/echo", "x").await, (200, "x".to_owned(), 0));
    assert_eq!(
        post(&inner, "/any?q", "x").await,
        (200, "POST /any?q".to_owned(), 0)
    );

    // A chain in a chain, behind a layer around the whole.
    let outer = Chain::new([("inner", Stage::handler(ServiceHandler::new(inner)))]);
    let mut layered = teapot().layer(outer);
    let Ok(response) = layered.call(http::Request::new(Body::Empty)).await;
    assert_eq!(response.headers()["x-layers"], "teapot");
    assert_eq!(
        Body::new(response.into_body()).collect(100).await.unwrap(),
        "GET /"
    );
}

#[test]
fn conversion_keeps_everything() {
    let request = http::Request::put("/a?b")
        .header("x", "y")
        .extension(5_u8)
        .body(Body::from("body"))
        .unwrap();
    let request = Request::from(request);
    assert_eq!(
        (request.method(), request.url(), request.header("X")),
        (&Method::PUT, "/a?b", Some("y"))
    );
    let request = http::Request::from(request);
    assert_eq!(request.extensions().get::<u8>(), Some(&5));
    assert!(matches!(request.body(), Body::Full(_)));
}

#[tokio::test]
async fn layers_of_tower_http_are_hosted_unchanged() {
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::exact("https://app.example".parse().unwrap()))
        .allow_methods([Method::POST]);
    let name = http::HeaderName::from_static("x-set");
    let set = SetResponseHeaderLayer::overriding(name, http::HeaderValue::from_static("yes"));
    let chain = Chain::new([
        ("cors", Stage::wrap(LayerWrap::new(&cors))),
        ("set", Stage::wrap(LayerWrap::new(&set))),
        ("echo", echo()),
    ]);
    let request = |method: Method| {
        http::Request::builder()
            .method(method)
            .uri("/echo")
            .header("origin", "https://app.example")
            .header("access-control-request-method", "POST")
            .body(Full::<Bytes>::from("hello"))
            .unwrap()
    };
    let Ok(answer) = chain.clone().call(request(Method::POST)).await;
    let fields = answer.headers();
    assert_eq!(fields["access-control-allow-origin"], "https://app.example");
    assert_eq!(fields["x-set"], "yes");
    let body = answer.into_body().collect(100).await.unwrap();
    assert_eq!(body, "hello");
    // A layer may answer without the rest of the chain.
    let Ok(preflight) = chain.clone().call(request(Method::OPTIONS)).await;
    assert_eq!(preflight.headers()["access-control-allow-methods"], "POST");
    assert!(!preflight.headers().contains_key("x-set"));
}
