//! §6: the three searches.

use crate::fixture::{Fixture, admin};

async fn check_dogs(fixture: &Fixture, rest: &str, expected: &str) {
    let body = format!(r#"{{"operation": {rest}, "table": "Dog"}}"#);
    fixture.check(&admin(), &body, 200, expected).await;
}

#[tokio::test]
async fn search_by_id_keeps_the_order_and_fills_in_null() {
    let fixture = Fixture::new().await;
    let check = async |rest: &str, expected: &str| {
        let body = format!(
            r#"{{"operation": "search_by_id", "database": "inventory", "table": "Item", {rest}}}"#
        );
        fixture.check(&admin(), &body, 200, expected).await;
    };
    check(
        r#""ids": ["a1", "zz"], "get_attributes": ["sku", "tags"]"#,
        r#"[{"sku": "S-1", "tags": null}]"#,
    )
    .await;
    check(
        r#""ids": ["a2", "a1"], "get_attributes": ["id"]"#,
        r#"[{"id": "a2"}, {"id": "a1"}]"#,
    )
    .await;
    check(
        r#""hash_values": ["a2"], "get_attributes": ["*"]"#,
        r#"[{"id": "a2", "sku": "S-2", "extra": true}]"#,
    )
    .await;
    check(r#""ids": [], "get_attributes": ["*"]"#, "[]").await;
    check(
        r#""ids": ["a1"], "select": ["$id"], "get_attributes": ["sku"]"#,
        r#"[{"$id": "a1"}]"#,
    )
    .await;
    // A dynamic table shows all its attributes.
    check_dogs(
        &fixture,
        r#""search_by_hash", "ids": [1], "get_attributes": ["*"]"#,
        r#"[{"id": 1, "__createdtime__": null, "__updatedtime__": null, "name": "Rex", "age": 3, "note": null}]"#,
    ).await;
}

#[tokio::test]
async fn search_by_id_and_its_messages() {
    let fixture = Fixture::new().await;
    for (rest, status, message) in [
        (
            "",
            400,
            "'table' is required. 'hash_values' is required. 'get_attributes' is required",
        ),
        (
            r#", "table": "Dog", "ids": "1", "get_attributes": "id""#,
            400,
            "'hash_values' must be an array. 'get_attributes' must be an array",
        ),
        (
            r#", "table": "Dog", "ids": [null, 1, true], "get_attributes": []"#,
            400,
            "'hash_values[0]' must be one of [string, number]. 'hash_values[2]' must be one of [string, number]. \
             'get_attributes' must contain at least 1 items",
        ),
        (
            r#", "table": "Dog", "ids": [1], "get_attributes": ["a", "name", "b", "c"]"#,
            400,
            "unknown attribute 'a, b and c'",
        ),
        (
            r#", "table": "Dog", "ids": [1], "get_attributes": ["a"]"#,
            400,
            "unknown attribute 'a'",
        ),
        (
            r#", "table": "Dog", "ids": [1], "get_attributes": [7, [], {"name": "x", "select": 1}]"#,
            400,
            "'get_attributes[0]' must be a string, an array of strings or an object with a name. \
             'get_attributes[1]' must be a string, an array of strings or an object with a name. \
             'get_attributes[2].select' must be an array",
        ),
        (
            r#", "table": "x", "ids": [1], "get_attributes": ["*"]"#,
            404,
            "Table 'data.x' does not exist",
        ),
        (
            r#", "database": "x", "table": "x", "ids": [1], "get_attributes": ["*"]"#,
            404,
            "database 'x' does not exist",
        ),
    ] {
        let body = format!(r#"{{"operation": "search_by_id"{rest}}}"#);
        fixture.refuses(&admin(), &body, status, message).await;
    }
    // A property that no attribute declares cannot be selected by name.
    let body = r#"{"operation": "search_by_id", "database": "inventory", "table": "Item", "ids": ["a2"], "get_attributes": ["extra"]}"#;
    fixture
        .refuses(&admin(), body, 400, "unknown attribute 'extra'")
        .await;
}

#[tokio::test]
async fn search_by_value_and_its_wildcards() {
    let fixture = Fixture::new().await;
    for (rest, expected) in [
        (r#""attribute": "name", "value": "Rex""#, r#"[{"id": 1}]"#),
        (
            r#""search_attribute": "name", "search_value": "R*""#,
            r#"[{"id": 1}, {"id": 3}]"#,
        ),
        (
            r#""attribute": "name", "value": "*x""#,
            r#"[{"id": 1}, {"id": 2}]"#,
        ),
        (r#""attribute": "name", "value": "*o*""#, r#"[{"id": 3}]"#),
        (
            r#""attribute": "note", "value": "**star""#,
            r#"[{"id": 3}]"#,
        ),
        (
            r#""attribute": "age", "value": 3"#,
            r#"[{"id": 1}, {"id": 3}]"#,
        ),
        (
            r#""attribute": "anything", "value": "*""#,
            r#"[{"id": 1}, {"id": 2}, {"id": 3}]"#,
        ),
        (
            r#""attribute": "name", "value": "*", "desc": true"#,
            r#"[{"id": 3}, {"id": 2}, {"id": 1}]"#,
        ),
        (
            r#""attribute": "name", "value": "*x", "reverse": true"#,
            r#"[{"id": 1}, {"id": 2}]"#,
        ),
        (
            r#""attribute": "name", "value": "*", "offset": 1, "limit": 1"#,
            r#"[{"id": 2}]"#,
        ),
        (
            r#""attribute": "name", "value": "*", "sort": {"attribute": "name"}"#,
            r#"[{"id": 2}, {"id": 1}, {"id": 3}]"#,
        ),
        (r#""attribute": "name", "value": """#, "[]"),
    ] {
        let rest = format!(r#""search_by_value", "get_attributes": ["id"], {rest}"#);
        check_dogs(&fixture, &rest, expected).await;
    }
    check_dogs(
        &fixture,
        r#""search_by_value", "attribute": "id", "value": 2"#,
        r#"[{"id": 2, "name": "Max", "age": 5}]"#,
    )
    .await;
}

#[tokio::test]
async fn search_by_value_and_its_messages() {
    let fixture = Fixture::new().await;
    for (rest, status, message) in [
        (
            "",
            400,
            "'table' is required. 'search_attribute' is required. 'search_value' is required",
        ),
        (
            r#", "table": "Dog", "attribute": 5, "value": [], "limit": 0, "offset": -1, "desc": "yes", "sort": 1"#,
            400,
            "'search_attribute' must be a string. 'search_value' must be one of [string, number, boolean]. \
             'sort' must be an object. 'offset' must be greater than or equal to 0. \
             'limit' must be greater than or equal to 1. 'reverse' must be a boolean",
        ),
        (
            r#", "table": "Dog", "attribute": "breed", "value": 1"#,
            400,
            "unknown attribute 'breed'",
        ),
        (
            r#", "table": "Dog", "attribute": "name", "value": "*", "sort": {"attribute": "breed"}"#,
            400,
            "unknown attribute 'breed'",
        ),
        (
            r#", "table": "x", "attribute": "a", "value": 1"#,
            404,
            "Table 'data.x' does not exist",
        ),
    ] {
        let body = format!(r#"{{"operation": "search_by_value"{rest}}}"#);
        fixture.refuses(&admin(), &body, status, message).await;
    }
}

#[tokio::test]
async fn search_by_conditions_combines_and_sorts() {
    let fixture = Fixture::new().await;
    for (rest, expected) in [
        (
            r#""conditions": [{"attribute": "age", "comparator": "between", "value": [3, 4]},
                {"attribute": "name", "comparator": "starts_with", "value": "Ro"}]"#,
            r#"[{"id": 3}]"#,
        ),
        (
            r#""operator": "OR", "conditions": [{"search_attribute": "age", "search_type": "greater_than", "search_value": 4},
                {"attribute": "name", "value": "Rex"}]"#,
            r#"[{"id": 1}, {"id": 2}]"#,
        ),
        (
            r#""conditions": [{"attribute": "age", "comparator": "greater_than_equal", "value": 3}],
                "sort": {"attribute": "age", "descending": true, "next": {"attribute": "name", "descending": true}},
                "offset": 1, "limit": 5"#,
            r#"[{"id": 3}, {"id": 1}]"#,
        ),
        (
            r#""conditions": [{"attribute": "note", "comparator": "equals", "value": null}]"#,
            r#"[{"id": 1}, {"id": 2}]"#,
        ),
    ] {
        let rest = format!(r#""search_by_conditions", "get_attributes": ["id"], {rest}"#);
        check_dogs(&fixture, &rest, expected).await;
    }
}

#[tokio::test]
async fn search_by_conditions_and_its_messages() {
    let fixture = Fixture::new().await;
    for (rest, status, message) in [
        ("", 400, "'table' is required. 'conditions' is required"),
        (
            r#", "table": "Dog", "conditions": [{"attribute": "a", "comparator": "equals", "value": null},
                {"operator": "or", "conditions": [{"attribute": "b", "value": 1}]}]"#,
            400,
            "unknown attribute 'a and b'",
        ),
        (
            r#", "table": "x", "conditions": [{"attribute": "a", "value": 1}]"#,
            404,
            "Table 'data.x' does not exist",
        ),
    ] {
        let body = format!(r#"{{"operation": "search_by_conditions"{rest}}}"#);
        fixture.refuses(&admin(), &body, status, message).await;
    }
}
