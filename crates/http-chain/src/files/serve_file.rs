//! One file or directory that the program names, as an answer.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use http::{Method, StatusCode};

use super::beneath;
use super::content::{Content, head_of, unreadable};
use super::media_type::{MediaTypes, OCTET_STREAM};
use super::site::{Moved, is_absence, method_not_allowed, redirect};
use super::tags;
use crate::request::Request;
use crate::response::Response;

/// Answers `request` with the file at `path`, or with the `index.html` of the directory there.
///
/// `path` is trusted: symbolic links are followed, so it must not come from the request. As in a file
/// server, the URL of a directory ends with a slash and that of a file does not; another is redirected, and
/// so is `…/index.html`. Other methods than `GET` and `HEAD` get 405, what is absent 404 without a body.
/// The entity tag is weak. Needs a Tokio runtime, since files are read on its blocking threads.
///
/// ```
/// use http_chain::files::serve_file;
///
/// async fn terms(request: http_chain::Request) -> http_chain::Response {
///     serve_file(&request, "legal/terms.pdf").await
/// }
/// ```
pub async fn serve_file(request: &Request, path: impl Into<PathBuf>) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return method_not_allowed();
    }
    let (head, path) = (head_of(request), path.into());
    let answering = tokio::task::spawn_blocking(move || answer(&head, &path));
    let answer = answering
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    answer.unwrap_or_else(|error| unreadable(&error, request.pathname()))
}

fn answer(request: &Request, path: &Path) -> io::Result<Response> {
    let absent = || Ok(Response::new(StatusCode::NOT_FOUND));
    let names_directory = request.pathname().ends_with('/');
    let Some(file) = open(path)? else {
        return absent();
    };
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        let index = path.join("index.html");
        return match open(&index)? {
            Some(file) if file.metadata()?.is_file() => match names_directory {
                true => serve(request, file, &index),
                false => Ok(redirect(request, Moved::Directory)),
            },
            _ => absent(),
        };
    }
    if !metadata.is_file() {
        return absent();
    }
    if names_directory {
        return Ok(redirect(request, Moved::File));
    }
    if request.pathname().ends_with("/index.html") {
        return Ok(redirect(request, Moved::Index));
    }
    serve(request, file, path)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match beneath::open_anywhere(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn serve(request: &Request, file: File, path: &Path) -> io::Result<Response> {
    let etag = tags::weak_stat(&file.metadata()?);
    let media_type = MediaTypes::default().of(path).unwrap_or(OCTET_STREAM);
    Content::file(file)?
        .media_type(media_type)
        .etag(etag)
        .answer(request.method(), request.headers(), StatusCode::OK)
}
