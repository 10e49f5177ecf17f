//! `motet OPERATION key=value …`: an operation from the command line (`config-and-cli.md` §4.2).

use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use http::StatusCode;
use resource::{Map, Value, json};

use super::client::{self, Credentials, Target};
use super::names;

/// An operation as given on the command line.
#[derive(Debug, PartialEq)]
pub struct Call {
    parameters: Map,
    as_json: bool,
    target: Option<String>,
    credentials: Option<(String, String)>,
    accepts_any_certificate: bool,
    /// Words that are neither `key=value` nor a setting.
    ignored: Vec<String>,
    /// `--SETTING value` pairs, for where the server is.
    pub(super) settings: Vec<(String, String)>,
}

/// Operations whose `username` and `password` are about somebody else.
const ABOUT_USERS: [&str; 6] = [
    "add_user",
    "alter_user",
    "drop_user",
    "create_authentication_tokens",
    "deploy_component",
    "login",
];

impl Call {
    /// Reads the words after the program's name; `variable` looks into the environment.
    ///
    /// # Errors
    ///
    /// A message for a setting without a value.
    pub(super) fn parse(
        name: &str,
        words: &[String],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let name = names::full_name(name);
        let mut call = Self {
            parameters: Map::from_iter([("operation", Value::from(name))]),
            as_json: false,
            target: variable("CLI_TARGET"),
            credentials: None,
            accepts_any_certificate: false,
            ignored: Vec::new(),
            settings: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if let Some(setting) = word.strip_prefix("--") {
                let pair = super::setting(setting, || words.next().cloned())?;
                call.settings.push(pair);
                continue;
            }
            match word.split_once('=') {
                None => call.ignored.push(word.clone()),
                Some((key, text)) => call.take(key, text),
            }
        }
        call.target = call.target.filter(|target| !target.is_empty());
        if call.target.is_some() {
            call.take_credentials(name, variable);
        }
        Ok(call)
    }

    fn take(&mut self, key: &str, text: &str) {
        let value = json::from_slice(text.as_bytes()).unwrap_or_else(|_| Value::from(text));
        match key {
            "json" => self.as_json = value.as_bool() == Some(true),
            "target" => self.target = Some(text.to_owned()),
            "rejectUnauthorized" => self.accepts_any_certificate = value.as_bool() == Some(false),
            _ => _ = self.parameters.insert(key, value),
        }
    }

    /// From the environment, else from `username` and `password` where the operation has no use for them itself.
    fn take_credentials(&mut self, name: &str, variable: impl Fn(&str) -> Option<String>) {
        let of_environment = variable("CLI_TARGET_USERNAME").zip(variable("CLI_TARGET_PASSWORD"));
        if ABOUT_USERS.contains(&name) {
            self.credentials = of_environment;
            return;
        }
        let mut text = |key: &str| match self.parameters.remove(key)? {
            Value::String(text) => Some(text),
            // A password such as 1234 reads as a number.
            other => String::from_utf8(json::to_vec(&other)).ok(),
        };
        let given = text("username").zip(text("password"));
        self.credentials = given.or(of_environment);
    }

    fn target(&self, socket: Option<PathBuf>) -> anyhow::Result<Target> {
        match &self.target {
            Some(target) => Target::remote(
                target,
                self.credentials
                    .clone()
                    .map(|(user, password)| Credentials { user, password }),
                self.accepts_any_certificate,
            ),
            None => Ok(Target::Local(socket.ok_or_else(|| {
                anyhow::anyhow!("No domain socket found, unable to perform this operation")
            })?)),
        }
    }

    /// Whether the operation is for the server on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.target.is_none()
    }

    /// Performs the operation and prints its answer; `socket` is that of the server on this machine.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached.
    pub(super) fn perform(self, socket: Option<PathBuf>) -> anyhow::Result<ExitCode> {
        for word in &self.ignored {
            eprintln!("motet: '{word}' is ignored: expected key=value");
        }
        let target = self.target(socket)?;
        let body = json::to_vec(&Value::Map(self.parameters));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (status, answer) = runtime.block_on(client::post(&target, body))?;
        Ok(print(status, &answer, self.as_json))
    }
}

/// Prints an answer: a success on standard output, an error on standard error.
fn print(status: StatusCode, answer: &Bytes, as_json: bool) -> ExitCode {
    let value = json::from_slice(answer).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(answer).into_owned();
        Value::Map(Map::from_iter([
            ("status", Value::from(status.to_string())),
            ("body", Value::from(text)),
        ]))
    });
    if status.is_success() {
        print!("{}", format(&value, as_json));
        return ExitCode::SUCCESS;
    }
    match value.as_map().and_then(|map| map.get("error")?.as_str()) {
        Some(error) => eprintln!("Error: {error}"),
        None => eprint!("Error: {}", format(&value, as_json)),
    }
    ExitCode::FAILURE
}

/// A value as YAML, or as JSON indented by two.
pub(super) fn format(value: &Value, as_json: bool) -> String {
    if as_json {
        let compact = json::to_vec(value);
        // Numbers of any size keep their digits: the text is laid out again, not read.
        return pretty(&String::from_utf8_lossy(&compact));
    }
    let mut yaml = Vec::new();
    content::yaml::encode(value, &mut yaml);
    String::from_utf8_lossy(&yaml).into_owned()
}

/// Lays compact JSON out over lines.
fn pretty(compact: &str) -> String {
    let mut out = String::with_capacity(compact.len() * 2);
    let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str("  "));
    };
    let mut characters = compact.chars().peekable();
    while let Some(character) = characters.next() {
        if in_text {
            out.push(character);
            in_text = is_escaped || character != '"';
            is_escaped = !is_escaped && character == '\\';
            continue;
        }
        match character {
            '"' => {
                in_text = true;
                out.push('"');
            }
            '{' | '[' => {
                out.push(character);
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            other => out.push(other),
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, words: &[&str], environment: &[(&str, &str)]) -> Call {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Call::parse(name, &words, variable).unwrap()
    }

    fn parameters(call: &Call) -> String {
        String::from_utf8(json::to_vec(&Value::Map(call.parameters.clone()))).unwrap()
    }

    #[test]
    fn section_4_2_values_are_json_where_possible_and_aliases_are_known() {
        let words = [
            "ids=[\"1\"]",
            "limit=10",
            "restart=true",
            "table=Dog",
            "x",
            "json=true",
        ];
        let call = call("deploy", &words, &[]);
        assert_eq!(
            parameters(&call),
            r#"{"operation":"deploy_component","ids":["1"],"limit":10,"restart":true,"table":"Dog"}"#
        );
        assert!(call.as_json && call.is_local());
        assert_eq!(call.ignored, ["x"]);
    }

    #[test]
    fn section_4_2_credentials_are_for_the_target_unless_the_operation_is_about_users() {
        let words = ["target=db", "username=me", "password=1234"];
        let remote = call("describe_all", &words, &[]);
        assert_eq!(remote.credentials, Some(("me".into(), "1234".into())));
        assert_eq!(parameters(&remote), r#"{"operation":"describe_all"}"#);
        let environment = [
            ("CLI_TARGET", "db"),
            ("CLI_TARGET_USERNAME", "me"),
            ("CLI_TARGET_PASSWORD", "secret"),
        ];
        let add = call("add_user", &["username=you", "password=x"], &environment);
        assert_eq!(add.credentials, Some(("me".into(), "secret".into())));
        assert!(parameters(&add).contains(r#""username":"you""#));
        let local = call("add_user", &["username=you"], &[]);
        assert!(local.is_local() && parameters(&local).contains("you"));
    }

    #[test]
    fn json_is_indented_by_two_and_keeps_texts_as_they_are() {
        let value = json::from_slice(br#"{"a":[1,{"b":"x, {\"y\": 1}"}],"c":{},"d":[]}"#).unwrap();
        let expected = "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x, {\\\"y\\\": 1}\"\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}\n";
        assert_eq!(format(&value, true), expected);
        assert_eq!(format(&json::from_slice(b"[1]").unwrap(), false), "- 1\n");
    }
}
