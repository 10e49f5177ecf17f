//! Layers: arrows point down, siblings never meet.

use super::Problem;
use super::manifest::Manifest;
use crate::workspace::{Package, Workspace};

/// A crate may depend only on crates in an earlier row, with dependencies of any kind.
///
/// A crate that wants another one of its row is describing a job for `server`. Tests that need both
/// belong to `tests`.
const LAYERS: &[&[&str]] = &[
    &["base"],
    &["resource"],
    &[
        "core-listener",
        "http-chain",
        "store",
        "content",
        "auth",
        "telemetry",
    ],
    &["rest", "opsapi", "proto-ws", "proto-sse", "proto-mqtt"],
    &["server"],
];

/// Packages outside the rows that may use all of them; nothing may use these.
const ABOVE: &[&str] = &["motet-tests", "motet-benches"];

const THIS_FILE: &str = "xtask/src/tidy/layers.rs";

pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in &workspace.packages {
        check_place(package, &mut problems);
        check_edges(workspace, package, &mut problems);
    }
    for name in LAYERS.iter().flat_map(|row| row.iter()) {
        if !workspace
            .packages
            .iter()
            .any(|package| package.name == *name)
        {
            problems.push(Problem::new(
                THIS_FILE,
                1,
                format!("LAYERS names `{name}`, which is no workspace member: add crates/{name} or take the name out"),
            ));
        }
    }
    problems
}

fn check_place(package: &Package, problems: &mut Vec<Problem>) {
    let Some(directory) = package.directory.strip_prefix("crates/") else {
        return;
    };
    if row_of(&package.name).is_none() {
        problems.push(Problem::new(
            package.manifest(),
            1,
            format!(
                "`{}` has no row: put it into LAYERS in {THIS_FILE}",
                package.name
            ),
        ));
    }
    if directory != package.name {
        problems.push(Problem::new(
            package.manifest(),
            1,
            format!(
                "package `{0}` lies in crates/{directory}: call the directory crates/{0}",
                package.name
            ),
        ));
    }
}

fn check_edges(workspace: &Workspace, package: &Package, problems: &mut Vec<Problem>) {
    let path = package.manifest();
    // A manifest that does not parse is a problem of `dependencies`; its edges still count.
    let manifest = workspace
        .file(&path)
        .and_then(|file| Manifest::parse(&file.text).ok());
    for dependency in &package.dependencies {
        let member = workspace
            .packages
            .iter()
            .any(|member| member.name == dependency.package);
        if !member {
            continue;
        }
        if let Some(reason) = forbidden(&package.name, &dependency.package) {
            let line = manifest
                .as_ref()
                .map_or(1, |manifest| manifest.line_of_dependency(&dependency.key));
            problems.push(Problem::new(&path, line, reason));
        }
    }
}

/// Why `from` must not depend on `to`, if it must not.
fn forbidden(from: &str, to: &str) -> Option<String> {
    let Some(to_row) = row_of(to) else {
        return Some(format!(
            "`{from}` depends on `{to}`, which stands in no row: move what it needs into one"
        ));
    };
    if ABOVE.contains(&from) {
        return None;
    }
    let Some(from_row) = row_of(from) else {
        return Some(format!(
            "`{from}` is in no row, so it may depend on no crate of the workspace; drop `{to}`"
        ));
    };
    if to_row < from_row {
        return None;
    }
    let direction = if to_row == from_row {
        "its own row"
    } else {
        "a later row"
    };
    Some(format!(
        "`{from}` (row {from_row}) depends on `{to}` ({direction}, {to_row}): depend only on earlier rows; \
         join the two in `server`, or test both in `tests`"
    ))
}

fn row_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{package, printed, repository};
    use super::*;

    /// A repository with all crates of the table and these in place of the ones with their names.
    fn with(changed: Vec<Package>, files: &[(&str, &str)]) -> Workspace {
        let mut workspace = repository(files);
        workspace.packages = LAYERS
            .iter()
            .flat_map(|row| row.iter())
            .filter(|name| changed.iter().all(|package| package.name != **name))
            .map(|name| package(name, &format!("crates/{name}"), &[]))
            .collect();
        workspace.packages.extend(changed);
        workspace
    }

    #[test]
    fn downward_edges_and_outside_packages_are_fine() {
        let workspace = with(
            vec![
                package("rest", "crates/rest", &["base", "http-chain", "tokio"]),
                package("server", "crates/server", &["rest", "store", "base"]),
                package("motet-tests", "tests", &["server", "store", "base"]),
            ],
            &[],
        );
        assert_eq!(printed(&check(&workspace)), [""; 0]);
    }

    #[test]
    fn a_sideways_edge_names_the_line_and_the_remedy() {
        let workspace = with(
            vec![package("rest", "crates/rest", &["base", "opsapi"])],
            &[(
                "crates/rest/Cargo.toml",
                "[dependencies]\nbase.workspace = true\nopsapi.workspace = true\n",
            )],
        );
        assert_eq!(
            printed(&check(&workspace)),
            [
                "crates/rest/Cargo.toml:3: `rest` (row 3) depends on `opsapi` (its own row, 3): depend only on \
              earlier rows; join the two in `server`, or test both in `tests`"
            ]
        );
    }

    #[test]
    fn an_upward_edge_of_a_test_is_forbidden_too() {
        let workspace = with(
            vec![package("base", "crates/base", &["resource"])],
            &[(
                "crates/base/Cargo.toml",
                "[dev-dependencies]\nresource.workspace = true\n",
            )],
        );
        let problems = printed(&check(&workspace));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with(
            "crates/base/Cargo.toml:2: `base` (row 0) depends on `resource` (a later row, 1)"
        ));
    }

    #[test]
    fn every_crate_has_a_row_and_every_name_a_crate() {
        let mut workspace = with(vec![package("gopher", "crates/gopher", &[])], &[]);
        workspace.packages.retain(|package| package.name != "auth");
        assert_eq!(
            printed(&check(&workspace)),
            [
                "crates/gopher/Cargo.toml:1: `gopher` has no row: put it into LAYERS in xtask/src/tidy/layers.rs",
                "xtask/src/tidy/layers.rs:1: LAYERS names `auth`, which is no workspace member: \
                 add crates/auth or take the name out",
            ]
        );
    }

    #[test]
    fn nothing_uses_the_packages_above_and_xtask_uses_nothing() {
        let workspace = with(
            vec![
                package("motet-tests", "tests", &[]),
                package("server", "crates/server", &["motet-tests"]),
                package("xtask", "xtask", &["base"]),
            ],
            &[],
        );
        assert_eq!(
            printed(&check(&workspace)),
            [
                "crates/server/Cargo.toml:1: `server` depends on `motet-tests`, which stands in no row: \
                 move what it needs into one",
                "xtask/Cargo.toml:1: `xtask` is in no row, so it may depend on no crate of the workspace; drop `base`",
            ]
        );
    }

    #[test]
    fn a_directory_has_the_name_of_its_crate() {
        let workspace = with(vec![package("auth", "crates/users", &[])], &[]);
        assert_eq!(
            printed(&check(&workspace)),
            [
                "crates/users/Cargo.toml:1: package `auth` lies in crates/users: call the directory crates/auth"
            ]
        );
    }
}
