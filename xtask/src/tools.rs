//! Programs the tests call: found, installed where that is allowed, or named.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::run;

/// A program and the Debian package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tool {
    program: &'static str,
    package: &'static str,
}

/// What the tests call. None of it is needed to build or to run Motet.
const TEST_TOOLS: [Tool; 7] = [
    Tool {
        program: "curl",
        package: "curl",
    },
    Tool {
        program: "mosquitto_pub",
        package: "mosquitto-clients",
    },
    Tool {
        program: "mosquitto_sub",
        package: "mosquitto-clients",
    },
    Tool {
        program: "chromium",
        package: "chromium",
    },
    Tool {
        program: "promtool",
        package: "prometheus",
    },
    Tool {
        program: "h2load",
        package: "nghttp2-client",
    },
    Tool {
        program: "openssl",
        package: "openssl",
    },
];

/// What `cargo xtask bench` compares with (nginx: BSD-2-Clause, mosquitto: EPL-2.0 or BSD-3-Clause) and counts
/// instructions with (valgrind: GPL-2.0-or-later). They run as programs of their own and are not distributed.
const BENCH_TOOLS: [Tool; 4] = [
    Tool {
        program: "nginx",
        package: "nginx-light",
    },
    Tool {
        program: "mosquitto",
        package: "mosquitto",
    },
    Tool {
        program: "valgrind",
        package: "valgrind",
    },
    Tool {
        program: "vgdb",
        package: "valgrind",
    },
];

/// Makes sure the tests find the programs they call.
///
/// # Errors
///
/// If one is missing and this is not a Debian system, or the caller is not root, or apt fails. The error
/// names the programs, their packages and the command that installs them.
pub(crate) fn ensure_test_tools() -> Result<()> {
    ensure("the tests call", &TEST_TOOLS)
}

/// Makes sure the measurements find the servers they compare with.
///
/// # Errors
///
/// As [`ensure_test_tools`].
pub(crate) fn ensure_bench_tools() -> Result<()> {
    ensure("the measurements call", &BENCH_TOOLS)
}

fn ensure(who: &str, tools: &[Tool]) -> Result<()> {
    let absent = missing(tools, is_installed);
    if absent.is_empty() {
        return Ok(());
    }
    if !is_debian() || !is_root() {
        bail!("{}", instructions(who, &absent));
    }
    println!("installing what {who}: {}", packages(&absent).join(" "));
    run::run(Command::new("apt-get").args(["update", "--quiet"]))?;
    run::run(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "--quiet", "--yes", "--no-install-recommends"])
            .args(packages(&absent)),
    )?;
    let absent = missing(tools, is_installed);
    if !absent.is_empty() {
        bail!(
            "apt-get succeeded, but still: {}",
            instructions(who, &absent)
        );
    }
    Ok(())
}

fn missing(tools: &[Tool], present: impl Fn(&str) -> bool) -> Vec<Tool> {
    tools
        .iter()
        .copied()
        .filter(|tool| !present(tool.program))
        .collect()
}

/// Servers lie in `sbin`, which is not in everybody's `PATH`.
fn is_installed(program: &str) -> bool {
    on_path(program) || Path::new("/usr/sbin").join(program).is_file()
}

fn packages(tools: &[Tool]) -> Vec<&'static str> {
    let mut packages: Vec<_> = tools.iter().map(|tool| tool.package).collect();
    packages.dedup();
    packages
}

fn instructions(who: &str, absent: &[Tool]) -> String {
    let named: Vec<_> = absent
        .iter()
        .map(|tool| format!("{} (package {})", tool.program, tool.package))
        .collect();
    format!(
        "{who} programs that are not installed: {}. On a Debian system: \
         sudo apt-get update && sudo apt-get install --no-install-recommends {}",
        named.join(", "),
        packages(absent).join(" ")
    )
}

/// Whether a program of this name lies in a directory of `PATH`.
#[expect(
    clippy::disallowed_methods,
    reason = "where programs lie is known to the environment only"
)]
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    })
}

fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() && on_path("apt-get")
}

fn is_root() -> bool {
    run::capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missing_when_every_program_is_there() {
        assert_eq!(missing(&TEST_TOOLS, |_| true), []);
    }

    #[test]
    fn missing_programs_are_named_with_packages_and_the_command() {
        let absent = missing(&TEST_TOOLS, |program| program == "curl");
        assert_eq!(
            instructions("the tests call", &absent),
            "the tests call programs that are not installed: mosquitto_pub (package mosquitto-clients), \
             mosquitto_sub (package mosquitto-clients), chromium (package chromium), promtool (package prometheus), \
             h2load (package nghttp2-client), openssl (package openssl). \
             On a Debian system: sudo apt-get update && sudo apt-get install --no-install-recommends \
             mosquitto-clients chromium prometheus nghttp2-client openssl"
        );
    }

    #[test]
    fn programs_are_looked_up_in_the_path() {
        assert!(on_path("sh"));
        assert!(!on_path("no-program-has-this-name"));
    }
}
