//! Where probes and numbers are answered.

use std::path::PathBuf;
use std::sync::Arc;

use http_chain::{Chains, Ports, Stage};

use crate::application::{Loaded, Site};
use crate::chains::{Parts, authentication, operations_ports};
use crate::health::HealthEndpoint;
use crate::metrics::{Answered, Answerer, MetricsEndpoint};

/// Registers the endpoints on the ports they are configured for. Called first: they stand outside the log and every
/// limit.
pub(crate) fn register(chains: &mut Chains, parts: &Parts<'_>, loaded: &Loaded) {
    for ports in [operations_ports(), Ports::application()] {
        let is_application = ports == Ports::application();
        let config = parts.config;
        if !is_application || config.health.on_application_port {
            let probes = probes(parts, loaded, &ports, is_application);
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

fn probes(
    parts: &Parts<'_>,
    loaded: &Loaded,
    ports: &Ports,
    is_application: bool,
) -> HealthEndpoint {
    let text = &parts.config.health.text;
    let probes = HealthEndpoint::new(&parts.health, text, authentication(parts, ports));
    if !is_application {
        return probes;
    }
    let sites = loaded.sites.iter().flat_map(roots);
    probes.beside_applications(Arc::clone(&parts.registry), sites.collect())
}

/// The directories whose files are at the root of the port: the part of each pattern before its first wildcard.
fn roots(site: &Site) -> Vec<PathBuf> {
    let section = &site.section;
    if !section.url_path.trim_matches('/').is_empty() {
        return Vec::new();
    }
    let fixed = |pattern: &String| {
        let segments = pattern.split('/');
        let fixed = segments.take_while(|segment| !segment.contains(['*', '?', '[', '{']));
        site.directory.join(fixed.collect::<PathBuf>())
    };
    section.files.iter().map(fixed).collect()
}
