//! What a run leaves: a table for people, one JSON file a case, a picture a group, and the table of the README.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::cases::{self, Case, Goal, Lab, Outcome, Row};
use crate::measure::{Sample, Series};
use crate::svg;

/// Marks between which the README holds the table.
const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// The outcome of a case as text.
pub fn text(case: &Case, outcome: &Outcome) -> String {
    let mut text = format!("{} ({})\n", case.title, case.name);
    if !outcome.series.is_empty() {
        let _ = writeln!(
            text,
            "  {:<24} {:>13} {:>8} {:>11} {:>10} {:>10}  limit",
            "", "server µs/op", "± %", "op/s", "p50 µs", "p99 µs"
        );
    }
    for series in &outcome.series {
        let _ = writeln!(
            text,
            "  {:<24} {:>13.3} {:>8.0} {:>11.0} {:>10.0} {:>10.0}  {}",
            series.name,
            series.median(Sample::server_us),
            series.spread() * 100.0,
            series.median(Sample::rate),
            series.median(|sample| sample.latency_us(50.0)),
            series.median(|sample| sample.latency_us(99.0)),
            series.limit().as_str(),
        );
    }
    for row in &outcome.rows {
        let mark = match row.goal.is_met(row.value) {
            Some(true) => "reached",
            Some(false) => "SHORT",
            None => "",
        };
        let _ = writeln!(
            text,
            "  {:<76} {:>9} {:>7} {mark}",
            row.label,
            figure(row.value, row.unit),
            goal(row.goal)
        );
    }
    for note in &outcome.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    text
}

fn figure(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    let space = if unit.is_empty() { "" } else { " " };
    format!("{value:.digits$}{space}{unit}")
}

fn goal(goal: Goal) -> String {
    match goal {
        Goal::AtLeast(least) => format!("≥ {least}"),
        Goal::AtMost(most) => format!("≤ {most}"),
        Goal::None => String::new(),
    }
}

/// Writes `CASE.json` into the directory.
///
/// # Errors
///
/// If it cannot be written.
pub fn write_json(directory: &Path, case: &Case, outcome: &Outcome, lab: &Lab) -> Result<()> {
    let value = json!({
        "case": case.name,
        "group": case.group,
        "title": case.title,
        "operation": outcome.operation,
        "machine": machine(),
        "rounds": lab.rounds,
        "seconds": lab.span.measured.as_secs_f64(),
        "series": outcome.series.iter().map(series).collect::<Vec<_>>(),
        "rows": outcome.rows.iter().map(row).collect::<Vec<_>>(),
        "notes": outcome.notes,
    });
    let path = directory.join(format!("{}.json", case.name));
    let text = serde_json::to_string_pretty(&value)? + "\n";
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn series(series: &Series) -> Value {
    json!({
        "name": series.name,
        "server_us": series.median(Sample::server_us),
        "spread": series.spread(),
        "rate": series.median(Sample::rate),
        "p50_us": series.median(|sample| sample.latency_us(50.0)),
        "p99_us": series.median(|sample| sample.latency_us(99.0)),
        "limit": series.limit().as_str(),
    })
}

fn row(row: &Row) -> Value {
    json!({
        "label": row.label,
        "figure": figure(row.value, row.unit),
        "value": row.value,
        "goal": goal(row.goal),
        "met": row.goal.is_met(row.value),
    })
}

/// Model and number of processors; a run elsewhere is not to be compared.
fn machine() -> Value {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|rest| rest.split_once(':'))
        .map_or("unknown", |(_, model)| model.trim());
    let processors = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    json!({ "processor": model, "processors": processors })
}

/// Writes the pictures and `table.md` from all JSON files of the directory, and the table into the README if
/// that has the marks for it.
///
/// # Errors
///
/// If a file cannot be read or written.
pub fn write_summary(directory: &Path, readme: &Path) -> Result<()> {
    let found = found(directory)?;
    let mut groups: Vec<&str> = cases::ALL.iter().map(|case| case.group).collect();
    groups.dedup();
    for group in groups {
        let members: Vec<_> = found.iter().filter(|case| case["group"] == group).collect();
        if let Some(picture) = svg::bars(group, &members) {
            std::fs::write(directory.join(format!("{group}.svg")), picture)?;
        }
    }
    let table = table(&found);
    std::fs::write(directory.join("table.md"), &table)?;
    let text = std::fs::read_to_string(readme).context("cannot read the README")?;
    if let Some(text) = between_marks(&text, &table) {
        std::fs::write(readme, text).context("cannot write the README")?;
    }
    Ok(())
}

/// Results of all cases that have some, in the order of the table.
fn found(directory: &Path) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for case in cases::ALL {
        let path = directory.join(format!("{}.json", case.name));
        match std::fs::read_to_string(&path) {
            Ok(text) => found.push(serde_json::from_str(&text).with_context(|| case.name)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
    Ok(found)
}

fn table(cases: &[Value]) -> String {
    let mut table = "| Server processor time for one operation unless it says otherwise | Measured | Goal | |\n|---|---|---|---|\n".to_owned();
    for row in cases
        .iter()
        .flat_map(|case| case["rows"].as_array().into_iter().flatten())
    {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let met = match row["met"].as_bool() {
            Some(true) => "reached",
            Some(false) => "short",
            None => "",
        };
        let _ = writeln!(
            table,
            "| {} | {} | {} | {met} |",
            text("label"),
            text("figure"),
            text("goal")
        );
    }
    table
}

fn between_marks(text: &str, table: &str) -> Option<String> {
    let begin = text.find(BEGIN)? + BEGIN.len();
    let end = begin + text[begin..].find(END)?;
    Some(format!("{}\n{table}{}", &text[..begin], &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_takes_the_place_of_the_old_one() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(
            between_marks(&text, "new\n").unwrap(),
            format!("a\n{BEGIN}\nnew\n{END}\nb\n")
        );
        assert_eq!(between_marks("no marks", "new\n"), None);
    }

    #[test]
    fn figures_have_three_digits_or_what_is_left_of_the_point() {
        assert_eq!(figure(0.853, ""), "0.85");
        assert_eq!(figure(12.34, "µs"), "12.3 µs");
        assert_eq!(figure(1234.5, ""), "1234");
    }

    #[test]
    fn a_row_that_falls_short_is_in_the_table_as_such() {
        let rows =
            json!([{ "rows": [{ "label": "x", "figure": "0.5", "goal": "≥ 1", "met": false }] }]);
        let table = table(rows.as_array().unwrap());
        assert!(table.ends_with("| x | 0.5 | ≥ 1 | short |\n"), "{table}");
    }
}
