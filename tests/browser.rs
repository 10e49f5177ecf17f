//! The example's page in headless Chromium: live by EventSource and by MQTT over WebSocket, writing by both.
#![forbid(unsafe_code)]

use motet_tests::browser::Page;
use motet_tests::http::curl;
use motet_tests::motet::workspace;
use motet_tests::{Builder, mqtt};
use serde_json::json;

#[test]
fn the_weather_page_shows_changes_of_every_protocol_live() {
    let motet = Builder::new()
        .application(&workspace().join("examples/weather"))
        .start();
    let mut page = Page::open(&motet.url("/"));
    page.wait_for("document.getElementById('sse-state')?.textContent === 'live'");
    page.wait_for("document.getElementById('mqtt-state').textContent === 'live'");
    page.wait_for("document.getElementById('days').value === '1461'");

    // From outside, by REST and by MQTT.
    let (status, _) = curl(
        "PUT",
        &motet.url("/Sensor/attic"),
        Some(&json!({ "celsius": 31.5 })),
        &[],
    );
    assert_eq!(status, 204);
    page.wait_for("document.querySelector('[data-key=attic]')?.cells[1].textContent === '31.5'");
    let writer = mqtt::Client::v4(motet.address("mqtt.network.port"), "writer");
    writer.publish(
        "Weather/2016-01-01",
        r#"{"weather":"snow","temp_max":1.5,"temp_min":-2,"wind":3}"#,
        true,
    );
    page.wait_for(
        "document.querySelector('[data-key=\"2016-01-01\"]')?.cells[1].textContent === 'snow'",
    );

    // From the page, by fetch and by MQTT over WebSocket.
    page.evaluate("document.getElementById('sensor-form').requestSubmit()");
    page.wait_for("document.querySelector('[data-key=roof]')?.cells[1].textContent === '18.5'");
    page.evaluate("document.getElementById('sensor-celsius').value = '19.25'");
    page.evaluate("document.getElementById('sensor-mqtt').click()");
    page.wait_for("document.querySelector('[data-key=roof]')?.cells[1].textContent === '19.25'");
    let (_, body) = curl(
        "GET",
        &motet.url("/Sensor/roof?select(celsius)"),
        None,
        &["-g"],
    );
    assert_eq!(body, "19.25");
    assert_eq!(
        page.evaluate("document.getElementById('error').textContent"),
        ""
    );

    // Beside the binary, wherever the build directory is.
    let target = motet_tests::motet::binary().with_file_name("weather.png");
    std::fs::write(&target, page.screenshot()).unwrap();
}
