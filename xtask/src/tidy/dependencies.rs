//! Versions of dependencies live once, in the root manifest; every line there is used.

use super::Problem;
use super::manifest::{Item, Manifest};
use crate::workspace::Workspace;

const ROOT: &str = "Cargo.toml";

/// Packages the project was asked to be built on.
const FIXED: [&str; 10] = [
    "async-compression",
    "figment",
    "hyper",
    "mqttbytes",
    "rustls",
    "serde",
    "socket2",
    "tokio",
    "tracing-subscriber",
    "tungstenite",
];

/// Keys that say where a package comes from or which one it is.
const ORIGIN: [&str; 8] = [
    "version", "path", "git", "branch", "tag", "rev", "registry", "package",
];

pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = check_members(workspace);
    problems.extend(check_root(workspace));
    problems
}

fn check_members(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in &workspace.packages {
        let path = package.manifest();
        // A manifest that does not parse is a problem of `crates`.
        let Some(manifest) = workspace
            .file(&path)
            .and_then(|file| Manifest::parse(&file.text).ok())
        else {
            continue;
        };
        for item in manifest
            .dependencies()
            .iter()
            .filter(|item| states_origin(item))
        {
            problems.push(Problem::new(
                &path,
                item.line,
                format!(
                    "versions live in the root manifest: write `{0}.workspace = true` here \
                     and `{0} = …` under `[workspace.dependencies]`",
                    item.key
                ),
            ));
        }
    }
    problems
}

fn states_origin(item: &Item<'_>) -> bool {
    !item.inherits() || ORIGIN.iter().any(|key| item.field(key).is_some())
}

fn check_root(workspace: &Workspace) -> Vec<Problem> {
    let Some(file) = workspace.file(ROOT) else {
        return Vec::new(); // A problem of `top_level`.
    };
    let manifest = match Manifest::parse(&file.text) {
        Ok(manifest) => manifest,
        Err((line, error)) => return vec![Problem::new(ROOT, line, error)],
    };
    let table = ["workspace", "dependencies"];
    let known = manifest.keys(&table);
    let mut problems = Vec::new();
    for name in FIXED {
        if !known.iter().any(|item| item.key == name) {
            let line = manifest.find(&table).map_or(1, |item| item.line);
            problems.push(Problem::new(
                ROOT,
                line,
                format!(
                    "`{name}` is fixed for this project: keep it under `[workspace.dependencies]`"
                ),
            ));
        }
    }
    for item in known.iter().filter(|item| !used(workspace, item.key)) {
        let message = if FIXED.contains(&item.key) {
            format!(
                "`{}` is fixed for this project, but no member uses it: use it where the design says",
                item.key
            )
        } else {
            format!("no member uses `{}`: take the line out", item.key)
        };
        problems.push(Problem::new(ROOT, item.line, message));
    }
    problems
}

fn used(workspace: &Workspace, key: &str) -> bool {
    workspace
        .packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .any(|dependency| dependency.key == key)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{package, printed, repository};
    use super::*;

    #[test]
    fn a_version_in_a_crate_is_sent_to_the_root() {
        let manifest = "\
[dependencies]
base.workspace = true
bytes = { workspace = true, features = [\"serde\"], optional = true }
http = \"1\"
hyper = { version = \"1\" }

[target.'cfg(unix)'.build-dependencies]
rustix = { path = \"../rustix\" }
";
        let mut workspace = repository(&[("crates/rest/Cargo.toml", manifest)]);
        workspace.packages.push(package("rest", "crates/rest", &[]));
        let mut problems = check(&workspace);
        problems.sort();
        let problems = printed(&problems);
        assert_eq!(
            problems[0],
            "crates/rest/Cargo.toml:4: versions live in the root manifest: write `http.workspace = true` here \
             and `http = …` under `[workspace.dependencies]`"
        );
        assert!(
            problems[1].starts_with("crates/rest/Cargo.toml:5: ")
                && problems[1].contains("hyper.workspace")
        );
        assert!(
            problems[2].starts_with("crates/rest/Cargo.toml:8: ")
                && problems[2].contains("rustix.workspace")
        );
        assert_eq!(problems.len(), 3);
    }

    #[test]
    fn fixed_packages_stay_and_unused_ones_go() {
        let mut root = "[workspace]\n[workspace.dependencies]\n".to_owned();
        for name in FIXED.iter().filter(|name| **name != "figment") {
            root.push_str(&format!("{name} = \"1\"\n"));
        }
        root.push_str("left-over = \"1\"\n");
        let mut workspace = repository(&[("Cargo.toml", &root)]);
        let used: Vec<&str> = FIXED
            .iter()
            .copied()
            .filter(|name| *name != "hyper")
            .collect();
        workspace
            .packages
            .push(package("server", "crates/server", &used));
        assert_eq!(
            printed(&check(&workspace)),
            [
                "Cargo.toml:2: `figment` is fixed for this project: keep it under `[workspace.dependencies]`",
                "Cargo.toml:4: `hyper` is fixed for this project, but no member uses it: use it where the design says",
                "Cargo.toml:12: no member uses `left-over`: take the line out",
            ]
        );
    }
}
