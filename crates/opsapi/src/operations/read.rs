//! Reading records (`operations-api.md` §6). Results are streamed; scans without an index are allowed.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use resource::{
    Action, Catalog, Condition, Context, Error, Key, Query, Record, RecordStream, Resource,
    SortKey, TableDefinition, Target, Value,
};

use crate::operations::condition::{self, ATTRIBUTE, VALUE};
use crate::operations::definition;
use crate::operations::selection::{self, GET_ATTRIBUTES, Selection, require_known};
use crate::operations::unavailable::not_available;
use crate::parameters::{Check, Parameter};
use crate::permission::TablePermission;
use crate::{Call, Failure, Need, Operation, Reply};

const IDS: Parameter = Parameter::renamed("ids", "hash_values");
const LIMIT: Parameter = Parameter::plain("limit");
const OFFSET: Parameter = Parameter::plain("offset");
const DESC: Parameter = Parameter::renamed("desc", "reverse");

/// Keys that are looked up before the next records are sent.
const KEYS_A_BATCH: usize = 256;

pub(super) fn operations(catalog: &Arc<dyn Catalog>) -> Vec<Operation> {
    vec![
        Operation::on(catalog, "search_by_id", Need::User, search_by_id)
            .with_aliases(&["search_by_hash"]),
        Operation::on(catalog, "search_by_value", Need::User, search_by_value),
        Operation::on(
            catalog,
            "search_by_conditions",
            Need::User,
            search_by_conditions,
        ),
    ]
}

/// The searches, under all their names.
pub(super) const SEARCHES: [&str; 4] = [
    "search_by_id",
    "search_by_hash",
    "search_by_value",
    "search_by_conditions",
];

/// The search that the parameters name.
pub(super) async fn search(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let name = call.parameters.get("operation").and_then(Value::as_str);
    match name.unwrap_or_default() {
        "search_by_id" | "search_by_hash" => search_by_id(catalog, call).await,
        "search_by_value" => search_by_value(catalog, call).await,
        "search_by_conditions" => search_by_conditions(catalog, call).await,
        "sql" => Err(not_available("sql")),
        other => Err(Failure::new(400, format!("Operation '{other}' not found"))),
    }
}

async fn search_by_id(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    let table = check.table();
    let ids = check.required_array(IDS);
    let keys = ids.map(|ids| keys(&mut check, ids));
    let names = check.required_array(GET_ATTRIBUTES);
    let names = check.non_empty(GET_ATTRIBUTES, names);
    let names = names.map(|names| selection::names(&mut check, names));
    let required = table.zip(keys).zip(names);
    let ((table, keys), names) = check.finish_with(required)?;
    let search = Search::of(&*catalog, &call, &database, &table, Some(&names))?;
    search
        .reply(by_keys(
            Arc::clone(&search.table),
            keys,
            call.context.clone(),
        ))
        .await
}

fn keys(check: &mut Check<'_>, ids: &[Value]) -> Vec<Key> {
    let mut keys = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        match Key::from_value(id) {
            Ok(key) => keys.push(key),
            Err(_) => {
                check.complain(format!(
                    "'hash_values[{index}]' must be one of [string, number]"
                ));
            }
        }
    }
    keys
}

/// The records of `keys` in that order; those that do not exist leave no trace.
fn by_keys(table: Arc<dyn Resource>, keys: Vec<Key>, context: Context) -> RecordStream {
    let rest = keys.into_iter();
    let batches = stream::try_unfold((table, rest, context), |(table, mut rest, context)| async {
        let batch: Vec<Key> = rest.by_ref().take(KEYS_A_BATCH).collect();
        if batch.is_empty() {
            return Ok(None);
        }
        let mut records: Vec<Record> = Vec::with_capacity(batch.len());
        for key in batch {
            records.extend(table.get(&Target::record(key), &context).await?);
        }
        Ok::<_, Error>(Some((records, (table, rest, context))))
    });
    Box::pin(batches)
}

async fn search_by_value(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    let table = check.table();
    let attribute = check.required_text(ATTRIBUTE);
    let value = VALUE.given(&call.parameters);
    match value {
        None => check.violation(VALUE, "is required"),
        Some(Value::Array(_) | Value::Map(_)) => {
            check.violation(VALUE, "must be one of [string, number, boolean]");
        }
        Some(_) => {}
    }
    let shape = Shape::of(&mut check, &call);
    let is_descending = check.flag(DESC).unwrap_or(false);
    let required = table.zip(attribute).zip(value);
    let ((table, attribute), value) = check.finish_with(required)?;
    let search = Search::of(&*catalog, &call, &database, &table, shape.names.as_deref())?;
    let condition = condition::by_value(attribute, value);
    if condition.is_some() {
        search.require_attributes(&[attribute])?;
    }
    let mut query = search.query(condition, &shape)?;
    if query.sort.is_empty() && is_descending {
        let key = search.definition.primary_key.as_str();
        let sorted_by = query.condition.as_ref().map_or(key, |_| attribute);
        query.sort = vec![SortKey {
            attribute: vec![sorted_by.to_owned()],
            descending: true,
        }];
    }
    search.run(query, &call).await
}

async fn search_by_conditions(catalog: Arc<dyn Catalog>, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let database = check.database();
    let table = check.table();
    let condition = condition::group(&mut check);
    let shape = Shape::of(&mut check, &call);
    let (table, condition) = check.finish_with(table.zip(condition))?;
    let search = Search::of(&*catalog, &call, &database, &table, shape.names.as_deref())?;
    let mut compared = Vec::new();
    condition::compared(&condition, &mut compared);
    search.require_paths(&compared)?;
    let query = search.query(Some(condition), &shape)?;
    search.run(query, &call).await
}

/// What both searches by content say about their result.
struct Shape<'a> {
    names: Option<Vec<&'a str>>,
    sort: Vec<SortKey>,
    offset: u64,
    limit: Option<u64>,
}

impl<'a> Shape<'a> {
    fn of(check: &mut Check<'a>, call: &'a Call) -> Self {
        let names = check.array(GET_ATTRIBUTES);
        let names = check.non_empty(GET_ATTRIBUTES, names);
        Self {
            names: names.map(|names| selection::names(check, names)),
            sort: condition::sort(check, &call.parameters),
            offset: check.integer(OFFSET, 0).unwrap_or(0),
            limit: check.integer(LIMIT, 1),
        }
    }
}

/// A table that the caller may read, and how its records are to appear.
struct Search<'a> {
    table: Arc<dyn Resource>,
    definition: Arc<TableDefinition>,
    permission: TablePermission<'a>,
    selection: Selection,
}

impl<'a> Search<'a> {
    fn of(
        catalog: &dyn Catalog,
        call: &Call,
        database: &'a str,
        table: &'a str,
        names: Option<&[&str]>,
    ) -> Result<Self, Failure> {
        let user = call.user()?;
        let permission = TablePermission::require(user, database, table, &[Action::Read])?;
        let table = catalog.table(database, table)?;
        let definition = definition(&*table)?;
        let selection = Selection::new(names, &definition, &permission)?;
        Ok(Self {
            table,
            definition,
            permission,
            selection,
        })
    }

    fn require_attributes(&self, names: &[&str]) -> Result<(), Failure> {
        let names = || names.iter().copied();
        self.permission
            .require_attributes(&self.definition, names(), &[Action::Read])?;
        require_known(&self.definition, names())
    }

    /// A path through a relationship is left to the table, except for its first step.
    fn require_paths(&self, paths: &[&[String]]) -> Result<(), Failure> {
        let all = paths.iter().filter_map(|path| first_step(path));
        self.permission
            .require_attributes(&self.definition, all, &[Action::Read])?;
        let single = paths.iter().filter(|path| path.len() == 1);
        require_known(&self.definition, single.filter_map(|path| first_step(path)))
    }

    fn query(&self, condition: Option<Condition>, shape: &Shape<'_>) -> Result<Query, Failure> {
        let sorted: Vec<&[String]> = shape.sort.iter().map(|key| &*key.attribute).collect();
        self.require_paths(&sorted)?;
        Ok(Query {
            condition,
            select: None,
            sort: shape.sort.clone(),
            offset: shape.offset,
            limit: shape.limit,
        })
    }

    async fn run(&self, query: Query, call: &Call) -> Result<Reply, Failure> {
        let target = Target::query(query);
        let records = self.table.search(&target, &call.context).await?;
        self.reply(records).await
    }

    async fn reply(&self, records: RecordStream) -> Result<Reply, Failure> {
        let columns = self.selection.columns(&self.definition);
        let selection = self.selection.clone();
        let shaped = records.map(move |batch| {
            let apply = |record| selection.apply(record);
            batch.map(|records| records.into_iter().map(apply).collect())
        });
        Ok(Reply::records(Box::pin(shaped), Some(columns)).await?)
    }
}

fn first_step(path: &[String]) -> Option<&str> {
    path.first().map(String::as_str)
}
