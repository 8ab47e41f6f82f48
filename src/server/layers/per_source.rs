//! Limits how often one source address may ask: a token bucket each.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Request;
use tower::{BoxError, Layer, Service};

use crate::enroll::Peer;

/// How many addresses are remembered at a time. Full buckets are forgotten first, so who asks rarely costs nothing.
const REMEMBERED: usize = 65_536;

/// The source has asked too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests from one address")]
pub struct TooOften {
    /// When it may ask again.
    pub retry_after: Duration,
}

/// Limits requests per second and source.
#[derive(Clone)]
pub struct PerSourceLayer {
    buckets: Option<Arc<Buckets>>,
}

impl PerSourceLayer {
    /// Lets `(rate, burst)` requests through: `rate` a second, `burst` at once. `None` lets all through.
    pub fn new(limit: Option<(u32, u32)>) -> Self {
        Self { buckets: limit.map(|(rate, burst)| Arc::new(Buckets::new(rate, burst))) }
    }
}

impl<S> Layer<S> for PerSourceLayer {
    type Service = PerSource<S>;

    fn layer(&self, inner: S) -> PerSource<S> {
        PerSource { inner, buckets: self.buckets.clone() }
    }
}

/// The service of [`PerSourceLayer`].
#[derive(Clone)]
pub struct PerSource<S> {
    inner: S,
    buckets: Option<Arc<Buckets>>,
}

impl<S, B> Service<Request<B>> for PerSource<S>
where
    S: Service<Request<B>, Error = BoxError>,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(buckets) = &self.buckets
            && let Some(peer) = request.extensions().get::<Peer>()
            && let Err(refused) = buckets.take(peer.ip(), Instant::now())
        {
            return Box::pin(async move { Err(refused.into()) });
        }
        Box::pin(self.inner.call(request))
    }
}

/// The buckets of all sources.
struct Buckets {
    /// Requests a second.
    rate: f64,
    /// Requests at once.
    burst: f64,
    known: Mutex<HashMap<IpAddr, Bucket>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Buckets {
    fn new(rate: u32, burst: u32) -> Self {
        Self { rate: f64::from(rate.max(1)), burst: f64::from(burst.max(1)), known: Mutex::new(HashMap::new()) }
    }

    fn take(&self, source: IpAddr, now: Instant) -> Result<(), TooOften> {
        let mut known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if known.len() >= REMEMBERED {
            known.retain(|_, bucket| self.filled(bucket, now) < self.burst);
            if known.len() >= REMEMBERED {
                // More busy sources than can be told apart: start anew rather than grow or refuse everybody.
                known.clear();
            }
        }
        let bucket = known.entry(network(source)).or_insert(Bucket { tokens: self.burst, at: now });
        let tokens = self.filled(bucket, now);
        bucket.at = now;
        if tokens >= 1.0 {
            bucket.tokens = tokens - 1.0;
            Ok(())
        } else {
            bucket.tokens = tokens;
            Err(TooOften { retry_after: Duration::from_secs_f64((1.0 - tokens) / self.rate) })
        }
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.rate;
        (bucket.tokens + gained).min(self.burst)
    }
}

/// An IPv6 host has a whole /64 to itself, so that is what counts as one source.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => {
            let s = address.segments();
            IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;
    use tower_test::mock;

    use super::*;

    #[test]
    fn a_bucket_empties_and_fills() {
        let buckets = Buckets::new(2, 3);
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let start = Instant::now();
        for _ in 0..3 {
            buckets.take(a, start).unwrap();
        }
        assert_eq!(buckets.take(a, start).unwrap_err().retry_after, Duration::from_millis(500));
        buckets.take(b, start).unwrap();
        buckets.take(a, start + Duration::from_millis(500)).unwrap();
        assert!(buckets.take(a, start + Duration::from_millis(600)).is_err());
    }

    #[test]
    fn ipv6_hosts_count_by_network_and_memory_is_bounded() {
        let buckets = Buckets::new(1, 1);
        let now = Instant::now();
        buckets.take("2001:db8::1".parse().unwrap(), now).unwrap();
        assert!(buckets.take("2001:db8::2".parse().unwrap(), now).is_err());
        for n in 0..(REMEMBERED as u32 + 10) {
            let _ = buckets.take(IpAddr::V4(n.into()), now);
        }
        assert!(buckets.known.lock().unwrap().len() <= REMEMBERED);
    }

    #[tokio::test]
    async fn a_source_that_asks_too_often_does_not_get_through() {
        let (inner, mut handle) = mock::pair::<Request<()>, ()>();
        let mut service = PerSourceLayer::new(Some((1, 1))).layer(inner);
        let request = || {
            let mut request = Request::new(());
            request.extensions_mut().insert(Peer { address: "192.0.2.1:5".parse().unwrap(), tls: false });
            request
        };
        handle.allow(2);
        let first = service.ready().await.unwrap().call(request());
        let (_, respond) = handle.next_request().await.unwrap();
        respond.send_response(());
        first.await.unwrap();
        let error = service.ready().await.unwrap().call(request()).await.unwrap_err();
        assert!(error.is::<TooOften>());
    }
}
