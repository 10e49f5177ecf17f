//! `cargo xtask tidy`: the rules of the source tree, each in one file with the texts of its complaints.
//!
//! A check is a function from the repository to problems. It never stops at the first one, and every
//! problem says where it is and what would be right.

mod crates;
mod dependencies;
mod layers;
mod lexer;
mod manifest;
mod privacy;
mod sans_io;
mod sources;
mod top_level;
mod unsafe_code;

use std::fmt;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// Something that is not as it should be, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    path: String,
    line: usize,
    message: String,
}

impl Problem {
    fn new(path: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// The checks that read nothing but the repository.
const CHECKS: &[fn(&Workspace) -> Vec<Problem>] = &[
    top_level::check,
    layers::check,
    crates::check,
    dependencies::check,
    unsafe_code::check,
    sources::check,
    privacy::check,
];

/// Runs every check and prints every problem.
///
/// # Errors
///
/// If there is a problem, or the repository cannot be read.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::load()?;
    let mut problems: Vec<Problem> = CHECKS.iter().flat_map(|check| check(&workspace)).collect();
    problems.extend(sans_io::check(&workspace));
    problems.sort();
    problems.dedup();
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        bail!("tidy: {} problems", problems.len());
    }
    println!(
        "tidy: {} crates, {} files, no problems",
        workspace.crates().count(),
        workspace.files.len()
    );
    Ok(())
}

#[cfg(test)]
mod testing {
    //! Small repositories for the tests of the checks.

    use super::Problem;
    use crate::workspace::{Dependency, Package, TextFile, Workspace};

    /// A repository of these files, without packages.
    pub(super) fn repository(files: &[(&str, &str)]) -> Workspace {
        let files = files
            .iter()
            .map(|(path, text)| TextFile {
                path: (*path).to_owned(),
                text: (*text).to_owned(),
            })
            .collect();
        Workspace {
            packages: Vec::new(),
            files,
        }
    }

    /// A member with dependencies that are not renamed.
    pub(super) fn package(name: &str, directory: &str, dependencies: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            directory: directory.to_owned(),
            license: Some("Apache-2.0".to_owned()),
            dependencies: dependencies
                .iter()
                .map(|name| Dependency {
                    package: (*name).to_owned(),
                    key: (*name).to_owned(),
                })
                .collect(),
            roots: vec![format!("{directory}/src/lib.rs")],
        }
    }

    /// The problems as they are printed.
    pub(super) fn printed(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_problem_is_printed_as_a_place_and_what_would_be_right() {
        let problem = Problem::new("crates/base/Cargo.toml", 7, "write it so");
        assert_eq!(problem.to_string(), "crates/base/Cargo.toml:7: write it so");
    }
}
