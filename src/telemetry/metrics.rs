//! Prometheus metrics. Counting is a map lookup and an atomic addition; everything else is computed when it is scraped.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The product's metrics. Label values come from configuration, never from a device.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    enrollments: Family<EnrollmentLabels, Counter>,
    denials: Family<DenialLabels, Counter>,
    upstreams: Family<UpstreamLabels, Histogram, UpstreamBuckets>,
    wire: Family<WireLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    generation: Gauge<u64, AtomicU64>,
    shed: Family<ShedLabels, Counter>,
    connections: Gauge,
    inventory: Family<InventoryLabels, Gauge<u64, AtomicU64>>,
    crypto_free: Gauge<u64, AtomicU64>,
    crypto_slow_free: Gauge<u64, AtomicU64>,
    crypto_queue: Gauge<u64, AtomicU64>,
    ra_requests: Family<RaLabels, Counter>,
    expiry: Family<ExpiryLabels, Gauge<f64, AtomicU64>>,
    rollout: Family<RolloutLabels, Gauge>,
    rollout_share: Family<CandidateLabels, Gauge<f64, AtomicU64>>,
    rollout_devices: Family<ProfileLabels, Gauge<u64, AtomicU64>>,
    rollout_gate: Family<GateLabels, Gauge<f64, AtomicU64>>,
    rollout_gate_limit: Family<GateLabels, Gauge<f64, AtomicU64>>,
    rollout_trips: Family<CandidateLabels, Counter>,
    fallbacks: Family<FallbackLabels, Counter>,
    shadows: Family<ShadowLabels, Counter>,
    breakers: Family<BreakerLabels, Gauge>,
    upstream_orders: Family<UpstreamOrderLabels, Gauge<u64, AtomicU64>>,
}

/// How an upstream with limits stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamMetric {
    /// The upstream.
    pub upstream: String,
    /// `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// Attempts that are open.
    pub open: u64,
    /// Orders under way.
    pub under_way: u64,
    /// Requests that wait.
    pub waiting: u64,
}

/// How the rollout of a group stands.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutMetric {
    /// The device group.
    pub group: String,
    /// The profile that is tried.
    pub candidate: String,
    /// `running`, `halted` or `rolled-back`.
    pub phase: &'static str,
    /// The share of devices that the percentage reaches now.
    pub share: f64,
    /// How many devices met each profile in the window of the gates.
    pub devices: Vec<(String, u64)>,
    /// The gates.
    pub gates: Vec<GateMetric>,
}

/// How a gate stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateMetric {
    /// Which.
    pub gate: &'static str,
    /// The share of devices.
    pub share: f64,
    /// What it must not exceed.
    pub limit: f64,
}

/// Values that are looked up when they are scraped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Certificates in the inventory.
    pub certificates: u64,
    /// Transactions that wait for people.
    pub awaiting_approval: u64,
    /// Transactions at an issuer.
    pub issuing: u64,
    /// Transactions that an operator has to look at.
    pub unknown: u64,
    /// One-time challenges that can still be redeemed.
    pub outstanding_challenges: u64,
    /// Jobs that the crypto pool would still take.
    pub crypto_free: u64,
    /// Slow signatures that it would still take.
    pub crypto_slow_free: u64,
}

impl Metrics {
    /// Counts an enrollment's answer. `outcome` is `issued`, `pending`, `replayed`, or `refused`.
    pub fn enrollment(&self, protocol: &str, group: &str, profile: &str, outcome: &str) {
        let labels = EnrollmentLabels {
            protocol: protocol.to_owned(),
            group: group.to_owned(),
            profile: profile.to_owned(),
            outcome: outcome.to_owned(),
        };
        self.enrollments.get_or_create(&labels).inc();
    }

    /// Counts a refusal by its stable code.
    pub fn denial(&self, group: &str, code: &str) {
        self.denials.get_or_create(&DenialLabels { group: group.to_owned(), code: code.to_owned() }).inc();
    }

    /// Records how long an upstream took.
    pub fn upstream(&self, upstream: &str, outcome: &str, took: Duration) {
        let labels = UpstreamLabels { upstream: upstream.to_owned(), outcome: outcome.to_owned() };
        self.upstreams.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts a wire request: `operation` is one of the known operations or `unknown`, `status` the HTTP status.
    pub fn wire(&self, endpoint: &str, operation: &str, status: u16) {
        let labels = WireLabels { endpoint: endpoint.to_owned(), operation: operation.to_owned(), status };
        self.wire.get_or_create(&labels).inc();
    }

    /// Counts a message by the certificate of the RA that it was encrypted to: `current`, `next` or `earlier`.
    pub fn ra_request(&self, ra: &str, certificate: &'static str) {
        self.ra_requests.get_or_create(&RaLabels { ra: ra.to_owned(), certificate }).inc();
    }

    /// Says until when a certificate of ours is valid.
    pub fn expiry(&self, all: &[(&'static str, String, f64)]) {
        self.expiry.clear();
        for (kind, name, seconds) in all {
            self.expiry.get_or_create(&ExpiryLabels { kind, name: name.clone() }).set(*seconds);
        }
    }

    /// Counts a reload: `ok` or `failed`; sets the generation.
    pub fn reload(&self, result: &str, generation: u64) {
        self.reloads.get_or_create(&ReloadLabels { result: result.to_owned() }).inc();
        self.generation.set(generation);
    }

    /// Sets the generation of the configuration that serves.
    pub fn generation(&self, generation: u64) {
        self.generation.set(generation);
    }

    /// Counts a device that gets less than was chosen for it: `size` at each request, `learned` once.
    pub fn fallback(&self, group: &str, profile: &str, reason: &'static str) {
        let labels = FallbackLabels { group: group.to_owned(), profile: profile.to_owned(), reason };
        self.fallbacks.get_or_create(&labels).inc();
    }

    /// Counts a shadow run: `ok`, `refused`, `dropped` where there was no place for it, or `failed`.
    pub fn shadow(&self, group: &str, candidate: &str, outcome: &'static str) {
        let labels = ShadowLabels { group: group.to_owned(), candidate: candidate.to_owned(), outcome };
        self.shadows.get_or_create(&labels).inc();
    }

    /// Counts work that was turned away before it was looked at: `connections`, `requests`, `source`, `slow`.
    pub fn shed(&self, reason: &'static str) {
        self.shed.get_or_create(&ShedLabels { reason }).inc();
    }

    /// Sets how rollouts stand; those that are not told of any more are gone.
    pub fn rollouts(&self, all: &[RolloutMetric]) {
        self.rollout.clear();
        self.rollout_share.clear();
        self.rollout_devices.clear();
        self.rollout_gate.clear();
        self.rollout_gate_limit.clear();
        for one in all {
            let (group, candidate) = (one.group.clone(), one.candidate.clone());
            let labels = RolloutLabels { group: group.clone(), candidate: candidate.clone(), phase: one.phase };
            self.rollout.get_or_create(&labels).set(1);
            self.rollout_share.get_or_create(&CandidateLabels { group: group.clone(), candidate }).set(one.share);
            for (profile, devices) in &one.devices {
                let labels = ProfileLabels { group: group.clone(), profile: profile.clone() };
                self.rollout_devices.get_or_create(&labels).set(*devices);
            }
            for gate in &one.gates {
                let labels = GateLabels { group: group.clone(), gate: gate.gate };
                self.rollout_gate.get_or_create(&labels).set(gate.share);
                self.rollout_gate_limit.get_or_create(&labels).set(gate.limit);
            }
        }
    }

    /// Sets how the upstreams with limits stand.
    pub fn upstreams(&self, all: &[UpstreamMetric]) {
        self.breakers.clear();
        self.upstream_orders.clear();
        for one in all {
            let upstream = one.upstream.clone();
            self.breakers.get_or_create(&BreakerLabels { upstream, state: one.breaker }).set(1);
            for (kind, count) in [("open", one.open), ("under-way", one.under_way), ("waited-for", one.waiting)] {
                let labels = UpstreamOrderLabels { upstream: one.upstream.clone(), kind };
                self.upstream_orders.get_or_create(&labels).set(count);
            }
        }
    }

    /// Counts a gate that stopped a rollout.
    pub fn rollout_tripped(&self, group: &str, candidate: &str) {
        let labels = CandidateLabels { group: group.to_owned(), candidate: candidate.to_owned() };
        self.rollout_trips.get_or_create(&labels).inc();
    }

    /// The gauge of open connections.
    pub fn connections(&self) -> &Gauge<i64, AtomicI64> {
        &self.connections
    }

    /// Sets how many jobs the crypto pool may hold.
    pub fn crypto_queue(&self, jobs: usize) {
        self.crypto_queue.set(jobs as u64);
    }

    /// The text for a scrape, with the values of now.
    pub fn scrape(&self, gauges: &Gauges) -> String {
        let set = |kind, value| self.inventory.get_or_create(&InventoryLabels { kind }).set(value);
        set("certificates", gauges.certificates);
        set("transactions-awaiting-approval", gauges.awaiting_approval);
        set("transactions-issuing", gauges.issuing);
        set("transactions-unknown", gauges.unknown);
        set("challenges-outstanding", gauges.outstanding_challenges);
        self.crypto_free.set(gauges.crypto_free);
        self.crypto_slow_free.set(gauges.crypto_slow_free);
        let mut text = String::with_capacity(4096);
        encode(&mut text, &self.registry).expect("writing into a string does not fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ravelin");
        let metrics = Self {
            enrollments: Family::default(),
            denials: Family::default(),
            upstreams: Family::new_with_constructor(UpstreamBuckets),
            wire: Family::default(),
            reloads: Family::default(),
            generation: Gauge::default(),
            shed: Family::default(),
            connections: Gauge::default(),
            inventory: Family::default(),
            crypto_free: Gauge::default(),
            crypto_slow_free: Gauge::default(),
            crypto_queue: Gauge::default(),
            ra_requests: Family::default(),
            expiry: Family::default(),
            rollout: Family::default(),
            rollout_share: Family::default(),
            rollout_devices: Family::default(),
            rollout_gate: Family::default(),
            rollout_gate_limit: Family::default(),
            rollout_trips: Family::default(),
            fallbacks: Family::default(),
            shadows: Family::default(),
            breakers: Family::default(),
            upstream_orders: Family::default(),
            registry: Registry::default(),
        };
        registry.register("enrollments", "Answers to enrollment requests", metrics.enrollments.clone());
        registry.register("denials", "Refusals by stable code", metrics.denials.clone());
        registry.register(
            "upstream_request_duration_seconds",
            "How long an upstream CA took to answer",
            metrics.upstreams.clone(),
        );
        registry.register("scep_requests", "SCEP requests by operation and HTTP status", metrics.wire.clone());
        registry.register("config_generation", "Generation of the configuration that serves", metrics.generation.clone());
        registry.register("config_reloads", "Attempts to load a changed configuration", metrics.reloads.clone());
        registry.register("shed", "Connections and requests turned away before they were looked at", metrics.shed.clone());
        registry.register("connections", "Open connections from devices", metrics.connections.clone());
        registry.register("inventory", "Rows in the inventory by kind", metrics.inventory.clone());
        registry.register("crypto_queue_free", "Jobs that the crypto pool would take now", metrics.crypto_free.clone());
        let slow = metrics.crypto_slow_free.clone();
        registry.register("crypto_slow_queue_free", "Slow signatures that the crypto pool would take now", slow);
        registry.register("crypto_queue_size", "Jobs that the crypto pool may hold", metrics.crypto_queue.clone());
        let requests = metrics.ra_requests.clone();
        registry.register("ra_requests", "Messages by the certificate of the RA that they were encrypted to", requests);
        let expiry = metrics.expiry.clone();
        registry.register("certificate_not_after_seconds", "When certificates of CAs and the RA end, in Unix time", expiry);
        registry.register("rollout", "Groups that try a candidate, by where the rollout stands", metrics.rollout.clone());
        registry.register("rollout_share", "Share of devices that a rollout's percentage reaches", metrics.rollout_share.clone());
        registry.register("rollout_devices", "Devices that met a profile in the gates' window", metrics.rollout_devices.clone());
        registry.register("rollout_gate", "Share of the candidate's devices that a gate looks at", metrics.rollout_gate.clone());
        registry.register("rollout_gate_limit", "Share at which the gate trips", metrics.rollout_gate_limit.clone());
        registry.register("shadow_runs", "What became of live requests under the profile in the shadow", metrics.shadows.clone());
        registry.register("rollout_trips", "Gates that stopped a rollout", metrics.rollout_trips.clone());
        registry.register(
            "fallbacks",
            "Devices that get a fallback: by the size of a reply, or newly learned",
            metrics.fallbacks.clone(),
        );
        let breakers = metrics.breakers.clone();
        registry.register("upstream_breaker", "Whether an upstream with limits is asked or left alone", breakers);
        let orders = metrics.upstream_orders.clone();
        registry.register("upstream_orders", "Orders at an upstream with limits, by how they stand", orders);
        let version = vec![("version", env!("CARGO_PKG_VERSION")), ("crypto", "aws-lc")];
        registry.register("build", "What is running", Info::new(version));
        Self { registry, ..metrics }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EnrollmentLabels {
    protocol: String,
    group: String,
    profile: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DenialLabels {
    group: String,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RaLabels {
    ra: String,
    certificate: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExpiryLabels {
    kind: &'static str,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RolloutLabels {
    group: String,
    candidate: String,
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CandidateLabels {
    group: String,
    candidate: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProfileLabels {
    group: String,
    profile: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GateLabels {
    group: String,
    gate: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BreakerLabels {
    upstream: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamOrderLabels {
    upstream: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WireLabels {
    endpoint: String,
    operation: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    result: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShadowLabels {
    group: String,
    candidate: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FallbackLabels {
    group: String,
    profile: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShedLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InventoryLabels {
    kind: &'static str,
}

/// From an embedded CA's millisecond to the minutes of a slow remote one.
#[derive(Clone, Copy, Debug)]
struct UpstreamBuckets;

impl MetricConstructor<Histogram> for UpstreamBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_the_documented_ones() {
        let metrics = Metrics::default();
        metrics.enrollment("scep", "branch", "ecdsa-p256", "issued");
        metrics.denial("branch", "challenge-wrong");
        metrics.upstream("local", "issued", Duration::from_millis(2));
        metrics.wire("branch", "GetCACaps", 200);
        metrics.reload("ok", 2);
        metrics.rollout_tripped("branch", "next");
        let stands = |breaker| UpstreamMetric { upstream: "est".into(), breaker, open: 7, under_way: 2, waiting: 1 };
        metrics.upstreams(&[stands("closed")]);
        metrics.upstreams(&[stands("open")]);
        let rollout = |phase| RolloutMetric {
            group: "branch".into(),
            candidate: "next".into(),
            phase,
            share: 0.05,
            devices: vec![("ecdsa-p256".into(), 100), ("next".into(), 5)],
            gates: vec![GateMetric { gate: "refusals", share: 0.2, limit: 0.05 }],
        };
        metrics.rollouts(&[rollout("running")]);
        metrics.rollouts(&[rollout("halted")]);
        let text = metrics.scrape(&Gauges { certificates: 7, ..Gauges::default() });
        for line in [
            r#"ravelin_enrollments_total{protocol="scep",group="branch",profile="ecdsa-p256",outcome="issued"} 1"#,
            r#"ravelin_denials_total{group="branch",code="challenge-wrong"} 1"#,
            r#"ravelin_upstream_request_duration_seconds_count{upstream="local",outcome="issued"} 1"#,
            r#"ravelin_scep_requests_total{endpoint="branch",operation="GetCACaps",status="200"} 1"#,
            r#"ravelin_config_reloads_total{result="ok"} 1"#,
            "ravelin_config_generation 2",
            r#"ravelin_inventory{kind="certificates"} 7"#,
            r#"ravelin_rollout{group="branch",candidate="next",phase="halted"} 1"#,
            r#"ravelin_rollout_share{group="branch",candidate="next"} 0.05"#,
            r#"ravelin_rollout_devices{group="branch",profile="next"} 5"#,
            r#"ravelin_rollout_gate{group="branch",gate="refusals"} 0.2"#,
            r#"ravelin_rollout_gate_limit{group="branch",gate="refusals"} 0.05"#,
            r#"ravelin_rollout_trips_total{group="branch",candidate="next"} 1"#,
            r#"ravelin_upstream_breaker{upstream="est",state="open"} 1"#,
            r#"ravelin_upstream_orders{upstream="est",kind="under-way"} 2"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(!text.contains(r#"phase="running""#) && !text.contains(r#"state="closed""#), "what was is gone");

        let guide = include_str!("../../docs/src/operations.md");
        for kind in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = kind.split_once(' ').unwrap();
            let ending = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            assert!(guide.contains(&format!("`{name}{ending}`")), "docs/src/operations.md does not tell of {name}{ending}");
        }
    }
}
