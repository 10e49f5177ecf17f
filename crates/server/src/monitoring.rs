//! Where probes and numbers are answered.

use std::sync::Arc;

use http_chain::{Chains, Ports, Stage};

use crate::chains::{Parts, authentication, operations_ports};
use crate::health::HealthEndpoint;
use crate::metrics::{Answered, Answerer, MetricsEndpoint};

/// Registers the endpoints on the ports they are configured for. Called first: they stand outside the log and every
/// limit.
pub(crate) fn register(chains: &mut Chains, parts: &Parts<'_>) {
    for ports in [operations_ports(), Ports::application()] {
        let is_application = ports == Ports::application();
        let config = parts.config;
        if !is_application || config.health.on_application_port {
            let probes = probes(parts, &ports, is_application);
            let probes = Answered::by(Answerer::Health, probes);
            chains.edge(ports.clone(), "health", Stage::handler(probes));
        }
        if !is_application || config.metrics.on_application_port {
            let metrics = MetricsEndpoint::new(
                &parts.metrics,
                &config.metrics,
                &parts.store,
                config.storage.directory.clone(),
                authentication(parts, &ports),
            );
            let metrics = Answered::by(Answerer::Metrics, metrics);
            chains.edge(ports, "metrics", Stage::handler(metrics));
        }
    }
}

fn probes(parts: &Parts<'_>, ports: &Ports, is_application: bool) -> HealthEndpoint {
    let text = &parts.config.health.text;
    let probes = HealthEndpoint::new(&parts.health, text, authentication(parts, ports));
    if !is_application {
        return probes;
    }
    probes.beside_applications(Arc::clone(&parts.registry), Arc::clone(&parts.live))
}
