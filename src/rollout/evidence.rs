//! Evidence: what an authenticated request shows of a device and the certificates that it was given.
//!
//! A device that was given certificates of a profile and comes back as if it had none, or with an older one, has shown that it
//! cannot use them. A device that signs with such a certificate has shown that it can.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// When a group believes that a device cannot digest a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learning {
    /// Whether it learns at all.
    pub learn: bool,
    /// How many certificates of the profile the device must have been given in vain.
    pub returns: u32,
    /// Within which time.
    pub within: Duration,
}

impl Default for Learning {
    fn default() -> Self {
        Learning { learn: true, returns: 2, within: Duration::from_secs(24 * 3600) }
    }
}

/// A certificate that a device was given, and that nobody revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Given {
    /// Its fingerprint.
    #[serde(serialize_with = "as_hex")]
    pub fingerprint: [u8; 32],
    /// Its profile.
    pub profile: String,
    /// When the device was given it.
    pub issued_at: Timestamp,
    /// When its life begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

/// How a device has shown that it cannot digest a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvidenceKind {
    /// It came back soon, as if it had no certificate.
    CameBack,
    /// It renewed an older certificate.
    OlderCertificate,
}

crate::algorithm::named!(EvidenceKind, "kind of evidence", {
    CameBack => "came-back",
    OlderCertificate => "older-certificate",
});

/// What a request has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// How.
    pub kind: EvidenceKind,
    /// The same in words.
    pub detail: String,
}

/// What the request of an authenticated device says against a profile. `given` are its certificates, of this group; `since` is when people
/// or the device itself last took back what was held against it; `renews` is the certificate that the request is signed with.
pub fn weigh(
    profile: &str,
    given: &[Given],
    since: Option<Timestamp>,
    renews: Option<&[u8; 32]>,
    learning: &Learning,
    now: Timestamp,
) -> Option<Evidence> {
    let counts = |one: &&Given| one.profile == profile && since.is_none_or(|since| one.issued_at > since);
    let shown = renews.and_then(|fingerprint| given.iter().find(|one| one.fingerprint == *fingerprint));
    let (count, kind) = match shown {
        // It holds one of these: whatever it wants, it can digest them.
        Some(shown) if shown.profile == profile => return None,
        Some(shown) => {
            (given.iter().filter(counts).filter(|one| one.issued_at > shown.issued_at).count(), EvidenceKind::OlderCertificate)
        }
        None => {
            let recent = |one: &&Given| now < later(one.issued_at, learning.within) && now < half_life(one);
            (given.iter().filter(counts).filter(recent).count(), EvidenceKind::CameBack)
        }
    };
    if !learning.learn || count < learning.returns as usize {
        return None;
    }
    let certificates = if count == 1 { "certificate" } else { "certificates" };
    let detail = match kind {
        EvidenceKind::CameBack => {
            format!(
                "it was given {count} {certificates} of {profile} within {} s, and came back without",
                learning.within.as_secs()
            )
        }
        EvidenceKind::OlderCertificate => {
            format!("it was given {count} newer {certificates} of {profile}, and came back with an older one")
        }
    };
    Some(Evidence { kind, detail })
}

fn as_hex<S: serde::Serializer>(fingerprint: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(fingerprint))
}

fn later(at: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration).ok().and_then(|duration| at.checked_add(duration).ok()).unwrap_or(Timestamp::MAX)
}

/// From then on a device that comes is renewing.
fn half_life(given: &Given) -> Timestamp {
    let half = given.not_after.duration_since(given.not_before) / 2;
    given.issued_at.checked_add(half).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_900_000_000 + seconds).unwrap()
    }

    fn given(number: u8, profile: &str, hours: i64, life: i64) -> Given {
        let issued_at = at(hours * HOUR);
        Given {
            fingerprint: [number; 32],
            profile: profile.into(),
            issued_at,
            not_before: issued_at,
            not_after: at((hours + life) * HOUR),
        }
    }

    const YEAR: i64 = 365 * 24;

    fn kind(all: &[Given], since: Option<i64>, renews: Option<u8>, now: i64) -> Option<EvidenceKind> {
        let renews = renews.map(|number| [number; 32]);
        let since = since.map(|hours| at(hours * HOUR));
        weigh("big", all, since, renews.as_ref(), &Learning::default(), at(now * HOUR)).map(|evidence| evidence.kind)
    }

    #[test]
    fn who_comes_back_too_often_cannot_digest_it() {
        let twice = [given(1, "big", 0, YEAR), given(2, "big", 3, YEAR)];
        assert_eq!(kind(&twice[..1], None, None, 1), None, "once may be an accident");
        assert_eq!(kind(&twice, None, None, 4), Some(EvidenceKind::CameBack));
        assert_eq!(kind(&twice, None, None, 25), None, "the first is too long ago");
        assert_eq!(kind(&twice, Some(1), None, 4), None, "what was before it was taken back does not count again");
        let others = [given(1, "small", 0, YEAR), given(2, "big", 3, YEAR)];
        assert_eq!(kind(&others, None, None, 4), None);
        // Certificates that live for two hours are renewed all day long.
        let short = [given(1, "big", 0, 2), given(2, "big", 1, 2)];
        assert_eq!(kind(&short, None, None, 2), None);
    }

    #[test]
    fn who_renews_an_older_certificate_has_shown_it_too() {
        let all = [given(1, "small", 0, YEAR), given(2, "big", 1000, YEAR), given(3, "big", 2000, YEAR)];
        assert_eq!(kind(&all[..2], None, Some(1), 3000), None, "once may be an accident");
        assert_eq!(kind(&all, None, Some(1), 3000), Some(EvidenceKind::OlderCertificate), "however long ago");
        assert_eq!(kind(&all, None, Some(3), 3000), None, "it holds the newest");
        assert_eq!(kind(&all, None, Some(2), 2001), None, "it holds one of these");
        assert_eq!(kind(&all, Some(1500), Some(1), 3000), None);
        // A certificate of an earlier CA says nothing of when.
        assert_eq!(kind(&all, None, Some(9), 3000), None);
    }

    #[test]
    fn a_group_that_does_not_learn_does_not() {
        let twice = [given(1, "big", 0, YEAR), given(2, "big", 3, YEAR)];
        let learning = Learning { learn: false, ..Learning::default() };
        assert_eq!(weigh("big", &twice, None, None, &learning, at(4 * HOUR)), None);
        let patient = Learning { returns: 3, ..Learning::default() };
        assert_eq!(weigh("big", &twice, None, None, &patient, at(4 * HOUR)), None);
    }
}
