//! Just enough of Rust's lexical structure to tell code from comments and literals.

/// The text with every comment, string and character literal replaced by spaces.
///
/// Lines stay where they are, so a position in the result is a position in the source.
pub(super) fn code_only(text: &str) -> String {
    let source = text.as_bytes();
    let mut code = Vec::with_capacity(source.len());
    let mut at = 0;
    while at < source.len() {
        match end_of_skipped(source, at) {
            Some(end) => {
                code.extend(
                    source[at..end]
                        .iter()
                        .map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }),
                );
                at = end;
            }
            None => {
                code.push(source[at]);
                at += 1;
            }
        }
    }
    // Literals and comments begin and end at ASCII characters, so what is left is whole characters.
    String::from_utf8(code).expect("only whole characters were replaced")
}

/// Where the comment or literal that starts at `at` ends, if one starts there.
fn end_of_skipped(source: &[u8], at: usize) -> Option<usize> {
    let rest = &source[at..];
    match rest[0] {
        b'/' if rest.starts_with(b"//") => Some(at + line_length(rest)),
        b'/' if rest.starts_with(b"/*") => Some(at + block_comment_length(rest)),
        b'"' => Some(at + string_length(rest)),
        b'\'' => character_length(rest).map(|length| at + length),
        b'r' | b'b' | b'c' if at == 0 || !is_identifier(source[at - 1]) => {
            prefixed_length(rest).map(|length| at + length)
        }
        _ => None,
    }
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn line_length(rest: &[u8]) -> usize {
    rest.iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(rest.len())
}

/// Block comments nest.
fn block_comment_length(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// `rest` starts at the opening quote.
fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal; nothing for a lifetime or a label.
fn character_length(rest: &[u8]) -> Option<usize> {
    let first = *rest.get(1)?;
    if first == b'\\' {
        // The escaped character may itself be a quote.
        let close = rest.iter().skip(3).position(|byte| *byte == b'\'')?;
        return Some(3 + close + 1);
    }
    let width = match first {
        0x00..0x80 => 1,
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        _ => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

/// Literals with a prefix: `b'…'`, `b"…"`, `c"…"`, `r"…"`, `br#"…"#` and so on.
fn prefixed_length(rest: &[u8]) -> Option<usize> {
    let kind = usize::from(rest[0] != b'r');
    match rest.get(kind)? {
        b'"' if kind == 1 => Some(kind + string_length(&rest[kind..])),
        b'\'' if rest[0] == b'b' => character_length(&rest[kind..]).map(|length| kind + length),
        b'r' => raw_length(&rest[kind + 1..]).map(|length| kind + 1 + length),
        _ => None,
    }
}

/// `rest` starts after the `r` of a raw string; nothing for a raw identifier.
fn raw_length(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    if rest.get(hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = &rest[hashes + 1..];
    match body.windows(close.len()).position(|window| window == close) {
        Some(position) => Some(hashes + 1 + position + close.len()),
        None => Some(rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        let code = code_only(source);
        assert_eq!(code.len(), source.len(), "positions must stay");
        let squeezed = code.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed, expected);
    }

    #[test]
    fn comments_are_not_code() {
        check("a // b\nc", "a c");
        check("a /* b /* c */ d */ e", "a e");
        check("//! a\n/// b\nfn c() {}", "fn c() {}");
        check("a /* open", "a");
    }

    #[test]
    fn strings_are_not_code() {
        check(r#"f("a \" b", c)"#, "f( , c)");
        check(r##"f(r#"a " b"#, br"c\", b"d", c"e")"##, "f( , , , )");
        check("f(\"übung\", x)", "f( , x)");
        check("\"open", "");
    }

    #[test]
    fn characters_are_told_from_lifetimes() {
        check(r"f('a', '\'', '\u{41}', b'x', 'ü')", "f( , , , , )");
        check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
        check(
            "'outer: loop { break 'outer }",
            "'outer: loop { break 'outer }",
        );
    }

    #[test]
    fn identifiers_that_look_like_prefixes_are_code() {
        check("r#type = bar\"x\"", "r#type = bar");
        check("for r in b {}", "for r in b {}");
    }

    #[test]
    fn lines_stay_where_they_are() {
        assert_eq!(code_only("a\n\"b\nc\"\nd").lines().nth(3), Some("d"));
    }
}
