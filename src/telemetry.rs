//! Logs and metrics.
//!
//! Logs go to stderr by `tracing`; audit events have their own target, `audit`. Metrics are Prometheus counters, histograms and
//! gauges, whose label values come from configuration, never from a device.

pub mod logs;
pub mod metrics;

pub use logs::LogFormat;
pub use metrics::{Gauges, Metrics, UpstreamMetric};
