//! What is kept of shadow runs: of each device, what the latest came to.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use super::InventoryError;

/// The part of the store that shadow runs need.
#[async_trait]
pub trait ShadowStore: Send + Sync {
    /// Remembers what a shadow run came to: the latest of a device counts, and how often it was there.
    async fn add_shadow(&self, outcome: ShadowOutcome) -> Result<(), InventoryError>;

    /// Sums up the shadow runs of a group under a candidate, with so many examples of refusals, the latest first.
    async fn shadow_tally(&self, group: &str, candidate: &str, examples: usize) -> Result<ShadowTally, InventoryError>;
}

/// What a shadow run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShadowOutcome {
    /// The device group.
    pub group: String,
    /// The profile that was tried.
    pub candidate: String,
    /// The device, or `key:` and the digest of its key where nothing tells it.
    pub device: String,
    /// `ok`, or the stable code of the refusal.
    pub code: String,
    /// Why.
    pub detail: String,
    /// About how large the reply would have been, in octets, if it came to that.
    pub reply: Option<u64>,
    /// How long signing took, in microseconds, if it came to that.
    pub signing_micros: Option<u64>,
    /// The first run of this device.
    pub first_at: Timestamp,
    /// The latest.
    pub at: Timestamp,
    /// How many there were.
    pub count: u64,
}

/// Shadow runs, summed up by devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ShadowTally {
    /// Devices by what the latest run came to.
    pub devices: BTreeMap<String, u64>,
    /// Runs, of all devices.
    pub runs: u64,
    /// When the first run was.
    pub since: Option<Timestamp>,
    /// How large replies would be, in octets.
    pub reply: Spread,
    /// How long signing took, in microseconds.
    pub signing_micros: Spread,
    /// Devices that would be refused, the latest first.
    pub examples: Vec<ShadowOutcome>,
}

/// How values lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// Half of them are no larger.
    pub median: Option<u64>,
    /// The largest.
    pub max: Option<u64>,
}
