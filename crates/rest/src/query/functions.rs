//! `select`, `limit` and `sort` (`rest.md` §7.7).

use std::ops::Range;

use http_chain::percent;
use resource::{Query, Select, SelectItem, SortKey};

use super::{MAX_DEPTH, MAX_SELECTED, MAX_SORT_KEYS};

/// What is wrong, and where in the arguments.
pub(super) type Misfit = (String, usize);

/// Reads the part of the arguments in this range as a query of its own.
pub(super) type SubQuery<'f> = &'f mut dyn FnMut(Range<usize>) -> Result<Query, Misfit>;

/// Applies `name(arguments)` to the query; of several calls the last one counts.
pub(super) fn apply(
    name: &str,
    arguments: &str,
    query: &mut Query,
    sub_query: SubQuery<'_>,
) -> Result<(), Misfit> {
    match name {
        "select" => query.select = Some(Selection { sub_query }.select(arguments)?),
        "limit" => (query.offset, query.limit) = limit(arguments)?,
        "sort" => query.sort = sort(arguments)?,
        "group-by" => return Err(("group-by is not supported yet".to_owned(), 0)),
        _ => return Err((format!("unknown query function call {name}"), 0)),
    }
    Ok(())
}

struct Selection<'f> {
    sub_query: SubQuery<'f>,
}

impl Selection<'_> {
    fn select(&mut self, arguments: &str) -> Result<Select, Misfit> {
        if let Some(inner) = arguments.strip_prefix('[') {
            let Some(inner) = inner.strip_suffix(']') else {
                let what = "expected ] at the end of select".to_owned();
                return Err((what, arguments.len()));
            };
            return Ok(Select::Array(self.items(inner, 1, 0)?));
        }
        let mut items = self.items(arguments, 0, 0)?;
        match (items.len(), arguments.ends_with(',')) {
            (1, false) => Ok(Select::One(items.remove(0))),
            _ => Ok(Select::Object(items)),
        }
    }

    /// Names separated by commas; one comma may follow the last.
    fn items(&mut self, list: &str, at: usize, depth: usize) -> Result<Vec<SelectItem>, Misfit> {
        if depth > MAX_DEPTH {
            return Err((format!("select nested deeper than {MAX_DEPTH}"), at));
        }
        let list = list.strip_suffix(',').unwrap_or(list);
        let mut items = Vec::new();
        for (item, at) in parts(list, at) {
            if items.len() == MAX_SELECTED {
                return Err((format!("more than {MAX_SELECTED} names in select"), at));
            }
            items.push(self.item(item, at, depth)?);
        }
        Ok(items)
    }

    /// `name`, `name{a,b}` or `name[query]`.
    fn item(&mut self, item: &str, at: usize, depth: usize) -> Result<SelectItem, Misfit> {
        let end = item.find(['{', '}', '[', ']', '(', ')']);
        let (name, inner) = item.split_at(end.unwrap_or(item.len()));
        let inner_at = at + name.len();
        if name.is_empty() {
            return Err(("expected a name in select".to_owned(), at));
        }
        if let Some(dot) = name.find('.') {
            let (first, rest) = name.split_at(dot);
            let what = format!(
                "select takes parts of '{first}' as {first}{{{}}}",
                &rest[1..]
            );
            return Err((what, at + dot));
        }
        if name == "$distance" {
            return Err(("select of '$distance' is not supported yet".to_owned(), at));
        }
        let nested = match inner.as_bytes() {
            [] => None,
            [b'{', .., b'}'] => {
                let list = &inner[1..inner.len() - 1];
                let items = self.items(list, inner_at + 1, depth + 1)?;
                Some(Query {
                    select: Some(Select::Object(items)),
                    ..Query::default()
                })
            }
            [b'[', .., b']'] => {
                let end = inner_at + inner.len() - 1;
                Some((self.sub_query)(inner_at + 1..end)?)
            }
            _ => return Err(("unexpected bracket in select".to_owned(), inner_at)),
        };
        Ok(SelectItem {
            name: decode(name, at)?,
            nested: nested.map(Box::new),
        })
    }
}

fn limit(arguments: &str) -> Result<(u64, Option<u64>), Misfit> {
    let number = |text: &str, at: usize| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(number) if is_number => Ok(number),
            _ => Err((format!("limit takes whole numbers, found '{text}'"), at)),
        }
    };
    let Some((start, end)) = arguments.split_once(',') else {
        return Ok((0, Some(number(arguments, 0)?)));
    };
    let (offset, end) = (number(start, 0)?, number(end, start.len() + 1)?);
    match end.checked_sub(offset) {
        Some(count) => Ok((offset, Some(count))),
        None => Err(("limit ends before it starts".to_owned(), 0)),
    }
}

fn sort(arguments: &str) -> Result<Vec<SortKey>, Misfit> {
    let mut keys = Vec::new();
    for (key, at) in parts(arguments, 0) {
        if keys.len() == MAX_SORT_KEYS {
            return Err((format!("more than {MAX_SORT_KEYS} sort attributes"), at));
        }
        keys.push(sort_key(key, at)?);
    }
    Ok(keys)
}

fn sort_key(key: &str, at: usize) -> Result<SortKey, Misfit> {
    // `+` may arrive encoded, or as the space that a form makes of it.
    let signs = [
        ("-", true),
        ("+", false),
        ("%2B", false),
        ("%2b", false),
        ("%20", false),
    ];
    let (path, descending) = signs
        .iter()
        .find_map(|(sign, descending)| Some((key.strip_prefix(sign)?, *descending)))
        .unwrap_or((key, false));
    let at = at + key.len() - path.len();
    Ok(SortKey {
        attribute: attribute(path, at)?,
        descending,
    })
}

/// S2: the path of an attribute, split at its dots.
pub(super) fn attribute(path: &str, at: usize) -> Result<Vec<String>, Misfit> {
    let mut at = at;
    let mut names = Vec::new();
    for name in path.split('.') {
        if name.is_empty() {
            return Err(("expected the name of an attribute".to_owned(), at));
        }
        names.push(decode(name, at)?);
        at += name.len() + 1;
    }
    Ok(names)
}

fn decode(text: &str, at: usize) -> Result<String, Misfit> {
    match percent::decode(text) {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(error) => Err((error.to_string(), at)),
    }
}

/// The parts between the commas outside of brackets, and where each begins.
fn parts(list: &str, offset: usize) -> impl Iterator<Item = (&str, usize)> {
    let mut start = Some(0);
    std::iter::from_fn(move || {
        let from = start?;
        let mut depth = 0_usize;
        let end = list[from..].find(|character| {
            match character {
                '{' | '[' | '(' => depth += 1,
                '}' | ']' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            character == ',' && depth == 0
        });
        start = end.map(|end| from + end + 1);
        let part = &list[from..end.map_or(list.len(), |end| from + end)];
        Some((part, offset + from))
    })
}
