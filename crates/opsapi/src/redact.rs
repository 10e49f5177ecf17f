//! Parameters as the log may show them.

use std::fmt;

use resource::{Map, Value, json};

/// Members whose content never reaches a log (`operations-api.md` §1.1).
const HIDDEN: [&str; 11] = [
    "password",
    "payload",
    "records",
    "data",
    "refresh_token",
    "private_key",
    "key",
    "credentials",
    "authorization",
    "passthrough_headers",
    "s3",
];

/// The parameters with secrets and contents left out, for a log.
pub(crate) struct Redacted<'a>(pub(crate) &'a Map);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = json::to_vec(&Value::Map(redacted(self.0)));
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// The parameters with secrets and contents left out.
pub(crate) fn redacted(parameters: &Map) -> Map {
    let shown = parameters.iter().map(|(name, value)| {
        let value = match HIDDEN.contains(&name) {
            true => Value::from("…"),
            false => value.clone(),
        };
        (name, value)
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_records_are_left_out() {
        let parameters = Map::from_iter([
            ("operation", Value::from("add_user")),
            ("password", Value::from("s3cret")),
            ("records", Value::Array(vec![Value::from("private")])),
        ]);
        assert_eq!(
            Redacted(&parameters).to_string(),
            r#"{"operation":"add_user","password":"…","records":"…"}"#
        );
    }
}
