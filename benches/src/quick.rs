//! Quick mode: instructions of the whole server for one operation on named hot paths, against a baseline.
//!
//! The server runs under callgrind, which counts every instruction of every thread. A hot path is driven for
//! some operations to warm up, the counter is set back, and the path is driven again: the count divided by the
//! operations does not depend on how fast or how busy the machine is. Static files are not among the paths:
//! valgrind does not know `openat2`, so another path than on a real system would be counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cpu::Layout;
use crate::load::{Net, Script, run_operations};
use crate::measure::to_f64;
use crate::peers::{Motet, Settings, item, scratch};
use crate::scripts::{FanOut, HttpLoad, Pace, Pairs, Publisher, Reader};
use crate::wire::http::request;
use crate::wire::mqtt::{self, Qos};
use crate::wire::websocket;

/// Growth of a count that fails the run.
const TOLERANCE: f64 = 0.10;
/// Operations before and in a count.
const WARM_UP: u64 = 200;
const COUNTED: u64 = 2_000;
/// Records of the table that is read.
const RECORDS: u64 = 2_000;

/// Instructions for one operation, by the name of the hot path.
pub type Counts = BTreeMap<String, f64>;

/// Counts all hot paths.
///
/// # Errors
///
/// If valgrind is not installed, or the server does not do what it is asked.
pub fn count(layout: &Layout) -> Result<Counts> {
    let directory = scratch()?;
    let out = directory.path().join("callgrind.out");
    let settings = Settings {
        wrapper: vec![
            "valgrind".to_owned(),
            "--tool=callgrind".to_owned(),
            format!("--callgrind-out-file={}", out.display()),
            "--quiet".to_owned(),
        ],
        more: vec!["--STORAGE_MAPSIZE=1G".to_owned()],
        ..Settings::default()
    };
    let motet = Motet::start(layout, None, &settings)
        .context("quick mode needs valgrind, which `cargo xtask bench --setup` installs")?;
    motet.load_items(0, RECORDS, |_| ())?;
    let counter = Counter {
        pid: motet.id(),
        out,
        dumps: 0,
    };
    paths(&motet, counter)
}

fn paths(motet: &Motet, mut counter: Counter) -> Result<Counts> {
    let mut counts = Counts::new();
    let get = |path: String| request("GET", &path, &[("Accept", "application/json")], None);
    let gets = (0..RECORDS)
        .map(|number| get(format!("/Item/{number}")))
        .collect();
    let puts = (0..RECORDS)
        .map(|number| request("PUT", &format!("/Item/{number}"), &[], Some(&item(number))))
        .collect();
    let queries = (0..RECORDS / 20)
        .map(|number| get(format!("/Item/?category={number}")))
        .collect();
    for (name, requests) in [
        ("GET of a record", gets),
        ("query of 20 rows", queries),
        ("PUT", puts),
    ] {
        let mut net = Net::new()?;
        let mut script = HttpLoad::open(&mut net, motet.http, 1, requests, Pace::Closed(1))?;
        counts.insert(name.to_owned(), counter.count(&mut net, &mut script)?);
    }
    for (name, qos) in [
        ("MQTT delivery, QoS 0", Qos::Zero),
        ("MQTT delivery, QoS 1", Qos::One),
    ] {
        let mut net = Net::new()?;
        let mut script = mqtt_fan_out(motet, &mut net, qos)?;
        counts.insert(name.to_owned(), counter.count(&mut net, &mut script)?);
    }
    let mut net = Net::new()?;
    let mut script = mqtt_pair(motet, &mut net)?;
    counts.insert(
        "MQTT message to one subscriber".to_owned(),
        counter.count(&mut net, &mut script)?,
    );
    let mut net = Net::new()?;
    let mut script = websocket_fan_out(motet, &mut net)?;
    counts.insert(
        "WebSocket delivery".to_owned(),
        counter.count(&mut net, &mut script)?,
    );
    Ok(counts)
}

const TOPIC: &str = "Message/quick";
const MESSAGE: &[u8] = br#"{"sensor":"roof","celsius":18.5}"#;

fn mqtt_publisher(motet: &Motet, qos: Qos) -> Result<Publisher> {
    Ok(Publisher::Mqtt {
        stream: mqtt::connect(motet.mqtt, "publisher")?,
        topic: TOPIC.to_owned(),
        payload: MESSAGE.to_vec(),
        qos,
    })
}

fn mqtt_fan_out(motet: &Motet, net: &mut Net, qos: Qos) -> Result<FanOut> {
    let mut subscribers = Vec::new();
    for number in 0..20 {
        let mut stream = mqtt::connect(motet.mqtt, &format!("subscriber-{number}"))?;
        mqtt::subscribe(&mut stream, &[TOPIC.to_owned()], qos)?;
        subscribers.push((stream, Reader::Mqtt(mqtt::Frames::default())));
    }
    FanOut::new(net, mqtt_publisher(motet, qos)?, subscribers, 1)
}

fn mqtt_pair(motet: &Motet, net: &mut Net) -> Result<Pairs> {
    let mut subscriber = mqtt::connect(motet.mqtt, "subscriber")?;
    mqtt::subscribe(&mut subscriber, &[TOPIC.to_owned()], Qos::Zero)?;
    let publisher = mqtt::connect(motet.mqtt, "publisher")?;
    Pairs::new(
        net,
        vec![(publisher, TOPIC.to_owned())],
        vec![subscriber],
        MESSAGE,
        Qos::Zero,
    )
}

fn websocket_fan_out(motet: &Motet, net: &mut Net) -> Result<FanOut> {
    let mut subscribers = Vec::new();
    for _ in 0..20 {
        let stream = websocket::connect(motet.http, &format!("/{TOPIC}"))?;
        subscribers.push((stream, Reader::WebSocket(websocket::Frames::default())));
    }
    let script = FanOut::new(net, mqtt_publisher(motet, Qos::Zero)?, subscribers, 1)?;
    net.settle(Duration::from_millis(500))?;
    Ok(script)
}

/// Reads the instruction counter of a process under callgrind.
struct Counter {
    pid: u32,
    out: PathBuf,
    dumps: u32,
}

impl Counter {
    fn count(&mut self, net: &mut Net, script: &mut impl Script) -> Result<f64> {
        run_operations(net, script, WARM_UP, true)?;
        self.dump()?;
        let before = script.tally().operations;
        run_operations(net, script, COUNTED, false)?;
        // A delivery that is on its way belongs to the count it began in.
        let instructions = self.dump()?;
        Ok(to_f64(instructions) / to_f64(script.tally().operations - before))
    }

    /// Instructions since the last call; sets the counter back.
    fn dump(&mut self) -> Result<u64> {
        self.dumps += 1;
        let status = Command::new("vgdb")
            .arg(format!("--pid={}", self.pid))
            .args(["-c", "dump"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("cannot start vgdb, which is a part of valgrind")?;
        ensure!(status.success(), "vgdb ended with {status}");
        let file = PathBuf::from(format!("{}.{}", self.out.display(), self.dumps));
        let start = Instant::now();
        loop {
            if let Some(totals) = std::fs::read_to_string(&file)
                .ok()
                .and_then(|text| totals(&text))
            {
                return Ok(totals);
            }
            if start.elapsed() > Duration::from_secs(20) {
                bail!("callgrind wrote no count");
            }
            crate::peers::pause(Duration::from_millis(20));
        }
    }
}

/// The count is on the last line of a dump.
fn totals(dump: &str) -> Option<u64> {
    let line = dump.trim_end().lines().next_back()?;
    line.strip_prefix("totals: ")?.trim().parse().ok()
}

/// Compares counts with those of the baseline and prints both.
///
/// # Errors
///
/// If a count is more than 10 % above its baseline, or has none.
pub fn compare(counts: &Counts, baseline: &Path) -> Result<()> {
    let known: Counts = match std::fs::read_to_string(baseline) {
        Ok(text) => serde_json::from_str(&text).with_context(|| baseline.display().to_string())?,
        Err(error) => bail!(
            "{}: {error}; `cargo xtask bench --quick --accept` makes it",
            baseline.display()
        ),
    };
    let mut worse = Vec::new();
    println!(
        "{:<34} {:>14} {:>14} {:>8}",
        "instructions for one operation", "baseline", "now", "change"
    );
    for (name, now) in counts {
        let Some(before) = known.get(name) else {
            worse.push(format!("{name}: no baseline"));
            continue;
        };
        let change = now / before - 1.0;
        println!(
            "{name:<34} {before:>14.0} {now:>14.0} {:>+7.1}%",
            change * 100.0
        );
        if change > TOLERANCE {
            worse.push(format!("{name}: {:+.1} %", change * 100.0));
        }
    }
    if !worse.is_empty() {
        bail!(
            "more than {:.0} % above the baseline: {}. If that is meant, `cargo xtask bench --quick --accept`",
            TOLERANCE * 100.0,
            worse.join(", ")
        );
    }
    Ok(())
}

/// Makes these counts the baseline.
///
/// # Errors
///
/// If the file cannot be written.
pub fn accept(counts: &Counts, baseline: &Path) -> Result<()> {
    let rounded: Counts = counts
        .iter()
        .map(|(name, count)| (name.clone(), count.round()))
        .collect();
    std::fs::write(baseline, serde_json::to_string_pretty(&rounded)? + "\n")?;
    println!("the baseline is {} now", baseline.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(value: f64) -> Counts {
        Counts::from([("GET".to_owned(), value)])
    }

    #[test]
    fn more_than_a_tenth_above_the_baseline_fails_and_names_the_path() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("baseline.json");
        assert!(compare(&counts(1.0), &file).is_err());
        accept(&counts(1000.0), &file).unwrap();
        compare(&counts(1099.0), &file).unwrap();
        compare(&counts(500.0), &file).unwrap();
        let error = compare(&counts(1101.0), &file).unwrap_err();
        assert!(error.to_string().contains("GET: +10.1 %"), "{error}");
    }

    #[test]
    fn a_path_without_baseline_fails() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("baseline.json");
        accept(&Counts::new(), &file).unwrap();
        assert!(compare(&counts(1.0), &file).is_err());
    }

    #[test]
    fn the_count_is_read_from_a_finished_dump_alone() {
        assert_eq!(totals("events: Ir\nfn=x\n1 2\ntotals: 1234\n"), Some(1234));
        assert_eq!(totals("events: Ir\nfn=x\n1 2\n"), None);
    }
}
