//! The command line (`config-and-cli.md` §4).
//!
//! ```text
//! words ─▶ request ─▶ Start: main composes the server
//!                   └▶ everything else: perform
//! ```

mod client;
mod names;
mod operation;
mod process;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{self, Mode, Sources};

pub use self::operation::Call;
pub use self::process::{DETACHED, detach};

/// One process for REST, WebSocket, Server-Sent Events, MQTT and an Operations API over one store.
#[derive(Debug, Parser)]
#[command(name = "motet", disable_version_flag = true, after_help = OPERATIONS_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

const OPERATIONS_HELP: &str = "\
Without a command: run.

Any operation of the Operations API is a command too:
  motet OPERATION [KEY=VALUE]...     for example: motet describe_table table=Dog json=true
  A value is JSON where it can be, else text. The answer is YAML, or JSON with json=true.
  The server on this machine is reached by its Unix socket, another with target=URL, username=NAME and
  password=PASSWORD, or CLI_TARGET, CLI_TARGET_USERNAME and CLI_TARGET_PASSWORD in the environment;
  rejectUnauthorized=false accepts any certificate.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run in the foreground; with the application in DIRECTORY, if one is given
    #[command(override_usage = "motet run [DIRECTORY] [--SETTING VALUE]...")]
    Run(Words),
    /// Run for development: loopback is trusted, logs go to the terminal, changed files are loaded at once
    #[command(override_usage = "motet dev [DIRECTORY] [--SETTING VALUE]...")]
    Dev(Words),
    /// Run in the background
    #[command(override_usage = "motet start [DIRECTORY] [--SETTING VALUE]...")]
    Start(Words),
    /// Stop the server that runs in the background or elsewhere
    #[command(override_usage = "motet stop [--ROOTPATH PATH]")]
    Stop(Words),
    /// Begin again in place without losing a request
    #[command(override_usage = "motet restart [--ROOTPATH PATH]")]
    Restart(Words),
    /// Tell whether the server runs: exit status 0, 1 if it ended by itself, 3 if stopped, 4 if not installed
    #[command(override_usage = "motet status [json=true] [--ROOTPATH PATH]")]
    Status(Words),
    /// Print the version
    Version,
    /// Print a script that completes commands, for example: motet completions bash
    Completions {
        /// The shell
        shell: Shell,
    },
    /// An operation.
    #[command(external_subcommand)]
    Operation(Vec<OsString>),
}

#[derive(Debug, clap::Args)]
struct Words {
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
    /// Start the server in this process.
    Start {
        /// `run` or `dev`.
        mode: Mode,
        /// Where settings come from.
        sources: Sources,
    },
    /// Anything else; see [`perform`].
    Other(Task, Sources),
}

/// Something that this process does and ends.
#[derive(Debug)]
pub enum Task {
    /// Start a server in the background, with these words.
    Background(Vec<String>),
    /// Stop it.
    Stop,
    /// Let it begin again.
    Restart,
    /// Tell whether it runs.
    Status {
        /// As JSON instead of YAML.
        as_json: bool,
    },
    /// Print the version.
    Version,
    /// Print a script for a shell.
    Completions(Shell),
    /// Perform an operation.
    Operation(Box<Call>),
}

/// Reads the command line and the environment.
///
/// # Errors
///
/// A message with the right usage; also the help text, which is no error to the user (see
/// [`clap::Error::exit_code`]).
pub fn request(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, clap::Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the environment is read"
    )]
    let environment = std::env::vars().collect();
    read(arguments.into_iter().collect(), environment)
}

fn read(
    mut arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
) -> Result<Request, clap::Error> {
    // A command in capitals is the same command.
    if let Some(command) = arguments.get_mut(1)
        && let Some(text) = command.to_str().filter(|text| !text.starts_with('-'))
    {
        *command = text.to_lowercase().into();
    }
    let mut sources = Sources {
        environment,
        ..Sources::default()
    };
    let start = |mode, words: Vec<String>, mut sources: Sources| {
        (sources.directory, sources.arguments) = split(words)?;
        Ok(Request::Start { mode, sources })
    };
    let task = match Arguments::try_parse_from(arguments)?.command {
        None => return start(Mode::Run, Vec::new(), sources),
        Some(Command::Run(Words { words })) => return start(Mode::Run, words, sources),
        Some(Command::Dev(Words { words })) => return start(Mode::Dev, words, sources),
        Some(Command::Start(Words { words })) => {
            (sources.directory, sources.arguments) = split(words.clone())?;
            Task::Background(words)
        }
        Some(Command::Stop(words)) => {
            words.only_settings(&mut sources)?;
            Task::Stop
        }
        Some(Command::Restart(words)) => {
            words.only_settings(&mut sources)?;
            Task::Restart
        }
        Some(Command::Status(mut words)) => {
            let before = words.words.len();
            words.words.retain(|word| word != "json=true");
            let as_json = words.words.len() < before;
            words.only_settings(&mut sources)?;
            Task::Status { as_json }
        }
        Some(Command::Version) => Task::Version,
        Some(Command::Completions { shell }) => Task::Completions(shell),
        Some(Command::Operation(words)) => Task::Operation(Box::new(call(&words, &mut sources)?)),
    };
    Ok(Request::Other(task, sources))
}

impl Words {
    /// For commands that take no directory.
    fn only_settings(self, sources: &mut Sources) -> Result<(), clap::Error> {
        let (directory, settings) = split(self.words)?;
        sources.arguments = settings;
        match directory {
            None => Ok(()),
            Some(word) => Err(wrong(format!(
                "'{}' is not expected here; --ROOTPATH PATH says which server is meant",
                word.display()
            ))),
        }
    }
}

fn wrong(message: String) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, message + "\n")
}

/// The operation that `words` name.
fn call(words: &[OsString], sources: &mut Sources) -> Result<Call, clap::Error> {
    let words: Vec<_> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let (name, words) = words
        .split_first()
        .map_or(("", &[][..]), |(name, words)| (name.as_str(), words));
    if !names::is_operation(name) {
        return Err(not_understood(name));
    }
    let variable = |name: &str| {
        let mut variables = sources.environment.iter();
        let found = variables.find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let mut call = Call::parse(name, words, variable).map_err(wrong)?;
    sources.arguments = std::mem::take(&mut call.settings);
    Ok(call)
}

fn not_understood(name: &str) -> clap::Error {
    let command = Arguments::command();
    let commands = command.get_subcommands().map(clap::Command::get_name);
    let mut known: Vec<&str> = commands.collect();
    known.extend(names::all());
    let nearest = config::nearest(name, known.into_iter());
    let hint = nearest.map(|nearest| format!(" Did you mean '{nearest}'?"));
    let help = Arguments::command().render_help();
    let message = format!(
        "The \"{name}\" command is not understood.{}\n\n{help}",
        hint.unwrap_or_default()
    );
    clap::Error::raw(ErrorKind::InvalidSubcommand, message)
}

/// Does what is no start of the server in this process.
///
/// # Errors
///
/// What keeps it from being done, for the user to read.
pub fn perform(task: Task, sources: &Sources) -> anyhow::Result<ExitCode> {
    match task {
        Task::Version => println!("{}", env!("CARGO_PKG_VERSION")),
        Task::Completions(shell) => completions(shell),
        Task::Background(words) => {
            // A wrong setting is told at once, and not in the background.
            let config = config::load(Mode::Run, sources)?;
            process::start(&config.root, &words)?;
        }
        Task::Stop => {
            let grace = config::load(Mode::Run, sources)
                .map(|config| config.shutdown.grace_period + config.shutdown.readiness_delay);
            process::stop(&config::root(sources)?, grace.unwrap_or_default())?;
        }
        Task::Restart => process::restart(&config::root(sources)?)?,
        Task::Status { as_json } => return Ok(process::status(&config::root(sources)?, as_json)),
        Task::Operation(call) if call.is_local() => {
            let config = config::load(Mode::Run, sources)?;
            if !matches!(
                process::Status::of(&config.root),
                process::Status::Running(_)
            ) {
                anyhow::bail!("Motet must be running to perform this operation");
            }
            return call.perform(config.operations.domain_socket);
        }
        Task::Operation(call) => return call.perform(None),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the script of a shell; operations are completed like commands.
fn completions(shell: Shell) {
    let operations = names::all().map(clap::Command::new);
    let mut command = Arguments::command().subcommands(operations);
    clap_complete::generate(shell, &mut command, "motet", &mut std::io::stdout());
}

type Settings = Vec<(String, String)>;

/// The directory, and the settings as `--NAME value` or `--NAME=value`.
fn split(words: Vec<String>) -> Result<(Option<PathBuf>, Settings), clap::Error> {
    let mut directory = None;
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(text) = word.strip_prefix("--") else {
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
        settings.push(setting(text, || words.next()).map_err(wrong)?);
    }
    Ok((directory, settings))
}

/// Name and value of a setting, which is given without its dashes.
fn setting(text: &str, next: impl FnOnce() -> Option<String>) -> Result<(String, String), String> {
    if let Some((name, value)) = text.split_once('=') {
        return Ok((name.to_owned(), value.to_owned()));
    }
    match next() {
        Some(value) => Ok((text.to_owned(), value)),
        None => Err(format!("'--{text}' needs a value, such as '--{text} 9930'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Request, clap::Error> {
        let words = std::iter::once("motet").chain(words.iter().copied());
        read(words.map(OsString::from).collect(), Vec::new())
    }

    fn task(words: &[&str]) -> Task {
        match parse(words).unwrap() {
            Request::Other(task, _) => task,
            Request::Start { .. } => panic!("{words:?} starts a server"),
        }
    }

    #[test]
    fn a_directory_and_settings_in_any_order() {
        for words in [
            &["dev", "shop", "--HTTP_PORT", "1", "--LOGGING_LEVEL=info"][..],
            &["DEV", "--HTTP_PORT", "1", "shop", "--LOGGING_LEVEL=info"][..],
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
        let text = |words: &[&str]| parse(words).unwrap_err().to_string();
        let error = text(&["rum"]);
        let expected = "The \"rum\" command is not understood. Did you mean 'run'?";
        assert!(
            error.contains(expected) && error.contains("Usage:"),
            "{error}"
        );
        assert!(text(&["describe_al"]).contains("Did you mean 'describe_all'?"));
        assert!(text(&["zzzzzzzzz"]).contains("not understood.\n"));
        assert_eq!(parse(&["rum"]).unwrap_err().exit_code(), 2);
        assert!(text(&["run", "--HTTP_PORT"]).contains("needs a value"));
        assert!(text(&["run", "a", "b"]).contains("two directories"));
        assert!(text(&["stop", "a"]).contains("'a' is not expected here"));
        assert_eq!(parse(&["--help"]).unwrap_err().exit_code(), 0);
    }

    #[test]
    fn section_4_a_command_selects_what_is_done() {
        assert!(matches!(task(&["version"]), Task::Version));
        assert!(matches!(task(&["start", "shop"]), Task::Background(words) if words == ["shop"]));
        assert!(matches!(
            task(&["status", "json=true"]),
            Task::Status { as_json: true }
        ));
        assert!(matches!(task(&["stop", "--ROOTPATH", "/x"]), Task::Stop));
        assert!(matches!(task(&["describe_all"]), Task::Operation(_)));
        assert!(matches!(
            parse(&[]),
            Ok(Request::Start {
                mode: Mode::Run,
                ..
            })
        ));
    }
}
