//! `cargo xtask bench`: builds the server, its peers and the load generator for release, and measures.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{run, tools, workspace};

/// Builds and runs `motet-bench`; `arguments` go to it, except `--setup`, which installs the peers.
///
/// # Errors
///
/// If something does not build, a peer cannot be installed, a case fails, or quick mode finds a regression.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [only] if only == "--setup" => return setup(),
        _ if arguments.iter().any(|argument| argument == "--setup") => {
            bail!("bench: --setup stands alone");
        }
        _ => {}
    }
    run::run(&mut build())?;
    let program = target_directory()?.join("release/motet-bench");
    run::run(Command::new(program).args(arguments))
}

/// One command, so that all agree on the features of what they share.
fn build() -> Command {
    let mut command = run::cargo();
    command.current_dir(workspace::root()).args([
        "build",
        "--release",
        "--package",
        "server",
        "--bin",
        "motet",
        "--package",
        "motet-benches",
        "--bin",
        "motet-bench",
        "--package",
        "proto-ws",
        "--example",
        "echo",
    ]);
    command
}

/// Peers from Debian, and rumqttd from its source, beside the build and not among our dependencies.
fn setup() -> Result<()> {
    tools::ensure_bench_tools()?;
    let directory = target_directory()?.join("release/motet-bench-tools");
    if directory.join("bin/rumqttd").is_file() {
        return Ok(());
    }
    let mut install = run::cargo();
    install
        .args([
            "install",
            "rumqttd",
            "--version",
            "0.20.0",
            "--locked",
            "--no-default-features",
            "--root",
        ])
        .arg(&directory)
        .env("CARGO_TARGET_DIR", directory.join("build"));
    run::run(&mut install)
}

fn target_directory() -> Result<std::path::PathBuf> {
    let metadata = run::capture(run::cargo().current_dir(workspace::root()).args([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    match metadata["target_directory"].as_str() {
        Some(path) => Ok(path.into()),
        None => bail!("cargo metadata names no target directory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_built_for_release_by_one_command() {
        assert_eq!(
            run::describe(&build()),
            "cargo build --release --package server --bin motet --package motet-benches --bin motet-bench \
             --package proto-ws --example echo"
        );
    }

    #[test]
    fn setup_takes_no_case() {
        let arguments = ["--setup".to_owned(), "small".to_owned()];
        assert_eq!(
            run(&arguments).unwrap_err().to_string(),
            "bench: --setup stands alone"
        );
    }
}
