//! One listener for each configured port, all on the same workers.

use std::num::NonZeroUsize;
use std::sync::Arc;

use base::ConnInfo;
use core_listener::{
    HttpConfig, InheritedSockets, ListenAddress, Listener, Server, ServerHandle, TlsAcceptor,
};
use http_chain::Chains;
use proto_mqtt::{Broker, Identity, MqttConfig};
use resource::{Authenticator, Credentials, Registry};

use crate::certificates::Certificates;
use crate::chains::Parts;
use crate::config::Config;

/// Binds every port and starts the workers.
///
/// # Errors
///
/// If a port cannot be bound; names the setting and the address.
pub fn start(
    parts: &Parts<'_>,
    chains: &Chains,
    certificates: Option<&Certificates>,
    inherited: Option<InheritedSockets>,
) -> anyhow::Result<ServerHandle> {
    let config = parts.config;
    let connections = config
        .http
        .max_connections
        .and_then(|limit| NonZeroUsize::new(limit as usize));
    let mut server = Server::new(config.workers).max_connections(connections);
    for (setting, address, secure) in http_ports(config) {
        let Some(address) = address else { continue };
        let (chain, metrics) = (chains.chain_for(setting), Arc::clone(&parts.metrics));
        let listener = Listener::http(setting, address, http_config(setting, config), move |_| {
            metrics.measured(setting, chain.clone())
        });
        server = server.listen(with_tls(
            listener,
            certificates
                .filter(|_| secure)
                .map(|certificates| certificates.acceptor(setting)),
            config,
        ));
    }
    let trust_loopback = config.authentication.authorize_local;
    for (setting, address, secure) in [
        ("mqtt.network.port", &config.mqtt.port, false),
        ("mqtt.network.securePort", &config.mqtt.secure_port, true),
    ] {
        let Some(address) = address.clone() else {
            continue;
        };
        let broker = Arc::clone(&parts.broker);
        let listener = Listener::raw(setting, address, move |_| {
            let broker = Arc::clone(&broker);
            move |io, conn: Arc<ConnInfo>, shutdown| {
                let identity = identity(trust_loopback, &conn);
                let served = proto_mqtt::serve(io, conn, shutdown, Arc::clone(&broker), identity);
                // The driver logs how it ended.
                async move { drop(served.await) }
            }
        });
        server = server.listen(with_tls(
            listener,
            certificates
                .filter(|_| secure)
                .map(|certificates| certificates.acceptor(setting)),
            config,
        ));
    }
    let server = with_worker_tasks(server, parts);
    let server = match inherited {
        Some(sockets) => server.inherit(sockets),
        None => server,
    };
    Ok(server.start()?)
}

/// What runs on each worker beside its connections.
fn with_worker_tasks(server: Server, parts: &Parts<'_>) -> Server {
    let (metrics, health) = (Arc::clone(&parts.metrics), Arc::clone(&parts.health));
    let server = server.on_worker_start(move |worker| {
        let (metrics, health) = (Arc::clone(&metrics), Arc::clone(&health));
        async move {
            metrics.worker_started();
            health.tick(worker).await;
        }
    });
    let (hub, directory) = (parts.hub.clone(), Arc::clone(&parts.directory));
    server.on_worker_start(move |worker| {
        let (hub, directory) = (hub.clone(), Arc::clone(&directory));
        async move {
            match worker.0 {
                // Users and roles are followed once, and their subscriptions are delivered on worker 0.
                0 => {
                    let follow = async {
                        let Err(error) = directory.run().await;
                        tracing::error!("changes of users and roles are not followed: {error}");
                    };
                    futures_util::future::join(hub.dispatch(worker), follow).await;
                }
                _ => hub.dispatch(worker).await,
            }
        }
    })
}

type HttpPort = (&'static str, Option<ListenAddress>, bool);

fn http_ports(config: &Config) -> [HttpPort; 5] {
    let operations = &config.operations;
    let domain_socket = operations.domain_socket.clone().map(ListenAddress::Unix);
    [
        ("http.port", config.http.port.clone(), false),
        ("http.securePort", config.http.secure_port.clone(), true),
        ("operationsApi.network.port", operations.port.clone(), false),
        (
            "operationsApi.network.securePort",
            operations.secure_port.clone(),
            true,
        ),
        ("operationsApi.network.domainSocket", domain_socket, false),
    ]
}

fn http_config(setting: &str, config: &Config) -> HttpConfig {
    let (times, http2) = match setting.starts_with("operationsApi.") {
        true => (config.operations.times, config.operations.http2),
        false => (config.http.times, config.http.http2),
    };
    let mut http = HttpConfig::default();
    http.http2 = http2;
    http.headers_timeout = Some(times.headers);
    http.keep_alive_timeout = Some(times.keep_alive);
    http.request_timeout = Some(times.request);
    http.max_header_bytes = config.http.max_header_bytes as usize;
    http
}

fn with_tls(listener: Listener, acceptor: Option<&TlsAcceptor>, config: &Config) -> Listener {
    match acceptor {
        Some(acceptor) => listener
            .tls(acceptor.clone())
            .handshake_timeout(Some(config.http.tls_handshake_timeout)),
        None => listener,
    }
}

/// The MQTT broker over the exported resources.
///
/// # Errors
///
/// If a setting cannot work.
pub fn broker(
    config: &Config,
    registry: &Arc<Registry>,
    authenticator: Arc<dyn Authenticator>,
) -> anyhow::Result<Arc<Broker>> {
    let mqtt = MqttConfig {
        max_packet_size: config.mqtt.max_packet_bytes,
        require_authentication: config.mqtt.require_authentication,
        ..MqttConfig::default()
    };
    Ok(Broker::new(
        Arc::clone(registry),
        authenticator,
        mqtt,
        usize::from(config.workers.get()),
    )?)
}

/// Who an MQTT client is before it says so: with local trust, a loopback peer is the first super user.
fn identity(trust_loopback: bool, conn: &ConnInfo) -> Identity {
    match trust_loopback && conn.peer.is_loopback() {
        true => Identity::Credentials(Credentials::LocalTrust),
        false => Identity::None,
    }
}
