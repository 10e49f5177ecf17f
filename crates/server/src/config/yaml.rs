//! A figment provider for YAML on a maintained parser.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

/// YAML or JSON text with a name for messages, such as a file path or a variable.
pub(super) struct Text {
    name: String,
    values: Result<Dict, String>,
}

impl Text {
    /// Parses YAML; an empty document is an empty mapping.
    pub(super) fn yaml(name: impl Into<String>, text: &str) -> Self {
        let values = serde_saphyr::from_str::<Option<serde_json::Value>>(text)
            .map_err(|error| error.to_string())
            .and_then(|value| dict(value.unwrap_or_default()));
        Self {
            name: name.into(),
            values,
        }
    }

    /// Parses JSON.
    pub(super) fn json(name: impl Into<String>, text: &str) -> Self {
        let values = serde_json::from_str(text)
            .map_err(|error| error.to_string())
            .and_then(dict);
        Self {
            name: name.into(),
            values,
        }
    }

    /// What was parsed, for the search for unknown keys.
    pub(super) fn keys(&self) -> Dict {
        self.values.clone().unwrap_or_default()
    }
}

impl Provider for Text {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let values = self.values.clone().map_err(Error::from)?;
        Ok(Profile::Default.collect(values))
    }
}

fn dict(value: serde_json::Value) -> Result<Dict, String> {
    match value {
        serde_json::Value::Null => Ok(Dict::new()),
        value @ serde_json::Value::Object(_) => match Value::serialize(value) {
            Ok(Value::Dict(_, dict)) => Ok(dict),
            Ok(_) => Err("expected a mapping of settings".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        other => Err(format!("expected a mapping of settings, found {other}")),
    }
}
