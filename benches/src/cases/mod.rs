//! The cases, by name. Each starts what it needs, measures its contestants in turn and says what to reach.

mod growth;
mod http;
mod idle;
mod mqtt;
mod streams;
mod tls;

use std::time::Duration;

use anyhow::Result;

use crate::cpu::Layout;
use crate::load::Span;
use crate::measure::{Sample, Series};
use crate::peers::Certificate;

/// What all cases share.
pub struct Lab {
    /// Processors.
    pub layout: Layout,
    /// Certificate of all TLS servers.
    pub certificate: Certificate,
    /// How often every contestant is measured.
    pub rounds: usize,
    /// How long each time.
    pub span: Span,
}

impl Lab {
    /// Rounds of this length; the calling thread becomes the client.
    ///
    /// # Errors
    ///
    /// If the machine cannot be set up.
    pub fn new(rounds: usize, measured: Duration) -> Result<Self> {
        let layout = Layout::detect()?;
        layout.pin_client()?;
        Ok(Self {
            layout,
            certificate: Certificate::new()?,
            rounds,
            span: Span {
                warm_up: measured / 4,
                measured,
            },
        })
    }

    /// Measures every contestant once in each round, so that what the machine does meanwhile hits all.
    ///
    /// # Errors
    ///
    /// Those of a contestant, with its name.
    fn rounds(&self, mut contestants: Vec<Contestant<'_>>) -> Result<Vec<Series>> {
        let mut series: Vec<Series> = contestants
            .iter()
            .map(|(name, _)| Series::new(*name))
            .collect();
        for _ in 0..self.rounds {
            for ((name, measure), series) in contestants.iter_mut().zip(&mut series) {
                let sample =
                    measure(self.span).map_err(|error| error.context((*name).to_owned()))?;
                series.samples.push(sample);
            }
        }
        Ok(series)
    }
}

/// A name and what measures it once.
type Contestant<'a> = (&'a str, Box<dyn FnMut(Span) -> Result<Sample> + 'a>);

/// A case that can be asked for by name.
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// Cases of one group share a picture.
    pub group: &'static str,
    /// What is measured, in a few words.
    pub title: &'static str,
    run: fn(&Lab) -> Result<Outcome>,
}

impl Case {
    /// Measures it.
    ///
    /// # Errors
    ///
    /// If a server does not start or answers what it must not.
    pub fn run(&self, lab: &Lab) -> Result<Outcome> {
        (self.run)(lab)
    }
}

/// What a case has found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What one operation is.
    pub operation: &'static str,
    /// All rounds of all contestants.
    pub series: Vec<Series>,
    /// What the case compares.
    pub rows: Vec<Row>,
    /// What a reader must know, for example which peer is not installed.
    pub notes: Vec<String>,
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    /// What is compared.
    pub label: String,
    /// The figure: a ratio, or with a unit.
    pub value: f64,
    /// Unit of the figure; empty for ratios.
    pub unit: &'static str,
    /// What it is to reach.
    pub goal: Goal,
}

/// What a figure is to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Nothing; it is reported for orientation.
    None,
}

impl Goal {
    /// Whether a figure reaches it; `None` where there is no goal.
    pub fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(least) => Some(value >= least),
            Self::AtMost(most) => Some(value <= most),
            Self::None => None,
        }
    }
}

impl Outcome {
    fn of(operation: &'static str, series: Vec<Series>) -> Self {
        Self {
            operation,
            series,
            ..Self::default()
        }
    }

    fn find(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    /// Adds the ratio of a figure of two contestants, if both were measured. Rounds are compared with each
    /// other, so that a slow moment of the machine hits both sides.
    fn ratio(
        &mut self,
        label: &str,
        above: &str,
        below: &str,
        figure: fn(&Sample) -> f64,
        goal: Goal,
    ) {
        let (Some(upper), Some(lower)) = (self.find(above), self.find(below)) else {
            return;
        };
        let rounds = upper.samples.iter().zip(&lower.samples);
        let value = crate::measure::median(
            rounds
                .map(|(upper, lower)| figure(upper) / figure(lower).max(f64::MIN_POSITIVE))
                .collect(),
        );
        self.rows.push(Row {
            label: label.to_owned(),
            value,
            unit: "",
            goal,
        });
    }

    fn figure(&mut self, label: impl Into<String>, value: f64, unit: &'static str, goal: Goal) {
        self.rows.push(Row {
            label: label.into(),
            value,
            unit,
            goal,
        });
    }

    fn skipped(&mut self, peer: &str) {
        self.notes.push(format!(
            "{peer} is not installed and was skipped; `cargo xtask bench --setup` installs it"
        ));
    }
}

/// All cases in the order of the table.
pub const ALL: &[Case] = &[
    http::SMALL,
    http::GET,
    http::QUERY,
    http::PUT,
    http::READ_UNDER_WRITE,
    http::MIXED,
    http::COMPRESSION,
    tls::HTTP2,
    tls::HANDSHAKE,
    mqtt::FAN_OUT_QOS0,
    mqtt::FAN_OUT_QOS1,
    mqtt::FAN_OUT_ONE,
    mqtt::FAN_OUT_1000,
    mqtt::PAIRS_QOS0,
    mqtt::PAIRS_QOS1,
    streams::FAN_OUT,
    streams::ECHO,
    idle::MEMORY,
    growth::START,
    growth::RECORDS,
    growth::SUBSCRIPTIONS,
];
