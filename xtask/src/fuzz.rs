//! `cargo xtask fuzz`: every fuzz target of every crate, for a short while.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{run, workspace};

/// Runs each target for so many seconds.
///
/// # Errors
///
/// If nightly or cargo-fuzz is missing, there is no fuzz target, or a target does not build or finds
/// something; cargo-fuzz then prints the input and where it kept it.
pub(crate) fn run(seconds: &str) -> Result<()> {
    let seconds: u32 = seconds
        .parse()
        .with_context(|| format!("fuzz: expected a whole number of seconds, found {seconds:?}"))?;
    let crates = crates_with_targets(&workspace::root())?;
    if crates.is_empty() {
        bail!("fuzz: no crate has a fuzz/ directory");
    }
    let mut failed = Vec::new();
    for directory in crates {
        for target in targets(&directory)? {
            if let Err(error) = run::run(&mut session(&directory, &target, seconds)?) {
                println!("{error:#}");
                failed.push(format!("{} {target}", name(&directory)));
            }
        }
    }
    if !failed.is_empty() {
        bail!("fuzz: failed: {}", failed.join(", "));
    }
    Ok(())
}

fn name(directory: &Path) -> String {
    directory
        .file_name()
        .unwrap_or(directory.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// One target. What it finds interesting goes to its corpus; the seeds of the repository stay as they are.
fn session(directory: &Path, target: &str, seconds: u32) -> Result<Command> {
    let corpus = format!("fuzz/corpus/{target}");
    std::fs::create_dir_all(directory.join(&corpus))
        .with_context(|| format!("cannot make {corpus}"))?;
    let mut command = cargo_fuzz(directory);
    command.args(["run", target, &corpus]);
    let seeds = format!("fuzz/seeds/{target}");
    if directory.join(&seeds).is_dir() {
        command.arg(seeds);
    }
    command.arg("--").arg(format!("-max_total_time={seconds}"));
    Ok(command)
}

fn crates_with_targets(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join("crates"))? {
        let directory = entry?.path();
        if directory.join("fuzz/Cargo.toml").is_file() {
            found.push(directory);
        }
    }
    found.sort();
    Ok(found)
}

fn targets(directory: &Path) -> Result<Vec<String>> {
    let listed = run::capture(cargo_fuzz(directory).arg("list")).context(
        "fuzz: needs `rustup toolchain install nightly` and `cargo install cargo-fuzz --locked`",
    )?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// Sanitizers exist on nightly only, so this is rustup's cargo and not the one that started us.
fn cargo_fuzz(directory: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(directory).args(["+nightly", "fuzz"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_that_is_no_number_is_refused() {
        let error = run("a-minute").unwrap_err();
        assert_eq!(
            error.to_string(),
            "fuzz: expected a whole number of seconds, found \"a-minute\""
        );
    }
}
