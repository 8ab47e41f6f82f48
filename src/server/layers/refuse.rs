//! Turns what the layers below refuse into polite answers.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tower::load_shed::error::Overloaded;
use tower::{BoxError, Layer, Service};

use super::{BodyError, TooOften, polite};
use crate::telemetry::Metrics;

/// Turns errors into responses: above this layer nothing fails.
#[derive(Clone)]
pub struct RefuseLayer {
    metrics: Arc<Metrics>,
}

impl RefuseLayer {
    /// A layer that counts what it turns away.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for RefuseLayer {
    type Service = Refuse<S>;

    fn layer(&self, inner: S) -> Refuse<S> {
        Refuse { inner, metrics: Arc::clone(&self.metrics) }
    }
}

/// The service of [`RefuseLayer`].
#[derive(Clone)]
pub struct Refuse<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, R> Service<R> for Refuse<S>
where
    S: Service<R, Response = Response<Full<Bytes>>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The layers below are ready at all times, or shed: an error here would be one of theirs at the next call.
        match self.inner.poll_ready(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: R) -> Self::Future {
        let answer = self.inner.call(request);
        let metrics = Arc::clone(&self.metrics);
        Box::pin(async move { Ok(answer.await.unwrap_or_else(|error| refusal(&error, &metrics))) })
    }
}

fn refusal(error: &BoxError, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (mut response, reason, retry, close) = if error.is::<Overloaded>() {
        (polite(StatusCode::SERVICE_UNAVAILABLE, "busy, please come again\n"), "requests", Some("5"), false)
    } else if let Some(TooOften { retry_after }) = error.downcast_ref() {
        let seconds = retry_after.as_secs().max(1);
        let mut response = polite(StatusCode::TOO_MANY_REQUESTS, "too many requests from this address\n");
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        (response, "source", None, false)
    } else {
        match error.downcast_ref() {
            Some(BodyError::TooLarge) => {
                (polite(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n"), "large", None, true)
            }
            Some(BodyError::TooSlow) => {
                (polite(StatusCode::REQUEST_TIMEOUT, "the request took too long to arrive\n"), "slow", None, true)
            }
            Some(BodyError::Broken) => (polite(StatusCode::BAD_REQUEST, "the request broke off\n"), "broken", None, true),
            None => {
                tracing::error!("A request failed: {error}.");
                (polite(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"), "failed", None, false)
            }
        }
    };
    metrics.shed(reason);
    if let Some(seconds) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    if close {
        // What is left of the body is not worth reading.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tower::ServiceExt;
    use tower_test::mock;

    use super::*;

    async fn answer_to(error: BoxError) -> Response<Full<Bytes>> {
        let (inner, mut handle) = mock::pair::<(), Response<Full<Bytes>>>();
        let metrics = Arc::new(Metrics::default());
        let service = RefuseLayer::new(metrics).layer(inner);
        let asked = tokio::spawn(service.oneshot(()));
        let (_, respond) = handle.next_request().await.expect("the request comes through");
        respond.send_error(error);
        asked.await.expect("no panic").expect("infallible")
    }

    #[tokio::test]
    async fn every_refusal_has_its_status() {
        let busy = answer_to(Box::new(Overloaded::new())).await;
        assert_eq!((busy.status().as_u16(), &busy.headers()[header::RETRY_AFTER]), (503, &HeaderValue::from_static("5")));
        let often = answer_to(Box::new(TooOften { retry_after: Duration::from_millis(1) })).await;
        assert_eq!((often.status().as_u16(), &often.headers()[header::RETRY_AFTER]), (429, &HeaderValue::from_static("1")));
        for (error, status) in [(BodyError::TooLarge, 413), (BodyError::TooSlow, 408), (BodyError::Broken, 400)] {
            let response = answer_to(Box::new(error)).await;
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()[header::CONNECTION], "close");
        }
        assert_eq!(answer_to("a bug".into()).await.status().as_u16(), 500);
    }
}
