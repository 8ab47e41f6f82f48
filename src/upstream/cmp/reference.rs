//! What is kept of a transaction that is not at its end: all that it takes to go on after a restart, and nothing secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A transaction that is open at the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The transactionID.
    pub transaction: Vec<u8>,
    /// The last nonce of the CA, which our next message answers.
    pub nonce: Vec<u8>,
    /// The certReqId.
    pub id: i64,
    /// The certificate (DER) that came and is to be confirmed; without one the CA is asked for it.
    pub certificate: Option<Vec<u8>>,
}

/// The same as text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    transaction: String,
    nonce: String,
    id: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirm: Option<String>,
}

impl Open {
    /// Writes it.
    pub fn reference(&self) -> String {
        let stored = Stored {
            transaction: hex::encode(&self.transaction),
            nonce: hex::encode(&self.nonce),
            id: self.id,
            confirm: self.certificate.as_ref().map(|der| STANDARD.encode(der)),
        };
        serde_json::to_string(&stored).expect("texts and a number have an encoding")
    }

    /// Reads it; `None` if it is none of ours.
    pub fn read(reference: &str) -> Option<Self> {
        let stored: Stored = serde_json::from_str(reference).ok()?;
        Some(Self {
            transaction: hex::decode(stored.transaction).ok()?,
            nonce: hex::decode(stored.nonce).ok()?,
            id: stored.id,
            certificate: stored.confirm.map(|text| STANDARD.decode(text)).transpose().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_come_back_as_they_went() {
        let open = Open { transaction: vec![1; 16], nonce: vec![2; 16], id: -1, certificate: None };
        assert_eq!(Open::read(&open.reference()), Some(open.clone()));
        let open = Open { certificate: Some(vec![0x30, 0]), ..open };
        assert_eq!(Open::read(&open.reference()), Some(open));
        assert_eq!(Open::read("simpleenroll"), None);
    }
}
