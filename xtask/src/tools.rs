//! Programs the tests call: found, installed where that is allowed, or named.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{run, workspace};

/// A program and the Debian package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tool {
    program: &'static str,
    package: &'static str,
}

/// What the tests call. None of it is needed to build or to run Motet.
const TEST_TOOLS: [Tool; 9] = [
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
    Tool {
        program: "pip3",
        package: "python3-pip",
    },
    Tool {
        program: "npm",
        package: "npm",
    },
];

/// A client library in another language, which comes from the registry of that language into the cache.
struct Library {
    /// Where it lies in the cache.
    place: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// After the directory.
    name: &'static str,
}

const LIBRARIES: [Library; 2] = [
    Library {
        place: "python/paho",
        program: "pip3",
        arguments: &["install", "--quiet", "--target", ".cache/python"],
        name: "paho-mqtt==2.1.0",
    },
    Library {
        place: "node/node_modules/mqtt",
        program: "npm",
        arguments: &[
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--prefix",
            ".cache/node",
        ],
        name: "mqtt@5.14.1",
    },
];

/// Makes sure the tests find the client libraries of other languages.
///
/// # Errors
///
/// If a registry cannot be reached.
pub(crate) fn ensure_libraries() -> Result<()> {
    let root = workspace::root();
    for library in LIBRARIES {
        if root.join(".cache").join(library.place).is_dir() {
            continue;
        }
        std::fs::create_dir_all(root.join(".cache/node"))?;
        run::run(
            Command::new(library.program)
                .current_dir(&root)
                .args(library.arguments)
                .arg(library.name),
        )?;
    }
    Ok(())
}

/// Makes sure the tests find the programs they call.
///
/// # Errors
///
/// If one is missing and this is not a Debian system, or the caller is not root, or apt fails. The error
/// names the programs, their packages and the command that installs them.
pub(crate) fn ensure_test_tools() -> Result<()> {
    let absent = missing(on_path);
    if absent.is_empty() {
        return Ok(());
    }
    if !is_debian() || !is_root() {
        bail!("{}", instructions(&absent));
    }
    println!(
        "installing what the tests call: {}",
        packages(&absent).join(" ")
    );
    run::run(Command::new("apt-get").args(["update", "--quiet"]))?;
    run::run(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "--quiet", "--yes", "--no-install-recommends"])
            .args(packages(&absent)),
    )?;
    let absent = missing(on_path);
    if !absent.is_empty() {
        bail!("apt-get succeeded, but still: {}", instructions(&absent));
    }
    Ok(())
}

fn missing(present: impl Fn(&str) -> bool) -> Vec<Tool> {
    TEST_TOOLS
        .into_iter()
        .filter(|tool| !present(tool.program))
        .collect()
}

fn packages(tools: &[Tool]) -> Vec<&'static str> {
    let mut packages: Vec<_> = tools.iter().map(|tool| tool.package).collect();
    packages.dedup();
    packages
}

fn instructions(absent: &[Tool]) -> String {
    let named: Vec<_> = absent
        .iter()
        .map(|tool| format!("{} (package {})", tool.program, tool.package))
        .collect();
    format!(
        "the tests call programs that are not installed: {}. On a Debian system: \
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
        assert_eq!(missing(|_| true), []);
    }

    #[test]
    fn missing_programs_are_named_with_packages_and_the_command() {
        let absent = missing(|program| program == "curl");
        assert_eq!(
            instructions(&absent),
            "the tests call programs that are not installed: mosquitto_pub (package mosquitto-clients), \
             mosquitto_sub (package mosquitto-clients), chromium (package chromium), promtool (package prometheus), \
             h2load (package nghttp2-client), openssl (package openssl), pip3 (package python3-pip), npm (package npm). \
             On a Debian system: sudo apt-get update && sudo apt-get install --no-install-recommends \
             mosquitto-clients chromium prometheus nghttp2-client openssl python3-pip npm"
        );
    }

    #[test]
    fn programs_are_looked_up_in_the_path() {
        assert!(on_path("sh"));
        assert!(!on_path("no-program-has-this-name"));
    }
}
