//! Whether the caller of an open connection still may have it (`realtime.md` §1.6).

use std::sync::Arc;

use resource::{Action, Authenticator, Caller, Context, IdentityChanges, Resource};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::close::Close;
use crate::config::WsConfig;

/// When to ask again, and whom.
pub(crate) struct Recheck {
    authenticator: Option<Arc<dyn Authenticator>>,
    changes: IdentityChanges,
    interval: Interval,
}

impl Recheck {
    /// Must be called within a tokio runtime. Without `authenticator`, nobody is asked.
    pub(crate) fn new(authenticator: Option<Arc<dyn Authenticator>>, config: &WsConfig) -> Self {
        let period = config.refresh_interval;
        let mut interval = interval_at(Instant::now() + period, period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let changes = match &authenticator {
            Some(authenticator) => authenticator.changes(),
            None => IdentityChanges::never(),
        };
        Self {
            authenticator,
            changes,
            interval,
        }
    }

    /// Waits until users or roles have changed, or the time has come. Cancel safe.
    pub(crate) async fn due(&mut self) {
        tokio::select! {
            () = self.changes.next() => {}
            _ = self.interval.tick(), if self.authenticator.is_some() => {}
        }
    }

    /// Asks. What the caller may see was settled when the connection was opened, so other permissions end it,
    /// too.
    pub(crate) fn check(
        &self,
        resource: &dyn Resource,
        context: &mut Context,
    ) -> Result<(), Close> {
        let Some(authenticator) = &self.authenticator else {
            return Ok(());
        };
        let caller = authenticator
            .refresh(&context.caller)
            .ok_or_else(Close::unauthenticated)?;
        let has_changed = !has_same_permissions(&caller, &context.caller);
        context.caller = caller;
        resource
            .authorize(context, &[Action::Read])
            .map_err(|error| Close::of_error(&error))?;
        match has_changed {
            true => Err(Close::new(3003, "Permissions changed")),
            false => Ok(()),
        }
    }
}

fn has_same_permissions(one: &Caller, other: &Caller) -> bool {
    match (one.user(), other.user()) {
        (Some(one), Some(other)) => {
            Arc::ptr_eq(&one.permissions, &other.permissions)
                || one.permissions == other.permissions
        }
        (one, other) => one.is_none() && other.is_none(),
    }
}
