//! A `Cargo.toml` with the line of every key.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Tables of a manifest that name dependencies, at its root and under every `[target.*]`.
const DEPENDENCY_TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// A parsed manifest.
pub(super) struct Manifest<'a> {
    text: &'a str,
    table: Spanned<DeTable<'a>>,
}

/// One key and where it stands.
pub(super) struct Item<'m> {
    pub(super) key: &'m str,
    pub(super) line: usize,
    pub(super) value: &'m DeValue<'m>,
}

impl<'a> Manifest<'a> {
    /// Parses a manifest; an error is a line and what the parser said.
    pub(super) fn parse(text: &'a str) -> Result<Self, (usize, String)> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Self { text, table }),
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start);
                Err((line_at(text, start), error.message().to_owned()))
            }
        }
    }

    /// The value at a path of keys, for example `["lints", "workspace"]`.
    pub(super) fn find(&self, path: &[&str]) -> Option<Item<'_>> {
        let (last, tables) = path.split_last()?;
        let mut table = self.table.get_ref();
        for key in tables {
            table = self.entry(table, key)?.value.as_table()?;
        }
        self.entry(table, last)
    }

    /// The keys of a table, in no particular order; none if there is no such table.
    pub(super) fn keys(&self, path: &[&str]) -> Vec<Item<'_>> {
        match self.find(path).and_then(|item| item.value.as_table()) {
            Some(table) => self.items(table).collect(),
            None => Vec::new(),
        }
    }

    /// Every dependency of every kind and target.
    pub(super) fn dependencies(&self) -> Vec<Item<'_>> {
        let mut found = Vec::new();
        let targets = self.keys(&["target"]);
        let tables = targets.iter().filter_map(|target| target.value.as_table());
        for table in std::iter::once(self.table.get_ref()).chain(tables) {
            for name in DEPENDENCY_TABLES {
                if let Some(dependencies) = self
                    .entry(table, name)
                    .and_then(|item| item.value.as_table())
                {
                    found.extend(self.items(dependencies));
                }
            }
        }
        found
    }

    /// Where a dependency is named, or the first line.
    pub(super) fn line_of_dependency(&self, key: &str) -> usize {
        self.dependencies()
            .iter()
            .find(|item| item.key == key)
            .map_or(1, |item| item.line)
    }

    fn entry<'m>(&self, table: &'m DeTable<'m>, key: &str) -> Option<Item<'m>> {
        self.items(table).find(|item| item.key == key)
    }

    fn items<'m>(&self, table: &'m DeTable<'m>) -> impl Iterator<Item = Item<'m>> {
        table.iter().map(|(key, value)| Item {
            key: key.get_ref(),
            line: line_at(self.text, key.span().start),
            value: value.get_ref(),
        })
    }
}

impl Item<'_> {
    /// Whether the value is a table with `workspace = true`.
    pub(super) fn inherits(&self) -> bool {
        self.field("workspace").and_then(DeValue::as_bool) == Some(true)
    }

    /// A field of the value, if it is a table that has it.
    pub(super) fn field(&self, name: &str) -> Option<&DeValue<'_>> {
        let table = self.value.as_table()?;
        table
            .iter()
            .find(|(key, _)| key.get_ref() == name)
            .map(|(_, value)| value.get_ref())
    }
}

/// The line, counted from 1, on which a byte of the text stands.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
[package]
name = \"store\"

[dependencies]
base.workspace = true
heed = { workspace = true }

[target.'cfg(unix)'.dev-dependencies]
rustix = \"1\"
";

    #[test]
    fn dependencies_of_every_table_are_found_with_their_lines() {
        let manifest = Manifest::parse(TEXT).unwrap();
        let mut found: Vec<_> = manifest
            .dependencies()
            .iter()
            .map(|item| (item.line, item.key.to_owned(), item.inherits()))
            .collect();
        found.sort();
        let expected = [(5, "base", true), (6, "heed", true), (9, "rustix", false)];
        assert_eq!(
            found,
            expected.map(|(line, key, inherits)| (line, key.to_owned(), inherits))
        );
    }

    #[test]
    fn a_path_of_keys_leads_to_a_value() {
        let manifest = Manifest::parse(TEXT).unwrap();
        let name = manifest.find(&["package", "name"]).unwrap();
        assert_eq!((name.line, name.value.as_str()), (2, Some("store")));
        assert!(manifest.find(&["package", "name", "deeper"]).is_none());
        assert!(manifest.find(&["lints", "workspace"]).is_none());
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let Err((line, _)) = Manifest::parse("[package]\nname =\n") else {
            panic!("not TOML")
        };
        assert_eq!(line, 2);
    }
}
