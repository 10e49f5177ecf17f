//! The text formats of Prometheus 0.0.4 and OpenMetrics 1.0.0.

use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::{Exemplar, FamilySnapshot, Kind, Number, Sample, SampleValue, Snapshot};
use super::labels;

/// Appends the Prometheus text format, every name behind `prefix`.
pub fn prometheus(snapshot: &Snapshot, prefix: &str, out: &mut String) {
    for family in &snapshot.families {
        let name = format!("{prefix}{}", family.name);
        let kind = kind_word(family.kind);
        push(out, format_args!("# HELP {name} {}\n", Help(family.help)));
        push(out, format_args!("# TYPE {name} {kind}\n"));
        for sample in &family.samples {
            write_sample(out, &name, family, sample, |_, _| {});
        }
    }
}

/// Appends the OpenMetrics text format, every name behind `prefix`, buckets with their exemplars.
///
/// With `created`, the time since which everything is counted, counters and histograms have a sample `_created` each.
///
/// There a counter family is called by its name without `_total`, and a counter must have that suffix: one
/// without is sent as of unknown type. So is one whose shorter name is that of another family, as
/// `server_connections_total` beside the gauge `server_connections`: no family may be there twice.
pub fn openmetrics(
    snapshot: &Snapshot,
    prefix: &str,
    created: Option<SystemTime>,
    out: &mut String,
) {
    let created = created.map(seconds);
    for family in &snapshot.families {
        let name = format!("{prefix}{}", family.name);
        let is_taken = |base: &str| {
            let others = &snapshot.families;
            let base = base.strip_prefix(prefix).unwrap_or(base);
            others
                .binary_search_by_key(&base, |other| other.name)
                .is_ok()
        };
        let (base, kind) = match (family.kind, name.strip_suffix("_total")) {
            (Kind::Counter, Some(base)) if !is_taken(base) => (base, "counter"),
            (Kind::Counter, _) => (&*name, "unknown"),
            (kind, _) => (&*name, kind_word(kind)),
        };
        push(out, format_args!("# TYPE {base} {kind}\n"));
        if let Some(unit) = ["seconds", "bytes"]
            .into_iter()
            .find(|unit| has_unit(base, unit))
        {
            push(out, format_args!("# UNIT {base} {unit}\n"));
        }
        push(
            out,
            format_args!("# HELP {base} {}\n", LabelValue(family.help)),
        );
        for sample in &family.samples {
            write_sample(out, &name, family, sample, write_exemplar);
            if let (Some(created), "counter" | "histogram") = (created, kind) {
                let braced = Labels::new(family, sample).braced(None);
                push(out, format_args!("{base}_created{braced} {created}\n"));
            }
        }
    }
    out.push_str("# EOF\n");
}

/// Behind the number of a bucket.
fn write_exemplar(out: &mut String, exemplar: &Exemplar) {
    let Exemplar { trace, value, at } = exemplar;
    let (value, at) = (Shown(Number::Float(*value)), seconds(*at));
    push(
        out,
        format_args!(" # {{trace_id=\"{trace}\"}} {value} {at}"),
    );
}

/// Since 1970.
fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as f64 / 1000.0
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

fn has_unit(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit)
        .is_some_and(|rest| rest.ends_with('_'))
}

fn write_sample(
    out: &mut String,
    name: &str,
    family: &FamilySnapshot,
    sample: &Sample,
    exemplar: impl Fn(&mut String, &Exemplar),
) {
    let labels = Labels::new(family, sample);
    match &sample.value {
        SampleValue::Single(number) => {
            push(
                out,
                format_args!("{name}{} {}\n", labels.braced(None), Shown(*number)),
            );
        }
        SampleValue::Distribution(distribution) => {
            let bounds = distribution.bounds.iter().copied().chain([f64::INFINITY]);
            for (at, (bound, count)) in bounds.zip(&distribution.cumulative).enumerate() {
                let braced = labels.braced(Some(bound));
                push(out, format_args!("{name}_bucket{braced} {count}"));
                if let Some(Some(one)) = distribution.exemplars.get(at) {
                    exemplar(out, one);
                }
                out.push('\n');
            }
            let braced = labels.braced(None);
            let count = distribution.cumulative.last().unwrap_or(&0);
            push(
                out,
                format_args!("{name}_sum{braced} {}\n", Shown(distribution.sum)),
            );
            push(out, format_args!("{name}_count{braced} {count}\n"));
        }
    }
}

/// The labels of a sample as text, sorted by name.
struct Labels(String);

impl Labels {
    fn new(family: &FamilySnapshot, sample: &Sample) -> Self {
        let mut pairs: Vec<_> = labels(family, sample).collect();
        pairs.sort_unstable();
        let mut text = String::new();
        for (name, value) in pairs {
            let comma = if text.is_empty() { "" } else { "," };
            push(
                &mut text,
                format_args!("{comma}{name}=\"{}\"", LabelValue(value)),
            );
        }
        Self(text)
    }

    /// In braces, with `le` last for a bucket; nothing at all if there are none.
    fn braced(&self, upper_bound: Option<f64>) -> String {
        let comma = if self.0.is_empty() { "" } else { "," };
        match upper_bound {
            Some(bound) => format!(
                "{{{}{comma}le=\"{}\"}}",
                self.0,
                Shown(Number::Float(bound))
            ),
            None if self.0.is_empty() => String::new(),
            None => format!("{{{}}}", self.0),
        }
    }
}

/// The shortest decimal that reads back as the same number.
struct Shown(Number);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Number::Integer(number) => number.fmt(f),
            Number::Float(f64::INFINITY) => f.write_str("+Inf"),
            Number::Float(f64::NEG_INFINITY) => f.write_str("-Inf"),
            Number::Float(number) => number.fmt(f),
        }
    }
}

/// A help text: backslash and line feed are escaped.
struct Help<'a>(&'a str);

impl fmt::Display for Help<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

/// A label value: quotation marks are escaped as well.
struct LabelValue<'a>(&'a str);

impl fmt::Display for LabelValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.split('"');
        if let Some(first) = parts.next() {
            Help(first).fmt(f)?;
        }
        parts.try_for_each(|part| {
            f.write_str("\\\"")?;
            Help(part).fmt(f)
        })
    }
}

/// Writing to a string does not fail.
fn push(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}
