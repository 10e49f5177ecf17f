//! Other programs as clients: run to the end, or read line by line while they run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use crate::wait::LIMIT;

/// Standard output of a program that succeeds.
///
/// # Panics
///
/// If it cannot be run or fails.
pub fn output(program: &str, arguments: &[&str]) -> String {
    // A client that never gets its answer must not hold the tests for ever; 127 is an unknown program.
    let output = Command::new("timeout")
        .args(["60", program])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("timeout is part of every Linux system");
    assert!(
        output.status.code() != Some(127),
        "{program} is missing; `cargo xtask test` installs it"
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// A program that keeps running and prints lines. Dropping it ends it.
pub struct Lines {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Lines {
    /// Starts the program.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn of(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask test` installs it"));
        let output = child.stdout.take().expect("stdout is piped");
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line.
    ///
    /// # Panics
    ///
    /// If none comes within the time limit.
    pub fn next(&self) -> String {
        self.lines
            .recv_timeout(LIMIT)
            .expect("a line within the time limit")
    }

    /// Waits until the program has printed its last line.
    ///
    /// # Panics
    ///
    /// If it goes on for longer than the time limit.
    pub fn wait_for_end(&self) {
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the program does not end"),
            }
        }
    }

    /// The next line that `wanted` accepts; others are skipped.
    ///
    /// # Panics
    ///
    /// If none comes within the time limit.
    pub fn find(&self, mut wanted: impl FnMut(&str) -> bool) -> String {
        loop {
            let line = self.next();
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Writes to the standard input of the program.
    pub fn write(&mut self, text: &str) {
        self.child
            .stdin
            .as_mut()
            .expect("stdin is piped")
            .write_all(text.as_bytes())
            .expect("the program reads");
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
