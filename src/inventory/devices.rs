//! What is kept of devices: the certificates that they were given, and what was learned of them.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use super::{AuditEvent, InventoryError};
use crate::rollout::forecast::Standing;
use crate::rollout::{EvidenceKind, Given};

/// The part of the store that fallbacks need.
#[async_trait]
pub trait DeviceStore: Send + Sync {
    /// The newest certificates that a device of this group was given, the newest first; without siblings and revoked ones.
    async fn given(&self, group: &str, device: &str, limit: usize) -> Result<Vec<Given>, InventoryError>;

    /// Valid certificates of a group with a number above this one, by number; without siblings.
    async fn standing(&self, group: &str, after: i64, limit: usize) -> Result<StandingPage, InventoryError>;

    /// After which share of their lives the latest certificates of a group were followed by another one of their device.
    async fn renewal_shares(&self, group: &str, limit: usize) -> Result<Vec<f64>, InventoryError>;

    /// What was ever learned of a device of this group, what was taken back included.
    async fn findings_of(&self, group: &str, device: &str) -> Result<Vec<DeviceFinding>, InventoryError>;

    /// What holds of devices, of one group or of all, the latest first.
    async fn findings(&self, group: Option<&str>, limit: usize) -> Result<Vec<DeviceFinding>, InventoryError>;

    /// Writes what was learned, and the event; `false`, and nothing is written, if it is known already.
    async fn learn(&self, finding: DeviceFinding, event: AuditEvent) -> Result<bool, InventoryError>;

    /// Takes back what was learned, and appends the event; `false`, and nothing is written, if it does not hold.
    async fn unlearn(
        &self,
        group: &str,
        device: &str,
        profile: &str,
        at: Timestamp,
        event: AuditEvent,
    ) -> Result<bool, InventoryError>;
}

/// Some certificates of a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StandingPage {
    /// The certificates.
    pub certificates: Vec<Standing>,
    /// The number after which the next page begins, if there is one.
    pub next: Option<i64>,
}

/// A profile that a device cannot digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceFinding {
    /// The device group.
    pub group: String,
    /// The device.
    pub device: String,
    /// The profile.
    pub profile: String,
    /// How it has shown that.
    pub kind: EvidenceKind,
    /// The same in words.
    pub detail: String,
    /// When.
    pub at: Timestamp,
    /// When it was taken back; `None` if it holds.
    pub gone_at: Option<Timestamp>,
}
