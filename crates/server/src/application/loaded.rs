//! One application in memory: what its entries gave, and the files they gave it from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use resource::{Exposure, Resource};

use super::files::{self, FilePatterns, Stamps};
use super::manifest::{Component, Entry, FILE_NAMES, Manifest};
use super::serving::{Site, bases};
use super::status::{ComponentStatus, State};
use super::{Host, data_loader, environment, name_of, roles, schema};

/// A resource that an application exports.
#[derive(Clone)]
pub(super) struct Export {
    /// Without slashes at its ends.
    pub(super) path: String,
    pub(super) resource: Arc<dyn Resource>,
    pub(super) exposure: Exposure,
}

/// An application.
pub(super) struct Application {
    pub(super) name: String,
    pub(super) directory: PathBuf,
    /// State of the manifest when it was read.
    manifest: Stamps,
    /// Why the manifest cannot be used, or nothing was found.
    problem: Option<String>,
    pub(super) entries: Vec<LoadedEntry>,
}

/// One entry with what it gave.
pub(super) struct LoadedEntry {
    pub(super) entry: Entry,
    /// State of its files when they were read.
    stamps: Stamps,
    pub(super) state: State,
    pub(super) given: Given,
}

/// What an entry gives to the server.
#[derive(Clone, Default)]
pub(super) struct Given {
    pub(super) rest: bool,
    /// It has `graphql: true`.
    pub(super) graphql: bool,
    pub(super) exports: Vec<Export>,
    pub(super) site: Option<Site>,
    /// It found something to load.
    found: bool,
}

/// What is looked at to see whether an application has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    directory: PathBuf,
    components: Vec<Component>,
}

/// The state of the files of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    directory: PathBuf,
    manifest: Stamps,
    entries: Vec<Stamps>,
}

impl Watched {
    /// An application that is not loaded yet.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            components: Vec::new(),
        }
    }

    /// Looks at the files. Touches the disk: not for a worker.
    pub(super) fn look(&self) -> Look {
        let of = |component: &Component| stamps_of(&self.directory, component);
        Look {
            manifest: manifest_stamps(&self.directory),
            entries: self.components.iter().map(of).collect(),
            directory: self.directory.clone(),
        }
    }
}

fn manifest_stamps(directory: &Path) -> Stamps {
    let names = FILE_NAMES.iter().map(|name| directory.join(name));
    let mut stamps = files::stamps(names);
    // The default depends on it; what is in it is looked at by nobody.
    stamps.extend(existence(files::stamps([directory.join("web")])));
    stamps
}

/// The files whose change means that an entry has to be loaded again. Static files are read when they are asked for;
/// only whether their directory exists counts.
fn stamps_of(directory: &Path, component: &Component) -> Stamps {
    match component {
        Component::Static(section) => existence(files::stamps(bases(directory, section))),
        component => match patterns(component) {
            Some(patterns) => files::stamps(patterns.matching(directory).unwrap_or_default()),
            None => Stamps::new(),
        },
    }
}

/// Only whether something is there.
fn existence(mut stamps: Stamps) -> Stamps {
    let all = stamps.values_mut();
    all.for_each(|stamp| *stamp = stamp.existence());
    stamps
}

fn patterns(component: &Component) -> Option<&FilePatterns> {
    match component {
        Component::GraphqlSchema(patterns)
        | Component::Roles(patterns)
        | Component::DataLoader(patterns)
        | Component::LoadEnv(patterns, _)
        | Component::Script(patterns) => Some(patterns),
        _ => None,
    }
}

impl Application {
    /// Nothing of it is loaded yet.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            name: name_of(&directory),
            directory,
            manifest: Stamps::new(),
            problem: None,
            entries: Vec::new(),
        }
    }

    /// What to look at.
    pub(super) fn watched(&self) -> Watched {
        let components = self.entries.iter().map(|entry| &entry.entry.component);
        Watched {
            directory: self.directory.clone(),
            components: components.cloned().collect(),
        }
    }

    /// What looking showed when it was loaded.
    pub(super) fn look(&self) -> Look {
        Look {
            directory: self.directory.clone(),
            manifest: self.manifest.clone(),
            entries: self.entries.iter().map(|one| one.stamps.clone()).collect(),
        }
    }

    /// Loads what is new or has changed since the last time, in the order of the file; whether there was any.
    pub(super) async fn refresh(&mut self, host: &Host) -> bool {
        // Looked at before it is read: a change meanwhile is seen the next time.
        self.manifest = manifest_stamps(&self.directory);
        let manifest = match Manifest::read(&self.directory) {
            Ok(manifest) => manifest,
            Err(error) => return self.fail(error.to_string()),
        };
        let mut old = std::mem::take(&mut self.entries);
        let had = old.len();
        let mut changed = false;
        for entry in manifest.entries {
            let known = old
                .iter()
                .position(|known| known.entry.name == entry.name)
                .map(|at| old.remove(at));
            let (loaded, is_new) = self.refresh_entry(entry, known, changed, host).await;
            changed |= is_new;
            self.entries.push(loaded);
        }
        changed |= had != self.entries.len();
        let problem = self.nothing_found(manifest.file.is_some());
        if let Some(problem) = problem.as_ref().filter(|_| self.problem != problem) {
            tracing::error!("{problem}");
        }
        changed |= self.problem != problem;
        self.problem = problem;
        changed
    }

    /// The manifest is unusable: what is loaded stays.
    fn fail(&mut self, problem: String) -> bool {
        if self.problem.as_ref() == Some(&problem) {
            return false;
        }
        tracing::error!("{problem}");
        self.problem = Some(problem);
        true
    }

    async fn refresh_entry(
        &self,
        entry: Entry,
        known: Option<LoadedEntry>,
        earlier_changed: bool,
        host: &Host,
    ) -> (LoadedEntry, bool) {
        let stamps = stamps_of(&self.directory, &entry.component);
        let known = match known {
            Some(known)
                if known.entry == entry
                    && known.stamps == stamps
                    && !(earlier_changed && known.state.is_error()) =>
            {
                return (known, false);
            }
            known => known,
        };
        let before = known.as_ref().map(|known| &known.given);
        let unchanged = known
            .as_ref()
            .filter(|known| known.entry == entry && !known.state.is_error());
        let unchanged = unchanged.map(|known| &known.stamps);
        let (given, state) = self.load_entry(&entry, before, unchanged, host).await;
        match (&state, known.is_some()) {
            (State::Error(error), _) => tracing::error!(
                "Could not load component '{}' for application '{}' due to: {error}",
                entry.name,
                self.name
            ),
            (State::Warning(warning), _) => tracing::warn!("{}: {warning}", self.name),
            (_, true) => tracing::info!("{}: loaded '{}' again", self.name, entry.name),
            (_, false) => {}
        }
        let loaded = LoadedEntry {
            entry,
            stamps,
            state,
            given,
        };
        (loaded, true)
    }

    async fn load_entry(
        &self,
        entry: &Entry,
        before: Option<&Given>,
        unchanged: Option<&Stamps>,
        host: &Host,
    ) -> (Given, State) {
        let result = self
            .load_component(&entry.component, before, unchanged, host)
            .await;
        result.unwrap_or_else(|error| {
            // What worked goes on.
            let kept = before.cloned().unwrap_or_default();
            (kept, State::Error(format!("{error:#}")))
        })
    }

    async fn load_component(
        &self,
        component: &Component,
        before: Option<&Given>,
        unchanged: Option<&Stamps>,
        host: &Host,
    ) -> anyhow::Result<(Given, State)> {
        let directory = self.directory.as_path();
        let mut given = Given::default();
        let mut errors = Vec::new();
        let paths = match patterns(component) {
            Some(patterns) => patterns.matching(directory)?,
            None => Vec::new(),
        };
        given.found = !paths.is_empty();
        match component {
            Component::Rest => (given.rest, given.found) = (true, true),
            Component::GraphQl => (given.graphql, given.found) = (true, true),
            Component::GraphqlSchema(_) => {
                (given.exports, errors) = schema::load(directory, &paths, host).await;
                if let (false, Some(before)) = (errors.is_empty(), before) {
                    keep(&mut given.exports, &before.exports);
                }
            }
            Component::Roles(_) => errors = roles::load(directory, &paths, host).await,
            Component::LoadEnv(_, wins) => {
                host.environment.forget(&self.name);
                errors = environment::load(directory, &paths, *wins, &self.name, &host.environment);
            }
            Component::DataLoader(_) => {
                let may_make_tables = !self.schema_failed();
                let changed = changed_since(paths, unchanged);
                errors = data_loader::load(directory, &changed, may_make_tables, host).await;
            }
            Component::Static(section) => {
                for warning in section.lint() {
                    tracing::warn!("{}: {warning}", self.name);
                }
                given.site = Some(Site::new(directory, section)?);
                given.found = true;
            }
            Component::Script(_) if given.found => {
                let file = files::name_within(directory, &paths[0]);
                let text = format!("scripts are not supported in this build: {file} is not loaded");
                return Ok((given, State::Warning(text)));
            }
            Component::Script(_) | Component::Off => {}
            Component::NotBuilt(problem) | Component::Wrong(problem) => {
                anyhow::bail!("{problem}")
            }
        }
        let state = match errors.is_empty() {
            true => State::Healthy,
            false => State::Error(errors.join("; ")),
        };
        Ok((given, state))
    }

    /// Whether tables that a schema declares may be missing.
    fn schema_failed(&self) -> bool {
        self.entries.iter().any(|one| {
            matches!(one.entry.component, Component::GraphqlSchema(_)) && one.state.is_error()
        })
    }

    /// The error of an application that has nothing in it. `rest` counts only where somebody wrote it.
    fn nothing_found(&self, is_written: bool) -> Option<String> {
        let is_something = |one: &LoadedEntry| {
            let counts = is_written || one.entry.component != Component::Rest;
            one.state.is_error() || (one.given.found && counts)
        };
        let name = self.directory.display();
        (!self.entries.iter().any(is_something)).then(|| {
            format!(
                "{name} did not load any modules, resources, or files, is this a valid component?"
            )
        })
    }

    /// The states of its components, and of the application if that has one.
    pub(super) fn status(&self) -> Vec<ComponentStatus> {
        let whole = self.problem.clone().map(|problem| ComponentStatus {
            application: self.name.clone(),
            component: None,
            state: State::Error(problem),
        });
        let of_entries = self
            .entries
            .iter()
            .filter(|one| one.entry.component != Component::Off)
            .map(|one| ComponentStatus {
                application: self.name.clone(),
                component: Some(one.entry.name.clone()),
                state: one.state.clone(),
            });
        whole.into_iter().chain(of_entries).collect()
    }

    /// Paths without slashes at their ends, and the errors of entries that are answered there. What concerns the
    /// application as a whole has no path: it is in the log and the status.
    pub(super) fn errors(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().filter_map(|one| match &one.state {
            State::Error(error) => Some((one.entry.path.as_str(), error.as_str())),
            _ => None,
        })
    }
}

/// Adds what was exported before and is not any more.
fn keep(exports: &mut Vec<Export>, before: &[Export]) {
    for export in before {
        if exports.iter().all(|new| new.path != export.path) {
            exports.push(export.clone());
        }
    }
}

/// Those whose state differs from what is known.
fn changed_since(paths: Vec<PathBuf>, known: Option<&Stamps>) -> Vec<PathBuf> {
    let Some(known) = known else { return paths };
    let now = files::stamps(paths.iter().cloned());
    let is_changed = |path: &PathBuf| known.get(path) != now.get(path);
    paths.into_iter().filter(is_changed).collect()
}
