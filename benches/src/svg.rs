//! A picture of a group of cases: one bar for each contestant, long where the server works long.

use std::fmt::Write as _;

use serde_json::Value;

const WIDTH: f64 = 760.0;
const LABEL: f64 = 230.0;
const BAR: f64 = 400.0;
const LINE: f64 = 20.0;

/// Server processor time of all contestants of these results; `None` if there are none.
pub fn bars(group: &str, cases: &[&Value]) -> Option<String> {
    let mut body = String::new();
    let mut y = 34.0;
    for case in cases {
        let series: Vec<_> = list(&case["series"]).collect();
        let longest = series.iter().map(|series| time(series)).fold(0.0, f64::max);
        if longest <= 0.0 {
            continue;
        }
        y += LINE;
        let title = format!(
            "{}: µs of the server for one {}",
            string(&case["title"]),
            string(&case["operation"])
        );
        let _ = writeln!(
            body,
            r#"<text x="10" y="{y}" font-weight="bold">{}</text>"#,
            escape(&title)
        );
        for series in series {
            y += LINE;
            bar(&mut body, string(&series["name"]), time(series), longest, y);
        }
        y += LINE / 2.0;
    }
    if body.is_empty() {
        return None;
    }
    let height = y + LINE;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"26\" font-size=\"17\">{}: less is better</text>\n{body}</svg>\n",
        escape(group)
    ))
}

fn bar(body: &mut String, name: &str, time: f64, longest: f64, y: f64) {
    let width = (time / longest * BAR).max(1.0);
    let colour = if name.starts_with("ours") {
        "#2f6f4f"
    } else {
        "#9aa5b1"
    };
    let _ = writeln!(
        body,
        "<text x=\"{:.0}\" y=\"{y}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{LABEL}\" y=\"{:.0}\" width=\"{width:.1}\" height=\"14\" fill=\"{colour}\"/>\
         <text x=\"{:.1}\" y=\"{y}\">{time:.2}</text>",
        LABEL - 8.0,
        escape(name),
        y - 12.0,
        LABEL + width + 6.0,
    );
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn time(series: &Value) -> f64 {
    series["server_us"].as_f64().unwrap_or(0.0)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contestant_has_a_bar_and_names_are_escaped() {
        let case = serde_json::json!({
            "title": "a < b", "operation": "request",
            "series": [{ "name": "ours", "server_us": 2.0 }, { "name": "nginx", "server_us": 4.0 }],
        });
        let picture = bars("http", &[&case]).unwrap();
        assert_eq!(picture.matches("height=\"14\"").count(), 2);
        assert!(picture.contains("a &lt; b"), "{picture}");
        assert!(picture.contains("width=\"400.0\""), "{picture}");
    }

    #[test]
    fn nothing_measured_makes_no_picture() {
        assert_eq!(bars("http", &[]), None);
    }
}
