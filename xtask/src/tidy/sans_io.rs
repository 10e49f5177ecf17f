//! Protocols without I/O: with default features off, a `proto-*` crate brings no async runtime.

use super::Problem;
use super::manifest::Manifest;
use crate::run;
use crate::workspace::{Package, Workspace, root};

/// Packages that are a runtime or the socket layer of one.
const RUNTIMES: [&str; 5] = ["async-executor", "async-io", "async-std", "mio", "smol"];

/// Features of tokio and its helpers that start tasks or open sockets and files.
///
/// What remains (`io-util`, `macros`, `sync`, `time` and the bare traits) is for code that others run.
const RUNTIME_FEATURES: [(&str, &[&str]); 2] = [
    (
        "tokio",
        &[
            "fs",
            "io-std",
            "net",
            "process",
            "rt",
            "rt-multi-thread",
            "signal",
        ],
    ),
    ("tokio-util", &["net", "rt"]),
];

/// The feature that holds everything that awaits, in a crate whose protocol is a state machine.
const DRIVER: &str = "driver";

/// Not without [`DRIVER`] either: a state machine is told the time.
const CLOCK_FEATURE: &str = "time";

pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    workspace
        .crates()
        .filter(|package| package.name.starts_with("proto-"))
        .filter_map(|package| {
            let (line, has_driver) = features(workspace, package);
            let message = match tree(&package.name) {
                Ok(tree) => complaint(&tree, has_driver)?,
                Err(error) => format!("{error:#}"),
            };
            Some(Problem::new(package.manifest(), line, message))
        })
        .collect()
}

/// The line of the features of a crate, and whether it has a driver to leave out.
fn features(workspace: &Workspace, package: &Package) -> (usize, bool) {
    let path = package.manifest();
    let Some(manifest) = workspace
        .file(&path)
        .and_then(|file| Manifest::parse(&file.text).ok())
    else {
        return (1, false); // A problem of `crates`.
    };
    let line = manifest
        .find(&["features"])
        .map_or(1, |features| features.line);
    (line, manifest.find(&["features", DRIVER]).is_some())
}

/// One line for each package and its features, for example `tokio v1.48.0|default,sync`.
fn tree(name: &str) -> anyhow::Result<String> {
    run::capture(run::cargo().current_dir(root()).args([
        "tree",
        "--package",
        name,
        "--no-default-features",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}|{f}",
    ]))
}

fn complaint(tree: &str, has_driver: bool) -> Option<String> {
    let mut found: Vec<String> = tree
        .lines()
        .filter_map(|line| runtime_in(line, has_driver))
        .collect();
    found.sort();
    found.dedup();
    (!found.is_empty()).then(|| {
        format!(
            "without default features it still brings an async runtime ({}): \
             put what awaits behind a feature `{DRIVER}` that is on by default",
            found.join(", ")
        )
    })
}

fn runtime_in(line: &str, has_driver: bool) -> Option<String> {
    let (package, features) = line.split_once('|')?;
    let name = package.split_whitespace().next()?;
    if RUNTIMES.contains(&name) {
        return Some(name.to_owned());
    }
    let (_, forbidden) = RUNTIME_FEATURES
        .iter()
        .find(|(runtime, _)| *runtime == name)?;
    // A package that was listed before is marked `(*)` after its features.
    let on: Vec<&str> = features
        .trim_end_matches("(*)")
        .trim()
        .split(',')
        .filter(|feature| forbidden.contains(feature) || (has_driver && *feature == CLOCK_FEATURE))
        .collect();
    (!on.is_empty()).then(|| format!("{name} with {}", on.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traits_and_channels_are_no_runtime() {
        let tree = "proto-mqtt v0.1.0 (crates/proto-mqtt)|\ntokio v1.48.0|default,io-util,sync\nbytes v1.11.0|std\n";
        assert_eq!(complaint(tree, true), None);
    }

    #[test]
    fn the_features_that_bring_the_runtime_are_named_once() {
        let tree = "proto-ws v0.1.0|\ntokio v1.48.0|bytes,default,net,rt\ntokio v1.48.0|bytes,default,net,rt (*)\nmio v1.0.0|net\n";
        assert_eq!(
            complaint(tree, false).unwrap(),
            "without default features it still brings an async runtime (mio, tokio with net rt): \
             put what awaits behind a feature `driver` that is on by default"
        );
    }

    #[test]
    fn timers_belong_to_the_driver_where_there_is_one() {
        let tree = "tokio v1.48.0|default,time\n";
        assert_eq!(complaint(tree, false), None);
        assert!(complaint(tree, true).unwrap().contains("(tokio with time)"));
    }

    #[test]
    fn a_package_that_only_begins_like_one_is_not_meant() {
        assert_eq!(
            complaint("tokio-rustls v0.26.0|rt\nmio-like v1.0.0|net\n", true),
            None
        );
        assert_eq!(complaint("tokio v1.0.0|rt-like\n", true), None);
    }
}
