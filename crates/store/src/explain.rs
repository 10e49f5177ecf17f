//! What a plan does, in the words of `schema-and-storage.md` §15.2.

use resource::{Comparison, Condition, Error, Map, Operator, Query, Value};

use crate::filter::Filter;
use crate::plan::{self, Order, Plan, Scan};
use crate::snapshot::View;

/// `{conditions, operator, postOrdering, selectApplied}`, the conditions in the order of execution with their
/// `estimated_count` (null: no index helps), and besides: `fullScan`, `drivenBy` (the attributes whose indexes are
/// read), `estimatedRecords`.
///
/// # Errors
///
/// Failures of the engine.
pub(crate) fn explain(view: View<'_>, query: &Query, plan: &Plan) -> Result<Value, Error> {
    let (operator, asked): (Operator, Vec<&Condition>) = match &query.condition {
        Some(Condition::Group(operator, members)) => (*operator, members.iter().collect()),
        condition => (Operator::And, condition.iter().collect()),
    };
    let mut filters = match &plan.filter {
        Some(Filter::All(filters) | Filter::Any(filters)) => filters.iter(),
        filter => filter.as_slice().iter(),
    };
    let mut explained = Vec::with_capacity(asked.len());
    for condition in asked {
        let estimate = match !plan.lookups.is_empty() && is_related(condition) {
            true => None,
            false => filters
                .next()
                .map(|filter| plan::estimate(view, filter))
                .transpose()?
                .flatten(),
        };
        let order = estimate.unwrap_or(f64::INFINITY);
        explained.push((order, condition_value(condition, estimate)));
    }
    if operator == Operator::And {
        explained.sort_by(|left, right| left.0.total_cmp(&right.0));
    }
    let conditions = explained.into_iter().map(|(_, condition)| condition);
    Ok(Value::Map(Map::from_iter([
        ("conditions", Value::Array(conditions.collect())),
        ("operator", Value::from(operator_name(operator))),
        (
            "postOrdering",
            Value::Bool(matches!(plan.order, Order::Sorted(_))),
        ),
        ("selectApplied", Value::Bool(query.select.is_some())),
        ("fullScan", Value::Bool(plan.full_scan)),
        ("drivenBy", Value::Array(driven_by(view, plan))),
        ("estimatedRecords", whole(plan.estimate)),
    ])))
}

fn is_related(condition: &Condition) -> bool {
    matches!(condition, Condition::Compare(comparison) if comparison.attribute.len() > 1)
}

/// Estimates are rounded; their fractions mean nothing.
fn whole(estimate: f64) -> Value {
    Value::Int(estimate.round() as i64)
}

fn operator_name(operator: Operator) -> &'static str {
    match operator {
        Operator::And => "and",
        Operator::Or => "or",
    }
}

fn condition_value(condition: &Condition, estimate: Option<f64>) -> Value {
    let mut map = match condition {
        Condition::Compare(comparison) => comparison_map(comparison),
        Condition::Group(operator, members) => {
            let members = members.iter().map(|member| match member {
                Condition::Compare(comparison) => Value::Map(comparison_map(comparison)),
                group => condition_value(group, None),
            });
            Map::from_iter([
                ("operator", Value::from(operator_name(*operator))),
                ("conditions", Value::Array(members.collect())),
            ])
        }
    };
    map.insert("estimated_count", estimate.map_or(Value::Null, whole));
    Value::Map(map)
}

fn comparison_map(comparison: &Comparison) -> Map {
    let attribute = match &comparison.attribute[..] {
        [name] => Value::from(name.as_str()),
        path => Value::Array(path.iter().map(|name| Value::from(name.as_str())).collect()),
    };
    Map::from_iter([
        ("attribute", attribute),
        ("comparator", Value::from(comparison.comparator.name())),
        ("value", comparison.value.clone()),
    ])
}

/// The attributes in whose order records are found, each once.
fn driven_by(view: View<'_>, plan: &Plan) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for driver in &plan.drivers {
        let name = match &driver.scan {
            Scan::Records { .. } => &view.stored.definition.primary_key,
            Scan::Index { attribute, .. } => attribute,
        };
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.into_iter().map(Value::from).collect()
}
