//! Which of the groups of a shared endpoint a request is of.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{ChallengePolicy, DeviceGroup, MatchInput, SubjectPattern, Verdict};
use crate::algorithm::{Family, KeyRule};

/// What a request must look like to be of a group at a shared endpoint: the `[match]` table. What is empty is not looked at.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// The subject fits one of these.
    pub subject: Vec<SubjectPattern>,
    /// The key is one of these.
    pub keys: Vec<KeyRule>,
    /// The request came from one of these networks.
    pub sources: Vec<IpNet>,
    /// The challenge is the group's shared one.
    pub challenge: bool,
}

impl Matching {
    /// Whether a request is of `group`. What Ravelin itself gave out is decisive: a one-time challenge or a certificate of another
    /// group never fits. Everything else is for the group's own conditions. Slow where the shared challenge is a condition; then it may
    /// also be that it cannot be said now.
    pub(super) fn fits(&self, group: &DeviceGroup, input: &MatchInput<'_>) -> Verdict {
        let given = input.challenge_group.or(input.renews_group);
        if given.is_some_and(|name| name != group.name) {
            return Verdict::Wrong;
        }
        let quick = self.admits(input.source)
            && (self.keys.is_empty() || self.keys.iter().any(|rule| rule.admits(input.csr.key())))
            && (self.subject.is_empty() || self.subject.iter().any(|pattern| pattern.matches(input.csr.subject()).is_some()));
        match input.challenge {
            _ if !quick => Verdict::Wrong,
            _ if !self.challenge || given.is_some() => Verdict::Right,
            Some(challenge) => knows(group, challenge),
            None => Verdict::Wrong,
        }
    }

    /// Whether the group is for devices at this address: asked at every endpoint that it has.
    pub fn admits(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.sources.is_empty() || self.sources.iter().any(|net| net.contains(&source))
    }

    /// Whether no request can fit both by their conditions alone.
    pub fn excludes(&self, other: &Matching) -> bool {
        let apart = |a: usize, b: usize| a > 0 && b > 0;
        let keys =
            apart(self.keys.len(), other.keys.len()) && self.keys.iter().all(|a| other.keys.iter().all(|b| !overlap(a, b)));
        let sources = apart(self.sources.len(), other.sources.len())
            && self.sources.iter().all(|a| other.sources.iter().all(|b| !a.contains(b) && !b.contains(a)));
        let subjects = apart(self.subject.len(), other.subject.len())
            && self.subject.iter().all(|a| other.subject.iter().all(|b| a.excludes(b)));
        keys || sources || subjects || (self.challenge && other.challenge)
    }
}

fn knows(group: &DeviceGroup, challenge: &str) -> Verdict {
    let mut all = Verdict::Wrong;
    for policy in &group.challenges {
        if let ChallengePolicy::Shared(shared) = policy {
            match shared.verify(challenge) {
                Verdict::Right => return Verdict::Right,
                Verdict::Later => all = Verdict::Later,
                Verdict::Wrong => {}
            }
        }
    }
    all
}

/// Whether some key is let through by both rules.
pub fn overlap(a: &KeyRule, b: &KeyRule) -> bool {
    match (a, b) {
        (KeyRule::Exactly(key), other) | (other, KeyRule::Exactly(key)) => other.admits(*key),
        (KeyRule::RsaRange { min, max }, KeyRule::RsaRange { min: other_min, max: other_max }) => {
            min.max(other_min) <= max.min(other_max)
        }
        (KeyRule::Family(family), KeyRule::Family(other)) => family == other,
        (KeyRule::Family(family), KeyRule::RsaRange { .. }) | (KeyRule::RsaRange { .. }, KeyRule::Family(family)) => {
            *family == Family::Rsa
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(rules: &[&str]) -> Matching {
        Matching { keys: rules.iter().map(|r| r.parse().unwrap()).collect(), ..Matching::default() }
    }

    fn sources(nets: &[&str]) -> Matching {
        Matching { sources: nets.iter().map(|n| n.parse().unwrap()).collect(), ..Matching::default() }
    }

    #[test]
    fn what_excludes_what() {
        assert!(keys(&["rsa-2048..4096"]).excludes(&keys(&["ecdsa-p256"])));
        assert!(keys(&["rsa-1024..2047"]).excludes(&keys(&["rsa-2048"])));
        assert!(!keys(&["rsa-1024..2048"]).excludes(&keys(&["rsa-2048..4096"])));
        assert!(keys(&["ml-dsa-*"]).excludes(&keys(&["rsa-2048..4096", "slh-dsa-*"])));
        assert!(!keys(&["ml-dsa-*"]).excludes(&keys(&["ml-dsa-65"])));
        assert!(!keys(&["rsa-2048"]).excludes(&Matching::default()));
        assert!(sources(&["10.0.0.0/8"]).excludes(&sources(&["192.168.0.0/16"])));
        assert!(!sources(&["10.0.0.0/8"]).excludes(&sources(&["10.1.0.0/16", "192.168.0.0/16"])));
        let challenge = Matching { challenge: true, ..Matching::default() };
        assert!(challenge.excludes(&challenge));
        assert!(!challenge.excludes(&Matching::default()));
        assert!(!Matching::default().excludes(&Matching::default()));
    }
}
