//! `cargo xtask ci`: everything a change must pass, and how long each step took.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::workspace::{Workspace, root};
use crate::{deny, run, test, tidy};

/// A step and its name.
type Step = (&'static str, fn() -> Result<()>);

/// Quick ones first. A failed step does not hide the others, so that one run tells all there is to mend.
const STEPS: [Step; 8] = [
    ("format", format),
    ("tidy", tidy::run),
    ("deny", || deny::run(&[])),
    ("clippy", clippy),
    ("doc", doc),
    ("crates alone", crates_alone),
    ("without I/O", protocols_without_io),
    ("test", || test::run(&[])),
];

/// Runs every step, then prints the times.
///
/// # Errors
///
/// If a step failed; the error names them.
pub(crate) fn run() -> Result<()> {
    let mut report = Report::default();
    for (name, step) in STEPS {
        println!("── {name}");
        let start = Instant::now();
        let outcome = step();
        if let Err(error) = &outcome {
            println!("── {name} failed: {error:#}");
        }
        report.add(name, start.elapsed(), outcome.is_ok());
    }
    print!("{}", report.table);
    if !report.failed.is_empty() {
        bail!("ci: failed: {}", report.failed.join(", "));
    }
    println!("ci: every step passed");
    Ok(())
}

#[derive(Default)]
struct Report {
    table: String,
    failed: Vec<&'static str>,
}

impl Report {
    fn add(&mut self, name: &'static str, took: Duration, passed: bool) {
        let outcome = if passed { "ok" } else { "FAILED" };
        writeln!(
            self.table,
            "{name:<14}{:>8.1} s  {outcome}",
            took.as_secs_f64()
        )
        .expect("writing to a string does not fail");
        if !passed {
            self.failed.push(name);
        }
    }
}

fn format() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])
}

fn clippy() -> Result<()> {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ])
}

fn doc() -> Result<()> {
    run::run(
        run::cargo()
            .current_dir(root())
            .env("RUSTDOCFLAGS", "--deny warnings")
            .args(["doc", "--workspace", "--no-deps"]),
    )
}

/// Each crate with its own tests, and no other crate to lend it a feature it forgot to ask for.
fn crates_alone() -> Result<()> {
    for package in Workspace::load()?.crates() {
        cargo(&["check", "--package", &package.name, "--all-targets"])?;
    }
    Ok(())
}

/// Protocols compile with nothing that awaits; `tidy` looks at what that leaves in their trees.
fn protocols_without_io() -> Result<()> {
    for package in Workspace::load()?
        .crates()
        .filter(|package| package.name.starts_with("proto-"))
    {
        cargo(&["check", "--package", &package.name, "--no-default-features"])?;
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    run::run(run::cargo().current_dir(root()).args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_every_step_and_names_the_failed_ones() {
        let mut report = Report::default();
        report.add("format", Duration::from_millis(1234), true);
        report.add("clippy", Duration::from_secs(61), false);
        assert_eq!(
            report.table,
            "format             1.2 s  ok\nclippy            61.0 s  FAILED\n"
        );
        assert_eq!(report.failed, ["clippy"]);
    }
}
