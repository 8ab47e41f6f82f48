//! Device groups.

use std::net::IpAddr;
use std::time::Duration;

use super::{ChallengePolicy, Denial, Matching, Permit, PermitInput, Rules, Verdict};
use crate::rollout::{Deadline, Learning, Plan};
use crate::x509::{Certificate, DistinguishedName, SubjectAltName, VerifiedCsr};

/// A validated device group (`policies/NAME.toml`).
#[derive(Debug)]
pub struct DeviceGroup {
    /// The file's stem.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// Among the groups of a shared endpoint, the highest that matches wins.
    pub priority: i32,
    /// The algorithm profile: the switch.
    pub profile: String,
    /// Another profile that is tried on some of its devices.
    pub rollout: Option<Plan>,
    /// From when on it gets no signature that is classical only.
    pub deadline: Option<Deadline>,
    /// When it believes that a device cannot digest a profile.
    pub fallback: Learning,
    /// Another profile that its live requests are tried under, without anything coming of it.
    pub shadow: Option<String>,
    /// Selectors that tell a device (`subject.serialNumber`, `subject.commonName`, `san.dns`, …), the first that has a value wins.
    pub device: Vec<String>,
    /// The ways in by challenge; empty is none.
    pub challenges: Vec<ChallengePolicy>,
    /// Whether a CA may see a challenge that many devices share.
    pub allow_challenge_upstream: bool,
    /// The way in by an existing certificate, if there is one.
    pub renewal: Option<RenewalPolicy>,
    /// Whether a first request may be signed by another key than the one that is to be certified.
    pub signer_key: SignerKey,
    /// Whether people decide.
    pub approval: Approval,
    /// How many certificates a device may be given.
    pub per_device: Option<DeviceLimitRule>,
    /// Whether a key that another device of ours has a valid certificate for is let through.
    pub allow_shared_keys: bool,
    /// How long a finished transaction answers a new message of the same client with the same certificate.
    pub replay: Duration,
    /// How names, keys and usages are let through, rewritten or refused; private to the policy room.
    pub(in crate::policy) rules: Rules,
    /// What a request must look like to be of this group at a shared endpoint; private to the policy room.
    pub(in crate::policy) matching: Matching,
}

/// What a device group is made of, checked piece by piece.
#[derive(Debug)]
pub struct GroupSettings {
    /// The file's stem.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// Among the groups of a shared endpoint, the highest that matches wins.
    pub priority: i32,
    /// The algorithm profile.
    pub profile: String,
    /// Another profile that is tried on some of its devices.
    pub rollout: Option<Plan>,
    /// From when on it gets no signature that is classical only.
    pub deadline: Option<Deadline>,
    /// When it believes that a device cannot digest a profile.
    pub fallback: Learning,
    /// Another profile that its live requests are tried under, without anything coming of it.
    pub shadow: Option<String>,
    /// Selectors that tell a device.
    pub device: Vec<String>,
    /// The ways in by challenge.
    pub challenges: Vec<ChallengePolicy>,
    /// Whether a CA may see a challenge that many devices share.
    pub allow_challenge_upstream: bool,
    /// The way in by an existing certificate.
    pub renewal: Option<RenewalPolicy>,
    /// Whether a first request may be signed by another key than the one that is to be certified.
    pub signer_key: SignerKey,
    /// Whether people decide.
    pub approval: Approval,
    /// How many certificates a device may be given.
    pub per_device: Option<DeviceLimitRule>,
    /// Whether a key of another device is let through.
    pub allow_shared_keys: bool,
    /// How long a finished transaction answers again.
    pub replay: Duration,
    /// How names, keys and usages are let through, rewritten or refused.
    pub rules: Rules,
    /// What a request must look like at a shared endpoint.
    pub matching: Matching,
}

impl DeviceGroup {
    /// Makes a group.
    pub fn new(settings: GroupSettings) -> Self {
        let GroupSettings {
            name,
            description,
            priority,
            profile,
            rollout,
            deadline,
            fallback,
            shadow,
            device,
            challenges,
            allow_challenge_upstream,
            renewal,
            signer_key,
            approval,
            per_device,
            allow_shared_keys,
            replay,
            rules,
            matching,
        } = settings;
        DeviceGroup {
            name,
            description,
            priority,
            profile,
            rollout,
            deadline,
            fallback,
            shadow,
            device,
            challenges,
            allow_challenge_upstream,
            renewal,
            signer_key,
            approval,
            per_device,
            allow_shared_keys,
            replay,
            rules,
            matching,
        }
    }

    /// Every profile that a device of this group may get: the one that it is on, then the candidate.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.profile.as_str()).chain(self.rollout.as_ref().map(|plan| plan.candidate.as_str()))
    }

    /// Every profile that has to do with this group: those that a device may get, and the one in its shadow.
    pub fn named_profiles(&self) -> impl Iterator<Item = &str> {
        self.profiles().chain(self.shadow.as_deref())
    }

    /// Whether a request at a shared endpoint is of this group. Slow where the group is chosen by its shared challenge: run it on the
    /// crypto pool.
    pub fn matches(&self, input: &MatchInput<'_>) -> Verdict {
        self.matching.fits(self, input)
    }

    /// Whether it is chosen by a challenge that has to be hashed to be known.
    pub fn matches_slowly(&self, challenge: &str) -> bool {
        let unknown = |way: &ChallengePolicy| match way {
            ChallengePolicy::Shared(shared) => shared.known(challenge).is_none(),
            ChallengePolicy::OneTime { .. } => false,
        };
        self.matching.challenge && self.challenges.iter().any(unknown)
    }

    /// The device, as this group recognises it, out of a subject and its alternative names: `serialNumber=FOC1234`.
    pub fn device_of(&self, subject: &DistinguishedName, names: &[SubjectAltName]) -> Option<String> {
        self.device.iter().find_map(|selector| {
            let value = super::select(selector, subject, names)?;
            let label = selector.rsplit('.').next().unwrap_or(selector);
            Some(format!("{label}={value}"))
        })
    }

    /// The device that asks, as it will be known by the certificate that it is given: told before a profile is chosen, and the same
    /// that [`permit`](Self::permit) finds.
    pub fn identify(&self, csr: &VerifiedCsr, renews: Option<&Certificate>) -> Option<String> {
        self.rules.identify(self, csr, renews)
    }

    /// Decides what of a request is let through, and how the certificate will look.
    pub fn permit(&self, input: &PermitInput<'_>) -> Result<Permit, Denial> {
        self.rules.permit(self, input)
    }

    /// How names, keys and usages are let through, rewritten or refused.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What a request must look like to be of this group at a shared endpoint.
    pub fn matching(&self) -> &Matching {
        &self.matching
    }
}

/// Renewal by an existing certificate.
#[derive(Clone, Debug)]
pub struct RenewalPolicy {
    /// How long before its end a certificate can be renewed; `None` is at any time of its life.
    pub window: Option<Duration>,
    /// How long after its end it still can be.
    pub grace: Duration,
    /// Whether certificates that this Ravelin issued count.
    pub own: bool,
    /// Named earlier CAs whose certificates count: each with the certificate of that CA.
    pub earlier: Vec<(String, std::sync::Arc<Certificate>)>,
    /// Whether subject and alternative names may change.
    pub allow_name_change: bool,
    /// Whether the key may stay the same.
    pub allow_same_key: bool,
}

/// Which key may sign the message of a first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignerKey {
    /// The one that is to be certified.
    Same,
    /// Any: the challenge alone binds the request to the device.
    MayDiffer,
}

crate::algorithm::named!(SignerKey, "rule for the signer's key", {
    Same => "same",
    MayDiffer => "may-differ",
});

/// Whether people decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Approval {
    /// Policy alone decides.
    Automatic,
    /// Policy decides what may be asked, people decide each case.
    Manual,
    /// First enrollments wait for people, renewals do not.
    ManualFirst,
}

crate::algorithm::named!(Approval, "approval", {
    Automatic => "automatic",
    Manual => "manual",
    ManualFirst => "manual-first",
});

/// `3/day`: at most so many certificates for one device in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLimitRule {
    /// The most.
    pub count: u32,
    /// The period.
    pub period: Duration,
}

/// What a shared endpoint knows of a request when it looks for the group.
pub struct MatchInput<'a> {
    /// The CSR.
    pub csr: &'a VerifiedCsr,
    /// The group of the one-time challenge that came with it, if it is one that we know.
    pub challenge_group: Option<&'a str>,
    /// Whether a challenge came with it that might be this group's shared one: decided by the group itself.
    pub challenge: Option<&'a str>,
    /// The group of the certificate that it renews.
    pub renews_group: Option<&'a str>,
    /// Where it came from.
    pub source: IpAddr,
}
