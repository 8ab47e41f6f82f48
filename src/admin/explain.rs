//! `/v1/explain`: what would happen to a request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use serde_json::json;

use super::Problem;
use super::control::{Call, Control, Handled};
use crate::crypto::CryptoError;
use crate::enroll::{EnrollmentRequest, Intent, Outcome, Peer, Reply};
use crate::policy::Endpoint;
use crate::snapshot::Snapshot;
use crate::x509::{VerifiedCsr, X509Error};

/// Opens a message of a front end's wire, as the front end itself would: the control room does not know any wire.
#[async_trait]
pub trait OpenMessage: Send + Sync {
    /// The request in the message; the reason if there is none.
    async fn open(
        &self,
        message: Vec<u8>,
        snapshot: Arc<Snapshot>,
        endpoint: Arc<Endpoint>,
        peer: Peer,
    ) -> Result<EnrollmentRequest, String>;
}

pub(super) async fn explain(control: &Control, call: &Call) -> Handled {
    let snapshot = control.enroller.snapshot();
    let source = call.parameter::<IpAddr>("source")?.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let peer = Peer { address: SocketAddr::new(source, 0), tls: false };
    let endpoint = endpoint(&snapshot, call, source)?;
    let (request, bare) = match read_csr(&call.body) {
        Ok(csr) => (bare_request(&snapshot, &endpoint, peer, csr, control.enroller.now()), true),
        Err(not_a_csr) => {
            let opened = control.messages.open(call.body.to_vec(), snapshot, endpoint, peer).await;
            let request = opened.map_err(|why| {
                let detail =
                    format!("not a certification request ({not_a_csr}), and not a SCEP message for this endpoint ({why})");
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable", detail)
            })?;
            (request, false)
        }
    };
    Ok(json!(control.enroller.explain(&request, bare).await?))
}

/// The endpoint that was named, by name or path; that of the group that was named; else the default one, or the only one.
fn endpoint(snapshot: &Arc<Snapshot>, call: &Call, source: IpAddr) -> Result<Arc<Endpoint>, Problem> {
    let group = call.query.get("group");
    if let Some(group) = group
        && !snapshot.groups.contains_key(group)
    {
        let known = snapshot.groups.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(Problem::not_found("unknown-group", format!("there is no group {group:?}; known are {known}")));
    }
    let known = || snapshot.endpoints.iter().map(|endpoint| endpoint.path.as_str()).collect::<Vec<_>>().join(", ");
    let found = match call.query.get("endpoint") {
        Some(name) => snapshot
            .endpoints
            .iter()
            .find(|endpoint| endpoint.name == *name)
            .or_else(|| snapshot.endpoint(None, name, source))
            .ok_or_else(|| {
                Problem::not_found("unknown-endpoint", format!("no endpoint {name:?} answers {source}; known are {}", known()))
            })?,
        None => match group {
            Some(group) => snapshot
                .endpoints
                .iter()
                .find(|endpoint| matches!(endpoint.groups.as_slice(), [only] if only.name == *group))
                .or_else(|| snapshot.endpoints.iter().find(|e| e.groups.iter().any(|member| member.name == *group))),
            None => match snapshot.endpoints.as_slice() {
                [only] => Some(only),
                several => several.iter().find(|endpoint| endpoint.default),
            },
        }
        .ok_or_else(|| Problem::bad_request(format!("say which endpoint it would come to; known are {}", known())))?,
    };
    Ok(Arc::clone(found))
}

fn read_csr(bytes: &[u8]) -> Result<VerifiedCsr, X509Error> {
    let der = match std::str::from_utf8(bytes) {
        Ok(text) if text.contains("-----BEGIN") => pem_body(text),
        _ => None,
    };
    VerifiedCsr::from_der(der.as_deref().unwrap_or(bytes))
}

/// The first PEM block, whatever its label: OpenSSL and Windows disagree about it.
fn pem_body(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    let inner = text.split_once("-----BEGIN")?.1.split_once("-----")?.1.split_once("-----END")?.0;
    let compact: String = inner.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    base64::prelude::BASE64_STANDARD.decode(compact).ok()
}

/// A request as if it had come in an envelope whose reply can be delivered. Nobody looks at its signer, because the credential is
/// assumed.
fn bare_request(
    snapshot: &Arc<Snapshot>,
    endpoint: &Arc<Endpoint>,
    peer: Peer,
    csr: VerifiedCsr,
    now: jiff::Timestamp,
) -> EnrollmentRequest {
    EnrollmentRequest {
        snapshot: Arc::clone(snapshot),
        endpoint: Arc::clone(endpoint),
        protocol: "explain",
        peer,
        received_at: now,
        wire_id: String::new(),
        message: [0; 32],
        intent: Intent::Initial,
        csr: Arc::new(csr),
        signer: Arc::clone(&snapshot.ra.signer_certificate),
        challenge: None,
        reply: Arc::new(NoReply),
    }
}

/// The reply to a request that nobody made.
struct NoReply;

impl Reply for NoReply {
    fn deliverable(&self) -> Result<(), String> {
        Ok(())
    }

    fn needs_challenge(&self) -> bool {
        false
    }

    fn encode(&self, _outcome: &Outcome) -> Result<Vec<u8>, CryptoError> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_pem_label_will_do() {
        let pem = "junk\n-----BEGIN NEW CERTIFICATE REQUEST-----\nAQID\nBA==\n-----END NEW CERTIFICATE REQUEST-----\n";
        assert_eq!(pem_body(pem), Some(vec![1, 2, 3, 4]));
        assert_eq!(pem_body("-----BEGIN X-----\n"), None);
    }
}
