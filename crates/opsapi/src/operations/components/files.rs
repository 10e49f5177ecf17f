//! Single files of a component.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use resource::Date;

use super::{date, unusable};
use crate::Failure;

/// Names in a path; nobody nests deeper.
const MAX_DEPTH: usize = 64;

/// A file that was read.
pub(super) struct Found {
    pub(super) content: Vec<u8>,
    pub(super) created: Option<Date>,
    pub(super) modified: Option<Date>,
}

pub(super) fn read(
    project: &str,
    directory: &Path,
    file: &str,
    limit: u64,
) -> Result<Found, Failure> {
    let missing = || Failure::new(404, format!("Component file not found '{project}/{file}'"));
    let path = resolve(directory, file)?;
    let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Err(missing());
    }
    let file = File::open(&path).map_err(|_| missing())?;
    let metadata = file.metadata().map_err(unusable)?;
    let mut content = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut content)
        .map_err(unusable)?;
    if content.len() as u64 > limit {
        let text = format!("the file has more than {limit} bytes");
        return Err(Failure::new(413, text));
    }
    Ok(Found {
        content,
        created: date(metadata.created()),
        modified: date(metadata.modified()),
    })
}

/// Writes a file, or makes a directory if there is no content. Directories on the way are made.
pub(super) fn write(directory: &Path, file: &str, content: Option<&[u8]>) -> Result<(), Failure> {
    let path = resolve(directory, file)?;
    let Some(content) = content else {
        return fs::create_dir_all(&path).map_err(unusable);
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(unusable)?;
    }
    // Whole or not at all: the server may be reading it, since changes are live.
    let mut beside = path.clone().into_os_string();
    beside.push(format!(".{}.tmp", uuid::Uuid::new_v4()));
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, content).and_then(|()| fs::rename(&beside, &path));
    written.map_err(|error| {
        drop(fs::remove_file(&beside));
        unusable(error)
    })
}

pub(super) fn remove(project: &str, directory: &Path, file: &str) -> Result<(), Failure> {
    let path = resolve(directory, file)?;
    let removed = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
        Ok(_) => fs::remove_file(&path),
        Err(error) => Err(error),
    };
    removed.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(404, format!("Component file not found '{project}/{file}'"))
        }
        _ => unusable(error),
    })
}

/// The path of a file below `directory`. Neither `..` nor a link on the way leads out of it.
fn resolve(directory: &Path, file: &str) -> Result<PathBuf, Failure> {
    let invalid = || Failure::new(400, "Invalid file path");
    if file.contains('\0') {
        return Err(invalid());
    }
    let mut path = directory.to_owned();
    let mut depth = 0;
    for part in Path::new(file).components() {
        let Component::Normal(name) = part else {
            return Err(invalid());
        };
        // The part before this one has to be a directory, or not there yet.
        if is_link(&path) {
            return Err(invalid());
        }
        path.push(name);
        depth += 1;
    }
    match (1..=MAX_DEPTH).contains(&depth) && !is_link(&path) {
        true => Ok(path),
        false => Err(invalid()),
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}
