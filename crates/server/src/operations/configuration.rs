//! The configuration file: reading it for operations, and changing it without losing comments.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use opsapi::Configuration;
use resource::{Answer, Date, Error, Map, Value, json};
use serde_json::Value as Json;

use super::yaml;
use crate::config::file::FileConfig;
use crate::config::{self, Config, Mode, Sources, setting_path, unknown_setting};

/// The name of the file when there is none yet.
const FILE_NAME: &str = "motet.yaml";
/// Directory of backups, below the root.
const BACKUP: &str = "backup";

/// The settings that a server began with, and what was changed since.
pub(super) struct ConfigurationFile(Arc<Inner>);

struct Inner {
    mode: Mode,
    root: PathBuf,
    path: PathBuf,
    /// Locked while the file is read, checked and written, on a thread that may block.
    settings: Mutex<Json>,
    has_changed: AtomicBool,
}

impl ConfigurationFile {
    pub(super) fn new(config: &Config) -> Self {
        let path = config.file.clone();
        let path = path.unwrap_or_else(|| config.root.join(FILE_NAME));
        let mut settings = config.settings.clone();
        // Sections of components, which this program does not know.
        if let Ok(Json::Object(written)) = fs::read_to_string(&path).map_or(Ok(Json::Null), parse) {
            for (name, value) in written {
                if let Some(settings) = settings.as_object_mut() {
                    settings.entry(name).or_insert(value);
                }
            }
        }
        yaml::insert(
            &mut settings,
            &["rootPath".to_owned()],
            Json::from(config.root.display().to_string()),
        );
        Self(Arc::new(Inner {
            mode: config.mode,
            root: config.root.clone(),
            path,
            settings: Mutex::new(settings),
            has_changed: AtomicBool::new(false),
        }))
    }

    /// Whether something was changed that a restart will put to use.
    pub(super) fn has_changed(&self) -> bool {
        self.0.has_changed.load(Ordering::Relaxed)
    }
}

impl Configuration for ConfigurationFile {
    fn current(&self) -> Answer<'_, Map> {
        let mut settings = self.0.settings().clone();
        hide_keys(&mut settings);
        Answer::ready(match to_value(&settings) {
            Ok(Value::Map(map)) => Ok(map),
            Ok(_) => Ok(Map::new()),
            Err(error) => Err(error),
        })
    }

    fn change(&self, changes: Map) -> Answer<'_, ()> {
        let inner = Arc::clone(&self.0);
        Answer::pending(async move {
            let changed = tokio::task::spawn_blocking(move || inner.change(&changes)).await;
            changed.map_err(|_| Error::internal("changing the configuration panicked"))?
        })
    }
}

/// `HarperDB config file validation error: …`.
fn invalid(problems: &str) -> Error {
    Error::bad_request(format!("HarperDB config file validation error: {problems}"))
}

impl Inner {
    fn settings(&self) -> std::sync::MutexGuard<'_, Json> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, changes: &Map) -> Result<(), Error> {
        let changes = checked(changes)?;
        let mut settings = self.settings();
        let old = match fs::read_to_string(&self.path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.unusable(&error)),
        };
        let mut text = old.clone().unwrap_or_default();
        for (path, value) in &changes {
            text = yaml::set(&text, path, value).map_err(|error| {
                Error::bad_request(format!("{} cannot be edited: {error}", self.path.display()))
            })?;
        }
        self.validate(&text)?;
        if old.is_some() {
            self.back_up().map_err(|error| self.unusable(&error))?;
        }
        replace(&self.path, &text).map_err(|error| self.unusable(&error))?;
        for (path, value) in changes {
            yaml::insert(&mut settings, &path, value);
        }
        self.has_changed.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn unusable(&self, error: &io::Error) -> Error {
        Error::internal(format!("cannot change {}: {error}", self.path.display()))
    }

    /// Checks the new text as a start would, beside the file and before it takes its place.
    #[expect(
        clippy::disallowed_methods,
        reason = "the check needs the home directory that the start had"
    )]
    fn validate(&self, text: &str) -> Result<(), Error> {
        let beside = unfinished(&self.path);
        let checked = write_new(&beside, text).map(|()| {
            let variable = |name: &str, path: &Path| (name.to_owned(), path.display().to_string());
            let mut environment = vec![
                variable("ROOTPATH", &self.root),
                variable("HARPER_CONFIG", &beside),
            ];
            environment.extend(std::env::var("HOME").map(|home| ("HOME".to_owned(), home)));
            let sources = Sources {
                environment,
                ..Sources::default()
            };
            config::load(self.mode, &sources)
        });
        // Nothing is lost when it cannot be removed.
        drop(fs::remove_file(&beside));
        let place = format!(" (in {})", beside.display());
        match checked {
            Err(error) => Err(self.unusable(&error)),
            Ok(Err(error)) => Err(invalid(&error.to_string().replace(&place, ""))),
            Ok(Ok(_)) => Ok(()),
        }
    }

    /// Copies the file to `<root>/backup/<ISO time>-harperdb-config.yaml.bak`.
    fn back_up(&self) -> io::Result<()> {
        let directory = self.root.join(BACKUP);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let millis = since.unwrap_or_default().as_millis();
        let time = i64::try_from(millis).ok().and_then(Date::from_millis);
        let time = time.map(|time| time.to_string()).unwrap_or_default();
        let mut path = directory.join(format!("{time}-harperdb-config.yaml.bak"));
        // Two changes in one millisecond.
        for number in 1_u32.. {
            if !path.exists() {
                break;
            }
            path = directory.join(format!("{time}-{number}-harperdb-config.yaml.bak"));
        }
        write_new(&path, &fs::read_to_string(&self.path)?)
    }
}

/// The paths and values of changes, each of the type that its setting has.
fn checked(changes: &Map) -> Result<Vec<(Vec<String>, Json)>, Error> {
    let defaults = serde_json::to_value(FileConfig::default());
    let defaults = defaults.map_err(|error| Error::internal(error.to_string()))?;
    let (mut paths, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in changes.iter() {
        let Some(path) = setting_path(name) else {
            problems.push(unknown_setting(name));
            continue;
        };
        let value = cast(value)?;
        if let Some(kind) = wrong_kind(&defaults, &path, &value) {
            problems.push(format!("'{}' must be a {kind}", path.join(".")));
        }
        paths.push((path, value));
    }
    match problems.is_empty() {
        true => Ok(paths),
        false => Err(invalid(&problems.join(". "))),
    }
}

/// Texts that stand for something else are that, as in the environment.
fn cast(value: &Value) -> Result<Json, Error> {
    let text = match value {
        Value::String(text) => text.clone(),
        other => String::from_utf8_lossy(&json::to_vec(other)).into_owned(),
    };
    let parsed = serde_json::from_str(&text);
    match (parsed, value) {
        (Ok(parsed), _) => Ok(parsed),
        (Err(_), Value::String(text)) => Ok(Json::from(text.as_str())),
        (Err(error), _) => Err(Error::bad_request(error.to_string())),
    }
}

/// The type that a setting has by default and the value has not; others are checked when the file is.
fn wrong_kind(defaults: &Json, path: &[String], value: &Json) -> Option<&'static str> {
    let default = path
        .iter()
        .try_fold(defaults, |section, name| section.get(name))?;
    match (default, value) {
        // A switch may also be a section.
        (Json::Bool(_), Json::Bool(_) | Json::Object(_) | Json::Null) => None,
        (Json::Bool(_), _) => Some("boolean"),
        (Json::Number(_), Json::String(_) | Json::Number(_) | Json::Null) => None,
        (Json::Number(_), _) => Some("number"),
        _ => None,
    }
}

fn parse(text: String) -> Result<Json, String> {
    yaml::parse(&text)
}

fn to_value(settings: &Json) -> Result<Value, Error> {
    let text = serde_json::to_vec(settings).map_err(|error| Error::internal(error.to_string()))?;
    json::from_slice(&text).map_err(|error| Error::internal(error.to_string()))
}

/// A private key that stands in the file as text stays there.
fn hide_keys(settings: &mut Json) {
    match settings {
        Json::String(text) if text.contains("PRIVATE KEY") => *settings = Json::from("…"),
        Json::Array(items) => items.iter_mut().for_each(hide_keys),
        Json::Object(members) => members.values_mut().for_each(hide_keys),
        _ => {}
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    PathBuf::from(name)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Puts a text in the place of a file, whole or not at all, with the permissions it had.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // What a link points to is changed, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let beside = unfinished(&target);
    write_new(&beside, text)?;
    if let Ok(metadata) = fs::metadata(&target) {
        fs::set_permissions(&beside, metadata.permissions())?;
    }
    fs::rename(&beside, &target)?;
    match target.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resource::json;

    fn open(root: &Path) -> ConfigurationFile {
        let environment = vec![("ROOTPATH".to_owned(), root.display().to_string())];
        let sources = Sources {
            environment,
            ..Sources::default()
        };
        ConfigurationFile::new(&config::load(Mode::Run, &sources).unwrap())
    }

    async fn change(file: &ConfigurationFile, text: &str) -> Result<(), String> {
        let Value::Map(changes) = json::from_slice(text.as_bytes()).unwrap() else {
            panic!("{text}")
        };
        let changed = file.change(changes).await;
        changed.map_err(|error| error.message().to_owned())
    }

    const BEFORE: &str =
        "# Ours.\nhttp:\n  port: 9001 # the port\n  cors: true\n\nshop:\n  package: acme/shop\n";

    #[tokio::test]
    async fn s11_a_change_keeps_comments_and_is_visible_at_once() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("motet.yaml");
        fs::write(&path, BEFORE).unwrap();
        let file = open(root.path());
        assert!(!file.has_changed());
        change(
            &file,
            r#"{"HTTP_port": 9930, "logging_level": "info", "web_package": "a/b"}"#,
        )
        .await
        .unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "# Ours.\nhttp:\n  port: 9930 # the port\n  cors: true\n\nshop:\n  package: acme/shop\n\
             logging:\n  level: \"info\"\nweb:\n  package: \"a/b\"\n"
        );
        let current = Value::Map(file.current().await.unwrap());
        let at = |section: &str, name: &str| {
            let section = current.as_map().unwrap().get(section).unwrap();
            section.as_map().unwrap().get(name).cloned()
        };
        assert_eq!(at("http", "port"), Some(Value::Int(9930)));
        assert_eq!(at("logging", "level"), Some(Value::from("info")));
        assert_eq!(at("shop", "package"), Some(Value::from("acme/shop")));
        assert_eq!(at("http", "keepAliveTimeout"), Some(Value::Int(30_000)));
        assert!(file.has_changed());
        let backups: Vec<_> = fs::read_dir(root.path().join("backup"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(backups.len(), 1);
        let name = backups[0]
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        assert!(name.ends_with("Z-harperdb-config.yaml.bak"), "{name}");
        assert_eq!(fs::read_to_string(&backups[0]).unwrap(), BEFORE);
        // The next start reads what was written.
        assert_eq!(open(root.path()).0.settings()["http"]["port"], 9930);
    }

    #[tokio::test]
    async fn s11_a_wrong_value_leaves_the_file_untouched() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("motet.yaml");
        fs::write(&path, BEFORE).unwrap();
        let file = open(root.path());
        for (changes, expected) in [
            (
                r#"{"http_cors": "spinach"}"#,
                "HarperDB config file validation error: 'http.cors' must be a boolean",
            ),
            (
                r#"{"http_prot": 1}"#,
                "HarperDB config file validation error: 'http.prot' is not a setting; did you mean 'http.port'?",
            ),
        ] {
            assert_eq!(change(&file, changes).await.unwrap_err(), expected);
        }
        let error = change(
            &file,
            r#"{"http_timeout": "soon", "logging_level": "info"}"#,
        )
        .await;
        let error = error.unwrap_err();
        assert!(
            error.starts_with("HarperDB config file validation error: "),
            "{error}"
        );
        assert!(
            error.contains("'http.timeout'") && !error.contains(".tmp"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), BEFORE);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        assert!(!file.has_changed());
    }

    #[tokio::test]
    async fn a_server_without_a_file_gets_one_that_only_its_owner_reads() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let file = open(root.path());
        change(&file, r#"{"http_port": "9931"}"#).await.unwrap();
        let path = root.path().join("motet.yaml");
        assert_eq!(fs::read_to_string(&path).unwrap(), "http:\n  port: 9931\n");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
