//! Conversations, request and response side by side, as a client sees them.
//!
//! Each file in `tests/golden` is one conversation with an empty service: lines that begin with `> ` are sent,
//! lines that begin with `< ` were answered, others are remarks. With the variable `UPDATE_GOLDEN` in the
//! environment the answers are written anew; look at the difference before you keep it.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Call, Reply, Service};

#[tokio::test]
async fn conversations() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let expected = fs::read_to_string(&file).unwrap();
        let actual = replay(&expected).await;
        if is_update() {
            fs::write(&file, actual).unwrap();
        } else {
            assert_eq!(actual, expected, "{}", file.display());
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a switch for the developer, not a setting"
)]
fn is_update() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// The conversation with the answers that are given now.
async fn replay(conversation: &str) -> String {
    let service = Service::new();
    let mut out = String::new();
    let mut request: Vec<&str> = Vec::new();
    for line in conversation.lines().chain([""]) {
        match line.strip_prefix('>') {
            Some(sent) => request.push(sent.strip_prefix(' ').unwrap_or(sent)),
            None if !request.is_empty() => {
                let reply = service.send(read_call(&request)).await;
                write_reply(&reply, &mut out);
                request.clear();
            }
            None => {}
        }
        if !line.starts_with('<') {
            out.push_str(line);
            out.push('\n');
        }
    }
    // The line that was added to end the last request.
    out.pop();
    out
}

fn read_call<'a>(lines: &[&'a str]) -> Call<'a> {
    let (method, url) = lines[0].split_once(' ').expect("method and target");
    let mut call = Call::new(method, url);
    let mut rest = lines[1..].iter();
    for line in rest.by_ref().take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").expect("a header field");
        call = call.header(name, value);
    }
    let body: Vec<&str> = rest.copied().collect();
    call.untyped_body(body.join("\n"))
}

fn write_reply(reply: &Reply, out: &mut String) {
    out.push_str(&format!("< {}\n", reply.status));
    let mut fields: Vec<String> = reply
        .headers
        .iter()
        .map(|(name, value)| format!("< {name}: {}\n", value.to_str().unwrap()))
        .collect();
    fields.sort();
    out.extend(fields);
    match std::str::from_utf8(reply.bytes()) {
        Ok("") => {}
        Ok(text) => {
            out.push_str("<\n");
            out.extend(text.lines().map(|line| format!("< {line}\n")));
        }
        Err(_) => {
            let hex: String = reply
                .bytes()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            out.push_str(&format!("<\n< ({hex})\n"));
        }
    }
}
