//! One request on its way through a resource: what is known about it, and what all methods share.

use std::borrow::Cow;
use std::sync::Arc;

use base::WorkerId;
use bytes::Bytes;
use content::{Format, Layout, MediaType, NotAcceptable, Projection};
use http::{HeaderValue, StatusCode, header};
use http_chain::{Request, Response};
use resource::{
    Action, Context, Error, Methods, Protocol, Resource, TableDefinition, TakenBlob, Value,
};

use crate::address::{Address, Place};
use crate::etag::EntityTag;
use crate::failure::Failure;
use crate::handler::Shared;
use crate::query;
use crate::route::Route;
use crate::verb::{self, Verb};

/// The result of one step: a response, or why there is none.
pub(crate) type Outcome<T = Response> = Result<T, Failure>;

/// One request whose resource is known.
pub(crate) struct Call {
    pub(crate) shared: Arc<Shared>,
    pub(crate) resource: Arc<dyn Resource>,
    pub(crate) table: Option<Arc<TableDefinition>>,
    pub(crate) route: Route,
    pub(crate) request: Request,
    pub(crate) context: Context,
    /// Contents that the resource has taken and no write has used yet.
    pub(crate) taken: Vec<TakenBlob>,
    /// The suffix of the path, once it has been read.
    suffix: Option<&'static str>,
}

impl Call {
    pub(crate) fn new(
        shared: Arc<Shared>,
        resource: Arc<dyn Resource>,
        route: Route,
        request: Request,
    ) -> Self {
        let worker = request.conn().map_or(WorkerId(0), |conn| conn.worker);
        Self {
            context: Context::new(request.caller().clone(), worker, Protocol::Rest),
            table: resource.table(),
            shared,
            resource,
            route,
            request,
            taken: Vec::new(),
            suffix: None,
        }
    }

    /// Carries out the method.
    pub(crate) async fn answer(&mut self) -> Outcome {
        let Some(verb) = Verb::of(self.request.method()) else {
            let detail = format!("Method {} is not recognized", self.request.method());
            return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, detail));
        };
        if verb == Verb::Options {
            return Ok(self.options());
        }
        let address = self.address()?;
        self.suffix = address.suffix;
        if verb == Verb::Brew {
            let detail = format!(
                "{} is short and stout and can't brew coffee",
                self.resource.name()
            );
            return Err(Failure::new(StatusCode::IM_A_TEAPOT, detail));
        }
        if !verb.is_in(self.resource.methods()) {
            return Err(self.not_allowed(verb));
        }
        match verb {
            Verb::Get | Verb::Head => self.read(&address).await,
            Verb::Query => self.read_query(&address).await,
            Verb::Post => self.post(&address).await,
            Verb::Put => self.put(&address).await,
            Verb::Patch => self.patch(&address).await,
            Verb::Delete => self.delete(&address).await,
            Verb::Copy | Verb::Move => self.transfer(verb, &address).await,
            Verb::Options | Verb::Trace | Verb::Brew => Err(self.not_allowed(verb)),
        }
    }

    fn address(&self) -> Outcome<Address> {
        let target = self.route.target(self.request.pathname());
        self.parse_target(target, self.request.query())
    }

    /// What a target, as this route leaves it, and a query address within the resource.
    pub(crate) fn parse_target(&self, target: &str, query: Option<&str>) -> Outcome<Address> {
        // The root export has no description of its own: `/` is its collection.
        let target = match self.route.is_root() {
            true => Cow::Owned(format!("/{target}")),
            false => Cow::Borrowed(target),
        };
        if self.resource.direct_url_mapping() {
            return Ok(Address::direct(&*self.resource, &target, query)?);
        }
        let types = &self.shared.config.types;
        let has_query = query.is_some_and(|query| !query.is_empty());
        Ok(Address::parse(&*self.resource, types, &target, has_query)?)
    }

    fn options(&self) -> Response {
        let mut response = Response::new(StatusCode::NO_CONTENT);
        self.set_allow(&mut response);
        response
    }

    /// 405 (`rest.md` §3.8).
    pub(crate) fn not_allowed(&self, verb: Verb) -> Failure {
        let method = verb.name().to_ascii_lowercase();
        Error::method_not_allowed(self.resource.name(), &method).into()
    }

    fn set_allow(&self, response: &mut Response) {
        let address = self.address().ok();
        let allow = verb::allow(self.resource.methods(), address.as_ref());
        let allow = HeaderValue::try_from(allow).expect("names of methods are visible ASCII");
        response.headers_mut().insert(header::ALLOW, allow);
    }

    /// The response for a failure, in a format that the client accepts or else in JSON.
    pub(crate) fn respond_failure(&self, failure: Failure) -> Response {
        let types = &self.shared.config.types;
        let format = match failure.status() {
            StatusCode::NOT_ACCEPTABLE => types.default_format(),
            _ => self.format().unwrap_or(types.default_format()),
        };
        let is_not_allowed = failure.status() == StatusCode::METHOD_NOT_ALLOWED;
        let style = self.shared.config.error_format;
        let mut response = failure.into_response(format, style, self.request.pathname());
        if is_not_allowed {
            self.set_allow(&mut response);
        }
        self.vary(&mut response);
        response
    }

    /// G1: no such record; the body is empty.
    pub(crate) fn respond_absent(&self) -> Response {
        let mut response = Response::new(StatusCode::NOT_FOUND);
        self.vary(&mut response);
        response
    }

    /// A value in the negotiated format.
    pub(crate) fn respond_value(&self, status: StatusCode, value: &Value) -> Outcome {
        let format = self.format()?;
        Ok(self.respond(status, format, format.to_vec(value)?))
    }

    /// Bytes that are in `format` already.
    pub(crate) fn respond(
        &self,
        status: StatusCode,
        format: &Format,
        body: impl Into<http_chain::Body>,
    ) -> Response {
        const ATTACHMENT: HeaderValue =
            HeaderValue::from_static("attachment; filename=\"data.csv\"");
        let mut response = Response::with_body(status, body);
        if let Ok(content_type) = HeaderValue::from_str(format.content_type()) {
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, content_type);
        }
        if format.media_type() == "text/csv" {
            response = response.with_header(header::CONTENT_DISPOSITION, ATTACHMENT);
        }
        self.vary(&mut response);
        response
    }

    /// Tells caches what a representation depends on.
    pub(crate) fn vary(&self, response: &mut Response) {
        if self.suffix.is_none() {
            response.add_vary("Accept");
        }
        response.add_vary("Accept-Encoding");
    }

    /// The format of the response.
    pub(crate) fn format(&self) -> Result<&Format, NotAcceptable> {
        let types = &self.shared.config.types;
        types.negotiate(self.accept().as_deref(), self.suffix)
    }

    fn accept(&self) -> Option<Cow<'_, str>> {
        joined(&self.request, &header::ACCEPT)
    }

    /// The layout of records in `format`.
    pub(crate) fn layout(&self, format: &Format, projection: Projection) -> Layout {
        let has_columns = format.codec().has_columns();
        Layout {
            projection,
            attributes: has_columns.then(|| self.readable_attributes()).flatten(),
        }
    }

    /// Names of the attributes that records hold and the caller may read; `None` if nothing is declared.
    fn readable_attributes(&self) -> Option<Vec<String>> {
        let table = self.table.as_deref()?;
        let stored = table.attributes.iter().filter(|known| known.is_stored());
        let names = stored.map(|attribute| &attribute.name);
        let names: Vec<String> = names.filter(|name| self.may_read(name)).cloned().collect();
        (!names.is_empty()).then_some(names)
    }

    /// Whether the caller may read this attribute of the table.
    pub(crate) fn may_read(&self, name: &str) -> bool {
        let Some(table) = self.table.as_deref() else {
            return true;
        };
        let access = self.context.caller.table_access(&*self.resource);
        access
            .and_then(|access| access.attributes)
            .is_none_or(|allowed| allowed.allows(Action::Read, name, &table.primary_key))
    }

    /// What follows the `?`, unless it is empty, or part of the key.
    pub(crate) fn query_text(&self) -> Option<&str> {
        let query = self.request.query().filter(|query| !query.is_empty())?;
        (!self.resource.direct_url_mapping()).then_some(query)
    }

    pub(crate) fn query(&self) -> Outcome<resource::Query> {
        let Some(text) = self.query_text() else {
            return Ok(resource::Query::default());
        };
        let table = self.table.as_deref();
        let is_declared = |name: &str| table.is_some_and(|table| table.attribute(name).is_some());
        Ok(query::parse(text, &is_declared)?)
    }

    /// Whether the caller may do any of `actions`; asked before a body is read.
    pub(crate) fn authorize(&self, actions: &[Action]) -> Outcome<()> {
        Ok(self.resource.authorize(&self.context, actions)?)
    }

    /// The whole body.
    pub(crate) async fn body(&mut self) -> Outcome<Bytes> {
        let limit = self.shared.config.max_body_bytes;
        let bytes = self.request.bytes(limit).await?;
        match bytes.is_empty() {
            true => Err(Error::bad_request("A body is required").into()),
            false => Ok(bytes),
        }
    }

    /// The value of a body of any type.
    pub(crate) async fn value(&mut self) -> Outcome<Value> {
        if let Some(media_type) = self.multipart()? {
            return self.form(&media_type).await;
        }
        if let Some(record) = self.foreign().await? {
            return Ok(record);
        }
        let bytes = self.body().await?;
        let types = &self.shared.config.types;
        let value = types.decode_any(self.content_type()?, &bytes, self.table.as_deref())?;
        Ok(value)
    }

    /// The type of a form with files.
    fn multipart(&self) -> Outcome<Option<MediaType>> {
        const MULTIPART: &str = "multipart/";
        let content_type = self.content_type()?.filter(|content_type| {
            let start = content_type.get(..MULTIPART.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(MULTIPART))
        });
        let media_type = content_type.and_then(MediaType::parse);
        Ok(media_type.filter(|media_type| media_type.essence() == "multipart/form-data"))
    }

    pub(crate) fn content_type(&self) -> Outcome<Option<&str>> {
        let Some(value) = self.request.headers().get(header::CONTENT_TYPE) else {
            return Ok(None);
        };
        match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Error::unsupported_media_type("Content-Type is not ASCII").into()),
        }
    }

    /// A response to a write of one record, with the tag of its new version (E5).
    pub(crate) fn with_version(&self, response: Response, version: base::Timestamp) -> Response {
        match EntityTag::of(version) {
            Some(tag) => response.with_header(header::ETAG, tag.to_header()),
            None => response,
        }
    }

    pub(crate) fn methods(&self) -> Methods {
        self.resource.methods()
    }

    /// The prefix of new keys in a sub-collection.
    pub(crate) fn prefix(address: &Address) -> Option<&str> {
        match &address.place {
            Place::SubCollection(prefix) => Some(prefix),
            _ => None,
        }
    }
}

/// The lines of a list field as one; `None` if there are none.
fn joined<'r>(request: &'r Request, name: &header::HeaderName) -> Option<Cow<'r, str>> {
    let mut lines = request
        .headers()
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let first = lines.next()?;
    match lines.next() {
        None => Some(Cow::Borrowed(first)),
        Some(second) => {
            let mut all = format!("{first},{second}");
            for line in lines {
                all.push(',');
                all.push_str(line);
            }
            Some(Cow::Owned(all))
        }
    }
}
