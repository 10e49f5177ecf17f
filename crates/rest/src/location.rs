//! `Location`: the URL of a record (`rest.md` P3).

use resource::Key;

/// The path of the record with this key in the resource exported at `export`.
///
/// Slashes of a key stay, since `/T/a/b` and `/T/a%2Fb` are the same record; dots do not, since what
/// follows one could be a suffix.
pub(crate) fn of(export: &str, key: &Key) -> String {
    let mut path = path_of(export);
    path.push('/');
    let text = key.to_string();
    // A slash at the end would make it a collection.
    let (inner, last_slashes) = text.split_at(text.trim_end_matches('/').len());
    push_encoded(inner, |byte| byte == b'/', &mut path);
    push_encoded(last_slashes, |_| false, &mut path);
    path
}

/// The path of the resource exported at `export`; empty for the root.
pub(crate) fn path_of(export: &str) -> String {
    let mut path = String::with_capacity(export.len() + 48);
    for segment in export.split('/').filter(|segment| !segment.is_empty()) {
        path.push('/');
        push_encoded(segment, |byte| byte == b'.', &mut path);
    }
    path
}

/// Percent-encodes everything but unreserved characters (RFC 3986 §2.3) without the dot, and `kept`.
fn push_encoded(text: &str, kept: impl Fn(u8) -> bool, path: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || kept(byte) {
            path.push(char::from(byte));
        } else {
            path.push('%');
            path.push(char::from(HEX[usize::from(byte >> 4)]));
            path.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_a_location_leads_back_to_its_key() {
        for (export, key, expected) in [
            ("Dog", Key::from("a b"), "/Dog/a%20b"),
            ("api/dogs", Key::from("x/y"), "/api/dogs/x/y"),
            ("", Key::from("readme.json"), "/readme%2Ejson"),
            ("v1.0", Key::from("é/"), "/v1.0/%C3%A9%2F"),
            ("Dog", Key::from("?#%\r\n"), "/Dog/%3F%23%25%0D%0A"),
            ("Dog", Key::Int(-7), "/Dog/-7"),
        ] {
            assert_eq!(of(export, &key), expected);
        }
    }
}
