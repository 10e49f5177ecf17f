//! The handler: from a request to the operation it names, in the order of `operations-api.md` §1.1.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use auth::Directory;
use base::WorkerId;
use bytes::Bytes;
use content::ContentTypes;
use http::{HeaderValue, Method, StatusCode, Version, header};
use http_chain::auth::{RefreshToken, SessionControl};
use http_chain::{BodyError, BoxFuture, Handler, Request, Response};
use resource::{Caller, Catalog, Context, Error, Map, Protocol, Value};

use crate::operation::must_login;
use crate::redact::Redacted;
use crate::{
    Backups, BulkLimits, Call, ComponentsConfig, Configuration, Failure, History, Jobs, Lifecycle,
    LogSource, Need, Operation, OpsConfig, Reply, Structure, operations, permission,
};

/// A body of more bytes is decoded on another thread, since a worker must not be kept for long.
const DECODE_ON_WORKER_BYTES: usize = 256 << 10;

/// The Operations API as a handler: answers `POST /` and `GET /health` and hands everything else back.
///
/// Place: behind authentication and CORS. Behind a limit on bodies too, if there is one at the edge: it
/// has to allow [`OpsConfig::body_limit_bytes`].
pub struct Operations {
    operations: HashMap<&'static str, Arc<Operation>>,
    catalog: Arc<dyn Catalog>,
    directory: Option<Arc<Directory>>,
    types: ContentTypes,
    config: OpsConfig,
}

impl Operations {
    /// The operations on databases, tables, records and the system.
    pub fn new(catalog: Arc<dyn Catalog>, config: OpsConfig) -> Self {
        let mut new = Self {
            operations: HashMap::new(),
            directory: None,
            catalog,
            types: ContentTypes::standard(),
            config,
        };
        for operation in operations::standard(&new.catalog, &new.config) {
            new.add(operation);
        }
        new
    }

    /// Adds the operations on users, roles, tokens and sessions.
    #[must_use]
    pub fn with_directory(mut self, directory: Arc<Directory>) -> Self {
        for operation in operations::users(Arc::clone(&directory), Arc::clone(&self.catalog)) {
            self.add(operation);
        }
        self.directory = Some(directory);
        self
    }

    /// Adds jobs: bulk loads, exports, deletions by age, and the questions how they are doing.
    #[must_use]
    pub fn with_jobs(self, jobs: &Jobs, limits: &BulkLimits) -> Self {
        let operations = operations::jobs(&self.catalog, jobs, limits);
        self.with_operations(operations)
    }

    /// Adds the making and dropping of attributes.
    #[must_use]
    pub fn with_structure(self, structure: Arc<dyn Structure>) -> Self {
        let operations = operations::attributes(&self.catalog, structure);
        self.with_operations(operations)
    }

    /// Adds the log of changes: reading it, and shortening it by jobs.
    #[must_use]
    pub fn with_history(self, history: Arc<dyn History>, jobs: &Jobs) -> Self {
        let operations = operations::history(&self.catalog, history, jobs);
        self.with_operations(operations)
    }

    /// Adds the reading of logs.
    #[must_use]
    pub fn with_logs(self, source: Arc<dyn LogSource>) -> Self {
        self.with_operations(operations::logs(source))
    }

    /// Adds the reading and changing of the configuration.
    #[must_use]
    pub fn with_configuration(self, configuration: Arc<dyn Configuration>) -> Self {
        self.with_operations(operations::configuration(configuration))
    }

    /// Adds restarts and status.
    #[must_use]
    pub fn with_lifecycle(self, lifecycle: Arc<dyn Lifecycle>, jobs: &Jobs) -> Self {
        let operations = operations::lifecycle(&self.catalog, lifecycle, jobs);
        self.with_operations(operations)
    }

    /// Adds backups, which are kept in `directory`.
    #[must_use]
    pub fn with_backups(self, backups: Arc<dyn Backups>, directory: PathBuf, jobs: &Jobs) -> Self {
        let operations = operations::backups(&self.catalog, backups, directory, jobs);
        self.with_operations(operations)
    }

    /// Adds components: their files, packages and directories.
    #[must_use]
    pub fn with_components(self, config: ComponentsConfig, lifecycle: Arc<dyn Lifecycle>) -> Self {
        self.with_operations(operations::components(config, lifecycle))
    }

    fn with_operations(mut self, operations: Vec<Operation>) -> Self {
        for operation in operations {
            self.add(operation);
        }
        self
    }

    /// Adds an operation, in place of one of the same name.
    #[must_use]
    pub fn with_operation(mut self, operation: Operation) -> Self {
        self.add(operation);
        self
    }

    /// Speaks these formats. Default: those of [`ContentTypes::standard`].
    #[must_use]
    pub fn with_content_types(mut self, types: ContentTypes) -> Self {
        self.types = types;
        self
    }

    fn add(&mut self, operation: Operation) {
        let operation = Arc::new(operation);
        for name in operation.names() {
            self.operations.insert(name, Arc::clone(&operation));
        }
    }

    async fn answer(&self, request: Request) -> Response {
        let format = match self.types.negotiate(accept(&request).as_deref(), None) {
            Ok(format) => format,
            Err(error) => {
                return Response::json_error(StatusCode::NOT_ACCEPTABLE, &error.to_string());
            }
        };
        // HTTP/2 has no such field, and hands over between processes without it.
        let has_connection_field = request.version() <= Version::HTTP_11;
        match self.perform(request).await {
            Ok(reply) if reply.closes() && has_connection_field => reply
                .into_response(format)
                .with_header(header::CONNECTION, HeaderValue::from_static("close")),
            Ok(reply) => reply.into_response(format),
            Err(failure) => failure.into_response(format),
        }
    }

    async fn perform(&self, mut request: Request) -> Result<Reply, Failure> {
        let caller = request.caller().clone();
        let content_type = content_type(&request)?;
        let bytes = self.read(&mut request, &caller).await?;
        let mut parameters = self.decode(content_type, bytes).await?;
        let name = match parameters.get("operation") {
            None | Some(Value::Null) => {
                return Err(Failure::new(
                    400,
                    "Request body must include an 'operation' property.",
                ));
            }
            Some(Value::String(name)) => name.clone(),
            Some(other) => String::from_utf8_lossy(&resource::json::to_vec(other)).into_owned(),
        };
        // Once a way around permissions; never a parameter.
        parameters.remove("bypass_auth");
        let operation = self.find(&name, &caller)?;
        let worker = request.conn().map_or(WorkerId(0), |conn| conn.worker);
        let mut context = Context::new(caller, worker, Protocol::Operations);
        context.operation = Some(operation.name());
        let extensions = request.extensions();
        let call = Call {
            peer: request.conn().and_then(|_| request.ip()),
            session: extensions.get::<SessionControl>().cloned(),
            refresh_token: extensions.get::<RefreshToken>().cloned(),
            parameters,
            context,
        };
        self.run(operation, call).await
    }

    fn find(&self, name: &str, caller: &Caller) -> Result<&Operation, Failure> {
        let operation = self.operations.get(name);
        let is_open = operation.is_some_and(|operation| operation.need() == Need::Nothing);
        if caller.user().is_none() && !is_open {
            return Err(must_login());
        }
        let operation = operation.map(|operation| &**operation);
        operation.ok_or_else(|| Failure::new(400, format!("Operation '{name}' not found")))
    }

    async fn run(&self, operation: &Operation, mut call: Call) -> Result<Reply, Failure> {
        let user = call.context.caller.username().map(|name| name.to_string());
        let user = user.unwrap_or_default();
        if let Some(wanted) = call.parameters.remove("impersonate") {
            call.context.caller = self.impersonate(operation, &wanted, &call.context.caller)?;
        }
        permission::require_operation(operation, &call)?;
        let name = operation.name();
        tracing::debug!(target: "operations", operation = name, user, parameters = %Redacted(&call.parameters));
        let reply = operation.run(call).await;
        match &reply {
            Ok(_) => tracing::info!(target: "operations", operation = name, user, "done"),
            Err(failure) => tracing::info!(
                target: "operations", operation = name, user, status = failure.status(), "refused"
            ),
        }
        reply
    }

    /// Who the operation runs as. Operations on credentials are not for somebody else's hands.
    fn impersonate(
        &self,
        operation: &Operation,
        wanted: &Value,
        caller: &Caller,
    ) -> Result<Caller, Failure> {
        let Some(directory) = &self.directory else {
            // To run it with the caller's own rights instead would be worse than not to run it.
            return Err(Failure::new(
                501,
                "'impersonate' needs a directory of users",
            ));
        };
        if operations::CREDENTIALS.contains(&operation.name()) {
            let text = format!("'{}' is refused while impersonating", operation.name());
            return Err(Failure::new(403, text));
        }
        Ok(directory.impersonate(caller, wanted, Some(&*self.catalog))?)
    }

    async fn read(&self, request: &mut Request, caller: &Caller) -> Result<Bytes, Failure> {
        let config = &self.config;
        if caller.user().is_some() {
            return Ok(request.bytes(config.body_limit_bytes).await?);
        }
        let limit = config
            .anonymous_body_limit_bytes
            .min(config.body_limit_bytes);
        request.bytes(limit).await.map_err(|error| match error {
            BodyError::TooLarge { .. } => must_login(),
            other => other.into(),
        })
    }

    async fn decode(&self, content_type: Option<String>, bytes: Bytes) -> Result<Map, Failure> {
        let invalid = || Failure::new(400, "Invalid JSON.");
        if bytes.is_empty() {
            return Err(invalid());
        }
        let decoded = if bytes.len() <= DECODE_ON_WORKER_BYTES {
            self.types.decode(content_type.as_deref(), &bytes)
        } else {
            let types = self.types.clone();
            let decode = move || types.decode(content_type.as_deref(), &bytes);
            tokio::task::spawn_blocking(decode)
                .await
                .map_err(|_| Error::internal("decoding a body panicked"))?
        };
        match decoded {
            Ok(Value::Map(parameters)) => Ok(parameters),
            Ok(_) => Err(invalid()),
            Err(error) => Err(Error::from(error).into()),
        }
    }
}

/// All `Accept` lines as one (RFC 9110, section 5.3).
fn accept(request: &Request) -> Option<String> {
    let lines = request.headers().get_all(header::ACCEPT).iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

fn content_type(request: &Request) -> Result<Option<String>, Failure> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(None);
    };
    let text = value.to_str().map(str::to_owned);
    text.map(Some)
        .map_err(|_| Failure::new(415, "the Content-Type is no media type"))
}

fn health() -> Response {
    Response::text(StatusCode::OK, "HarperDB is running.")
        .with_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

impl Handler for Operations {
    fn accepts(&self, request: &Request) -> bool {
        match request.pathname() {
            "/" => *request.method() == Method::POST,
            "/health" => matches!(*request.method(), Method::GET | Method::HEAD),
            _ => false,
        }
    }

    fn handle(&self, request: Request) -> BoxFuture<'_, ControlFlow<Response, Request>> {
        Box::pin(async move {
            if !self.accepts(&request) {
                return ControlFlow::Continue(request);
            }
            ControlFlow::Break(match request.pathname() {
                "/health" => health(),
                _ => self.answer(request).await,
            })
        })
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.operations.keys().collect();
        names.sort_unstable();
        f.debug_struct("Operations")
            .field("operations", &names)
            .finish_non_exhaustive()
    }
}
