//! What only an installed log can show. One test, since a process installs one log.

use std::fmt;
use std::fs;
use std::path::Path;

use telemetry::logs::{self, LogConfig, LogLevel, Logs};

#[test]
fn an_installed_log_stands_panics_and_values_that_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hdb.log");
    let config = LogConfig {
        file: Some(path.clone()),
        ..LogConfig::default()
    };
    let logs = logs::install(config.clone()).unwrap();
    a_panic_is_written_at_once(&path);
    a_value_that_logs_does_not_disturb_its_line(&path, &logs);
    levels_change_without_being_the_default_of_the_thread(&path, &logs);

    let again = logs::install(config);
    assert!(matches!(again, Err(logs::LogError::AlreadyInstalled)));
    drop(logs);
    // The hook outlives the log and does no harm.
    assert!(std::thread::spawn(|| panic!("later")).join().is_err());
}

/// The lines without their times.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line[25..].to_owned()).collect()
}

fn a_panic_is_written_at_once(path: &Path) {
    let thread = std::thread::Builder::new().name("job-7".to_owned());
    let panicking = thread.spawn(|| {
        tracing::warn!(target: "store", "before");
        panic!("the {} fell", "sky\n");
    });
    assert!(panicking.unwrap().join().is_err());
    // No flush here: the hook has waited.
    let lines = lines(path);
    assert_eq!(lines[0], "[job/7] [warn] [store]: before");
    let panic = "[job/7] [error] [panic]: the sky\\n fell location=";
    assert!(lines[1].starts_with(panic), "{lines:?}");
    assert!(lines[1].contains("installed_log.rs:"), "{lines:?}");
}

struct Talkative;

impl fmt::Display for Talkative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::warn!(target: "store", "inner");
        f.write_str("outer")
    }
}

fn a_value_that_logs_does_not_disturb_its_line(path: &Path, logs: &Logs) {
    tracing::warn!(target: "http", "{Talkative}");
    assert!(logs.flush());
    let lines = lines(path);
    assert!(lines[2].ends_with(" [warn] [store]: inner"), "{lines:?}");
    assert!(lines[3].ends_with(" [warn] [http]: outer"), "{lines:?}");
}

fn levels_change_without_being_the_default_of_the_thread(path: &Path, logs: &Logs) {
    let say = || tracing::debug!(target: "store", "quiet");
    say();
    std::thread::scope(|scope| {
        let change = || logs.set_levels(LogLevel::Debug, Vec::new()).unwrap();
        scope.spawn(change);
    });
    say();
    assert!(logs.flush());
    assert_eq!(lines(path).len(), 5);
}
