//! Which files of a directory belong to the site: the patterns of `static.files`.
//!
//! The part of a pattern before its first wildcard is where the site begins: `web/**` serves
//! `web/index.html` as `/index.html`. Several patterns lie over each other, the first on top.

use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::config::StaticFilesError;

/// Alternatives that the braces of one pattern may stand for.
const MAX_ALTERNATIVES: usize = 64;

/// `*` stays within a segment; names with a dot in front are refused elsewhere.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// The patterns that begin in the same directory.
#[derive(Debug)]
pub(super) struct Layer {
    /// Relative to the root; empty for the root itself.
    pub(super) base: PathBuf,
    patterns: Vec<Pattern>,
}

impl Layer {
    /// Whether a file (relative to the root) belongs to it.
    pub(super) fn covers(&self, file: &Path) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.matches_path_with(file, OPTIONS))
    }
}

/// Reads `patterns`, relative to `root`. None at all, `.` and `./` mean everything; one that names a
/// directory means everything in it.
///
/// # Errors
///
/// [`StaticFilesError::Pattern`] for one that is malformed or leads out of the root.
pub(super) fn layers(root: &Path, patterns: &[String]) -> Result<Vec<Layer>, StaticFilesError> {
    let everything = [".".to_owned()];
    let patterns = match patterns {
        [] => &everything,
        patterns => patterns,
    };
    let mut layers: Vec<Layer> = Vec::new();
    for given in patterns {
        for text in alternatives(given)? {
            let (base, pattern) = read(root, given, &text)?;
            match layers.iter_mut().find(|layer| layer.base == base) {
                Some(layer) => layer.patterns.push(pattern),
                None => layers.push(Layer {
                    base,
                    patterns: vec![pattern],
                }),
            }
        }
    }
    Ok(layers)
}

/// Reads patterns of files to leave out; they have no base.
pub(super) fn ignored(root: &Path, patterns: &[String]) -> Result<Option<Layer>, StaticFilesError> {
    let mut found = Vec::new();
    for given in patterns {
        for text in alternatives(given)? {
            found.push(read(root, given, &text)?.1);
        }
    }
    Ok((!found.is_empty()).then(|| Layer {
        base: PathBuf::new(),
        patterns: found,
    }))
}

/// The fixed part of one pattern without braces, and the pattern itself.
fn read(root: &Path, given: &str, text: &str) -> Result<(PathBuf, Pattern), StaticFilesError> {
    let wrong = |problem: &str| StaticFilesError::Pattern {
        pattern: given.to_owned(),
        problem: problem.to_owned(),
    };
    let mut segments = Vec::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => segments.push(name.to_str().unwrap_or_default()),
            Component::CurDir => {}
            _ => return Err(wrong("it leads out of the directory")),
        }
    }
    let is_wild = |segment: &&str| segment.contains(['*', '?', '[']);
    let fixed = segments.iter().take_while(|s| !is_wild(s)).count();
    let mut base: PathBuf = segments[..fixed].iter().collect();
    if fixed == segments.len() {
        match root.join(&base).is_dir() {
            true => segments.push("**"),
            false => {
                base.pop();
            }
        }
    }
    let pattern = Pattern::new(&segments.join("/")).map_err(|error| wrong(error.msg))?;
    Ok((base, pattern))
}

/// `a.{b,c}` stands for `a.b` and `a.c`; braces may contain braces.
fn alternatives(pattern: &str) -> Result<Vec<String>, StaticFilesError> {
    let wrong = |problem: &str| StaticFilesError::Pattern {
        pattern: pattern.to_owned(),
        problem: problem.to_owned(),
    };
    let mut pending = vec![pattern.to_owned()];
    let mut complete = Vec::new();
    while let Some(text) = pending.pop() {
        // The last opening brace has no brace inside.
        let Some(open) = text.rfind('{') else {
            if text.contains('}') {
                return Err(wrong("a '}' has no '{'"));
            }
            complete.push(text);
            continue;
        };
        let Some(length) = text[open..].find('}') else {
            return Err(wrong("a '{' has no '}'"));
        };
        let (before, inside) = (&text[..open], &text[open + 1..open + length]);
        let behind = &text[open + length + 1..];
        let choices: Vec<_> = inside.split(',').collect();
        // The stack turns the order around, and the first alternative has to come first.
        for choice in choices.iter().rev() {
            pending.push(format!("{before}{choice}{behind}"));
        }
        if pending.len() + complete.len() > MAX_ALTERNATIVES {
            return Err(wrong("its braces stand for too many alternatives"));
        }
    }
    Ok(complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str]) -> Vec<Layer> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("web/css")).unwrap();
        let patterns: Vec<_> = patterns.iter().map(|&text| text.to_owned()).collect();
        layers(root.path(), &patterns).unwrap()
    }

    #[test]
    fn the_part_before_the_first_wildcard_is_the_base() {
        let cases = [
            ("web/**", "web", "web/a/b.css", true),
            ("web/**", "web", "web/b.css", true),
            ("web/**", "web", "other/b.css", false),
            ("web/*", "web", "web/b.css", true),
            ("web/*", "web", "web/a/b.css", false),
            ("./web/**/*.css", "web", "web/a/c/b.css", true),
            ("web/**/*.css", "web", "web/b.css", true),
            ("web/**/*.css", "web", "web/b.js", false),
            ("w?b/*.css", "", "web/b.css", true),
            ("web", "web", "web/css/b.css", true),
            ("web/", "web", "web/css/b.css", true),
            ("web/index.html", "web", "web/index.html", true),
            ("web/index.html", "web", "web/other.html", false),
            (".", "", "web/b.css", true),
            ("./", "", "web/b.css", true),
            ("**", "", "a", true),
        ];
        for (pattern, base, file, covers) in cases {
            let layers = check(&[pattern]);
            assert_eq!(layers.len(), 1, "{pattern}");
            assert_eq!(layers[0].base, Path::new(base), "{pattern}");
            assert_eq!(
                layers[0].covers(Path::new(file)),
                covers,
                "{pattern} {file}"
            );
        }
        assert!(check(&[])[0].covers(Path::new("a/b")));
    }

    #[test]
    fn braces_stand_for_alternatives_and_equal_bases_are_one_layer() {
        let bases = |patterns: &[&str]| {
            let layers = check(patterns);
            layers
                .into_iter()
                .map(|layer| layer.base)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            bases(&["web/*.{html,css}", "web/css/*", "web/*.js"]),
            [Path::new("web"), Path::new("web/css")]
        );
        assert_eq!(
            bases(&["{a,b/{c,d}}/**"]),
            [Path::new("a"), Path::new("b/c"), Path::new("b/d")]
        );
        let layers = check(&["web/*.{html,css}"]);
        for (file, covers) in [
            ("web/a.html", true),
            ("web/a.css", true),
            ("web/a.js", false),
        ] {
            assert_eq!(layers[0].covers(Path::new(file)), covers, "{file}");
        }
    }

    #[test]
    fn a_pattern_that_leads_out_or_is_malformed_is_refused() {
        for bad in [
            "/etc/*",
            "../*",
            "web/../../*",
            "web/***",
            "a[",
            "{a",
            "a}",
            "{a,b}}",
            "{0,1}{0,1}{0,1}{0,1}{0,1}{0,1}{0,1}",
        ] {
            let error = layers(Path::new("."), &[bad.to_owned()]).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}
