//! From counting to text.

use std::collections::HashSet;
use std::time::{Duration, Instant, UNIX_EPOCH};

use telemetry::metrics::{
    Buckets, Distribution, Family, Kind, MetricError, MetricLimits, Metrics, Selection, TraceId,
    Unit, render,
};

const REQUESTS: Family = Family::new("http_requests_total", "Finished requests")
    .unit(Unit::Requests)
    .group("http")
    .labels(&["method", "code"]);

fn prometheus(metrics: &Metrics) -> String {
    let mut text = String::new();
    render::prometheus(&metrics.snapshot(), "", &mut text);
    text
}

/// What every scrape must be: each sample below its own `# TYPE`, nothing twice.
fn check_text(text: &str) {
    let mut current = "";
    let mut seen = HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            current = rest.split(' ').next().unwrap();
            assert!(seen.insert(line), "twice: {line}");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(series.starts_with(current), "{line} is below {current}");
            assert!(seen.insert(series), "twice: {line}");
            assert!(value == "+Inf" || value.parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn counters_of_all_threads_are_one_sum() {
    let metrics = Metrics::with_limits(MetricLimits {
        threads: 2,
        ..MetricLimits::default()
    });
    let requests = metrics.counter(REQUESTS).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let counter = requests.series(&["GET", "200"]);
            scope.spawn(move || (0..250).for_each(|_| counter.increment()));
        }
    });
    let text = prometheus(&metrics);
    assert!(
        text.contains("http_requests_total{code=\"200\",method=\"GET\"} 1000\n"),
        "{text}"
    );
    check_text(&text);
}

#[test]
fn a_family_without_labels_starts_at_zero() {
    let metrics = Metrics::new();
    metrics
        .counter(Family::new("sse_streams_total", "Streams"))
        .unwrap();
    let text = prometheus(&metrics);
    let expected =
        "# HELP sse_streams_total Streams\n# TYPE sse_streams_total counter\nsse_streams_total 0\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn help_and_label_values_are_escaped() {
    let metrics = Metrics::new();
    let family = Family::new("escapes", "A \\ and a\nline \"feed\"").labels(&["value"]);
    metrics
        .up_down(family)
        .unwrap()
        .series(&["a\"b\\c\nd"])
        .add(-3);
    let text = prometheus(&metrics);
    assert!(
        text.contains("# HELP escapes A \\\\ and a\\nline \"feed\"\n"),
        "{text}"
    );
    assert!(
        text.contains("escapes{value=\"a\\\"b\\\\c\\nd\"} -3\n"),
        "{text}"
    );
}

#[test]
fn a_histogram_is_cumulative_and_le_comes_last() {
    let metrics = Metrics::new();
    let family = Family::new("wait_seconds", "Waiting")
        .unit(Unit::Seconds)
        .labels(&["queue"]);
    let histogram = metrics
        .histogram(family, Buckets::seconds(&[0.001, 0.25]))
        .unwrap();
    let histogram = histogram.series(&["commits"]);
    // A bound belongs to its bucket.
    for millis in [1, 2, 250, 3000] {
        histogram.observe(Duration::from_millis(millis));
    }
    let text = prometheus(&metrics);
    let expected = "# HELP wait_seconds Waiting\n# TYPE wait_seconds histogram\n\
        wait_seconds_bucket{queue=\"commits\",le=\"0.001\"} 1\n\
        wait_seconds_bucket{queue=\"commits\",le=\"0.25\"} 3\n\
        wait_seconds_bucket{queue=\"commits\",le=\"+Inf\"} 4\n\
        wait_seconds_sum{queue=\"commits\"} 3.253\nwait_seconds_count{queue=\"commits\"} 4\n";
    assert!(text.contains(expected), "{text}");
    check_text(&text);
}

#[test]
fn openmetrics_names_counters_without_total_and_ends_with_eof() {
    let metrics = Metrics::new();
    metrics
        .counter(REQUESTS)
        .unwrap()
        .series(&["GET", "200"])
        .increment();
    metrics
        .counter(Family::new("sse_bytes_total", "Bytes"))
        .unwrap();
    metrics.counter(Family::new("load_rows", "Rows")).unwrap();
    let mut text = String::new();
    render::openmetrics(&metrics.snapshot(), "m_", None, &mut text);
    for expected in [
        "# TYPE m_http_requests counter\n",
        "m_http_requests_total{code=\"200\",method=\"GET\"} 1\n",
        "# TYPE m_sse_bytes counter\n# UNIT m_sse_bytes bytes\n",
        "# TYPE m_load_rows unknown\n",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn json_has_tags_unit_and_value() {
    let metrics = Metrics::new();
    metrics
        .counter(REQUESTS)
        .unwrap()
        .series(&["GET", "200"])
        .add(7);
    let ratio = Family::new("ratio", "None yet");
    metrics
        .collect(ratio, Kind::Gauge, |samples| samples.push(&[], f64::NAN))
        .unwrap();
    let sizes = Family::new("size_bytes", "Sizes").unit(Unit::Bytes);
    let sizes = metrics.histogram(sizes, Buckets::whole(&[10])).unwrap();
    sizes.series(&[]).observe_units(11);
    let mut text = String::new();
    let selection = Selection {
        names: ["http_requests_total", "ratio", "size_bytes"]
            .map(str::to_owned)
            .to_vec(),
        ..Selection::default()
    };
    render::json(&metrics.select(&selection), &mut text);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!([
        { "tags": { "metric": "http_requests_total", "method": "GET", "code": "200" }, "unit": "requests", "value": 7 },
        { "tags": { "metric": "ratio" }, "unit": "nounit", "value": null },
        { "tags": { "metric": "size_bytes_bucket", "le": "10" }, "unit": "nounit", "value": 0 },
        { "tags": { "metric": "size_bytes_bucket", "le": "+Inf" }, "unit": "nounit", "value": 1 },
        { "tags": { "metric": "size_bytes_count" }, "unit": "nounit", "value": 1 },
        { "tags": { "metric": "size_bytes_sum" }, "unit": "bytes", "value": 11 },
    ]);
    assert_eq!(value, expected);
}

#[test]
fn core_has_three_words_a_line_and_known_names_only() {
    let metrics = Metrics::new();
    for (name, value) in [("process_thread_num", 12.4), ("unknown_to_scripts", 1.0)] {
        let family = Family::new(name, "A number");
        metrics
            .collect(family, Kind::Gauge, move |samples| samples.push(&[], value))
            .unwrap();
    }
    let mut text = String::new();
    render::core(&metrics.snapshot(), "starrocks_be", &mut text);
    assert_eq!(text, "starrocks_be_process_thread_num LONG 12\n");
}

#[test]
fn series_beyond_the_limit_are_counted_together() {
    let metrics = Metrics::with_limits(MetricLimits {
        max_series_per_family: 2,
        ..MetricLimits::default()
    });
    let family = Family::new("by_route", "Requests").labels(&["route"]);
    let routes = metrics.counter(family).unwrap();
    for number in 0..10 {
        routes.series(&[&format!("/{number}")]).increment();
    }
    let text = prometheus(&metrics);
    assert!(text.contains("by_route{route=\"/0\"} 1\n"), "{text}");
    assert!(text.contains("by_route{route=\"overflow\"} 8\n"), "{text}");
    assert!(
        text.contains("metrics_series_overflow_total{family=\"by_route\"} 8\n"),
        "{text}"
    );
    check_text(&text);
}

#[test]
fn a_collector_that_fails_spoils_nothing_else() {
    let metrics = Metrics::new();
    let gauge = |name| Family::new(name, "A gauge").labels(&["one"]);
    metrics
        .collect(gauge("panics"), Kind::Gauge, |_| panic!("on purpose"))
        .unwrap();
    let careless = |samples: &mut telemetry::metrics::Samples| {
        samples.push(&["a"], 1_u64);
        samples.push(&["a"], 2_u64);
        samples.push(&[], 3_u64);
    };
    metrics
        .collect(gauge("careless"), Kind::Gauge, careless)
        .unwrap();
    let text = prometheus(&metrics);
    assert!(text.contains("careless{one=\"a\"} 1\n"), "{text}");
    assert!(
        text.contains("metrics_collect_errors_total{collector=\"careless\"} 2\n"),
        "{text}"
    );
    assert!(
        text.contains("metrics_collect_errors_total{collector=\"panics\"} 1\n"),
        "{text}"
    );
    check_text(&text);
}

#[test]
fn names_are_checked_when_they_are_registered() {
    let metrics = Metrics::new();
    let register = |family| metrics.counter(family).map(|_| ());
    assert_eq!(
        register(Family::new("1st", "")),
        Err(MetricError::Name("1st"))
    );
    assert_eq!(
        register(Family::new("a-b", "")),
        Err(MetricError::Name("a-b"))
    );
    for label in ["le", "metric", "a:b", ""] {
        let labels: &'static [&'static str] = Box::leak(Box::new([label]));
        assert!(matches!(
            register(Family::new("a", "").labels(labels)),
            Err(MetricError::Label { .. })
        ));
    }
    assert_eq!(register(Family::new("a", "")), Ok(()));
    assert_eq!(
        register(Family::new("a", "")),
        Err(MetricError::Duplicate("a"))
    );
    assert!(register(Family::new("metrics_series_overflow_total", "")).is_err());
}

#[test]
fn a_selection_picks_groups_and_names() {
    let metrics = Metrics::new();
    metrics.counter(REQUESTS).unwrap();
    metrics
        .counter(Family::new("sse_streams", "Streams").group("sse"))
        .unwrap();
    let names = |selection: Selection| {
        let snapshot = metrics.select(&selection);
        snapshot
            .families
            .iter()
            .map(|family| family.name)
            .collect::<Vec<_>>()
    };
    let groups = Selection {
        groups: vec!["sse".to_owned()],
        ..Selection::default()
    };
    assert_eq!(names(groups), ["sse_streams"]);
    let by_name = Selection {
        names: vec!["http_requests_total".to_owned()],
        ..Selection::default()
    };
    assert_eq!(names(by_name), ["http_requests_total"]);
}

#[test]
fn a_counter_beside_a_gauge_of_its_name_keeps_openmetrics_free_of_twins() {
    let metrics = Metrics::new();
    for name in ["server_connections_total", "sse_events_total"] {
        metrics.counter(Family::new(name, "")).unwrap();
    }
    let gauge = Family::new("server_connections", "");
    metrics
        .collect(gauge, Kind::Gauge, |samples| samples.push(&[], 1_u64))
        .unwrap();
    let mut text = String::new();
    render::openmetrics(&metrics.snapshot(), "motet_", None, &mut text);
    for line in [
        "# TYPE motet_server_connections gauge\n",
        "# TYPE motet_server_connections_total unknown\n",
        "# TYPE motet_sse_events counter\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_collected_histogram_is_written_like_a_counted_one() {
    let metrics = Metrics::new();
    let family = Family::new("storage_commit_seconds", "Commits").labels(&["database"]);
    metrics
        .collect(family, Kind::Histogram, |samples| {
            let one = Distribution::of_counts(vec![0.1], &[1, 2], 5.5);
            let mut both = one.clone();
            both.merge(&one);
            samples.push_distribution(&["data"], both);
        })
        .unwrap();
    let mut text = String::new();
    render::prometheus(&metrics.snapshot(), "", &mut text);
    for line in [
        "storage_commit_seconds_bucket{database=\"data\",le=\"0.1\"} 2\n",
        "storage_commit_seconds_bucket{database=\"data\",le=\"+Inf\"} 6\n",
        "storage_commit_seconds_sum{database=\"data\"} 11\n",
        "storage_commit_seconds_count{database=\"data\"} 6\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_bucket_shows_the_latest_observation_of_a_trace_and_created_is_on_request() {
    let metrics = Metrics::new();
    let family = Family::new("wait_seconds", "Waiting").labels(&["queue"]);
    let histogram = metrics
        .histogram(family, Buckets::seconds(&[0.001, 0.25]))
        .unwrap()
        .series(&["commits"]);
    let trace = |last: char| {
        let field = format!("00-4bf92f3577b34da6a3ce929d0e0e473{last}-00f067aa0ba902b7-01");
        TraceId::of_traceparent(&field).unwrap()
    };
    histogram.observe(Duration::from_micros(10));
    histogram.observe_in_trace(Duration::from_millis(20), trace('1'));
    histogram.observe_in_trace(Duration::from_millis(30), trace('2'));
    let created = UNIX_EPOCH + Duration::from_millis(1_714_989_283_100);
    let mut text = String::new();
    render::openmetrics(&metrics.snapshot(), "", Some(created), &mut text);
    let lines: Vec<_> = text.lines().collect();
    let bucket = |bound: &str| {
        let prefix = format!("wait_seconds_bucket{{queue=\"commits\",le=\"{bound}\"}} ");
        let rest = lines.iter().find_map(|line| line.strip_prefix(&*prefix));
        rest.unwrap_or_else(|| panic!("{text}"))
    };
    assert_eq!(bucket("0.001"), "1");
    let expected = "3 # {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4732\"} 0.03 ";
    let at = bucket("0.25").strip_prefix(expected).unwrap();
    assert!(at.parse::<f64>().unwrap() > 1_700_000_000.0, "{at}");
    assert_eq!(bucket("+Inf"), "3");
    for line in [
        "wait_seconds_created{queue=\"commits\"} 1714989283.1",
        "metrics_series_overflow_created{family=\"wait_seconds\"} 1714989283.1",
    ] {
        assert!(lines.contains(&line), "{text}");
    }
    let plain = prometheus(&metrics);
    assert!(!plain.contains("trace_id") && !plain.contains("_created"));
    check_text(&plain);
}

#[test]
fn a_malformed_traceparent_names_no_trace() {
    for field in [
        "",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        assert_eq!(TraceId::of_traceparent(field), None, "{field}");
    }
    let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
    assert!(TraceId::of_traceparent(later).is_some());
}

#[test]
fn five_thousand_series_are_written_in_twenty_milliseconds() {
    let metrics = Metrics::new();
    let counters = metrics.counter(REQUESTS).unwrap();
    let seconds = Family::new("wait_seconds", "Waiting").labels(&["queue"]);
    let seconds = metrics
        .histogram(seconds, Buckets::request_seconds())
        .unwrap();
    // A histogram is 17 lines: its buckets, sum and count.
    for number in 0..2000 {
        counters.series(&["GET", &number.to_string()]).increment();
    }
    for number in 0..3000 / 17 {
        seconds
            .series(&[&number.to_string()])
            .observe(Duration::from_millis(number));
    }
    let scrape = || {
        let began = Instant::now();
        let text = prometheus(&metrics);
        (began.elapsed(), text.lines().count())
    };
    // The best of a few: the machine has other work.
    let (best, lines) = (0..10).map(|_| scrape()).min().unwrap();
    println!("{lines} lines in {best:?}");
    assert!(lines > 4900, "{lines}");
    let limit = match cfg!(debug_assertions) {
        true => Duration::from_millis(400),
        false => Duration::from_millis(20),
    };
    assert!(best < limit, "{best:?}");
}

#[test]
fn threads_with_and_without_a_block_of_their_own_count_exactly() {
    let metrics = Metrics::with_limits(MetricLimits {
        threads: 1,
        ..MetricLimits::default()
    });
    metrics.enlist_thread();
    let requests = metrics.counter(REQUESTS).unwrap().series(&["GET", "200"]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10_000).for_each(|_| requests.increment()));
        }
    });
    let text = prometheus(&metrics);
    let expected = "http_requests_total{code=\"200\",method=\"GET\"} 80000\n";
    assert!(text.contains(expected), "{text}");
}
