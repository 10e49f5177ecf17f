//! What a client and a payload may contain: the seeds of the fuzz targets as plain tests, cut short at every
//! byte and with single bytes changed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::{HeaderValue, Method};
use http_chain::{Handler as _, Request};
use proto_sse::framing::Block;
use proto_sse::{Sse, SseConfig};
use resource::hub::QueueLimits;
use resource::{Caller, Exposure, Registry};

use crate::support::Table;

/// Calls `run` with all variants of all seeds of a target.
fn for_each_variant(target: &str, mut run: impl FnMut(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut count = 0;
    for file in fs::read_dir(seeds).unwrap() {
        let seed = fs::read(file.unwrap().path()).unwrap();
        (0..=seed.len()).for_each(|end| run(&seed[..end]));
        for at in 0..seed.len() {
            for change in [0x01, 0x0a, 0x20, 0x7f, 0x80] {
                let mut changed = seed.clone();
                changed[at] ^= change;
                run(&changed);
            }
        }
        count += 1;
    }
    assert!(count > 0, "{target} has no seeds");
}

#[tokio::test]
async fn every_request_gets_a_stream_or_a_problem() {
    let registry = Arc::new(Registry::new());
    let table = Table::start(QueueLimits::default());
    registry.export("Dog", table, Exposure::default());
    let sse = Sse::new(registry, SseConfig::default());
    for_each_variant("request", |bytes| {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (target, id) = bytes.split_at(end.unwrap_or(bytes.len()));
        let target = String::from_utf8_lossy(target);
        let Ok(mut request) = Request::new(Method::GET, &format!("/Dog{target}")) else {
            return;
        };
        let headers = request.headers_mut();
        headers.insert("accept", HeaderValue::from_static("text/event-stream"));
        if let Ok(id) = HeaderValue::from_bytes(id.get(1..).unwrap_or_default()) {
            headers.insert("last-event-id", id);
        }
        request.extensions_mut().insert(Caller::internal("tester"));
        let answer = sse
            .handle(request)
            .now_or_never()
            .expect("answered at once");
        if let Some(response) = answer.break_value() {
            let status = response.status().as_u16();
            assert!(matches!(status, 200 | 400 | 406), "{status} for {target}");
        }
    });
    assert_eq!(sse.statistics().streams, 0);
}

#[test]
fn no_text_forges_a_field_and_a_reader_gets_the_payload_back() {
    for_each_variant("framing", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let mut parts = text.splitn(3, '\n');
        let [event, id, data] = std::array::from_fn(|_| parts.next().unwrap_or_default());
        let mut out = Vec::new();
        let block = Block {
            event: Some(event),
            data: Some(data.as_bytes()),
            id: Some(id),
            retry_ms: None,
        };
        block.encode(&mut out);
        let block = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = block.strip_suffix("\n\n").unwrap().split('\n').collect();
        let starting = |name: &'static str| {
            let lines = lines.iter();
            lines
                .filter_map(move |line| line.strip_prefix(name))
                .collect::<Vec<_>>()
        };
        assert_eq!((starting("event: ").len(), starting("id: ").len()), (1, 1));
        assert_eq!(starting("data: ").len() + 2, lines.len());
        let sent = data.replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!(starting("data: ").join("\n"), sent);
    });
}
