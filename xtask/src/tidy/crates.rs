//! What every published crate has: a README, a version of its own, the licence and the shared lints.

use super::Problem;
use super::manifest::Manifest;
use crate::workspace::{Package, Workspace};

const LICENSE: &str = "Apache-2.0";

pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = directories_without_manifest(workspace);
    for package in &workspace.packages {
        let path = package.manifest();
        let Some(file) = workspace.file(&path) else {
            continue;
        };
        match Manifest::parse(&file.text) {
            Ok(manifest) => {
                let mut report =
                    |line, message: String| problems.push(Problem::new(&path, line, message));
                check_member(package, &manifest, &mut report);
                if package.directory.starts_with("crates/") {
                    check_crate(workspace, package, &manifest, &mut report);
                }
            }
            Err((line, error)) => problems.push(Problem::new(&path, line, error)),
        }
    }
    problems
}

/// Every directory of `crates/` is a crate, or the member glob would miss it silently.
fn directories_without_manifest(workspace: &Workspace) -> Vec<Problem> {
    let mut directories: Vec<&str> = workspace
        .files
        .iter()
        .filter_map(|file| file.path.strip_prefix("crates/")?.split_once('/'))
        .map(|(directory, _)| directory)
        .collect();
    directories.dedup();
    directories
        .into_iter()
        .map(|directory| format!("crates/{directory}/Cargo.toml"))
        .filter(|manifest| workspace.file(manifest).is_none())
        .map(|manifest| {
            Problem::new(
                manifest,
                1,
                "missing: every directory of crates/ is a crate",
            )
        })
        .collect()
}

/// Rules of every member, published or not.
fn check_member(
    package: &Package,
    manifest: &Manifest<'_>,
    report: &mut impl FnMut(usize, String),
) {
    if !manifest
        .find(&["lints"])
        .is_some_and(|lints| lints.inherits())
    {
        let line = manifest.find(&["lints"]).map_or(1, |lints| lints.line);
        report(
            line,
            "the lints are the workspace's: write `workspace = true` under `[lints]`".to_owned(),
        );
    }
    if package.license.as_deref() != Some(LICENSE) {
        let line = manifest
            .find(&["package", "license"])
            .map_or(1, |item| item.line);
        report(
            line,
            format!("the licence is {LICENSE}: write `license.workspace = true` under `[package]`"),
        );
    }
}

/// Rules of the published crates.
fn check_crate(
    workspace: &Workspace,
    package: &Package,
    manifest: &Manifest<'_>,
    report: &mut impl FnMut(usize, String),
) {
    let version = manifest.find(&["package", "version"]);
    if !version
        .as_ref()
        .is_some_and(|version| version.value.is_str())
    {
        let line = version.map_or(1, |version| version.line);
        report(
            line,
            "a crate has its own version: write `version = \"…\"` under `[package]`".to_owned(),
        );
    }
    if manifest.find(&["package", "description"]).is_none() {
        report(
            1,
            "a crate says what it is: write `description = \"…\"` under `[package]`".to_owned(),
        );
    }
    let readme = format!("{}/README.md", package.directory);
    if workspace
        .file(&readme)
        .is_none_or(|file| file.text.trim().is_empty())
    {
        report(
            1,
            format!("`{readme}` is missing or empty: tell the story of the crate in ten lines"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{package, printed, repository};
    use super::*;

    const GOOD: &str = "\
[package]
name = \"base\"
version = \"0.1.0\"
description = \"Ids\"
license.workspace = true

[lints]
workspace = true
";

    fn base(manifest: &str, readme: &str) -> Vec<String> {
        let mut workspace = repository(&[
            ("crates/base/Cargo.toml", manifest),
            ("crates/base/README.md", readme),
        ]);
        workspace.packages.push(package("base", "crates/base", &[]));
        printed(&check(&workspace))
    }

    #[test]
    fn a_crate_with_all_it_needs_is_fine() {
        assert_eq!(base(GOOD, "# base\n"), [""; 0]);
    }

    #[test]
    fn all_that_is_missing_is_reported_at_once() {
        let manifest = "[package]\nname = \"base\"\nversion.workspace = true\n\n[lints]\nrust.unused = \"allow\"\n";
        assert_eq!(
            base(manifest, " \n"),
            [
                "crates/base/Cargo.toml:5: the lints are the workspace's: write `workspace = true` under `[lints]`",
                "crates/base/Cargo.toml:3: a crate has its own version: write `version = \"…\"` under `[package]`",
                "crates/base/Cargo.toml:1: a crate says what it is: write `description = \"…\"` under `[package]`",
                "crates/base/Cargo.toml:1: `crates/base/README.md` is missing or empty: \
                 tell the story of the crate in ten lines",
            ]
        );
    }

    #[test]
    fn another_licence_is_named_with_its_line() {
        let mut workspace = repository(&[(
            "xtask/Cargo.toml",
            "[package]\nname = \"xtask\"\nlicense = \"MIT\"\n[lints]\nworkspace = true\n",
        )]);
        let mut xtask = package("xtask", "xtask", &[]);
        xtask.license = Some("MIT".to_owned());
        workspace.packages.push(xtask);
        assert_eq!(
            printed(&check(&workspace)),
            [
                "xtask/Cargo.toml:3: the licence is Apache-2.0: write `license.workspace = true` under `[package]`"
            ]
        );
    }

    #[test]
    fn a_directory_of_crates_without_a_manifest_is_found() {
        let workspace = repository(&[("crates/lost/src/lib.rs", "//! Lost.\n")]);
        assert_eq!(
            printed(&check(&workspace)),
            ["crates/lost/Cargo.toml:1: missing: every directory of crates/ is a crate"]
        );
    }

    #[test]
    fn a_manifest_that_does_not_parse_is_named_with_its_line() {
        assert!(
            base("[package]\nname =\n", "# base\n")[0].starts_with("crates/base/Cargo.toml:2: ")
        );
    }
}
