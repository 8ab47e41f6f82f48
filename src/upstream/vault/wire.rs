//! What OpenBao and Vault answer, and what their statuses mean.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;

use crate::upstream::IssuanceOrder;
use crate::upstream::http::Answer;
use crate::upstream::remote::CallError;
use crate::x509::Certificate;

/// Around what an engine answers.
#[derive(Deserialize)]
pub(super) struct Data<T> {
    pub(super) data: T,
}

#[derive(Deserialize)]
struct Issued {
    certificate: String,
    #[serde(default)]
    issuing_ca: Option<String>,
    #[serde(default)]
    ca_chain: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Issuer {
    certificate: String,
    #[serde(default)]
    ca_chain: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// What a standby node says that knows no active one to hand the request on to: nothing was done with it.
const NO_ACTIVE_NODE: &str = "local node not active but active cluster node not found";

/// How an engine's own failure begins, which may have come after it had signed.
const OF_AN_ENGINE: &str = "error occurred";

pub(super) fn unclear(what: impl std::fmt::Display) -> CallError {
    CallError::Unclear(format!("the answer makes no sense: {what}"))
}

fn certificate(pem: &str) -> Result<Arc<Certificate>, CallError> {
    Certificate::from_pem(pem).map(Arc::new).map_err(unclear)
}

/// The certificate that was issued, and those above it.
pub(super) fn issued(body: &[u8], order: &IssuanceOrder) -> Result<(Arc<Certificate>, Vec<Arc<Certificate>>), CallError> {
    let Data::<Issued> { data } = serde_json::from_slice(body).map_err(unclear)?;
    let leaf = certificate(&data.certificate)?;
    if leaf.spki() != order.spki {
        return Err(unclear("the certificate is for another key"));
    }
    let chain = data.ca_chain.filter(|chain| !chain.is_empty()).unwrap_or_else(|| data.issuing_ca.into_iter().collect());
    let chain = chain.iter().map(|pem| certificate(pem)).collect::<Result<_, _>>()?;
    Ok((leaf, chain))
}

/// The certificates of an issuer.
pub(super) fn issuer(body: &[u8]) -> Result<Vec<Arc<Certificate>>, CallError> {
    let Data::<Issuer> { data } = serde_json::from_slice(body).map_err(unclear)?;
    let mut all = vec![certificate(&data.certificate)?];
    for pem in data.ca_chain.unwrap_or_default() {
        let one = certificate(&pem)?;
        if all.iter().all(|known| known.der() != one.der()) {
            all.push(one);
        }
    }
    Ok(all)
}

/// The answer if all went well; otherwise what its status means.
pub(super) fn success(answer: Answer) -> Result<Answer, CallError> {
    let said = said(&answer);
    let is_its_own = serde_json::from_slice::<Errors>(&answer.body).is_ok();
    match answer.status {
        // At the door: sealed, overloaded.
        StatusCode::SERVICE_UNAVAILABLE if is_its_own && !said.contains(OF_AN_ENGINE) => {
            Err(CallError::NotTaken { reason: said, after: answer.retry_after() })
        }
        // Nobody is there who could have issued: a mount that is named wrongly, or something else before it.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            Err(CallError::not_taken(format!("{said}: look at `url`, `mount`, `issuer` and `role`")))
        }
        // A standby node that hands nothing on says where the active one is.
        StatusCode::TEMPORARY_REDIRECT => {
            Err(CallError::not_taken(format!("{said}: this node stands by; name the active one, or what stands before them all")))
        }
        // The node has not yet seen what it would need to have seen.
        StatusCode::PRECONDITION_FAILED => Err(CallError::NotTaken { reason: said, after: answer.retry_after() }),
        StatusCode::INTERNAL_SERVER_ERROR if said.contains(NO_ACTIVE_NODE) => Err(CallError::not_taken(said)),
        _ => answer.success().map_err(|error| match error {
            CallError::NotTaken { after, .. } => CallError::NotTaken { reason: said, after },
            CallError::Unclear(_) => CallError::Unclear(said),
            CallError::Refused(_) if is_its_own => CallError::Refused(said),
            CallError::Refused(_) => CallError::not_taken(format!("what answers is neither OpenBao nor Vault: {said}")),
        }),
    }
}

/// What an answer says is wrong, for people.
pub(super) fn said(answer: &Answer) -> String {
    let text = match serde_json::from_slice::<Errors>(&answer.body) {
        Ok(errors) => Answer { body: Bytes::from(errors.errors.join("; ")), ..answer.clone() }.excerpt(),
        Err(_) => answer.excerpt(),
    };
    match text.is_empty() {
        true => answer.status.to_string(),
        false => format!("{}: {text}", answer.status),
    }
}
