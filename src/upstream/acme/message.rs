//! What an ACME server says (RFC 8555 sections 6.7, 7.1 and 8).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::upstream::excerpt::short;

/// Where its resources are.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Directory {
    pub(super) new_nonce: String,
    pub(super) new_account: String,
    pub(super) new_order: String,
    #[serde(default)]
    pub(super) revoke_cert: Option<String>,
    #[serde(default)]
    pub(super) meta: Meta,
}

/// What it says of itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) external_account_required: bool,
    /// Names of profiles, and what they are (draft-ietf-acme-profiles).
    pub(super) profiles: BTreeMap<String, serde_json::Value>,
}

/// The state of an order, an authorization or a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
    /// `deactivated`, `expired`, `revoked`, and what is not known.
    #[serde(other)]
    Other,
}

/// An order.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Order {
    pub(super) status: Status,
    #[serde(default)]
    pub(super) authorizations: Vec<String>,
    pub(super) finalize: String,
    #[serde(default)]
    pub(super) certificate: Option<String>,
    #[serde(default)]
    pub(super) error: Option<Problem>,
}

/// Whether the account may have a name.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Authorization {
    pub(super) status: Status,
    pub(super) identifier: Identifier,
    #[serde(default)]
    pub(super) challenges: Vec<Challenge>,
}

/// A name.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Identifier {
    pub(super) value: String,
}

/// A way to prove a name.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Challenge {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) url: String,
    pub(super) status: Status,
}

impl Authorization {
    /// The challenge to tell the CA about: one that asks the network before one that asks others.
    pub(super) fn easiest(&self) -> Option<&Challenge> {
        let rank = |challenge: &&Challenge| match challenge.kind.as_str() {
            "http-01" => 0,
            "tls-alpn-01" => 1,
            "dns-01" => 2,
            _ => 3,
        };
        self.challenges.iter().min_by_key(rank)
    }
}

/// Why something was refused (RFC 7807).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    detail: String,
    pub(super) status: u16,
    subproblems: Vec<Problem>,
}

/// What the types of ACME's problems begin with.
const ERROR: &str = "urn:ietf:params:acme:error:";

impl Problem {
    /// Whether it is this one of RFC 8555 section 6.7.
    pub(super) fn is(&self, error: &str) -> bool {
        self.kind.strip_prefix(ERROR) == Some(error)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.strip_prefix(ERROR).unwrap_or(&self.kind);
        let mut text = format!("{kind}: {}", self.detail);
        for inner in self.subproblems.iter().take(3) {
            text.push_str(&format!(" ({})", inner.detail));
        }
        f.write_str(&short(&text))
    }
}
