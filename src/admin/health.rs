//! Health, readiness and metrics: what the TCP admin listener tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::algorithm::IssuerRef;
use crate::crypto::Lane;
use crate::enroll::Enroller;
use crate::telemetry::{Gauges, Metrics, UpstreamMetric};
use crate::upstream::Limits;

/// How long an answer of an upstream to "are you well?" counts.
const UPSTREAM_CHECK: Duration = Duration::from_secs(10);

/// How long an upstream may take for it.
const UPSTREAM_PATIENCE: Duration = Duration::from_secs(5);

/// Tells whether all is well.
pub struct Health {
    enroller: Enroller,
    metrics: Arc<Metrics>,
    ill: Mutex<Option<Asked>>,
}

/// When the upstreams were asked, of which generation, and which were ill.
type Asked = (Instant, u64, Arc<BTreeMap<String, String>>);

/// Whether requests can be answered, and why not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// What is missing; empty when ready.
    pub reasons: Vec<String>,
    /// What is not well, and keeps no request from being taken in.
    pub notes: Vec<String>,
}

impl Readiness {
    /// Whether nothing is missing.
    pub fn ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl Health {
    /// Looks after this core.
    pub fn new(enroller: Enroller, metrics: Arc<Metrics>) -> Self {
        Self { enroller, metrics, ill: Mutex::new(None) }
    }

    /// Asks all that requests depend on: the RA's keys, the inventory, and an issuer for every group.
    pub async fn readiness(&self) -> Readiness {
        let snapshot = self.enroller.snapshot();
        let now = self.enroller.now();
        let mut reasons = Vec::new();
        let certificates = snapshot.all_ras().flat_map(|ra| {
            let decrypter = ra.decrypters.iter().take(1).map(|decrypter| ("encryption", &decrypter.certificate));
            std::iter::once(("signing", &ra.signer_certificate)).chain(decrypter)
        });
        for (what, certificate) in certificates {
            if certificate.not_after() <= now {
                reasons
                    .push(format!("the RA's {what} certificate expired at {}; see: ravelin ra renew", certificate.not_after()));
            }
        }
        if snapshot.all_ras().any(|ra| ra.decrypters.is_empty()) {
            reasons.push("the RA has no key to open requests with".to_owned());
        }
        if let Err(error) = self.enroller.inventory().check().await {
            reasons.push(error.to_string());
        }
        let ill = self.ill_upstreams().await;
        let mut notes = Vec::new();
        for (name, why) in ill.iter() {
            notes.push(format!("upstream {name:?} is not well: {why}"));
        }
        for gate in self.enroller.upstreams().iter().filter(|gate| gate.breaker != "closed") {
            let last = gate.last_error.as_deref().unwrap_or("nothing is known of an error");
            notes.push(format!("upstream {:?} is left alone after failures ({}): {last}", gate.upstream, gate.breaker));
        }
        for group in snapshot.groups.values() {
            let Some(profile) = snapshot.profile_of(group) else {
                reasons.push(format!("group {:?} has no profile", group.name));
                continue;
            };
            let chains = profile.primary_issuers().filter(|issuer| !snapshot.chain_of(issuer).is_empty());
            let issuers: Vec<_> = chains.collect();
            // Requests for a CA that has limits are taken in whatever becomes of it: they wait for their turn. Nobody else shall
            // suffer from that, as all would if this node were taken out of service.
            let is_ready = |issuer: &&IssuerRef| {
                let waits = snapshot.upstreams.get(&issuer.upstream).is_some_and(|upstream| upstream.limits() != Limits::NONE);
                waits || !ill.contains_key(&issuer.upstream)
            };
            if issuers.is_empty() {
                let named: Vec<_> = profile.primary_issuers().map(ToString::to_string).collect();
                reasons.push(format!("group {:?} has no issuer: {} is not there", group.name, named.join(", ")));
            } else if !issuers.iter().copied().any(|issuer| is_ready(&issuer)) {
                let upstream = &profile.issuer.upstream;
                reasons.push(format!("group {:?} has no healthy issuer: upstream {upstream:?} is ill", group.name));
            }
        }
        Readiness { reasons, notes }
    }

    /// The upstreams that cannot be reached, with the reasons, asked at most every few seconds however often probes come.
    async fn ill_upstreams(&self) -> Arc<BTreeMap<String, String>> {
        let snapshot = self.enroller.snapshot();
        let mut known = self.ill.lock().await;
        if let Some((asked_at, generation, ill)) = known.as_ref()
            && asked_at.elapsed() < UPSTREAM_CHECK
            && *generation == snapshot.generation
        {
            return Arc::clone(ill);
        }
        let mut asked = JoinSet::new();
        for (name, upstream) in &snapshot.upstreams {
            let (name, upstream) = (name.clone(), Arc::clone(upstream));
            asked.spawn(async move {
                match tokio::time::timeout(UPSTREAM_PATIENCE, upstream.health()).await {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some((name, error.to_string())),
                    Err(_) => Some((name, format!("no answer within {} s", UPSTREAM_PATIENCE.as_secs()))),
                }
            });
        }
        let ill = Arc::new(asked.join_all().await.into_iter().flatten().collect::<BTreeMap<_, _>>());
        *known = Some((Instant::now(), snapshot.generation, Arc::clone(&ill)));
        ill
    }

    /// The metrics of now.
    pub async fn scrape(&self) -> String {
        let ends = crate::enroll::expiry::expiries(&self.enroller.snapshot());
        #[allow(clippy::cast_precision_loss)] // Seconds since 1970 have 53 bits for a while.
        let ends: Vec<_> = ends.into_iter().map(|end| (end.kind, end.name, end.not_after.as_second() as f64)).collect();
        self.metrics.expiry(&ends);
        let gates = self.enroller.upstreams().into_iter().map(|gate| UpstreamMetric {
            upstream: gate.upstream,
            breaker: gate.breaker,
            open: gate.open,
            under_way: gate.under_way as u64,
            waiting: gate.waiting as u64,
        });
        self.metrics.upstreams(&gates.collect::<Vec<_>>());
        let statistics = self.enroller.inventory().statistics().await.unwrap_or_default();
        self.metrics.scrape(&Gauges {
            certificates: statistics.certificates,
            awaiting_approval: statistics.awaiting_approval,
            issuing: statistics.issuing,
            unknown: statistics.unknown,
            outstanding_challenges: statistics.outstanding_challenges,
            crypto_free: self.enroller.pool().free() as u64,
            crypto_slow_free: self.enroller.pool().free_in(Lane::Slow) as u64,
        })
    }

    /// Answers the admin listener.
    pub async fn answer<B>(&self, request: &Request<B>) -> Response<Bytes> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "only GET is known here\n".to_owned());
        }
        match request.uri().path() {
            "/healthz" => plain(StatusCode::OK, "application/json", json!({ "status": "ok" }).to_string()),
            "/readyz" => {
                let readiness = self.readiness().await;
                let (status, word) =
                    if readiness.ready() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
                let snapshot = self.enroller.snapshot();
                let body = json!({
                    "status": word, "generation": snapshot.generation, "reasons": readiness.reasons, "notes": readiness.notes,
                    "upstreams": self.enroller.upstreams(),
                });
                plain(status, "application/json", body.to_string())
            }
            "/metrics" => {
                plain(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", self.scrape().await)
            }
            _ => {
                let text = "here are /healthz, /readyz and /metrics\n".to_owned();
                plain(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text)
            }
        }
    }
}

fn plain(status: StatusCode, kind: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
