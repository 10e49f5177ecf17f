//! `get_configuration` and `set_configuration` (`operations-api.md` §11).

use std::sync::Arc;

use resource::{Answer, Map};

use crate::{Call, Failure, Need, Operation, Reply};

/// Members of the request that are no settings.
const OWN: [&str; 2] = ["operation", "replicated"];

/// The configuration of the server and its file. Implemented where settings are known.
pub trait Configuration: Send + Sync {
    /// All settings, nested as in the file. Secrets are not among them.
    fn current(&self) -> Answer<'_, Map>;

    /// Changes settings in the file: names as in the environment, in any letter case, and their values.
    ///
    /// All or none: 400 `HarperDB config file validation error: …` leaves the file as it was.
    fn change(&self, changes: Map) -> Answer<'_, ()>;
}

type Settings = Arc<dyn Configuration>;

pub(super) fn operations(settings: Settings) -> Vec<Operation> {
    let need = Need::SuperUser;
    vec![
        Operation::on(&settings, "get_configuration", need, get_configuration)
            .shown_as("getConfiguration"),
        Operation::on(&settings, "set_configuration", need, set_configuration)
            .shown_as("setConfiguration"),
    ]
}

async fn get_configuration(settings: Settings, _: Call) -> Result<Reply, Failure> {
    Ok(Reply::value(settings.current().await?))
}

async fn set_configuration(settings: Settings, call: Call) -> Result<Reply, Failure> {
    let mut changes = call.parameters;
    changes.retain(|name, _| !OWN.contains(&name));
    if changes.is_empty() {
        return Err(Failure::new(400, "at least one setting is required"));
    }
    settings.change(changes).await?;
    Ok(Reply::message(
        "Configuration successfully set. You must restart HarperDB for new config settings to take effect.",
    ))
}
