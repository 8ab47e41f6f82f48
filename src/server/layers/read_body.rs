//! Reads the whole body, up to a size and within a time, before the request goes on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use tower::{BoxError, Layer, Service, ServiceExt};

/// The body did not come as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than allowed.
    #[error("the body is too large")]
    TooLarge,
    /// It took too long.
    #[error("the body took too long")]
    TooSlow,
    /// The client went away, or broke HTTP's rules.
    #[error("the body broke off")]
    Broken,
}

/// Reads bodies.
#[derive(Clone, Copy, Debug)]
pub struct ReadBodyLayer {
    limit: usize,
    patience: Duration,
}

impl ReadBodyLayer {
    /// Takes bodies of up to `limit` octets that come within `patience`.
    pub fn new(limit: usize, patience: Duration) -> Self {
        Self { limit, patience }
    }
}

impl<S> Layer<S> for ReadBodyLayer {
    type Service = ReadBody<S>;

    fn layer(&self, inner: S) -> ReadBody<S> {
        ReadBody { inner, settings: *self }
    }
}

/// The service of [`ReadBodyLayer`].
#[derive(Clone, Debug)]
pub struct ReadBody<S> {
    inner: S,
    settings: ReadBodyLayer,
}

impl<S, B> Service<Request<B>> for ReadBody<S>
where
    S: Service<Request<Full<Bytes>>, Error = BoxError> + Clone + Send + 'static,
    S::Response: Send,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The inner service is asked once the body is there: a place in it must not be held by a slow sender.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = self.inner.clone();
        let ReadBodyLayer { limit, patience } = self.settings;
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let bytes = if body.is_end_stream() { Bytes::new() } else { read(body, limit, patience).await? };
            inner.oneshot(Request::from_parts(head, Full::new(bytes))).await
        })
    }
}

async fn read<B>(body: B, limit: usize, patience: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    // What says its own length is not even begun.
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge);
    }
    match tokio::time::timeout(patience, Limited::new(body, limit).collect()).await {
        Err(_) => Err(BodyError::TooSlow),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that never comes.
    struct Never;

    impl Body for Never {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_given_up() {
        assert_eq!(read(Never, 10, Duration::from_secs(20)).await, Err(BodyError::TooSlow));
    }

    #[tokio::test]
    async fn size_is_limited() {
        let body = || Full::new(Bytes::from_static(b"12345"));
        assert_eq!(read(body(), 5, Duration::from_secs(1)).await.unwrap(), "12345");
        assert_eq!(read(body(), 4, Duration::from_secs(1)).await, Err(BodyError::TooLarge));
    }

    #[tokio::test]
    async fn the_body_comes_through() {
        let inner = tower::service_fn(|request: Request<Full<Bytes>>| async move {
            Ok::<_, BoxError>(request.into_body().collect().await?.to_bytes())
        });
        let service = ReadBodyLayer::new(100, Duration::from_secs(1)).layer(inner);
        let answer = service.oneshot(Request::new(Full::new(Bytes::from_static(b"hello")))).await.unwrap();
        assert_eq!(answer, "hello");
    }
}
