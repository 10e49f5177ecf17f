//! `get_components`: all files as a tree.

use std::fs;
use std::path::Path;

use resource::{Map, Value};

use super::date;
use crate::Failure;

/// What is left out: secrets such as `.env`, and what belongs to others.
fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || name == "node_modules"
}

/// The tree below `root`, with the status of each component.
pub(super) fn of(root: &Path, limit: usize, statuses: Vec<Map>) -> Result<Value, Failure> {
    let name = root
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let mut left = limit;
    let mut entries = entries(root, &mut left)?;
    for entry in &mut entries {
        let Value::Map(entry) = entry else { continue };
        let own = statuses
            .iter()
            .find(|status| status.get("name") == entry.get("name"));
        if let Some(status) = own {
            let mut status = status.clone();
            status.remove("name");
            entry.insert("status", status);
        }
    }
    Ok(Value::Map(Map::from_iter([
        ("name", Value::from(name.unwrap_or_default())),
        ("entries", Value::Array(entries)),
    ])))
}

/// Sorted by name. A link is a file of its own.
fn entries(directory: &Path, left: &mut usize) -> Result<Vec<Value>, Failure> {
    let Ok(found) = fs::read_dir(directory) else {
        return Ok(Vec::new());
    };
    let mut found: Vec<_> = found.flatten().collect();
    found.sort_by_key(fs::DirEntry::file_name);
    let mut entries = Vec::new();
    for entry in found {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_hidden(&name) {
            continue;
        }
        *left = left
            .checked_sub(1)
            .ok_or_else(|| Failure::new(507, "there are too many files to list them"))?;
        // Removed since it was listed.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let mut shown = Map::from_iter([("name", Value::from(name))]);
        if metadata.is_dir() {
            shown.insert("entries", self::entries(&entry.path(), left)?);
        } else {
            if let Some(modified) = date(metadata.modified()) {
                shown.insert("mtime", modified.to_string());
            }
            shown.insert("size", metadata.len());
        }
        entries.push(Value::Map(shown));
    }
    Ok(entries)
}
