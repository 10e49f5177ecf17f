//! The README's commands, run in order against a fresh server, print what the README says.
#![forbid(unsafe_code)]

use std::process::Command;

use motet_tests::motet::workspace;
use motet_tests::{Builder, Motet};

/// A command of a `console` block and the lines printed below it.
struct Example {
    command: String,
    expected: String,
}

fn examples(readme: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) => match line.strip_prefix("$ ") {
                Some(command) => {
                    examples.push(Example {
                        command: command.to_owned(),
                        expected: String::new(),
                    });
                }
                None => {
                    let expected =
                        &mut examples.last_mut().expect("a command comes first").expected;
                    expected.push_str(line);
                    expected.push('\n');
                }
            },
            (false, _) => {}
        }
    }
    examples
}

/// The command with this server's ports and root directory in place of the defaults.
fn here(command: &str, motet: &Motet) -> String {
    let port = |setting: &str| motet.address(setting).port().to_string();
    let mqtt = format!("-p {} ", port("mqtt.network.port"));
    command
        .replace(
            "localhost:9926",
            &format!("localhost:{}", port("http.port")),
        )
        .replace(
            "localhost:9925",
            &format!("localhost:{}", port("operationsApi.network.port")),
        )
        .replace("mosquitto_pub ", &format!("mosquitto_pub {mqtt}"))
        .replace("mosquitto_sub ", &format!("mosquitto_sub {mqtt}"))
        .replace("~/motet/", &format!("{}/", motet.root().display()))
}

/// Whether `text` is `pattern`, in which `…` stands for anything on one line.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut patterns, mut texts) = (pattern.trim().lines(), text.trim().lines());
    loop {
        match (patterns.next(), texts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(text)) if line_matches(pattern, text.trim_end()) => {}
            _ => return false,
        }
    }
}

fn line_matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn every_command_of_the_readme_prints_what_it_says() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let examples = examples(&readme);
    assert!(
        examples.len() >= 11,
        "only {} commands were found",
        examples.len()
    );
    let motet = Builder::new()
        .application(&workspace().join("examples/weather"))
        .start();
    let mut wrong = Vec::new();
    for Example { command, expected } in &examples {
        // A client that never gets its answer must not hold the tests for ever.
        let output = Command::new("timeout")
            .args(["120", "bash", "-c", &here(command, &motet)])
            .current_dir(workspace())
            .output();
        let output = output.unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        if !matches(expected, &printed) {
            let errors = String::from_utf8_lossy(&output.stderr);
            wrong.push(format!(
                "$ {command}\nprinted:\n{printed}{errors}\nexpected:\n{expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_ellipsis_stands_for_anything_on_one_line_and_nothing_else_does() {
    assert!(matches("a…c\n", "abbc"));
    assert!(matches("id: …\n", "id: 17\n"));
    assert!(!matches("a…c\n", "abd"));
    assert!(!matches("a\n", "a\nb"));
    assert!(!matches("a\nb\n", "a"));
}
