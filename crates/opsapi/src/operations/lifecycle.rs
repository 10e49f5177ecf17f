//! `restart` and `restart_service` (`operations-api.md` §13).

use std::sync::Arc;

use resource::{Map, Value};

use crate::jobs::{Jobs, Outcome};
use crate::parameters::{Check, Parameter};
use crate::{Call, Failure, Need, Operation, Reply};

const SERVICE: Parameter = Parameter::plain("service");

/// What can be restarted: all of these are the workers of one process.
const SERVICES: [&str; 5] = [
    "http_workers",
    "http",
    "custom_functions",
    "custom functions",
    "harperdb",
];

/// The process that the operations belong to. Implemented by the program.
pub trait Lifecycle: Send + Sync {
    /// Asks for a restart and returns at once; requests in flight are answered first.
    fn restart(&self);

    /// How the components are: objects `{name, status, message?, lastChecked?}`. None by default.
    fn component_status(&self) -> Vec<Map> {
        Vec::new()
    }

    /// Whether something was changed that a restart would put to use. `false` by default.
    fn restart_required(&self) -> bool {
        false
    }
}

#[derive(Clone)]
struct Process {
    lifecycle: Arc<dyn Lifecycle>,
    jobs: Jobs,
}

pub(super) fn operations(lifecycle: Arc<dyn Lifecycle>, jobs: &Jobs) -> Vec<Operation> {
    let process = Process {
        lifecycle,
        jobs: jobs.clone(),
    };
    let need = Need::SuperUser;
    vec![
        Operation::on(&process, "restart", need, restart),
        Operation::on(&process, "restart_service", need, restart_service)
            .shown_as("restartService"),
    ]
}

async fn restart(process: Process, _: Call) -> Result<Reply, Failure> {
    process.lifecycle.restart();
    let text = "Restarting HarperDB. This may take up to 60 seconds.";
    Ok(Reply::message(text).closing())
}

/// The workers of a process come and go together, and its listening sockets stay open: the restart of a
/// service is the restart of the process.
async fn restart_service(process: Process, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let service = check.required_text(SERVICE);
    let service = check.finish_with(service)?;
    if !SERVICES.contains(&service) {
        return Err(Failure::new(400, "Invalid service"));
    }
    let message = format!("Restarting {service}");
    let done = message.clone();
    let lifecycle = Arc::clone(&process.lifecycle);
    let job = process
        .jobs
        .enqueue("restart_service", &call, move |_| async move {
            // After the row of the job has its end: this restart would interrupt it.
            Ok(Outcome::message(done).then(move || lifecycle.restart()))
        })
        .await?;
    let reply = Reply::value(Map::from_iter([
        ("message", Value::from(message)),
        ("job_id", Value::from(job)),
    ]));
    Ok(reply.closing())
}
