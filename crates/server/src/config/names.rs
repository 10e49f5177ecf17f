//! Known keys, their names in the environment, and the nearest one to a typing error.

use figment::value::{Dict, Value};

use super::file::FileConfig;

/// Keys below these names belong to applications and their components, not to this program.
const OPEN_SECTIONS: &[&str] = &["databases"];

/// Sections of the specification that this build reads as unused, with what an operator should know.
const ACCEPTED: &[&str] = &[
    "analytics",
    "clustering",
    "cloned",
    "customFunctions",
    "ignoreScripts",
    "license",
    "localStudio",
    "node",
    "replication",
    "rest",
    "serialization",
    "graphqlSchema",
    "static",
];

/// A known key: its path in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known(pub(super) Vec<String>);

impl Known {
    /// The dotted path.
    pub(super) fn path(&self) -> String {
        self.0.join(".")
    }

    /// The name in the environment and on the command line: the path in upper case joined by `_`.
    pub(super) fn variable(&self) -> String {
        self.0.join("_").to_ascii_uppercase()
    }
}

/// Every setting: the leaves of the default configuration, and those of its optional sections.
pub(super) fn known() -> Vec<Known> {
    let mut leaves = Vec::new();
    for config in [FileConfig::default(), FileConfig::with_all_sections()] {
        let Ok(Value::Dict(_, config)) = Value::serialize(config) else {
            unreachable!("a configuration is a mapping")
        };
        walk(&config, &mut Vec::new(), &mut leaves);
    }
    leaves
}

fn walk(dict: &Dict, path: &mut Vec<String>, leaves: &mut Vec<Known>) {
    for (name, value) in dict {
        path.push(name.clone());
        match value {
            Value::Dict(_, section) => walk(section, path, leaves),
            _ => {
                let leaf = Known(path.clone());
                if !leaves.contains(&leaf) {
                    leaves.push(leaf);
                }
            }
        }
        path.pop();
    }
}

/// What Harper's versions call the names of a certificate.
const TLS_HOSTS: [&str; 3] = ["hosts", "hostname", "hostnames"];

/// Messages for the keys of `given` that no known key has, each with the nearest known one.
pub(super) fn unknown(given: &Dict, source: &str) -> Vec<String> {
    let known = known();
    let mut messages = Vec::new();
    find_unknown(given, &mut Vec::new(), &known, source, &mut messages);
    messages
}

fn find_unknown(
    given: &Dict,
    path: &mut Vec<String>,
    known: &[Known],
    source: &str,
    messages: &mut Vec<String>,
) {
    for (name, value) in given {
        path.push(name.clone());
        let leaf = known.iter().any(|key| key.0 == *path) || *path == ["threads"];
        let section = known.iter().any(|key| key.0.starts_with(path));
        match value {
            Value::Dict(_, inner) if section => find_unknown(inner, path, known, source, messages),
            Value::Array(_, entries) if path.last().is_some_and(|last| last == "tls") => {
                for entry in entries.iter().filter_map(Value::as_dict) {
                    find_unknown(entry, path, known, source, messages);
                }
            }
            _ if is_tls_hosts(path) => {}
            _ if leaf || OPEN_SECTIONS.contains(&path[0].as_str()) => {}
            _ if path.len() == 1 && ACCEPTED.contains(&name.as_str()) => {
                messages.push(format!(
                    "{source}: '{name}' is accepted but has no effect in this build"
                ));
            }
            _ => messages.push(unknown_message(&path.join("."), known, source)),
        }
        path.pop();
    }
}

/// One of the other spellings of `tls.host`.
fn is_tls_hosts(path: &[String]) -> bool {
    match path {
        [.., section, name] => section == "tls" && TLS_HOSTS.contains(&name.as_str()),
        _ => false,
    }
}

pub(super) fn unknown_message(path: &str, known: &[Known], source: &str) -> String {
    let nearest = known
        .iter()
        .map(Known::path)
        .map(|candidate| {
            (
                distance(&path.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .min();
    match nearest {
        Some((edits, candidate)) if edits <= 2 + path.len() / 4 => {
            format!("{source}: '{path}' is not a setting; did you mean '{candidate}'?")
        }
        _ => format!("{source}: '{path}' is not a setting"),
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_key_has_a_variable_as_the_specification_names_it() {
        let known = known();
        let name = |path: &str| {
            known
                .iter()
                .find(|key| key.path() == path)
                .map(Known::variable)
        };
        assert_eq!(name("http.securePort").as_deref(), Some("HTTP_SECUREPORT"));
        assert_eq!(
            name("operationsApi.network.corsAccessList").as_deref(),
            Some("OPERATIONSAPI_NETWORK_CORSACCESSLIST")
        );
        assert_eq!(name("rootPath").as_deref(), Some("ROOTPATH"));
        assert_eq!(
            name("authentication.cacheTTL").as_deref(),
            Some("AUTHENTICATION_CACHETTL")
        );
    }

    #[test]
    fn a_typing_error_is_reported_with_the_nearest_key() {
        let Ok(Value::Dict(_, given)) = Value::serialize(serde_json::json!({
            "http": { "prot": 1, "port": 2 }, "loging": { "level": "info" }, "threads": 4, "databases": { "x": {} },
        })) else {
            panic!("a mapping")
        };
        let messages = unknown(&given, "motet.yaml");
        assert_eq!(
            messages[0],
            "motet.yaml: 'http.prot' is not a setting; did you mean 'http.port'?"
        );
        assert!(
            messages[1].starts_with("motet.yaml: 'loging' is not a setting"),
            "{messages:?}"
        );
        assert_eq!(messages.len(), 2, "{messages:?}");
    }
}
