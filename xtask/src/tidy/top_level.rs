//! The top level of the repository is fixed; everything has its place below it.

use super::Problem;
use crate::workspace::Workspace;

/// Entries the people who asked for this project expect.
const FIXED: [&str; 14] = [
    ".ci",
    ".github",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "config",
    "crates",
    "docs",
    "examples",
    "tests",
    "xtask",
];

/// What tools look for at the top level, and nowhere else.
const TOOLS: [&str; 8] = [
    ".cargo",
    ".gitattributes",
    ".gitignore",
    "Cargo.lock",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
    "rustfmt.toml",
];

pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut entries: Vec<&str> = workspace
        .files
        .iter()
        .map(|file| {
            file.path
                .split_once('/')
                .map_or(file.path.as_str(), |(directory, _)| directory)
        })
        .collect();
    entries.dedup();
    let missing = FIXED
        .iter()
        .filter(|name| !entries.contains(name))
        .map(|name| {
            Problem::new(
                *name,
                1,
                "missing: the top level has this entry, with something in it",
            )
        });
    let unexpected = entries
        .iter()
        .filter(|name| !FIXED.contains(name) && !TOOLS.contains(name))
        .map(|name| {
            Problem::new(
                *name,
                1,
                "the top level is fixed: put this into one of its directories",
            )
        });
    missing.chain(unexpected).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{printed, repository};
    use super::*;

    fn with(change: impl FnOnce(&mut Vec<String>)) -> Vec<String> {
        let mut paths: Vec<String> = FIXED
            .iter()
            .map(|name| {
                if name.contains('.') || *name == "LICENSE" {
                    (*name).to_owned()
                } else {
                    format!("{name}/x")
                }
            })
            .collect();
        change(&mut paths);
        let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
        printed(&check(&repository(&files)))
    }

    #[test]
    fn the_fixed_entries_and_tool_files_are_fine() {
        assert_eq!(with(|paths| paths.push("deny.toml".to_owned())), [""; 0]);
    }

    #[test]
    fn a_missing_entry_is_named() {
        assert_eq!(
            with(|paths| paths.retain(|path| path != "config/x")),
            ["config:1: missing: the top level has this entry, with something in it"]
        );
    }

    #[test]
    fn another_entry_is_sent_below() {
        assert_eq!(
            with(|paths| paths.extend(["scripts/a.sh".to_owned(), "scripts/b.sh".to_owned()])),
            ["scripts:1: the top level is fixed: put this into one of its directories"]
        );
    }
}
