//! `CONFORMANCE.md` names tests that exist, and each statement once.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every function in the sources and tests of the crate.
fn functions(directory: &Path, found: &mut HashSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text
                .split("fn ")
                .skip(1)
                .filter_map(|rest| rest.split_once('('));
            found.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
}

#[test]
fn every_test_in_the_table_exists_and_every_statement_is_there_once() {
    let mut existing = HashSet::new();
    functions(&root().join("src"), &mut existing);
    functions(&root().join("tests"), &mut existing);
    let table = fs::read_to_string(root().join("CONFORMANCE.md")).unwrap();
    let mut statements = HashSet::new();
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Statement"));
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [statement, _, tests] = cells[..] else {
            panic!("not three cells: {row}")
        };
        for one in statement.split(", ") {
            assert!(statements.insert(one.to_owned()), "{one} is there twice");
        }
        for name in tests
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.contains('_'))
        {
            assert!(existing.contains(name), "no test is named {name}");
        }
    }
    assert!(statements.len() > 100);
}
