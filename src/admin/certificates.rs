//! `/v1/certificates`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::control::{Call, Control, Handled};
use super::{Problem, views};
use crate::inventory::{CertificateRecord, CertificateSearch};
use crate::x509::Certificate;
use crate::x509::crl::RevocationReason;

/// The most certificates that one answer holds.
const MOST: usize = 1000;

pub(super) async fn search(control: &Control, call: &Call) -> Handled {
    let known = [
        "text",
        "group",
        "profile",
        "device",
        "status",
        "expires_before",
        "expires_after",
        "issued_after",
        "signature_algorithm",
        "key_algorithm",
        "siblings",
        "limit",
        "offset",
    ];
    if let Some(name) = call.query.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(Problem::bad_request(format!("unknown parameter {name:?}; known are {}", known.join(", "))));
    }
    let search = CertificateSearch {
        text: call.parameter("text")?,
        group: call.parameter("group")?,
        profile: call.parameter("profile")?,
        device: call.parameter("device")?,
        status: call.parameter("status")?,
        expires_before: call.parameter("expires_before")?,
        expires_after: call.parameter("expires_after")?,
        issued_after: call.parameter("issued_after")?,
        signature_algorithm: call.parameter("signature_algorithm")?,
        key_algorithm: call.parameter("key_algorithm")?,
        siblings: call.parameter("siblings")?,
        limit: call.parameter::<usize>("limit")?.unwrap_or(100).min(MOST),
        offset: call.parameter("offset")?.unwrap_or(0),
    };
    let now = control.enroller.now();
    let rows = control.inventory().certificates(&search).await?;
    Ok(json!({ "certificates": rows.iter().map(|row| views::certificate(row, now)).collect::<Vec<_>>() }))
}

pub(super) async fn show(control: &Control, id: &str) -> Handled {
    let row = find(control, id).await?;
    let mut view = views::certificate(&row, control.enroller.now());
    view["der"] = json!(BASE64_STANDARD.encode(&row.der));
    if let Ok(certificate) = Certificate::from_der(&row.der) {
        view["pem"] = json!(certificate.to_pem());
        view["alternative_signature_algorithm"] = json!(certificate.alternative_signature_algorithm());
    }
    if let Some(sibling) = control.inventory().sibling(&row.fingerprint).await? {
        view["sibling"] = views::certificate(&sibling, control.enroller.now());
    }
    Ok(view)
}

/// What `revoke` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    reason: RevocationReason,
}

pub(super) async fn revoke(control: &Control, call: &Call, id: &str) -> Handled {
    let Revoke { reason } = call.json()?;
    let row = find(control, id).await?;
    if !control.enroller.revoke(&row, reason, &call.operator).await? {
        return Err(Problem::new(StatusCode::CONFLICT, "already-revoked", format!("certificate {id} is revoked already")));
    }
    let row = control.inventory().certificate(&row.fingerprint).await?.unwrap_or(row);
    Ok(views::certificate(&row, control.enroller.now()))
}

async fn find(control: &Control, id: &str) -> Result<CertificateRecord, Problem> {
    if id.len() < 4 {
        return Err(Problem::bad_request("give at least four digits of the serial or fingerprint"));
    }
    Ok(control.enroller.find_certificate(id).await?)
}
