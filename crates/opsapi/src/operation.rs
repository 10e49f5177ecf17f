//! What an operation is: one row of the table of operations.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use http_chain::BoxFuture;
use http_chain::auth::{RefreshToken, SessionControl};
use resource::{Context, Error, Map, User};

use crate::{Failure, Reply};

/// What the role of the caller must allow before an operation runs.
///
/// A role with a list of `operations` is bound to that list; a super-user operation on it is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// Nothing, not even a login.
    Nothing,
    /// A login; the operation checks the tables it touches.
    User,
    /// The right to make and drop tables in the database that the parameters name.
    Structure,
    /// The right to make and drop databases.
    Databases,
    /// A super user.
    SuperUser,
}

/// One request that has been understood and allowed.
#[derive(Debug)]
pub struct Call {
    /// The members of the body, `operation` included.
    pub parameters: Map,
    /// Who asks and from where; `operation` is the name for the audit log.
    pub context: Context,
    /// Address of the peer, whose failed logins are counted.
    pub peer: Option<IpAddr>,
    /// Begins and ends the session of the client; absent when there are no sessions.
    pub session: Option<SessionControl>,
    /// A refresh token that came as Bearer; unchecked.
    pub refresh_token: Option<RefreshToken>,
}

impl Call {
    /// The caller.
    ///
    /// # Errors
    ///
    /// 401 for an operation with [`Need::Nothing`] whose caller is not logged in.
    pub fn user(&self) -> Result<&Arc<User>, Failure> {
        self.context.caller.user().ok_or_else(must_login)
    }
}

/// The 401 of everything that needs a login.
pub(crate) fn must_login() -> Failure {
    Error::unauthorized("Must login").into()
}

type Run = dyn Fn(Call) -> BoxFuture<'static, Result<Reply, Failure>> + Send + Sync;

/// One operation: its names, who may call it, and what it does.
pub struct Operation {
    name: &'static str,
    aliases: &'static [&'static str],
    shown_name: &'static str,
    need: Need,
    is_available: bool,
    run: Box<Run>,
}

impl Operation {
    /// An operation without aliases, shown under its own name.
    pub fn new<F, Answering>(name: &'static str, need: Need, run: F) -> Self
    where
        F: Fn(Call) -> Answering + Send + Sync + 'static,
        Answering: Future<Output = Result<Reply, Failure>> + Send + 'static,
    {
        Self {
            name,
            aliases: &[],
            shown_name: name,
            need,
            is_available: true,
            run: Box::new(move |call| Box::pin(run(call))),
        }
    }

    /// [`new`](Self::new) for a function that shares `state` with others.
    pub(crate) fn on<S, F, Answering>(state: &S, name: &'static str, need: Need, run: F) -> Self
    where
        S: Clone + Send + Sync + 'static,
        F: Fn(S, Call) -> Answering + Send + Sync + 'static,
        Answering: Future<Output = Result<Reply, Failure>> + Send + 'static,
    {
        let state = state.clone();
        Self::new(name, need, move |call| run(state.clone(), call))
    }

    /// Also answers to these names.
    #[must_use]
    pub fn with_aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Is called this when somebody may not call it; clients compare that text.
    #[must_use]
    pub fn shown_as(mut self, shown_name: &'static str) -> Self {
        self.shown_name = shown_name;
        self
    }

    /// Is known by name alone; it always answers 501.
    pub(crate) fn unavailable(mut self) -> Self {
        self.is_available = false;
        self
    }

    /// Whether it does what it is called, rather than answer 501.
    pub fn is_available(&self) -> bool {
        self.is_available
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The name in denials.
    pub fn shown_name(&self) -> &'static str {
        self.shown_name
    }

    /// Who may call it.
    pub fn need(&self) -> Need {
        self.need
    }

    /// The name and the aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    pub(crate) fn run(&self, call: Call) -> BoxFuture<'static, Result<Reply, Failure>> {
        (self.run)(call)
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("name", &self.name)
            .field("need", &self.need)
            .finish_non_exhaustive()
    }
}
