//! Log files over time: put aside, compressed, deleted, moved, reconfigured, and read again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use telemetry::logs::{
    self, ComponentLog, LogConfig, LogEntry, LogFormat, LogLevel, LogLimits, LogOrder, LogQuery,
    Logs, Rotation,
};
use tracing::Dispatch;
use tracing::dispatcher::with_default;

/// Long enough for the slowest machine; tests end when the event comes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Fixture {
    directory: tempfile::TempDir,
    dispatch: Dispatch,
    logs: Logs,
}

/// A log in `hdb.log` at the level info, with the changes that `change` makes.
fn fixture(change: impl FnOnce(&Path, &mut LogConfig)) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), change);
    let (dispatch, logs) = logs::build(config).unwrap();
    Fixture {
        directory,
        dispatch,
        logs,
    }
}

fn config(directory: &Path, change: impl FnOnce(&Path, &mut LogConfig)) -> LogConfig {
    let mut config = LogConfig {
        level: LogLevel::Info,
        file: Some(directory.join("hdb.log")),
        ..LogConfig::default()
    };
    change(directory, &mut config);
    config
}

impl Fixture {
    fn log(&self, log: impl FnOnce()) {
        with_default(&self.dispatch, log);
        assert!(self.logs.flush());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        assert!(self.logs.flush());
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The texts after the tags.
    fn messages(&self, name: &str) -> Vec<String> {
        let text = self.text(name);
        let message = |line: &str| line.split_once("]: ").unwrap().1.to_owned();
        text.lines().map(message).collect()
    }

    fn read(&self, change: impl FnOnce(&mut LogQuery)) -> Vec<LogEntry> {
        assert!(self.logs.flush());
        let mut query = LogQuery::default();
        change(&mut query);
        let files = self.logs.files(None).unwrap();
        let page = logs::read(&files, &query).unwrap();
        assert!(page.problems.is_empty(), "{:?}", page.problems);
        page.entries
    }

    /// Names in a directory, sorted.
    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<_> = entries.map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }
}

fn messages(entries: &[LogEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.message.as_str()).collect()
}

/// A file put aside at that time, with one line.
fn put_aside(directory: &Path, time: &str, text: &str) {
    let name = format!("HDB-{}.log", time.replace(':', "-"));
    let line = format!("{time} [main/0] [info]: {text}\n");
    fs::write(directory.join(name), line).unwrap();
}

#[test]
fn rotation_under_load_loses_no_line_and_keeps_their_order() {
    let fixture = fixture(|directory, config| {
        config.rotation = Some(Rotation {
            max_bytes: Some(20_000),
            compress: true,
            directory: Some(directory.join("old")),
            ..Rotation::default()
        });
        config.limits = LogLimits {
            queue_bytes: 64 * 1024 * 1024,
            ..LogLimits::default()
        };
    });
    let mover = AtomicFlag::default();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|thread| {
                let dispatch = fixture.dispatch.clone();
                scope.spawn(move || {
                    with_default(&dispatch, || {
                        (0..5000).for_each(|number| tracing::info!("{thread} {number}"));
                    });
                })
            })
            .collect();
        // Meanwhile the file is also put aside on demand and opened again.
        let (logs, mover) = (&fixture.logs, &mover);
        scope.spawn(move || {
            while !mover.is_set() {
                logs.rotate().unwrap();
                logs.reopen().unwrap();
            }
        });
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        mover.set();
    });
    assert!(fixture.logs.flush());
    assert!(fixture.logs.flush_archive(PATIENCE));

    let statistics = fixture.logs.statistics();
    assert_eq!(statistics.lost, 0);
    assert_eq!(statistics.events[LogLevel::Info as usize], 20_000);
    assert!(statistics.rotations >= 40, "{statistics:?}");
    let names = fixture.names("old");
    assert_eq!(names.len() as u64, statistics.rotations);
    assert!(
        names.iter().all(|name| name.ends_with("Z.log.gz")),
        "{names:?}"
    );

    let entries = fixture.read(|query| query.limit = 100_000);
    assert_eq!(entries.len(), 20_000);
    for thread in 0..4 {
        let own = format!("{thread} ");
        let numbers = entries
            .iter()
            .filter_map(|entry| entry.message.strip_prefix(&own));
        assert!(
            numbers.eq((0..5000).map(|number| number.to_string())),
            "{thread}"
        );
    }
    assert_eq!(fixture.names("."), ["hdb.log", "old"]);
}

#[derive(Default)]
struct AtomicFlag(std::sync::atomic::AtomicBool);

impl AtomicFlag {
    fn set(&self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn rotated_files_may_go_to_another_file_system() {
    // Memory is another file system than most disks; where it is not, the rule is the same.
    let elsewhere = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let elsewhere = elsewhere.unwrap();
    for compress in [false, true] {
        let fixture = fixture(|_, config| {
            config.rotation = Some(Rotation {
                directory: Some(elsewhere.path().join(compress.to_string())),
                compress,
                ..Rotation::default()
            });
        });
        fixture.log(|| tracing::info!("far away"));
        fixture.logs.rotate().unwrap();
        // Found wherever it is on its way.
        assert_eq!(messages(&fixture.read(|_| ())), ["far away"]);
        assert!(fixture.logs.flush_archive(PATIENCE));
        assert_eq!(messages(&fixture.read(|_| ())), ["far away"]);
        assert_eq!(fixture.names("."), ["hdb.log"]);
    }
}

#[test]
fn old_rotated_files_are_deleted_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    put_aside(directory.path(), "2020-01-01T00:00:00.000Z", "long ago");
    fs::write(directory.path().join("HDB-notes.log"), "mine").unwrap();
    fs::write(
        directory.path().join("HTTP-2020-01-01T00-00-00.000Z.log"),
        "of another",
    )
    .unwrap();
    let config = config(directory.path(), |_, config| {
        config.rotation = Some(Rotation {
            retention: Some(Duration::from_secs(3600)),
            ..Rotation::default()
        });
    });
    let (dispatch, logs) = logs::build(config).unwrap();
    let fixture = Fixture {
        directory,
        dispatch,
        logs,
    };
    fixture.log(|| tracing::info!("recent"));
    fixture.logs.rotate().unwrap();
    assert!(fixture.logs.flush_archive(PATIENCE));
    let names = fixture.names(".");
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(!names.contains(&"HDB-2020-01-01T00-00-00.000Z.log".to_owned()));
    assert_eq!(messages(&fixture.read(|_| ())), ["recent"]);
}

#[test]
fn a_component_with_a_file_of_its_own_leaves_the_main_log() {
    let fixture = fixture(|directory, config| {
        config.components = vec![
            ComponentLog {
                level: Some(LogLevel::Debug),
                file: Some(directory.join("requests/http.log")),
                format: Some(LogFormat::FlatJson),
                ..ComponentLog::section("http")
            },
            ComponentLog {
                level: Some(LogLevel::Error),
                tag: Some("broker".to_owned()),
                ..ComponentLog::section("mqtt")
            },
            ComponentLog {
                file: Some(directory.join("apps.log")),
                ..ComponentLog::section("external")
            },
            ComponentLog {
                level: Some(LogLevel::Trace),
                ..ComponentLog::section("weather")
            },
        ];
    });
    fixture.log(|| {
        tracing::debug!(target: "http", status = 200, "a request");
        tracing::debug!(target: "core_listener::engine", "a connection");
        tracing::warn!(target: "proto_mqtt::session", "not written");
        tracing::error!(target: "proto_mqtt::session", "a session");
        tracing::info!(target: "store", "a commit");
        tracing::info!(target: "auth", tag = "auth-event", "{{}}");
        tracing::info!(target: "application", tag = "forecast", "to the external log");
        tracing::trace!(target: "application", tag = "weather", "to the log of the application");
        tracing::trace!(target: "application", tag = "forecast", "not written either");
    });
    let main = fixture.text("hdb.log");
    let main: Vec<_> = main
        .lines()
        .map(|line| line.split_once("] ").unwrap().1)
        .collect();
    assert_eq!(
        main,
        [
            "[error] [broker]: a session",
            "[info] [store]: a commit",
            "[info] [auth-event]: {}",
            "[trace] [weather]: to the log of the application",
        ]
    );
    let apps = fixture.text("apps.log");
    assert!(
        apps.ends_with(" [info] [forecast]: to the external log\n"),
        "{apps}"
    );
    assert_eq!(apps.lines().count(), 1);
    let requests = fixture.text("requests/http.log");
    assert!(
        requests.contains(r#""level":"debug","message":"a request","status":200}"#),
        "{requests}"
    );
    assert_eq!(requests.lines().count(), 2);

    let files = fixture.logs.files(Some("http.log")).unwrap();
    let page = logs::read(&files, &LogQuery::default()).unwrap();
    assert_eq!(
        messages(&page.entries),
        ["a request status=200", "a connection"]
    );
    assert!(fixture.logs.files(Some("../hdb.log")).is_none());
    assert_eq!(fixture.logs.paths().len(), 3);
}

#[test]
fn what_applications_print_is_in_the_log_only_when_asked_for() {
    let mut fixture = fixture(|_, _| ());
    let print = || tracing::debug!(target: "console", tag = "weather", "printed");
    fixture.log(print);
    assert_eq!(fixture.text("hdb.log"), "");
    let config = config(fixture.directory.path(), |_, config| {
        config.console = true;
        config.level = LogLevel::Debug;
    });
    let logs = &fixture.logs;
    with_default(&fixture.dispatch, || logs.reconfigure(config).unwrap());
    fixture.log(print);
    assert_eq!(fixture.messages("hdb.log"), ["printed"]);
    fixture.dispatch = Dispatch::none();
}

#[test]
fn settings_change_while_threads_log_and_no_line_is_lost() {
    let fixture = fixture(|_, config| config.limits.queue_bytes = 64 * 1024 * 1024);
    let stop = AtomicFlag::default();
    let written = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let (dispatch, stop) = (fixture.dispatch.clone(), &stop);
                scope.spawn(move || {
                    with_default(&dispatch, || {
                        let mut written = 0_usize;
                        while !stop.is_set() {
                            tracing::info!("a line");
                            written += 1;
                        }
                        written
                    })
                })
            })
            .collect();
        with_default(&fixture.dispatch, || {
            for round in 0..50 {
                let config = config(fixture.directory.path(), |directory, config| {
                    config.file = Some(directory.join(format!("{}.log", round % 3)));
                    config.limits.queue_bytes = 64 * 1024 * 1024;
                });
                fixture.logs.reconfigure(config).unwrap();
            }
        });
        stop.set();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum::<usize>()
    });
    assert!(fixture.logs.flush());
    let names = fixture.names(".");
    assert_eq!(names, ["0.log", "1.log", "2.log", "hdb.log"]);
    let lines = names.iter().map(|name| fixture.text(name).lines().count());
    assert_eq!(lines.sum::<usize>(), written);
    let statistics = fixture.logs.statistics();
    let bytes: u64 = names
        .iter()
        .map(|name| fs::metadata(fixture.path(name)).unwrap().len())
        .sum();
    assert_eq!((statistics.lost, statistics.bytes), (0, bytes));
}

#[test]
fn settings_that_cannot_be_changed_leave_the_old_ones_in_force() {
    let fixture = fixture(|_, _| ());
    fs::write(
        fixture.path("blocked"),
        "a file where a directory should be",
    )
    .unwrap();
    let wrong = |change: fn(&Path, &mut LogConfig)| {
        let config = config(fixture.directory.path(), change);
        with_default(&fixture.dispatch, || fixture.logs.reconfigure(config))
    };
    let refused = wrong(|directory, config| {
        config.level = LogLevel::Fatal;
        config.file = Some(directory.join("blocked/hdb.log"));
    });
    assert!(matches!(refused, Err(logs::LogError::Open { .. })));
    let refused = wrong(|directory, config| {
        config.file = Some(directory.join("new.log"));
        config.components = vec![ComponentLog {
            tag: Some("a]".to_owned()),
            ..ComponentLog::section("http")
        }];
    });
    assert!(matches!(refused, Err(logs::LogError::Tag(tag)) if tag == "a]"));
    fixture.log(|| tracing::info!("still here"));
    assert_eq!(fixture.messages("hdb.log"), ["still here"]);
    assert_eq!(fixture.logs.config().level, LogLevel::Info);
}

#[test]
fn a_file_moved_by_another_program_comes_back_by_itself() {
    let fixture = fixture(|_, _| ());
    fixture.log(|| tracing::info!("before"));
    fs::rename(fixture.path("hdb.log"), fixture.path("moved.log")).unwrap();
    let until = std::time::Instant::now() + PATIENCE;
    // Nobody tells when the writer has looked, so the test asks; the rule (`http-server.md` §9.2) allows ten
    // seconds.
    while !fixture.path("hdb.log").exists() {
        assert!(
            std::time::Instant::now() < until,
            "the file never came back"
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
    fixture.log(|| tracing::info!("after"));
    assert_eq!(fixture.messages("moved.log"), ["before"]);
    assert_eq!(fixture.messages("hdb.log"), ["after"]);
}

#[test]
fn a_full_disk_costs_lines_and_they_are_counted() {
    let fixture = fixture(|_, config| config.file = Some("/dev/full".into()));
    fixture.log(|| (0..3).for_each(|number| tracing::info!("line {number}")));
    let statistics = fixture.logs.statistics();
    assert_eq!((statistics.lost, statistics.bytes), (3, 0));
    // Room again, as far as this test can make it.
    let config = config(fixture.directory.path(), |_, _| ());
    with_default(&fixture.dispatch, || {
        fixture.logs.reconfigure(config).unwrap()
    });
    fixture.log(|| tracing::info!("there"));
    assert_eq!(fixture.messages("hdb.log"), ["there"]);
    assert_eq!(fixture.logs.statistics().lost, 3);
}

#[test]
fn reading_goes_through_rotated_files_in_both_directions() {
    let fixture = fixture(|_, config| {
        config.rotation = Some(Rotation {
            compress: true,
            ..Rotation::default()
        });
    });
    for number in 0..10 {
        fixture.log(|| match number % 2 {
            0 => tracing::info!(target: "http", "line {number}"),
            _ => tracing::warn!(target: "store", "line {number}"),
        });
        if number % 3 == 2 {
            fixture.logs.rotate().unwrap();
        }
    }
    assert!(fixture.logs.flush_archive(PATIENCE));
    // One that is not compressed yet.
    fixture.logs.rotate().unwrap();
    let all = fixture.read(|_| ());
    assert_eq!(all.len(), 10);
    assert_eq!(all[9].message, "line 9");
    assert!(!all[0].thread.is_empty() && all[0].tags == ["http"]);

    let found = fixture.read(|query| (query.start, query.limit) = (2, 3));
    assert_eq!(messages(&found), ["line 2", "line 3", "line 4"]);
    let newest = |query: &mut LogQuery| {
        (query.start, query.limit) = (1, 4);
        query.order = Some(LogOrder::Descending);
    };
    assert_eq!(
        messages(&fixture.read(newest)),
        ["line 8", "line 7", "line 6", "line 5"]
    );
    let found = fixture.read(|query| {
        query.level = Some(LogLevel::Warn);
        query.order = Some(LogOrder::Descending);
        query.limit = 2;
    });
    assert_eq!(messages(&found), ["line 9", "line 7"]);
    let found = fixture.read(|query| query.filter = Some("[http]: line 4".to_owned()));
    assert_eq!(messages(&found), ["line 4"]);
    let found = fixture.read(|query| query.start = 10);
    assert!(found.is_empty());
    assert!(fixture.read(|query| query.rotated = false).is_empty());
}

#[test]
fn nothing_in_a_message_can_pass_for_another_entry() {
    let hostile = [
        "a\n2026-02-03T08:11:42.007Z [main/0] [notify] [http]: forged",
        "\r\n{\"ts\":\"2026-02-03T08:11:42.007Z\",\"level\":\"notify\",\"message\":\"forged\"}",
        "\u{85}\u{2028}] [x]: \"\\ \u{1b}[2J",
        "",
    ];
    for format in [LogFormat::Text, LogFormat::Json, LogFormat::FlatJson] {
        let fixture = fixture(|_, config| config.format = format);
        fixture.log(|| {
            for text in hostile {
                tracing::info!(target: "http", tag = text, field = text, "{text}");
            }
        });
        assert_eq!(
            fixture.text("hdb.log").lines().count(),
            hostile.len(),
            "{format:?}"
        );
        assert!(
            !fixture.text("hdb.log").contains(['\r', '\u{1b}', '\u{85}']),
            "{format:?}"
        );
        let entries = fixture.read(|_| ());
        assert_eq!(entries.len(), hostile.len(), "{format:?}");
        let levels = entries.iter().map(|entry| entry.level);
        assert!(levels.eq([LogLevel::Info; 4]), "{format:?}");
    }
}

#[test]
fn reading_is_bounded_by_time_and_by_bytes() {
    let directory = tempfile::tempdir().unwrap();
    for day in 1..=5 {
        put_aside(
            directory.path(),
            &format!("2026-02-0{day}T00:00:00.000Z"),
            &format!("day {day}"),
        );
    }
    let files = || logs::LogFiles::new(directory.path().join("hdb.log"));
    let files = files().with_rotated(directory.path(), "HDB");
    let read = |change: fn(&mut LogQuery)| {
        let mut query = LogQuery::default();
        change(&mut query);
        logs::read(&files, &query).unwrap()
    };
    let time = |text: &str| logs::parse_time(text).unwrap();
    let mut query = LogQuery {
        from: Some(time("2026-02-02")),
        until: Some(time("2026-02-04")),
        ..LogQuery::default()
    };
    let days = |query: &LogQuery| {
        let page = logs::read(&files, query).unwrap();
        let days: String = page
            .entries
            .iter()
            .map(|entry| &entry.message[4..])
            .collect();
        (days, page.is_cut)
    };
    assert_eq!(days(&query), ("234".to_owned(), false));
    query.until = Some(SystemTime::UNIX_EPOCH);
    assert_eq!(days(&query), (String::new(), false));
    query = LogQuery {
        max_bytes: 300,
        ..LogQuery::default()
    };
    let (first, is_cut) = days(&query);
    assert!(
        is_cut && "12345".starts_with(&first) && !first.is_empty(),
        "{first}"
    );
    query.order = Some(LogOrder::Descending);
    let (last, is_cut) = days(&query);
    assert!(
        is_cut && "54321".starts_with(&last) && !last.is_empty(),
        "{last}"
    );

    // A damaged file hides no other.
    let damaged = directory.path().join("HDB-2026-02-03T12-00-00.000Z.log.gz");
    fs::write(&damaged, "no gzip").unwrap();
    let page = read(|_| ());
    assert_eq!(page.entries.len(), 5);
    assert_eq!(page.problems[0].path, damaged);
    let page = read(|query| query.order = Some(LogOrder::Descending));
    assert_eq!((page.entries.len(), page.problems.len()), (5, 1));
}

#[test]
fn a_log_that_does_not_exist_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let files = logs::LogFiles::new(directory.path().join("install.log"));
    let error = logs::read(&files, &LogQuery::default()).unwrap_err();
    assert!(error.to_string().ends_with("install.log"), "{error}");
}

#[test]
fn entries_are_serialised_as_documented() {
    let fixture = fixture(|_, _| ());
    fixture.log(|| tracing::error!(target: "auth", tag = "auth-event", "text"));
    let entry = serde_json::to_value(&fixture.read(|_| ())[0]).unwrap();
    let names: Vec<_> = entry.as_object().unwrap().keys().collect();
    assert_eq!(names, ["level", "message", "timestamp", "thread", "tags"]);
    assert_eq!(entry["level"], "error");
    assert_eq!(entry["tags"], serde_json::json!(["auth-event"]));
}
