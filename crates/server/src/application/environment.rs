//! `loadEnv`: variables from files (`config-and-cli.md` §9).
//!
//! They are kept beside the environment of the process and not in it: changing that is unsafe once there are threads.
//! [`Environment::variable`] is where components of applications look; settings of the server are read before any
//! application and do not see them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::files::name_within;

/// What the components of all applications see as the environment. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Environment(Arc<RwLock<BTreeMap<String, Variable>>>);

/// A variable of a file.
#[derive(Clone)]
struct Variable {
    value: String,
    /// The application whose file it is from.
    application: String,
}

impl std::fmt::Debug for Variable {
    /// Values may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variable")
            .field("application", &self.application)
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// The value of a variable: from a file, else of the process.
    pub fn variable(&self, name: &str) -> Option<String> {
        let loaded = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let loaded = loaded.get(name).map(|variable| variable.value.clone());
        loaded.or_else(|| of_process(name))
    }

    /// Sets a variable of an application unless it is set already and does not win; whether it was set.
    fn set(&self, name: String, value: String, application: &str, wins: bool) -> bool {
        let mut loaded = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_set = loaded.contains_key(&name) || of_process(&name).is_some();
        if is_set && !wins {
            return false;
        }
        let application = application.to_owned();
        loaded.insert(name, Variable { value, application });
        true
    }

    /// Forgets what an application has set, before its files are read again.
    pub(super) fn forget(&self, application: &str) {
        let mut loaded = self.0.write().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|_, variable| variable.application != application);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "variables of applications stand beside those of the process"
)]
fn of_process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads the files in their order. The answer are the errors; what came before an error is set.
pub(super) fn load(
    directory: &Path,
    paths: &[PathBuf],
    wins: bool,
    application: &str,
    environment: &Environment,
) -> Vec<String> {
    let mut errors = Vec::new();
    for path in paths {
        let file = name_within(directory, path);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                errors.push(format!("{file}: {error}"));
                continue;
            }
        };
        for variable in dotenvy::from_read_iter(text.as_bytes()) {
            match variable {
                Ok((name, value)) => {
                    if !environment.set(name.clone(), value, application, wins) {
                        tracing::warn!(
                            "{file}: the variable {name} is set already and stays; 'override: true' replaces it"
                        );
                    }
                }
                Err(error) => errors.push(describe(&file, &text, &error)),
            }
        }
    }
    errors
}

/// Where a line is wrong; its text may hold a secret and is not repeated.
fn describe(file: &str, text: &str, error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(wrong, at) => {
            let line = text.lines().position(|line| line.trim() == wrong.trim());
            let line = line.map_or_else(String::new, |line| format!("{}:", line + 1));
            let column = at + 1;
            format!("{file}:{line}{column}: expected NAME=value")
        }
        other => format!("{file}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str, wins: bool, environment: &Environment) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        std::fs::write(&path, text).unwrap();
        load(dir.path(), &[path], wins, "shop", environment)
    }

    #[test]
    fn section_9_variables_that_are_set_win_unless_override_is_true() {
        let environment = Environment::default();
        let text = "export MOTET_A=1\n# comment\nMOTET_B=\"two words\" # more\nPATH=x\n";
        assert_eq!(load_text(text, false, &environment), Vec::<String>::new());
        assert_eq!(environment.variable("MOTET_A").as_deref(), Some("1"));
        assert_eq!(
            environment.variable("MOTET_B").as_deref(),
            Some("two words")
        );
        assert_ne!(environment.variable("PATH").as_deref(), Some("x"));
        load_text("MOTET_A=2\n", false, &environment);
        assert_eq!(environment.variable("MOTET_A").as_deref(), Some("1"));
        load_text("MOTET_A=2\nPATH=x\n", true, &environment);
        assert_eq!(environment.variable("MOTET_A").as_deref(), Some("2"));
        assert_eq!(environment.variable("PATH").as_deref(), Some("x"));
        environment.forget("shop");
        assert_eq!(environment.variable("MOTET_A"), None);
        assert!(environment.variable("PATH").is_some_and(|path| path != "x"));
    }

    #[test]
    fn a_line_that_is_no_variable_is_named_without_its_text() {
        let environment = Environment::default();
        let errors = load_text("MOTET_A=1\nsecret words\n", false, &environment);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(".env:2:"), "{errors:?}");
        assert!(!errors[0].contains("secret"), "{errors:?}");
        assert!(!format!("{environment:?}").contains('1'));
    }
}
