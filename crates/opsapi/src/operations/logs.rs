//! `read_log` (`operations-api.md` §12).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use resource::{Error, Map, Value};
use telemetry::LogLevel;
use telemetry::logs::{self, LogEntry, LogFiles, LogOrder, LogQuery, parse_time};

use crate::parameters::{Check, Parameter};
use crate::{Call, Failure, Need, Operation, Reply};

const START: Parameter = Parameter::plain("start");
const LIMIT: Parameter = Parameter::plain("limit");
const LEVEL: Parameter = Parameter::plain("level");
const FROM: Parameter = Parameter::plain("from");
const UNTIL: Parameter = Parameter::renamed("until", "to");
const ORDER: Parameter = Parameter::plain("order");
const FILTER: Parameter = Parameter::plain("filter");
const LOG_NAME: Parameter = Parameter::plain("log_name");

/// Most entries of an answer; the bound on bytes holds as well.
const MAX_LIMIT: u64 = 100_000;

/// The logs of the server. Implemented where it is known how logging is set up.
pub trait LogSource: Send + Sync {
    /// The log whose file has this name; the main one without a name; `None` if there is no such log.
    fn files(&self, name: Option<&str>) -> Option<LogFiles>;

    /// Writes what waits, so that a reader finds it. Blocks for a moment.
    fn flush(&self);
}

type Source = Arc<dyn LogSource>;

pub(super) fn operations(source: Source) -> Vec<Operation> {
    vec![Operation::on(&source, "read_log", Need::SuperUser, read_log).shown_as("readLog")]
}

async fn read_log(source: Source, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let query = query(&mut check, &call.parameters);
    let name = check.text(LOG_NAME).map(str::to_owned);
    check.finish()?;
    let read = move || {
        // Under no name but these does anybody reach a file.
        let Some(files) = source.files(name.as_deref()) else {
            return match name {
                Some(name) => Err(Failure::new(404, format!("There is no log '{name}'"))),
                None => Err(Failure::new(404, "The server does not log into a file")),
            };
        };
        source.flush();
        let page = logs::read(&files, &query);
        let page = page.map_err(|error| Error::internal(error.to_string()))?;
        for problem in &page.problems {
            tracing::warn!(target: "operations", %problem, "a log could not be read to its end");
        }
        Ok(page.entries)
    };
    let entries = tokio::task::spawn_blocking(read).await;
    let entries = entries.map_err(|_| Error::internal("reading a log panicked"))??;
    Ok(Reply::value(Value::Array(
        entries.into_iter().map(entry).collect(),
    )))
}

fn query(check: &mut Check<'_>, parameters: &Map) -> LogQuery {
    let defaults = LogQuery::default();
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let level = check.text(LEVEL).and_then(|text| {
        let level = text.parse::<LogLevel>().ok();
        if level.is_none() {
            let problem = "must be one of [notify, fatal, error, warn, info, debug, trace]";
            check.violation(LEVEL, problem);
        }
        level
    });
    let order = check.text(ORDER).and_then(|text| match text {
        "asc" => Some(LogOrder::Ascending),
        "desc" => Some(LogOrder::Descending),
        _ => {
            check.violation(ORDER, "must be one of [asc, desc]");
            None
        }
    });
    LogQuery {
        level,
        from: time(check, FROM, parameters),
        until: time(check, UNTIL, parameters),
        start: check.integer(START, 0).map_or(defaults.start, count),
        limit: check
            .integer(LIMIT, 1)
            .map_or(defaults.limit, |limit| count(limit.min(MAX_LIMIT))),
        order,
        filter: check.text(FILTER).map(str::to_owned),
        ..defaults
    }
}

/// A date, a date with a time, or milliseconds since the epoch.
fn time(check: &mut Check<'_>, parameter: Parameter, parameters: &Map) -> Option<SystemTime> {
    let time = match parameter.of(parameters)? {
        Value::String(text) => parse_time(text).ok(),
        other => {
            let millis = other.as_i64().and_then(|millis| u64::try_from(millis).ok());
            millis.and_then(|millis| {
                SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
            })
        }
    };
    if time.is_none() {
        check.violation(parameter, "must be a valid date");
    }
    time
}

fn entry(entry: LogEntry) -> Value {
    let tags = entry.tags.into_iter().map(Value::from).collect();
    Value::Map(Map::from_iter([
        ("level", Value::from(entry.level.as_str())),
        ("message", Value::from(entry.message)),
        ("timestamp", Value::from(entry.timestamp)),
        ("thread", Value::from(entry.thread)),
        ("tags", Value::Array(tags)),
    ]))
}
