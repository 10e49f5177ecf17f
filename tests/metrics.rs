//! `/metrics` and the probes, as monitoring and load balancers meet them; the numbers are the test vectors of
//! `metrics-and-health.md` §6.
#![forbid(unsafe_code)]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use motet_tests::command::Lines;
use motet_tests::http::{Connection, curl};
use motet_tests::motet::Motet;
use motet_tests::prometheus::{Scrape, promtool};
use motet_tests::{Builder, eventually, mqtt, websocket};
use serde_json::{Value, json};
use tempfile::TempDir;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey  name: String }";

fn start(builder: Builder) -> Motet {
    let application = TempDir::new().unwrap();
    builder.schema(&application, SCHEMA).start()
}

fn get(url: &str, more: &[&str]) -> (u16, String) {
    curl("GET", url, None, more)
}

fn scrape(motet: &Motet) -> Scrape {
    let (status, text) = get(&(motet.operations_url() + "metrics"), &[]);
    assert_eq!(status, 200, "{text}");
    Scrape::of(&text)
}

fn put(motet: &Motet, key: &str) {
    let body = json!({ "name": key });
    let (status, _) = curl("PUT", &motet.url(&format!("/Dog/{key}")), Some(&body), &[]);
    assert_eq!(status, 204);
}

/// An address of this machine that is not a loopback one; `None` without a network.
fn outside_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the system only chooses an address to send from.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then(|| address.to_string())
}

#[test]
fn v1_v16_the_text_is_clean_for_prometheus_after_traffic_of_every_protocol() {
    let motet = start(Builder::new());
    put(&motet, "1");
    let (status, _) = get(&motet.url("/Dog/1"), &["-r", "0-1"]);
    assert!([200, 206].contains(&status));
    let mut socket = websocket::Client::connect(motet.address("http.port"), "/Dog/");
    let client = mqtt::Client::v5(motet.address("mqtt.network.port"), "counter");
    client.publish("Dog/2", r#"{"name":"two"}"#, true);
    socket.event();
    let scraped = eventually("the traffic to be counted", || {
        let scraped = scrape(&motet);
        (scraped.sum("mqtt_messages_total", &["\"in\""]) == 1.0).then_some(scraped)
    });
    assert_eq!(
        scraped.value("websocket_connections{subprotocol=\"none\"}"),
        1.0
    );
    assert_eq!(scraped.value("mqtt_connections{version=\"5.0\"}"), 1.0);
    assert_eq!(
        scraped.value("server_connections{listener=\"mqtt\",state=\"active\"}"),
        1.0
    );
    let upgrades =
        "http_requests_total{code=\"101\",method=\"GET\",protocol=\"1.1\",route=\"/Dog/\"}";
    assert_eq!(
        scraped.value(upgrades),
        1.0,
        "{:?}",
        scraped.series("http_requests_total")
    );
    let committed = "storage_transactions_total{database=\"data\",result=\"committed\"}";
    assert_eq!(scraped.value(committed), 2.0);
    assert_eq!(
        scraped.value("storage_records_written_total{database=\"data\"}"),
        2.0
    );
    assert!(scraped.sum("storage_commit_seconds_count", &["data"]) >= 2.0);
    assert!(scraped.value("event_subscriptions") >= 1.0);
    assert_eq!(scraped.value("server_ready"), 1.0);
    assert_eq!(scraped.value("runtime_workers"), 2.0);
    for positive in [
        "process_start_time_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_threads",
    ] {
        assert!(scraped.value(positive) > 0.0, "{positive}");
    }
    let (_, text) = get(
        &(motet.operations_url() + "metrics?with_table_metrics=all"),
        &["-i"],
    );
    let (head, text) = text.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{head}"
    );
    assert!(head.contains("cache-control: no-store"), "{head}");
    assert_eq!(promtool(text), "");
    assert_eq!(
        Scrape::of(text).sum("metrics_collect_errors_total", &[]),
        0.0
    );
}

#[test]
fn v2_v3_openmetrics_for_those_who_ask_and_for_prometheus() {
    let motet = start(Builder::new());
    put(&motet, "1");
    for accept in [
        "application/openmetrics-text; version=1.0.0",
        "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
         text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    ] {
        let accept = format!("Accept: {accept}");
        let (_, text) = get(
            &(motet.operations_url() + "metrics"),
            &["-i", "-H", &accept],
        );
        let (head, text) = text.split_once("\r\n\r\n").unwrap();
        let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert!(head.contains(expected), "{head}");
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        assert_eq!(text.matches("# EOF").count(), 1);
        assert!(text.contains("# TYPE http_requests counter\n"));
        assert!(text.contains("\nhttp_requests_total{"));
        let types = text.lines().filter(|line| line.starts_with("# TYPE "));
        let mut names: Vec<_> = types.map(|line| line.split(' ').nth(2).unwrap()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a family is there twice");
    }
}

#[test]
fn v4_json_is_an_array_of_tags_unit_and_value() {
    let motet = start(Builder::new().set("METRICS_PREFIX", "motet_"));
    put(&motet, "1");
    let (status, text) = get(&(motet.operations_url() + "metrics?type=json"), &[]);
    assert_eq!(status, 200);
    let samples: Vec<Value> = serde_json::from_str(&text).unwrap();
    for sample in &samples {
        let mut keys: Vec<_> = sample.as_object().unwrap().keys().collect();
        keys.sort_unstable();
        assert_eq!(keys, ["tags", "unit", "value"]);
        let name = sample["tags"]["metric"].as_str().unwrap();
        assert!(!name.starts_with("motet_"), "{name}");
    }
    let requests = samples.iter().find(|sample| {
        sample["tags"]["metric"] == "http_requests_total" && sample["tags"]["method"] == "PUT"
    });
    let requests = requests.unwrap();
    assert_eq!(
        (&requests["value"], &requests["unit"]),
        (&json!(1), &json!("requests"))
    );
    let (_, text) = get(&(motet.operations_url() + "metrics"), &[]);
    assert!(text.contains("\nmotet_http_requests_total{"), "{text}");
}

#[test]
fn v5_v6_the_core_form_has_three_words_and_an_unknown_type_is_the_text() {
    let motet = start(Builder::new());
    let url = motet.operations_url();
    let (_, core) = get(&(url.clone() + "metrics?type=core"), &[]);
    let known = [
        "process_fd_num_used",
        "process_thread_num",
        "push_request_write_bytes_per_second",
        "query_scan_bytes_per_second",
        "max_disk_io_util_percent",
        "max_network_send_bytes_rate",
        "max_network_receive_bytes_rate",
    ];
    assert_eq!(core.lines().count(), known.len(), "{core}");
    for line in core.lines() {
        let [name, word, number] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let name = name.strip_prefix("starrocks_be_").unwrap();
        assert!(known.contains(&name) && word == "LONG", "{line}");
        number.parse::<i64>().unwrap();
    }
    let (_, text) = get(&(url.clone() + "metrics?type=nonsense"), &[]);
    Scrape::of(&text);
    // The families of the other program come with its names, and beside ours.
    let (_, text) = get(&(url + "metrics?compat=starrocks"), &[]);
    let both = Scrape::of(&text);
    assert!(both.value("starrocks_be_process_fd_num_used") > 0.0);
    assert!(both.0.contains_key("starrocks_be_http_requests_total"));
    assert!(both.0.contains_key("process_open_fds"));
}

#[test]
fn v9_an_open_event_stream_is_a_stream_and_no_long_request() {
    let motet = start(Builder::new());
    let stream = Lines::of(
        "curl",
        &[
            "-sN",
            "-H",
            "Accept: text/event-stream",
            &motet.url("/Dog/"),
        ],
    );
    eventually("the stream", || {
        (scrape(&motet).value("sse_streams{route=\"/Dog/\"}") == 1.0).then_some(())
    });
    put(&motet, "1");
    stream.find(|line| line.starts_with("data:"));
    let during = scrape(&motet);
    assert_eq!(
        during.value("http_requests_in_flight{listener=\"http\"}"),
        1.0
    );
    assert!(during.value("sse_events_total{route=\"/Dog/\"}") >= 1.0);
    drop(stream);
    let after = eventually("the end of the stream", || {
        let scraped = scrape(&motet);
        (scraped.value("http_requests_in_flight{listener=\"http\"}") == 0.0).then_some(scraped)
    });
    assert_eq!(after.sum("http_requests_total", &["\"GET\"", "/Dog/"]), 1.0);
    assert_eq!(
        after.sum("http_request_duration_seconds_count", &["\"GET\"", "/Dog/"]),
        0.0
    );
    assert!(after.value("http_response_body_bytes_total{route=\"/Dog/\"}") > 0.0);
}

#[test]
fn v10_unknown_paths_are_one_route_and_resources_are_theirs() {
    let motet = start(Builder::new());
    let mut connection = Connection::open(motet.address("http.port")).unwrap();
    for number in 0..10_000 {
        let (status, _) = connection
            .request("GET", &format!("/nothing{number}/x"), "")
            .unwrap();
        assert_eq!(status, 404);
    }
    for number in 0..100 {
        connection
            .request("GET", &format!("/Dog/{number}"), "")
            .unwrap();
    }
    let scraped = scrape(&motet);
    let unknown =
        "http_requests_total{code=\"404\",method=\"GET\",protocol=\"1.1\",route=\"other\"}";
    let resource =
        "http_requests_total{code=\"404\",method=\"GET\",protocol=\"1.1\",route=\"/Dog/\"}";
    assert_eq!(scraped.value(unknown), 10_000.0);
    assert_eq!(scraped.value(resource), 100.0);
    let gets = scraped.series("http_requests_total").into_iter();
    assert_eq!(
        gets.filter(|series| series.contains("code=\"404\""))
            .count(),
        2
    );
}

#[test]
fn v11_whichever_worker_answers_the_sum_is_that_of_all() {
    let motet = start(Builder::new().set("THREADS_COUNT", "4"));
    put(&motet, "1");
    let address = motet.address("http.port");
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut connection = Connection::open(address).unwrap();
                for _ in 0..50 {
                    assert_eq!(connection.request("GET", "/Dog/1", "").unwrap().0, 200);
                }
            });
        }
    });
    let gets = "http_requests_total{code=\"200\",method=\"GET\",protocol=\"1.1\",route=\"/Dog/\"}";
    for _ in 0..8 {
        let scraped = scrape(&motet);
        assert_eq!(scraped.value(gets), 1000.0);
        let durations = scraped.sum("http_request_duration_seconds_count", &["\"GET\"", "/Dog/"]);
        assert_eq!(durations, 1000.0);
    }
}

#[test]
fn v12_a_server_that_stops_is_alive_not_ready_and_serves_until_its_delay_is_over() {
    let mut motet = start(Builder::new().set("SHUTDOWN_READINESSDELAY", "60000"));
    put(&motet, "1");
    let url = motet.operations_url();
    let mut kept = Connection::open(motet.address("http.port")).unwrap();
    assert_eq!(kept.request("GET", "/readyz", "").unwrap().0, 200);
    motet.signal("TERM");
    let (status, body) = eventually("draining", || {
        let answer = kept.request("GET", "/readyz", "").unwrap();
        (answer.0 != 200).then_some(answer)
    });
    assert_eq!(status, 503);
    assert!(
        body.contains("[-]draining failed: the server is stopping\n"),
        "{body}"
    );
    assert!(body.ends_with("readyz check failed\n"), "{body}");
    for path in ["livez", "startupz"] {
        assert_eq!(
            get(&format!("{url}{path}"), &[]),
            (200, "ok\n".to_owned()),
            "{path}"
        );
    }
    assert_eq!(get(&format!("{url}readyz"), &[]).0, 503);
    let (status, body) = get(&format!("{url}api/health"), &[]);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["status"]), (200, &json!("SHUTTING_DOWN")));
    let scraped = scrape(&motet);
    assert_eq!(
        (
            scraped.value("server_draining"),
            scraped.value("server_ready")
        ),
        (1.0, 0.0)
    );
    // The application still serves.
    assert_eq!(get(&motet.url("/Dog/1"), &[]).0, 200);
    // A second signal ends the delay.
    assert!(motet.stop().success());
}

#[test]
fn v13_v15_methods_and_heads() {
    let motet = start(Builder::new());
    let url = motet.operations_url();
    for path in ["metrics", "readyz", "health", "api/health"] {
        let (status, text) = curl("POST", &format!("{url}{path}"), Some(&json!({})), &["-i"]);
        assert_eq!(status, 405, "{path}");
        assert!(
            text.to_ascii_lowercase()
                .contains("\r\nallow: get, head\r\n"),
            "{text}"
        );
        let (status, head) = curl("HEAD", &format!("{url}{path}"), None, &["-I"]);
        assert_eq!(status, 200, "{path}");
        assert!(head.ends_with("\r\n\r\n"), "{path} has a body: {head}");
    }
    let (_, head) = curl("HEAD", &format!("{url}api/health"), None, &["-I"]);
    let head = head.to_ascii_lowercase();
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    let (_, body) = get(&format!("{url}api/health"), &[]);
    let body: Value = serde_json::from_str(&body).unwrap();
    let expected = json!({
        "status": "OK", "msg": "Success", "code": "0", "message": "OK",
        "online_backend_num": 1, "total_backend_num": 1,
    });
    assert_eq!(body, expected);
    assert_eq!(
        get(&format!("{url}health"), &[]),
        (200, "HarperDB is running.".to_owned())
    );
}

#[test]
fn v14_numbers_are_for_this_machine_and_users_and_probes_for_everybody() {
    let root = TempDir::new().unwrap();
    let motet = start(
        Builder::new()
            .trusting_nobody()
            .root(root.path())
            .set("OPERATIONSAPI_NETWORK_PORT", "0.0.0.0:0"),
    );
    let port = motet.address("operationsApi.network.port").port();
    let local = format!("http://127.0.0.1:{port}/");
    assert_eq!(get(&format!("{local}metrics"), &[]).0, 200);
    let credentials = std::fs::read_to_string(root.path().join("admin-password")).unwrap();
    let credentials = credentials.trim();
    let check = |url: &str, more: &[&str]| {
        let (status, text) = get(&format!("{url}metrics"), &[more, &["-i"]].concat());
        assert_eq!(status, 401, "{text}");
        assert!(
            text.to_ascii_lowercase()
                .contains("www-authenticate: basic"),
            "{text}"
        );
        let with_user = [more, &["-u", credentials]].concat();
        assert_eq!(get(&format!("{url}metrics"), &with_user).0, 200);
        let wrong = [more, &["-u", "admin:wrong"]].concat();
        assert_eq!(get(&format!("{url}metrics"), &wrong).0, 401);
        assert_eq!(get(&format!("{url}readyz"), more).0, 200);
    };
    if let Some(address) = outside_address() {
        check(&format!("http://{address}:{port}/"), &[]);
    }
    // A proxy on this machine asks for others.
    check(&local, &["-H", "X-Forwarded-For: 192.0.2.7"]);
    let scraped = Scrape::of(&get(&format!("{local}metrics"), &[]).1);
    assert!(scraped.value("auth_attempts_total{method=\"basic\",result=\"ok\"}") >= 1.0);
    assert!(scraped.value("auth_attempts_total{method=\"basic\",result=\"bad\"}") >= 1.0);
}

#[test]
fn details_of_a_failed_check_are_for_this_machine_and_users() {
    let application = TempDir::new().unwrap();
    let broken = Builder::new()
        .schema(&application, "type Dog @table { this is no schema")
        .set("HEALTH_STRICTCOMPONENTS", "true");
    let motet = broken.start();
    let url = motet.operations_url() + "readyz";
    let (status, text) = get(&url, &[]);
    assert_eq!(status, 503);
    assert!(text.contains("[-]components failed: "), "{text}");
    let proxied = ["-H", "X-Forwarded-For: 192.0.2.7"];
    let (_, text) = get(&url, &proxied);
    assert!(text.contains("[-]components failed\n"), "{text}");
    let (status, text) = get(&url, &["-H", "Accept: application/json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &report["status"]), (503, &json!("fail")));
    assert_eq!(report["checks"]["components"]["status"], "fail");
    assert_eq!(report["checks"]["storage"], json!({ "status": "pass" }));
    // Never ready, so not started; alive all the same.
    assert_eq!(get(&(motet.operations_url() + "startupz"), &[]).0, 503);
    assert_eq!(get(&(motet.operations_url() + "livez"), &[]).0, 200);
    let (status, text) = get(
        &format!("{url}?exclude=components&verbose&exclude=nonsense"),
        &[],
    );
    assert_eq!(status, 200);
    assert!(text.starts_with("[+]listeners ok\n"), "{text}");
    assert!(text.ends_with("readyz check passed\n"), "{text}");
}

#[test]
fn probes_are_never_logged_and_do_not_take_a_resource_s_name_away() {
    let application = TempDir::new().unwrap();
    let schema = "type Probe @table @export(name: \"healthz\") { id: ID @primaryKey }";
    let mut motet = Builder::new()
        .schema(&application, schema)
        .set("HTTP_LOGGING_LEVEL", "info")
        .set("LOGGING_LEVEL", "info")
        .start();
    for path in ["/livez", "/readyz", "/startupz", "/api/health"] {
        assert_eq!(get(&motet.url(path), &[]).0, 200, "{path}");
    }
    let (status, text) = get(&motet.url("/healthz"), &[]);
    assert_eq!(status, 200);
    assert!(text.contains("\"name\":\"Probe\""), "{text}");
    assert_eq!(get(&motet.url("/metrics"), &[]).0, 404);
    assert_eq!(get(&motet.url("/health"), &[]).0, 404);
    let output = eventually("the log", || {
        let output = motet.output();
        output.contains("GET /metrics").then_some(output)
    });
    for path in ["/livez", "/readyz", "/startupz", "/api/health"] {
        assert!(!output.contains(path), "{output}");
    }
}

#[test]
fn a_scrape_may_be_compressed_and_choose_groups_families_and_tables() {
    let motet = start(Builder::new().set("METRICS_ONAPPLICATIONPORT", "true"));
    put(&motet, "1");
    let url = motet.url("/metrics");
    let (_, head) = get(
        &url,
        &[
            "-s",
            "-D",
            "-",
            "-o",
            "/dev/null",
            "-H",
            "Accept-Encoding: gzip",
        ],
    );
    assert!(
        head.to_ascii_lowercase().contains("content-encoding: gzip"),
        "{head}"
    );
    let families = |query: &str| {
        let (_, text) = get(&format!("{url}?{query}"), &["-g"]);
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names = types.map(|line| line.split(' ').next().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let process = families("collect[]=process");
    assert!(
        process.len() > 5 && process.iter().all(|name| name.starts_with("process_")),
        "{process:?}"
    );
    let chosen = families("name[]=build_info&name%5B%5D=server_ready");
    assert_eq!(chosen, ["build_info", "server_ready"]);
    assert!(!families("").iter().any(|name| name == "table_records"));
    let (_, text) = get(&format!("{url}?with_table_metrics=minified"), &[]);
    let records = "table_records{database=\"data\",table=\"Dog\"}";
    assert_eq!(Scrape::of(&text).value(records), 1.0);
    assert!(!text.contains("table_write_total{"), "{text}");
    get(&motet.url("/Dog/1"), &[]);
    let (_, text) = get(&format!("{url}?with_table_metrics=all"), &[]);
    for (family, least) in [("table_write_total", 1.0), ("table_read_total", 1.0)] {
        let series = format!("{family}{{database=\"data\",table=\"Dog\"}}");
        assert!(Scrape::of(&text).value(&series) >= least, "{text}");
    }
    let (status, memory) = get(&(motet.operations_url() + "metrics/memory"), &[]);
    assert_eq!(status, 200);
    assert!(memory.lines().all(|line| line.contains(": ")), "{memory}");
    // Nothing is left of the time: what was known is answered.
    let hurried = ["-H", "X-Prometheus-Scrape-Timeout-Seconds: 0.1"];
    assert_eq!(get(&url, &hurried).0, 200);
}

#[test]
fn a_family_that_is_full_counts_the_rest_as_overflow() {
    let motet = start(Builder::new().set("METRICS_MAXSERIESPERFAMILY", "3"));
    for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
        curl(method, &motet.url("/Nothing/1"), None, &[]);
    }
    let scraped = scrape(&motet);
    let overflow = scraped.sum("http_requests_total", &["route=\"overflow\""]);
    assert!(
        overflow >= 1.0,
        "{:?}",
        scraped.series("http_requests_total")
    );
    let counted = "metrics_series_overflow_total{family=\"http_requests_total\"}";
    assert!(scraped.value(counted) >= 1.0);
    assert!(scraped.series("http_requests_total").len() <= 4);
}

#[test]
fn a_client_that_goes_away_ends_its_request_and_refusals_are_counted_by_reason() {
    let motet = start(Builder::new().set("HTTP_MAXREQUESTBODYSIZE", "10"));
    let address: SocketAddr = motet.address("http.port");
    let (status, _) = curl(
        "PUT",
        &motet.url("/Dog/1"),
        Some(&json!({ "name": "too long" })),
        &[],
    );
    assert_eq!(status, 413);
    let mut connection = Connection::open(address).unwrap();
    let head = "PUT /Dog/2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n";
    connection.send(head.as_bytes()).unwrap();
    eventually("the request", || {
        let in_flight = scrape(&motet).value("http_requests_in_flight{listener=\"http\"}");
        (in_flight == 1.0).then_some(())
    });
    drop(connection);
    let scraped = eventually("the end of the request", || {
        let scraped = scrape(&motet);
        (scraped.value("http_requests_in_flight{listener=\"http\"}") == 0.0).then_some(scraped)
    });
    assert_eq!(
        scraped.value("http_requests_rejected_total{reason=\"body_too_large\"}"),
        1.0
    );
    assert_eq!(scraped.sum("http_requests_total", &["\"PUT\""]), 2.0);
}

#[test]
fn a_restrictive_setting_is_for_super_users_and_a_wrong_one_stops_the_start() {
    let motet = start(Builder::new().set("METRICS_AUTH", "super_user"));
    // `motet dev` takes this machine for the first super user.
    assert_eq!(get(&(motet.operations_url() + "metrics"), &[]).0, 200);
    let proxied = ["-H", "X-Forwarded-For: 192.0.2.7"];
    assert_eq!(get(&(motet.operations_url() + "metrics"), &proxied).0, 401);
    let failure = Builder::new().set("METRICS_PREFIX", "9-lives").fail();
    assert_eq!(failure.status.code(), Some(78));
    assert!(
        failure.stderr.contains("'metrics.prefix' is '9-lives'"),
        "{}",
        failure.stderr
    );
}

#[test]
fn a_scrape_is_quick() {
    let motet = start(Builder::new());
    let mut connection = Connection::open(motet.address("operationsApi.network.port")).unwrap();
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let began = std::time::Instant::now();
            assert_eq!(connection.request("GET", "/metrics", "").unwrap().0, 200);
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("a scrape takes {:?}", times[times.len() / 2]);
    // Generous: an unoptimized build on a shared machine.
    assert!(
        times[times.len() / 2] < Duration::from_millis(500),
        "{times:?}"
    );
}

#[test]
fn queues_compression_continues_denials_and_the_configuration_are_counted() {
    let motet = start(Builder::new());
    let long = json!({ "name": "a".repeat(10_000) });
    let expect = ["-H", "Expect: 100-continue"];
    let (status, _) = curl("PUT", &motet.url("/Dog/1"), Some(&long), &expect);
    assert_eq!(status, 204);
    let gzip = ["-H", "Accept-Encoding: gzip", "-o", "/dev/null"];
    get(&motet.url("/Dog/1"), &gzip);
    let scraped = scrape(&motet);
    let compressed = |direction: &str| {
        let parts = ["encoding=\"gzip\"", direction];
        scraped.sum("http_compression_bytes_total", &parts)
    };
    let (before, after) = (
        compressed("direction=\"in\""),
        compressed("direction=\"out\""),
    );
    assert!(before > 10_000.0 && after > 0.0 && after < before / 10.0);
    assert_eq!(scraped.value("http_continue_sent_total"), 1.0);
    assert_eq!(scraped.value("config_last_reload_success"), 1.0);
    assert!(scraped.value("config_last_reload_timestamp_seconds") > 1_700_000_000.0);
    assert!(scraped.value("runtime_blocking_threads") >= 1.0);
    for present in [
        "http_requests_queued{listener=\"http\"}",
        "http_requests_queued{listener=\"operations\"}",
        "auth_denied_total{kind=\"operation\"}",
        "auth_denied_total{kind=\"table\"}",
        "auth_cache_entries",
        "storage_records_read_total{database=\"data\"}",
        "storage_oldest_snapshot_seconds{database=\"data\"}",
        "http_requests_rejected_total{reason=\"draining\"}",
    ] {
        assert!(scraped.0.contains_key(present), "{present}");
    }
}

#[test]
fn requests_of_users_are_told_to_super_users_who_ask() {
    let motet = start(Builder::new());
    put(&motet, "1");
    let url = motet.operations_url() + "metrics";
    let users = |url: &str, more: &[&str]| {
        let (_, text) = get(url, more);
        Scrape::of(&text).sum("http_user_requests_total", &["user="])
    };
    // `motet dev` takes this machine for the first super user.
    let asked = format!("{url}?with_user_connections=all");
    assert!(users(&asked, &[]) >= 1.0);
    assert_eq!(users(&url, &[]), 0.0);
    let (_, text) = get(&url, &[]);
    assert!(!text.contains("http_user_requests_total{"), "{text}");
}

#[test]
fn a_trace_is_an_exemplar_and_created_is_a_setting() {
    let motet = start(Builder::new().set("METRICS_CREATED", "true"));
    put(&motet, "1");
    let parent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    get(&motet.url("/Dog/1"), &["-H", parent]);
    let accept = "Accept: application/openmetrics-text; version=1.0.0";
    let url = motet.operations_url() + "metrics";
    let (_, text) = get(&url, &["-H", accept]);
    let exemplar = text
        .lines()
        .find(|line| line.contains("# {trace_id="))
        .unwrap();
    assert!(exemplar.contains("route=\"/Dog/\""), "{exemplar}");
    assert!(
        exemplar.contains("4bf92f3577b34da6a3ce929d0e0e4736"),
        "{exemplar}"
    );
    let created = "\nhttp_requests_created{";
    assert!(text.contains(created), "{text}");
    let (_, text) = get(&url, &[]);
    assert!(!text.contains("_created") && !text.contains("trace_id"));
}

#[test]
fn readiness_tells_of_indexes_without_depending_on_them() {
    let motet = start(Builder::new());
    let (status, text) = get(&(motet.operations_url() + "readyz?verbose"), &[]);
    assert_eq!(status, 200);
    assert!(text.contains("[+]indexes ok\n"), "{text}");
}
