//! Unsafe code is forbidden in a crate, or kept in one module of it.

use super::Problem;
use super::lexer::code_only;
use crate::workspace::{Package, Workspace};

const FORBID: &str = "#![forbid(unsafe_code)]";
const DENY: &str = "#![deny(unsafe_code)]";

/// The lint levels that let a module have unsafe code.
const EXCEPTIONS: [&str; 2] = ["allow(unsafe_code", "expect(unsafe_code"];

pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    workspace
        .crates()
        .flat_map(|package| check_crate(workspace, package))
        .collect()
}

fn check_crate(workspace: &Workspace, package: &Package) -> Vec<Problem> {
    let mut problems = Vec::new();
    for root in &package.roots {
        let Some(file) = workspace.file(root) else {
            continue;
        };
        let code = code_only(&file.text);
        if !code.contains(FORBID) && !code.contains(DENY) {
            problems.push(Problem::new(
                root,
                1,
                format!("write `{FORBID}` at the root, or `{DENY}` and allow it for one module"),
            ));
        }
    }
    let exceptions = exceptions(workspace, package);
    for exception in &exceptions {
        if !exception.on_module {
            problems.push(Problem::new(
                &exception.path,
                exception.line,
                "unsafe code is allowed for one whole module: put the attribute on its `mod` line",
            ));
        }
    }
    for exception in exceptions.iter().skip(1) {
        problems.push(Problem::new(
            &exception.path,
            exception.line,
            format!(
                "`{}` already allows unsafe code at {}:{}: keep it in that one module",
                package.name, exceptions[0].path, exceptions[0].line
            ),
        ));
    }
    problems
}

/// An attribute that allows unsafe code.
struct Exception {
    path: String,
    line: usize,
    on_module: bool,
}

fn exceptions(workspace: &Workspace, package: &Package) -> Vec<Exception> {
    let sources = format!("{}/src/", package.directory);
    let mut found = Vec::new();
    for file in &workspace.files {
        if !file.path.starts_with(&sources) || !file.path.ends_with(".rs") {
            continue;
        }
        let code = code_only(&file.text);
        let lines: Vec<&str> = code.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if EXCEPTIONS.iter().any(|exception| line.contains(exception)) {
                found.push(Exception {
                    path: file.path.clone(),
                    line: index + 1,
                    on_module: line.trim_start().starts_with("#![")
                        || next_item_is_module(&lines[index + 1..]),
                });
            }
        }
    }
    found
}

fn next_item_is_module(lines: &[&str]) -> bool {
    lines
        .iter()
        .map(|line| line.trim())
        .find(|line| !line.is_empty() && !line.starts_with("#["))
        .is_some_and(|item| item.split_whitespace().take(2).any(|word| word == "mod"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{package, printed, repository};
    use super::*;

    fn store(files: &[(&str, &str)]) -> Vec<String> {
        let mut workspace = repository(files);
        workspace
            .packages
            .push(package("store", "crates/store", &[]));
        printed(&check(&workspace))
    }

    #[test]
    fn a_root_that_forbids_unsafe_code_is_fine() {
        assert_eq!(
            store(&[(
                "crates/store/src/lib.rs",
                "//! Store.\n#![forbid(unsafe_code)]\n"
            )]),
            [""; 0]
        );
    }

    #[test]
    fn a_root_that_says_nothing_is_a_problem_even_if_a_comment_does() {
        assert_eq!(
            store(&[("crates/store/src/lib.rs", "//! #![forbid(unsafe_code)]\n")]),
            [
                "crates/store/src/lib.rs:1: write `#![forbid(unsafe_code)]` at the root, \
              or `#![deny(unsafe_code)]` and allow it for one module"
            ]
        );
    }

    #[test]
    fn one_module_may_have_it() {
        let root = "//! Store.\n#![deny(unsafe_code)]\n#[allow(unsafe_code)]\n#[cfg(unix)]\npub(crate) mod map;\n";
        assert_eq!(store(&[("crates/store/src/lib.rs", root)]), [""; 0]);
    }

    #[test]
    fn a_second_place_and_a_single_function_are_problems() {
        let root = "//! Store.\n#![deny(unsafe_code)]\n#[allow(unsafe_code, reason = \"mmap\")]\nmod map;\n";
        let other = "//! Read.\n#[allow(unsafe_code)]\nfn read() {}\n";
        assert_eq!(
            store(&[
                ("crates/store/src/lib.rs", root),
                ("crates/store/src/read.rs", other)
            ]),
            [
                "crates/store/src/read.rs:2: unsafe code is allowed for one whole module: \
                 put the attribute on its `mod` line",
                "crates/store/src/read.rs:2: `store` already allows unsafe code at crates/store/src/lib.rs:3: \
                 keep it in that one module",
            ]
        );
    }
}
