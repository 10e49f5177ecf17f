//! `delete_records_before`: records that were made before a date.

use std::sync::Arc;

use futures_util::StreamExt as _;
use resource::{
    Attribute, AttributeType, Comparator, Comparison, Condition, Context, Conversion, Date, Error,
    Key, Query, Resource, Target, Value, Write, WriteKind, WriteOutcome,
};

use super::{Bulk, write_batch};
use crate::jobs::{Outcome, Progress};
use crate::operations::definition;
use crate::operations::write::deleted_message;
use crate::parameters::{Check, Parameter};
use crate::permission::require_not_system;
use crate::{Call, Failure, Need, Operation, Reply};

const DATE: Parameter = Parameter::plain("date");

/// Records that are looked for at once.
const CHUNK: u64 = 10_000;
/// Records of one transaction.
const BATCH: usize = 1000;

pub(super) fn operations(bulk: &Bulk) -> Vec<Operation> {
    let operation = Operation::on(
        bulk,
        "delete_records_before",
        Need::SuperUser,
        delete_records_before,
    );
    vec![
        operation
            .with_aliases(&["delete_files_before"])
            .shown_as("deleteFilesBefore"),
    ]
}

async fn delete_records_before(bulk: Bulk, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let date = check.required_text(DATE).and_then(|text| {
        let date = Date::parse(text);
        if date.is_none() {
            check.violation(DATE, "must be in ISO 8601 date format");
        }
        date
    });
    let database = check.database();
    let table = check.table();
    let (date, table) = check.finish_with(date.zip(table))?;
    require_not_system(&database)?;
    let found = bulk.catalog.table(&database, &table)?;
    let definition = definition(&*found)?;
    let created = definition
        .attributes
        .iter()
        .find(|attribute| attribute.assigned_created_time)
        .ok_or_else(|| {
            let text = format!("Table '{database}.{table}' has no attribute with the created time");
            Failure::new(400, text)
        })?;
    let condition = before(created, date);
    let mut context = call.context.clone();
    context.operation = Some("delete");
    bulk.jobs
        .run("delete_records_before", &call, move |progress| {
            delete_all(found, condition, context, progress)
        })
        .await
}

/// The date in the type of the attribute.
fn before(created: &Attribute, date: Date) -> Condition {
    Condition::Compare(Comparison {
        attribute: vec![created.name.clone()],
        comparator: Comparator::LessThan,
        value: match created.kind {
            AttributeType::Date => Value::Date(date),
            AttributeType::String => Value::from(date.to_string()),
            _ => Value::Int(date.as_millis()),
        },
        conversion: Conversion::Typed,
    })
}

async fn delete_all(
    table: Arc<dyn Resource>,
    condition: Condition,
    context: Context,
    progress: Progress,
) -> Result<Outcome, Failure> {
    let (mut deleted, mut found) = (0, 0);
    loop {
        let keys = find(&*table, &condition, &context).await?;
        found += keys.len();
        let before = deleted;
        for batch in keys.chunks(BATCH) {
            let delete = |key: &Key| Write::new(Some(key.clone()), WriteKind::Delete, None);
            let writes = batch.iter().map(delete).collect();
            let written = write_batch(&*table, writes, &context).await?;
            let gone = |outcome| outcome == WriteOutcome::Deleted;
            deleted += written
                .iter()
                .filter(|written| gone(written.outcome))
                .count();
            progress.add(batch.len() as u64).await;
        }
        // Without progress the same would be found for ever.
        if deleted == before {
            break;
        }
    }
    Ok(Outcome::message(match found {
        0 => "No records found to delete".to_owned(),
        _ => deleted_message(deleted, found),
    }))
}

async fn find(
    table: &dyn Resource,
    condition: &Condition,
    context: &Context,
) -> Result<Vec<Key>, Error> {
    let target = Target::query(Query {
        condition: Some(condition.clone()),
        limit: Some(CHUNK),
        ..Query::default()
    });
    let mut records = table.search(&target, context).await?;
    let mut keys = Vec::new();
    while let Some(batch) = records.next().await {
        keys.extend(batch?.into_iter().filter_map(|record| record.key));
    }
    Ok(keys)
}
