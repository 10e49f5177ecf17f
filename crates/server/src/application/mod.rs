//! Applications: a directory with a `config.yaml`, loaded entry by entry in file order.
//!
//! An entry that cannot be loaded is logged and leaves the rest of the application, the other applications and
//! the server running (`config-and-cli.md` §6.6).

mod data_loader;
mod files;
mod manifest;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http_chain::files::StaticSection;
use resource::Registry;
use store::Store;

pub use self::manifest::{Component, Manifest, ManifestError};

/// Where the parts of an application are put.
pub struct Host<'a> {
    /// Tables.
    pub store: &'a Arc<Store>,
    /// Exports.
    pub registry: &'a Registry,
    /// Hashes of loaded data records.
    pub loader_hashes: Arc<dyn resource::Resource>,
}

/// What an application asks of the HTTP chain.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Some application has `rest: true`.
    pub rest: bool,
    /// Some application has `graphql: true`.
    pub graphql: bool,
    /// Static files.
    pub sites: Vec<Site>,
    /// `application/component` of every component, and whether it could not be loaded.
    pub components: Vec<(String, bool)>,
}

/// Static files of one application.
#[derive(Debug, Clone)]
pub struct Site {
    /// The directory of the application.
    pub directory: PathBuf,
    /// The section of its manifest.
    pub section: StaticSection,
}

/// The last part of the directory's path.
fn name_of(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or(directory.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Loads one application and adds what it asks for to `loaded`.
///
/// # Errors
///
/// Only if the manifest itself cannot be read; failures of single entries are logged.
pub async fn load(
    directory: &Path,
    host: &Host<'_>,
    loaded: &mut Loaded,
) -> Result<(), ManifestError> {
    let manifest = Manifest::read(directory)?;
    let application = name_of(directory);
    for (name, component) in &manifest.components {
        let result = load_component(directory, component, host, loaded).await;
        loaded
            .components
            .push((format!("{application}/{name}"), result.is_err()));
        if let Err(error) = result {
            tracing::error!(
                "Could not load component '{name}' for application '{application}' due to: {error:#}"
            );
        }
    }
    Ok(())
}

async fn load_component(
    directory: &Path,
    component: &Component,
    host: &Host<'_>,
    loaded: &mut Loaded,
) -> anyhow::Result<()> {
    match component {
        Component::Rest => loaded.rest = true,
        Component::GraphQl => loaded.graphql = true,
        Component::GraphqlSchema(patterns) => {
            schema::load(directory, &files::matching(directory, patterns)?, host).await?;
        }
        Component::DataLoader(patterns) => {
            let hashes = Arc::clone(&host.loader_hashes);
            data_loader::load(
                directory,
                &files::matching(directory, patterns)?,
                host.store,
                hashes,
            )
            .await;
        }
        Component::Static(section) => {
            for warning in section.lint() {
                tracing::warn!("{}: {warning}", directory.display());
            }
            loaded.sites.push(Site {
                directory: directory.to_owned(),
                section: (**section).clone(),
            });
        }
        Component::Off => {}
        Component::NotBuilt(name) => {
            anyhow::bail!("the component '{name}' is not available in this build")
        }
    }
    Ok(())
}
