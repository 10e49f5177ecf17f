//! The result of the checks, and how it is written.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    name: &'static str,
    failure: Option<String>,
    note: Option<String>,
}

impl Check {
    /// The error says what is wrong.
    pub fn new(name: &'static str, result: Result<(), String>) -> Self {
        Self {
            name,
            failure: result.err(),
            note: None,
        }
    }

    /// One that always passes, with what there is to say.
    pub fn informational(name: &'static str, note: Option<String>) -> Self {
        Self {
            name,
            failure: None,
            note,
        }
    }
}

/// All checks of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    checks: Vec<Check>,
}

impl Report {
    /// These checks.
    pub fn new(checks: Vec<Check>) -> Self {
        Self { checks }
    }

    /// Whether every check passed.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.failure.is_none())
    }

    pub(super) fn push(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// Without the checks of these names.
    pub(super) fn excluding(mut self, names: &[String]) -> Self {
        let is_excluded = |check: &Check| names.iter().any(|name| name == check.name);
        self.checks.retain(|check| !is_excluded(check));
        self
    }

    /// `ok`, or a line for each check.
    pub(super) fn text(&self, probe: &str, is_verbose: bool, with_details: bool) -> String {
        if self.is_ok() && !is_verbose {
            return "ok\n".to_owned();
        }
        let mut text = String::new();
        for Check {
            name,
            failure,
            note,
        } in &self.checks
        {
            let note = note.as_ref().filter(|_| with_details);
            // Writing to a string does not fail.
            let _ = match (failure, note) {
                (None, None) => writeln!(text, "[+]{name} ok"),
                (None, Some(note)) => writeln!(text, "[+]{name} ok: {note}"),
                (Some(detail), _) if with_details => writeln!(text, "[-]{name} failed: {detail}"),
                (Some(_), _) => writeln!(text, "[-]{name} failed"),
            };
        }
        let end = if self.is_ok() { "passed" } else { "failed" };
        let _ = writeln!(text, "{probe} check {end}");
        text
    }

    pub(super) fn json(&self, with_details: bool) -> String {
        let mut checks = Map::new();
        for Check {
            name,
            failure,
            note,
        } in &self.checks
        {
            let note = note.as_ref().filter(|_| with_details);
            let value = match (failure, note) {
                (None, None) => json!({ "status": "pass" }),
                (None, Some(note)) => json!({ "status": "pass", "detail": note }),
                (Some(detail), _) if with_details => json!({ "status": "fail", "detail": detail }),
                (Some(_), _) => json!({ "status": "fail" }),
            };
            checks.insert((*name).to_owned(), value);
        }
        let status = if self.is_ok() { "pass" } else { "fail" };
        json!({ "status": status, "checks": Value::Object(checks) }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::new(vec![
            Check::new("listeners", Ok(())),
            Check::new("write_queue", Err("51 s".to_owned())),
        ])
    }

    #[test]
    fn a_failure_names_its_checks_and_details_only_where_allowed() {
        let expected = "[+]listeners ok\n[-]write_queue failed: 51 s\nreadyz check failed\n";
        assert_eq!(report().text("readyz", false, true), expected);
        let expected = "[+]listeners ok\n[-]write_queue failed\nreadyz check failed\n";
        assert_eq!(report().text("readyz", false, false), expected);
        assert_eq!(
            report().json(true),
            r#"{"status":"fail","checks":{"listeners":{"status":"pass"},"write_queue":{"status":"fail","detail":"51 s"}}}"#
        );
    }

    #[test]
    fn indexes_that_are_rebuilt_are_told_and_fail_nothing() {
        let note = Some("data.Dog.name: 10 of 100".to_owned());
        let report = Report::new(vec![Check::informational("indexes", note)]);
        assert!(report.is_ok());
        let expected = "[+]indexes ok: data.Dog.name: 10 of 100\nreadyz check passed\n";
        assert_eq!(report.text("readyz", true, true), expected);
        let expected = "[+]indexes ok\nreadyz check passed\n";
        assert_eq!(report.text("readyz", true, false), expected);
        assert_eq!(
            report.json(true),
            r#"{"status":"pass","checks":{"indexes":{"status":"pass","detail":"data.Dog.name: 10 of 100"}}}"#
        );
    }

    #[test]
    fn an_excluded_check_does_not_fail() {
        let report = report().excluding(&["write_queue".to_owned(), "unknown".to_owned()]);
        assert!(report.is_ok());
        assert_eq!(report.text("readyz", false, true), "ok\n");
        let expected = "[+]listeners ok\nreadyz check passed\n";
        assert_eq!(report.text("readyz", true, true), expected);
    }
}
