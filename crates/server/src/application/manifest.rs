//! `config.yaml` of an application.

use std::path::{Path, PathBuf};

use http_chain::files::StaticSection;
use serde_json::Value;

/// What an application consists of, in loading order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Name and content of each entry.
    pub components: Vec<(String, Component)>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// `rest`: exported resources are reachable.
    Rest,
    /// `graphql`: queries over exported resources.
    GraphQl,
    /// `graphqlSchema`: tables.
    GraphqlSchema(Vec<String>),
    /// `dataLoader`: records.
    DataLoader(Vec<String>),
    /// `static`: files for browsers.
    Static(Box<StaticSection>),
    /// A falsy value.
    Off,
    /// A component that exists elsewhere but not here.
    NotBuilt(String),
}

/// Why a manifest cannot be used.
#[derive(Debug)]
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

/// What Harper loads when an application has no configuration file, as far as it is built.
const DEFAULT: &str = "
rest: true
graphqlSchema:
  files: '*.graphql'
static:
  files: 'web/**'
";

impl Manifest {
    /// Reads `harperdb-config.yaml` or `config.yaml` of an application; without one, the default applies to what
    /// is there.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] if the directory does not exist, or the file is not a mapping of components.
    pub fn read(directory: &Path) -> Result<Self, ManifestError> {
        if !directory.is_dir() {
            return Err(ManifestError {
                path: directory.to_owned(),
                problem: "is not a directory".to_owned(),
            });
        }
        let name = super::name_of(directory);
        let path = ["harperdb-config.yaml", "config.yaml"]
            .map(|name| directory.join(name))
            .into_iter()
            .find(|p| p.is_file());
        let Some(path) = path else {
            let mut manifest = Self::parse(DEFAULT, &name).map_err(|problem| ManifestError {
                path: directory.to_owned(),
                problem,
            })?;
            manifest
                .components
                .retain(|(name, _)| name != "static" || directory.join("web").is_dir());
            return Ok(manifest);
        };
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        text.and_then(|text| Self::parse(&text, &name))
            .map_err(|problem| ManifestError { path, problem })
    }

    fn parse(text: &str, application: &str) -> Result<Self, String> {
        let value: Option<Value> =
            serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let Value::Object(entries) = value.unwrap_or_default() else {
            return Err("expected a mapping of components".to_owned());
        };
        let components = entries
            .into_iter()
            .map(|(name, options)| Ok((name.clone(), component(&name, &options, application)?)));
        Ok(Self {
            components: components.collect::<Result<_, String>>()?,
        })
    }
}

fn component(name: &str, options: &Value, application: &str) -> Result<Component, String> {
    if matches!(options, Value::Null | Value::Bool(false)) {
        return Ok(Component::Off);
    }
    Ok(match name {
        "rest" | "REST" => Component::Rest,
        "graphql" => Component::GraphQl,
        "graphqlSchema" => Component::GraphqlSchema(patterns(name, options)?),
        "dataLoader" => Component::DataLoader(patterns(name, options)?),
        "static" => {
            let section = StaticSection::from_json(options, application);
            Component::Static(Box::new(section.map_err(|error| error.to_string())?))
        }
        other => Component::NotBuilt(other.to_owned()),
    })
}

/// `files`: a text, a list, or `{source: …}`.
fn patterns(name: &str, options: &Value) -> Result<Vec<String>, String> {
    let wrong = || {
        format!(
            "'{name}.files' is missing: expected a pattern, a list of patterns or {{source: pattern}}"
        )
    };
    let files = options.get("files").ok_or_else(wrong)?;
    let files = files.get("source").unwrap_or(files);
    let list = match files {
        Value::String(pattern) => vec![pattern.clone()],
        Value::Array(list) => list
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    let outside =
        |pattern: &&String| pattern.starts_with('/') || pattern.split('/').any(|part| part == "..");
    match list.iter().find(outside) {
        Some(pattern) => Err(format!(
            "'{name}.files' is '{pattern}': expected a pattern within the application"
        )),
        None => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order_and_falsy_ones_are_off() {
        let manifest = Manifest::parse(
            "dataLoader: {files: 'data/*.json'}\nrest: true\nstatic: false\n",
            "shop",
        )
        .unwrap();
        let names: Vec<_> = manifest
            .components
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["dataLoader", "rest", "static"]);
        assert_eq!(manifest.components[2].1, Component::Off);
    }

    #[test]
    fn a_pattern_outside_the_application_is_refused() {
        for pattern in ["/etc/*", "../x/*.graphql", "a/../../b"] {
            let error = Manifest::parse(&format!("graphqlSchema:\n  files: '{pattern}'\n"), "shop")
                .unwrap_err();
            assert!(error.contains("within the application"), "{error}");
        }
    }

    #[test]
    fn what_is_not_built_is_named() {
        let manifest = Manifest::parse("jsResource: {files: 'resources.js'}\n", "shop").unwrap();
        assert_eq!(
            manifest.components[0].1,
            Component::NotBuilt("jsResource".into())
        );
    }
}
