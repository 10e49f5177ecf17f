//! Queries made at random, but the same ones in every run: what is written in a URL, or as a body of QUERY, is
//! the query that is read.

use resource::{
    Comparator, Comparison, Condition, Conversion, Map, Operator, Query, Select, SelectItem,
    SortKey, Value,
};
use rest::query::{from_value, parse};

const QUERIES: u64 = 10_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn name(&mut self) -> String {
        const NAMES: &[&str] = &[
            "a", "price", "x y", "é€", "a.b", "select", "[]", "=", "a&b|c", "$id", "n:1", "%41",
        ];
        self.pick(NAMES).to_owned()
    }

    fn path(&mut self) -> Vec<String> {
        (0..=self.below(3)).map(|_| self.name()).collect()
    }

    fn text(&mut self) -> String {
        const PIECES: &[&str] = &[
            "a", "9", "+", " ", "*", ":", "(", ")", "[", "]", "&", "|", ",", "%", "=", "é", "\"",
            "null", "\u{0}",
        ];
        (0..=self.below(5)).map(|_| self.pick(PIECES)).collect()
    }

    /// An operator, its operand, and how the two are written.
    fn comparison(&mut self) -> (String, Condition) {
        use Comparator::*;
        use Conversion::{Declared, Guess, Typed};
        const OPERATORS: &[(&str, Comparator, Conversion)] = &[
            ("===", Equals, Declared),
            ("!==", NotEqual, Declared),
            ("==", Equals, Guess),
            ("!=", NotEqual, Guess),
            ("=eq=", Equals, Guess),
            ("<", LessThan, Guess),
            ("=ge=", GreaterThanEqual, Guess),
            ("=sw=", StartsWith, Declared),
            ("=ct=", Contains, Declared),
            ("=ew=", EndsWith, Declared),
        ];
        let attribute = self.path();
        let (sign, comparator, conversion) = self.pick(OPERATORS);
        let text = self.text();
        let is_strict = sign.len() == 3 && sign.ends_with("==");
        let (sign, comparator, written, value, conversion) = match self.below(8) {
            0 => ("=", Equals, encode(&text), Value::from(text), Declared),
            1 if !is_strict => (sign, comparator, "null".to_owned(), Value::Null, Typed),
            2 if !is_strict => {
                let number = self.next() as i64;
                let written = format!("number:{number}");
                (sign, comparator, written, Value::Int(number), Typed)
            }
            3 if !is_strict => {
                let written = format!("string:{}", encode(&text));
                (sign, comparator, written, Value::from(text), Typed)
            }
            4 => {
                let texts: Vec<String> = (0..=self.below(3)).map(|_| self.text()).collect();
                let written: Vec<String> = texts.iter().map(|text| encode(text)).collect();
                let values = texts.into_iter().map(Value::from).collect::<Vec<_>>();
                let joined = written.join(",");
                // An unencoded `null` is null.
                match written.iter().any(|text| text == "null") {
                    true => ("=", Equals, encode("x"), Value::from("x"), Declared),
                    false => ("=in=", In, joined, Value::from(values), Guess),
                }
            }
            _ if text == "null" && !is_strict => {
                (sign, comparator, "null".to_owned(), Value::Null, Typed)
            }
            _ => (
                sign,
                comparator,
                encode(&text),
                Value::from(text),
                conversion,
            ),
        };
        let path: Vec<String> = attribute.iter().map(|name| encode(name)).collect();
        let written = format!("{}{sign}{written}", path.join("."));
        let comparison = Comparison {
            attribute,
            comparator,
            value,
            conversion,
        };
        (written, Condition::Compare(comparison))
    }

    /// Several conditions under one operator.
    fn level(&mut self, depth: usize) -> (String, Condition) {
        let count = 2 + self.below(3);
        let members: Vec<(String, Condition)> = (0..count).map(|_| self.member(depth)).collect();
        let (sign, operator) = self.pick(&[("&", Operator::And), ("|", Operator::Or)]);
        let (written, conditions): (Vec<String>, Vec<Condition>) = members.into_iter().unzip();
        (written.join(sign), Condition::Group(operator, conditions))
    }

    fn member(&mut self, depth: usize) -> (String, Condition) {
        if depth == 0 || self.below(3) > 0 {
            return self.comparison();
        }
        let (written, condition) = self.level(depth - 1);
        match self.below(2) {
            0 => (format!("({written})"), condition),
            _ => (format!("[{written}]"), condition),
        }
    }

    fn query(&mut self, depth: usize) -> (String, Query) {
        let mut query = Query::default();
        let mut items = Vec::new();
        match self.below(3) {
            0 => {}
            1 => {
                let (written, condition) = self.comparison();
                query.condition = Some(condition);
                items.push(written);
            }
            _ => {
                let (written, condition) = self.level(depth);
                query.condition = Some(condition);
                items.push(written);
            }
        }
        if self.below(2) == 0 {
            let (written, select) = self.select(depth);
            query.select = Some(select);
            items.push(format!("select({written})"));
        }
        if self.below(3) == 0 {
            let (written, sort): (Vec<String>, Vec<SortKey>) =
                (0..=self.below(2)).map(|_| self.sort_key()).unzip();
            query.sort = sort;
            items.push(format!("sort({})", written.join(",")));
        }
        if self.below(3) == 0 {
            let (offset, limit) = (self.below(50) as u64, self.below(50) as u64);
            (query.offset, query.limit) = (offset, Some(limit));
            items.push(format!("limit({offset},{})", offset + limit));
        }
        (items.join("&"), query)
    }

    fn sort_key(&mut self) -> (String, SortKey) {
        let attribute = self.path();
        let path: Vec<String> = attribute.iter().map(|name| encode(name)).collect();
        let (sign, descending) = self.pick(&[("", false), ("+", false), ("-", true)]);
        let key = SortKey {
            attribute,
            descending,
        };
        (format!("{sign}{}", path.join(".")), key)
    }

    fn select(&mut self, depth: usize) -> (String, Select) {
        let (written, mut items) = self.items(depth);
        match (items.len(), self.below(3)) {
            (_, 0) => (format!("[{written}]"), Select::Array(items)),
            (1, 1) => (written, Select::One(items.remove(0))),
            (1, _) => (format!("{written},"), Select::Object(items)),
            _ => (written, Select::Object(items)),
        }
    }

    fn items(&mut self, depth: usize) -> (String, Vec<SelectItem>) {
        let (written, items): (Vec<String>, Vec<SelectItem>) =
            (0..=self.below(3)).map(|_| self.item(depth)).unzip();
        (written.join(","), items)
    }

    fn item(&mut self, depth: usize) -> (String, SelectItem) {
        let name = self.name();
        let kind = if depth == 0 { 9 } else { self.below(6) };
        let (written, nested) = match kind {
            0 => {
                let (written, items) = self.items(depth - 1);
                let query = Query {
                    select: Some(Select::Object(items)),
                    ..Query::default()
                };
                (format!("{{{written}}}"), Some(query))
            }
            1 => {
                let (written, query) = self.query(depth - 1);
                (format!("[{written}]"), Some(query))
            }
            _ => (String::new(), None),
        };
        let written = format!("{}{written}", encode(&name));
        let nested = nested.map(Box::new);
        (written, SelectItem { name, nested })
    }
}

/// Everything but letters and digits, percent-encoded.
fn encode(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[test]
fn what_is_written_in_a_url_is_read() {
    for seed in 0..QUERIES {
        let (written, expected) = Random(seed).query(3);
        let read = parse(&written, &|_| true);
        assert_eq!(read.as_ref(), Ok(&expected), "seed {seed}: {written}");
    }
}

/// A body of QUERY: values have their types, and a selection is an object.
fn as_body(query: &Query, others: Map) -> Value {
    let mut body = others;
    if let Some(condition) = &query.condition {
        let Value::Map(group) = condition_body(condition) else {
            unreachable!("a condition is an object");
        };
        match condition {
            Condition::Group(..) => {
                for (name, value) in group {
                    body.insert(name, value);
                }
            }
            Condition::Compare(_) => {
                body.insert("conditions", vec![Value::Map(group)]);
            }
        }
    }
    if let Some(select) = &query.select {
        let items = select.items().iter().map(|item| match &item.nested {
            None => Value::from(item.name.as_str()),
            Some(nested) => {
                let name = Map::from_iter([("name", Value::from(item.name.as_str()))]);
                as_body(nested, name)
            }
        });
        body.insert("select", items.collect::<Vec<_>>());
    }
    let sort = query.sort.iter().rev().fold(None, |next, key| {
        let mut sort = Map::from_iter([
            ("attribute", path_body(&key.attribute)),
            ("descending", Value::Bool(key.descending)),
        ]);
        if let Some(next) = next {
            sort.insert("next", Value::Map(next));
        }
        Some(sort)
    });
    if let Some(sort) = sort {
        body.insert("sort", sort);
    }
    if let Some(limit) = query.limit {
        body.insert("limit", limit);
        body.insert("offset", query.offset);
    }
    Value::Map(body)
}

fn path_body(path: &[String]) -> Value {
    Value::Array(path.iter().map(|name| Value::from(name.as_str())).collect())
}

fn condition_body(condition: &Condition) -> Value {
    Value::Map(match condition {
        Condition::Group(operator, members) => Map::from_iter([
            (
                "operator",
                Value::from(if *operator == Operator::And {
                    "and"
                } else {
                    "OR"
                }),
            ),
            (
                "conditions",
                Value::Array(members.iter().map(condition_body).collect()),
            ),
        ]),
        Condition::Compare(comparison) => Map::from_iter([
            ("attribute", path_body(&comparison.attribute)),
            ("comparator", Value::from(comparison.comparator.name())),
            ("value", comparison.value.clone()),
        ]),
    })
}

/// The query as a body can express it.
fn typed(query: &mut Query) {
    fn typed_condition(condition: &mut Condition) {
        match condition {
            Condition::Group(_, members) => members.iter_mut().for_each(typed_condition),
            Condition::Compare(comparison) => comparison.conversion = Conversion::Typed,
        }
    }
    query.condition.iter_mut().for_each(typed_condition);
    query.select = query.select.take().map(|select| {
        let mut items = select.items().to_vec();
        for nested in items.iter_mut().filter_map(|item| item.nested.as_mut()) {
            typed(nested);
        }
        Select::Object(items)
    });
}

#[test]
fn what_is_written_as_a_body_is_read() {
    for seed in 0..QUERIES {
        let (_, mut expected) = Random(seed).query(3);
        typed(&mut expected);
        let body = as_body(&expected, Map::new());
        let read = from_value(&body).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(read, expected, "seed {seed}");
    }
}
