//! From the path of a URL to a relative path that stays where it starts.

use std::path::PathBuf;

use crate::percent;

/// A path below the root that has no way up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SitePath {
    /// Only normal components; empty for the root itself.
    pub relative: PathBuf,
    /// Whether it ends in a slash and so can only be a directory.
    pub names_directory: bool,
    /// Whether some name in it begins with a dot.
    pub is_hidden: bool,
}

/// A path that no file can have, or none that all systems understand alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a path of a file")]
pub struct InvalidSitePath;

/// Reads `path` (percent-encoded, absolute or empty).
///
/// It is split first and then decoded once. A segment that decodes to something with a separator, a
/// step up, NUL or a control character is refused whatever its spelling, so there is no second meaning
/// for the file system to find. With `colons` off, so is one with a colon.
///
/// ```
/// use http_chain::files::path::decode;
///
/// assert_eq!(decode("/docs/a%20b.txt", true).unwrap().relative.to_str(), Some("docs/a b.txt"));
/// for bad in ["/../x", "/%2e%2e/x", "/a%2fb", "/a%5cb", "/%00", "/%zz"] {
///     assert!(decode(bad, true).is_err());
/// }
/// ```
///
/// # Errors
///
/// [`InvalidSitePath`].
pub fn decode(path: &str, colons: bool) -> Result<SitePath, InvalidSitePath> {
    let mut relative = PathBuf::new();
    let mut is_hidden = false;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let name = percent::decode(segment).map_err(|_| InvalidSitePath)?;
        if !is_file_name(&name) || (name.contains(':') && !colons) {
            return Err(InvalidSitePath);
        }
        is_hidden |= name.starts_with('.');
        relative.push(&*name);
    }
    Ok(SitePath {
        relative,
        names_directory: path.ends_with('/'),
        is_hidden,
    })
}

fn is_file_name(name: &str) -> bool {
    // Windows ignores blanks and dots at the end.
    let is_odd_on_windows = cfg!(windows) && name.ends_with([' ', '.']);
    !matches!(name, "" | "." | "..")
        && !name.contains(['/', '\\'])
        && !name.contains(char::is_control)
        && !is_odd_on_windows
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use super::*;

    #[test]
    fn plain_paths_are_decoded_once() {
        let plain = |path: &str| {
            decode(path, true)
                .ok()
                .map(|path| (path.relative, path.names_directory))
        };
        assert_eq!(
            plain("/a/b%20c.html"),
            Some((PathBuf::from("a/b c.html"), false))
        );
        assert_eq!(plain("/a//b/"), Some((PathBuf::from("a/b"), true)));
        assert_eq!(plain("/"), Some((PathBuf::new(), true)));
        assert_eq!(plain(""), Some((PathBuf::new(), false)));
        assert_eq!(
            plain("/%252e%252e/x"),
            Some((PathBuf::from("%2e%2e/x"), false))
        );
    }

    #[test]
    fn names_with_a_dot_in_front_are_marked_however_they_are_spelt() {
        for hidden in ["/.git/config", "/a/%2Ehtaccess", "/.well-known/x", "/..."] {
            assert!(decode(hidden, true).unwrap().is_hidden, "{hidden}");
        }
        assert!(!decode("/a.b/c.", true).unwrap().is_hidden);
    }

    #[test]
    fn what_systems_read_differently_is_refused() {
        for bad in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/%2e%2e",
            "/.%2e/",
            "/%2E",
            "/a%2Fb",
            "/a%2f..%2fb",
            "/a\\b",
            "/a%5Cb",
            "/..%5c",
            "/%00",
            "/a%00.txt",
            "/a%0a",
            "/%7f",
            "/%",
            "/%2",
            "/%gg",
            "/%c0%ae%c0%ae/",
            "/%c0%af",
            "/%e0%80%ae",
            "/%ff",
            "/%ed%a0%80",
        ] {
            assert_eq!(decode(bad, true), Err(InvalidSitePath), "{bad}");
        }
        for colon in ["/c:/x", "/a:b", "/%3a"] {
            assert_eq!(decode(colon, false), Err(InvalidSitePath), "{colon}");
            assert!(decode(colon, true).is_ok(), "{colon}");
        }
    }

    #[test]
    fn the_seeds_of_the_fuzz_target_are_decoded_or_refused() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/site_path");
        for seed in std::fs::read_dir(seeds).unwrap() {
            let seed = std::fs::read_to_string(seed.unwrap().path()).unwrap();
            for end in (0..=seed.len()).filter(|end| seed.is_char_boundary(*end)) {
                if let Ok(path) = decode(&seed[..end], false) {
                    let stays = path
                        .relative
                        .components()
                        .all(|c| matches!(c, Component::Normal(_)));
                    assert!(stays, "{seed}");
                }
            }
        }
    }

    /// Every sequence of up to four of these pieces, which between them spell a step up, a separator
    /// and an absolute path in all the ways servers have fallen for.
    #[test]
    fn no_spelling_leaves_the_root() {
        const PIECES: [&str; 22] = [
            "/",
            "//",
            "..",
            ".",
            "%2e",
            "%2E%2e",
            ".%2e",
            "%2f",
            "%2F",
            "%5c",
            "\\",
            "%00",
            "%c0%ae",
            "%c0%af",
            "%252e",
            "%uff0e",
            "%e0%80%ae",
            "C:",
            "%3a",
            "etc",
            "passwd%0a",
            "%",
        ];
        let mut paths = vec![String::new()];
        for _ in 0..4 {
            let longer = paths
                .iter()
                .flat_map(|path| PIECES.map(|piece| format!("{path}{piece}")));
            paths.extend(longer.collect::<Vec<_>>());
            paths.sort_unstable();
            paths.dedup();
        }
        assert!(paths.len() > 200_000);
        for path in paths {
            let Ok(decoded) = decode(&format!("/{path}"), true) else {
                continue;
            };
            let stays = decoded
                .relative
                .components()
                .all(|component| matches!(component, Component::Normal(_)));
            let is_plain = !decoded.relative.to_string_lossy().contains(['\\', '\0']);
            assert!(
                stays && is_plain && !decoded.relative.is_absolute(),
                "{path}"
            );
            assert!(
                Path::new("/root")
                    .join(&decoded.relative)
                    .starts_with("/root"),
                "{path}"
            );
        }
    }
}
