//! Looking over the RA's certificates, as a start, a readiness probe and `ra check` do.

use std::time::Duration;

use jiff::Timestamp;

use super::certify::signer_usage;
use super::install::missing_usage;
use super::{MIN_RSA_BITS, Role};
use crate::algorithm::{Digest, KeyAlgorithm};
use crate::crypto::RaIdentity;
use crate::upstream::local::authority::same_key;
use crate::x509::{Certificate, KeyUsage};

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A stable code to search for.
    pub code: &'static str,
    /// What it is, and what to do.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, though not with every client, or not for long.
    Warning,
    /// Devices cannot enroll.
    Error,
}

/// Looks over an identity: what would keep devices from enrolling now, or when `soon` is over.
pub fn check(identity: &RaIdentity, now: Timestamp, soon: Duration) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    let only_one = identity.is_single();
    let signer = &identity.signer_certificate;
    check_one(&mut findings, Role::Signer, signer, signer_usage(only_one), identity, now, soon);

    if only_one {
        findings.warn(
            "ra-key-shared",
            "one RA key signs and decrypts: some clients refuse replies that are signed with the key \
             they encrypt to; two keys are the better choice unless a client cannot tell two certificates apart",
        );
    } else {
        let decrypter = &identity.decrypter().certificate;
        check_one(&mut findings, Role::Decrypter, decrypter, KeyUsage::KEY_ENCIPHERMENT, identity, now, soon);
        if same_key(signer.spki(), decrypter.spki()) {
            findings.warn(
                "ra-key-shared",
                "both RA certificates are for the same key: some clients refuse replies that are \
                 signed with the key they encrypt to; make two keys",
            );
        }
        if signer.key_usage().is_some_and(|u| u.contains(KeyUsage::KEY_ENCIPHERMENT)) {
            findings.warn(
                "ra-key-usage-ambiguous",
                "the RA's signing certificate has the key usage keyEncipherment: clients may \
                 encrypt to it, and we could not open that; have it issued with digitalSignature alone",
            );
        }
    }
    check_chain(&mut findings, identity, now, soon);
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn warn(&mut self, code: &'static str, message: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Warning, code, message: message.into() });
    }

    fn error(&mut self, code: &'static str, message: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Error, code, message: message.into() });
    }

    fn validity(&mut self, what: &str, certificate: &Certificate, now: Timestamp, soon: Duration) {
        let (from, to) = (certificate.not_before(), certificate.not_after());
        if to <= now {
            self.error("ra-certificate-expired", format!("{what} ended {to}; renew it"));
        } else if from > now {
            self.error("ra-certificate-not-yet-valid", format!("{what} begins {from}; check the clock"));
        } else if now.checked_add(soon).map_or(true, |then| to <= then) {
            let days = to.duration_since(now).as_hours() / 24;
            self.warn("ra-certificate-expires", format!("{what} ends {to}, in {days} days; renew it"));
        }
    }

    fn signature(&mut self, what: &str, certificate: &Certificate, identity: &RaIdentity) {
        match certificate.signature_algorithm() {
            Some(a) if a.is_post_quantum() && encapsulates(identity) => {}
            Some(a) if a.is_post_quantum() => self.error(
                "ra-issuer-post-quantum",
                format!("{what} is signed with {a}, which old devices do not know; the RA needs certificates of a classical CA"),
            ),
            Some(a) if a.digest().is_some_and(Digest::is_legacy) => {
                self.warn("ra-signature-weak", format!("{what} is signed with {a}; have it issued again with SHA-256"));
            }
            Some(_) => {}
            None => self.warn("ra-signature-unknown", format!("{what} is signed with an algorithm that we do not know")),
        }
    }
}

/// Whether devices encapsulate to this RA: those know more than the old ones.
fn encapsulates(identity: &RaIdentity) -> bool {
    identity.decrypters.first().is_some_and(|decrypter| decrypter.key.key().can_decapsulate())
}

fn check_one(
    findings: &mut Findings,
    role: Role,
    certificate: &Certificate,
    needed: KeyUsage,
    identity: &RaIdentity,
    now: Timestamp,
    soon: Duration,
) {
    let what = format!("the RA's {role} certificate");
    findings.validity(&what, certificate, now, soon);
    findings.signature(&what, certificate, identity);
    if let Some(missing) = missing_usage(certificate, needed) {
        findings.error(
            "ra-key-usage",
            format!(
                "{what} lacks the key usage {missing}: clients may encrypt to the CA instead, or \
             refuse replies; have it issued again with that usage"
            ),
        );
    }
    match certificate.key() {
        Some(KeyAlgorithm::Rsa(bits)) if bits < MIN_RSA_BITS => {
            findings.warn("ra-key-weak", format!("{what} has an RSA key of {bits} bits; renew it with a new key"));
        }
        Some(KeyAlgorithm::Rsa(_)) => {}
        Some(key) if encapsulates(identity) && key.can_sign() == (role == Role::Signer) => {}
        _ => findings.error("ra-key-not-rsa", format!("{what} has a key that is not RSA")),
    }
    if certificate.is_ca() || identity.chain.iter().any(|ca| same_key(ca.spki(), certificate.spki())) {
        findings.warn("ra-key-is-ca", format!("{what} has the key of a CA; the RA needs keys of its own"));
    }
}

fn check_chain(findings: &mut Findings, identity: &RaIdentity, now: Timestamp, soon: Duration) {
    if identity.chain.is_empty() {
        findings.error(
            "ra-chain-missing",
            "there is no CA certificate above the RA's: devices cannot check them; install them \
             again with their chain",
        );
        return;
    }
    for ca in &identity.chain {
        let what = format!("the CA certificate {:?} above the RA's", ca.subject().to_string());
        findings.validity(&what, ca, now, soon);
        let self_signed = ca.issuer() == ca.subject();
        // Nobody checks the signature of a root.
        if !self_signed {
            findings.signature(&what, ca, identity);
        }
    }
    let mut leaves = vec![&identity.signer_certificate];
    leaves.extend((!identity.is_single()).then(|| &identity.decrypter().certificate));
    for leaf in leaves {
        let signed_by = |ca: &Certificate| ca.subject() == leaf.issuer() && leaf.verify_signed_by(ca.spki()).is_ok();
        if !identity.chain.iter().any(|ca| signed_by(ca)) {
            findings.error(
                "ra-chain-broken",
                format!(
                    "no CA certificate in the RA's chain signed {:?}; install it again with its chain",
                    leaf.subject().to_string()
                ),
            );
        }
    }
}
