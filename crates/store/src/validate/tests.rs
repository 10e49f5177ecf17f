//! Bodies, keys and operands against the texts of the specification.

use num_bigint::BigInt;
use resource::schema::{Element, ObjectType};
use resource::{Attribute, Date};
use std::sync::Arc;

use super::*;

fn array(kind: AttributeType) -> AttributeType {
    let nullable = true;
    AttributeType::Array(Box::new(Element { kind, nullable }))
}

fn required(name: &str, kind: AttributeType) -> Attribute {
    Attribute {
        nullable: false,
        ..Attribute::new(name, kind)
    }
}

fn size() -> AttributeType {
    AttributeType::Object(Arc::new(ObjectType {
        name: "Size".into(),
        properties: vec![
            required("w", AttributeType::Float),
            Attribute::new("at", AttributeType::Date),
        ],
        sealed: true,
    }))
}

fn table(key: AttributeType) -> TableDefinition {
    let mut attributes = vec![
        required("id", key),
        Attribute::new("int", AttributeType::Int),
        Attribute::new("long", AttributeType::Long),
        Attribute::new("float", AttributeType::Float),
        Attribute::new("ref", AttributeType::Id),
        Attribute::new("text", AttributeType::String),
        Attribute::new("flag", AttributeType::Boolean),
        Attribute::new("date", AttributeType::Date),
        Attribute::new("big", AttributeType::BigInt),
        Attribute::new("bytes", AttributeType::Bytes),
        Attribute::new("any", AttributeType::Any),
        Attribute::new("list", array(AttributeType::Int)),
        Attribute::new("size", size()),
        required("must", AttributeType::String),
    ];
    attributes.push(Attribute {
        assigned_updated_time: true,
        ..required("changed", AttributeType::Date)
    });
    TableDefinition {
        database: "data".into(),
        table: "T".into(),
        primary_key: "id".into(),
        attributes,
        schema_defined: true,
        sealed: false,
        audit: true,
        expiration_secs: None,
        export: None,
    }
}

/// A patch of one property.
fn patch(name: &str, value: impl Into<Value>) -> Result<Value, Error> {
    let body = Map::from_iter([(name, value.into())]);
    record(&table(AttributeType::Id), body, true)
        .map(|map| map.get(name).cloned().unwrap_or_default())
}

#[track_caller]
fn check(name: &str, value: impl Into<Value>, expected: impl Into<Value>) {
    assert_eq!(patch(name, value).unwrap(), expected.into());
}

#[track_caller]
fn refuse(name: &str, value: impl Into<Value>, message: &str) {
    let error = patch(name, value).unwrap_err();
    assert_eq!((error.status(), error.message()), (400, message));
}

fn json(text: &str) -> Value {
    resource::json::from_slice(text.as_bytes()).unwrap()
}

#[test]
fn s3_1_values_that_fit_their_type() {
    check("int", i64::from(i32::MIN), i64::from(i32::MIN));
    check("int", 5.0, 5_i64);
    check("long", 1_i64 << 53, 1_i64 << 53);
    check("float", 5_i64, 5.0);
    check("ref", "a", "a");
    check("ref", json(r#"["a","b"]"#), json(r#"["a","b"]"#));
    check("flag", true, true);
    check("any", json(r#"{"x":[1]}"#), json(r#"{"x":[1]}"#));
    check("list", json("[1,null]"), json("[1,null]"));
    check("int", Value::Null, Value::Null);
}

#[test]
fn s3_1_dates_big_integers_and_bytes_convert() {
    let date = Date::from_millis(86_400_000).unwrap();
    check("date", "1970-01-02", date);
    check("date", 86_400_000_i64, date);
    check("date", 86_400_000.7, date);
    let big: BigInt = "123456789012345678901234567890".parse().unwrap();
    check("big", "123456789012345678901234567890", big.clone());
    check("big", big.clone(), big);
    check("big", "-12", -12_i64);
    check("big", 1e20, BigInt::from(10).pow(20));
    check("bytes", "né", bytes::Bytes::from("né"));
    check(
        "bytes",
        json(r#"{"type":"Buffer","data":[0,255]}"#),
        bytes::Bytes::from(vec![0, 255]),
    );
}

#[test]
fn rest_s10_values_that_do_not_fit() {
    let int = "an integer (from -2147483648 to 2147483647)";
    let long = "an integer (from -9007199254740992 to 9007199254740992)";
    for (name, body, shown, expected) in [
        ("int", r#""7""#, r#""7""#, int),
        ("int", "2147483648", "2147483648", int),
        ("int", "1.5", "1.5", int),
        ("long", "9007199254740993", "9007199254740993", long),
        ("float", r#""1""#, r#""1""#, "a number"),
        ("ref", "33", "33", "a string, or an array of strings"),
        ("ref", "[]", "[]", "a string, or an array of strings"),
        ("ref", "[1]", "[1]", "a string, or an array of strings"),
        ("text", "33", "33", "a string"),
        ("flag", r#""true""#, r#""true""#, "a boolean"),
        ("date", r#""yesterday""#, r#""yesterday""#, "a Date"),
        ("date", "true", "true", "a Date"),
        ("big", "1.5", "1.5", "a bigint"),
        ("big", r#""x""#, r#""x""#, "a bigint"),
        ("bytes", "1", "1", "a Buffer or Uint8Array"),
        (
            "bytes",
            r#"{"type":"Buffer","data":[256]}"#,
            r#"{"type":"Buffer","data":[256]}"#,
            "a Buffer or Uint8Array",
        ),
        ("list", "1", "1", "an Array"),
        ("size", "1", "1", "an object (Size)"),
    ] {
        let message = format!("Value {shown} in property {name} must be {expected}");
        refuse(name, json(body), &message);
    }
    refuse(
        "list",
        json(r#"[1,"x"]"#),
        &format!(r#"Value "x" in property list[*] must be {int}"#),
    );
}

#[test]
fn rest_s10_nested_objects() {
    refuse(
        "size",
        json(r#"{"w":"1"}"#),
        r#"Value "1" in property size.w must be a number"#,
    );
    refuse("size", json("{}"), "Property size.w is required");
    refuse(
        "size",
        json(r#"{"w":1,"x":2}"#),
        "Property x is not allowed within object in property size",
    );
    let date = Value::Date(Date::from_millis(0).unwrap());
    let stored = patch("size", json(r#"{"w":1,"at":"1970-01-01"}"#)).unwrap();
    assert_eq!(stored.as_map().unwrap().get("at"), Some(&date));
    assert_eq!(stored.as_map().unwrap().get("w"), Some(&Value::Float(1.0)));
}

#[test]
fn rest_s10_all_violations_are_collected() {
    let body = json(r#"{"int":"x","flag":1}"#);
    let Value::Map(body) = body else {
        unreachable!("an object was written")
    };
    let error = record(&table(AttributeType::Id), body, false).unwrap_err();
    assert_eq!(
        error.message(),
        "Value \"x\" in property int must be an integer (from -2147483648 to 2147483647). \
         Value 1 in property flag must be a boolean. Property must is required"
    );
    assert_eq!(error.details().len(), 3);
}

#[test]
fn a_long_list_of_violations_and_values_is_bounded() {
    let wrong = Value::Array(vec![Value::from("x".repeat(5000)); 5000]);
    let error = patch("list", wrong).unwrap_err();
    assert_eq!(error.details().len(), 101);
    assert!(error.message().ends_with("4900 more values are wrong"));
    assert!(error.details()[0].len() < 1200);
}

#[test]
fn required_is_about_presence_in_a_patch_only() {
    assert!(record(&table(AttributeType::Id), Map::new(), true).is_ok());
    refuse("must", Value::Null, "Property must is required");
    let error = record(&table(AttributeType::Id), Map::new(), false).unwrap_err();
    assert_eq!(error.message(), "Property must is required");
}

#[test]
fn s6_3_assigned_times_are_not_the_clients_business() {
    let body = Map::from_iter([("changed", Value::from("nonsense"))]);
    let stored = record(&table(AttributeType::Id), body, true).unwrap();
    assert!(stored.is_empty());
}

#[test]
fn rest_s10_a_sealed_table_refuses_what_is_undeclared() {
    let mut table = table(AttributeType::Id);
    let body = || Map::from_iter([("extra", Value::Int(1))]);
    assert!(record(&table, body(), true).is_ok());
    table.sealed = true;
    let error = record(&table, body(), true).unwrap_err();
    assert_eq!(error.message(), "Property extra is not allowed");
}

#[test]
fn rest_t3_operators_are_checked_by_their_value() {
    let add = |value: &str| json(&format!(r#"{{"__op__":"add","value":{value}}}"#));
    check("int", add("1"), add("1"));
    check("extra", add("1.5"), add("1.5"));
    refuse(
        "int",
        add(r#""x""#),
        "Value \"x\" in property int must be an integer (from -2147483648 to 2147483647)",
    );
    refuse(
        "text",
        add(r#""x""#),
        "Can not add or subtract a non-numeric value",
    );
    refuse(
        "extra",
        add("null"),
        "Can not add or subtract a non-numeric value",
    );
    refuse(
        "int",
        json(r#"{"__op__":"mul","value":2}"#),
        r#"Unknown operation "mul" in property int"#,
    );
    refuse(
        "int",
        json(r#"{"__op__":"add"}"#),
        "Operation add in property int must have a value",
    );
    let full = Map::from_iter([("int", add("1")), ("must", Value::from("x"))]);
    assert!(record(&table(AttributeType::Id), full, false).is_err());
}

#[test]
fn s1_1_names() {
    for (name, message) in [
        ("", "Invalid attribute name: ''"),
        ("undefined", "Invalid attribute name: 'undefined'"),
        (
            "a/b",
            "Attribute names cannot include backticks or forward slashes",
        ),
        (
            "a`b",
            "Attribute names cannot include backticks or forward slashes",
        ),
        (
            "é",
            "Attribute names cannot include backticks or forward slashes",
        ),
    ] {
        refuse(name, 1_i64, message);
    }
    let long = "n".repeat(251);
    refuse(
        &long,
        1_i64,
        &format!(
            "transaction aborted due to attribute name {long} being too long. Attribute names cannot be \
             longer than 250 bytes."
        ),
    );
    assert!(name("table", "h*rper%1").is_ok());
    assert_eq!(
        name("table", "a/b").unwrap_err().message(),
        "'table' names cannot include backticks or forward slashes"
    );
    assert!(name("database", "").is_err());
}

#[track_caller]
fn key(kind: AttributeType, text: &str, expected: impl Into<Key>) {
    assert_eq!(key_from_text(&table(kind), text).unwrap(), expected.into());
}

#[track_caller]
fn no_key(kind: AttributeType, text: &str, message: &str) {
    let error = key_from_text(&table(kind), text).unwrap_err();
    assert_eq!((error.status(), error.message()), (400, message));
}

#[test]
fn rest_i2_key_text_takes_the_declared_type() {
    key(AttributeType::Long, "-12", -12);
    key(AttributeType::Long, "$1f", 51);
    key(
        AttributeType::Float,
        "2.5",
        Key::from_value(&Value::Float(2.5)).unwrap(),
    );
    key(AttributeType::Float, "2", 2);
    key(AttributeType::Id, "12", "12");
    key(AttributeType::String, "null", "null");
    key(AttributeType::Date, "1970-01-01T00:00:01Z", 1000);
    for text in [
        "abc",
        "1.5",
        "+1",
        "1e5",
        " 1",
        "$",
        "$-",
        "9007199254740993",
    ] {
        let message = format!("Invalid value for attribute id: \"{text}\", expecting Long");
        no_key(AttributeType::Long, text, &message);
    }
    no_key(
        AttributeType::Int,
        "2147483648",
        "Invalid value for attribute id: \"2147483648\", expecting Int",
    );
    no_key(AttributeType::Long, "null", "Invalid primary key of null");
    no_key(AttributeType::Long, "", "Invalid primary key of null");
    no_key(
        AttributeType::Boolean,
        "true",
        "Invalid primary key type: boolean",
    );
}

#[test]
fn rest_i3_digits_of_an_untyped_key_are_a_number() {
    key(AttributeType::Any, "12", 12);
    key(AttributeType::Any, "011", "011");
    key(AttributeType::Any, "1e5", "1e5");
    key(AttributeType::Any, "true", "true");
    key(AttributeType::Any, "-3", -3);
    key(
        AttributeType::Any,
        "0.5",
        Key::from_value(&Value::Float(0.5)).unwrap(),
    );
    no_key(AttributeType::Any, "null", "Invalid primary key of null");
}

#[test]
fn a_list_key_takes_a_part_from_each_segment() {
    let parts = Key::Parts(vec![Key::Int(1), Key::Int(2)]);
    key(array(AttributeType::Long), "1/2", parts);
}

#[test]
fn body_keys_are_not_coerced() {
    let of = |kind, value: Value| key_from_value(&table(kind), &value);
    assert_eq!(of(AttributeType::Long, Value::Int(7)).unwrap(), Key::Int(7));
    assert_eq!(
        of(AttributeType::Long, Value::from("7"))
            .unwrap_err()
            .message(),
        "Value \"7\" in property id must be an integer (from -9007199254740992 to 9007199254740992)"
    );
    assert_eq!(
        of(AttributeType::Any, Value::from("7")).unwrap(),
        Key::from("7")
    );
    assert_eq!(
        of(AttributeType::Any, Value::Float(7.0)).unwrap(),
        Key::Int(7)
    );
    assert_eq!(
        of(AttributeType::Any, Value::Null).unwrap_err().message(),
        "Invalid primary key of null"
    );
    assert_eq!(
        of(AttributeType::Any, Value::Bool(true))
            .unwrap_err()
            .message(),
        "Invalid primary key type: boolean"
    );
    assert_eq!(
        of(AttributeType::Id, json(r#"["a","b"]"#)).unwrap(),
        Key::Parts(vec!["a".into(), "b".into()])
    );
}

#[track_caller]
fn compare(attribute: &str, text: &str, conversion: Conversion, expected: impl Into<Value>) {
    let found = operand(
        &table(AttributeType::Id),
        attribute,
        &Value::from(text),
        conversion,
    );
    assert_eq!(found.unwrap(), expected.into());
}

#[test]
fn rest_s7_4_operands_of_declared_types() {
    for conversion in [Conversion::Declared, Conversion::Guess] {
        compare("int", "-7", conversion, -7_i64);
        compare("int", "$1f", conversion, 51_i64);
        compare("int", "null", conversion, Value::Null);
        compare("int", "", conversion, Value::Null);
        compare("list", "7", conversion, 7_i64);
        compare("float", "1e3", conversion, 1000.0);
        compare("flag", "TRUE", conversion, true);
        compare("flag", "maybe", conversion, "maybe");
        compare(
            "date",
            "1970-01-01T00:00:01",
            conversion,
            Date::from_millis(1000).unwrap(),
        );
        compare("date", "1000", conversion, Date::from_millis(1000).unwrap());
        compare("text", "7", conversion, "7");
        compare("text", "null", conversion, "null");
        compare("ref", "7", conversion, "7");
        compare("ref", "null", conversion, Value::Null);
    }
    for (name, text, kind) in [
        ("int", "1.5", "Int"),
        ("float", "NaN", "Float"),
        ("float", "inf", "Float"),
        ("date", "yesterday", "Date"),
        ("big", "x", "BigInt"),
    ] {
        let error = operand(
            &table(AttributeType::Id),
            name,
            &Value::from(text),
            Conversion::Guess,
        );
        assert_eq!(
            error.unwrap_err().message(),
            format!("Invalid value for attribute {name}: \"{text}\", expecting {kind}")
        );
    }
}

#[test]
fn rest_s7_4_operands_without_a_type() {
    for name in ["any", "undeclared"] {
        compare(name, "123", Conversion::Declared, "123");
        compare(name, "123", Conversion::Typed, "123");
        compare(name, "null", Conversion::Declared, Value::Null);
        compare(name, "123", Conversion::Guess, 123_i64);
        compare(name, "-0.5", Conversion::Guess, -0.5);
        compare(name, "true", Conversion::Guess, true);
        compare(name, "undefined", Conversion::Guess, Value::Null);
        compare(name, "007", Conversion::Guess, "007");
        compare(name, "1e5", Conversion::Guess, "1e5");
        compare(name, "2025-07-14", Conversion::Guess, "2025-07-14");
        compare(
            name,
            "1970-01-01T00:00:01Z",
            Conversion::Guess,
            Date::from_millis(1000).unwrap(),
        );
    }
}

#[test]
fn typed_operands_convert_only_to_dates_and_big_integers() {
    compare("int", "7", Conversion::Typed, "7");
    compare("text", "null", Conversion::Typed, "null");
    compare(
        "date",
        "1970-01-01",
        Conversion::Typed,
        Date::from_millis(0).unwrap(),
    );
    let between = Value::Array(vec![Value::from("1970-01-01"), Value::Int(5)]);
    let found = operand(
        &table(AttributeType::Id),
        "date",
        &between,
        Conversion::Typed,
    )
    .unwrap();
    let dates = [0, 5].map(|millis| Value::Date(Date::from_millis(millis).unwrap()));
    assert_eq!(found, Value::Array(dates.to_vec()));
}

#[test]
fn text_of_any_kind_never_panics() {
    for text in [
        "$-é",
        "-",
        "--1",
        "0x10",
        "\u{0}",
        "9".repeat(400).as_str(),
        "éééééT",
        "1.",
        ".5",
    ] {
        for conversion in [Conversion::Declared, Conversion::Guess, Conversion::Typed] {
            for attribute in &table(AttributeType::Id).attributes {
                let _ = operand(
                    &table(AttributeType::Id),
                    &attribute.name,
                    &Value::from(text),
                    conversion,
                );
            }
        }
    }
}
