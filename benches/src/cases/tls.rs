//! HTTP/2 over TLS and TLS handshakes, against nginx with the same certificate.

use anyhow::{Context as _, Result};

use super::{Case, Contestant, Goal, Lab, Outcome};
use crate::measure::Sample;
use crate::peers::{Motet, Nginx, Settings, item};
use crate::tls::{Handshakes, http2};

pub(super) const HTTP2: Case = Case {
    name: "http2",
    group: "tls",
    title: "small response over HTTP/2 and TLS",
    run: small_over_http2,
};
pub(super) const HANDSHAKE: Case = Case {
    name: "handshake",
    group: "tls",
    title: "TLS handshake with ECDSA P-256, full and resumed",
    run: handshake,
};

fn small_over_http2(lab: &Lab) -> Result<Outcome> {
    let certificate = &lab.certificate;
    let motet = Motet::start(&lab.layout, Some(certificate), &Settings::with_web())?;
    let nginx = Nginx::start(&lab.layout, &item(0), certificate)?;
    let (address, id) = (motet.https.context("it was started with TLS")?, motet.id());
    let mut contestants: Vec<Contestant<'_>> = vec![(
        "ours, a static file",
        Box::new(move |span| http2(address, certificate, "/hello.json", span, id)),
    )];
    if let Some(nginx) = &nginx {
        let (address, id) = (nginx.https, nginx.id());
        contestants.push((
            "nginx",
            Box::new(move |span| http2(address, certificate, "/hello.json", span, id)),
        ));
        contestants.push((
            "nginx, a static file",
            Box::new(move |span| http2(address, certificate, "/record.json", span, id)),
        ));
    }
    let mut outcome = Outcome::of("request", lab.rounds(contestants)?);
    let (ours, figure) = ("ours, a static file", Sample::server_us);
    outcome.ratio(
        "HTTP/2 over TLS, small response, nginx : ours",
        "nginx",
        ours,
        figure,
        Goal::AtLeast(1.1),
    );
    let label = "HTTP/2 over TLS, static file, nginx : ours";
    outcome.ratio(label, "nginx, a static file", ours, figure, Goal::None);
    if nginx.is_none() {
        outcome.skipped("nginx");
    }
    Ok(outcome)
}

fn handshake(lab: &Lab) -> Result<Outcome> {
    let motet = Motet::start(&lab.layout, Some(&lab.certificate), &Settings::with_web())?;
    let nginx = Nginx::start(&lab.layout, &item(0), &lab.certificate)?;
    let (address, id) = (motet.https.context("it was started with TLS")?, motet.id());
    let mut contestants: Vec<Contestant<'_>> = Vec::new();
    for (name, resumed) in [("ours", false), ("ours, resumed", true)] {
        let client = Handshakes::new(address, &lab.certificate, resumed)?;
        contestants.push((name, Box::new(move |span| client.run(span, id))));
    }
    if let Some(nginx) = &nginx {
        let id = nginx.id();
        for (name, resumed) in [("nginx", false), ("nginx, resumed", true)] {
            let client = Handshakes::new(nginx.https, &lab.certificate, resumed)?;
            contestants.push((name, Box::new(move |span| client.run(span, id))));
        }
    }
    let mut outcome = Outcome::of("handshake", lab.rounds(contestants)?);
    let figure = Sample::server_us;
    outcome.ratio(
        "TLS full handshake, nginx : ours",
        "nginx",
        "ours",
        figure,
        Goal::AtLeast(1.8),
    );
    let label = "TLS, our full handshake : our resumed one";
    outcome.ratio(label, "ours", "ours, resumed", figure, Goal::AtLeast(2.5));
    if nginx.is_none() {
        outcome.skipped("nginx");
    }
    Ok(outcome)
}
