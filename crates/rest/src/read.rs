//! GET, HEAD and QUERY (`rest.md` §3.1, §3.7).

use base::Timestamp;
use content::{Format, Projection};
use http::{HeaderValue, StatusCode, header};
use http_chain::Response;
use resource::{Action, Error, Key, Query, Record, Select, SelectItem, Target, Value};

use crate::address::{Address, Place};
use crate::call::{Call, Outcome};
use crate::collection::Collection;
use crate::conditional::{self, Verdict};
use crate::etag::EntityTag;
use crate::verb::Verb;
use crate::{query, range, raw};

impl Call {
    pub(crate) async fn read(&mut self, address: &Address) -> Outcome {
        match &address.place {
            Place::Resource => self.describe().await,
            Place::Record(key) => self.read_record(key, address).await,
            Place::Collection => self.read_collection(None, self.query()?).await,
            Place::SubCollection(prefix) => {
                let key = Key::String(prefix.clone());
                self.read_collection(Some(key), self.query()?).await
            }
        }
    }

    /// QUERY: the body is the query.
    pub(crate) async fn read_query(&mut self, address: &Address) -> Outcome {
        let key = match &address.place {
            Place::Resource | Place::Collection => None,
            Place::SubCollection(prefix) => Some(Key::String(prefix.clone())),
            Place::Record(_) => return Err(self.not_allowed(Verb::Query)),
        };
        if self.query_text().is_some() {
            return Err(Error::bad_request("QUERY takes its query from the body").into());
        }
        self.authorize(&[Action::Read])?;
        let body = self.body().await?;
        let types = &self.shared.config.types;
        let mut value = types.decode(self.content_type()?, &body)?;
        let explain = take_explain(&mut value)?;
        let query = query::from_value(&value)?;
        match explain {
            true => self.explain(key, query).await,
            false => self.read_collection(key, query).await,
        }
    }

    async fn read_record(&self, key: &Key, address: &Address) -> Outcome {
        // A record is found by its key alone: conditions, order and limits have nothing to choose from.
        let mut query = self.query()?;
        if let Some(property) = &address.property {
            if query.select.is_some() {
                return Err(Error::bad_request("A property takes no select").into());
            }
            query.select = Some(Select::One(SelectItem::named(property)));
        }
        let projection = Projection::new(query.select.as_ref())?;
        let target = Target {
            key: Some(key.clone()),
            collection: false,
            query,
        };
        if let Some(property) = &address.property
            && self.is_blob(property)
        {
            return self.respond_blob(&target, property, None).await;
        }
        let Some(record) = self.resource.get(&target, &self.context).await? else {
            return Ok(self.respond_absent());
        };
        if let Some(content_type) = self.content_type_of(&record, &projection, address) {
            return self.respond_blob(&target, "data", Some(content_type)).await;
        }
        match conditional::check_read(self.request.headers(), record.version) {
            Verdict::Failed => return Err(conditional::failed().into()),
            Verdict::NotModified => {
                let mut response = Response::new(StatusCode::NOT_MODIFIED);
                self.vary(&mut response);
                return Ok(self.with_validators(response, record.version));
            }
            Verdict::Proceed => {}
        }
        let response = match address.property {
            Some(_) => self.respond_property(&record, projection),
            None => self.respond_record(&record, projection, address),
        }?;
        Ok(self.with_validators(response, record.version))
    }

    /// The type of a record that is content of another type, and keeps it as a blob.
    fn content_type_of(
        &self,
        record: &Record,
        projection: &Projection,
        address: &Address,
    ) -> Option<String> {
        if !projection.is_whole() || address.suffix.is_some() || !self.is_blob("data") {
            return None;
        }
        let Some(Value::String(content_type)) = record.body.attribute("contentType") else {
            return None;
        };
        let data = record.body.attribute("data")?;
        let is_content = !data.is_null() && content::MediaType::parse(&content_type).is_some();
        is_content.then_some(content_type)
    }

    /// X4, G4: what is content of another type goes out as it is; a bare value that is absent is 404.
    fn respond_record(
        &self,
        record: &Record,
        projection: Projection,
        address: &Address,
    ) -> Outcome {
        if projection.is_whole() && address.suffix.is_none() {
            let inline = self.shared.config.inline_active_content;
            if let Some((mut response, bytes)) = raw::respond(&record.body, inline) {
                response.add_vary("Accept-Encoding");
                return Ok(range::narrow_bytes(
                    response,
                    &self.request,
                    &bytes,
                    record.version,
                ));
            }
        }
        if let Projection::One(field) = &projection
            && field.value(record).is_none()
        {
            return Ok(self.respond_absent());
        }
        let format = self.format()?;
        let bytes = format.single(record, self.layout(format, projection))?;
        Ok(self.respond(StatusCode::OK, format, bytes))
    }

    fn respond_property(&self, record: &Record, projection: Projection) -> Outcome {
        match projection.project(record) {
            None => Ok(self.respond_absent()),
            Some(Value::Bytes(bytes)) => Ok(range::narrow_bytes(
                raw::octets(),
                &self.request,
                &bytes,
                record.version,
            )),
            Some(value) => self.respond_value(StatusCode::OK, &value),
        }
    }

    /// E3, and `Last-Modified` where it is wanted.
    pub(crate) fn with_validators(&self, response: Response, version: Timestamp) -> Response {
        let Some(tag) = EntityTag::of(version) else {
            return response;
        };
        let response = response.with_header(header::ETAG, tag.to_header());
        let is_wanted = self.shared.config.last_modified;
        let date = is_wanted.then(|| conditional::http_date(version));
        match date.flatten().map(HeaderValue::try_from) {
            Some(Ok(date)) => response.with_header(header::LAST_MODIFIED, date),
            _ => response,
        }
    }

    /// How the query would be answered, instead of the records.
    async fn explain(&self, key: Option<Key>, query: Query) -> Outcome {
        Projection::new(query.select.as_ref())?;
        let target = Target {
            key,
            collection: true,
            query,
        };
        let plan = self.resource.explain(&target, &self.context).await?;
        self.respond_value(StatusCode::OK, &plan)
    }

    /// HEAD encodes as much as would be sent at once, so that a small collection tells its true length.
    async fn read_collection(&self, key: Option<Key>, query: Query) -> Outcome {
        let projection = Projection::new(query.select.as_ref())?;
        let target = Target {
            key,
            collection: true,
            query,
        };
        let records = self.resource.search(&target, &self.context).await?;
        let format = self.format()?;
        let sequence = format.sequence(self.layout(format, projection));
        let body = Collection::new(records, sequence).into_body().await?;
        Ok(self.respond(StatusCode::OK, format, body))
    }

    /// Fails before anything has been done if its success could not be told (`rest.md` §9.2, 7).
    pub(crate) fn check_acceptable(&self) -> Outcome<&Format> {
        Ok(self.format()?)
    }
}

/// Takes `explain` out of a query.
fn take_explain(query: &mut Value) -> Result<bool, Error> {
    let Value::Map(map) = query else {
        return Ok(false);
    };
    match map.remove("explain") {
        None | Some(Value::Bool(false)) => Ok(false),
        Some(Value::Bool(true)) => Ok(true),
        Some(_) => Err(Error::bad_request(
            "Query member 'explain' takes true or false",
        )),
    }
}
