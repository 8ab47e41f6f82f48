//! The layers around the SCEP service that tower does not bring.

use std::any::Any;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use tower::BoxError;
use tower_http::body::UnsyncBoxBody;

use crate::enroll::Peer;

mod crls;
mod per_source;
mod read_body;
mod refuse;

pub use crls::CrlsLayer;
pub use per_source::{PerSourceLayer, TooOften};
pub use read_body::{BodyError, ReadBodyLayer};
pub use refuse::RefuseLayer;

/// The body of what goes out.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The span of a request. The target is left out: with GET it holds the whole message.
pub fn span<B>(request: &Request<B>) -> tracing::Span {
    let peer = request.extensions().get::<Peer>().map(Peer::ip);
    tracing::debug_span!("request", method = %request.method(), path = request.uri().path(), peer = ?peer)
}

/// The answer to a request whose handling panicked.
pub fn panicked(_panic: Box<dyn Any + Send + 'static>) -> Response<Full<Bytes>> {
    tracing::error!("A request was given up because of a bug; please report it with the message of the panic above.");
    polite(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
}

/// A short answer in plain text.
pub fn polite(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
