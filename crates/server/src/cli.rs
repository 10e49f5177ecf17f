//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::{Mode, Sources};

/// One process for REST, WebSocket, Server-Sent Events, MQTT and an Operations API over one store.
#[derive(Debug, Parser)]
#[command(name = "motet", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run in the foreground; with the application in DIRECTORY, if one is given
    #[command(override_usage = "motet run [DIRECTORY] [--SETTING VALUE]...")]
    Run(Start),
    /// Run for development: loopback is trusted, logs go to the terminal
    #[command(override_usage = "motet dev [DIRECTORY] [--SETTING VALUE]...")]
    Dev(Start),
    /// Print the version
    Version,
}

#[derive(Debug, clap::Args)]
struct Start {
    /// The application directory, and settings such as --HTTP_PORT 9930 (see config/motet.yaml for all names)
    #[arg(
        allow_hyphen_values = true,
        trailing_var_arg = true,
        value_name = "DIRECTORY | --SETTING VALUE"
    )]
    words: Vec<String>,
}

/// What the user asked for.
#[derive(Debug)]
pub enum Request {
    /// Start the server.
    Start {
        /// `run` or `dev`.
        mode: Mode,
        /// Where settings come from.
        sources: Sources,
    },
    /// Print the version.
    Version,
}

/// Reads the command line and the environment.
///
/// # Errors
///
/// A message with the right usage; also the help text, which is no error to the user (see
/// [`clap::Error::exit_code`]).
pub fn request(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, clap::Error> {
    let (mode, start) = match Arguments::try_parse_from(arguments)?.command {
        Some(Command::Version) => return Ok(Request::Version),
        Some(Command::Run(start)) => (Mode::Run, start),
        Some(Command::Dev(start)) => (Mode::Dev, start),
        None => (Mode::Run, Start { words: Vec::new() }),
    };
    let (directory, settings) = split(start.words)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the environment is read"
    )]
    let environment = std::env::vars().collect();
    Ok(Request::Start {
        mode,
        sources: Sources {
            environment,
            arguments: settings,
            directory,
        },
    })
}

type Settings = Vec<(String, String)>;

/// The directory, and the settings as `--NAME value` or `--NAME=value`.
fn split(words: Vec<String>) -> Result<(Option<PathBuf>, Settings), clap::Error> {
    let wrong =
        |message: String| clap::Error::raw(clap::error::ErrorKind::ValueValidation, message + "\n");
    let mut directory = None;
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(setting) = word.strip_prefix("--") else {
            match directory.replace(PathBuf::from(&word)) {
                None => continue,
                Some(first) => {
                    return Err(wrong(format!(
                        "two directories: '{}' and '{word}'; give one",
                        first.display()
                    )));
                }
            }
        };
        let pair = match setting.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => match words.next() {
                Some(value) => (setting.to_owned(), value),
                None => {
                    return Err(wrong(format!(
                        "'{word}' needs a value, such as '{word} 9930'"
                    )));
                }
            },
        };
        settings.push(pair);
    }
    Ok((directory, settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Request, clap::Error> {
        request(
            std::iter::once("motet")
                .chain(words.iter().copied())
                .map(OsString::from),
        )
    }

    #[test]
    fn a_directory_and_settings_in_any_order() {
        for words in [
            &["dev", "shop", "--HTTP_PORT", "1", "--LOGGING_LEVEL=info"][..],
            &["dev", "--HTTP_PORT", "1", "shop", "--LOGGING_LEVEL=info"][..],
        ] {
            let Ok(Request::Start { mode, sources }) = parse(words) else {
                panic!("{words:?}")
            };
            assert_eq!(mode, Mode::Dev);
            assert_eq!(sources.directory, Some(PathBuf::from("shop")));
            let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
            assert_eq!(
                sources.arguments,
                [pair("HTTP_PORT", "1"), pair("LOGGING_LEVEL", "info")]
            );
        }
    }

    #[test]
    fn mistakes_are_named() {
        let error = parse(&["rum"]).unwrap_err().to_string();
        assert!(
            error.contains("'rum'") && error.contains("'run'"),
            "{error}"
        );
        assert!(
            parse(&["run", "--HTTP_PORT"])
                .unwrap_err()
                .to_string()
                .contains("needs a value")
        );
        assert!(
            parse(&["run", "a", "b"])
                .unwrap_err()
                .to_string()
                .contains("two directories")
        );
        assert_eq!(parse(&["--help"]).unwrap_err().exit_code(), 0);
    }
}
