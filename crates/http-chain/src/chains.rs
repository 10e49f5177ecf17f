//! Composing the chains of all ports from one ordered list of registrations.

use std::sync::Arc;

use crate::chain::{Chain, NamedStage};
use crate::stage::Stage;

/// The ports a stage is registered for. A port is known by the setting that opened it, as in
/// [`ConnInfo::listener`](base::ConnInfo::listener): `http.port`, `operationsApi.network.port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    /// Every port, those composed later included.
    All,
    /// These.
    Named(Vec<Arc<str>>),
}

impl Ports {
    /// The port of one setting.
    pub fn named(setting: impl Into<Arc<str>>) -> Self {
        Self::Named(vec![setting.into()])
    }

    /// The two ports on which applications answer: `http.port` and `http.securePort`.
    pub fn application() -> Self {
        Self::Named(vec!["http.port".into(), "http.securePort".into()])
    }

    fn include(&self, setting: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(settings) => settings.iter().any(|named| **named == *setting),
        }
    }
}

/// The registrations of all ports while the server is being composed.
///
/// There are two lists. *Edge* stages come first and surround everything (request log, host check,
/// limits, compression). Behind them is the list of the handlers and of what guards them
/// (authentication), where a registration goes to the end or, like `runFirst`, to the front. A port's
/// chain is what is registered for it or for all ports, in this order. The end of the list is the
/// cascade: a service that shares a port is simply registered later, and after the last comes the 404.
///
/// ```
/// use std::ops::ControlFlow;
/// use http_chain::{Chains, Ports, Request, Response, Stage};
///
/// async fn pass(request: Request) -> ControlFlow<Response, Request> {
///     ControlFlow::Continue(request)
/// }
///
/// let mut chains = Chains::default();
/// chains.last(Ports::application(), "rest", Stage::handler(pass));
/// chains.last(Ports::named("operationsApi.network.port"), "operations", Stage::handler(pass));
/// chains.first(Ports::All, "welcome", Stage::handler(pass));
/// let names: Vec<_> = chains.chain_for("http.port").stage_names().map(str::to_owned).collect();
/// assert_eq!(names, ["welcome", "rest"]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Chains {
    edge: Vec<Registration>,
    list: Vec<Registration>,
}

#[derive(Debug, Clone)]
struct Registration {
    ports: Ports,
    named: NamedStage,
}

impl Registration {
    fn new(ports: Ports, name: impl Into<Arc<str>>, stage: Stage) -> Self {
        Self {
            ports,
            named: NamedStage {
                name: name.into(),
                stage,
            },
        }
    }
}

impl Chains {
    /// Adds a stage that surrounds the whole list; called first means outermost.
    pub fn edge(&mut self, ports: Ports, name: impl Into<Arc<str>>, stage: Stage) -> &mut Self {
        self.edge.push(Registration::new(ports, name, stage));
        self
    }

    /// Puts a stage in front of everything in the list so far (`runFirst`): the last one registered
    /// first runs first.
    pub fn first(&mut self, ports: Ports, name: impl Into<Arc<str>>, stage: Stage) -> &mut Self {
        self.list.insert(0, Registration::new(ports, name, stage));
        self
    }

    /// Puts a stage at the end of the list.
    pub fn last(&mut self, ports: Ports, name: impl Into<Arc<str>>, stage: Stage) -> &mut Self {
        self.list.push(Registration::new(ports, name, stage));
        self
    }

    /// The chain of the port that the setting `setting` opens. Later registrations do not change it.
    pub fn chain_for(&self, setting: &str) -> Chain {
        let all = self.edge.iter().chain(&self.list);
        let here = all.filter(|registration| registration.ports.include(setting));
        Chain::of_named(here.map(|registration| registration.named.clone()))
    }
}
