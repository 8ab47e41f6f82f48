//! Policy: which endpoint answers, which device group a request belongs to, and what that group lets through.

pub mod challenge;
pub mod endpoint;
pub mod enforce;
pub mod group;

pub use challenge::{ChallengePolicy, SharedChallenge};
pub use endpoint::{CaCertsShape, Endpoint, ReplyShape, ScepSettings};
pub use enforce::{Denial, DenialCode, Permit, PermitInput};
pub use group::{Approval, DeviceGroup, DeviceLimitRule, MatchInput, RenewalPolicy};
