//! Whether the device may be believed: by a challenge, or by a certificate that it has.

use std::sync::Arc;

use jiff::Timestamp;

use super::core::{Core, after, before};
use super::match_group::{Grouped, KnownCredentials};
use super::stage::{Flow, Step};
use super::{EnrollError, EnrollmentRequest, Intent, Outcome, Rejection, RejectionCode};
use crate::inventory::CertificateStatus;

use crate::policy::{ChallengePolicy, DeviceGroup, RenewalPolicy, SignerKey, Verdict, select};
use crate::x509::Certificate;
use crate::x509::crl::RevocationReason;

/// A request whose device is believed.
pub struct Authenticated {
    pub(super) grouped: Grouped,
    pub(super) proof: Proof,
}

/// What made the device believed.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// A one-time challenge, to be redeemed when the order is written.
    OneTime {
        /// Public identifier.
        id: String,
        /// Digest.
        digest: [u8; 32],
    },
    /// The group's shared challenge.
    Shared,
    /// A certificate that it has.
    Certificate(Arc<Certificate>),
}

impl Proof {
    /// The rule that let the device in, in words.
    pub(super) fn rule(&self) -> String {
        match self {
            Proof::OneTime { id, .. } => format!("one-time challenge {id}"),
            Proof::Shared => "shared challenge".to_owned(),
            Proof::Certificate(certificate) => format!("renewal of certificate {}", certificate.serial_hex()),
        }
    }

    /// The challenge to redeem.
    pub(super) fn redeem(&self) -> Option<[u8; 32]> {
        match self {
            Proof::OneTime { digest, .. } => Some(*digest),
            _ => None,
        }
    }

    /// The certificate that is renewed.
    pub(super) fn renews(&self) -> Option<&Arc<Certificate>> {
        match self {
            Proof::Certificate(certificate) => Some(certificate),
            _ => None,
        }
    }
}

/// The step.
#[derive(Clone)]
pub(crate) struct Authenticate(pub(crate) Arc<Core>);

impl Step<Grouped> for Authenticate {
    type Out = Authenticated;

    async fn step(&self, grouped: Grouped) -> Result<Flow<Authenticated>, EnrollError> {
        let request = &grouped.recorded.request;
        Ok(match prove(&self.0, request, &grouped.group, &grouped.known, self.0.now()).await? {
            Ok(proof) => Flow::Continue(Authenticated { grouped, proof }),
            Err(rejection) => Flow::Stop(Outcome::Refused(rejection)),
        })
    }
}

/// Looks for a proof: a certificate first, then a challenge. A renewal whose certificate does not count may still bring a challenge,
/// as MDM-managed devices do (a new challenge, the message signed by the old certificate).
pub(super) async fn prove(
    core: &Core,
    request: &EnrollmentRequest,
    group: &DeviceGroup,
    known: &KnownCredentials,
    now: Timestamp,
) -> Result<Result<Proof, Rejection>, EnrollError> {
    let by_certificate = match &request.intent {
        Intent::Renewal(certificate) => match renewal(core, request, group, known, certificate, now).await? {
            Ok(()) => return Ok(Ok(Proof::Certificate(Arc::clone(certificate)))),
            Err(rejection) => Some(rejection),
        },
        Intent::Initial => None,
    };
    if let Some(rejection) = &by_certificate
        && (request.challenge.is_none() || rejection.code == RejectionCode::KeyReused)
    {
        return Ok(Err(rejection.clone()));
    }
    let proven = by_challenge(core, request, group, known, now).await?;
    Ok(proven.and_then(|proof| signed_by_its_own_key(request, group).map(|()| proof)))
}

/// Whether the key that is to be certified signed the message too. Otherwise somebody who has a challenge could have the request of
/// another device certified in its own transaction. A renewal is bound by the certificate that it renews.
fn signed_by_its_own_key(request: &EnrollmentRequest, group: &DeviceGroup) -> Result<(), Rejection> {
    let bound = match request.intent {
        Intent::Initial => request.signer.spki() == request.csr.spki(),
        Intent::Renewal(_) => true,
    };
    if bound || group.signer_key == SignerKey::MayDiffer {
        return Ok(());
    }
    let signer = request.signer.key().map_or_else(|| "unknown".to_owned(), |key| key.to_string());
    let why = format!(
        "the message is signed by a key of {signer}, the request is for another, of {}; group {:?} could allow it: signer-key = \"may-differ\"",
        request.csr.key(),
        group.name
    );
    Err(Rejection::new(RejectionCode::SignerDiffers, why))
}

/// Whether the certificate lets its holder renew it.
async fn renewal(
    core: &Core,
    request: &EnrollmentRequest,
    group: &DeviceGroup,
    known: &KnownCredentials,
    certificate: &Arc<Certificate>,
    now: Timestamp,
) -> Result<Result<(), Rejection>, EnrollError> {
    if let Some(record) = &known.renews
        && record.status == CertificateStatus::Revoked
    {
        let same_key = request.csr.spki() == certificate.spki();
        if same_key && record.revocation_reason == Some(RevocationReason::KeyCompromise) {
            return Ok(Err(Rejection::new(RejectionCode::KeyReused, "the key was revoked as compromised")));
        }
        let serial = certificate.serial_hex();
        return Ok(Err(Rejection::new(RejectionCode::RenewalRevoked, format!("certificate {serial} is revoked"))));
    }
    let Some(policy) = &group.renewal else {
        let why = format!("group {:?} takes no renewals by certificate", group.name);
        return Ok(Err(Rejection::new(RejectionCode::RenewalNotAllowed, why)));
    };
    if let Err(rejection) = in_window(policy, certificate, now) {
        return Ok(Err(rejection));
    }
    if !policy.allow_same_key && request.csr.spki() == certificate.spki() {
        return Ok(Err(Rejection::new(
            RejectionCode::RenewalNotAllowed,
            "the renewal brings the same key, and the group wants a new one",
        )));
    }
    if policy.own && known.renews.as_ref().is_some_and(|record| record.group == group.name) {
        return Ok(Ok(()));
    }
    if let Some(record) = &known.renews {
        let why = format!("the certificate is of group {:?}, not of {:?}", record.group, group.name);
        return Ok(Err(Rejection::new(RejectionCode::RenewalNotAllowed, why)));
    }
    if !policy.earlier.is_empty() {
        let (earlier, leaf) = (policy.earlier.clone(), Arc::clone(certificate));
        let counts = core
            .blocking(move || {
                earlier.iter().any(|(_, ca)| leaf.issuer().matches(ca.subject()) && leaf.verify_signed_by(ca.spki()).is_ok())
            })
            .await?;
        if counts {
            return Ok(Ok(()));
        }
    }
    let why = format!(
        "certificate {} is not in the inventory, and its issuer is not an earlier CA of the group",
        certificate.serial_hex()
    );
    Ok(Err(Rejection::new(RejectionCode::RenewalNotAllowed, why)))
}

fn in_window(policy: &RenewalPolicy, certificate: &Certificate, now: Timestamp) -> Result<(), Rejection> {
    let opens = policy.window.map_or(certificate.not_before(), |window| before(certificate.not_after(), window));
    let closes = after(certificate.not_after(), policy.grace);
    if now < opens {
        return Err(Rejection::new(RejectionCode::RenewalWindow, format!("it can be renewed from {opens} on")));
    }
    if now > closes {
        return Err(Rejection::new(RejectionCode::RenewalWindow, format!("it could be renewed until {closes}")));
    }
    Ok(())
}

async fn by_challenge(
    core: &Core,
    request: &EnrollmentRequest,
    group: &DeviceGroup,
    known: &KnownCredentials,
    now: Timestamp,
) -> Result<Result<Proof, Rejection>, EnrollError> {
    let refuse = |code, why: String| Ok(Err(Rejection::new(code, why)));
    let Some(text) = &request.challenge else {
        return refuse(RejectionCode::NoCredential, "the request brings no challenge and no certificate of ours".into());
    };
    if group.challenges.is_empty() {
        return refuse(RejectionCode::NoCredential, format!("group {:?} takes no challenges", group.name));
    }
    let one_time = group.challenges.iter().any(|way| matches!(way, ChallengePolicy::OneTime { .. }));
    if let Some(challenge) = known.challenge.as_ref().filter(|challenge| one_time && challenge.group == group.name) {
        let id = &challenge.id;
        if challenge.revoked_at.is_some() {
            return refuse(RejectionCode::ChallengeRevoked, format!("challenge {id} is revoked"));
        }
        if challenge.redeemed_by.is_some() {
            return refuse(RejectionCode::ChallengeSpent, format!("challenge {id} was used before"));
        }
        if challenge.expires_at <= now {
            return refuse(RejectionCode::ChallengeExpired, format!("challenge {id} expired at {}", challenge.expires_at));
        }
        for (selector, wanted) in &challenge.bind {
            let found = select(selector, request.csr.subject(), request.csr.subject_alt_names());
            if found.as_ref() != Some(wanted) {
                let found = found.unwrap_or_else(|| "nothing".into());
                return refuse(
                    RejectionCode::ChallengeNotBound,
                    format!("challenge {id} is for {selector} = {wanted:?}, the request has {found:?}"),
                );
            }
        }
        return Ok(Ok(Proof::OneTime { id: id.clone(), digest: challenge.digest }));
    }
    for way in &group.challenges {
        if let ChallengePolicy::Shared(shared) = way {
            let verdict = match shared.known(text) {
                Some(verdict) => verdict,
                None => {
                    let _turn = core.turn_to_hash().await?;
                    let (shared, text) = (shared.clone(), Arc::clone(text));
                    core.blocking(move || shared.verify(&text)).await?
                }
            };
            match verdict {
                Verdict::Right => return Ok(Ok(Proof::Shared)),
                Verdict::Wrong => {}
                // It may be the right one: that is no refusal, the device may come again.
                Verdict::Later => return Err(EnrollError::Busy),
            }
        }
    }
    refuse(RejectionCode::ChallengeWrong, format!("the challenge is not one of group {:?}", group.name))
}
