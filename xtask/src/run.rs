//! Starting other programs: cargo without the variables of this run, and everything echoed.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The cargo that started this program.
///
/// `cargo run` describes the crate it runs in the environment. Build scripts that watch those variables
/// would then run again here and once more in the developer's shell, so they are taken out.
#[expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to its children by environment"
)]
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if describes_this_crate(&name) {
            command.env_remove(name);
        }
    }
    command
}

fn describes_this_crate(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// Prints the command line, runs it with this program's output, and fails if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = describe(command);
    println!("$ {line}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Runs the command silently and returns what it printed; its error output is in the error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` ended with {}: {}", output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` did not print UTF-8"))
}

/// The command as a person would type it: the program by its name, not by where it lies.
pub(crate) fn describe(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut line = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_is_named_with_its_status() {
        let error = run(Command::new("false").arg("--really")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`false --really` ended with exit status: 1"
        );
    }

    #[test]
    fn captured_errors_carry_what_the_program_said() {
        let error = capture(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err();
        assert!(
            error.to_string().ends_with("ended with exit status: 3: no"),
            "{error}"
        );
    }

    #[test]
    fn cargo_does_not_inherit_the_description_of_this_crate() {
        assert!(describes_this_crate(OsStr::new("CARGO_PKG_NAME")));
        assert!(describes_this_crate(OsStr::new("CARGO_MANIFEST_DIR")));
        assert!(!describes_this_crate(OsStr::new("CARGO_TARGET_DIR")));
    }
}
