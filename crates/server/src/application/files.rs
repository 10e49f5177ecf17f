//! The files that the patterns of a manifest name, and what tells that one has changed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use glob::{MatchOptions, Pattern};
use serde_json::Value;

/// Alternatives that the braces of one pattern may stand for.
const MAX_ALTERNATIVES: usize = 64;

/// Directories that hold what others wrote.
const FOREIGN: &str = "node_modules";

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// `files` of an entry: which files of an application it is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilePatterns {
    source: Vec<String>,
    ignore: Vec<String>,
}

impl FilePatterns {
    /// A text, a list, or `{source, ignore, only}`. `component` is the name of the entry in messages.
    ///
    /// # Errors
    ///
    /// A message that names key, value and what was expected.
    pub(super) fn from_json(component: &str, options: &Value) -> Result<Self, String> {
        const EXPECTED: &str =
            "expected a pattern, a list of patterns or {source: pattern, ignore: pattern}";
        let wrong = |key: &str| format!("'{component}.{key}' is missing or no pattern: {EXPECTED}");
        let files = options.get("files").ok_or_else(|| wrong("files"))?;
        let (source, ignore) = match files {
            Value::Object(object) => {
                if let Some(only) = object.get("only").filter(|only| !only.is_null())
                    && !matches!(only.as_str(), Some("all" | "files"))
                {
                    return Err(format!(
                        "'{component}.files.only' is {only}: expected all or files, since this component reads files"
                    ));
                }
                (object.get("source"), object.get("ignore"))
            }
            files => (Some(files), None),
        };
        let source = source.and_then(texts).ok_or_else(|| wrong("files"))?;
        let ignore = match ignore {
            None | Some(Value::Null) => Vec::new(),
            Some(ignore) => texts(ignore).ok_or_else(|| wrong("files.ignore"))?,
        };
        for pattern in source.iter().chain(&ignore) {
            check(component, pattern)?;
        }
        Ok(Self { source, ignore })
    }

    /// Files below `directory` that match, each once: in the order of the patterns, those of one pattern sorted.
    /// `.` and `./` mean everything; what lies in `node_modules` belongs to nobody.
    pub(super) fn matching(&self, directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let ignored = self.ignored()?;
        let is_ours = |path: &PathBuf| {
            let relative = path.strip_prefix(directory).unwrap_or(path);
            let is_foreign = relative.iter().any(|part| part == FOREIGN);
            let is_ignored = ignored
                .iter()
                .any(|pattern| pattern.matches_path_with(relative, OPTIONS));
            !is_foreign && !is_ignored && path.is_file()
        };
        let mut found: Vec<PathBuf> = Vec::new();
        for pattern in &self.source {
            let mut here = Vec::new();
            for alternative in alternatives(pattern)? {
                let root = Pattern::escape(&directory.to_string_lossy());
                let paths = glob::glob_with(&format!("{root}/{alternative}"), OPTIONS)
                    .with_context(|| format!("pattern '{pattern}'"))?;
                for path in paths {
                    here.push(path.context("cannot read a directory")?);
                }
            }
            here.sort();
            for path in here {
                if is_ours(&path) && !found.contains(&path) {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    fn ignored(&self) -> anyhow::Result<Vec<Pattern>> {
        let mut ignored = Vec::new();
        for pattern in &self.ignore {
            for alternative in alternatives(pattern)? {
                let pattern =
                    Pattern::new(&alternative).with_context(|| format!("pattern '{pattern}'"))?;
                ignored.push(pattern);
            }
        }
        Ok(ignored)
    }
}

/// A text, or a list of texts with at least one.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) if !list.is_empty() => list
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

fn check(component: &str, pattern: &str) -> Result<(), String> {
    let leads_out = pattern.starts_with('/') || pattern.split('/').any(|part| part == "..");
    match leads_out {
        true => Err(format!(
            "'{component}.files' is '{pattern}': expected a pattern within the application"
        )),
        false => alternatives(pattern).map(drop).map_err(|error| {
            format!("'{component}.files' is '{pattern}': expected a pattern: {error}")
        }),
    }
}

/// What the braces of a pattern stand for: `*.{json,yaml}` is `*.json` and `*.yaml`.
fn alternatives(pattern: &str) -> anyhow::Result<Vec<String>> {
    let pattern = match pattern.trim_start_matches("./") {
        "." | "" => "**/*",
        pattern => pattern,
    };
    let mut open = vec![pattern.to_owned()];
    let mut done = Vec::new();
    while let Some(text) = open.pop() {
        anyhow::ensure!(
            open.len() + done.len() < MAX_ALTERNATIVES,
            "its braces stand for more than {MAX_ALTERNATIVES} patterns"
        );
        // The innermost braces: the last that open.
        let braces = text.rfind('{').and_then(|start| {
            let end = start + text[start..].find('}')?;
            Some((start, end))
        });
        match braces {
            None => done.push(text),
            Some((start, end)) => {
                let (before, after) = (&text[..start], &text[end + 1..]);
                let inner = text[start + 1..end].split(',');
                open.extend(inner.map(|one| format!("{before}{one}{after}")));
            }
        }
    }
    for text in &done {
        Pattern::new(text)?;
    }
    Ok(done)
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    modified_ns: i128,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    /// The same for every state of what exists.
    pub(super) fn existence(self) -> Self {
        Self {
            modified_ns: 0,
            bytes: 0,
            inode: 0,
        }
    }
}

/// The state of several files; what is no file is not in it.
pub(super) type Stamps = BTreeMap<PathBuf, Stamp>;

/// Looks at files.
pub(super) fn stamps(paths: impl IntoIterator<Item = PathBuf>) -> Stamps {
    let stamp = |path: PathBuf| {
        let metadata = std::fs::metadata(&path).ok()?;
        let stamp = Stamp {
            modified_ns: i128::from(metadata.mtime()) * 1_000_000_000
                + i128::from(metadata.mtime_nsec()),
            bytes: metadata.len(),
            inode: metadata.ino(),
        };
        Some((path, stamp))
    };
    paths.into_iter().filter_map(stamp).collect()
}

/// The name of a file in messages: its path within the application.
pub(super) fn name_within(directory: &Path, path: &Path) -> String {
    let path = path.strip_prefix(directory).unwrap_or(path);
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path, options: Value) -> Vec<String> {
        let patterns = FilePatterns::from_json("x", &serde_json::json!({ "files": options }));
        let found = patterns.unwrap().matching(directory).unwrap();
        found
            .iter()
            .map(|path| name_within(directory, path))
            .collect()
    }

    #[test]
    fn patterns_find_files_in_their_order_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        for directory in ["web/css", "data", "node_modules/x"] {
            std::fs::create_dir_all(dir.path().join(directory)).unwrap();
        }
        for name in [
            "b.graphql",
            "a.graphql",
            ".env",
            "web/index.html",
            "data/a.json",
            "data/b.yaml",
            "data/c.yml",
            "data/skip.json",
            "node_modules/x/x.graphql",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let names = |options| names(dir.path(), options);
        use serde_json::json;
        assert_eq!(
            names(json!(["*.graphql", "a.*"])),
            ["a.graphql", "b.graphql"]
        );
        assert_eq!(names(json!([".env", ".env.local"])), [".env"]);
        assert_eq!(
            names(json!({"source": "data/*.{json,y{a,}ml}", "ignore": "**/skip.*"})),
            ["data/a.json", "data/b.yaml", "data/c.yml"]
        );
        assert_eq!(names(json!(".")).len(), 8, "{:?}", names(json!(".")));
        assert_eq!(
            names(json!("./**/*.graphql")),
            ["a.graphql", "b.graphql"],
            "node_modules is foreign"
        );
    }

    #[test]
    fn a_pattern_outside_the_application_or_without_meaning_is_refused() {
        let error = |files: Value| {
            FilePatterns::from_json("roles", &serde_json::json!({ "files": files })).unwrap_err()
        };
        for pattern in ["/etc/*", "../x/*.graphql", "a/../../b"] {
            assert!(error(pattern.into()).contains("within the application"));
        }
        assert!(error(Value::Null).contains("'roles.files' is missing or no pattern"));
        assert!(error(serde_json::json!([])).contains("'roles.files'"));
        assert!(error("a[".into()).contains("'roles.files' is 'a['"));
        let only = serde_json::json!({"source": "x", "only": "directories"});
        assert!(error(only).contains("'roles.files.only' is \"directories\""));
    }
}
