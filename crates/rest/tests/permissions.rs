//! Permissions, as far as this interface decides or shows them: `auth.md` §9.

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use resource::access::AttributeFlags;
use resource::{AttributeAccess, Caller, Map, Permissions, TableAccess, User, Value};

use crate::support::{Call, Reply, Service};

fn role(access: TableAccess) -> Caller {
    let mut permissions = Permissions::default();
    let tables = HashMap::from([("Dog".to_owned(), access)]);
    permissions.tables.insert("data".to_owned(), tables);
    Caller::User(Arc::new(User {
        username: "ann".into(),
        role: "clerk".into(),
        permissions: Arc::new(permissions),
    }))
}

/// A kennel with one dog, seen by a role that may read some attributes.
fn reader_of(attributes: &[&str]) -> Service {
    let flags = AttributeFlags {
        read: true,
        ..AttributeFlags::default()
    };
    let attributes = attributes.iter().map(|name| ((*name).to_owned(), flags));
    kennel(TableAccess {
        attributes: Some(Arc::new(AttributeAccess {
            attributes: attributes.collect(),
        })),
        ..TableAccess::ALL
    })
}

fn kennel(access: TableAccess) -> Service {
    let service = Service::new().by(role(access));
    service.dogs.fill([Map::from_iter([
        ("id", Value::from("1")),
        ("name", Value::from("Rex")),
        ("breed", Value::from("Boxer")),
        ("age", Value::Int(3)),
    ])]);
    service
}

#[tokio::test]
async fn p1_p14_every_read_needs_the_flag_of_the_table() {
    let service = kennel(TableAccess {
        read: false,
        ..TableAccess::ALL
    });
    for (method, url) in [
        ("GET", "/Dog"),
        ("GET", "/Dog/"),
        ("GET", "/Dog/1"),
        ("GET", "/Dog/1.name"),
        ("HEAD", "/Dog/1"),
        ("QUERY", "/Dog/"),
        ("COPY", "/Dog/1"),
    ] {
        let reply = service.send(Call::new(method, url).json("{}")).await;
        assert_eq!(reply.status, 403, "{method} {url}");
    }
}

#[tokio::test]
async fn p2_p3_p6_reads_have_the_readable_attributes_and_the_key() {
    let service = reader_of(&["name"]);
    service.shows("/Dog/1", r#"{"id":"1","name":"Rex"}"#).await;
    service
        .shows("/Dog/?select(age,name)", r#"[{"name":"Rex"}]"#)
        .await;
    service
        .shows("/Dog/?select([age,id])", r#"[[null,"1"]]"#)
        .await;
    service.get("/Dog/1.age").await.is(404, "");
    service.get("/Dog/1?select(age)").await.is(404, "");
    service
        .get("/Dog/.csv")
        .await
        .is(200, "id,name\r\n1,Rex\r\n");
    let described = service.get("/Dog").await;
    assert!(described.text().contains(r#""name":"name""#));
    assert!(!described.text().contains("age"));
}

#[tokio::test]
async fn p8_conditions_and_orders_need_read() {
    let service = reader_of(&["name"]);
    let refused = |reply: Reply| reply.fails(403, "Unauthorized access to resource");
    refused(service.get("/Dog/?age=3").await);
    refused(service.get("/Dog/?(name=Rex|age=gt=1)").await);
    refused(service.get("/Dog/?sort(age)").await);
    let query = r#"{"conditions":[{"attribute":"age","value":3}]}"#;
    refused(service.send(Call::new("QUERY", "/Dog/").json(query)).await);
    refused(service.send(Call::new("DELETE", "/Dog/?age=3")).await);
    assert_eq!(service.dogs.len(), 1);
}

#[tokio::test]
async fn p16_a_move_never_loses_what_its_user_can_not_read() {
    let service = reader_of(&["name"]);
    let call = |method| Call::new(method, "/Dog/1").header("destination", "/Dog/2");
    service
        .send(call("MOVE"))
        .await
        .fails(403, "Unauthorized access to resource");
    service.send(call("COPY")).await.is(201, "");
    assert_eq!(service.dogs.len(), 2);
}

#[tokio::test]
async fn p21_a_forbidden_record_and_an_absent_one_look_the_same() {
    let service = Service::new().by(role(TableAccess::default()));
    service
        .dogs
        .fill([Map::from_iter([("id", Value::from("1"))])]);
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "COPY", "MOVE"] {
        let of = async |url| {
            let call = Call::new(method, url)
                .json("{}")
                .header("if-match", "\"x\"")
                .header("destination", "/Dog/9");
            let reply = service.send(call).await;
            let text = reply.text().replace(url, "");
            (reply.status.as_u16(), text)
        };
        let present = of("/Dog/1").await;
        assert_eq!(present.0, 403, "{method}");
        assert_eq!(present, of("/Dog/2").await, "{method}");
    }
}
