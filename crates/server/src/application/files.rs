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

/// The directory before the first wildcard of the only pattern.
pub(super) fn fixed_part(directory: &Path, patterns: &[String]) -> anyhow::Result<PathBuf> {
    let [pattern] = patterns else {
        anyhow::bail!("'static.files' takes one pattern in this build, such as 'web/**'");
    };
    let fixed: PathBuf = Path::new(pattern)
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
        .collect();
    let root = directory.join(fixed);
    anyhow::ensure!(root.is_dir(), "{} is not a directory", root.display());
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_files_and_the_fixed_part_is_the_root() {
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
        assert_eq!(
            fixed_part(dir.path(), &["web/**".into()]).unwrap(),
            dir.path().join("web")
        );
        assert!(fixed_part(dir.path(), &["no/**".into()]).is_err());
    }
}
