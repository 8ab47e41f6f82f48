//! Policy: which endpoint answers, which device group a request belongs to, and what that group lets through.

pub mod challenge;
pub mod endpoint;
pub mod enforce;
pub mod group;
pub mod matching;
pub mod pattern;
pub mod select;
mod weak_key;

pub use challenge::{ChallengePolicy, SharedChallenge, Verdict};
pub use endpoint::{CaCertsShape, Endpoint, ReplyShape, ScepSettings};
pub use enforce::{Denial, DenialCode, Permit, PermitInput, Rules};
pub use group::{Approval, DeviceGroup, DeviceLimitRule, GroupSettings, MatchInput, RenewalPolicy, SignerKey};
pub use matching::Matching;
pub use pattern::{Captures, PatternError, SubjectPattern, SubjectTemplate, Template, TextPattern};
pub use select::{select, selector};
