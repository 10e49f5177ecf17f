//! Cookie sessions (`auth.md` §6): a random id at the client, a record under its hash here.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resource::{
    Caller, Context, Error, Map, Resource, Session, Sessions, Target, Value, Write, WriteKind,
};
use sha2::{Digest as _, Sha256};

use crate::Directory;
use crate::directory::admit;

/// Sessions and how long they live.
#[derive(Clone)]
pub struct SessionConfig {
    /// The table, as [`session_table`](crate::tables::session_table) describes it.
    pub table: Arc<dyn Resource>,
    /// Life of a session (`authentication.cookie.expires`); `None` is for ever.
    pub lifetime: Option<Duration>,
}

impl std::fmt::Debug for SessionConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionConfig")
            .field("table", &self.table.name())
            .field("lifetime", &self.lifetime)
            .finish()
    }
}

impl Sessions for Directory {
    fn login<'a>(
        &'a self,
        username: &'a str,
        password: &'a [u8],
        peer: Option<std::net::IpAddr>,
    ) -> resource::Answer<'a, Session> {
        resource::Answer::pending(async move {
            let sessions = self.session_config()?;
            let caller = self.check_password_of(username, password, peer).await?;
            // Always a new id: one that was known before the login must not become valuable (fixation).
            let id = uuid::Uuid::new_v4().simple().to_string();
            let mut body = Map::from_iter([
                ("id", Value::from(stored(&id))),
                ("user", Value::from(username)),
            ]);
            if let Some(lifetime) = sessions.lifetime {
                body.insert(
                    "expires",
                    Value::Int(now().saturating_add(millis(lifetime))),
                );
            }
            let write = Write::new(
                Some(stored(&id).as_str().into()),
                WriteKind::InsertIfAbsent,
                Some(Value::Map(body)),
            );
            sessions
                .table
                .write(vec![write], &Context::internal())
                .await?;
            Ok(Session {
                id,
                caller,
                lifetime: sessions.lifetime,
            })
        })
    }

    fn logout<'a>(&'a self, id: &'a str) -> resource::Answer<'a, bool> {
        resource::Answer::pending(async move { self.delete_session(id).await })
    }
}

impl Directory {
    /// The caller behind a session; anonymous if there is none, or not any more.
    pub(crate) async fn check_session(&self, id: &str) -> Result<Caller, Error> {
        let sessions = self.session_config()?;
        let target = Target::record(stored(id).as_str());
        let record = sessions.table.get(&target, &Context::internal()).await?;
        let Some(Value::Map(session)) = record.map(|record| record.body.to_value()) else {
            return Ok(Caller::Anonymous);
        };
        let expires = session.get("expires").and_then(Value::as_i64);
        let username = session.get("user").and_then(Value::as_str);
        let is_over = expires.is_some_and(|expires| expires <= now());
        let snapshot = Arc::clone(&self.snapshot());
        let caller = username
            .filter(|_| !is_over)
            .and_then(|username| Some((username, snapshot.users.get(username)?)))
            .map(|(username, account)| admit(username, account));
        match caller {
            Some(Ok(caller)) => Ok(caller),
            // Over, or of a user who is gone or inactive: nobody can use it again.
            _ => {
                self.delete_session(id).await?;
                Ok(Caller::Anonymous)
            }
        }
    }

    async fn delete_session(&self, id: &str) -> Result<bool, Error> {
        let sessions = self.session_config()?;
        let write = Write::new(Some(stored(id).as_str().into()), WriteKind::Delete, None);
        let written = sessions
            .table
            .write(vec![write], &Context::internal())
            .await?;
        let deleted =
            |written: &resource::Written| written.outcome != resource::WriteOutcome::Skipped;
        Ok(written.first().is_some_and(deleted))
    }
}

/// The key of the record: who reads the table cannot use the sessions.
fn stored(id: &str) -> String {
    let digest = Sha256::digest(id.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now() -> i64 {
    millis(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
