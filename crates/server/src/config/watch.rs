//! Looks whether the configuration file has changed, for the settings that are used without a restart.

use std::path::PathBuf;
use std::time::SystemTime;

use super::checked::Config;
use super::load::{ConfigError, Sources, load};
use super::{Logging, Mode};

/// The file of a running server.
pub struct ConfigWatch {
    mode: Mode,
    sources: Sources,
    file: Option<PathBuf>,
    stamp: Stamp,
}

/// Time of change and length; none for a file that cannot be seen.
type Stamp = Option<(SystemTime, u64)>;

impl ConfigWatch {
    /// Begins with the file as it is now.
    pub fn new(config: &Config, sources: &Sources) -> Self {
        let mut watch = Self {
            mode: config.mode,
            sources: sources.clone(),
            file: config.file.clone(),
            stamp: None,
        };
        watch.stamp = watch.look();
        watch
    }

    /// The settings, if the file has changed since the last look.
    pub fn changed(&mut self) -> Option<Result<Config, ConfigError>> {
        let now = self.look();
        if now == self.stamp {
            return None;
        }
        self.stamp = now;
        Some(load(self.mode, &self.sources))
    }

    fn look(&self) -> Stamp {
        let metadata = std::fs::metadata(self.file.as_ref()?).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }
}

/// Whether two configurations log in different ways.
pub fn logs_differ(old: &Config, new: &Config) -> bool {
    let of = |config: &Config| -> (Logging, _) {
        (config.logging.clone(), config.http.request_log.clone())
    };
    of(old) != of(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_once_and_its_mistakes_are_told() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("motet.yaml");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("logging:\n  level: warn\n");
        let environment = vec![("ROOTPATH".to_owned(), root.path().display().to_string())];
        let sources = Sources {
            environment,
            ..Sources::default()
        };
        let old = load(Mode::Run, &sources).unwrap();
        let mut watch = ConfigWatch::new(&old, &sources);
        assert!(watch.changed().is_none());
        write("logging:\n  level: trace\n");
        let new = watch.changed().unwrap().unwrap();
        assert!(logs_differ(&old, &new) && !logs_differ(&new, &new));
        assert!(watch.changed().is_none());
        write("logging:\n  level: deafening\n");
        let error = watch.changed().unwrap().unwrap_err().to_string();
        assert!(error.contains("deafening"), "{error}");
    }
}
