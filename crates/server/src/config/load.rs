//! From all sources to one checked configuration.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::Serialized;
use figment::value::{Dict, Value};

use super::aliases;
use super::checked::{Config, Mode};
use super::file::FileConfig;
use super::names;
use super::profile::Profile;
use super::yaml::Text;
use crate::restart;

/// File names looked for in the root directory, the preferred one first.
pub(super) const FILE_NAMES: &[&str] =
    &["motet.yaml", "harper-config.yaml", "harperdb-config.yaml"];

/// Everything a value can come from, apart from the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Names and values of the environment.
    pub environment: Vec<(String, String)>,
    /// `--NAME value` pairs of the command line.
    pub arguments: Vec<(String, String)>,
    /// The application directory, which may hold the configuration file itself.
    pub directory: Option<PathBuf>,
}

/// Why the configuration cannot be used. Names the key, its value and what was expected.
#[derive(Debug)]
pub struct ConfigError(String);

impl ConfigError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// `'http.port' is 'x': expected …`.
    pub(super) fn wrong(key: &str, value: impl fmt::Display, expected: impl fmt::Display) -> Self {
        Self(format!("'{key}' is '{value}': expected {expected}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Reads and checks the configuration.
///
/// # Errors
///
/// [`ConfigError`] for a file that does not parse (with line and column), a value of the wrong type or range, or an
/// unreadable file.
pub fn load(mode: Mode, sources: &Sources) -> Result<Config, ConfigError> {
    let variable = |name: &str| {
        let named = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        sources
            .environment
            .iter()
            .find(named)
            .map(|(_, value)| value.as_str())
    };
    let root = root_path(sources, variable("HOME"))?;
    let mut warnings = Vec::new();
    let mut figment = Figment::from(Serialized::defaults(FileConfig::default()));
    if let Some(profile) = profile(mode, variable("DEFAULTS_MODE"))? {
        figment = figment.merge(Serialized::defaults(profile.settings()));
    }
    if let Some(text) = variable("HARPER_DEFAULT_CONFIG") {
        figment = merge(
            figment,
            Text::json("HARPER_DEFAULT_CONFIG", text),
            &mut warnings,
        );
    }
    // `HARPER_CONFIG` is JSON, or the path of the file.
    let given = variable("HARPER_CONFIG").map(str::trim);
    let (json, named) = match given {
        Some(text) if text.starts_with('{') => (Some(text), None),
        Some(path) => (None, Some(expand(path, variable("HOME"))?)),
        None => (None, None),
    };
    let path = named.or_else(|| config_file(&root, &mut warnings));
    if let Some(path) = &path {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError::new(format!("cannot read {}: {error}", path.display()))
        })?;
        figment = merge(
            figment,
            Text::yaml(path.display().to_string(), &text),
            &mut warnings,
        );
    }
    if let Some(text) = json {
        figment = merge(figment, Text::json("HARPER_CONFIG", text), &mut warnings);
    }
    figment = figment.merge(Serialized::defaults(overrides(
        &sources.environment,
        "environment",
        false,
        &mut warnings,
    )));
    figment = figment.merge(Serialized::defaults(overrides(
        &sources.arguments,
        "command line",
        true,
        &mut warnings,
    )));
    if let Some(text) = variable("HARPER_SET_CONFIG") {
        figment = merge(
            figment,
            Text::json("HARPER_SET_CONFIG", text),
            &mut warnings,
        );
    }
    let file: FileConfig = figment
        .extract()
        .map_err(|error| ConfigError::new(describe(&error, &figment)))?;
    let settings = serde_json::to_value(&file);
    let settings = settings.map_err(|error| ConfigError::new(error.to_string()))?;
    let mut config = Config::check(mode, file, root, warnings)?;
    config.settings = settings;
    config.file = path;
    if let Some(username) = variable("HDB_ADMIN_USERNAME").filter(|name| !name.is_empty()) {
        config.administrator.username = username.to_owned();
    }
    let holder = variable(restart::HOLDER_ID).and_then(|id| id.parse().ok());
    config.inherit = variable(restart::INHERIT).map(PathBuf::from).zip(holder);
    let password = variable("HDB_ADMIN_PASSWORD").filter(|password| !password.is_empty());
    config.administrator.password = password.map(str::to_owned);
    Ok(config)
}

/// `DEFAULTS_MODE`, else that of the command.
fn profile(mode: Mode, named: Option<&str>) -> Result<Option<Profile>, ConfigError> {
    match (named, mode) {
        (Some(name), _) => Profile::named(name).map(Some),
        (None, Mode::Dev) => Ok(Some(Profile::Developer)),
        (None, Mode::Run) => Ok(None),
    }
}

fn merge(figment: Figment, text: Text, warnings: &mut Vec<String>) -> Figment {
    let name = figment::Provider::metadata(&text).name.into_owned();
    warnings.extend(names::unknown(&text.keys(), &name));
    figment.merge(text)
}

/// The root directory: command line, `ROOTPATH`, a directory that holds the configuration, else `~/motet`.
fn root_path(sources: &Sources, home: Option<&str>) -> Result<PathBuf, ConfigError> {
    let named = |pairs: &[(String, String)]| {
        pairs
            .iter()
            .rev()
            .find(|(name, _)| name.eq_ignore_ascii_case("ROOTPATH"))
            .map(|(_, value)| value.clone())
    };
    let given = named(&sources.arguments).or_else(|| named(&sources.environment));
    if let Some(given) = given {
        return expand(&given, home);
    }
    // `harperdb-config.yaml` inside an application is that application's own configuration.
    let holds_config = |dir: &PathBuf| FILE_NAMES[..2].iter().any(|name| dir.join(name).is_file());
    if let Some(directory) = sources.directory.clone().filter(holds_config) {
        return Ok(directory);
    }
    expand("~/motet", home)
}

pub(super) fn expand(path: &str, home: Option<&str>) -> Result<PathBuf, ConfigError> {
    match (path.strip_prefix("~/"), home) {
        (None, _) => Ok(PathBuf::from(path)),
        (Some(rest), Some(home)) => Ok(Path::new(home).join(rest)),
        (Some(_), None) => Err(ConfigError::wrong(
            "rootPath",
            path,
            "a path without ~, because HOME is not set",
        )),
    }
}

/// The first of the names that is a file in the root; the others are reported.
fn config_file(root: &Path, warnings: &mut Vec<String>) -> Option<PathBuf> {
    let mut found = FILE_NAMES
        .iter()
        .map(|name| root.join(name))
        .filter(|path| path.is_file());
    let first = found.next()?;
    for other in found {
        let (other, first) = (other.display(), first.display());
        warnings.push(format!("{other} is not read, because {first} is"));
    }
    Some(first)
}

/// The known settings among `pairs`, as a nested mapping. Unknown names are reported only where nothing else
/// could have meant them.
fn overrides(
    pairs: &[(String, String)],
    source: &str,
    report: bool,
    warnings: &mut Vec<String>,
) -> Dict {
    let known = names::known();
    let mut nested = Dict::new();
    for (name, text) in pairs {
        let upper = name.to_ascii_uppercase();
        let known = known.iter().find(|key| key.variable() == upper);
        let path = match (upper.as_str(), known) {
            ("ROOTPATH", _) => None,
            (_, Some(key)) => Some(key.0.clone()),
            (_, None) => aliases::path(name)
                .map(|path| path.split('.').map(str::to_owned).collect::<Vec<_>>()),
        };
        match path {
            Some(path) => insert(&mut nested, &path, scalar(text)),
            None if report && upper != "ROOTPATH" => {
                let given = Dict::from([(name.replace('_', "."), Value::from(text.as_str()))]);
                warnings.extend(names::unknown(&given, source));
            }
            None => {}
        }
    }
    nested
}

fn insert(dict: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            dict.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let section = dict
                .entry(first.clone())
                .or_insert_with(|| Value::from(Dict::new()));
            // A key of a section beats the bare switch for it.
            if section.as_dict().is_none() {
                *section = Value::from(Dict::new());
            }
            if let Value::Dict(_, inner) = section {
                insert(inner, rest, value);
            }
        }
    }
}

/// A text from the environment as a YAML scalar, or a JSON array or object.
fn scalar(text: &str) -> Value {
    let parsed = serde_json::from_str::<serde_json::Value>(text).ok();
    let value = parsed.unwrap_or_else(|| serde_json::Value::String(text.to_owned()));
    Value::serialize(value).unwrap_or_else(|_| Value::from(text))
}

/// Every wrong value, with its key, what was given, what was expected and where it stands.
fn describe(error: &figment::Error, figment: &Figment) -> String {
    let one = |error: &figment::Error| {
        let source = error
            .metadata
            .as_ref()
            .map(|metadata| format!(" (in {})", metadata.name))
            .unwrap_or_default();
        let path = error.path.join(".");
        let given = figment
            .find_value(&path)
            .ok()
            .and_then(|value| serde_json::to_string(&value).ok());
        match (alternatives(&error.kind.to_string()), given) {
            _ if path.is_empty() => format!("{}{source}", error.kind),
            (Some(expected), Some(given)) => {
                format!("'{path}' is {given}: expected {expected}{source}")
            }
            _ => format!("'{path}': {}{source}", error.kind),
        }
    };
    error
        .clone()
        .into_iter()
        .map(|error| one(&error))
        .collect::<Vec<_>>()
        .join("; ")
}

/// What a setting with several forms accepts; serde only names its type.
fn alternatives(message: &str) -> Option<&'static str> {
    let name = message.strip_prefix("data did not match any variant of untagged enum ")?;
    Some(match name {
        "PortSetting" => "a port (0 to 65535), host:port, a socket path with a slash, or null",
        "OneOrMany" => "a text or a list of texts",
        "DurationSetting" => "a number, or a number and a unit such as 3d",
        "SizeSetting" => "a number of bytes, or a number and a unit such as 64M",
        "Switchable" => "true, false, or a section of settings",
        "ThreadRange" => "'first-last' or [first, last]",
        "MtlsUser" => "a user name, 'CN', or null",
        "TlsEntries" => "a section with 'certificate' and 'privateKey', or a list of such sections",
        "Threads" => "a number of threads, or a section with 'count'",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(root: &Path, arguments: &[(&str, &str)], environment: &[(&str, &str)]) -> Sources {
        let own = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        let mut sources = Sources {
            environment: own(environment),
            arguments: own(arguments),
            directory: None,
        };
        sources
            .environment
            .push(("ROOTPATH".to_owned(), root.display().to_string()));
        sources
    }

    #[test]
    fn the_command_line_beats_the_environment_which_beats_the_file() {
        let root = tempfile::tempdir().unwrap();
        let port = |config: &Config| config.http.port.as_ref().unwrap().to_string();
        std::fs::write(root.path().join("motet.yaml"), "http:\n  port: 9001\n").unwrap();
        let from_file = load(Mode::Run, &sources(root.path(), &[], &[])).unwrap();
        assert_eq!(port(&from_file), "port 9001");
        let from_environment = load(
            Mode::Run,
            &sources(root.path(), &[], &[("http_port", "9002")]),
        )
        .unwrap();
        assert_eq!(port(&from_environment), "port 9002");
        let both = sources(
            root.path(),
            &[("HTTP_PORT", "9003")],
            &[("HTTP_PORT", "9002")],
        );
        assert_eq!(port(&load(Mode::Run, &both).unwrap()), "port 9003");
        let mut set = both;
        set.environment.push((
            "HARPER_SET_CONFIG".into(),
            r#"{"http":{"port":9004}}"#.into(),
        ));
        assert_eq!(port(&load(Mode::Run, &set).unwrap()), "port 9004");
    }

    #[test]
    fn a_wrong_value_names_key_value_and_what_was_expected() {
        let root = tempfile::tempdir().unwrap();
        let error = |text: &str| {
            std::fs::write(root.path().join("motet.yaml"), text).unwrap();
            load(Mode::Run, &sources(root.path(), &[], &[]))
                .unwrap_err()
                .to_string()
        };
        let message = error("http:\n  timeout: soon\n");
        assert!(
            message.contains("'http.timeout'") && message.contains("soon"),
            "{message}"
        );
        assert!(message.contains("motet.yaml"), "{message}");
        let message = error("logging:\n  level: loud\n");
        assert!(
            message.contains("'logging.level' is 'loud': expected one of"),
            "{message}"
        );
        let message = error("http:\n  port: 70000\n");
        assert!(
            message.contains("http.port") && message.contains("70000"),
            "{message}"
        );
        let message = error("http:\n  port: {}\n");
        assert!(
            message.contains("'http.port' is {}: expected a port (0 to 65535)"),
            "{message}"
        );
        let message = error("http: [1\n");
        assert!(message.contains("line 1 column 7"), "{message}");
    }

    #[test]
    fn an_unknown_key_is_reported_and_harmless() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(
            root.path().join("harperdb-config.yaml"),
            "http:\n  prot: 1\n",
        )
        .unwrap();
        let config = load(
            Mode::Run,
            &sources(root.path(), &[("HTTP_PROT", "1")], &[("PATH_X", "1")]),
        )
        .unwrap();
        let of_keys = |warning: &&String| warning.contains("is not a setting");
        let found = config.warnings.iter().filter(of_keys).count();
        assert_eq!(found, 2, "{:?}", config.warnings);
        assert!(
            config.warnings[0].contains("did you mean 'http.port'?"),
            "{:?}",
            config.warnings
        );
        assert!(
            config.warnings[1].contains("did you mean 'http.port'?"),
            "{:?}",
            config.warnings
        );
    }

    #[test]
    fn dev_trusts_loopback_and_run_does_not() {
        let root = tempfile::tempdir().unwrap();
        let trusts = |mode| {
            load(mode, &sources(root.path(), &[], &[]))
                .unwrap()
                .authentication
                .authorize_local
        };
        assert!(trusts(Mode::Dev) && !trusts(Mode::Run));
    }

    #[test]
    fn the_production_profile_serves_tls_alone_and_the_file_beats_it() {
        let root = tempfile::tempdir().unwrap();
        let production = sources(root.path(), &[], &[("DEFAULTS_MODE", "prod")]);
        let config = load(Mode::Run, &production).unwrap();
        assert!(config.http.port.is_none() && config.operations.port.is_none());
        let port = |address: &Option<_>| address.as_ref().map(ToString::to_string);
        assert_eq!(port(&config.http.secure_port).as_deref(), Some("port 9926"));
        let operations = port(&config.operations.secure_port);
        assert_eq!(operations.as_deref(), Some("port 9925"));
        assert!(config.http.cors.is_none() && !config.authentication.authorize_local);
        std::fs::write(root.path().join("motet.yaml"), "http:\n  cors: true\n").unwrap();
        assert!(
            load(Mode::Run, &production).unwrap().http.cors.is_some(),
            "the file wins"
        );
    }

    #[test]
    fn the_developer_profile_has_one_worker_and_the_log_on_the_terminal() {
        let root = tempfile::tempdir().unwrap();
        let config = load(Mode::Dev, &sources(root.path(), &[], &[])).unwrap();
        assert_eq!(config.workers.get(), 1);
        assert!(config.logging.std_streams && config.authentication.authorize_local);
        assert_eq!(config.logging.level, telemetry::LogLevel::Info);
    }

    #[test]
    fn keys_of_optional_sections_have_names_in_the_environment() {
        let root = tempfile::tempdir().unwrap();
        let environment = [
            ("HTTP_MTLS", "true"),
            ("HTTP_MTLS_REQUIRED", "true"),
            ("HTTP_MTLS_CERTIFICATEVERIFICATION_CRL_TIMEOUT", "2000"),
            ("HTTP_LOGGING_TIMING", "true"),
            ("MQTT_NETWORK_MTLS_USER", "device"),
            ("THREADS", "3"),
            ("LOG_LEVEL", "error"),
        ];
        let config = load(Mode::Run, &sources(root.path(), &[], &environment)).unwrap();
        let mtls = config.mtls.unwrap();
        assert!(mtls.required);
        let crl = mtls.verification.unwrap().crl.unwrap();
        assert_eq!(crl.timeout, std::time::Duration::from_secs(2));
        assert!(config.http.request_log.unwrap().timing);
        assert!(config.mqtt.mtls.is_some());
        assert_eq!(config.workers.get(), 3);
        assert_eq!(config.logging.level, telemetry::LogLevel::Error);
    }

    #[test]
    fn a_certificate_check_that_is_too_hasty_stops_the_start() {
        let root = tempfile::tempdir().unwrap();
        let environment = [("HTTP_MTLS_CERTIFICATEVERIFICATION_OCSP_CACHETTL", "10")];
        let error = load(Mode::Run, &sources(root.path(), &[], &environment)).unwrap_err();
        let expected = "'http.mtls.certificateVerification.ocsp.cacheTtl' is '10': expected at least 1000 milliseconds";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn harper_config_is_json_or_the_path_of_the_file() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("motet.yaml"), "threads: 2\n").unwrap();
        let elsewhere = root.path().join("other.yaml");
        std::fs::write(&elsewhere, "threads: 4\n").unwrap();
        let workers = |value: &str| {
            let sources = sources(root.path(), &[], &[("HARPER_CONFIG", value)]);
            load(Mode::Run, &sources).unwrap().workers.get()
        };
        assert_eq!(workers(r#"{"threads":{"count":5}}"#), 5);
        assert_eq!(workers(elsewhere.to_str().unwrap()), 4);
    }
}
