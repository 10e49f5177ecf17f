//! The request pipeline of each port.

use std::sync::Arc;

use anyhow::Context as _;
use auth::Directory;
use http::HeaderValue;
use http_chain::auth::{AuditEvents, Authentication, LocalTrust, SessionCookies};
use http_chain::cookies::SameSite;
use http_chain::stages::{Cors, CorsConfig, CorsOrigins};
use http_chain::{Chains, Ports, Stage};
use proto_mqtt::{Broker, Identity};
use resource::{Authenticator, Caller, Hub, Registry, Sessions};
use store::Store;

use crate::application::{Live, Place, Sites, WhileResources};
use crate::config::file::CookieSameSite;
use crate::config::{self, Config};
use crate::edge;
use crate::health::Health;
use crate::metrics::{Answered, Answerer, NobodyYet, ServerMetrics};
use crate::monitoring;
use crate::operations;
use crate::restart::Trigger;

/// What the chains and listeners are made from.
pub struct Parts<'a> {
    /// Settings.
    pub config: &'a Config,
    /// Exports.
    pub registry: Arc<Registry>,
    /// Users and roles.
    pub directory: Arc<Directory>,
    /// Static files, and whether resources are served.
    pub live: Arc<Live>,
    /// Databases.
    pub store: Arc<Store>,
    /// Events.
    pub hub: Hub,
    /// MQTT over every transport; one, so that a client id is taken over from whichever it came by.
    pub broker: Arc<Broker>,
    /// Asks for a restart of the process.
    pub restart: Trigger,
    /// Numbers.
    pub metrics: Arc<ServerMetrics>,
    /// What probes are told.
    pub health: Arc<Health>,
}

impl Parts<'_> {
    /// The check of credentials, by its contract.
    pub fn authenticator(&self) -> Arc<dyn Authenticator> {
        let directory = Arc::clone(&self.directory) as Arc<dyn Authenticator>;
        self.metrics.authenticator(directory)
    }

    /// Tells the metrics whom to ask.
    pub fn tell_metrics(&self) {
        let sources = self.metrics.sources();
        sources.set_hub(self.hub.clone());
        sources.set_broker(Arc::clone(&self.broker));
        sources.set_directory(Arc::clone(&self.directory));
        sources.set_store(Arc::clone(&self.store));
        sources.set_health(Arc::clone(&self.health));
    }
}

/// The settings of the ports that serve operations.
pub fn operations_ports() -> Ports {
    let settings = [
        "operationsApi.network.port",
        "operationsApi.network.securePort",
        "operationsApi.network.domainSocket",
    ];
    Ports::Named(settings.map(Arc::from).to_vec())
}

/// Registers every stage; the order is the order of processing (`http-server.md` §4.3).
///
/// # Errors
///
/// If a setting is no header value.
pub fn build(parts: &Parts<'_>) -> anyhow::Result<Chains> {
    let config = parts.config;
    let mut chains = Chains::default();
    // Outside the log and every limit: a probe is never logged, refused or kept waiting.
    monitoring::register(&mut chains, parts);
    edge::register(&mut chains, config, &parts.metrics)?;

    // Public, and cheaper than a login.
    sites(&mut chains, parts, Place::BeforeAuthentication);
    // What no file answered and a gate refuses was refused before a handler saw it.
    let unseen = Stage::handler(NobodyYet(Answerer::Nobody));
    chains.last(Ports::application(), "unseen", unseen);
    // Preflights carry no credentials.
    if let Some(cors) = &config.http.cors {
        chains.last(
            Ports::application(),
            "cors",
            Stage::gate(Cors::new(application_cors(
                cors,
                config.authentication.sessions,
            )?)),
        );
    }
    if let Some(cors) = &config.operations.cors {
        let origins = origins(cors);
        chains.last(
            operations_ports(),
            "cors",
            Stage::gate(Cors::new(CorsConfig::operations(origins))),
        );
    }
    for ports in [Ports::application(), operations_ports()] {
        let authentication = authentication(parts, &ports);
        chains.last(ports, "authentication", Stage::wrap(authentication));
    }
    let users = parts.metrics.user_requests();
    chains.last(Ports::All, "users", Stage::gate(users));
    edge::register_inner(&mut chains, config)?;
    sites(&mut chains, parts, Place::AfterAuthentication);
    register_resources(&mut chains, parts);
    sites(&mut chains, parts, Place::AfterResources);
    chains.last(
        operations_ports(),
        "openapi",
        Stage::handler(Answered::by(
            Answerer::Operations,
            openapi(parts, "/api/openapi/rest"),
        )),
    );
    chains.last(
        operations_ports(),
        "operations",
        Stage::handler(Answered::by(
            Answerer::Operations,
            operations::handler(parts)?,
        )),
    );
    let unmatched = Stage::handler(NobodyYet(Answerer::Unmatched));
    chains.last(Ports::All, "unmatched", unmatched);
    Ok(chains)
}

/// Who asks, for these ports.
pub(crate) fn authentication(parts: &Parts<'_>, ports: &Ports) -> Authentication {
    let config = parts.config;
    let identity = &config.authentication;
    let is_operations = *ports == operations_ports();
    let (mtls, cors) = match is_operations {
        true => (&config.operations.mtls, &config.operations.cors),
        false => (&config.mtls, &config.http.cors),
    };
    let user = mtls.as_ref().map(|mtls| mtls.user.clone());
    let mut authentication = Authentication::new(parts.authenticator())
        .with_local_trust(LocalTrust {
            loopback: identity.authorize_local,
            unix_sockets: true,
        })
        .with_certificate_user(user.unwrap_or_default())
        .with_audit(AuditEvents {
            failed: config.logging.failed_authentications,
            successful: config.logging.successful_authentications,
        });
    if identity.sessions {
        let origins = cors.as_ref().and_then(|cors| cors.origins.clone());
        authentication = authentication.with_sessions(SessionCookies {
            sessions: Arc::clone(&parts.directory) as Arc<dyn Sessions>,
            domains: identity.cookie_domains.clone(),
            same_site: match identity.same_site {
                CookieSameSite::Lax => SameSite::Lax,
                CookieSameSite::Strict => SameSite::Strict,
                CookieSameSite::None => SameSite::None,
            },
            origins: origins.unwrap_or_default(),
        });
    }
    match is_operations {
        true => authentication.passing_refresh_tokens(),
        false => authentication,
    }
}

/// WebSocket and event streams look like GET to REST, so they come first.
fn register_resources(chains: &mut Chains, parts: &Parts<'_>) {
    let config = parts.config;
    let ws = proto_ws::WsConfig {
        accept_writes: config.web_socket_writes,
        allowed_origins: config.web_socket_origins.clone(),
        deflate: config
            .web_socket_compression
            .then(proto_ws::DeflateConfig::default),
        ..proto_ws::WsConfig::default()
    };
    let mut web_sockets = proto_ws::WebSockets::new(Arc::clone(&parts.registry), ws)
        .with_authenticator(parts.authenticator());
    if config.mqtt.web_socket {
        for name in ["mqtt", "mqttv3.1"] {
            let broker = Arc::clone(&parts.broker);
            web_sockets = web_sockets.with_sub_protocol(name, move |io, conn, shutdown, caller| {
                let identity = match caller {
                    Caller::Anonymous => Identity::None,
                    caller => Identity::Caller(caller),
                };
                let served = proto_mqtt::serve(io, conn, shutdown, Arc::clone(&broker), identity);
                // The driver logs how it ended.
                async move { drop(served.await) }
            });
        }
    }
    let sources = parts.metrics.sources();
    sources.set_web_sockets(web_sockets.clone());
    let sse = proto_sse::SseConfig {
        keep_alive: config.sse_keep_alive,
        ..proto_sse::SseConfig::default()
    };
    let sse = proto_sse::Sse::new(Arc::clone(&parts.registry), sse)
        .with_authenticator(parts.authenticator());
    sources.set_sse(sse.clone());
    let rest = rest::Rest::new(
        Arc::clone(&parts.registry),
        rest::RestConfig {
            max_body_bytes: config.http.max_body_bytes,
            catalog: Some(Arc::clone(&parts.store) as Arc<dyn resource::Catalog>),
            ..rest::RestConfig::default()
        },
    );
    // Without an application that serves resources, WebSockets are for MQTT alone.
    let only_sub_protocols = Answered::by(
        Answerer::Resource,
        WhileResources::are_not_served(&parts.live, web_sockets.clone().without_resources()),
    );
    chains.last(
        Ports::application(),
        "websocket",
        Stage::handler(only_sub_protocols),
    );
    // Before REST, whose export at the root would take its path.
    let graphql = rest::graphql::GraphQl::new(
        Arc::clone(&parts.registry),
        rest::graphql::GraphQlConfig::default(),
    );
    let graphql = WhileResources::are_queried(&parts.live, graphql);
    let graphql = Answered::by(Answerer::Resource, graphql);
    chains.last(Ports::application(), "graphql", Stage::handler(graphql));
    resource_stage(chains, parts, "websocket", web_sockets);
    resource_stage(chains, parts, "sse", sse);
    resource_stage(chains, parts, "openapi", openapi(parts, "/openapi"));
    resource_stage(chains, parts, "rest", rest);
}

/// The description of the REST interface, at that path.
fn openapi(parts: &Parts<'_>, path: &str) -> rest::openapi::OpenApi {
    let config = rest::openapi::OpenApiConfig {
        path: path.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..rest::openapi::OpenApiConfig::default()
    };
    rest::openapi::OpenApi::new(Arc::clone(&parts.registry), config)
}

/// A handler that is there while an application has `rest: true`.
fn resource_stage(
    chains: &mut Chains,
    parts: &Parts<'_>,
    name: &str,
    handler: impl http_chain::Handler + 'static,
) {
    let handler = WhileResources::are_served(&parts.live, handler);
    let handler = Answered::by(Answerer::Resource, handler);
    chains.last(Ports::application(), name, Stage::handler(handler));
}

/// Registers the static files that belong here, of whichever applications there are.
fn sites(chains: &mut Chains, parts: &Parts<'_>, place: Place) {
    let files = Sites::new(Arc::clone(&parts.live), place);
    let files = Answered::by(Answerer::Static, files);
    chains.last(Ports::application(), "static", Stage::handler(files));
}

fn application_cors(cors: &config::Cors, sessions: bool) -> anyhow::Result<CorsConfig> {
    let allow_headers = HeaderValue::from_str(&cors.allow_headers).with_context(|| {
        format!(
            "'http.corsAccessControlAllowHeaders' is '{}': expected header names",
            cors.allow_headers
        )
    })?;
    Ok(CorsConfig {
        origins: origins(cors),
        allow_headers,
        allow_credentials: sessions,
        ..CorsConfig::default()
    })
}

fn origins(cors: &config::Cors) -> CorsOrigins {
    CorsOrigins::from_access_list(cors.origins.clone())
}
