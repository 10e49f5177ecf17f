//! Random queries on random data give what an evaluator gives that knows no index, no plan and no stored form.
//!
//! The evaluator shares nothing with the store but the query tree. `MOTET_TEST_QUERIES` sets how many queries are
//! asked (3,000 by default), `MOTET_TEST_SEED` where the random numbers start.

mod support;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use resource::{
    Comparator, Comparison, Condition, Conversion, Date, Key, Operator, Query, Record, Resource,
    Select, SelectItem, SortKey, Value, Write, WriteKind,
};
use support::{Fixture, internal, search};

const SCHEMA: &str = "
    type Left @table {
        id: Any @primaryKey, a: Any @indexed, b: Any, c: Any @indexed,
        rightId: Any @indexed, right: Right @relationship(from: rightId)
        rightIds: Any @indexed, rights: [Right] @relationship(from: rightIds)
    }
    type Right @table {
        id: Any @primaryKey, x: Any @indexed, y: Any,
        lefts: [Left] @relationship(to: rightId), many: [Left] @relationship(to: rightIds)
    }";

/// Queries asked of the same data before it changes.
const QUERIES_A_STATE: u64 = 60;
/// Changes of the data before a new store is made.
const STATES_A_STORE: u64 = 25;

#[allow(
    clippy::disallowed_methods,
    reason = "the size of a test is no setting of the program"
)]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Random numbers that a seed repeats (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn key(&mut self, count: u64) -> Value {
        let number = self.below(count) as i64;
        match self.one_in(3) {
            true => Value::String(format!("k{number}")),
            false => Value::Int(number),
        }
    }

    fn scalar(&mut self) -> Value {
        match self.below(14) {
            0 => Value::Null,
            1 => Value::Bool(self.one_in(2)),
            2..=5 => Value::Int(self.below(8) as i64 - 2),
            6 | 7 => Value::Float(self.below(12) as f64 / 2.0 - 2.0),
            8 => Value::Date(Date::from_millis(self.below(6) as i64).unwrap()),
            9 => Value::String("long".repeat(200) + self.pick(&["", "a", "b"])),
            _ => Value::String(
                self.pick(&["", "a", "ab", "abc", "b", "ba", "1", "\0", "ä"])
                    .to_owned(),
            ),
        }
    }

    fn value(&mut self) -> Value {
        match self.one_in(5) {
            true => Value::Array((0..self.below(4)).map(|_| self.scalar()).collect()),
            false => self.scalar(),
        }
    }

    fn left(&mut self) -> Vec<(&'static str, Value)> {
        let mut record = Vec::new();
        for name in ["a", "b", "c"] {
            if !self.one_in(6) {
                let value = if name == "c" {
                    self.scalar()
                } else {
                    self.value()
                };
                record.push((name, value));
            }
        }
        if !self.one_in(5) {
            record.push(("rightId", self.key(10)));
        }
        if !self.one_in(3) {
            let keys = (0..self.below(4)).map(|_| self.key(10)).collect();
            record.push(("rightIds", Value::Array(keys)));
        }
        record
    }

    fn right(&mut self) -> Vec<(&'static str, Value)> {
        vec![("x", self.scalar()), ("y", self.value())]
    }

    fn comparison(&mut self, path: &[&str]) -> Condition {
        use Comparator as C;
        let comparator = self.pick(&[
            C::Equals,
            C::Equals,
            C::NotEqual,
            C::LessThan,
            C::LessThanEqual,
            C::GreaterThan,
            C::GreaterThanEqual,
            C::Between,
            C::StartsWith,
            C::EndsWith,
            C::Contains,
            C::In,
        ]);
        let is_key = path.last() == Some(&"id");
        let mut operand = || if is_key { self.key(40) } else { self.scalar() };
        let value = match comparator {
            C::Between => Value::Array(vec![operand(), operand()]),
            C::In => Value::Array(vec![operand(), operand(), operand()]),
            _ => operand(),
        };
        Condition::Compare(Comparison {
            attribute: path.iter().map(|name| (*name).to_owned()).collect(),
            comparator,
            value,
            conversion: Conversion::Typed,
        })
    }

    fn condition(&mut self, depth: u64) -> Condition {
        if depth > 0 && self.one_in(2) {
            let operator = self.pick(&[Operator::And, Operator::Or]);
            let members = (0..=self.below(3)).map(|_| self.condition(depth - 1));
            return Condition::Group(operator, members.collect());
        }
        let paths: &[&[&str]] = &[
            &["a"],
            &["a"],
            &["b"],
            &["c"],
            &["c"],
            &["id"],
            &["right", "x"],
            &["right", "y"],
            &["right", "id"],
            &["rights", "x"],
            &["right", "lefts", "c"],
            &["rights", "many", "a"],
        ];
        let path = self.pick(paths);
        self.comparison(path)
    }

    fn query(&mut self) -> Query {
        let condition = (!self.one_in(10)).then(|| self.condition(3));
        let mut sort = Vec::new();
        for path in [
            &["a"][..],
            &["c"],
            &["right", "x"],
            &["right", "lefts", "c"],
        ] {
            if self.one_in(5) {
                sort.push(self.sort_key(path));
            }
        }
        if self.one_in(3) {
            sort.push(self.sort_key(&["id"]));
        }
        let select = self.one_in(4).then(|| {
            let nested = |name: &str, select| SelectItem {
                name: name.to_owned(),
                nested: Some(Box::new(Query {
                    select: Some(select),
                    ..Query::default()
                })),
            };
            let ids = Select::One(SelectItem::named("id"));
            Select::Object(vec![
                nested("right", Select::One(SelectItem::named("x"))),
                nested("rights", Select::Object(vec![nested("lefts", ids)])),
            ])
        });
        Query {
            condition,
            select,
            sort,
            offset: if self.one_in(4) { self.below(6) } else { 0 },
            limit: self.one_in(3).then(|| self.below(12)),
        }
    }

    fn sort_key(&mut self, path: &[&str]) -> SortKey {
        SortKey {
            attribute: path.iter().map(|name| (*name).to_owned()).collect(),
            descending: self.one_in(2),
        }
    }
}

/// A record of the evaluator.
type Fields = BTreeMap<String, Value>;

/// The data as the evaluator keeps it: records by the text of their keys.
#[derive(Default)]
struct Model {
    left: BTreeMap<String, Fields>,
    right: BTreeMap<String, Fields>,
}

impl Model {
    fn related<'m>(&'m self, record: &Fields, name: &str) -> Vec<&'m Fields> {
        let get = |field: &str| record.get(field).cloned().unwrap_or_default();
        let hold = |value: &Value, wanted: &Value| match value {
            Value::Array(items) => items.contains(wanted),
            value => value == wanted,
        };
        let key = get("id");
        let with = |field: &'static str| {
            let lefts = self.left.values();
            let mut found: Vec<&Fields> = lefts
                .filter(|left| left.get(field).is_some_and(|value| hold(value, &key)))
                .collect();
            found.sort_by(|one, other| order(&one["id"], &other["id"]));
            found
        };
        match name {
            "right" => self
                .right
                .values()
                .filter(|right| right["id"] == get("rightId"))
                .collect(),
            "rights" => {
                let keys = get("rightIds");
                let mut found: Vec<&Fields> = Vec::new();
                for key in keys.as_array().unwrap_or_default() {
                    let target = self.right.values().find(|right| right["id"] == *key);
                    if let Some(target) = target
                        && !found.iter().any(|known| known["id"] == *key)
                    {
                        found.push(target);
                    }
                }
                found
            }
            "lefts" => with("rightId"),
            _ => with("rightIds"),
        }
    }

    fn matches(&self, record: &Fields, condition: &Condition) -> bool {
        match condition {
            Condition::Group(Operator::And, members) => {
                members.iter().all(|member| self.matches(record, member))
            }
            Condition::Group(Operator::Or, members) => {
                members.iter().any(|member| self.matches(record, member))
            }
            Condition::Compare(comparison) => self.along(record, &comparison.attribute, comparison),
        }
    }

    fn along(&self, record: &Fields, path: &[String], comparison: &Comparison) -> bool {
        match path {
            [name] => holds(record.get(name).unwrap_or(&Value::Null), comparison),
            [name, rest @ ..] => {
                let related = self.related(record, name);
                related
                    .into_iter()
                    .any(|related| self.along(related, rest, comparison))
            }
            [] => unreachable!("a comparison has an attribute"),
        }
    }

    /// What a sort compares; of several related records the first in the direction of the sort.
    fn sort_value(&self, record: &Fields, path: &[String], descending: bool) -> Value {
        match path {
            [name] => record.get(name).cloned().unwrap_or_default(),
            [name, rest @ ..] => {
                let related = self.related(record, name).into_iter();
                let values = related.map(|related| self.sort_value(related, rest, descending));
                let best = match descending {
                    false => values.min_by(order),
                    true => values.max_by(order),
                };
                best.unwrap_or_default()
            }
            [] => unreachable!("a sort has an attribute"),
        }
    }

    fn sort_values(&self, record: &Fields, sort: &[SortKey]) -> Vec<Value> {
        let value = |key: &SortKey| self.sort_value(record, &key.attribute, key.descending);
        sort.iter().map(value).collect()
    }

    /// All matches, sorted as far as the query says.
    fn evaluate(&self, query: &Query) -> Vec<&Fields> {
        let passes = |record: &&Fields| {
            let condition = query.condition.as_ref();
            condition.is_none_or(|condition| self.matches(record, condition))
        };
        let mut found: Vec<(Vec<Value>, &Fields)> = self
            .left
            .values()
            .filter(passes)
            .map(|record| (self.sort_values(record, &query.sort), record))
            .collect();
        found.sort_by(|(left, _), (right, _)| {
            let pairs = query.sort.iter().zip(left.iter().zip(right));
            pairs
                .map(|(key, (left, right))| match key.descending {
                    false => order(left, right),
                    true => order(right, left),
                })
                .find(|ordering| ordering.is_ne())
                .unwrap_or(Ordering::Equal)
        });
        found.into_iter().map(|(_, record)| record).collect()
    }

    /// What is selected of related records; of a list that is filtered, too, what matches.
    fn joined(&self, record: &Fields, query: &Query) -> (Value, Value) {
        let right = self.related(record, "right");
        let right = right.first().map(|right| right["x"].clone());
        let narrowing = query.condition.as_ref().map_or(Vec::new(), of_rights);
        let rights = self.related(record, "rights").into_iter();
        let rights = rights.filter(|right| {
            let holds = |comparison: &&Comparison| {
                self.along(right, &comparison.attribute[1..], comparison)
            };
            narrowing.iter().all(holds)
        });
        let rights = rights.map(|right| {
            let lefts = self.related(right, "lefts").into_iter();
            let ids = Value::Array(lefts.map(|left| left["id"].clone()).collect());
            Value::Map([("lefts", ids)].into_iter().collect())
        });
        (right.unwrap_or_default(), Value::Array(rights.collect()))
    }
}

/// The comparisons of `rights` that hold for every result.
fn of_rights(condition: &Condition) -> Vec<&Comparison> {
    match condition {
        Condition::Group(Operator::And, members) => members.iter().flat_map(of_rights).collect(),
        Condition::Compare(comparison) if comparison.attribute[0] == "rights" => vec![comparison],
        _ => Vec::new(),
    }
}

/// Numbers and dates as one number, for what they are compared by.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Date(date) => Some(date.as_millis() as f64),
        value => value.as_f64(),
    }
}

fn compared(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::String(left), Value::String(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (left, right) => number(left)?.partial_cmp(&number(right)?),
    }
}

fn same(left: &Value, right: &Value) -> bool {
    (left.is_null() && right.is_null()) || compared(left, right) == Some(Ordering::Equal)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Int(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        Value::Date(value) => Some(value.to_string()),
        _ => None,
    }
}

fn holds(value: &Value, comparison: &Comparison) -> bool {
    let elements = match value {
        Value::Array(items) => items.clone(),
        scalar => vec![scalar.clone()],
    };
    let operand = &comparison.value;
    let any = |test: &dyn Fn(&Value) -> bool| elements.iter().any(test);
    let ordered = |wanted: &dyn Fn(Ordering) -> bool| {
        any(&|element| compared(element, operand).is_some_and(wanted))
    };
    let texts = |test: &dyn Fn(&str, &str) -> bool| {
        any(&|element| {
            text(element)
                .zip(text(operand))
                .is_some_and(|(text, part)| test(&text, &part))
        })
    };
    match comparison.comparator {
        Comparator::Equals => any(&|element| same(element, operand)),
        Comparator::NotEqual => !any(&|element| same(element, operand)),
        Comparator::In => {
            let choices = operand.as_array().unwrap();
            any(&|element| choices.iter().any(|choice| same(element, choice)))
        }
        Comparator::LessThan => ordered(&Ordering::is_lt),
        Comparator::LessThanEqual => ordered(&Ordering::is_le),
        Comparator::GreaterThan => ordered(&Ordering::is_gt),
        Comparator::GreaterThanEqual => ordered(&Ordering::is_ge),
        Comparator::Between => {
            let [low, high] = operand.as_array().unwrap() else {
                panic!("two bounds")
            };
            let inside = |element: &Value| {
                compared(element, low).is_some_and(Ordering::is_ge)
                    && compared(element, high).is_some_and(Ordering::is_le)
            };
            any(&inside)
        }
        Comparator::StartsWith => any(&|element| match (element, operand) {
            (Value::String(text), Value::String(start)) => text.starts_with(start.as_str()),
            _ => false,
        }),
        Comparator::EndsWith => texts(&|text, part| text.ends_with(part)),
        Comparator::Contains => texts(&|text, part| text.contains(part)),
        other => panic!("{other:?} is not asked"),
    }
}

/// Null, booleans, numbers and dates, texts, lists.
fn order(left: &Value, right: &Value) -> Ordering {
    let class = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        _ => 2,
    };
    class(left)
        .cmp(&class(right))
        .then_with(|| match (left, right) {
            (Value::Array(left), Value::Array(right)) => {
                let pairs = left
                    .iter()
                    .zip(right)
                    .map(|(left, right)| order(left, right));
                let mut different = pairs.filter(|ordering| ordering.is_ne());
                different.next().unwrap_or(left.len().cmp(&right.len()))
            }
            _ => compared(left, right).unwrap_or(Ordering::Equal),
        })
}

struct World {
    left: Arc<dyn Resource>,
    right: Arc<dyn Resource>,
    model: Model,
}

impl World {
    async fn change(&mut self, random: &mut Random, count: u64) {
        let (mut lefts, mut rights) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let is_left = !random.one_in(3);
            let key = random.key(if is_left { 40 } else { 10 });
            let (records, writes) = match is_left {
                true => (&mut self.model.left, &mut lefts),
                false => (&mut self.model.right, &mut rights),
            };
            let parsed = Key::from_value(&key).unwrap();
            if random.one_in(6) {
                records.remove(&format!("{key:?}"));
                writes.push(Write::new(Some(parsed), WriteKind::Delete, None));
                continue;
            }
            let fields = if is_left {
                random.left()
            } else {
                random.right()
            };
            let body = Value::Map(fields.iter().cloned().collect());
            let named = fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value));
            let mut record: Fields = named.collect();
            record.insert("id".to_owned(), key.clone());
            records.insert(format!("{key:?}"), record);
            writes.push(Write::new(Some(parsed), WriteKind::Put, Some(body)));
        }
        self.left.write(lefts, &internal()).await.unwrap();
        self.right.write(rights, &internal()).await.unwrap();
    }

    async fn check(&self, query: &Query) {
        let expected = self.model.evaluate(query);
        let found = search(&self.left, query.clone()).await.unwrap();
        let id = |record: &Record| record.key.as_ref().unwrap().to_value();
        let (offset, limit) = (
            query.offset as usize,
            query.limit.map_or(usize::MAX, |limit| limit as usize),
        );
        let window: Vec<&&Fields> = expected.iter().skip(offset).take(limit).collect();
        assert_eq!(found.len(), window.len(), "{query:?}");
        let by_text = |record: &Record| {
            let known = self.model.left.get(&format!("{:?}", id(record)));
            known.unwrap_or_else(|| panic!("{:?} is not there: {query:?}", id(record)))
        };
        let mut seen: Vec<String> = found
            .iter()
            .map(|record| format!("{:?}", id(record)))
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), found.len(), "no record comes twice: {query:?}");
        for (record, wanted) in found.iter().zip(&window) {
            let fields = by_text(record);
            assert!(
                query
                    .condition
                    .as_ref()
                    .is_none_or(|condition| self.model.matches(fields, condition)),
                "{fields:?} does not match {query:?}"
            );
            // Records that the sort does not tell apart may come in any order.
            let (is, should) = (
                self.model.sort_values(fields, &query.sort),
                self.model.sort_values(wanted, &query.sort),
            );
            let equal = is
                .iter()
                .zip(&should)
                .all(|(is, should)| order(is, should).is_eq());
            assert!(equal, "{is:?} instead of {should:?}: {query:?}");
            if query.select.is_some() {
                let (right, rights) = self.model.joined(fields, query);
                assert_eq!(record.body.attribute("right"), Some(right), "{query:?}");
                assert_eq!(record.body.attribute("rights"), Some(rights), "{query:?}");
            }
        }
    }
}

#[tokio::test]
async fn random_queries_find_what_an_evaluator_without_indexes_finds() {
    let (queries, seed) = (
        setting("MOTET_TEST_QUERIES", 3_000),
        setting("MOTET_TEST_SEED", 1),
    );
    let mut asked = 0;
    let mut store = 0;
    while asked < queries {
        store += 1;
        let mut random = Random(seed.wrapping_mul(1_000_003).wrapping_add(store));
        let fixture = Fixture::new();
        let tables = fixture.ensure(SCHEMA).await;
        let mut world = World {
            left: Arc::clone(&tables[0]),
            right: Arc::clone(&tables[1]),
            model: Model::default(),
        };
        for _ in 0..STATES_A_STORE {
            world.change(&mut random, 25).await;
            for _ in 0..QUERIES_A_STATE {
                world.check(&random.query()).await;
                asked += 1;
            }
            if asked >= queries {
                break;
            }
        }
        fixture.verify("data").await;
    }
}
