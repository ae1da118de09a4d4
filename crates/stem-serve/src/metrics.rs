//! What is counted, in the text form of Prometheus.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    exponential_buckets,
};

/// All counters of a server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    rejected: IntCounterVec,
    rows: IntCounterVec,
    values: IntCounterVec,
    unseen: IntCounterVec,
    swaps: IntCounterVec,
    shadow: HistogramVec,
    shadow_left: IntCounterVec,
    pub(crate) queue_rows: IntGauge,
    pub(crate) queue_requests: IntGauge,
    pub(crate) batch_rows: Histogram,
    pub(crate) batch_requests: Histogram,
    pub(crate) abandoned: IntCounter,
    pub(crate) connections: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let powers = |start, count| exponential_buckets(start, 2.0, count).expect("buckets ascend");
        Self {
            requests: register(
                &registry,
                counters("stem_requests_total", "Requests by route and status", &["route", "status"]),
            ),
            seconds: register(
                &registry,
                histograms(
                    "stem_request_seconds",
                    "Time from a request's head to its answer",
                    powers(0.000_25, 16),
                    &["route"],
                ),
            ),
            rejected: register(
                &registry,
                counters("stem_rejected_total", "Requests that were refused, by kind", &["kind"]),
            ),
            rows: register(&registry, counters("stem_rows_scored_total", "Rows scored by model", &["model"])),
            values: register(
                &registry,
                counters("stem_values_total", "Values that were looked up, by model and field", &["model", "field"]),
            ),
            unseen: register(
                &registry,
                counters("stem_unseen_values_total", "Values that training did not see, or null", &["model", "field"]),
            ),
            swaps: register(
                &registry,
                counters("stem_swaps_total", "Bundles that were taken and refused", &["model", "result"]),
            ),
            shadow: register(
                &registry,
                histograms(
                    "stem_shadow_difference",
                    "|s - t| of scores that two models gave a row",
                    exponential_buckets(1e-6, 10.0, 13).expect("buckets ascend"),
                    &["model", "shadow", "task"],
                ),
            ),
            shadow_left: register(
                &registry,
                counters(
                    "stem_shadow_left_out_total",
                    "Requests that the second model did not score",
                    &["model", "shadow"],
                ),
            ),
            queue_rows: register(&registry, gauge("stem_queue_rows", "Rows that wait")),
            queue_requests: register(&registry, gauge("stem_queue_requests", "Requests that wait")),
            batch_rows: register(&registry, histogram("stem_batch_rows", "Rows of a batch", powers(1.0, 15))),
            batch_requests: register(
                &registry,
                histogram("stem_batch_requests", "Requests of a batch", powers(1.0, 11)),
            ),
            abandoned: register(
                &registry,
                IntCounter::new("stem_abandoned_total", "Requests whose caller had gone before they were scored")
                    .expect("a sound name"),
            ),
            connections: register(&registry, gauge("stem_connections", "Open connections")),
            registry,
        }
    }

    /// Counts a request that was answered.
    pub(crate) fn answered(&self, route: &str, status: u16, kind: Option<&str>, after: Duration) {
        self.requests.with_label_values(&[route, &status.to_string()]).inc();
        self.seconds.with_label_values(&[route]).observe(after.as_secs_f64());
        if let Some(kind) = kind {
            self.rejected.with_label_values(&[kind]).inc();
        }
    }

    /// Counts rows that a model scored.
    pub(crate) fn scored(&self, model: &str, rows: usize) {
        self.rows.with_label_values(&[model]).inc_by(rows as u64);
    }

    /// Counts values of a field, and those of them that are unseen.
    pub(crate) fn looked_up(&self, model: &str, field: &str, values: u64, unseen: u64) {
        self.values.with_label_values(&[model, field]).inc_by(values);
        self.unseen.with_label_values(&[model, field]).inc_by(unseen);
    }

    /// Counts a bundle that was taken, or not.
    pub(crate) fn swapped(&self, model: &str, is_taken: bool) {
        self.swaps.with_label_values(&[model, if is_taken { "ok" } else { "refused" }]).inc();
    }

    /// Counts how far two models are apart on rows of a task.
    pub(crate) fn shadowed(&self, [model, shadow, task]: [&str; 3], differences: impl Iterator<Item = f32>) {
        let histogram = self.shadow.with_label_values(&[model, shadow, task]);
        differences.for_each(|difference| histogram.observe(f64::from(difference)));
    }

    /// Counts a request that the second model did not score: it lacks a column, or the queue is half full.
    pub(crate) fn not_shadowed(&self, model: &str, shadow: &str) {
        self.shadow_left.with_label_values(&[model, shadow]).inc();
    }

    /// All of it, as Prometheus reads it.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        _ = TextEncoder::new().encode(&self.registry.gather(), &mut text); // a vector takes all
        String::from_utf8(text).unwrap_or_default()
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("every name is registered once");
    collector
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("a sound name")
}

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect("a sound name")
}

fn histogram(name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)).expect("a sound name")
}

fn histograms(name: &str, help: &str, buckets: Vec<f64>, labels: &[&str]) -> HistogramVec {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels).expect("a sound name")
}
