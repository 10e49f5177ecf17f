//! Parameters as the log may show them.

use std::fmt;

use resource::{Map, Value, json};

/// Members whose content never reaches a log (`operations-api.md` §1.1).
const HIDDEN: [&str; 10] = [
    "password",
    "payload",
    "records",
    "data",
    "refresh_token",
    "private_key",
    "key",
    "credentials",
    "authorization",
    "s3",
];

/// The parameters with secrets and contents left out.
pub(crate) struct Redacted<'a>(pub(crate) &'a Map);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().map(|(name, value)| {
            let is_hidden = HIDDEN.contains(&name);
            (
                name,
                if is_hidden {
                    Value::from("…")
                } else {
                    value.clone()
                },
            )
        });
        let text = json::to_vec(&Value::Map(shown.collect()));
        f.write_str(&String::from_utf8_lossy(&text))
    }
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
