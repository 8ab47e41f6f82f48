//! What is kept of rollouts: where they stand, and which devices fared badly.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use super::{AuditEvent, InventoryError};
use crate::rollout::{DeviceKnowledge, Figures, Phase, RolloutState};

/// The part of the store that rollouts need.
#[async_trait]
pub trait RolloutStore: Send + Sync {
    /// Where the rollout of this candidate stands; `None` if nothing ever happened to it.
    async fn rollout(&self, group: &str, candidate: &str) -> Result<Option<RolloutState>, InventoryError>;

    /// Where every rollout stands that something happened to, by group and candidate.
    async fn rollouts(&self) -> Result<Vec<RolloutState>, InventoryError>;

    /// Writes where a rollout stands, and the event; `false`, and nothing is written, if it was not where the change expects it.
    async fn change_rollout(&self, change: RolloutChange) -> Result<bool, InventoryError>;

    /// What is known of a device of this group.
    async fn device_knowledge(&self, group: &str, device: &str) -> Result<DeviceKnowledge, InventoryError>;

    /// Remembers that a device fared badly under a profile. The same thing again is counted, and keeps its first time.
    async fn add_setback(&self, setback: Setback) -> Result<(), InventoryError>;

    /// Devices of a group that fared badly, the latest first.
    async fn setbacks(&self, search: &SetbackSearch) -> Result<Vec<Setback>, InventoryError>;

    /// How many devices of a group met each profile since then, and how they fared. A device came back if it was given another
    /// certificate `within` that time, and before half of the first one's life was over.
    async fn figures(&self, group: &str, since: Timestamp, within: Duration)
    -> Result<BTreeMap<String, Figures>, InventoryError>;

    /// Certificates of a group that are valid, counted by profile and kind of key.
    async fn census(&self, group: &str) -> Result<Vec<Census>, InventoryError>;
}

/// A change of where a rollout stands.
#[derive(Clone, Debug)]
pub struct RolloutChange {
    /// How it stands then.
    pub state: RolloutState,
    /// How it has to stand before; what was never written is running. So one of several nodes writes that a gate tripped.
    pub from: Vec<Phase>,
    /// The event to append.
    pub event: AuditEvent,
}

/// A device that fared badly under a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setback {
    /// The device group.
    pub group: String,
    /// The profile that was chosen for it.
    pub profile: String,
    /// The device.
    pub device: String,
    /// What happened.
    pub kind: SetbackKind,
    /// Stable code of the latest.
    pub code: String,
    /// What to tell people about the latest.
    pub detail: String,
    /// When it happened first.
    pub first_at: Timestamp,
    /// When it happened last.
    pub at: Timestamp,
    /// How often it happened.
    pub count: u64,
}

/// What happened to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SetbackKind {
    /// It was refused.
    Refused,
    /// The issuer refused it, or could not answer.
    UpstreamError,
}

crate::algorithm::named!(SetbackKind, "kind of setback", { Refused => "refused", UpstreamError => "upstream-error" });

/// Which setbacks to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetbackSearch {
    /// Of this group.
    pub group: String,
    /// Under this profile.
    pub profile: Option<String>,
    /// Since then.
    pub since: Timestamp,
    /// The most to give.
    pub limit: usize,
}

/// So many valid certificates of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Census {
    /// The profile.
    pub profile: String,
    /// The kind of the subject's key.
    pub key_algorithm: String,
    /// How many.
    pub count: u64,
}
