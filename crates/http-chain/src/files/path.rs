//! From the path of a URL to a relative path that stays where it starts.

use std::path::PathBuf;

use crate::percent;

/// A path below the root that has no way up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SitePath {
    /// Only normal components; empty for the root itself.
    pub(super) relative: PathBuf,
    /// Whether it ends in a slash and so can only be a directory.
    pub(super) names_directory: bool,
}

/// Reads `path` (percent-encoded, absolute or empty). `None` if no file can have this path.
///
/// It is split first and then decoded once. A segment that decodes to something with a separator, a
/// step up, NUL or a control character is refused whatever its spelling, so there is no second meaning
/// for the file system to find.
pub(super) fn decode(path: &str, allows_dotfiles: bool) -> Option<SitePath> {
    let mut relative = PathBuf::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let name = percent::decode(segment).ok()?;
        if !is_file_name(&name) || (name.starts_with('.') && !allows_dotfiles) {
            return None;
        }
        relative.push(&*name);
    }
    Some(SitePath {
        relative,
        names_directory: path.ends_with('/'),
    })
}

fn is_file_name(name: &str) -> bool {
    // On Windows a colon names a drive or a stream, and blanks and dots at the end are ignored.
    let is_odd_on_windows = cfg!(windows) && (name.contains(':') || name.ends_with([' ', '.']));
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
        let plain =
            |path: &str| decode(path, false).map(|path| (path.relative, path.names_directory));
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
    fn dotfiles_are_refused_unless_allowed() {
        assert_eq!(decode("/.git/config", false), None);
        assert_eq!(decode("/a/%2Ehtaccess", false), None);
        assert!(decode("/.well-known/x", true).is_some());
        assert_eq!(decode("/..", true), None);
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
            let Some(decoded) = decode(&format!("/{path}"), true) else {
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
