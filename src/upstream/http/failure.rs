//! What went wrong, in words for who has to mend it; and whether the CA can have heard of the request.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

use super::connect::NoConnection;
use super::tls::{Refused, Shown};
use crate::upstream::remote::CallError;

/// An error with what caused it; the outer ones of HTTP clients say little by themselves.
pub(super) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in causes(error).skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// An error and what caused it; also what an [`io::Error`] wraps, which it does not call its source.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |outer| {
        let error: &'a (dyn Error + 'static) = *outer;
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
    })
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref::<E>())
}

/// Why a request was not answered. `is_tls13` says so of the connection that it was given to.
pub(super) fn of_exchange(error: &hyper_util::client::legacy::Error, is_tls13: bool) -> CallError {
    if let Some(NoConnection(why)) = find::<NoConnection>(error) {
        return CallError::not_taken(why);
    }
    let told = with_causes(error);
    // A connection that ended before the request was begun.
    if error.is_connect() || told.starts_with(UNSTARTED) {
        return CallError::not_taken(told);
    }
    if find::<h2::Error>(error).is_some_and(was_not_processed) {
        return CallError::not_taken(told);
    }
    // In TLS 1.3 a server looks at our certificate when the handshake is over on our side. If it does not take it, it has read no
    // request; and we let nobody ask for a certificate later.
    match find::<rustls::Error>(error) {
        Some(rustls::Error::AlertReceived(alert)) if is_tls13 && is_about_us(*alert) => {
            CallError::not_taken(format!("the server does not take our TLS client certificate: {}", alert_name(*alert)))
        }
        _ => CallError::Unclear(of_broken(error)),
    }
}

/// Whether the server says that it did nothing with a stream: it refuses the stream (RFC 9113 section 8.7), or goes away in peace, and
/// names an earlier stream as the last one that it looks at (section 6.8). Streams up to that one end otherwise, if they end.
fn was_not_processed(error: &h2::Error) -> bool {
    let says = |reason| error.reason() == Some(reason);
    says(h2::Reason::REFUSED_STREAM) || (error.is_go_away() && error.is_remote() && says(h2::Reason::NO_ERROR))
}

/// What became of a connection over which a request was sent.
pub(super) fn of_broken(error: &(dyn Error + 'static)) -> String {
    match is_end(error) {
        true => "the connection ended before the answer was there".to_owned(),
        false => with_causes(error),
    }
}

/// Whether the connection ended.
pub(super) fn is_end(error: &(dyn Error + 'static)) -> bool {
    let ended = |error: &io::Error| matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
    let is_incomplete = find::<hyper::Error>(error).is_some_and(hyper::Error::is_incomplete_message);
    is_incomplete || causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(ended)
}

/// What the HTTP client calls a request that it hands back: nothing of it went over the connection that it was meant for.
pub(super) const UNSTARTED: &str = "client error (Canceled)";

/// Why a TLS handshake failed.
pub(super) fn of_handshake(error: &io::Error, shown: &Shown) -> String {
    match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => match find::<Refused>(&*other.0) {
            Some(refused) => refused.to_string(),
            None => with_causes(error),
        },
        Some(rustls::Error::AlertReceived(alert)) if is_about_us(*alert) => {
            let name = alert_name(*alert);
            match (shown.was_asked(), shown.is_shown()) {
                (_, true) => format!("the server does not take our TLS client certificate: {name}"),
                (true, false) => {
                    format!("the server wants a TLS client certificate, and `client-certificate` is not set: {name}")
                }
                (false, false) => format!("the server ended the TLS handshake: {name}"),
            }
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("what answers there is no TLS server, or it stands behind one that speaks plain HTTP: {}", with_causes(error))
        }
        Some(_) => format!("TLS: {}", with_causes(error)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "the server ended the connection within the TLS handshake".into(),
        None => format!("the connection broke within the TLS handshake: {}", with_causes(error)),
    }
}

/// Whether an alert says that the server does not let us in.
fn is_about_us(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::CertificateRequired
    )
}

fn alert_name(alert: AlertDescription) -> String {
    format!("alert {alert:?}")
}
