//! What gets slower with size: the start, a read against records, an event against subscriptions.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::mqtt::PAYLOAD;
use super::{Case, Contestant, Goal, Lab, Outcome};
use crate::load::{self, Net, Span};
use crate::measure::{Sample, median};
use crate::peers::{Motet, Settings, build_directory};
use crate::scripts::{FanOut, HttpLoad, Pace, Publisher, Reader};
use crate::wire::http::request;
use crate::wire::mqtt::{Frames, Qos, connect, subscribe};

/// Sizes of the growth curve of reads; the tables are kept under the build directory for the next run.
const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];
/// Subscriptions of the growth curve of events, beside the one that receives.
const COUNTS: [usize; 4] = [100, 1_000, 10_000, 100_000];
/// Subscriptions of one connection.
const EACH: usize = 1_000;

pub(super) const START: Case = Case {
    name: "start",
    group: "growth",
    title: "start with one million records",
    run: start,
};
pub(super) const RECORDS: Case = Case {
    name: "growth-records",
    group: "growth",
    title: "GET by id against the size of the table",
    run: records,
};
pub(super) const SUBSCRIPTIONS: Case = Case {
    name: "growth-subscriptions",
    group: "growth",
    title: "event to one subscriber against the number of subscriptions",
    run: subscriptions,
};

/// A root directory with so many items, made once.
fn stored(lab: &Lab, size: u64) -> Result<PathBuf> {
    let root = build_directory()?
        .join("motet-bench-data")
        .join(format!("items-{size}"));
    let complete = root.join("complete");
    if complete.is_file() {
        return Ok(root);
    }
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    std::fs::create_dir_all(&root)?;
    let settings = Settings {
        root: Some(root.clone()),
        ..Settings::default()
    };
    let motet = Motet::start(&lab.layout, None, &settings)?;
    let mut said = Instant::now();
    motet.load_items(0, size, |count| {
        if said.elapsed() > Duration::from_secs(5) {
            eprintln!("  {count} of {size} records");
            said = Instant::now();
        }
    })?;
    motet.stop()?;
    std::fs::write(complete, "")?;
    Ok(root)
}

fn start(lab: &Lab) -> Result<Outcome> {
    let root = stored(lab, 1_000_000)?;
    let settings = Settings {
        root: Some(root),
        ..Settings::default()
    };
    let mut times = Vec::new();
    for _ in 0..lab.rounds {
        let motet = Motet::start(&lab.layout, None, &settings)?;
        times.push(motet.start_time.as_secs_f64() * 1e3);
        motet.stop()?;
    }
    let mut outcome = Outcome::of("start", Vec::new());
    outcome.figure(
        "start with one million records",
        median(times),
        "ms",
        Goal::AtMost(200.0),
    );
    Ok(outcome)
}

fn records(lab: &Lab) -> Result<Outcome> {
    let mut servers = Vec::new();
    for size in SIZES {
        let settings = Settings {
            root: Some(stored(lab, size)?),
            ..Settings::default()
        };
        servers.push((
            format!("{size} records"),
            size,
            Motet::start(&lab.layout, None, &settings)?,
        ));
    }
    let contestants = servers.iter().map(|(name, size, motet)| -> Contestant<'_> {
        (
            name,
            Box::new(move |span| read_scattered(motet, *size, span)),
        )
    });
    let mut outcome = Outcome::of("request", lab.rounds(contestants.collect())?);
    let (most, least) = ("1000000 records", "1000 records");
    let label = "GET by id, 10^6 records : 10^3 records";
    outcome.ratio(label, most, least, Sample::server_us, Goal::AtMost(2.0));
    outcome.notes.push(
        "10^7 records take longer to write than a run may last; the curve ends at 10^6".to_owned(),
    );
    Ok(outcome)
}

fn read_scattered(motet: &Motet, size: u64, span: Span) -> Result<Sample> {
    let requests = (0..20_000_u64)
        .map(|index| index.wrapping_mul(2_654_435_761) % size)
        .map(|number| request("GET", &format!("/Item/{number}"), &[], None))
        .collect();
    let mut net = Net::new()?;
    let mut script = HttpLoad::open(&mut net, motet.http, 32, requests, Pace::Closed(1))?;
    load::run(&mut net, &mut script, span, motet.id())
}

fn subscriptions(lab: &Lab) -> Result<Outcome> {
    let mut servers = Vec::new();
    for count in COUNTS {
        let motet = Motet::start(&lab.layout, None, &Settings::default())?;
        let mut idle = Vec::new();
        for first in (0..count).step_by(EACH) {
            let mut stream = connect(motet.mqtt, &format!("idle-{first}"))?;
            let filters: Vec<_> = (first..count.min(first + EACH))
                .map(|number| format!("Message/idle-{number}"))
                .collect();
            for filters in filters.chunks(100) {
                subscribe(&mut stream, filters, Qos::Zero)?;
            }
            idle.push(stream);
        }
        servers.push((format!("{count} subscriptions"), motet, idle));
    }
    let contestants = servers.iter().map(|(name, motet, _)| -> Contestant<'_> {
        (name, Box::new(move |span| event_to_one(motet, span)))
    });
    let mut outcome = Outcome::of("event", lab.rounds(contestants.collect())?);
    let label = "event cost, 10^5 subscriptions : 10^2";
    let (most, least) = ("100000 subscriptions", "100 subscriptions");
    outcome.ratio(label, most, least, Sample::server_us, Goal::AtMost(2.0));
    Ok(outcome)
}

fn event_to_one(motet: &Motet, span: Span) -> Result<Sample> {
    const TOPIC: &str = "Message/one";
    let mut net = Net::new()?;
    let mut subscriber = connect(motet.mqtt, "subscriber")?;
    subscribe(&mut subscriber, &[TOPIC.to_owned()], Qos::Zero)?;
    let publisher = Publisher::Mqtt {
        stream: connect(motet.mqtt, "publisher")?,
        topic: TOPIC.to_owned(),
        payload: PAYLOAD.to_vec(),
        qos: Qos::Zero,
    };
    let subscribers = vec![(subscriber, Reader::Mqtt(Frames::default()))];
    let mut script = FanOut::new(&mut net, publisher, subscribers, 16)?;
    load::run(&mut net, &mut script, span, motet.id())
}
