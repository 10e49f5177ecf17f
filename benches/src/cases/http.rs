//! HTTP/1.1: the pipeline, records by key, queries, durable writes, and reads beside writes.

use std::net::SocketAddr;

use anyhow::Result;

use super::{Case, Contestant, Goal, Lab, Outcome};
use crate::load::{self, Net, Span};
use crate::measure::Sample;
use crate::peers::{Motet, Nginx, Own, Settings, item};
use crate::scripts::{HttpLoad, Pace};
use crate::wire::http::request;

/// Records that are there before a case begins.
const RECORDS: u64 = 100_000;
/// Connections of a closed loop.
const CONNECTIONS: usize = 32;
/// Different requests, sent in turn.
const REQUESTS: u64 = 5_000;
/// Reads a second of the open loop.
const READ_RATE: f64 = 1_000.0;

pub(super) const SMALL: Case = Case {
    name: "small",
    group: "http",
    title: "small response through listener and pipeline",
    run: small,
};
pub(super) const GET: Case = Case {
    name: "get",
    group: "http",
    title: "GET by id of a record of 200 bytes, 100,000 records",
    run: get,
};
pub(super) const QUERY: Case = Case {
    name: "query",
    group: "http",
    title: "indexed query of 20 rows, 100,000 records",
    run: query,
};
pub(super) const PUT: Case = Case {
    name: "put",
    group: "http",
    title: "durable PUT, 1 and 64 connections; POST",
    run: put,
};
pub(super) const READ_UNDER_WRITE: Case = Case {
    name: "read-under-write",
    group: "http",
    title: "1,000 GET a second, alone and beside 64 writers",
    run: read_under_write,
};
pub(super) const MIXED: Case = Case {
    name: "mixed",
    group: "http",
    title: "9 GET, 1 durable PUT",
    run: mixed,
};
pub(super) const COMPRESSION: Case = Case {
    name: "compression",
    group: "http",
    title: "100 KB of JSON, plain and compressed",
    run: compression,
};

/// A closed loop of these requests on new connections.
fn closed(
    address: SocketAddr,
    server: u32,
    connections: usize,
    requests: Vec<Vec<u8>>,
    span: Span,
) -> Result<Sample> {
    let mut net = Net::new()?;
    let mut script = HttpLoad::open(&mut net, address, connections, requests, Pace::Closed(1))?;
    load::run(&mut net, &mut script, span, server)
}

fn contestant<'a>(
    name: &'a str,
    address: SocketAddr,
    server: u32,
    requests: Vec<Vec<u8>>,
) -> Contestant<'a> {
    let measure = move |span| closed(address, server, CONNECTIONS, requests.clone(), span);
    (name, Box::new(measure))
}

fn get_request(path: &str) -> Vec<u8> {
    request("GET", path, &[("Accept", "application/json")], None)
}

/// Numbers from 0 to `below` that jump about, the same in every run.
fn scattered(below: u64) -> impl Iterator<Item = u64> {
    (0..).map(move |index: u64| index.wrapping_mul(2_654_435_761) % below)
}

fn with_records(lab: &Lab) -> Result<Motet> {
    let motet = Motet::start(&lab.layout, None, &Settings::default())?;
    motet.load_items(0, RECORDS, |_| ())?;
    Ok(motet)
}

fn gets() -> Vec<Vec<u8>> {
    scattered(RECORDS)
        .take(usize::try_from(REQUESTS).expect("a few thousand"))
        .map(|number| get_request(&format!("/Item/{number}")))
        .collect()
}

fn puts() -> Vec<Vec<u8>> {
    scattered(RECORDS)
        .skip(17)
        .take(usize::try_from(REQUESTS).expect("a few thousand"))
        .map(|number| request("PUT", &format!("/Item/{number}"), &[], Some(&item(number))))
        .collect()
}

fn small(lab: &Lab) -> Result<Outcome> {
    let hello = vec![get_request("/hello.json")];
    let (hyper, hyper_at) = Own::Hyper.start(&lab.layout)?;
    let (chain, chain_at) = Own::Chain.start(&lab.layout)?;
    let (floor, floor_at) = Own::FloorHttp.start(&lab.layout)?;
    let nginx = Nginx::start(&lab.layout, &item(0), &lab.certificate)?;
    let mut contestants = vec![
        contestant("ours", chain_at, chain.id(), hello.clone()),
        contestant("hyper", hyper_at, hyper.id(), hello.clone()),
        contestant("floor", floor_at, floor.id(), hello.clone()),
    ];
    if let Some(nginx) = &nginx {
        contestants.push(contestant("nginx", nginx.http, nginx.id(), hello));
    }
    let mut outcome = Outcome::of("request", lab.rounds(contestants)?);
    let figure = Sample::server_us;
    outcome.ratio(
        "small response, bare hyper : ours",
        "hyper",
        "ours",
        figure,
        Goal::AtLeast(0.85),
    );
    outcome.ratio(
        "small response, nginx : ours",
        "nginx",
        "ours",
        figure,
        Goal::None,
    );
    outcome.ratio(
        "small response, ours : the loopback floor",
        "ours",
        "floor",
        figure,
        Goal::None,
    );
    if nginx.is_none() {
        outcome.skipped("nginx");
    }
    Ok(outcome)
}

fn get(lab: &Lab) -> Result<Outcome> {
    let motet = with_records(lab)?;
    let web = Motet::start(&lab.layout, None, &Settings::with_web())?;
    web.load_items(0, RECORDS, |_| ())?;
    let (hyper, hyper_at) = Own::Hyper.start(&lab.layout)?;
    let nginx = Nginx::start(&lab.layout, &item(0), &lab.certificate)?;
    let file = vec![get_request("/record.json")];
    let mut contestants = vec![
        contestant("ours", motet.http, motet.id(), gets()),
        contestant("ours, beside static files", web.http, web.id(), gets()),
        contestant("ours, a static file", web.http, web.id(), file.clone()),
        contestant(
            "hyper",
            hyper_at,
            hyper.id(),
            vec![get_request("/hello.json")],
        ),
    ];
    if let Some(nginx) = &nginx {
        contestants.push(contestant(
            "nginx, a static file",
            nginx.http,
            nginx.id(),
            file,
        ));
    }
    let mut outcome = Outcome::of("request", lab.rounds(contestants)?);
    let figure = Sample::server_us;
    outcome.ratio(
        "GET by id, bare hyper small response : ours",
        "hyper",
        "ours",
        figure,
        Goal::AtLeast(0.70),
    );
    let label = "GET by id, nginx static file of the same size : ours";
    outcome.ratio(
        label,
        "nginx, a static file",
        "ours",
        figure,
        Goal::AtLeast(0.80),
    );
    let label = "static file, nginx : ours";
    outcome.ratio(
        label,
        "nginx, a static file",
        "ours, a static file",
        figure,
        Goal::None,
    );
    if nginx.is_none() {
        outcome.skipped("nginx");
    }
    Ok(outcome)
}

fn query(lab: &Lab) -> Result<Outcome> {
    let motet = with_records(lab)?;
    let requests: Vec<_> = scattered(RECORDS / 20)
        .take(2_000)
        .map(|category| get_request(&format!("/Item/?category={category}")))
        .collect();
    let series = lab.rounds(vec![contestant("ours", motet.http, motet.id(), requests)])?;
    let mut outcome = Outcome::of("query", series);
    let time = outcome.series[0].median(Sample::server_us);
    outcome.figure("indexed query of 20 rows", time, "µs", Goal::None);
    Ok(outcome)
}

fn put(lab: &Lab) -> Result<Outcome> {
    let motet = with_records(lab)?;
    let (address, id) = (motet.http, motet.id());
    let posts: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let body = format!(r#"{{"name":"posted {number}","category":1,"price":2.5}}"#);
            request("POST", "/Item/", &[], Some(&body))
        })
        .collect();
    let one: Contestant<'_> = (
        "1 connection",
        Box::new(move |span| closed(address, id, 1, puts(), span)),
    );
    let many: Contestant<'_> = (
        "64 connections",
        Box::new(move |span| closed(address, id, 64, puts(), span)),
    );
    let post: Contestant<'_> = (
        "POST, 64 connections",
        Box::new(move |span| closed(address, id, 64, posts.clone(), span)),
    );
    let mut outcome = Outcome::of("write", lab.rounds(vec![one, many, post])?);
    let label = "durable PUT, throughput with 64 connections : 1 connection";
    outcome.ratio(
        label,
        "64 connections",
        "1 connection",
        Sample::rate,
        Goal::AtLeast(25.0),
    );
    Ok(outcome)
}

fn read_under_write(lab: &Lab) -> Result<Outcome> {
    let motet = with_records(lab)?;
    let (address, id) = (motet.http, motet.id());
    let measure = move |writers: usize| {
        move |span| {
            let mut net = Net::new()?;
            let mut script = HttpLoad::open(&mut net, address, 8, gets(), Pace::Open(READ_RATE))?;
            if writers > 0 {
                script = script.with_background(&mut net, address, writers, puts())?;
            }
            load::run(&mut net, &mut script, span, id)
        }
    };
    let contestants: Vec<Contestant<'_>> = vec![
        ("alone", Box::new(measure(0))),
        ("beside 64 writers", Box::new(measure(64))),
    ];
    let mut outcome = Outcome::of("GET", lab.rounds(contestants)?);
    let p99 = |sample: &Sample| sample.latency_us(99.0);
    let label = "GET p99, beside 64 writers : alone";
    outcome.ratio(label, "beside 64 writers", "alone", p99, Goal::AtMost(2.0));
    outcome
        .notes
        .push("latency needs a quiet machine: it counts from when a request was due".to_owned());
    Ok(outcome)
}

fn mixed(lab: &Lab) -> Result<Outcome> {
    let motet = with_records(lab)?;
    let mut writes = puts().into_iter();
    let requests = gets()
        .chunks(9)
        .flat_map(|reads| reads.iter().cloned().chain(writes.next()))
        .collect();
    let series = lab.rounds(vec![contestant("ours", motet.http, motet.id(), requests)])?;
    let mut outcome = Outcome::of("request", series);
    let time = outcome.series[0].median(Sample::server_us);
    outcome.figure("9 GET and 1 durable PUT", time, "µs", Goal::None);
    Ok(outcome)
}

fn compression(lab: &Lab) -> Result<Outcome> {
    let motet = with_records(lab)?;
    // 20 rows of about 200 bytes a category.
    let path = "/Item/?category=lt=25";
    let with = |coding| vec![request("GET", path, &[("Accept-Encoding", coding)], None)];
    let mut contestants = Vec::new();
    for coding in ["identity", "br", "gzip"] {
        let requests = with(coding);
        let (address, id) = (motet.http, motet.id());
        let measure = move |span| closed(address, id, 4, requests.clone(), span);
        contestants.push((
            coding,
            Box::new(measure) as Box<dyn FnMut(Span) -> Result<Sample>>,
        ));
    }
    let mut outcome = Outcome::of("response", lab.rounds(contestants)?);
    let label = "100 KB of JSON, brotli : not compressed";
    outcome.ratio(label, "br", "identity", Sample::server_us, Goal::None);
    Ok(outcome)
}
