//! Packages: a component as a tar archive, compressed with gzip or not.

use std::fs::{self, File, Permissions};
use std::io::{self, Cursor, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Builder, EntryType, Header};

use super::unusable;
use crate::Failure;

/// What a package may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct ArchiveLimits {
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// Files and directories.
    pub(super) entries: usize,
}

impl ArchiveLimits {
    fn exceeded(self) -> Failure {
        Failure::new(
            413,
            format!(
                "a package must not have more than {} files or {} bytes",
                self.entries, self.bytes
            ),
        )
    }

    fn take(&mut self, bytes: u64) -> Result<(), Failure> {
        let whole = *self;
        let entries = self
            .entries
            .checked_sub(1)
            .ok_or_else(|| whole.exceeded())?;
        let bytes = self
            .bytes
            .checked_sub(bytes)
            .ok_or_else(|| whole.exceeded())?;
        *self = Self { bytes, entries };
        Ok(())
    }
}

/// Replaces a directory by what is in a package. Until all of it is unpacked beside it, the old one stays.
///
/// A single directory at the top of the archive is left out. Only files and directories are taken; a link or
/// a name that leads elsewhere refuses the whole package.
pub(super) fn unpack(
    package: &[u8],
    directory: &Path,
    limits: ArchiveLimits,
) -> Result<(), Failure> {
    let parent = directory.parent().unwrap_or(directory);
    fs::create_dir_all(parent).map_err(unusable)?;
    // Begins with a dot: whoever lists components does not see it.
    let fresh = tempfile::Builder::new()
        .prefix(".deploy-")
        .tempdir_in(parent)
        .map_err(unusable)?;
    let content = fresh.path().join("content");
    fs::create_dir(&content).map_err(unusable)?;
    unpack_into(package, &content, limits)?;
    let top = single_directory(&content).unwrap_or(content);
    let old = fresh.path().join("old");
    if fs::symlink_metadata(directory).is_ok() {
        fs::rename(directory, &old).map_err(unusable)?;
    }
    fs::rename(&top, directory).map_err(|error| {
        // The old one comes back.
        drop(fs::rename(&old, directory));
        unusable(error)
    })
    // The temporary directory goes, and what was there before with it.
}

fn unpack_into(package: &[u8], into: &Path, mut left: ArchiveLimits) -> Result<(), Failure> {
    let source: Box<dyn Read + '_> = match package {
        [0x1F, 0x8B, ..] => Box::new(GzDecoder::new(package)),
        _ => Box::new(Cursor::new(package)),
    };
    // One byte more than allowed is enough to notice: small packages may unpack to anything.
    let bound = left
        .bytes
        .saturating_add(left.entries as u64 * 2 * BLOCK_BYTES);
    let mut archive = Archive::new(source.take(bound));
    let broken =
        |error: io::Error| Failure::new(400, format!("'payload' is no tar archive: {error}"));
    let mut entries = 0;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            continue;
        }
        left.take(entry.size())?;
        entries += 1;
        let name = entry.path().map_err(broken)?.into_owned();
        let Some(path) = below(into, &name) else {
            let text = format!(
                "'payload' holds '{}', which leads elsewhere",
                name.display()
            );
            return Err(Failure::new(400, text));
        };
        match kind {
            EntryType::Directory => fs::create_dir_all(&path).map_err(unusable)?,
            EntryType::Regular | EntryType::Continuous => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(unusable)?;
                }
                let mut file = File::create(&path).map_err(unusable)?;
                io::copy(&mut entry, &mut file).map_err(broken)?;
                let mode = entry.header().mode().unwrap_or(0o644);
                // Whether it can be executed is all that is kept.
                let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
                file.set_permissions(Permissions::from_mode(mode))
                    .map_err(unusable)?;
            }
            _ => {
                let text = format!("'payload' holds '{}', which is no file", name.display());
                return Err(Failure::new(400, text));
            }
        }
    }
    match entries {
        0 => Err(Failure::new(400, "'payload' is an empty archive")),
        _ => Ok(()),
    }
}

/// Size of a header in an archive, and what files are padded to.
const BLOCK_BYTES: u64 = 512;

/// The place of an entry; `None` if its name is absolute or goes up.
fn below(into: &Path, name: &Path) -> Option<PathBuf> {
    let mut path = into.to_owned();
    for part in name.components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path)
}

fn single_directory(content: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(content).ok()?;
    let (first, second) = (entries.next()?.ok()?, entries.next());
    let is_directory = first.file_type().is_ok_and(|kind| kind.is_dir());
    (second.is_none() && is_directory).then(|| first.path())
}

/// The files of a directory as a compressed archive; links are left out.
pub(super) fn pack(
    directory: &Path,
    skip_node_modules: bool,
    mut limits: ArchiveLimits,
) -> Result<Vec<u8>, Failure> {
    let compressed = GzEncoder::new(Vec::new(), Compression::default());
    let mut archive = Builder::new(compressed);
    let mut waiting = vec![PathBuf::new()];
    while let Some(inner) = waiting.pop() {
        let mut entries: Vec<_> = fs::read_dir(directory.join(&inner))
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(unusable)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (name, path) = (entry.file_name(), inner.join(entry.file_name()));
            let metadata = entry.metadata().map_err(unusable)?;
            if metadata.is_dir() {
                limits.take(0)?;
                append(&mut archive, &path, EntryType::Directory, 0o755, &[])?;
                if !(skip_node_modules && name == "node_modules") {
                    waiting.push(path);
                }
            } else if metadata.is_file() {
                limits.take(metadata.len())?;
                let content = fs::read(entry.path()).map_err(unusable)?;
                let mode = metadata.permissions().mode() & 0o777;
                append(&mut archive, &path, EntryType::Regular, mode, &content)?;
            }
        }
    }
    let compressed = archive.into_inner().map_err(unusable)?;
    compressed.finish().map_err(unusable)
}

fn append(
    archive: &mut Builder<GzEncoder<Vec<u8>>>,
    path: &Path,
    kind: EntryType,
    mode: u32,
    content: &[u8],
) -> Result<(), Failure> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    archive
        .append_data(&mut header, path, content)
        .map_err(unusable)
}
