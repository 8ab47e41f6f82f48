//! One-time challenges: made here, stored as a digest only.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::core::after;
use crate::crypto;
use crate::inventory::Challenge;

/// Letters and digits that nobody confuses, in one case: Windows and phone keyboards take them (32 of them, 5 bits each).
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// Characters of a challenge: 130 bits.
const LENGTH: usize = 26;

/// What a new challenge is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChallengeOrder {
    /// The device group.
    pub group: String,
    /// How long it can be redeemed.
    pub ttl: Duration,
    /// What the request must have: selector → value.
    pub bind: BTreeMap<String, String>,
    /// A note for people.
    pub note: Option<String>,
    /// Who asks.
    pub created_by: String,
}

/// Makes a challenge: its text, which is shown once and never stored, and the row to store.
pub fn mint(order: &ChallengeOrder, now: Timestamp) -> (String, Challenge) {
    let provider = crypto::provider();
    let text: String = provider.random::<LENGTH>().iter().map(|octet| char::from(ALPHABET[usize::from(octet % 32)])).collect();
    let row = Challenge {
        id: hex::encode(provider.random::<8>()),
        digest: digest(&text),
        group: order.group.clone(),
        bind: order.bind.clone(),
        note: order.note.clone(),
        created_by: order.created_by.clone(),
        created_at: now,
        expires_at: after(now, order.ttl),
        redeemed_by: None,
        redeemed_at: None,
        revoked_at: None,
    };
    (text, row)
}

/// The digest under which a challenge is stored.
pub fn digest(text: &str) -> [u8; 32] {
    crypto::provider().digester.sha256(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_differ_and_store_no_text() {
        let order = ChallengeOrder { group: "g".into(), ttl: Duration::from_secs(60), ..ChallengeOrder::default() };
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        let (one, row) = mint(&order, now);
        let (two, _) = mint(&order, now);
        assert_ne!(one, two);
        assert_eq!(one.len(), LENGTH);
        assert!(one.bytes().all(|b| ALPHABET.contains(&b)));
        assert_eq!(row.digest, digest(&one));
        assert_eq!(row.expires_at.as_second() - now.as_second(), 60);
        assert!(!one.to_lowercase().contains(&row.id));
    }
}
