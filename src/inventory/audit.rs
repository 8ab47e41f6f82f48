//! Audit events, chained by hash: each record's hash covers the record and the hash before it, so that a change or a gap shows.
//!
//! A chain cannot show that its end was cut off: for that, the newest hash has to be kept somewhere else as well.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Inventory, InventoryError};

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

/// Where a chain breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit chain breaks at record {sequence}: {reason}")]
pub struct ChainBreak {
    /// The first record that does not fit.
    pub sequence: u64,
    /// Why it does not.
    pub reason: &'static str,
}

/// Checks records one after another.
#[derive(Clone, Debug, Default)]
pub struct ChainVerifier {
    sequence: u64,
    hash: [u8; 32],
}

impl ChainVerifier {
    /// Checks that `record` is the next one.
    pub fn check(&mut self, record: &AuditRecord) -> Result<(), ChainBreak> {
        let sequence = self.sequence + 1;
        if record.sequence != sequence {
            return Err(ChainBreak { sequence, reason: "the record is missing" });
        }
        let hash = chain_hash(&self.hash, sequence, &record.event);
        if record.hash != hex::encode(hash) {
            return Err(ChainBreak { sequence, reason: "the hash does not fit the record and those before it" });
        }
        self.sequence = sequence;
        self.hash = hash;
        Ok(())
    }

    /// How many records fitted.
    pub fn verified(&self) -> u64 {
        self.sequence
    }

    /// Hex hash of the last record that fitted: to be kept somewhere else.
    pub fn head(&self) -> String {
        hex::encode(self.hash)
    }
}

/// Checks the whole chain of an inventory. The inner result says how far it holds.
pub async fn verify_chain(inventory: &dyn Inventory) -> Result<Result<ChainVerifier, ChainBreak>, InventoryError> {
    let mut verifier = ChainVerifier::default();
    loop {
        let records = inventory.audit_log(verifier.verified(), 1_000).await?;
        if records.is_empty() {
            return Ok(Ok(verifier));
        }
        for record in &records {
            if let Err(broken) = verifier.check(record) {
                return Ok(Err(broken));
            }
        }
    }
}

/// SHA-256 over the previous hash (zeros before the first record) and the canonical JSON of the record without its hash:
/// keys sorted, no white space.
pub(crate) fn chain_hash(previous: &[u8; 32], sequence: u64, event: &AuditEvent) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(previous);
    bytes.extend_from_slice(b"{\"event\":{\"actor\":");
    write_string(&mut bytes, &event.actor);
    bytes.extend_from_slice(b",\"at\":");
    write_string(&mut bytes, &event.at.to_string());
    bytes.extend_from_slice(b",\"event\":");
    write_string(&mut bytes, &event.event);
    bytes.extend_from_slice(b",\"fields\":");
    write_object(&mut bytes, &event.fields);
    bytes.extend_from_slice(b",\"object\":");
    write_string(&mut bytes, &event.object);
    bytes.extend_from_slice(b"},\"sequence\":");
    bytes.extend_from_slice(sequence.to_string().as_bytes());
    bytes.push(b'}');
    sha256(&bytes)
}

/// The event as every store can give it back: times in whole microseconds, and no floating-point numbers, since they do not
/// survive being written and read everywhere.
pub(crate) fn storable(mut event: AuditEvent) -> AuditEvent {
    fn settle(value: &mut Value) {
        match value {
            Value::Number(number) if number.is_f64() => *value = Value::String(number.to_string()),
            Value::Array(items) => items.iter_mut().for_each(settle),
            Value::Object(fields) => fields.values_mut().for_each(settle),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
        }
    }
    event.at = Timestamp::from_microsecond(event.at.as_microsecond()).expect("it was a time before");
    event.fields.values_mut().for_each(settle);
    event
}

/// Writes the fields with sorted keys.
pub(crate) fn write_object(out: &mut Vec<u8>, fields: &Map<String, Value>) {
    // The map may or may not be sorted by itself: that depends on features which other crates choose.
    let mut keys: Vec<&String> = fields.keys().collect();
    keys.sort_unstable();
    out.push(b'{');
    for (index, key) in keys.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, key);
        out.push(b':');
        write_value(out, &fields[key]);
    }
    out.push(b'}');
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Object(fields) => write_object(out, fields),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        Value::String(text) => write_string(out, text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            serde_json::to_writer(out, value).expect("writing to memory does not fail");
        }
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing to memory does not fail");
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 octets")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str) -> AuditEvent {
        let Value::Object(fields) = serde_json::json!({"b": [1, null, "ü\n"], "a": {"z": true, "y": -1}}) else {
            panic!("an object")
        };
        AuditEvent {
            at: Timestamp::from_second(1_700_000_000).expect("time"),
            event: name.to_owned(),
            actor: "system".to_owned(),
            object: "object".to_owned(),
            fields,
        }
    }

    fn chain(length: u64) -> Vec<AuditRecord> {
        let mut hash = [0; 32];
        let record = |sequence| {
            let event = event(&format!("event.{sequence}"));
            hash = chain_hash(&hash, sequence, &event);
            AuditRecord { sequence, event, hash: hex::encode(hash) }
        };
        (1..=length).map(record).collect()
    }

    fn verify(records: &[AuditRecord]) -> Result<u64, ChainBreak> {
        let mut verifier = ChainVerifier::default();
        records.iter().try_for_each(|record| verifier.check(record))?;
        Ok(verifier.verified())
    }

    /// The same bytes put together by hand, and their digest by sha256sum: a change of the form would break every stored chain.
    #[test]
    fn the_hash_is_over_sorted_json() {
        let canonical = concat!(
            r#"{"event":{"actor":"system","at":"2023-11-14T22:13:20Z","event":"e","fields":{"a":{"y":-1,"z":true},"#,
            r#""b":[1,null,"ü\n"]},"object":"object"},"sequence":1}"#
        );
        let mut bytes = vec![0; 32];
        bytes.extend_from_slice(canonical.as_bytes());
        assert_eq!(chain_hash(&[0; 32], 1, &event("e")), sha256(&bytes));
    }

    #[test]
    fn every_kind_of_tampering_shows_where_it_is() {
        let good = chain(5);
        assert_eq!(verify(&good), Ok(5));
        let broken = |change: &dyn Fn(&mut Vec<AuditRecord>)| {
            let mut records = good.clone();
            change(&mut records);
            verify(&records).expect_err("it was tampered with").sequence
        };
        assert_eq!(broken(&|records| records[2].event.actor.push('x')), 3);
        assert_eq!(broken(&|records| records[2].event.object.clear()), 3);
        assert_eq!(broken(&|records| records[2].event.event.push('x')), 3);
        assert_eq!(broken(&|records| records[2].event.at += jiff::Span::new().microseconds(1)), 3);
        assert_eq!(broken(&|records| drop(records[2].event.fields.insert("c".to_owned(), Value::Null))), 3);
        assert_eq!(broken(&|records| drop(records.remove(1))), 2);
        assert_eq!(broken(&|records| records.swap(1, 2)), 2);
        assert_eq!(broken(&|records| records[4].hash = "00".repeat(32)), 5);
        // A record that was changed and hashed anew betrays itself at the next one.
        let rehashed = broken(&|records| {
            records[2].event.actor.push('x');
            let previous: [u8; 32] = hex::decode(&records[1].hash).expect("hex").try_into().expect("32 octets");
            records[2].hash = hex::encode(chain_hash(&previous, 3, &records[2].event));
        });
        assert_eq!(rehashed, 4);
    }

    #[test]
    fn what_is_stored_is_what_was_hashed() {
        let mut wild = event("wild");
        wild.at = Timestamp::from_nanosecond(1_700_000_000_123_456_789).expect("time");
        wild.fields.insert("ratio".to_owned(), serde_json::json!([0.1, 3]));
        let tame = storable(wild);
        assert_eq!(tame.at.as_nanosecond(), 1_700_000_000_123_456_000);
        assert_eq!(tame.fields["ratio"], serde_json::json!(["0.1", 3]));
    }
}
