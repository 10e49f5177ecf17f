//! Answers of `/metrics`, read strictly: what Prometheus would drop a scrape for is a panic.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// The samples of the text format, by series as it is written: `name{label="value"}`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape(pub BTreeMap<String, f64>);

impl Scrape {
    /// Reads the text format 0.0.4.
    ///
    /// # Panics
    ///
    /// If a sample has no `# TYPE` above it or is there twice, a family is there twice, or a number is none.
    pub fn of(text: &str) -> Self {
        let mut types: BTreeMap<&str, &str> = BTreeMap::new();
        let mut samples = BTreeMap::new();
        assert!(text.ends_with('\n'), "the last line is complete");
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').expect("a name and a type");
                assert!(types.insert(name, kind).is_none(), "{name} is there twice");
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (series, number) = line.rsplit_once(' ').expect("a series and a number");
            let name = series.split('{').next().expect("a name");
            assert!(has_type(name, &types), "no type above {line}");
            let number = number.parse().unwrap_or_else(|_| panic!("{line}"));
            let twin = samples.insert(series.to_owned(), number);
            assert_eq!(twin, None, "{series} is there twice");
        }
        Self(samples)
    }

    /// One series; 0 if it is not there.
    pub fn value(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(0.0)
    }

    /// All series of a family that have these parts in their labels.
    pub fn sum(&self, name: &str, parts: &[&str]) -> f64 {
        let is_wanted = |series: &str| {
            let labels = series.strip_prefix(name);
            labels.is_some_and(|labels| {
                (labels.is_empty() || labels.starts_with('{'))
                    && parts.iter().all(|part| labels.contains(part))
            })
        };
        let wanted = self.0.iter().filter(|(series, _)| is_wanted(series));
        wanted.map(|(_, number)| number).sum()
    }

    /// Series of a family.
    pub fn series(&self, name: &str) -> Vec<&str> {
        let prefix = format!("{name}{{");
        let series = self.0.keys().map(String::as_str);
        series
            .filter(|series| *series == name || series.starts_with(&prefix))
            .collect()
    }
}

fn has_type(name: &str, types: &BTreeMap<&str, &str>) -> bool {
    let histogram = ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .any(|base| types.get(base) == Some(&"histogram"));
    histogram || types.contains_key(name)
}

/// What `promtool check metrics` has to say about a text; nothing if all is well.
///
/// # Panics
///
/// If promtool is missing.
pub fn promtool(text: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool: {error}; `cargo xtask test` installs it"));
    let mut stdin = promtool.stdin.take().expect("stdin is piped");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.code().is_some(), "{said}");
    said
}
