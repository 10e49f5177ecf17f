//! Schema files and what is said about them.

use resource::schema::Element;
use resource::{Attribute, AttributeType, TableDefinition};

use super::*;

fn one(source: &str) -> TableDefinition {
    let file = parse(source, "s.graphql").unwrap();
    assert_eq!(file.warnings, [], "{source}");
    assert_eq!(file.tables.len(), 1);
    file.tables.into_iter().next().unwrap()
}

fn warnings(source: &str) -> Vec<String> {
    let file = parse(source, "s.graphql").unwrap();
    file.warnings.iter().map(ToString::to_string).collect()
}

fn error(source: &str) -> String {
    parse(source, "s.graphql").unwrap_err().to_string()
}

const ITEM: &str = r#"
"""Things we sell."""
type Item @table(database: "inventory", expiration: 86400) @export(name: "/items", mqtt: false) @sealed {
  id: ID @primaryKey
  sku: String! @indexed
  price: Float @indexed   # in euro
  tags: [String!]! @indexed
  size: Size
  madeAt: Long @createdTime
  changedAt: Date @updatedTime
}
type Size { w: Float!, h: Float! }
"#;

#[test]
fn s2_a_schema_file_declares_tables() {
    let item = one(ITEM);
    assert_eq!(
        (item.database.as_str(), item.table.as_str()),
        ("inventory", "Item")
    );
    assert_eq!(item.primary_key, "id");
    assert_eq!(item.expiration_secs, Some(86_400));
    assert!(item.sealed && item.audit && item.schema_defined);
    let export = item.export.as_ref().unwrap();
    assert_eq!(export.path, "items");
    assert!(export.exposure.rest && export.exposure.ws && !export.exposure.mqtt);
    let sku = item.attribute("sku").unwrap();
    assert!(sku.indexed && !sku.nullable && sku.kind == AttributeType::String);
    let tags = item.attribute("tags").unwrap();
    let element = Element {
        kind: AttributeType::String,
        nullable: false,
    };
    assert_eq!(tags.kind, AttributeType::Array(Box::new(element)));
    assert!(!tags.nullable);
    assert!(item.attribute("madeAt").unwrap().assigned_created_time);
    assert!(item.attribute("changedAt").unwrap().assigned_updated_time);
    let AttributeType::Object(size) = &item.attribute("size").unwrap().kind else {
        panic!("size is an embedded type");
    };
    assert_eq!(size.name, "Size");
    assert_eq!(
        size.properties[1],
        Attribute {
            nullable: false,
            ..Attribute::new("h", AttributeType::Float)
        }
    );
}

#[test]
fn s2_rule_1_argument_values_are_read_as_text() {
    let table = one(
        r#"type A @table(schema: other, expiration: "3600", audit: "1d") { id: Int @primaryKey }"#,
    );
    assert_eq!(table.database, "other");
    assert_eq!(table.expiration_secs, Some(3600));
    assert!(table.audit);
    for off in ["false", "\"false\""] {
        assert!(
            !one(&format!(
                "type A @table(audit: {off}) {{ id: Int @primaryKey }}"
            ))
            .audit
        );
    }
}

#[test]
fn export_takes_the_name_of_the_type() {
    let path = |export: &str| {
        let table = one(&format!(
            "type A @table(table: \"b\") {export} {{ id: Int @primaryKey }}"
        ));
        (table.table, table.export.map(|export| export.path))
    };
    assert_eq!(path("@export"), ("b".into(), Some("A".into())));
    assert_eq!(
        path("@export(name: \"\")"),
        ("b".into(), Some(String::new()))
    );
    assert_eq!(path(""), ("b".into(), None));
}

#[test]
fn s2_rule_4_types_refer_to_each_other_across_files() {
    let file = parse_files(&[
        ("type A @table { id: ID @primaryKey  b: B }", "a.graphql"),
        ("type B { c: [C] } type C { n: Int }", "b.graphql"),
    ])
    .unwrap();
    assert_eq!(file.warnings, []);
    assert_eq!(file.tables[0].attribute("b").unwrap().kind.name(), "B");
}

#[test]
fn s2_rule_5_an_unknown_type_is_a_warning() {
    let file = parse(
        "type A @table {\n  id: ID @primaryKey\n  x: Unheard\n}",
        "s.graphql",
    )
    .unwrap();
    assert_eq!(
        file.warnings[0].message,
        "The type Unheard is unknown at line 3, column 6, in s.graphql"
    );
    assert_eq!(
        file.tables[0].attribute("x").unwrap().kind,
        AttributeType::Any
    );
}

#[test]
fn s2_rule_6_what_has_no_effect_is_a_warning() {
    for (source, warning) in [
        (
            "type A @table { id: ID @primaryKey  b: ID @primaryKey }",
            "s.graphql:1:43: a second @primaryKey is ignored",
        ),
        (
            "type A @table @shiny { id: ID @primaryKey }",
            "s.graphql:1:15: directive @shiny is unknown and has no effect",
        ),
        (
            "type A @table(cache: 5) { id: ID @primaryKey }",
            "s.graphql:1:15: argument cache of @table has no effect in this build",
        ),
        (
            "type A @table { id: ID @primaryKey  b: Bytes @indexed }",
            "s.graphql:1:46: an index on Bytes holds no entries",
        ),
        (
            "type A { b: Int @indexed }",
            "s.graphql:1:17: directive @indexed has no effect without @table",
        ),
        (
            "type Query @table { a: Int }",
            "s.graphql:1:12: a type named Query makes no table",
        ),
        (
            "enum Color { RED }",
            "s.graphql:1:1: EnumTypeDefinition has no meaning in a schema of tables",
        ),
    ] {
        assert_eq!(warnings(source), [warning], "{source}");
    }
}

#[test]
fn s9_a_relationship_that_can_not_work_is_refused() {
    for (fields, other, message) in [
        (
            "b: B @relationship",
            "id: ID @primaryKey",
            "the relationship b needs from, to or both",
        ),
        (
            "b: Long @relationship(from: id)",
            "id: ID @primaryKey",
            "the relationship b needs a type with @table",
        ),
        (
            "b: B @relationship(to: aId)",
            "id: ID @primaryKey, aId: ID @indexed",
            "the relationship b leads to many records, its type must be a list",
        ),
        (
            "b: [B] @relationship(to: aId)",
            "id: ID @primaryKey, aId: ID",
            "aId of B must be @indexed, so that b can be followed",
        ),
        (
            "b: [B] @relationship(to: cId)",
            "id: ID @primaryKey",
            "cId is no attribute of B, to which b could lead",
        ),
        (
            "b: B @relationship(from: cId)",
            "id: ID @primaryKey",
            "cId is no attribute of A, from which b could start",
        ),
    ] {
        let source =
            format!("type A @table {{ id: ID @primaryKey, {fields} }} type B @table {{ {other} }}");
        let error = parse(&source, "s.graphql").unwrap_err();
        assert_eq!(error.message, message, "{fields}");
    }
    let apart = r#"type A @table { id: ID @primaryKey, bId: ID, b: B @relationship(from: bId) }
        type B @table(database: "other") { id: ID @primaryKey }"#;
    let error = parse(apart, "s.graphql").unwrap_err();
    assert!(
        error.message.contains("both tables must be in one"),
        "{error}"
    );
}

#[test]
fn s9_a_relationship_names_the_table_of_its_type() {
    let source = r#"type A @table { id: ID @primaryKey, bIds: [ID], bs: [B!]! @relationship(from: bIds) }
        type B @table(table: "bees") { id: ID @primaryKey, as: [A] @relationship(from: id, to: bIds) }"#;
    let error = parse(source, "s.graphql").unwrap_err();
    assert_eq!(
        error.message,
        "bIds of A must be @indexed, so that as can be followed"
    );
    let schema = parse(&source.replace("[ID],", "[ID] @indexed,"), "s.graphql").unwrap();
    let bs = schema.tables[0].attribute("bs").unwrap();
    let relation = bs.relation.clone().unwrap();
    assert_eq!(
        (
            relation.table.as_str(),
            relation.from.as_deref(),
            relation.to
        ),
        ("bees", Some("bIds"), None)
    );
    assert!(bs.nullable && !bs.is_stored() && schema.warnings.is_empty());
}

#[test]
fn directives_of_later_versions_are_named() {
    for (field, message) in [
        (
            "b: Int @computed(from: \"1 +\")",
            "s.graphql:3:8: computed attribute b: it ends too early at position 3 of the expression",
        ),
        (
            "b: [Float] @embed",
            "s.graphql:3:12: directive @embed is not available in this build",
        ),
        (
            "b: [Float] @indexed(type: \"HNSW\")",
            "s.graphql:3:12: directive @indexed(type: \"HNSW\") is not available in this build",
        ),
        (
            "b: [Blob]",
            "s.graphql:3:4: only attributes of a table themselves can be of type Blob",
        ),
    ] {
        let source =
            format!("type A @table {{\n id: ID @primaryKey\n{field} }} type B {{ x: Int }}");
        assert_eq!(error(&source), message, "{source}");
    }
    assert_eq!(
        error("type A @table @splitSegments { id: Int @primaryKey }"),
        "s.graphql:1:15: @splitSegments needs a primary key of type ID or Any, or a list"
    );
}

#[test]
fn a_syntax_error_names_file_line_and_column() {
    let error = parse(
        "type A @table {\n  id: ID @primaryKey\n  é b: Int\n}\ntype",
        "dir/s.graphql",
    )
    .unwrap_err();
    assert_eq!(
        (error.file.as_str(), error.line, error.column),
        ("dir/s.graphql", 3, 3)
    );
    assert!(!error.further.is_empty());
    assert!(
        error.to_string().starts_with("dir/s.graphql:3:3: "),
        "{error}"
    );
}

#[test]
fn all_errors_are_collected() {
    let error = parse(
        "type A @table(expiration: soon) { id: Boolean @primaryKey }\ntype A @table { id: ID }\ntype Int { x: Int }",
        "s.graphql",
    )
    .unwrap_err();
    let messages: Vec<&str> = std::iter::once(&error)
        .chain(&error.further)
        .map(|error| error.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "type A is declared twice",
            "type Int is built in",
            "expiration must be a whole number of seconds, not \"soon\"",
            "a primary key cannot be of type Boolean",
        ]
    );
}

#[test]
fn names_and_duplicates_are_checked() {
    for (source, message) in [
        (
            "type A @table(table: \"a/b\") { id: ID @primaryKey }",
            "s.graphql:1:8: 'table' names cannot include backticks or forward slashes",
        ),
        (
            "type A @table(database: \"system\") { id: ID @primaryKey }",
            "s.graphql:1:8: the database system belongs to the server",
        ),
        (
            "type A @table { id: ID @primaryKey  id: Int }",
            "s.graphql:1:37: field id is declared twice",
        ),
        (
            "type A @table { id: ID @primaryKey  null: Int }",
            "s.graphql:1:37: Invalid attribute name: 'null'",
        ),
        (
            "type A @table { id: ID @primaryKey }\ntype B @table(table: \"A\") { id: ID @primaryKey }",
            "s.graphql:2:6: table data.A is declared twice",
        ),
        (
            "type A @table @export(rest: maybe) { id: ID @primaryKey }",
            "s.graphql:1:23: argument rest must be true or false, not \"maybe\"",
        ),
        (
            "type A @table(expiration: [1]) { id: ID @primaryKey }",
            "s.graphql:1:15: argument expiration must be a text, number, boolean or name",
        ),
    ] {
        assert_eq!(error(source), message, "{source}");
    }
}

#[test]
fn open_question_1_a_type_without_primary_key() {
    let existing = parse("type A @table { name: String  id: Long }", "s.graphql").unwrap();
    assert_eq!(existing.tables[0].primary_key, "id");
    assert_eq!(existing.tables[0].key_type(), &AttributeType::Long);
    assert_eq!(existing.warnings.len(), 1);
    let added = parse("type A @table { name: String }", "s.graphql").unwrap();
    assert_eq!(added.tables[0].primary_key, "id");
    assert_eq!(added.tables[0].key_type(), &AttributeType::Any);
    assert_eq!(
        added.warnings[0].to_string(),
        "s.graphql:1:6: type A has no @primaryKey; a key named id was added"
    );
}

#[test]
fn recursive_types_end() {
    let source = "type A @table { id: ID @primaryKey  node: Node }\ntype Node { next: Node  other: Other }\ntype Other { node: [Node] }";
    let file = parse(source, "s.graphql").unwrap();
    assert!(file.warnings.iter().any(|warning| warning.to_string()
        == "s.graphql:2:19: type Node contains itself; here it is any value"));
    let AttributeType::Object(node) = &file.tables[0].attribute("node").unwrap().kind else {
        panic!("node is an embedded type");
    };
    assert_eq!(node.properties[0].kind, AttributeType::Any);
}

#[test]
fn embedding_has_a_depth() {
    let mut source = String::from("type A @table { id: ID @primaryKey  t: T0 }\n");
    for index in 0..100 {
        source += &format!("type T{index} {{ t: T{} }}\n", index + 1);
    }
    source += "type T100 { n: Int }";
    assert!(error(&source).ends_with("types are embedded in each other deeper than 32 levels"));
}

#[test]
fn text_of_any_kind_never_panics() {
    for source in [
        "",
        "type",
        "type {",
        "type A @",
        "type A @table(",
        "type A @table(name:",
        "type A { : }",
        "type A @table { id: [[ID }",
        "type A @table { id: ! }",
        "\u{0}",
        "é",
        "type A @table(a: \"\\u00\")",
        "\"\"\"",
        "{ query }",
        "type A @table { id: [ID!]!! @primaryKey(",
        "extend type A @table",
    ] {
        let _ = parse(source, "s.graphql");
    }
}
