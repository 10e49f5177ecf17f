//! One listener for each configured port, all on the same workers.

use std::num::NonZeroUsize;
use std::sync::Arc;

use core_listener::{
    HttpConfig, InheritedSockets, ListenAddress, Listener, Server, ServerHandle, TlsAcceptor,
};
use http_chain::Chains;

use crate::certificates::Certificates;
use crate::chains::Parts;
use crate::config::Config;
use crate::mqtt::{self, MqttPort};

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
        let http = http_config(setting, config);
        let (limit, shared) = (http.headers_timeout, shares_mqtt(setting, &address, config));
        let mut listener = Listener::http(setting, address, http, move |_| {
            metrics.measured(setting, chain.clone())
        });
        if shared {
            let port = MqttPort::new(parts, secure);
            listener = listener.also_raw(CONNECT, limit, move |_| {
                let port = port.clone();
                move |io, conn, shutdown| port.clone().serve(io, conn, shutdown)
            });
        }
        if let (Some(workers), true) = (&config.http.workers, setting.starts_with("http.")) {
            listener = listener.workers(workers.clone());
        }
        let acceptor = certificates
            .filter(|_| secure)
            .map(|all| all.acceptor(setting));
        server = server.listen(with_tls(listener, acceptor, config));
    }
    for (setting, address, secure) in mqtt_ports(config) {
        let Some(address) = address else { continue };
        let port = MqttPort::new(parts, secure);
        let listener = Listener::raw(setting, address, move |_| {
            let port = port.clone();
            move |io, conn, shutdown| port.clone().serve(io, conn, shutdown)
        });
        let acceptor = certificates
            .filter(|_| secure)
            .map(|all| all.acceptor(setting));
        server = server.listen(with_tls(listener, acceptor, config));
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
    let broker = Arc::clone(&parts.broker);
    server.on_worker_start(move |worker| {
        let (hub, directory) = (hub.clone(), Arc::clone(&directory));
        let broker = Arc::clone(&broker);
        async move {
            match worker.0 {
                // Users and roles are followed once, and their subscriptions are delivered on worker 0.
                0 => {
                    let follow = async {
                        let Err(error) = directory.run().await;
                        tracing::error!("changes of users and roles are not followed: {error}");
                    };
                    let maintain = mqtt::maintain(broker, worker);
                    futures_util::future::join3(hub.dispatch(worker), follow, maintain).await;
                }
                _ => hub.dispatch(worker).await,
            }
        }
    })
}

/// First byte of an MQTT connection, with which no HTTP request begins.
const CONNECT: u8 = 0x10;

/// Whether MQTT is to be spoken on this HTTP port too, because both settings name it (`http-server.md` §15).
fn shares_mqtt(setting: &str, address: &ListenAddress, config: &Config) -> bool {
    let mqtt = match setting {
        "http.port" => &config.mqtt.port,
        "http.securePort" => &config.mqtt.secure_port,
        _ => return false,
    };
    !is_free(address) && mqtt.as_ref() == Some(address)
}

/// Whether the system chooses the port: two of these are two ports.
fn is_free(address: &ListenAddress) -> bool {
    match address {
        ListenAddress::Wildcard(port) | ListenAddress::Host(_, port) => *port == 0,
        ListenAddress::Tcp(address) => address.port() == 0,
        _ => false,
    }
}

fn mqtt_ports(config: &Config) -> [HttpPort; 2] {
    let alone = |port: &Option<ListenAddress>, http: &Option<ListenAddress>| {
        let port = port.clone()?;
        (is_free(&port) || Some(&port) != http.as_ref()).then_some(port)
    };
    let (mqtt, http) = (&config.mqtt, &config.http);
    [
        ("mqtt.network.port", alone(&mqtt.port, &http.port), false),
        (
            "mqtt.network.securePort",
            alone(&mqtt.secure_port, &http.secure_port),
            true,
        ),
    ]
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
    let is_operations = setting.starts_with("operationsApi.");
    let (times, http2) = match is_operations {
        true => (config.operations.times, config.operations.http2),
        false => (config.http.times, config.http.http2),
    };
    let mut http = HttpConfig::default();
    http.http2 = http2;
    http.http2_prior_knowledge = config.http.http2_prior_knowledge && !is_operations;
    http.http2_extended_connect = config.http.http2_web_socket && !is_operations;
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
