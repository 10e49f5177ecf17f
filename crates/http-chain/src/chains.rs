//! Composing the chains of all ports from one ordered list of registrations.

use std::sync::Arc;

use crate::chain::{Chain, NamedStage};
use crate::mounts::{Mount, Mounted, Mounts};
use crate::order::{Place, ordered};
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

/// One stage and where it belongs: on which ports, between which others, under which host and path.
///
/// ```
/// use std::ops::ControlFlow;
/// use http_chain::{Chains, Ports, Registration, Request, Response, Stage};
///
/// async fn pass(request: Request) -> ControlFlow<Response, Request> {
///     ControlFlow::Continue(request)
/// }
///
/// let mut chains = Chains::default();
/// chains.last(Ports::All, "authentication", Stage::handler(pass));
/// chains.last(Ports::All, "rest", Stage::handler(pass));
/// let site = Registration::new(Ports::All, "static", Stage::handler(pass));
/// chains.register(site.before("authentication"));
/// let names: Vec<_> = chains.chain_for("http.port").stage_names().map(str::to_owned).collect();
/// assert_eq!(names, ["static", "authentication", "rest"]);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Registration {
    ports: Ports,
    named: NamedStage,
    place: Place,
    mount: Mount,
    is_public: bool,
}

impl Registration {
    /// A stage for these ports, in the order of registration.
    pub fn new(ports: Ports, name: impl Into<Arc<str>>, stage: Stage) -> Self {
        Self {
            ports,
            named: NamedStage {
                name: name.into(),
                stage,
            },
            place: Place::default(),
            mount: Mount::default(),
            is_public: false,
        }
    }

    /// Places it before the first stage called `name`; letter case counts. A name that nothing has is
    /// ignored with a warning.
    pub fn before(mut self, name: impl Into<Arc<str>>) -> Self {
        self.place.before = Some(name.into());
        self
    }

    /// Places it after the last stage called `name`; letter case counts. A name that nothing has is
    /// ignored with a warning.
    pub fn after(mut self, name: impl Into<Arc<str>>) -> Self {
        self.place.after = Some(name.into());
        self
    }

    /// Mounts it under this host: it then answers no other. Port and letter case do not count; an IPv6
    /// address is written without brackets.
    pub fn host(mut self, host: &str) -> Self {
        self.mount.host = Some(host.to_ascii_lowercase().into());
        self
    }

    /// Mounts it under this path, which is cut off before the stage sees the request
    /// ([`Request::original_pathname`](crate::Request::original_pathname) keeps it). Slashes at both ends do
    /// not count; `/` is no mount.
    pub fn url_path(mut self, path: &str) -> Self {
        let path = path.trim_matches('/');
        self.mount.path = (!path.is_empty()).then(|| format!("/{path}").into());
        self
    }

    /// Puts a mounted stage in front of what guards its chain. Without this the gates and wraps of the
    /// whole list, authentication among them, stand in front of it.
    pub fn public(mut self) -> Self {
        self.is_public = true;
        self
    }

    fn is_mounted(&self) -> bool {
        self.mount != Mount::default()
    }
}

/// The registrations of all ports while the server is being composed.
///
/// There are two lists. *Edge* stages come first and surround everything (request log, host check,
/// limits, compression). Behind them is the list of the handlers and of what guards them
/// (authentication), where a registration goes to the end, like `runFirst` to the front, or where its
/// [`Registration`] says. A port's
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
        self.register(Registration::new(ports, name, stage))
    }

    /// Puts a stage into the list where its registration says.
    pub fn register(&mut self, registration: Registration) -> &mut Self {
        self.list.push(registration);
        self
    }

    /// The chain of the port that the setting `setting` opens. Later registrations do not change it.
    ///
    /// Stages under a host or path form chains of their own, of which a request takes one: that of its host
    /// and path, else of its host, else of its path (the longest), else the list without mounts. What a
    /// mounted chain does not answer is a 404.
    pub fn chain_for(&self, setting: &str) -> Chain {
        let here = |registration: &&Registration| registration.ports.include(setting);
        let edge = self.edge.iter().filter(here).map(|edge| edge.named.clone());
        let list: Vec<&Registration> = self.list.iter().filter(here).collect();
        let (mounted, plain): (Vec<_>, Vec<_>) = list
            .into_iter()
            .partition(|registration| registration.is_mounted());
        let mounts = mounts(&plain, &mounted);
        let mounts = (!mounts.is_empty()).then(|| NamedStage {
            name: "mounts".into(),
            stage: Stage::wrap(Mounts::new(mounts)),
        });
        Chain::of_named(edge.chain(mounts).chain(in_order(&plain)))
    }
}

/// The chains of the different mounts, each guarded by the gates and wraps of the plain list.
fn mounts(plain: &[&Registration], mounted: &[&Registration]) -> Vec<Mounted> {
    let mut mounts: Vec<&Mount> = Vec::new();
    for registration in mounted {
        if !mounts.contains(&&registration.mount) {
            mounts.push(&registration.mount);
        }
    }
    let guards = || {
        plain
            .iter()
            .filter(|registration| !matches!(registration.named.stage, Stage::Handler(_)))
    };
    let chain_of = |mount: &Mount| {
        let here = || mounted.iter().filter(move |other| other.mount == *mount);
        let public = here().filter(|registration| registration.is_public);
        let guarded = here().filter(|registration| !registration.is_public);
        let all: Vec<&Registration> = public.chain(guards()).chain(guarded).copied().collect();
        Chain::of_named(in_order(&all))
    };
    mounts
        .into_iter()
        .map(|mount| Mounted::new(mount.clone(), chain_of(mount)))
        .collect()
}

fn in_order(list: &[&Registration]) -> impl Iterator<Item = NamedStage> + use<> {
    let entries: Vec<(&str, &Place)> = list
        .iter()
        .map(|registration| (&*registration.named.name, &registration.place))
        .collect();
    let stages: Vec<NamedStage> = ordered(&entries)
        .into_iter()
        .map(|at| list[at].named.clone())
        .collect();
    stages.into_iter()
}
