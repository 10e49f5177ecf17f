//! The page that lists a directory without an index.

use std::fmt::Write as _;
use std::fs::File;
use std::io;

use http::{HeaderValue, Method, StatusCode, header};

use crate::response::Response;

/// Names on one page; a page of more says that it is cut.
const MAX_ENTRIES: usize = 10_000;

/// The names in an open directory that are UTF-8, without `.` and `..`, in no order; at most one more
/// than a page shows.
#[cfg(unix)]
pub(super) fn names(directory: &File) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => names.push(name.to_owned()),
        }
        if names.len() > MAX_ENTRIES {
            break;
        }
    }
    Ok(names)
}

/// Reading an open directory has no portable form.
#[cfg(not(unix))]
pub(super) fn names(_directory: &File) -> io::Result<Vec<String>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "directories are listed on Unix only",
    ))
}

/// The page for the directory at `pathname` with these names; those of directories end with a slash.
pub(super) fn page(method: &Method, pathname: &str, mut names: Vec<String>) -> Response {
    let is_cut = names.len() > MAX_ENTRIES;
    names.truncate(MAX_ENTRIES);
    names.sort_unstable();
    let title = escape(&crate::percent::decode(pathname).unwrap_or_default());
    let mut html = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body><h1>{title}</h1>\n<ul>\n<li><a href=\"../\">../</a></li>\n"
    );
    for name in &names {
        // The dot in front keeps a name with a colon from being read as a scheme.
        let (reference, text) = (encode(name), escape(name));
        let line = writeln!(html, "<li><a href=\"./{reference}\">{text}</a></li>");
        line.expect("a string takes everything");
    }
    html.push_str("</ul>\n");
    if is_cut {
        html.push_str("<p>There are more.</p>\n");
    }
    html.push_str("</body></html>\n");
    let length = html.len();
    let mut response = Response::new(StatusCode::OK);
    let fields = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fields {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length.into());
    if *method != Method::HEAD {
        response.set_body(html);
    }
    response
}

/// Text between tags or in a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A name as part of a URL: all but the unreserved characters of RFC 3986 (section 2.3), and the slash
/// behind a directory, in percent-encoding.
fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            other => {
                write!(encoded, "%{other:02X}").expect("a string takes everything");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;

    #[test]
    fn names_are_data_in_the_page_and_in_its_links() {
        let names = vec![
            "<b>&\"'".to_owned(),
            "a:b?c#d%.txt".to_owned(),
            "sub/".to_owned(),
        ];
        let response = page(&Method::GET, "/x%3Cy/", names);
        let Body::Full(html) = response.into_body() else {
            panic!("a page in memory")
        };
        let html = String::from_utf8(html.to_vec()).unwrap();
        for expected in [
            "<title>/x&lt;y/</title>",
            "<a href=\"./%3Cb%3E%26%22%27\">&lt;b&gt;&amp;&quot;&#39;</a>",
            "<a href=\"./a%3Ab%3Fc%23d%25.txt\">a:b?c#d%.txt</a>",
            "<a href=\"./sub/\">sub/</a>",
        ] {
            assert!(html.contains(expected), "{expected} in {html}");
        }
    }

    #[test]
    fn a_page_has_a_limit() {
        let names = (0..=MAX_ENTRIES).map(|n| n.to_string()).collect();
        let Body::Full(html) = page(&Method::GET, "/", names).into_body() else {
            panic!("a page in memory")
        };
        let html = String::from_utf8(html.to_vec()).unwrap();
        assert_eq!(html.matches("<li>").count(), MAX_ENTRIES + 1);
        assert!(html.contains("There are more."));
    }
}
