//! Where a rollout stands: written by gates and people, and kept in the inventory.

use jiff::Timestamp;
use serde::Serialize;

/// Where the rollout of a candidate stands in a group. Nothing is stored until something happens to it: it is running then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RolloutState {
    /// The device group.
    pub group: String,
    /// The candidate.
    pub candidate: String,
    /// Where it stands.
    pub phase: Phase,
    /// Since when: gates look no further back.
    pub since: Timestamp,
    /// Why, in words.
    pub why: String,
    /// Who did it: `system`, `operator:NAME`.
    pub by: String,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Devices get the candidate as the plan says.
    Running,
    /// Devices that have a certificate of the candidate stay with it; no other gets one.
    Halted,
    /// Every device gets the incumbent.
    RolledBack,
}

crate::algorithm::named!(Phase, "phase of a rollout", {
    Running => "running",
    Halted => "halted",
    RolledBack => "rolled-back",
});
