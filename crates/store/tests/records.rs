//! Writing and reading records.

mod support;

use resource::{
    Action, Key, Permissions, Precondition, Target, Value, Write, WriteKind, WriteOutcome,
    access::AttributeFlags,
};
use support::{Fixture, get, internal, json, put, text, user, write, write_as};

const DOG: &str = "type Dog @table { id: ID @primaryKey, name: String @indexed, age: Int }";

#[tokio::test]
async fn a_put_record_is_read_back_after_a_restart() {
    let fixture = Fixture::new();
    let dog = fixture.table(DOG).await;
    let version = put(&dog, "1", r#"{"name":"Rex","age":3}"#).await;
    assert_eq!(text(&dog, "1").await, r#"{"id":"1","name":"Rex","age":3}"#);
    drop(dog);
    let fixture = fixture.reopen();
    let dog = fixture.table(DOG).await;
    assert_eq!(text(&dog, "1").await, r#"{"id":"1","name":"Rex","age":3}"#);
    assert_eq!(get(&dog, "1").await.unwrap().version, version);
    assert!(put(&dog, "1", r#"{"name":"Rex"}"#).await > version);
    assert_eq!(fixture.verify("data").await.records, 1);
}
