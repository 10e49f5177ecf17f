//! `config.yaml` of an application.

use std::path::{Path, PathBuf};

use http_chain::files::StaticSection;
use serde_json::Value;

use super::files::FilePatterns;

/// Names of the file, the first that exists is read (`config-and-cli.md` §6.3).
pub(super) const FILE_NAMES: [&str; 2] = ["harperdb-config.yaml", "config.yaml"];

/// What an application consists of, in loading order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The entries, in the order of the file.
    pub entries: Vec<Entry>,
    /// The file; absent when the default applies.
    pub file: Option<PathBuf>,
}

/// One entry of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub name: String,
    /// What it asks for.
    pub component: Component,
    /// `path` or `urlPath`, without slashes at its ends: where an error of this entry is answered.
    pub path: String,
}

/// What an entry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// `rest`: exported resources are reachable.
    Rest,
    /// `graphql`: queries over exported resources.
    GraphQl,
    /// `graphqlSchema`: tables.
    GraphqlSchema(FilePatterns),
    /// `roles`: roles.
    Roles(FilePatterns),
    /// `dataLoader`: records.
    DataLoader(FilePatterns),
    /// `loadEnv`: variables; whether they win over those that are set.
    LoadEnv(FilePatterns, bool),
    /// `static`: files for browsers.
    Static(Box<StaticSection>),
    /// Scripts, which this build passes over and says so if there are any.
    Script(FilePatterns),
    /// A falsy value.
    Off,
    /// A component that exists elsewhere but not here, with what is known about it.
    NotBuilt(String),
    /// An entry that cannot be understood, and why.
    Wrong(String),
}

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    path: PathBuf,
    problem: String,
}

impl std::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for ManifestError {}

/// What is loaded when an application has no configuration file.
const DEFAULT: &str = "
rest: true
graphqlSchema:
  files: '*.graphql'
roles:
  files: 'roles.yaml'
jsResource:
  files: 'resources.js'
fastifyRoutes:
  files: 'routes/*.js'
  urlPath: '.'
static:
  files: 'web/**'
";

/// Entries that this build has.
const COMPONENTS: [&str; 6] = [
    "rest",
    "graphqlSchema",
    "roles",
    "dataLoader",
    "loadEnv",
    "static",
];

impl Manifest {
    /// Reads `harperdb-config.yaml` or `config.yaml` of an application; without one, the default applies to what
    /// is there.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] if the directory does not exist, or the file is not a mapping of components. An entry
    /// that cannot be understood is [`Component::Wrong`] and leaves the others as they are.
    pub fn read(directory: &Path) -> Result<Self, ManifestError> {
        if !directory.is_dir() {
            return Err(ManifestError {
                path: directory.to_owned(),
                problem: "is not a directory".to_owned(),
            });
        }
        let name = super::name_of(directory);
        let mut names = FILE_NAMES.iter().map(|name| directory.join(name));
        let file = names.find(|path| path.is_file());
        let Some(path) = file else {
            return Self::default_of(directory, &name);
        };
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        let entries = text.and_then(|text| parse(&text, &name));
        match entries {
            Ok(entries) => Ok(Self {
                entries,
                file: Some(path),
            }),
            Err(problem) => Err(ManifestError { path, problem }),
        }
    }

    fn default_of(directory: &Path, name: &str) -> Result<Self, ManifestError> {
        let mut entries = parse(DEFAULT, name).map_err(|problem| ManifestError {
            path: directory.to_owned(),
            problem,
        })?;
        let is_there = |entry: &Entry| entry.name != "static" || directory.join("web").is_dir();
        entries.retain(is_there);
        Ok(Self {
            entries,
            file: None,
        })
    }
}

fn parse(text: &str, application: &str) -> Result<Vec<Entry>, String> {
    let value: Option<Value> =
        serde_saphyr::from_str(text).map_err(|error| super::yaml_problem(&error))?;
    let Value::Object(entries) = value.unwrap_or_default() else {
        return Err("expected a mapping of components, such as 'rest: true'".to_owned());
    };
    let entry = |(name, options): (String, Value)| Entry {
        component: component(&name, &options, application).unwrap_or_else(Component::Wrong),
        path: path(&options),
        name,
    };
    Ok(entries.into_iter().map(entry).collect())
}

/// Where errors of an entry are answered; a path that leads up is the root.
fn path(options: &Value) -> String {
    let path = options.get("path").or_else(|| options.get("urlPath"));
    let path = path.and_then(Value::as_str).unwrap_or_default();
    let path = path.trim_matches('/');
    match path.split('/').any(|part| part == ".." || part == ".") {
        true => String::new(),
        false => path.to_owned(),
    }
}

fn component(name: &str, options: &Value, application: &str) -> Result<Component, String> {
    let is_falsy = match options {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    };
    if is_falsy {
        return Ok(Component::Off);
    }
    let files = || FilePatterns::from_json(name, options);
    Ok(match name {
        "rest" | "REST" => Component::Rest,
        "graphql" => Component::GraphQl,
        "graphqlSchema" => Component::GraphqlSchema(files()?),
        "roles" => Component::Roles(files()?),
        "dataLoader" => Component::DataLoader(files()?),
        "loadEnv" => {
            let wins = match options.get("override") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(wins)) => *wins,
                Some(other) => {
                    return Err(format!(
                        "'loadEnv.override' is {other}: expected true or false"
                    ));
                }
            };
            Component::LoadEnv(files()?, wins)
        }
        "static" => {
            let section = StaticSection::from_json(options, application);
            Component::Static(Box::new(section.map_err(|error| error.to_string())?))
        }
        "jsResource" | "fastifyRoutes" => Component::Script(files()?),
        other => Component::NotBuilt(not_built(other)),
    })
}

/// What to say about a component that is not here.
fn not_built(name: &str) -> String {
    let nearest = crate::config::nearest(name, COMPONENTS.iter().copied());
    let hint = nearest.map(|nearest| format!("; did you mean '{nearest}'?"));
    format!(
        "the component '{name}' is not available in this build{}",
        hint.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<Entry> {
        parse(text, "shop").unwrap()
    }

    #[test]
    fn entries_keep_their_order_and_falsy_ones_are_off() {
        let entries =
            entries("dataLoader: {files: 'data/*.json'}\nrest: true\nstatic: false\nroles: 0\n");
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["dataLoader", "rest", "static", "roles"]);
        assert_eq!(entries[2].component, Component::Off);
        assert_eq!(entries[3].component, Component::Off);
    }

    #[test]
    fn a_wrong_entry_leaves_the_others() {
        let entries = entries(
            "graphqlSchema:\n  files: '../*'\nrest: true\nloadEnv: {files: '.env', override: 2}\n",
        );
        assert!(
            matches!(&entries[0].component, Component::Wrong(why) if why.contains("within the application"))
        );
        assert_eq!(entries[1].component, Component::Rest);
        assert!(
            matches!(&entries[2].component, Component::Wrong(why) if why.contains("'loadEnv.override' is 2"))
        );
    }

    #[test]
    fn what_is_not_built_is_named_with_the_nearest() {
        let entries = entries("login: true\ngraphqlSchemas: {files: x}\n");
        let text = |entry: &Entry| match &entry.component {
            Component::NotBuilt(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            text(&entries[0]),
            "the component 'login' is not available in this build"
        );
        assert!(text(&entries[1]).ends_with("did you mean 'graphqlSchema'?"));
    }

    #[test]
    fn an_error_is_answered_at_the_path_of_its_entry() {
        let entries = entries("a: {path: /x/y/}\nb: {urlPath: z}\nc: {path: ../q}\nd: true\n");
        let paths: Vec<_> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["x/y", "z", "", ""]);
    }
}
