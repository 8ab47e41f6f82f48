//! Rollouts: which algorithm profile a request gets while a group moves from one to another.
//!
//! A group's file names a profile, the incumbent, and may name a candidate with the devices that it is tried on: a list, a
//! percentage, rings that widen on their dates. [`choose`] decides for one request, out of what the file says ([`Plan`]), where the
//! rollout stands ([`RolloutState`], which lives in the inventory) and what is known of the device. [`judge`] compares how the
//! devices fare under both, and says whether a gate trips. Nothing here reads or writes anything.

pub mod choice;
pub mod deadline;
pub mod evidence;
pub mod forecast;
pub mod gate;
pub mod ladder;
pub mod plan;
pub mod state;

pub use choice::{Choice, ChoiceReason, DeviceKnowledge, Situation, choose};
pub use deadline::{Deadline, Exception, Ruling};
pub use evidence::{Evidence, EvidenceKind, Given, Learning, weigh};
pub use gate::{Figures, Gate, GateReading, Gates, OnTrip, ReturnsGate, Threshold, Verdict, judge};
pub use ladder::{Rung, Stand, descend};
pub use plan::{DevicePattern, Plan, Reach, Ring, Share};
pub use state::{Phase, RolloutState};
