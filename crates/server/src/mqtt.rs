//! The MQTT broker: where its sessions are kept, what runs beside its connections, and its ports.

use std::sync::Arc;

use anyhow::Context as _;
use base::{BoxedIo, ClientCertificate, ConnInfo, Shutdown, WorkerId};
use http_chain::auth::CertificateUser;
use proto_mqtt::{Broker, Identity, MqttConfig, TableSessions};
use resource::{Attribute, AttributeType, Authenticator, Credentials, Registry, TableDefinition};
use store::Store;

use crate::chains::Parts;
use crate::config::Config;

/// The table of sessions that outlive their connection.
const SESSIONS: &str = "hdb_mqtt_session";

/// The broker over the exported resources, with its sessions in the store.
///
/// # Errors
///
/// If the table cannot be made, or a setting cannot work.
pub async fn broker(
    config: &Config,
    store: &Arc<Store>,
    registry: &Arc<Registry>,
    authenticator: Arc<dyn Authenticator>,
) -> anyhow::Result<Arc<Broker>> {
    let sessions = store.ensure(vec![session_table()]).await?;
    let sessions = sessions
        .into_iter()
        .next()
        .context("one table was ensured")?;
    let mqtt = MqttConfig {
        max_packet_size: config.mqtt.max_packet_bytes,
        require_authentication: config.mqtt.require_authentication,
        session_expiry_s: config.mqtt.session_expiry_s,
        max_session_expiry_s: config.mqtt.max_session_expiry_s,
        ..MqttConfig::default()
    };
    let broker = Broker::with_store(
        Arc::clone(registry),
        authenticator,
        mqtt,
        usize::from(config.workers.get()),
        Arc::new(TableSessions::new(sessions)),
    )?;
    if config.mqtt.free_topics {
        let topics = store.ensure(vec![topic_table()]).await?;
        broker.enable_free_topics(topics.into_iter().next().context("one table was ensured")?);
    }
    Ok(broker)
}

/// Messages of topics that are no records. Not of the `system` database, so that roles can be given access.
fn topic_table() -> TableDefinition {
    TableDefinition {
        database: "mqtt".to_owned(),
        table: "topics".to_owned(),
        attributes: vec![Attribute::new("id", AttributeType::String)],
        schema_defined: false,
        audit: true,
        ..session_table()
    }
}

fn session_table() -> TableDefinition {
    TableDefinition {
        database: auth::tables::SYSTEM_DATABASE.to_owned(),
        table: SESSIONS.to_owned(),
        primary_key: "id".to_owned(),
        attributes: vec![
            Attribute::new("id", AttributeType::String),
            Attribute::new("state", AttributeType::Bytes),
        ],
        schema_defined: true,
        sealed: false,
        audit: false,
        expiration_secs: None,
        export: None,
    }
}

/// Publishes delayed wills and ends sessions, for as long as it is polled.
pub async fn maintain(broker: Arc<Broker>, worker: WorkerId) {
    // The task ends with its worker.
    broker.maintain(worker, &Shutdown::new()).await;
}

/// MQTT on the connections of one port.
#[derive(Clone)]
pub struct MqttPort {
    broker: Arc<Broker>,
    trust_loopback: bool,
    certificate_user: CertificateUser,
}

impl MqttPort {
    /// For a port with TLS, if `secure`.
    pub fn new(parts: &Parts<'_>, secure: bool) -> Self {
        let config = parts.config;
        let mtls = config.mqtt.mtls.as_ref().filter(|_| secure);
        Self {
            broker: Arc::clone(&parts.broker),
            trust_loopback: config.authentication.authorize_local,
            certificate_user: mtls.map(|mtls| mtls.user.clone()).unwrap_or_default(),
        }
    }

    /// Serves one connection to its end.
    pub async fn serve(self, io: BoxedIo, conn: Arc<ConnInfo>, shutdown: Shutdown) {
        if let Some(reason) = refused_certificate(&conn) {
            tracing::warn!(target: "mqtt", peer = %conn.peer, reason, "a client's certificate is refused");
            return;
        }
        let identity = self.identity(&conn);
        // The driver logs how it ended.
        let _ = proto_mqtt::serve(io, conn, shutdown, self.broker, identity).await;
    }

    /// Who a client is before it says so: the user of its certificate, or with local trust the first super user.
    fn identity(&self, conn: &ConnInfo) -> Identity {
        match self.certificate_user.credentials(conn) {
            Some(credentials) => Identity::Credentials(credentials),
            None if self.trust_loopback && conn.peer.is_loopback() => {
                Identity::Credentials(Credentials::LocalTrust)
            }
            None => Identity::None,
        }
    }
}

/// Why the certificate of a client is refused, if it is: revoked, or perhaps revoked where that is enough.
fn refused_certificate(conn: &ConnInfo) -> Option<&str> {
    match &conn.tls.as_ref()?.client_certificate {
        ClientCertificate::Refused { reason } => Some(reason),
        _ => None,
    }
}
