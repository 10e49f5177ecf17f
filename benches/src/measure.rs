//! Samples of one measurement each, and the medians of several rounds.

use std::time::Duration;

use hdrhistogram::Histogram;

/// One contestant, one round.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Operations completed in `elapsed`.
    pub operations: u64,
    /// Time on the clock.
    pub elapsed: Duration,
    /// Processor time of the server.
    pub server: Duration,
    /// Processor time of the load generator.
    pub client: Duration,
    /// Nanoseconds of each operation.
    pub latency: Histogram<u64>,
}

impl Sample {
    /// Server processor time of one operation, in microseconds.
    pub fn server_us(&self) -> f64 {
        self.server.as_secs_f64() * 1e6 / self.count()
    }

    /// Operations in a second.
    pub fn rate(&self) -> f64 {
        self.count() / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Latency at a percentile, in microseconds.
    pub fn latency_us(&self, percentile: f64) -> f64 {
        to_f64(self.latency.value_at_percentile(percentile)) / 1e3
    }

    fn count(&self) -> f64 {
        to_f64(self.operations.max(1))
    }
}

/// All rounds of one contestant.
#[derive(Debug, Clone)]
pub struct Series {
    /// Who it is, for example `nginx`.
    pub name: String,
    /// One sample a round.
    pub samples: Vec<Sample>,
}

impl Series {
    /// A contestant without samples.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            samples: Vec::new(),
        }
    }

    /// Median of a figure over the rounds.
    pub fn median(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(figure).collect())
    }

    /// Largest distance of a round from the median of server time, as a part of it.
    pub fn spread(&self) -> f64 {
        let middle = self.median(Sample::server_us);
        let farthest = self
            .samples
            .iter()
            .map(|sample| (sample.server_us() - middle).abs())
            .fold(0.0, f64::max);
        farthest / middle.max(f64::MIN_POSITIVE)
    }

    /// Who was busy all the time, so that throughput says nothing about the other.
    pub fn limit(&self) -> Limit {
        let share = |time: fn(&Sample) -> Duration| {
            self.median(|sample| time(sample).as_secs_f64() / sample.elapsed.as_secs_f64())
        };
        let (server, client) = (share(|sample| sample.server), share(|sample| sample.client));
        match (server > 0.9, client > 0.9) {
            (true, _) => Limit::Server,
            (false, true) => Limit::Client,
            (false, false) => Limit::Neither,
        }
    }
}

/// What was busy for more than nine tenths of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The server had no processor time left: throughput is its own.
    Server,
    /// The load generator had none left: only server time for one operation counts.
    Client,
    /// Neither: waiting for disks, for a pace, or for other programs on the machine.
    Neither,
}

impl Limit {
    /// One word for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Neither => "neither",
        }
    }
}

/// The middle value; the lower of two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// Counts here are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
pub(crate) fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(operations: u64, server_ms: u64, client_ms: u64) -> Sample {
        Sample {
            operations,
            elapsed: Duration::from_secs(1),
            server: Duration::from_millis(server_ms),
            client: Duration::from_millis(client_ms),
            latency: Histogram::new(3).unwrap(),
        }
    }

    #[test]
    fn server_time_is_divided_by_operations_and_the_median_round_counts() {
        let mut series = Series::new("ours");
        series.samples = vec![
            sample(1000, 500, 1),
            sample(1000, 100, 1),
            sample(1000, 900, 1),
        ];
        assert!((series.median(Sample::server_us) - 500.0).abs() < 1e-9);
        assert!((series.spread() - 0.8).abs() < 1e-9);
    }

    #[test]
    fn a_busy_client_is_named_unless_the_server_was_busy_too() {
        let limit = |server, client| {
            let mut series = Series::new("ours");
            series.samples = vec![sample(1, server, client)];
            series.limit()
        };
        assert_eq!(limit(950, 950), Limit::Server);
        assert_eq!(limit(500, 950), Limit::Client);
        assert_eq!(limit(500, 500), Limit::Neither);
    }
}
