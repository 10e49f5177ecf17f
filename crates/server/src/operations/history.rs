//! The log of changes, by way of the store.

use std::sync::Arc;

use base::Timestamp;
use futures_util::TryStreamExt as _;
use opsapi::{History, HistoryEntry, HistoryStream};
use resource::Answer;
use store::{Change, Store};

/// What the store has logged.
pub(super) struct StoreHistory(pub(super) Arc<Store>);

impl History for StoreHistory {
    fn entries<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        from: Timestamp,
        until: Option<Timestamp>,
    ) -> Answer<'a, HistoryStream> {
        let changes = self.0.changes(database, table, from, until);
        Answer::ready(changes.map(|changes| {
            let entries = changes.map_ok(|batch| batch.into_iter().map(entry).collect());
            Box::pin(entries) as HistoryStream
        }))
    }

    fn remove_before<'a>(
        &'a self,
        database: &'a str,
        table: &'a str,
        before: Timestamp,
    ) -> Answer<'a, u64> {
        Answer::pending(self.0.remove_changes(database, table, before))
    }
}

fn entry(change: Change) -> HistoryEntry {
    let Change {
        kind,
        key,
        body,
        user,
        operation,
        time,
    } = change;
    HistoryEntry {
        kind,
        key,
        body,
        user,
        operation,
        time,
    }
}
