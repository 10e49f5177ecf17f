//! What events look like in the file, and what becomes of it.

use std::fs;
use std::path::Path;

use telemetry::logs::{self, LogConfig, LogFormat, LogLevel, Logs};
use tracing::Dispatch;
use tracing::dispatcher::with_default;

struct Fixture {
    directory: tempfile::TempDir,
    dispatch: Dispatch,
    logs: Logs,
}

fn fixture(level: LogLevel, targets: &[(&str, LogLevel)], format: LogFormat) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let targets = targets
        .iter()
        .map(|(target, level)| ((*target).to_owned(), *level));
    let config = LogConfig {
        level,
        targets: targets.collect(),
        file: Some(directory.path().join("log/hdb.log")),
        format,
        ..LogConfig::default()
    };
    let (dispatch, logs) = logs::build(config).unwrap();
    Fixture {
        directory,
        dispatch,
        logs,
    }
}

impl Fixture {
    fn text(&self, name: &str) -> String {
        assert!(self.logs.flush());
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    /// The lines without their time, and the name of the test's thread, which the runner chooses.
    fn lines(&self) -> Vec<String> {
        let text = self.text("log/hdb.log");
        let line = |line: &str| {
            let (time, rest) = line.split_at(25);
            assert!(time.starts_with("20") && time.ends_with("Z "), "{line}");
            rest[rest.find("] ").unwrap() + 2..].to_owned()
        };
        text.lines().map(line).collect()
    }
}

#[test]
fn a_line_has_level_tag_message_and_fields() {
    let fixture = fixture(LogLevel::Trace, &[], LogFormat::Text);
    with_default(&fixture.dispatch, || {
        tracing::warn!(target: "mqtt", "message text");
        tracing::info!(target: "core_listener::engine", port = 80, name = "a b", "opened");
        tracing::debug!(target: "server::compose", only = true);
        tracing::error!(target: "http", "GET /a\r\n2026 [main/0] [notify]: forged \x1b[2J");
        let span = tracing::info_span!("session", client = 7);
        span.in_scope(|| tracing::trace!(target: "proto_mqtt::session", "inside"));
    });
    assert_eq!(
        fixture.lines(),
        [
            "[warn] [mqtt]: message text",
            "[info] [core-listener]: opened port=80 name=\"a b\"",
            "[debug]: only=true",
            "[error] [http]: GET /a\\r\\n2026 [main/0] [notify]: forged \\u{1b}[2J",
            "[trace] [mqtt]: session{client=7}: inside",
        ]
    );
    assert_eq!(fixture.logs.statistics().events, [1, 1, 1, 1, 1, 0, 0]);
}

#[test]
fn notify_is_always_written_and_fatal_is_above_error() {
    let fixture = fixture(LogLevel::Fatal, &[], LogFormat::Text);
    with_default(&fixture.dispatch, || {
        tracing::error!("an error");
        telemetry::fatal!(code = 7, "the end");
        telemetry::notify!("started {}", 1);
    });
    let lines: Vec<_> = fixture
        .lines()
        .iter()
        .map(|line| line.replace(" [logs]", ""))
        .collect();
    assert_eq!(lines, ["[fatal]: the end code=7", "[notify]: started 1"]);

    with_default(&fixture.dispatch, || {
        fixture
            .logs
            .set_levels(LogLevel::Notify, Vec::new())
            .unwrap();
        telemetry::fatal!("not written");
        telemetry::notify!("stopped");
    });
    assert_eq!(fixture.lines().len(), 3);
}

#[test]
fn a_target_may_have_its_own_level_and_levels_may_change() {
    let fixture = fixture(LogLevel::Warn, &[("http", LogLevel::Info)], LogFormat::Text);
    let say = || {
        tracing::info!(target: "http", "a request");
        tracing::info!(target: "store", "a commit");
    };
    with_default(&fixture.dispatch, say);
    assert_eq!(fixture.lines(), ["[info] [http]: a request"]);
    with_default(&fixture.dispatch, || {
        fixture.logs.set_levels(LogLevel::Info, Vec::new()).unwrap();
        say();
    });
    assert_eq!(fixture.lines().len(), 3);
}

#[test]
fn json_lines_keep_types() {
    let fixture = fixture(LogLevel::Info, &[], LogFormat::Json);
    with_default(&fixture.dispatch, || {
        tracing::info!(target: "http", status = 200_u64, ms = 3.5, ok = true, ip = %"::1", "done\n");
    });
    let text = fixture.text("log/hdb.log");
    let mut line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    let members = line.as_object_mut().unwrap();
    assert!(
        members
            .remove("ts")
            .unwrap()
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    assert!(members.remove("thread").unwrap().is_string());
    let expected = serde_json::json!({
        "level": "info", "tag": "http", "target": "http", "message": "done\n",
        "fields": { "status": 200, "ms": 3.5, "ok": true, "ip": "::1" },
    });
    assert_eq!(line, expected);
}

#[test]
fn flat_json_lines_are_records() {
    let fixture = fixture(LogLevel::Info, &[], LogFormat::FlatJson);
    with_default(&fixture.dispatch, || {
        tracing::warn!(target: "http", id = 17_u64, method = "GET", status = 404_u64, level = "forged");
    });
    let text = fixture.text("log/hdb.log");
    let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    let names: Vec<_> = line.as_object().unwrap().keys().collect();
    assert_eq!(names, ["ts", "level", "id", "method", "status"]);
    assert_eq!(line["level"], "warn");
}

#[test]
fn reopening_leaves_a_moved_file_alone_and_loses_no_line() {
    let fixture = fixture(LogLevel::Info, &[], LogFormat::Text);
    let path = |name: &str| fixture.directory.path().join(name);
    with_default(&fixture.dispatch, || tracing::info!("before"));
    fs::create_dir_all(path("log")).unwrap();
    assert!(fixture.logs.flush());
    fs::rename(path("log/hdb.log"), path("old.log")).unwrap();
    with_default(&fixture.dispatch, || tracing::info!("between"));
    fixture.logs.reopen().unwrap();
    with_default(&fixture.dispatch, || tracing::info!("after"));

    let (old, new) = (fixture.text("old.log"), fixture.text("log/hdb.log"));
    assert!(
        old.contains(": before\n") && old.ends_with(": between\n"),
        "{old}"
    );
    assert!(
        new.ends_with(": after\n") && new.lines().count() == 1,
        "{new}"
    );
}

#[test]
fn a_file_that_cannot_be_opened_again_stays_in_use() {
    let fixture = fixture(LogLevel::Info, &[], LogFormat::Text);
    let directory = fixture.directory.path().join("log");
    fs::rename(&directory, fixture.directory.path().join("moved")).unwrap();
    fs::write(&directory, "a file where the directory was").unwrap();
    assert!(matches!(
        fixture.logs.reopen(),
        Err(logs::LogError::Open { .. })
    ));
    with_default(&fixture.dispatch, || tracing::info!("still here"));
    assert!(fixture.text("moved/hdb.log").contains("still here"));
}

#[test]
fn many_threads_lose_nothing() {
    let fixture = fixture(LogLevel::Info, &[], LogFormat::Text);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let dispatch = fixture.dispatch.clone();
            scope.spawn(move || {
                with_default(&dispatch, || {
                    (0..2500).for_each(|number| tracing::info!(thread, number, "line"));
                });
            });
        }
    });
    let path = fixture.directory.path().join("log/hdb.log");
    drop(fixture.dispatch);
    drop(fixture.logs);
    check_orders(&path);
}

/// Every line is there, and those of one thread are in their order.
fn check_orders(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 10_000);
    for thread in 0..4 {
        let own = format!("thread={thread} number=");
        let numbers: Vec<u32> = text
            .lines()
            .filter_map(|line| line.split_once(&own)?.1.parse().ok())
            .collect();
        assert_eq!(numbers, (0..2500).collect::<Vec<_>>());
    }
}
