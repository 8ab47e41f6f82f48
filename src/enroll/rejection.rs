//! Why a request is refused: one stable code each, which every front end maps to its wire.

use crate::policy::{Denial, DenialCode};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The stable code.
    pub code: RejectionCode,
    /// What to tell the operator; may hold names of the request, never a secret. Devices are told
    /// [`public`](RejectionCode::public) only.
    pub detail: String,
}

impl Rejection {
    /// A refusal with its detail.
    pub fn new(code: RejectionCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl From<Denial> for Rejection {
    fn from(denial: Denial) -> Self {
        Rejection { code: RejectionCode::Policy(denial.code), detail: denial.detail }
    }
}

/// The stable code of a refusal: what logs, metrics, audit and the error page call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectionCode {
    /// No group of the endpoint fits.
    NoGroup,
    /// Neither a challenge nor a certificate that counts came with the request.
    NoCredential,
    /// The challenge is not one that we know, or not of this group.
    ChallengeWrong,
    /// The challenge is expired.
    ChallengeExpired,
    /// The challenge was used before.
    ChallengeSpent,
    /// The challenge was revoked.
    ChallengeRevoked,
    /// The challenge is for another device.
    ChallengeNotBound,
    /// The request is signed by another key than the one that is to be certified.
    SignerDiffers,
    /// The group does not take renewals by such a certificate.
    RenewalNotAllowed,
    /// It is too early or too late to renew this certificate.
    RenewalWindow,
    /// The certificate to renew is revoked.
    RenewalRevoked,
    /// The key has a valid certificate of another device.
    KeyReused,
    /// The device has had its share.
    LimitReached,
    /// The reply could not be encrypted to the requester.
    NotDeliverable,
    /// The reply would be larger than the profile allows.
    ReplyTooLarge,
    /// The profile signs classically only, and the deadline of the group has passed.
    DeadlinePassed,
    /// People said no.
    Denied,
    /// The issuer said no.
    UpstreamRejected,
    /// What the issuer gave back is not what was ordered.
    UpstreamMisbehaved,
    /// There is no such transaction, certificate or CRL, or not for this requester.
    NotFound,
    /// A rule of the group.
    Policy(DenialCode),
}

impl RejectionCode {
    /// The stable code.
    pub const fn name(self) -> &'static str {
        match self {
            RejectionCode::NoGroup => "no-group",
            RejectionCode::NoCredential => "no-credential",
            RejectionCode::ChallengeWrong => "challenge-wrong",
            RejectionCode::ChallengeExpired => "challenge-expired",
            RejectionCode::ChallengeSpent => "challenge-spent",
            RejectionCode::ChallengeRevoked => "challenge-revoked",
            RejectionCode::ChallengeNotBound => "challenge-not-bound",
            RejectionCode::SignerDiffers => "signer-differs",
            RejectionCode::RenewalNotAllowed => "renewal-not-allowed",
            RejectionCode::RenewalWindow => "renewal-window",
            RejectionCode::RenewalRevoked => "renewal-revoked",
            RejectionCode::KeyReused => "key-reused",
            RejectionCode::LimitReached => "limit-reached",
            RejectionCode::NotDeliverable => "not-deliverable",
            RejectionCode::ReplyTooLarge => "reply-too-large",
            RejectionCode::DeadlinePassed => "deadline-passed",
            RejectionCode::Denied => "denied",
            RejectionCode::UpstreamRejected => "upstream-rejected",
            RejectionCode::UpstreamMisbehaved => "upstream-misbehaved",
            RejectionCode::NotFound => "not-found",
            RejectionCode::Policy(denial) => denial.name(),
        }
    }

    /// The code with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|code| code.name() == name)
    }

    /// Every code.
    pub fn all() -> impl Iterator<Item = Self> {
        const PLAIN: &[RejectionCode] = &[
            RejectionCode::NoGroup,
            RejectionCode::NoCredential,
            RejectionCode::ChallengeWrong,
            RejectionCode::ChallengeExpired,
            RejectionCode::ChallengeSpent,
            RejectionCode::ChallengeRevoked,
            RejectionCode::ChallengeNotBound,
            RejectionCode::SignerDiffers,
            RejectionCode::RenewalNotAllowed,
            RejectionCode::RenewalWindow,
            RejectionCode::RenewalRevoked,
            RejectionCode::KeyReused,
            RejectionCode::LimitReached,
            RejectionCode::NotDeliverable,
            RejectionCode::ReplyTooLarge,
            RejectionCode::DeadlinePassed,
            RejectionCode::Denied,
            RejectionCode::UpstreamRejected,
            RejectionCode::UpstreamMisbehaved,
            RejectionCode::NotFound,
        ];
        PLAIN.iter().copied().chain(DenialCode::ALL.iter().copied().map(RejectionCode::Policy))
    }

    /// Whether the requester is a stranger: neither a challenge nor a certificate spoke for it.
    pub const fn is_unauthenticated(self) -> bool {
        matches!(
            self,
            RejectionCode::NoGroup
                | RejectionCode::NoCredential
                | RejectionCode::ChallengeWrong
                | RejectionCode::ChallengeExpired
                | RejectionCode::ChallengeSpent
                | RejectionCode::ChallengeRevoked
                | RejectionCode::ChallengeNotBound
        )
    }

    /// One sentence that is safe for the device: it does not tell one wrong credential from another.
    pub const fn public(self) -> &'static str {
        match self {
            RejectionCode::NoCredential
            | RejectionCode::ChallengeWrong
            | RejectionCode::ChallengeExpired
            | RejectionCode::ChallengeSpent
            | RejectionCode::ChallengeRevoked
            | RejectionCode::ChallengeNotBound => "The request is not authenticated.",
            RejectionCode::SignerDiffers => "The request has to be signed by its own key.",
            RejectionCode::NoGroup => "This endpoint does not enroll such a device.",
            RejectionCode::RenewalNotAllowed | RejectionCode::RenewalRevoked => "This certificate cannot be renewed here.",
            RejectionCode::RenewalWindow => "This certificate cannot be renewed now.",
            RejectionCode::KeyReused => "This key cannot be certified.",
            RejectionCode::LimitReached => "The device has reached its limit of certificates.",
            RejectionCode::NotDeliverable => "The reply could not be encrypted to this key.",
            RejectionCode::ReplyTooLarge => "The reply would be too large.",
            RejectionCode::DeadlinePassed => "Classical certificates are no longer issued to this group.",
            RejectionCode::Denied => "The request was denied.",
            RejectionCode::UpstreamRejected | RejectionCode::UpstreamMisbehaved => "The certification authority refused.",
            RejectionCode::NotFound => "There is no such object.",
            RejectionCode::Policy(DenialCode::KeyNotAccepted | DenialCode::KeyWeak) => "This kind of key is not accepted.",
            RejectionCode::Policy(DenialCode::DigestNotAllowed) => "This digest is not accepted.",
            RejectionCode::Policy(_) => "Policy does not allow what was requested.",
        }
    }
}

impl std::fmt::Display for RejectionCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
