//! Audit events, chained by hash: each record's hash covers the record and the hash before it, so that a change or a gap shows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Something that happened and that an auditor will ask about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// Stable name: `certificate.issued`, `request.refused`, `challenge.created`, `config.reloaded`, …
    pub event: String,
    /// Who did it: `device`, `operator:NAME`, `system`.
    pub actor: String,
    /// What it was done to: a transaction, certificate or challenge identifier.
    pub object: String,
    /// The rest, by stable field names; never a secret.
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// An event in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Number in the chain, from 1, without gaps.
    pub sequence: u64,
    /// The event.
    pub event: AuditEvent,
    /// Hex SHA-256 over the previous record's hash and this record.
    pub hash: String,
}
