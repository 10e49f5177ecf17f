//! The JSON form: an array with an object for each sample.

use serde_json::{Map, Value, json};

use super::super::{FamilySnapshot, Number, Sample, SampleValue, Snapshot};
use super::labels;

/// Appends the JSON form. Names have no prefix; a histogram becomes `_bucket` (with the tag `le`), `_sum` and
/// `_count`; what is no number in JSON is null.
pub fn json(snapshot: &Snapshot, out: &mut String) {
    let mut objects = Vec::new();
    for family in &snapshot.families {
        for sample in &family.samples {
            write_sample(family, sample, &mut objects);
        }
    }
    out.push_str(&Value::Array(objects).to_string());
}

fn write_sample(family: &FamilySnapshot, sample: &Sample, objects: &mut Vec<Value>) {
    let mut push = |suffix: &str, upper_bound: Option<f64>, unit: &str, value: Value| {
        let mut tags = Map::new();
        tags.insert(
            "metric".to_owned(),
            format!("{}{suffix}", family.name).into(),
        );
        tags.extend(labels(family, sample).map(|(name, value)| (name.to_owned(), value.into())));
        if let Some(bound) = upper_bound {
            let text = if bound.is_finite() {
                bound.to_string()
            } else {
                "+Inf".to_owned()
            };
            tags.insert("le".to_owned(), text.into());
        }
        objects.push(json!({ "tags": tags, "unit": unit, "value": value }));
    };
    let unit = family.unit.as_str();
    match &sample.value {
        SampleValue::Single(number) => push("", None, unit, value(*number)),
        SampleValue::Distribution(distribution) => {
            let bounds = distribution.bounds.iter().copied().chain([f64::INFINITY]);
            for (bound, count) in bounds.zip(&distribution.cumulative) {
                push("_bucket", Some(bound), "nounit", (*count).into());
            }
            let count = distribution.cumulative.last().copied().unwrap_or(0);
            push("_count", None, "nounit", count.into());
            push("_sum", None, unit, value(distribution.sum));
        }
    }
}

fn value(number: Number) -> Value {
    match number {
        Number::Integer(number) => number.into(),
        Number::Float(number) => number.into(),
    }
}
