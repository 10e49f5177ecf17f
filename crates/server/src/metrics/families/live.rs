//! WebSocket, event streams, MQTT, events and identity (`metrics-and-health.md` §3.4, §3.5, §3.7).

use std::sync::Arc;

use proto_mqtt::{Statistics, Version};
use proto_sse::RouteStatistics;
use proto_ws::WsStatistics;
use resource::hub::HubStatistics;
use telemetry::Metrics;
use telemetry::metrics::{Family, Kind, MetricError, Samples, Unit};

use super::{Sources, collect};

pub(super) fn register(registry: &Metrics, sources: &Arc<Sources>) -> Result<(), MetricError> {
    register_sse(registry, sources)?;
    for (name, help, unit, kind, read) in EVENTS {
        let family = Family::new(name, help).unit(unit).group("runtime");
        collect(registry, sources, family, kind, move |sources, samples| {
            let statistics = sources.hub.get().map(resource::Hub::statistics);
            samples.push(&[], read(&statistics.unwrap_or_default()));
        })?;
    }
    let family =
        Family::new("auth_cache_entries", "Password checks that are remembered").group("auth");
    collect(
        registry,
        sources,
        family,
        Kind::Gauge,
        |sources, samples| {
            let directory = sources.directory.get();
            samples.push(
                &[],
                directory.map_or(0, |directory| directory.remembered_passwords()),
            );
        },
    )?;
    register_web_sockets(registry, sources)?;
    register_mqtt(registry, sources)
}

type Single<S> = (&'static str, &'static str, Unit, Kind, fn(&S) -> u64);

const SSE: [Single<RouteStatistics>; 4] = [
    (
        "sse_streams",
        "Open event streams",
        Unit::Connections,
        Kind::Gauge,
        |route| route.streams,
    ),
    (
        "sse_streams_total",
        "Event streams that were opened",
        Unit::Connections,
        Kind::Counter,
        |route| route.opened,
    ),
    (
        "sse_events_total",
        "Events sent",
        Unit::Operations,
        Kind::Counter,
        |route| route.events,
    ),
    (
        "sse_bytes_total",
        "Bytes of event streams",
        Unit::Bytes,
        Kind::Counter,
        |route| route.bytes,
    ),
];

fn register_sse(registry: &Metrics, sources: &Arc<Sources>) -> Result<(), MetricError> {
    for (name, help, unit, kind, read) in SSE {
        let family = Family::new(name, help)
            .unit(unit)
            .group("sse")
            .labels(&["route"]);
        collect(registry, sources, family, kind, move |sources, samples| {
            let statistics = sources.sse.get().map(proto_sse::Sse::statistics);
            for route in statistics.unwrap_or_default().routes {
                // As the families of requests call it.
                let label = match &*route.route {
                    path if path.len() > 1 && path.starts_with('/') => format!("{path}/"),
                    name => name.to_owned(),
                };
                samples.push(&[&label], read(&route));
            }
        })?;
    }
    let family = Family::new("sse_dropped_total", "Events that were not sent")
        .unit(Unit::Operations)
        .group("sse")
        .labels(&["reason"]);
    collect(
        registry,
        sources,
        family,
        Kind::Counter,
        |sources, samples| {
            let statistics = sources.sse.get().map(proto_sse::Sse::statistics);
            let dropped = statistics.unwrap_or_default().dropped;
            samples.push(&["slow"], dropped.slow);
            samples.push(&["oversize"], dropped.oversize);
            samples.push(&["closed"], dropped.closed);
        },
    )
}

const EVENTS: [Single<HubStatistics>; 4] = [
    (
        "event_subscriptions",
        "Live subscriptions of all protocols",
        Unit::None,
        Kind::Gauge,
        |hub| hub.subscriptions,
    ),
    (
        "event_mailbox_waiting",
        "Committed events that workers have not taken yet",
        Unit::Operations,
        Kind::Gauge,
        |hub| hub.waiting,
    ),
    (
        "event_coalesced_total",
        "States left out because a newer one of the same record was waiting",
        Unit::Operations,
        Kind::Counter,
        |hub| hub.coalesced,
    ),
    (
        "event_overflows_total",
        "Subscriptions that were ended because their queue was full",
        Unit::Operations,
        Kind::Counter,
        |hub| hub.overflows,
    ),
];

type Labelled<S> = (
    &'static str,
    &'static str,
    Unit,
    Kind,
    &'static [&'static str],
    fn(&S, &mut Samples),
);

const WEB_SOCKETS: [Labelled<WsStatistics>; 6] = [
    (
        "websocket_connections",
        "Open WebSockets",
        Unit::Connections,
        Kind::Gauge,
        &["subprotocol"],
        |ws, samples| {
            for (name, totals) in sub_protocols(ws) {
                samples.push(&[name], totals.open);
            }
        },
    ),
    (
        "websocket_connections_total",
        "Opening handshakes",
        Unit::Connections,
        Kind::Counter,
        &["subprotocol", "result"],
        |ws, samples| {
            for (name, totals) in sub_protocols(ws) {
                samples.push(&[name, "accepted"], totals.accepted);
                samples.push(&[name, "rejected"], totals.rejected);
            }
        },
    ),
    (
        "websocket_messages_total",
        "Messages",
        Unit::Packets,
        Kind::Counter,
        &["direction", "opcode"],
        |ws, samples| {
            for (direction, totals) in [("in", &ws.received), ("out", &ws.sent)] {
                samples.push(&[direction, "text"], totals.text);
                samples.push(&[direction, "binary"], totals.binary);
            }
        },
    ),
    (
        "websocket_message_bytes_total",
        "Bytes of messages, before compression",
        Unit::Bytes,
        Kind::Counter,
        &["direction", "opcode"],
        |ws, samples| {
            for (direction, totals) in [("in", &ws.received), ("out", &ws.sent)] {
                samples.push(&[direction, "text"], totals.text_bytes);
                samples.push(&[direction, "binary"], totals.binary_bytes);
            }
        },
    ),
    (
        "websocket_pings_total",
        "Pings and pongs",
        Unit::Packets,
        Kind::Counter,
        &["direction", "kind"],
        |ws, samples| {
            for (direction, totals) in [("in", &ws.received), ("out", &ws.sent)] {
                samples.push(&[direction, "ping"], totals.pings);
                samples.push(&[direction, "pong"], totals.pongs);
            }
        },
    ),
    (
        "websocket_closed_total",
        "WebSockets that ended, by close code; app stands for those of applications",
        Unit::Connections,
        Kind::Counter,
        &["code", "by"],
        |ws, samples| {
            for closed in &ws.closed {
                let code = closed
                    .code
                    .map_or("app".to_owned(), |code| code.to_string());
                let by = if closed.by_client { "client" } else { "server" };
                samples.push(&[&code, by], closed.count);
            }
        },
    ),
];

fn sub_protocols(ws: &WsStatistics) -> [(&'static str, proto_ws::ConnectionTotals); 3] {
    [("none", ws.none), ("mqtt", ws.mqtt), ("other", ws.other)]
}

fn register_web_sockets(registry: &Metrics, sources: &Arc<Sources>) -> Result<(), MetricError> {
    for (name, help, unit, kind, labels, read) in WEB_SOCKETS {
        let family = Family::new(name, help)
            .unit(unit)
            .group("ws")
            .labels(labels);
        collect(registry, sources, family, kind, move |sources, samples| {
            let handler = sources.web_sockets.get();
            read(
                &handler
                    .map(proto_ws::WebSockets::statistics)
                    .unwrap_or_default(),
                samples,
            );
        })?;
    }
    Ok(())
}

/// What the broker counts today; kinds of packets and levels of service are not told apart.
const MQTT: [Labelled<Statistics>; 6] = [
    (
        "mqtt_connects_total",
        "Byte streams that were served, by how CONNECT was answered",
        Unit::Connections,
        Kind::Counter,
        &["result"],
        |mqtt, samples| {
            let refused = mqtt.refused_connections;
            samples.push(&["accepted"], mqtt.connections.saturating_sub(refused));
            samples.push(&["refused"], refused);
        },
    ),
    (
        "mqtt_disconnects_total",
        "Connections that the server ended",
        Unit::Connections,
        Kind::Counter,
        &["reason"],
        |mqtt, samples| {
            samples.push(&["protocol"], mqtt.protocol_violations);
            samples.push(&["slow"], mqtt.slow_readers);
            samples.push(&["takeover"], mqtt.take_overs);
        },
    ),
    (
        "mqtt_packets_total",
        "Control packets",
        Unit::Packets,
        Kind::Counter,
        &["direction"],
        |mqtt, samples| {
            samples.push(&["in"], mqtt.packets_received);
            samples.push(&["out"], mqtt.packets_sent);
        },
    ),
    (
        "mqtt_bytes_total",
        "Bytes of control packets",
        Unit::Bytes,
        Kind::Counter,
        &["direction"],
        |mqtt, samples| {
            samples.push(&["in"], mqtt.bytes_received);
            samples.push(&["out"], mqtt.bytes_sent);
        },
    ),
    (
        "mqtt_messages_total",
        "PUBLISH packets",
        Unit::Packets,
        Kind::Counter,
        &["direction"],
        |mqtt, samples| {
            samples.push(&["in"], mqtt.publishes_received);
            samples.push(&["out"], mqtt.publishes_sent);
        },
    ),
    (
        "mqtt_messages_dropped_total",
        "Messages that were refused or not delivered",
        Unit::Packets,
        Kind::Counter,
        &["reason"],
        |mqtt, samples| {
            samples.push(&["refused"], mqtt.publishes_refused);
            samples.push(&["expired"], mqtt.dropped_expired);
            samples.push(&["too_large"], mqtt.dropped_too_large);
        },
    ),
];

fn register_mqtt(registry: &Metrics, sources: &Arc<Sources>) -> Result<(), MetricError> {
    for (name, help, unit, kind, labels, read) in MQTT {
        let family = Family::new(name, help)
            .unit(unit)
            .group("mqtt")
            .labels(labels);
        collect(registry, sources, family, kind, move |sources, samples| {
            let broker = sources.broker.get();
            read(
                &broker.map(|broker| broker.statistics()).unwrap_or_default(),
                samples,
            );
        })?;
    }
    let family = Family::new(
        "mqtt_connections",
        "Clients that are connected, by protocol version",
    )
    .unit(Unit::Connections)
    .group("mqtt")
    .labels(&["version"]);
    collect(
        registry,
        sources,
        family,
        Kind::Gauge,
        |sources, samples| {
            let sessions = sources.broker.get().map(|broker| broker.sessions());
            let sessions = sessions.unwrap_or_default();
            let versions = [
                ("3.1", Version::V3_1),
                ("3.1.1", Version::V3_1_1),
                ("5.0", Version::V5),
            ];
            for (label, version) in versions {
                let here = sessions.iter().filter(|session| session.version == version);
                samples.push(&[label], here.count());
            }
        },
    )
}
