//! The processors: what they are and how busy they were.

use resource::{Map, Value};

use super::proc;

/// Time the processors have spent since the machine started, in ticks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CpuSample {
    all: Ticks,
    each: Vec<Ticks>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Ticks {
    user: f64,
    nice: f64,
    system: f64,
    idle: f64,
    irq: f64,
    steal: f64,
}

impl CpuSample {
    /// Now; `None` where the system does not say.
    pub(super) fn take() -> Option<Self> {
        Self::parse(&proc::read("/proc/stat")?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter_map(|line| {
            let (name, rest) = line.split_once(' ')?;
            name.starts_with("cpu")
                .then(|| Ticks::of(&proc::numbers(rest)))
        });
        let all = lines.next()?;
        Some(Self {
            all,
            each: lines.collect(),
        })
    }
}

impl Ticks {
    /// user nice system idle iowait irq softirq steal
    fn of(numbers: &[f64]) -> Self {
        let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
        Self {
            user: at(0),
            nice: at(1),
            system: at(2),
            idle: at(3) + at(4),
            irq: at(5) + at(6),
            steal: at(7),
        }
    }

    fn since(self, before: Self) -> Self {
        let minus = |now: f64, before: f64| (now - before).max(0.0);
        Self {
            user: minus(self.user, before.user),
            nice: minus(self.nice, before.nice),
            system: minus(self.system, before.system),
            idle: minus(self.idle, before.idle),
            irq: minus(self.irq, before.irq),
            steal: minus(self.steal, before.steal),
        }
    }

    /// Shares in percent.
    fn load(self) -> Map {
        let total = self.user + self.nice + self.system + self.idle + self.irq + self.steal;
        let percent = |ticks: f64| match total > 0.0 {
            true => Value::Float(100.0 * ticks / total),
            false => Value::Float(0.0),
        };
        Map::from_iter([
            ("currentLoad", percent(total - self.idle)),
            ("currentLoadUser", percent(self.user)),
            ("currentLoadSystem", percent(self.system)),
            ("currentLoadNice", percent(self.nice)),
            ("currentLoadIdle", percent(self.idle)),
            ("currentLoadIrq", percent(self.irq)),
            ("currentLoadSteal", percent(self.steal)),
        ])
    }
}

/// The part `cpu`.
pub(super) fn information(before: Option<&CpuSample>, now: Option<&CpuSample>) -> Map {
    let mut map = proc::read("/proc/cpuinfo")
        .map(|text| model(&text))
        .unwrap_or_default();
    if let Some(now) = now {
        map.insert("current_load", current_load(before, now));
    }
    map
}

fn current_load(before: Option<&CpuSample>, now: &CpuSample) -> Map {
    let mut map = Map::new();
    let average = proc::line("/proc/loadavg");
    let average = average.and_then(|line| proc::numbers::<f64>(&line).first().copied());
    if let Some(average) = average {
        map.insert("avgLoad", average);
    }
    let since = |now: Ticks, before: Option<Ticks>| now.since(before.unwrap_or_default()).load();
    let all = since(now.all, before.map(|before| before.all));
    map = map.into_iter().chain(all).collect();
    let each = now.each.iter().enumerate().map(|(index, ticks)| {
        let before = before.and_then(|before| before.each.get(index).copied());
        Value::Map(since(*ticks, before))
    });
    map.insert("cpus", each.collect::<Vec<_>>());
    map
}

/// `/proc/cpuinfo`: a paragraph for each logical processor.
fn model(text: &str) -> Map {
    let first = |name: &str| proc::field(text, name, ':').map(Value::from);
    let all = |name: &str| proc::fields(text, name, ':').collect::<Vec<_>>();
    let mut map = Map::new();
    for (name, value) in [
        ("manufacturer", first("vendor_id")),
        ("brand", first("model name")),
        ("vendor", first("vendor_id")),
    ] {
        if let Some(value) = value {
            map.insert(name, value);
        }
    }
    let speeds: Vec<f64> = all("cpu MHz")
        .iter()
        .filter_map(|mhz| Some(mhz.parse::<f64>().ok()? / 1000.0))
        .collect();
    if let Some(speed) = speeds.first() {
        map.insert("speed", *speed);
    }
    let distinct = |mut values: Vec<&str>| {
        values.sort_unstable();
        values.dedup();
        values.len().max(1) as u64
    };
    let cores = all("processor").len() as u64;
    let sockets = distinct(all("physical id"));
    let cores_a_socket = proc::field(text, "cpu cores", ':').and_then(|n| n.parse::<u64>().ok());
    map.insert("cores", cores);
    map.insert(
        "physicalCores",
        cores_a_socket.map_or(cores, |each| each * sockets),
    );
    map.insert("processors", sockets);
    if !speeds.is_empty() {
        map.insert("cpu_speed", cpu_speed(&speeds));
    }
    map
}

/// In GHz.
fn cpu_speed(speeds: &[f64]) -> Map {
    let sum: f64 = speeds.iter().sum();
    let cores = speeds.iter().copied().map(Value::Float).collect();
    Map::from_iter([
        (
            "min",
            Value::Float(speeds.iter().copied().fold(f64::MAX, f64::min)),
        ),
        (
            "max",
            Value::Float(speeds.iter().copied().fold(0.0, f64::max)),
        ),
        ("avg", Value::Float(sum / speeds.len() as f64)),
        ("cores", Value::Array(cores)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_the_work_between_two_samples() {
        let parse = |text| CpuSample::parse(text).unwrap();
        let before =
            parse("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0\nintr 1\n");
        let now = parse("cpu  130 0 120 850 0 0 0 0 0 0\ncpu0 130 0 120 850 0 0 0 0 0 0\nintr 1\n");
        let load = current_load(Some(&before), &now);
        let number = |map: &Map, name: &str| map.get(name).unwrap().as_f64().unwrap();
        assert_eq!(number(&load, "currentLoad"), 50.0);
        assert_eq!(number(&load, "currentLoadUser"), 30.0);
        assert_eq!(number(&load, "currentLoadIdle"), 50.0);
        assert_eq!(load.get("cpus").unwrap().as_array().unwrap().len(), 1);
        assert_eq!(number(&current_load(Some(&now), &now), "currentLoad"), 0.0);
        assert_eq!(CpuSample::parse(""), None);
    }

    #[test]
    fn sockets_and_cores_are_counted() {
        let processor = |n: u32, socket: u32| {
            format!(
                "processor\t: {n}\nvendor_id\t: V\nmodel name\t: M\ncpu MHz\t\t: {}.0\n\
                 physical id\t: {socket}\ncpu cores\t: 1\n\n",
                2000 + 1000 * n
            )
        };
        let map = model(&(processor(0, 0) + &processor(1, 1)));
        let number = |name: &str| map.get(name).and_then(Value::as_i64).unwrap();
        assert_eq!(
            (
                number("cores"),
                number("physicalCores"),
                number("processors")
            ),
            (2, 2, 2)
        );
        assert_eq!(map.get("brand"), Some(&Value::from("M")));
        let speed = map.get("cpu_speed").unwrap().as_map().unwrap();
        assert_eq!(speed.get("avg"), Some(&Value::Float(2.5)));
    }
}
