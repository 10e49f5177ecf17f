//! Protocols without I/O: with default features off, a `proto-*` crate brings no async runtime.

use super::Problem;
use super::manifest::Manifest;
use crate::run;
use crate::workspace::{Package, Workspace, root};

/// Packages that are a runtime or the socket layer of one.
const RUNTIMES: [&str; 5] = ["async-executor", "async-io", "async-std", "mio", "smol"];

/// Features of tokio and its helpers that start tasks, open sockets or need a running clock.
///
/// What remains (`io-util`, `macros`, `sync` and the bare traits) works on any runtime, or on none.
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
            "time",
        ],
    ),
    ("tokio-util", &["net", "rt", "time"]),
];

pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    workspace
        .crates()
        .filter(|package| package.name.starts_with("proto-"))
        .filter_map(|package| {
            let message = match tree(&package.name) {
                Ok(tree) => complaint(&tree)?,
                Err(error) => format!("{error:#}"),
            };
            Some(Problem::new(
                package.manifest(),
                line_of_features(workspace, package),
                message,
            ))
        })
        .collect()
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

fn complaint(tree: &str) -> Option<String> {
    let mut found: Vec<String> = tree.lines().filter_map(runtime_in).collect();
    found.sort();
    found.dedup();
    (!found.is_empty()).then(|| {
        format!(
            "without default features it still brings an async runtime ({}): \
             put what awaits behind a feature that is on by default",
            found.join(", ")
        )
    })
}

fn runtime_in(line: &str) -> Option<String> {
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
        .filter(|feature| forbidden.contains(feature))
        .collect();
    (!on.is_empty()).then(|| format!("{name} with {}", on.join(" ")))
}

fn line_of_features(workspace: &Workspace, package: &Package) -> usize {
    workspace
        .file(&package.manifest())
        .and_then(|file| {
            let manifest = Manifest::parse(&file.text).ok()?;
            Some(manifest.find(&["features"])?.line)
        })
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traits_and_channels_are_no_runtime() {
        let tree = "proto-mqtt v0.1.0 (crates/proto-mqtt)|\ntokio v1.48.0|default,io-util,sync\nbytes v1.11.0|std\n";
        assert_eq!(complaint(tree), None);
    }

    #[test]
    fn the_features_that_bring_the_runtime_are_named_once() {
        let tree = "proto-ws v0.1.0|\ntokio v1.48.0|bytes,default,net,rt\ntokio v1.48.0|bytes,default,net,rt (*)\nmio v1.0.0|net\n";
        assert_eq!(
            complaint(tree).unwrap(),
            "without default features it still brings an async runtime (mio, tokio with net rt): \
             put what awaits behind a feature that is on by default"
        );
    }

    #[test]
    fn a_package_that_only_begins_like_one_is_not_meant() {
        assert_eq!(
            complaint("tokio-rustls v0.26.0|rt\nmio-like v1.0.0|net\n"),
            None
        );
        assert_eq!(complaint("tokio v1.0.0|rt-like\n"), None);
    }
}
