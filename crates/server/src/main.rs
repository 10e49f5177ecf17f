//! The `motet` program: reads the command line, and leaves the rest to `compose`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use server::cli::{self, Request};
use server::{compose, config, restart};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A wrong configuration: starting again will not help (`sysexits.h`).
const EX_CONFIG: u8 = 78;
/// Another process serves the same root directory.
const ALREADY_RUNNING: u8 = 4;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    if let [_, command, first, second] = &words[..]
        && command == restart::HOLDER
    {
        return ended(restart::hold(first.as_ref(), second.as_ref()));
    }
    let (mode, sources) = match cli::request(words) {
        Ok(Request::Start { mode, sources }) => (mode, sources),
        Ok(Request::Other(task, sources)) => {
            return cli::perform(task, &sources).unwrap_or_else(|error| failed(&error));
        }
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if sources
        .environment
        .iter()
        .any(|(name, _)| name == cli::DETACHED)
    {
        cli::detach();
    }
    let config = match config::load(mode, &sources) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("motet: configuration: {error}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    ended(compose::run(config, &sources))
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    result.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("motet: {error:#}");
    if error.is::<server::root::AlreadyRunning>() {
        ExitCode::from(ALREADY_RUNNING)
    } else if error.is::<config::ConfigError>() {
        ExitCode::from(EX_CONFIG)
    } else {
        ExitCode::FAILURE
    }
}
