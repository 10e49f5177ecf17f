//! Looking for jobs (`operations-api.md` §8).

use resource::{Date, Map, Value};

use crate::jobs::Jobs;
use crate::parameters::{Check, Parameter};
use crate::{Call, Failure, Need, Operation, Reply};

const ID: Parameter = Parameter::plain("id");
const FROM_DATE: Parameter = Parameter::plain("from_date");
const TO_DATE: Parameter = Parameter::plain("to_date");

/// Times of a job that a search also answers as text.
const CONVERTED: [(&str, &str); 2] = [
    ("start_datetime", "start_datetime_converted"),
    ("end_datetime", "end_datetime_converted"),
];

pub(super) fn operations(jobs: &Jobs) -> Vec<Operation> {
    vec![
        Operation::on(jobs, "get_job", Need::User, get_job),
        Operation::on(
            jobs,
            "search_jobs_by_start_date",
            Need::SuperUser,
            search_jobs_by_start_date,
        )
        .shown_as("handleGetJobsByStartDate"),
    ]
}

/// The id is all one needs to know: nobody else can guess it.
async fn get_job(jobs: Jobs, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let id = check.required_text(ID);
    let id = check.finish_with(id)?;
    let found = jobs.find(id).await?;
    let found = found.into_iter().map(Value::Map).collect();
    Ok(Reply::value(Value::Array(found)))
}

async fn search_jobs_by_start_date(jobs: Jobs, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let from = date(&mut check, FROM_DATE);
    let to = date(&mut check, TO_DATE);
    let (from, to) = check.finish_with(from.zip(to))?;
    let found = jobs.started_between(from, to).await?;
    let found = found.into_iter().map(|job| Value::Map(converted(job)));
    Ok(Reply::value(Value::Array(found.collect())))
}

/// Milliseconds since the epoch.
fn date(check: &mut Check<'_>, parameter: Parameter) -> Option<i64> {
    let text = check.required_text(parameter)?;
    let date = Date::parse(text);
    if date.is_none() {
        check.violation(parameter, "must be in ISO 8601 date format");
    }
    date.map(Date::as_millis)
}

fn converted(mut job: Map) -> Map {
    for (name, text) in CONVERTED {
        let millis = job.get(name).and_then(Value::as_i64);
        if let Some(date) = millis.and_then(Date::from_millis) {
            job.insert(text, date.to_string());
        }
    }
    job
}
