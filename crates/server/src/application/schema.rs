//! `graphqlSchema`: tables and their exports from schema files.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Host;

/// Ensures the tables of all files and exports them. A file with an error is reported with line and column and
/// changes nothing; the other files are loaded.
pub(super) async fn load(
    directory: &Path,
    paths: &[PathBuf],
    host: &Host<'_>,
) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for path in paths {
        if let Err(error) = load_file(directory, path, host).await {
            failed.push(format!("{error:#}"));
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => anyhow::bail!(failed.join("; ")),
    }
}

async fn load_file(directory: &Path, path: &Path, host: &Host<'_>) -> anyhow::Result<()> {
    let source = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let name = path
        .strip_prefix(directory)
        .unwrap_or(path)
        .display()
        .to_string();
    let file = store::schema::parse(&source, &name)?;
    for warning in &file.warnings {
        tracing::warn!("{warning}");
    }
    let exports: Vec<_> = file
        .tables
        .iter()
        .map(|table| table.export.clone())
        .collect();
    let tables = host
        .store
        .ensure(file.tables)
        .await
        .with_context(|| name.clone())?;
    for (table, export) in tables.into_iter().zip(exports) {
        let Some(export) = export else { continue };
        if !host.registry.export(&export.path, table, export.exposure) {
            tracing::error!(
                "Conflicting paths for {}: two tables are exported there",
                export.path
            );
        }
    }
    Ok(())
}
