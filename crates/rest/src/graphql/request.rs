//! What a client asks, by GET or POST.

use content::{ContentTypes, MediaType};
use http::{Method, header};
use http_chain::{Request, percent};
use resource::{Error, Map, Value, json};

use super::not_allowed;
use crate::failure::Failure;

/// A document, and what belongs to it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) document: String,
    pub(super) operation: Option<String>,
    pub(super) variables: Map,
}

/// Reads the request.
///
/// # Errors
///
/// 400 for what is malformed, 405 for other methods, 413 and 415 by the body.
pub(super) async fn read(request: &mut Request, max_body_bytes: u64) -> Result<Asked, Failure> {
    let asked = match *request.method() {
        Method::GET => of_query(request.query().unwrap_or_default())?,
        Method::POST => {
            let bytes = request.bytes(max_body_bytes).await?;
            let content_type = request.headers().get(header::CONTENT_TYPE);
            let content_type = content_type.and_then(|value| value.to_str().ok());
            of_body(content_type, &bytes)?
        }
        _ => return Err(not_allowed(request.method())),
    };
    match asked.document.trim().is_empty() {
        true => Err(Error::bad_request("A 'query' is required").into()),
        false => Ok(asked),
    }
}

fn of_query(query: &str) -> Result<Asked, Error> {
    let mut asked = Asked::default();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let spaced = value.replace('+', " ");
        let value = percent::decode(&spaced)
            .map_err(|error| Error::bad_request(format!("{error} in '{name}'")))?;
        match name {
            "query" => asked.document = value.into_owned(),
            "operationName" => asked.operation = Some(value.into_owned()),
            "variables" if value.is_empty() => {}
            "variables" => {
                let value = json::from_slice(value.as_bytes())
                    .map_err(|error| Error::bad_request(format!("variables: {error}")))?;
                asked.variables = variables(&value)?;
            }
            // Extensions and parameters of others.
            _ => {}
        }
    }
    Ok(asked)
}

fn of_body(content_type: Option<&str>, bytes: &[u8]) -> Result<Asked, Error> {
    let essence = content_type.and_then(MediaType::parse);
    if essence.is_some_and(|media_type| media_type.essence() == "application/graphql") {
        let document = std::str::from_utf8(bytes)
            .map_err(|_| Error::bad_request("The document is not UTF-8"))?;
        return Ok(Asked {
            document: document.to_owned(),
            ..Asked::default()
        });
    }
    let body = ContentTypes::standard().decode(content_type, bytes)?;
    let Some(body) = body.as_map() else {
        return Err(Error::bad_request("The body has to be an object"));
    };
    let text = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::bad_request(format!("'{name}' has to be a text"))),
    };
    Ok(Asked {
        document: text("query")?.unwrap_or_default(),
        operation: text("operationName")?.filter(|name| !name.is_empty()),
        variables: match body.get("variables") {
            None => Map::new(),
            Some(value) => variables(value)?,
        },
    })
}

fn variables(value: &Value) -> Result<Map, Error> {
    match value {
        Value::Null => Ok(Map::new()),
        Value::Map(map) => Ok(map.clone()),
        _ => Err(Error::bad_request("'variables' has to be an object")),
    }
}
