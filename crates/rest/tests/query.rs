//! The query language of URLs: the vectors of `rest.md` §7.8 and the rules around them.

use resource::{Comparator, Condition, Conversion, Operator, Query, Select, json};
use rest::query::{MAX_CONDITIONS, MAX_DEPTH, MAX_SELECTED, MAX_SORT_KEYS, parse};

/// A query in one line, with conditions as the specification writes them.
fn show(query: &Query) -> String {
    let mut parts = Vec::new();
    parts.extend(query.condition.as_ref().map(show_condition));
    parts.extend(query.select.as_ref().map(show_select));
    if !query.sort.is_empty() {
        let keys = query.sort.iter().map(|key| {
            let order = if key.descending { "desc" } else { "asc" };
            format!("{} {order}", key.attribute.join("/"))
        });
        parts.push(format!("sort {}", keys.collect::<Vec<_>>().join(", ")));
    }
    if let Some(limit) = query.limit {
        parts.push(format!("offset {} limit {limit}", query.offset));
    }
    parts.join("; ")
}

fn show_condition(condition: &Condition) -> String {
    match condition {
        Condition::Group(operator, members) => {
            let name = if *operator == Operator::And {
                "and"
            } else {
                "or"
            };
            let members: Vec<_> = members.iter().map(show_condition).collect();
            format!("{name}[{}]", members.join(", "))
        }
        Condition::Compare(comparison) => {
            let conversion = match comparison.conversion {
                Conversion::Typed => "typed",
                Conversion::Declared => "strict",
                Conversion::Guess => "guess",
            };
            let value = String::from_utf8(json::to_vec(&comparison.value)).unwrap();
            let attribute = comparison.attribute.join("/");
            format!(
                "{attribute} {} {conversion} {value}",
                comparison.comparator.name()
            )
        }
    }
}

fn show_select(select: &Select) -> String {
    let names: Vec<_> = select
        .items()
        .iter()
        .map(|item| match &item.nested {
            None => item.name.clone(),
            Some(nested) => format!("{} with ({})", item.name, show(nested)),
        })
        .collect();
    let names = names.join(",");
    match select {
        Select::One(_) => format!("one {names}"),
        Select::Object(_) => format!("object {{{names}}}"),
        Select::Array(_) => format!("array [{names}]"),
    }
}

#[track_caller]
fn check(query: &str, expected: &str) {
    let parsed = parse(query, &|_| false).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(show(&parsed), expected, "{query}");
}

#[track_caller]
fn refuse(query: &str, what: &str, position: usize) {
    let error = parse(query, &|_| false).expect_err(query);
    let expected = format!("Unable to parse query, {what} at position {position} in '{query}'");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn c7_the_vectors() {
    check(
        "genre=scifi&lent=true",
        r#"and[genre equals strict "scifi", lent equals strict "true"]"#,
    );
    check("price==null", "price equals typed null");
    check("title==Found*", r#"title starts_with strict "Found""#);
    check("title=Found*", r#"title equals strict "Found*""#);
    refuse(
        "title==Fo*nd",
        "wildcard can only be used at the end of a string",
        9,
    );
    check("title==Fo%2A", r#"title equals guess "Fo*""#);
    check(
        "stars=5|lent=true",
        r#"or[stars equals strict "5", lent equals strict "true"]"#,
    );
    check(
        "stars=5|(price=gt=10&price=lt=20)",
        r#"or[stars equals strict "5", and[price greater_than guess "10", price less_than guess "20"]]"#,
    );
    check(
        "stars=5&[tag=war|tag=sea|tag=ice]",
        r#"and[stars equals strict "5", or[tag equals strict "war", tag equals strict "sea", tag equals strict "ice"]]"#,
    );
    check(
        "price=lt=9|[stars=5&[tag=war|tag=sea]&lent=true]",
        r#"or[price less_than guess "9", and[stars equals strict "5", or[tag equals strict "war", tag equals strict "sea"], lent equals strict "true"]]"#,
    );
    refuse(
        "a=1&b=2|c=3",
        "Can not mix operators within a condition grouping",
        8,
    );
    check(
        "(a=1|b=2)&c=3",
        r#"and[or[a equals strict "1", b equals strict "2"], c equals strict "3"]"#,
    );
    check(
        "author.name=Asimov",
        r#"author/name equals strict "Asimov""#,
    );
    check("a%2Eb=1", r#"a.b equals strict "1""#);
    check(
        "printed=gt=2019-11-02T18%3A45%3A00.000Z",
        r#"printed greater_than guess "2019-11-02T18:45:00.000Z""#,
    );
    refuse(
        "printed=gt=2019-11-02T18:45:00.000Z",
        "Unknown type 2019-11-02T18",
        11,
    );
    check("limit(15,40)", "offset 15 limit 25");
    check("sort(+stars,-price)", "sort stars asc, price desc");
    check("select(name,)", "object {name}");
    check("select([a,b])", "array [a,b]");
    check(
        "tag[]=1&tag[]=2",
        r#"and[tag equals strict "1", tag equals strict "2"]"#,
    );
    check("a=x+y", r#"a equals strict "x y""#);
    check("a==x+y", r#"a equals guess "x+y""#);
    check(
        "a=1|b=2&limit(10)",
        r#"or[a equals strict "1", b equals strict "2"]; offset 0 limit 10"#,
    );
    check("a==foo(1)", r#"a equals guess "foo(1)""#);
    check("a===b:c", r#"a equals strict "b:c""#);
    check("a!==b:c", r#"a not_equal strict "b:c""#);
    check("a=b:c", r#"a equals strict "b:c""#);
    refuse("a=sw=b:c", "Unknown type b", 5);
    check(
        "a!=null&b==2",
        r#"and[a not_equal typed null, b equals guess "2"]"#,
    );
    check("select($id)", "one $id");
    check("sort(%2Ba)", "sort a asc");
    refuse("foo(1)", "unknown query function call foo", 4);
}

#[test]
fn s1_s2_structure_is_read_before_decoding() {
    check("a%26b=c%7Cd", r#"a&b equals strict "c|d""#);
    check("a=%28x%29", r#"a equals strict "(x)""#);
    check("a==string%3Ax", r#"a equals guess "string:x""#);
    check("a%3D=1", r#"a= equals strict "1""#);
    check("%C3%A9=%E2%82%AC", r#"é equals strict "€""#);
    refuse("a=%zz", "malformed percent-encoding", 2);
    refuse("%f=1", "malformed percent-encoding", 0);
    refuse("a=%ff", "malformed percent-encoding", 2);
}

#[test]
fn s3_s4_brackets_in_values_are_data_unless_they_close_a_group() {
    check("a=1)", r#"a equals strict "1)""#);
    check("a=<1>!", r#"a equals strict "<1>!""#);
    check(
        "(a=1]|b=2)",
        r#"or[a equals strict "1]", b equals strict "2"]"#,
    );
    refuse("(a==f(1))", "expected '&', '|' or the end of the group", 8);
    refuse(")", "unexpected ')'", 0);
    refuse("a]", "expected '&', '|' or the end of the group", 1);
}

#[test]
fn s5_type_prefixes() {
    check("a==number:42", "a equals typed 42");
    check("a=gt=number:$1f", "a greater_than typed 51");
    check("a==number:0.5", "a equals typed 0.5");
    check(
        "a==number:99999999999999999999",
        "a equals typed 99999999999999999999",
    );
    check("a==boolean:true", "a equals typed true");
    check("a==string:42", r#"a equals typed "42""#);
    check("a==string:two%20words", r#"a equals typed "two words""#);
    check("a==string:null", r#"a equals typed "null""#);
    check("a==string:Fo*", r#"a starts_with typed "Fo""#);
    let instant = "a equals typed \"2025-07-14T06:30:00.000Z\"";
    check("a==date:2025-07-14T06%3A30%3A00Z", instant);
    check("a==date:1752474600000", instant);
    refuse("a==number:x", "'x' is no number", 10);
    refuse("a==boolean:1", "'1' is no boolean", 11);
    refuse("a==date:x", "'x' is no date", 8);
    refuse("a==number:4*", "wildcard after integer", 11);
    refuse("a==null*&b=x:y", "wildcard after null", 7);
}

#[test]
fn s6_s7_empty_items_and_names_alone() {
    check("", "");
    check("&&", "");
    check(
        "a=1&&b=2&",
        r#"and[a equals strict "1", b equals strict "2"]"#,
    );
    check("lent", r#"lent equals strict """#);
    check(
        "lent&a=1",
        r#"and[lent equals strict "", a equals strict "1"]"#,
    );
    check("a=", r#"a equals strict """#);
    check("()", "");
    check("(a)", r#"a equals strict """#);
    refuse("=5", "expected the name of an attribute", 0);
    refuse("a.=1", "expected the name of an attribute", 2);
    refuse("a!5", "expected '!='", 1);
    refuse("a[b]=1", "expected '&', '|' or the end of the group", 1);
}

#[test]
fn s9_s10_groups_close_and_are_bounded() {
    refuse("a=1&(b=2", "unclosed group", 4);
    refuse("select(a", "unclosed function call", 6);
    let nested = |depth: usize| format!("{}a=1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH), &|_| false).is_ok());
    assert!(parse(&nested(MAX_DEPTH + 1), &|_| false).is_err());
    assert!(parse(&"(".repeat(100_000), &|_| false).is_err());
    assert!(parse(&vec!["a=1"; MAX_CONDITIONS].join("&"), &|_| false).is_ok());
    assert!(parse(&vec!["a=1"; MAX_CONDITIONS + 1].join("&"), &|_| false).is_err());
}

#[test]
fn operators_of_7_3() {
    for (sign, expected) in [
        ("=eq=", "equals guess"),
        ("=ne=", "not_equal guess"),
        ("<", "less_than guess"),
        ("=lt=", "less_than guess"),
        ("<=", "less_than_equal guess"),
        ("=le=", "less_than_equal guess"),
        (">", "greater_than guess"),
        (">=", "greater_than_equal guess"),
        ("=ge=", "greater_than_equal guess"),
        ("=ct=", "contains strict"),
        ("=sw=", "starts_with strict"),
        ("=ew=", "ends_with strict"),
        ("=contains=", "contains strict"),
        ("=starts_with=", "starts_with strict"),
        ("=ends_with=", "ends_with strict"),
    ] {
        check(&format!("a{sign}v"), &format!("a {expected} \"v\""));
    }
    check("a=in=1,b%2Cc", r#"a in guess ["1","b,c"]"#);
    check("a=in=number:1,string:2", r#"a in typed [1,"2"]"#);
    check("a=between=1,5", r#"a between guess ["1","5"]"#);
    check("a=ct=null", "a contains typed null");
    refuse("a=between=1", "between takes two values", 10);
    refuse(
        "a=in=1,number:2",
        "values with and without type in one list",
        5,
    );
    refuse("a=like=1", "invalid FIQL operator 'like'", 1);
    refuse("a=not_in=1", "operator 'not_in' is not supported yet", 1);
}

#[test]
fn c8_ranges_of_7_5_are_the_same_however_they_are_written() {
    let expected = r#"and[price greater_than guess "100", price less_than guess "200"]"#;
    check("price=gt=100&price=lt=200", expected);
    check("price=gt=100&=lt=200", expected);
    check("price=gt=100&lt=200", expected);
    check(
        "price=le=5&=ge=number:1&a=1",
        r#"and[price less_than_equal guess "5", price greater_than_equal typed 1, a equals strict "1"]"#,
    );
    check(
        "a=1|price=gt=1&=lt=2|b=2",
        r#"or[a equals strict "1", and[price greater_than guess "1", price less_than guess "2"], b equals strict "2"]"#,
    );
    refuse(
        "price=gt=1|=lt=2",
        "a chained comparison has to follow &",
        11,
    );
    refuse("price=gt=1&=lt=2&=lt=3", "a range has two bounds only", 17);
    refuse(
        "price=gt=1&=ge=2",
        "only a lower and an upper bound can be chained",
        11,
    );
    refuse(
        "price=1&=lt=2",
        "only a lower and an upper bound can be chained",
        8,
    );
    refuse(
        "(price=gt=1)|(a=1)&=lt=3",
        "only a lower and an upper bound can be chained",
        19,
    );
    refuse("=lt=2", "expected the name of an attribute", 0);
}

#[test]
fn an_attribute_called_lt_is_an_attribute_where_it_is_declared() {
    let query = parse("price=gt=100&lt=200", &|name| name == "lt").unwrap();
    assert_eq!(
        show(&query),
        r#"and[price greater_than guess "100", lt equals strict "200"]"#
    );
    check(
        "a=1&lt=200",
        r#"and[a equals strict "1", lt equals strict "200"]"#,
    );
}

#[test]
fn b1_functions_do_not_combine() {
    check(
        "limit(1)|a=1&b=2",
        r#"and[a equals strict "1", b equals strict "2"]; offset 0 limit 1"#,
    );
    check(
        "a=1|limit(1)|b=2",
        r#"or[a equals strict "1", b equals strict "2"]; offset 0 limit 1"#,
    );
    check("limit(1)&limit(2)", "offset 0 limit 2");
    refuse(
        "a=1&|b=2",
        "Can not mix operators within a condition grouping",
        4,
    );
    refuse("(a=1&limit(5))", "limit stands inside a group", 5);
    refuse("limit(1)x", "expected '&', '|' or the end of the group", 8);
}

#[test]
fn functions_of_7_7() {
    check("select(a,b)", "object {a,b}");
    check("select(a)", "one a");
    check("select(*)", "one *");
    check("select(*,$id)", "object {*,$id}");
    check("select([a])", "array [a]");
    check("select(a%2Cb)", "one a,b");
    check("limit(0)", "offset 0 limit 0");
    check("sort(a)", "sort a asc");
    check("sort(%20a,author.name)", "sort a asc, author/name asc");
    refuse("select()", "expected a name in select", 7);
    refuse("select(a,,b)", "expected a name in select", 9);
    refuse("select({a,b})", "expected a name in select", 7);
    refuse("select([a],b)", "expected ] at the end of select", 12);
    refuse("select([a)", "unclosed function call", 6);
    refuse(
        "select(author.name)",
        "select takes parts of 'author' as author{name}",
        13,
    );
    refuse(
        "select($distance)",
        "select of '$distance' is not supported yet",
        7,
    );
    refuse("limit(-1)", "limit takes whole numbers, found '-1'", 6);
    refuse("limit(1.5)", "limit takes whole numbers, found '1.5'", 6);
    refuse("limit(5,x)", "limit takes whole numbers, found 'x'", 8);
    refuse("limit(5,4)", "limit ends before it starts", 6);
    refuse("limit()", "limit takes whole numbers, found ''", 6);
    refuse("sort()", "expected the name of an attribute", 5);
    refuse("sort(a,-)", "expected the name of an attribute", 8);
    refuse("group-by(a)", "group-by is not supported yet", 9);
    for (name, most) in [("select", MAX_SELECTED), ("sort", MAX_SORT_KEYS)] {
        let call = |count: usize| format!("{name}({})", vec!["a"; count].join(","));
        assert!(parse(&call(most), &|_| false).is_ok());
        assert!(parse(&call(most + 1), &|_| false).is_err());
    }
}

#[test]
fn a_selection_of_7_7_nests_in_both_forms() {
    check(
        "select(title,author{name,id})",
        "object {title,author with (object {name,id})}",
    );
    check("select(author{name})", "one author with (object {name})");
    check(
        "select(a{b{c,},d})",
        "one a with (object {b with (object {c}),d})",
    );
    check("select(author[select(name)])", "one author with (one name)");
    check(
        "select([title,books[price=gt=5&sort(-price)&limit(2)&select(title,)]])",
        "array [title,books with (price greater_than guess \"5\"; object {title}; sort price desc; offset 0 limit 2)]",
    );
    check("select(a[b[]=1])", "one a with (b equals strict \"1\")");
    refuse("select(a{)", "unclosed function call", 6);
    refuse("select(a{b}c)", "unexpected bracket in select", 8);
    refuse("select(a(b))", "unexpected bracket in select", 8);
    refuse(
        "select(a,b[c==x*y])",
        "wildcard can only be used at the end of a string",
        15,
    );
    refuse("select(b[foo(1)],a)", "unknown query function call foo", 13);
    let nested = |depth: usize| format!("select({}a{})", "a{".repeat(depth), "}".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH), &|_| false).is_ok());
    assert!(parse(&nested(MAX_DEPTH + 1), &|_| false).is_err());
    let nested = |depth: usize| format!("{}a{}", "select(a[".repeat(depth), "])".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH), &|_| false).is_ok());
    assert!(parse(&nested(MAX_DEPTH + 1), &|_| false).is_err());
    let many = format!("a=1&select(a[{}])", "a=1&".repeat(MAX_CONDITIONS));
    assert!(parse(&many, &|_| false).is_err());
}

#[test]
fn nothing_that_a_client_sends_panics() {
    const PIECES: &[&str] = &[
        "a", ".", "=", "==", "!", "<", ">", "(", ")", "[", "]", "{", "}", "&", "|", "*", ":", ",",
        "%", "%2", "%2B", "+", "-", "lt", "gt", "in", "select", "limit", "sort", "null", "number",
        "9", "é", "$", "\u{0}", "not_",
    ];
    let mut state = 1_u64;
    let mut below = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/query");
    for seed in std::fs::read_dir(seeds).unwrap() {
        let seed = std::fs::read_to_string(seed.unwrap().path()).unwrap();
        for end in (0..=seed.len()).filter(|end| seed.is_char_boundary(*end)) {
            let _ = parse(&seed[..end], &|_| false);
        }
    }
    for _ in 0..50_000 {
        let query: String = (0..below(14))
            .map(|_| PIECES[below(PIECES.len())])
            .collect();
        if let Err(error) = parse(&query, &|name| name == "a") {
            assert!(error.position() <= query.len(), "{error}");
        }
    }
}

#[test]
fn every_spelling_of_a_comparator_is_an_operator() {
    for name in [
        "greater_than",
        "greaterThan",
        "less_than_equal",
        "not_equal",
        "equals",
    ] {
        let expected = Comparator::from_name(name).unwrap().name();
        check(&format!("a={name}=1"), &format!("a {expected} guess \"1\""));
    }
}
