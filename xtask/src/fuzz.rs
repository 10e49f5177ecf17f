//! `cargo xtask fuzz`: every fuzz target of every crate, for a short while.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{run, workspace};

/// Runs each target for so many seconds.
///
/// # Errors
///
/// If nightly or cargo-fuzz is missing, there is no fuzz target, or a target finds something; cargo-fuzz
/// then prints the input and where it kept it.
pub(crate) fn run(seconds: &str) -> Result<()> {
    let seconds: u32 = seconds
        .parse()
        .with_context(|| format!("fuzz: expected a whole number of seconds, found {seconds:?}"))?;
    let crates = crates_with_targets(&workspace::root())?;
    if crates.is_empty() {
        bail!("fuzz: no crate has a fuzz/ directory");
    }
    for directory in crates {
        for target in targets(&directory)? {
            run::run(
                cargo_fuzz(&directory)
                    .args(["run", &target, "--"])
                    .arg(format!("-max_total_time={seconds}")),
            )?;
        }
    }
    Ok(())
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
