//! Rows of about the size that real enrollments have.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use ravelin::inventory::{
    Attempt, AttemptId, AttemptResult, AttemptState, AuditEvent, CertificateRecord, CertificateStatus, Challenge, Conclusion,
    NewTransaction, Transaction, TransactionId, TransactionKey, TransactionState,
};

/// 32 octets that look like a digest, from an identifier and a purpose.
pub fn digest_of(id: TransactionId, purpose: u8) -> [u8; 32] {
    let mut text = id.0.as_bytes().to_vec();
    text.push(purpose);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    digest.as_ref().try_into().expect("SHA-256 has 32 octets")
}

pub fn event(name: &str, id: TransactionId) -> AuditEvent {
    let fields = [("group", "branch-routers"), ("profile", "ecdsa-p256"), ("subject", "CN=router-1,O=Example")];
    AuditEvent {
        at: Timestamp::now(),
        event: name.to_owned(),
        actor: "device".to_owned(),
        object: id.to_string(),
        fields: fields.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect(),
    }
}

/// A request that was ordered: one audit event.
pub fn new_transaction() -> NewTransaction {
    let id = TransactionId::new();
    let now = Timestamp::now();
    let key = TransactionKey {
        endpoint: "branch-routers".to_owned(),
        wire_id: hex::encode_upper(&digest_of(id, b'k')[..20]),
        signer_key: digest_of(id, b'k'),
        csr_key: digest_of(id, b'k'),
        renews: None,
        wish: digest_of(id, b'w'),
    };
    let transaction = Transaction {
        id,
        key,
        state: TransactionState::Issuing,
        protocol: "scep".to_owned(),
        group: Some("branch-routers".to_owned()),
        csr: vec![0x5A; 700],
        subject: "CN=router-1,O=Example".to_owned(),
        source: Some("192.0.2.7".parse().expect("address")),
        received_at: now,
        updated_at: now,
        order: Some(format!("{{\"padding\":\"{}\"}}", "x".repeat(600))),
        rejection: None,
        detail: None,
        snapshot: "0".repeat(64),
        certificate: None,
        challenge: None,
        sealed_challenge: None,
    };
    let attempt = Attempt {
        id: AttemptId::new(),
        state: AttemptState::Prepared,
        upstream: "local".to_owned(),
        ca: "classical".to_owned(),
        reference: None,
        due_at: now,
        held_by: Some("node-a".to_owned()),
        held_until: Some(now + SignedDuration::from_secs(60)),
    };
    NewTransaction { transaction, attempt: Some(attempt), redeem: None, limit: None, events: vec![event("request.ordered", id)] }
}

/// An unspent challenge for it.
pub fn challenge_of(new: &NewTransaction) -> Challenge {
    let digest = digest_of(new.transaction.id, b'c');
    Challenge {
        id: hex::encode(&digest[8..16]),
        digest,
        group: "branch-routers".to_owned(),
        bind: BTreeMap::new(),
        note: None,
        created_by: "operator:ada".to_owned(),
        created_at: new.transaction.received_at,
        expires_at: new.transaction.received_at + SignedDuration::from_hours(24),
        redeemed_by: None,
        redeemed_at: None,
        revoked_at: None,
    }
}

/// A certificate of 1 kB for it.
pub fn certificate_of(transaction: &Transaction) -> CertificateRecord {
    let id = transaction.id;
    let digest = digest_of(id, b'f');
    CertificateRecord {
        fingerprint: digest,
        der: vec![0x5A; 1000],
        serial: digest_of(id, b's')[..18].to_vec(),
        issuer: b"the name of the issuer, which takes some sixty octets or so ..".to_vec(),
        issuer_text: "CN=Example CA,O=Example".to_owned(),
        subject: format!("CN=router-{},O=Example", hex::encode(&digest[..4])),
        common_name: Some(format!("router-{}", hex::encode(&digest[..4]))),
        subject_alt_names: vec![format!("dns:router-{}.branch.example.net", hex::encode(&digest[..4]))],
        not_before: transaction.received_at,
        not_after: transaction.received_at + SignedDuration::from_hours(24 * 365),
        key_algorithm: "rsa-2048".to_owned(),
        spki_digest: transaction.key.csr_key,
        signature_algorithm: "ecdsa-with-SHA256".to_owned(),
        status: CertificateStatus::Valid,
        revoked_at: None,
        revocation_reason: None,
        group: "branch-routers".to_owned(),
        profile: "ecdsa-p256".to_owned(),
        upstream: "local".to_owned(),
        ca: "classical".to_owned(),
        device: Some(hex::encode(&digest[..6])),
        transaction: id,
        authenticated_by: "one-time challenge".to_owned(),
        source: transaction.source,
        renews: None,
        sibling_of: None,
        set_aside: false,
        issued_at: Timestamp::now(),
    }
}

/// Issued, with a reply of 2 kB and two audit events.
pub fn conclusion_of(new: &NewTransaction) -> Conclusion {
    let transaction = &new.transaction;
    Conclusion {
        transaction: transaction.id,
        attempt: new.attempt.as_ref().expect("it has an attempt").id,
        lease: new.attempt.as_ref().and_then(Attempt::lease),
        result: AttemptResult::Issued { certificate: std::sync::Arc::new(certificate_of(transaction)), keep_secret: false },
        at: Timestamp::now(),
        reply: Some((digest_of(transaction.id, b'm'), vec![0x5A; 2000].into())),
        events: vec![event("certificate.issued", transaction.id), event("reply.sent", transaction.id)],
    }
}
