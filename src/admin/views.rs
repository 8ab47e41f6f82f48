//! How things look in JSON.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::algorithm::{AlgorithmProfile, Family, SignatureAlgorithm, size};
use crate::crypto::backend;
use crate::inventory::{CertificateRecord, Challenge, Transaction};
use crate::policy::{ChallengePolicy, DeviceGroup};
use crate::snapshot::Snapshot;

/// A challenge without its secret.
pub fn challenge(row: &Challenge, now: Timestamp) -> Value {
    let state = match row {
        Challenge { redeemed_by: Some(_), .. } => "spent",
        Challenge { revoked_at: Some(_), .. } => "revoked",
        Challenge { expires_at, .. } if *expires_at <= now => "expired",
        _ => "outstanding",
    };
    json!({
        "id": row.id, "group": row.group, "state": state, "bind": row.bind, "note": row.note, "created_by": row.created_by,
        "created_at": row.created_at, "expires_at": row.expires_at, "redeemed_by": row.redeemed_by,
        "redeemed_at": row.redeemed_at, "revoked_at": row.revoked_at,
    })
}

/// A transaction.
pub fn transaction(row: &Transaction) -> Value {
    let order: Option<Value> = row.order.as_deref().and_then(|order| serde_json::from_str(order).ok());
    json!({
        "id": row.id, "state": row.state, "endpoint": row.key.endpoint, "wire_id": row.key.wire_id, "protocol": row.protocol,
        "group": row.group, "subject": row.subject, "source": row.source, "received_at": row.received_at,
        "updated_at": row.updated_at, "rejection": row.rejection, "detail": row.detail, "snapshot": row.snapshot,
        "certificate": row.certificate.map(hex::encode), "renews": row.key.renews.map(hex::encode),
        "rule": order.as_ref().map(|order| order["rule"].clone()), "profile": order.as_ref().map(|order| order["profile"].clone()),
        "device": order.as_ref().map(|order| order["device"].clone()),
    })
}

/// A certificate, without its bytes.
pub fn certificate(row: &CertificateRecord, now: Timestamp) -> Value {
    use crate::inventory::CertificateStatus;
    let status = match row.status {
        CertificateStatus::Valid if row.not_after <= now => "expired",
        status => status.name(),
    };
    let serial = hex::encode(&row.serial);
    json!({
        "serial": serial.strip_prefix("00").unwrap_or(&serial), "fingerprint": hex::encode(row.fingerprint),
        "subject": row.subject, "common_name": row.common_name, "subject_alt_names": row.subject_alt_names,
        "issuer": row.issuer_text, "not_before": row.not_before, "not_after": row.not_after,
        "key_algorithm": row.key_algorithm, "signature_algorithm": row.signature_algorithm, "status": status,
        "revoked_at": row.revoked_at, "revocation_reason": row.revocation_reason, "group": row.group, "profile": row.profile,
        "upstream": row.upstream, "ca": row.ca, "device": row.device, "transaction": row.transaction,
        "authenticated_by": row.authenticated_by, "source": row.source, "renews": row.renews.map(hex::encode),
        "sibling_of": row.sibling_of.map(hex::encode), "set_aside": row.set_aside, "issued_at": row.issued_at,
    })
}

/// A device group, with the endpoints that lead to it.
pub fn group(group: &DeviceGroup, snapshot: &Snapshot) -> Value {
    let endpoints: Vec<&str> = snapshot
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.groups.iter().any(|member| member.name == group.name))
        .map(|endpoint| endpoint.path.as_str())
        .collect();
    let challenges: Vec<String> = group
        .challenges
        .iter()
        .map(|way| match way {
            ChallengePolicy::OneTime { ttl, bind } if bind.is_empty() => format!("one-time for {}", span(*ttl)),
            ChallengePolicy::OneTime { ttl, bind } => format!("one-time for {}, bound to {}", span(*ttl), bind.join(" and ")),
            ChallengePolicy::Shared(_) => "shared".to_owned(),
        })
        .collect();
    json!({
        "name": group.name, "description": group.description, "priority": group.priority, "profile": group.profile,
        "rollout": group.rollout.as_ref().map(|plan| json!({
            "candidate": plan.candidate, "devices": plan.devices.iter().map(|one| one.text()).collect::<Vec<_>>(),
        })),
        "deadline": group.deadline.as_ref().map(|deadline| json!({
            "from": deadline.from, "exceptions": deadline.exceptions.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })),
        "shadow": group.shadow, "endpoints": endpoints, "device": group.device, "challenge": challenges,
        "renewal": group.renewal.as_ref().map(|renewal| json!({
            "own": renewal.own,
            "earlier": renewal.earlier.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            "window": renewal.window.map(span), "grace": span(renewal.grace),
        })),
        "approval": group.approval, "per_device": group.per_device.map(|limit| format!("{}/{}", limit.count, span(limit.period))),
    })
}

/// An algorithm profile, with how large things get under it.
pub fn profile(profile: &AlgorithmProfile, snapshot: &Snapshot) -> Value {
    let on = |name: &str| name == profile.name;
    let groups: Vec<&str> =
        snapshot.groups.values().filter(|group| on(&group.profile)).map(|group| group.name.as_str()).collect();
    let candidate_of: Vec<&str> = snapshot
        .groups
        .values()
        .filter(|group| !on(&group.profile) && group.profiles().any(on))
        .map(|group| group.name.as_str())
        .collect();
    let fallback_of: Vec<&str> = snapshot
        .profiles
        .values()
        .filter(|other| other.fallback.as_deref().is_some_and(on))
        .map(|other| other.name.as_str())
        .collect();
    let strength = |algorithm: SignatureAlgorithm| match algorithm.nist_level() {
        Some(level) => json!(level),
        None => Value::Null,
    };
    let (smallest, largest) = profile.certificate_lens();
    let extensions = &profile.extensions;
    let signatures = [Some(profile.signature), profile.alternative].into_iter().flatten();
    let by_backend: Map<_, _> =
        signatures.map(|signature| (signature.name().to_owned(), json!(backend::installed().of(signature.family())))).collect();
    json!({
        "name": profile.name, "description": profile.description,
        "accepts": profile.accepts.iter().map(ToString::to_string).collect::<Vec<_>>(), "form": profile.form,
        "signature": profile.signature, "alternative": profile.alternative, "backend": by_backend,
        "issuer": profile.issuer.to_string(),
        "failover": profile.failover.iter().map(ToString::to_string).collect::<Vec<_>>(), "spread": profile.spread,
        "alternative_issuer": profile.alternative_issuer.as_ref().map(ToString::to_string),
        "post_quantum": profile.is_post_quantum(), "nist_level": strength(profile.alternative.unwrap_or(profile.signature)),
        "signature_octets": profile.signature.typical_len(),
        "alternative_octets": profile.alternative.map(SignatureAlgorithm::typical_len),
        "certificate_octets": [smallest, largest],
        "reply_octets": [size::reply_len(smallest, 0), size::reply_len(largest, 0)],
        "validity": span(profile.validity), "max_reply": profile.max_reply, "fallback": profile.fallback,
        "key_usage": profile.key_usage,
        "extensions": if extensions.is_empty() { Value::Null } else { json!(extensions) },
        "groups": groups, "candidate_of": candidate_of, "fallback_of": fallback_of,
    })
}

/// Which cryptography backend serves which family of algorithms.
pub fn backends() -> Value {
    let installed = backend::installed();
    Family::ALL.iter().map(|family| (family.name().to_owned(), json!(installed.of(*family)))).collect::<Map<_, _>>().into()
}

/// A time span as configuration writes it, in its largest whole unit.
pub fn span(span: std::time::Duration) -> String {
    let seconds = span.as_secs();
    for (unit, length) in [("y", 365 * 86_400), ("d", 86_400), ("h", 3600), ("m", 60)] {
        if seconds >= length && seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

/// Reads a time span such as `90s`, `15m`, `24h`, `30d`, `1y`; a bare number is seconds.
pub fn parse_span(text: &str) -> Option<std::time::Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "y" => 365 * 86_400,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit).map(std::time::Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("24h", 86_400), ("30d", 30 * 86_400), ("1y", 365 * 86_400), ("7", 7)]
        {
            assert_eq!(parse_span(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_span("1 fortnight"), None);
        assert_eq!(parse_span("99999999999999999999y"), None);
        assert_eq!(span(Duration::from_secs(86_400)), "1d");
        assert_eq!(span(Duration::from_secs(90)), "90s");
    }
}
