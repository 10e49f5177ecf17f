//! The files that the patterns of a manifest name.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Files below `directory` that match any pattern, sorted, each once. `.` and `./` mean everything.
pub(super) fn matching(directory: &Path, patterns: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for pattern in patterns {
        let pattern = match pattern.as_str() {
            "." | "./" => "**/*",
            other => other,
        };
        let escaped = glob::Pattern::escape(&directory.to_string_lossy());
        let paths = glob::glob(&format!("{escaped}/{pattern}"))
            .with_context(|| format!("pattern '{pattern}'"))?;
        for path in paths {
            found.push(path.context("cannot read a directory")?);
        }
    }
    found.retain(|path| path.is_file());
    found.sort();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_files_sorted_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("web/css")).unwrap();
        for name in ["b.graphql", "a.graphql", "web/index.html"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let found = matching(dir.path(), &["*.graphql".into(), "a.*".into()]).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["a.graphql", "b.graphql"]);
    }
}
