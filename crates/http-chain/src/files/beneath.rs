//! Opening a file so that no symbolic link leads out of the root.
//!
//! On Linux the kernel guarantees it while it walks the path (`openat2` with `RESOLVE_BENEATH`), so a
//! link that appears between a check and the opening gains nothing. Elsewhere, and on kernels or in
//! sandboxes without `openat2`, the resolved path is checked and then opened.

use std::fs::File;
use std::io;
use std::path::Path;

/// Opens `relative` (normal components only) below `root` for reading, without waiting for the other
/// end of a pipe.
///
/// # Errors
///
/// `NotFound` for a link that leads out of the root, otherwise the error of the system.
pub(super) fn open(root: &Path, relative: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    match linux::open(root, relative) {
        Err(error) if linux::is_unsupported(&error) => {}
        result => return result,
    }
    checked::open(root, relative)
}

/// Opens `path` wherever symbolic links lead.
///
/// # Errors
///
/// The error of the system.
pub(super) fn open_anywhere(path: &Path) -> io::Result<File> {
    checked::open_for_reading(&path.canonicalize()?)
}

/// Whether the kernel knows from its caches that there is nothing at `relative`. It never waits for a disk,
/// so a worker may ask; `false` says nothing.
pub(super) fn is_known_absent(root: &Path, relative: &Path) -> bool {
    #[cfg(target_os = "linux")]
    return linux::is_known_absent(root, relative);
    #[cfg(not(target_os = "linux"))]
    return false;
}

/// Whether `error` is "too many symbolic links".
#[cfg(unix)]
pub(super) fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Whether `error` is "too many symbolic links".
#[cfg(not(unix))]
pub(super) fn is_loop(_error: &io::Error) -> bool {
    false
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open as open_path, openat2};
    use rustix::io::Errno;

    /// The kernel gives up on a walk that raced with a rename, and asks to try again.
    const ATTEMPTS: usize = 8;

    pub(super) fn open(root: &Path, relative: &Path) -> io::Result<File> {
        match open_beneath(root, relative) {
            // A link with an absolute target is refused even if it points into the root. Follow it by
            // name, and let the kernel check the result.
            Err(Errno::XDEV) => {
                let target = root.join(relative).canonicalize()?;
                let inside = target
                    .strip_prefix(root.canonicalize()?)
                    .map_err(|_| io::ErrorKind::NotFound)?;
                open_beneath(root, inside).map_err(|errno| match errno {
                    Errno::XDEV => io::ErrorKind::NotFound.into(),
                    other => other.into(),
                })
            }
            result => result.map_err(io::Error::from),
        }
    }

    pub(super) fn is_known_absent(root: &Path, relative: &Path) -> bool {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let any = OFlags::PATH | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::CACHED;
        let Ok(root) = openat2(CWD, root, directory, Mode::empty(), ResolveFlags::CACHED) else {
            return false;
        };
        !relative.as_os_str().is_empty()
            && matches!(
                openat2(&root, relative, any, Mode::empty(), beneath),
                Err(Errno::NOENT | Errno::NOTDIR)
            )
    }

    /// `ENOSYS` before Linux 5.6, `EPERM` in sandboxes that do not know the call.
    pub(super) fn is_unsupported(error: &io::Error) -> bool {
        let unsupported = [Errno::NOSYS, Errno::PERM].map(|errno| Some(errno.raw_os_error()));
        unsupported.contains(&error.raw_os_error())
    }

    fn open_beneath(root: &Path, relative: &Path) -> Result<File, Errno> {
        let directory = open_path(
            root,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let relative = if relative.as_os_str().is_empty() {
            Path::new(".")
        } else {
            relative
        };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut result = Err(Errno::AGAIN);
        for _ in 0..ATTEMPTS {
            result = openat2(&directory, relative, flags, Mode::empty(), resolve);
            if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        result.map(File::from)
    }
}

mod checked {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::path::Path;

    pub(super) fn open(root: &Path, relative: &Path) -> io::Result<File> {
        let target = root.join(relative).canonicalize()?;
        if !target.starts_with(root.canonicalize()?) {
            return Err(io::ErrorKind::NotFound.into());
        }
        open_for_reading(&target)
    }

    /// `resolved` has no symbolic links.
    pub(super) fn open_for_reading(resolved: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;

            use rustix::fs::OFlags;
            // The path is resolved: a link in its last place has just been put there.
            let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
            options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
        }
        options.open(resolved)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn site() -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("sub/inside"), "inside").unwrap();
        fs::write(base.path().join("secret"), "secret").unwrap();
        symlink("sub/inside", root.join("relative")).unwrap();
        symlink(root.join("sub/inside"), root.join("absolute")).unwrap();
        symlink("../secret", root.join("up")).unwrap();
        symlink(base.path().join("secret"), root.join("out")).unwrap();
        symlink(base.path(), root.join("parent")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        base
    }

    fn check(open: impl Fn(&Path, &Path) -> io::Result<File>) {
        let base = site();
        let root = base.path().join("root");
        for inside in ["sub/inside", "relative", "absolute"] {
            let mut text = String::new();
            open(&root, Path::new(inside))
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(text, "inside", "{inside}");
        }
        let secret = format!("magic{}", base.path().join("secret").display());
        for outside in [
            "up",
            "out",
            "parent/secret",
            "parent/root/../secret",
            "loop",
            &secret,
        ] {
            assert!(open(&root, Path::new(outside)).is_err(), "{outside}");
        }
        assert!(
            open(&root, Path::new(""))
                .unwrap()
                .metadata()
                .unwrap()
                .is_dir()
        );
    }

    #[test]
    fn links_within_the_root_are_followed_and_others_are_not() {
        check(open);
    }

    #[test]
    fn only_what_is_absent_is_known_to_be() {
        let base = site();
        let root = base.path().join("root");
        for present in ["", "sub", "sub/inside", "relative", "absolute", "up"] {
            assert!(!is_known_absent(&root, Path::new(present)), "{present}");
        }
        for absent in ["later", "sub/later"] {
            // What the caches say about it depends on the file system, but not for longer than it is true.
            let _ = open(&root, Path::new(absent));
            let _ = is_known_absent(&root, Path::new(absent));
            fs::write(root.join(absent), "").unwrap();
            assert!(!is_known_absent(&root, Path::new(absent)), "{absent}");
        }
    }

    #[test]
    fn the_same_holds_without_openat2() {
        check(checked::open);
    }
}
