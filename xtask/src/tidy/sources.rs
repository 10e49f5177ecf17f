//! What every Rust file has, and what none may have.

use super::Problem;
use super::lexer::code_only;
use crate::workspace::{TextFile, Workspace};

/// Tokens that mean unfinished work, and what to write instead.
const FORBIDDEN: [(&str, &str); 4] = [
    (
        "todo!",
        "build it, or answer a typed error that names what is not built",
    ),
    (
        "unimplemented!",
        "build it, or answer a typed error that names what is not built",
    ),
    ("dbg!", "use `tracing`, or take it out"),
    (
        "#[ignore",
        "run the test, or assert today's wrong behaviour and say so",
    ),
];

/// A part of a test that runs in a process of its own, which the test starts.
const RUN_BY_ANOTHER: &str = "#[ignore = \"run by another test: ";

pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    workspace
        .files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .flat_map(check_file)
        .collect()
}

fn check_file(file: &TextFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !file.text.starts_with("//!") {
        problems.push(Problem::new(
            &file.path,
            1,
            "a file opens with a `//!` line that says what it is about",
        ));
    }
    let code = code_only(&file.text);
    let lines = (1..).zip(code.lines().zip(file.text.lines()));
    for (number, (line, whole)) in lines {
        for (token, instead) in FORBIDDEN {
            if has_token(line, token) && !whole.contains(RUN_BY_ANOTHER) {
                problems.push(Problem::new(
                    &file.path,
                    number,
                    format!("`{token}` is unfinished work: {instead}"),
                ));
            }
        }
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        if opens_ignored_example(line) {
            problems.push(Problem::new(
                &file.path,
                number,
                "an example that never runs goes stale: let it run, mark it `no_run`, or mark it `text`",
            ));
        }
    }
    problems
}

/// Whether the token stands in the line and does not merely end another name.
fn has_token(line: &str, token: &str) -> bool {
    line.match_indices(token).any(|(at, _)| {
        !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
    })
}

/// A fence in a documentation comment whose example is skipped by `cargo test`.
fn opens_ignored_example(line: &str) -> bool {
    let comment = line.trim_start();
    let Some(text) = comment
        .strip_prefix("///")
        .or_else(|| comment.strip_prefix("//!"))
    else {
        return false;
    };
    let Some(attributes) = text.trim_start().strip_prefix("```") else {
        return false;
    };
    attributes
        .split([',', ' '])
        .any(|attribute| attribute.starts_with("ignore"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{printed, repository};
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        printed(&check(&repository(&[("crates/base/src/id.rs", text)])))
    }

    #[test]
    fn a_file_opens_with_its_subject() {
        assert_eq!(problems("//! Ids.\nfn f() {}\n"), [""; 0]);
        assert_eq!(
            problems("use std::fmt;\n"),
            ["crates/base/src/id.rs:1: a file opens with a `//!` line that says what it is about"]
        );
    }

    #[test]
    fn unfinished_work_is_named_with_its_line() {
        let text = "//! Ids.\nfn f() {\n    todo!()\n}\n#[ignore = \"slow\"]\nfn g() { dbg!(1); unimplemented!(\"x\") }\n";
        assert_eq!(
            problems(text),
            [
                "crates/base/src/id.rs:3: `todo!` is unfinished work: \
                 build it, or answer a typed error that names what is not built",
                "crates/base/src/id.rs:5: `#[ignore` is unfinished work: \
                 run the test, or assert today's wrong behaviour and say so",
                "crates/base/src/id.rs:6: `unimplemented!` is unfinished work: \
                 build it, or answer a typed error that names what is not built",
                "crates/base/src/id.rs:6: `dbg!` is unfinished work: use `tracing`, or take it out",
            ]
        );
    }

    #[test]
    fn the_part_of_a_test_that_runs_in_its_own_process_may_be_ignored() {
        let text = "//! Ids.\n#[ignore = \"run by another test: sets limits\"]\nfn f() {}\n";
        assert_eq!(problems(text), [""; 0]);
    }

    #[test]
    fn words_in_comments_strings_and_longer_names_are_fine() {
        assert_eq!(
            problems(
                "//! No todo!() here.\nconst A: &str = \"dbg!(x)\"; // #[ignore]\nmy_todo!();\n"
            ),
            [""; 0]
        );
    }

    #[test]
    fn an_example_that_is_never_compiled_is_found() {
        assert_eq!(
            problems("//! Ids.\n//!\n//! ```text\n//! a\n//! ```\n/// ```no_run\n/// ```\n"),
            [""; 0]
        );
        assert_eq!(
            problems("//! Ids.\n/// ```rust,ignore\n/// x\n/// ```\n"),
            [
                "crates/base/src/id.rs:2: an example that never runs goes stale: \
              let it run, mark it `no_run`, or mark it `text`"
            ]
        );
    }

    #[test]
    fn other_files_are_not_rust() {
        assert!(check(&repository(&[("README.md", "todo!()\n")])).is_empty());
    }
}
