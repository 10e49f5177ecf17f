//! Who asks, from where, and by which protocol.

use std::sync::Arc;

use base::WorkerId;

use crate::{Permissions, Resource, TableAccess};

/// How a request arrived. Exports can be limited per protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP methods on resources.
    Rest,
    /// WebSocket.
    WebSocket,
    /// Server-Sent Events.
    Sse,
    /// MQTT over any transport.
    Mqtt,
    /// The Operations API.
    Operations,
    /// The process itself.
    Internal,
}

/// An authenticated user with the permissions of its role at the time of the check.
#[derive(Debug, Clone)]
pub struct User {
    /// Unique name.
    pub username: Arc<str>,
    /// Name of its role.
    pub role: Arc<str>,
    /// What the role allows.
    pub permissions: Arc<Permissions>,
}

/// Who makes a request.
#[derive(Debug, Clone, Default)]
pub enum Caller {
    /// Nobody gave credentials.
    #[default]
    Anonymous,
    /// A known, active user.
    User(Arc<User>),
}

impl Caller {
    /// The user, unless anonymous.
    pub fn user(&self) -> Option<&Arc<User>> {
        match self {
            Self::Anonymous => None,
            Self::User(user) => Some(user),
        }
    }
    /// The name for the audit log.
    pub fn username(&self) -> Option<&Arc<str>> {
        self.user().map(|user| &user.username)
    }
    /// What the user may do with the table behind `resource`; `None` without a user or a table.
    pub fn table_access(&self, resource: &dyn Resource) -> Option<TableAccess> {
        let (table, user) = (resource.table()?, self.user()?);
        Some(user.permissions.table(&table.database, &table.table))
    }
    /// Whether everything is allowed.
    pub fn is_super_user(&self) -> bool {
        self.user().is_some_and(|user| user.permissions.super_user)
    }
    /// The process itself acting as a super user under `name`; never made from anything a peer sent.
    pub fn internal(name: &str) -> Self {
        Self::User(Arc::new(User {
            username: Arc::from(name),
            role: Arc::from("super_user"),
            permissions: Arc::new(Permissions::super_user()),
        }))
    }
}

/// What accompanies every call of a resource.
#[derive(Debug, Clone)]
pub struct Context {
    /// Who asks.
    pub caller: Caller,
    /// The worker the request runs on: subscriptions are delivered there.
    pub worker: WorkerId,
    /// How the request arrived.
    pub protocol: Protocol,
    /// The client session that publishes, so that it can be left out of its own deliveries (MQTT "no local").
    pub publisher: Option<Arc<str>>,
    /// The operation behind a write, for the audit log (`insert`, `update`, `upsert`, `delete`).
    pub operation: Option<&'static str>,
}

impl Context {
    /// A context for a call by `caller` on `worker`.
    pub fn new(caller: Caller, worker: WorkerId, protocol: Protocol) -> Self {
        Self {
            caller,
            worker,
            protocol,
            publisher: None,
            operation: None,
        }
    }
    /// The process itself, with all rights, on worker 0.
    pub fn internal() -> Self {
        Self::new(Caller::internal("motet"), WorkerId(0), Protocol::Internal)
    }
}
