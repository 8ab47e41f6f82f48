//! When certificates of ours end: those of the CAs that issue, and the RA's. Told ahead of time, to people and to monitoring.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Enroller;
use crate::snapshot::Snapshot;

/// How long before its end a CA is spoken of: a rollover is announced for months.
const CA_AHEAD: Duration = Duration::from_secs(90 * 86_400);

/// How long before their end the RA's certificates are.
const RA_AHEAD: Duration = Duration::from_secs(30 * 86_400);

/// The end of a certificate of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Expiry {
    /// `ca`, `ra-signing` or `ra-encryption`.
    pub kind: &'static str,
    /// `upstream/ca`, or the name of the `[[ra]]`.
    pub name: String,
    /// When.
    pub not_after: Timestamp,
    /// Whether what follows is there already: it is announced, and waits for the switch.
    pub prepared: bool,
}

impl Expiry {
    /// What to say of it now, if it is time.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let ahead = if self.kind == "ca" { CA_AHEAD } else { RA_AHEAD };
        if now.checked_add(ahead).is_ok_and(|then| self.not_after > then) {
            return None;
        }
        let what = match self.kind {
            "ca" => format!("the certificate of CA {}", self.name),
            kind => format!("the {} certificate of RA {}", kind.trim_start_matches("ra-"), self.name),
        };
        let when = match self.not_after <= now {
            true => format!("ended {}", self.not_after),
            false => format!("ends {}, in {} days", self.not_after, self.not_after.duration_since(now).as_hours() / 24),
        };
        let command = if self.kind == "ca" { "ravelin ca rollover" } else { "ravelin ra rollover" };
        let step = if self.prepared { "switch" } else { "prepare" };
        Some(format!("{what} {when}; next: {command} {step}"))
    }
}

/// When the certificates end that serve now.
pub fn expiries(snapshot: &Snapshot) -> Vec<Expiry> {
    let issuers: BTreeSet<(&str, &str)> = snapshot
        .groups
        .values()
        .flat_map(|group| snapshot.profiles_of(group))
        .flat_map(|profile| profile.issuers())
        .map(|issuer| (issuer.upstream.as_str(), issuer.ca.as_str()))
        .collect();
    let mut found = Vec::new();
    for (upstream, ca) in issuers {
        let Some(connector) = snapshot.upstreams.get(upstream) else { continue };
        // The first of a chain to end ends the use of all below it.
        let Some(not_after) = connector.chain(ca).and_then(|chain| chain.iter().map(|one| one.not_after()).min()) else {
            continue;
        };
        let prepared = connector.next_certificate(ca).is_some();
        found.push(Expiry { kind: "ca", name: format!("{upstream}/{ca}"), not_after, prepared });
    }
    let others = snapshot.ras.iter().map(|(name, ra)| (name.as_str(), ra));
    for (name, ra) in std::iter::once(("default", &snapshot.ra)).chain(others) {
        let prepared = ra.rollover.next.is_some();
        let name = name.to_owned();
        let signing = ra.signer_certificate.not_after();
        found.push(Expiry { kind: "ra-signing", name: name.clone(), not_after: signing, prepared });
        if let Some(decrypter) = ra.decrypters.first().filter(|_| !ra.is_single()) {
            found.push(Expiry { kind: "ra-encryption", name, not_after: decrypter.certificate.not_after(), prepared });
        }
    }
    found
}

impl Enroller {
    /// What to say of certificates that end soon.
    pub fn expiry_warnings(&self) -> Vec<String> {
        let now = self.now();
        expiries(&self.snapshot()).iter().filter_map(|expiry| expiry.warning(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_in_time_and_with_the_next_step() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let days = |days: i64| now + jiff::SignedDuration::from_hours(24 * days);
        let expiry = |kind, left, prepared| Expiry { kind, name: "local/a".into(), not_after: days(left), prepared }.warning(now);
        assert_eq!((expiry("ca", 91, false), expiry("ra-signing", 31, false)), (None, None));
        let told = expiry("ca", 89, false).unwrap();
        assert!(told.contains("in 89 days") && told.contains("ravelin ca rollover prepare"), "{told}");
        assert!(expiry("ca", 89, true).unwrap().contains("rollover switch"));
        let told = expiry("ra-encryption", -1, false).unwrap();
        assert!(
            told.contains("the encryption certificate of RA local/a ended") && told.contains("ravelin ra rollover"),
            "{told}"
        );
    }
}
