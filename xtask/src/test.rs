//! `cargo xtask test`: what the tests need, then every test, then one line that counts them.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{run, tools, workspace};

/// Builds the server and runs the tests; `arguments` go to `cargo test`.
///
/// # Errors
///
/// If a tool is missing and cannot be installed, if something does not build, if a test fails, or if
/// all tests were asked for and none ran.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    tools::ensure_test_tools()?;
    run::run(&mut build(arguments))?;
    let (tally, success) = count(&mut test(arguments), &mut std::io::stdout())?;
    println!("{tally}");
    if !success {
        bail!("a test failed, or did not build");
    }
    if arguments.is_empty() && tally == Tally::default() {
        bail!("no test ran");
    }
    Ok(())
}

/// The binary that tests start.
///
/// Cargo picks the features of dependencies by what is built together. Asking for the same packages and
/// for test targets here as below makes both commands agree, so that nothing is compiled twice.
fn build(arguments: &[String]) -> Command {
    let mut command = run::cargo();
    command.current_dir(workspace::root()).arg("build");
    if names_a_package(arguments) {
        command.args(["--package", "server", "--bins"]);
    } else {
        command.args(["--workspace", "--bins", "--tests", "--examples"]);
    }
    command
}

/// Unit, integration and documentation tests: without a target option `cargo test` runs all three.
fn test(arguments: &[String]) -> Command {
    let mut command = run::cargo();
    command.current_dir(workspace::root()).arg("test");
    if !names_a_package(arguments) {
        command.arg("--workspace");
    }
    if !cargo_options(arguments).any(|argument| argument == "--no-fail-fast") {
        command.arg("--no-fail-fast");
    }
    command.args(arguments);
    command
}

fn names_a_package(arguments: &[String]) -> bool {
    cargo_options(arguments).any(|argument| {
        argument.starts_with("--package")
            || (argument.starts_with("-p") && !argument.starts_with("--"))
    })
}

/// Arguments up to `--` are cargo's; the rest is for the test programs.
fn cargo_options(arguments: &[String]) -> impl Iterator<Item = &String> {
    arguments.iter().take_while(|argument| *argument != "--")
}

/// Runs the command, passes its output on and adds up what the test programs report.
fn count(command: &mut Command, terminal: &mut impl Write) -> Result<(Tally, bool)> {
    writeln!(terminal, "$ {}", run::describe(command))?;
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let mut output = BufReader::new(child.stdout.take().expect("stdout was piped"));
    let mut tally = Tally::default();
    let mut line = Vec::new();
    // Bytes, not text: a test may print what is not UTF-8.
    while output.read_until(b'\n', &mut line)? > 0 {
        terminal.write_all(&line)?;
        tally.add(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok((tally, child.wait()?.success()))
}

/// Tests that ran, over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Adds the closing line of one test program; any other line counts nothing.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|result| result.trim_end().split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            match count.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                Some((number, "ignored")) => self.ignored += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tests: {} passed, {} failed", self.passed, self.failed)?;
        if self.ignored > 0 {
            write!(f, ", {} skipped", self.ignored)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(command: &Command) -> String {
        run::describe(command)
    }

    fn arguments(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn closing_lines_are_added_up_and_others_are_not() {
        let mut tally = Tally::default();
        tally.add("running 3 tests\n");
        tally.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s\n");
        tally.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.01s\n");
        tally.add("test result::is_read ... ok\n");
        assert_eq!(tally.to_string(), "tests: 7 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn nothing_skipped_is_not_mentioned() {
        assert_eq!(
            Tally {
                passed: 5,
                failed: 0,
                ignored: 0
            }
            .to_string(),
            "tests: 5 passed, 0 failed"
        );
    }

    #[test]
    fn all_tests_and_the_server_are_built_with_the_same_features() {
        assert_eq!(
            line_of(&build(&[])),
            "cargo build --workspace --bins --tests --examples"
        );
        assert_eq!(line_of(&test(&[])), "cargo test --workspace --no-fail-fast");
    }

    #[test]
    fn further_arguments_go_to_cargo_test() {
        let given = arguments("--test e2e -- --nocapture -p");
        assert_eq!(
            line_of(&test(&given)),
            "cargo test --workspace --no-fail-fast --test e2e -- --nocapture -p"
        );
        let given = arguments("--no-fail-fast");
        assert_eq!(
            line_of(&test(&given)),
            "cargo test --workspace --no-fail-fast"
        );
    }

    #[test]
    fn a_named_package_stands_alone_beside_the_server() {
        for given in ["-p store", "-pstore", "--package store", "--package=store"] {
            let given = arguments(given);
            assert_eq!(
                line_of(&build(&given)),
                "cargo build --package server --bins"
            );
            assert!(!line_of(&test(&given)).contains("--workspace"));
        }
    }

    #[test]
    fn output_passes_through_and_is_counted() {
        let script = "printf 'x\\377\\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\\n'; exit 1";
        let mut terminal = Vec::new();
        let (tally, success) =
            count(Command::new("sh").args(["-c", script]), &mut terminal).unwrap();
        assert_eq!((tally.passed, success), (2, false));
        assert!(
            terminal.windows(3).any(|bytes| bytes == b"x\xFF\n"),
            "bytes that are not UTF-8 pass too"
        );
    }
}
