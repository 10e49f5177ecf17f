//! The OpenAPI document: `rest.md` §12.

mod support;

use std::sync::Arc;

use http_chain::{Chain, Handler as _, Request, Stage};
use resource::schema::ObjectType;
use resource::{
    Attribute, AttributeType, Caller, Exposure, Map, Permissions, Registry, Relation, User, Value,
    json,
};
use rest::openapi::{OpenApi, OpenApiConfig, document};

use crate::support::Table;

fn registry() -> Registry {
    let registry = Registry::new();
    registry.export("Dog", Arc::new(Table::dogs()), Exposure::default());
    registry.export("api/Dog", Arc::new(Table::books()), Exposure::default());
    let address = ObjectType {
        name: "Address".to_owned(),
        properties: vec![Attribute {
            nullable: false,
            ..Attribute::new("city", AttributeType::String)
        }],
        sealed: true,
    };
    let owner = Table::new(
        "Owner",
        vec![
            Attribute::new("id", AttributeType::Long),
            Attribute::new("address", AttributeType::Object(Arc::new(address))),
            Attribute {
                relation: Some(Relation {
                    table: "Dog".to_owned(),
                    from: None,
                    to: Some("ownerId".to_owned()),
                }),
                ..Attribute::new("dog", AttributeType::Any)
            },
            Attribute {
                assigned_updated_time: true,
                ..Attribute::new("changed", AttributeType::Date)
            },
        ],
    );
    registry.export("Owner", Arc::new(owner), Exposure::default());
    let mqtt_only = Exposure {
        rest: false,
        ..Exposure::default()
    };
    registry.export("Hidden", Arc::new(Table::dogs()), mqtt_only);
    registry
}

/// The value at a path of member names.
fn at<'v>(value: &'v Value, path: &[&str]) -> &'v Value {
    path.iter().fold(value, |value, name| {
        let found = value.as_map().and_then(|map| map.get(name));
        found.unwrap_or_else(|| panic!("no {name} in {value:?}"))
    })
}

fn shown(value: &Value) -> String {
    String::from_utf8(json::to_vec(value)).unwrap()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_map().map(Map::keys).unwrap().collect()
}

#[test]
fn a2_a3_paths_of_every_export() {
    let document = document(
        &registry(),
        &OpenApiConfig::default(),
        Some("http://dogs.example:9926"),
    );
    assert_eq!(at(&document, &["openapi"]).as_str(), Some("3.1.0"));
    let title = at(&document, &["info", "title"]).as_str().unwrap();
    assert!(title.contains("REST interface"));
    assert_eq!(
        shown(at(&document, &["servers"])),
        r#"[{"url":"http://dogs.example:9926"}]"#
    );
    assert_eq!(
        names(at(&document, &["paths"])),
        [
            "/Dog",
            "/Dog/",
            "/Dog/{id}",
            "/Dog/{id}.{property}",
            "/Owner",
            "/Owner/",
            "/Owner/{id}",
            "/Owner/{id}.{property}",
            "/api/Dog",
            "/api/Dog/",
            "/api/Dog/{id}",
            "/api/Dog/{id}.{property}",
        ]
    );
    assert_eq!(
        names(at(&document, &["paths", "/Dog/"])),
        ["get", "post", "put", "delete", "options"]
    );
    assert_eq!(
        names(at(&document, &["paths", "/Dog/{id}"])),
        ["parameters", "get", "put", "patch", "delete", "options"]
    );
    let created = at(&document, &["paths", "/Dog/", "post", "responses", "201"]);
    assert_eq!(names(at(created, &["headers"])), ["Location", "ETag"]);
}

#[test]
fn a4_schemas_of_records() {
    let document = document(&registry(), &OpenApiConfig::default(), None);
    let schemas = at(&document, &["components", "schemas"]);
    assert_eq!(
        names(schemas),
        [
            "Problem",
            "Dog",
            "Dog.new",
            "Dog.content",
            "Address",
            "Owner",
            "Owner.new",
            "Owner.content",
            "api_Dog.2",
            "api_Dog.2.new",
            "api_Dog.2.content",
        ]
    );
    let property = |name: &str| shown(at(schemas, &["Dog", "properties", name]));
    assert_eq!(property("name"), r#"{"type":["string","null"]}"#);
    assert_eq!(property("id"), r#"{"type":"string","format":"ID"}"#);
    assert_eq!(
        property("age"),
        r#"{"type":["integer","null"],"format":"Int","minimum":-2147483648,"maximum":2147483647}"#
    );
    assert_eq!(property("n"), "{}");
    assert!(property("picture").contains(r#""const":"Buffer""#));
    let owner = |name: &str| shown(at(schemas, &["Owner", "properties", name]));
    assert_eq!(
        owner("dog"),
        r##"{"allOf":[{"$ref":"#/components/schemas/Dog"}],"readOnly":true}"##
    );
    assert_eq!(
        owner("address"),
        r##"{"oneOf":[{"$ref":"#/components/schemas/Address"},{"type":"null"}]}"##
    );
    assert_eq!(
        owner("changed"),
        r#"{"type":["string","null"],"format":"Date","readOnly":true}"#
    );
    let written = |name: &str| names(at(schemas, &[name, "properties"]));
    assert_eq!(written("Owner.new"), ["id", "address"]);
    assert_eq!(written("Owner.content"), ["address"]);
    assert_eq!(
        shown(at(schemas, &["Address"])),
        r#"{"type":"object","properties":{"city":{"type":"string"}},"additionalProperties":false,"required":["city"]}"#
    );
}

#[test]
fn a5_either_scheme_is_enough() {
    let document = document(&registry(), &OpenApiConfig::default(), None);
    assert_eq!(
        shown(at(&document, &["security"])),
        r#"[{"basicAuth":[]},{"bearerAuth":[]}]"#
    );
}

/// Every reference leads somewhere, and every operation id is used once.
#[test]
fn the_document_is_sound() {
    fn walk<'v>(value: &'v Value, see: &mut dyn FnMut(&'v str, &'v Value)) {
        for (name, member) in value.as_map().into_iter().flat_map(Map::iter) {
            see(name, member);
            walk(member, see);
        }
        for item in value.as_array().unwrap_or_default() {
            walk(item, see);
        }
    }
    let document = document(&registry(), &OpenApiConfig::default(), None);
    let mut ids = Vec::new();
    walk(&document, &mut |name, value| match (name, value.as_str()) {
        ("$ref", Some(reference)) => {
            let path: Vec<_> = reference.split('/').skip(1).collect();
            at(&document, &path);
        }
        ("operationId", Some(id)) => ids.push(id),
        _ => {}
    });
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), count > 20), (count, true));
}

fn request(method: http::Method, url: &str, caller: Caller) -> Request {
    let mut request = Request::new(method, url).unwrap();
    request.extensions_mut().insert(caller);
    request
}

#[tokio::test]
async fn a1_c19_it_is_for_super_users_at_its_exact_path() {
    let openapi = OpenApi::new(Arc::new(registry()), OpenApiConfig::default());
    let user = Caller::User(Arc::new(User {
        username: "ann".into(),
        role: "reader".into(),
        permissions: Arc::new(Permissions::default()),
    }));
    for (method, url, caller, status) in [
        (http::Method::GET, "/openapi", Caller::internal("root"), 200),
        (
            http::Method::POST,
            "/openapi",
            Caller::internal("root"),
            405,
        ),
        (http::Method::GET, "/openapi", Caller::Anonymous, 401),
        (http::Method::GET, "/openapi", user, 403),
    ] {
        let chain = Chain::new([("openapi", Stage::handler(openapi.clone()))]);
        let response = chain.answer(request(method, url, caller)).await;
        assert_eq!(response.status(), status);
        if status == 200 {
            let body = response.into_body().collect(u64::MAX).await.unwrap();
            assert!(json::from_slice(&body).is_ok());
        }
    }
    for url in ["/openapi?x", "/openapi/", "/Dog"] {
        assert!(!openapi.accepts(&request(http::Method::GET, url, Caller::internal("root"))));
    }
}
