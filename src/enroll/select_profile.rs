//! Turns a permit into an order: profile, issuer, form and dates, fully resolved.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::authenticate::Proof;
use super::choose::ChosenProfile;
use super::core::{Core, after, before};
use super::enforce::{Permitted, permit};
use super::learn;
use super::stage::{Flow, Step};
use super::{EnrollError, EnrollmentRequest, Outcome, Rejection, RejectionCode};
use crate::algorithm::{AlgorithmProfile, Form, size};
use crate::policy::endpoint::ReplyShape;
use crate::policy::{DeviceGroup, Permit};
use crate::rollout::{Choice, ChoiceReason};
use crate::upstream::{AllowedUsages, IssuanceOrder, SiblingOrder, UpstreamCa};
use crate::x509::{Certificate, extension};

/// How far back a validity starts, for devices whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(300);

/// A request with its order.
pub struct Ordered {
    pub(super) permitted: Permitted,
    pub(super) order: IssuanceOrder,
}

/// The step.
#[derive(Clone)]
pub(crate) struct SelectProfile(pub(crate) Arc<Core>);

impl Step<Permitted> for SelectProfile {
    type Out = Ordered;

    async fn step(&self, permitted: Permitted) -> Result<Flow<Ordered>, EnrollError> {
        let Permitted { authenticated, chosen, upstream, permit } = permitted;
        let grouped = &authenticated.grouped;
        let start = Selection { chosen, upstream, permit };
        let selected =
            select(&self.0, &grouped.recorded.request, &grouped.group, &authenticated.proof, start, self.0.now()).await?;
        let (Selection { chosen, upstream, permit }, order) = match selected {
            Ok(selected) => selected,
            Err(rejection) => return Ok(Flow::Stop(Outcome::Refused(rejection))),
        };
        if let ChoiceReason::TooLarge { from, .. } = &chosen.choice.why {
            self.0.metrics.fallback(&grouped.group.name, from, "size");
            grouped.recorded.chosen.store(Some(Arc::clone(&chosen)));
        }
        Ok(Flow::Continue(Ordered { permitted: Permitted { authenticated, chosen, upstream, permit }, order }))
    }
}

/// A profile, and what policy makes of the request under it.
pub(super) struct Selection {
    pub(super) chosen: Arc<ChosenProfile>,
    pub(super) upstream: Arc<dyn UpstreamCa>,
    pub(super) permit: Permit,
}

/// Writes the order; where the reply would be too large, that of the first rung below under which it is not. Policy is asked anew for
/// each rung. What a rung refuses is left out: the refusal is the first one.
pub(super) async fn select(
    core: &Core,
    request: &EnrollmentRequest,
    group: &DeviceGroup,
    proof: &Proof,
    start: Selection,
    now: Timestamp,
) -> Result<Result<(Selection, IssuanceOrder), Rejection>, EnrollError> {
    let Selection { chosen, upstream, permit: permitted } = &start;
    let mut rejection = match order(request, group, proof, &chosen.profile, upstream.as_ref(), permitted, now)? {
        Ok(order) => return Ok(Ok((start, order))),
        Err(rejection) if rejection.code == RejectionCode::ReplyTooLarge => rejection,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let renews = proof.renews().map(Arc::as_ref);
    let ladder = &chosen.choice.ladder;
    for (index, name) in ladder.iter().enumerate() {
        let Some(profile) = request.snapshot.profiles.get(name) else { continue };
        let Ok((upstream, permit)) = permit(core, request, group, profile, renews, now).await? else { continue };
        let Ok(order) = order(request, group, proof, profile, upstream.as_ref(), &permit, now)? else { continue };
        let why = ChoiceReason::TooLarge { from: chosen.profile.name.clone(), why: rejection.detail };
        let chosen = ChosenProfile {
            profile: Arc::clone(profile),
            choice: Choice { profile: name.clone(), why, ladder: ladder[index + 1..].to_vec() },
            device: chosen.device.clone(),
            ruling: learn::ruling(group, profile, chosen.device.as_deref(), now),
            lesson: chosen.lesson.clone(),
        };
        return Ok(Ok((Selection { chosen: Arc::new(chosen), upstream, permit }, order)));
    }
    if !ladder.is_empty() {
        rejection.detail.push_str(&format!(", and nothing below it does either: {}", ladder.join(", ")));
    } else if chosen.profile.fallback.is_some() {
        rejection.detail.push_str(", and the deadline of the group, or what the device has shown, rules out what is below it");
    }
    Ok(Err(rejection))
}

/// Writes the order, if its reply keeps to the budget of the profile.
pub(super) fn order(
    request: &EnrollmentRequest,
    group: &DeviceGroup,
    proof: &Proof,
    profile: &AlgorithmProfile,
    upstream: &dyn UpstreamCa,
    permit: &Permit,
    now: Timestamp,
) -> Result<Result<IssuanceOrder, Rejection>, EnrollError> {
    let (order, size) = draft(request, group, proof, profile, upstream, permit, now)?;
    Ok(within_budget(profile, size).map(|()| order))
}

/// Whether a reply of so many octets keeps to the budget of a profile.
pub(super) fn within_budget(profile: &AlgorithmProfile, size: usize) -> Result<(), Rejection> {
    match profile.max_reply {
        Some(budget) if size > budget => {
            let why = format!("the reply would have about {size} octets, the profile allows {budget}");
            Err(Rejection::new(RejectionCode::ReplyTooLarge, why))
        }
        _ => Ok(()),
    }
}

/// Writes the order, and says about how large the reply gets.
pub(super) fn draft(
    request: &EnrollmentRequest,
    group: &DeviceGroup,
    proof: &Proof,
    profile: &AlgorithmProfile,
    upstream: &dyn UpstreamCa,
    permit: &Permit,
    now: Timestamp,
) -> Result<(IssuanceOrder, usize), EnrollError> {
    // Certificates have whole seconds.
    let now = Timestamp::from_second(now.as_second()).map_err(|error| EnrollError::Internal(error.to_string()))?;
    let mut not_after = after(now, profile.validity);
    let mut not_before = before(now, BACKDATE);
    let chain = upstream.chain(&profile.issuer.ca).unwrap_or_default();
    let mut decides = false;
    // It may be any of them that issues.
    for issuer in profile.issuers() {
        let is_sibling = profile.alternative_issuer.as_ref() == Some(issuer);
        if let Some(ca) = request.snapshot.chain_of(issuer).first().filter(|_| !is_sibling) {
            // A certificate that outlives its issuer is of no use for the rest.
            not_after = not_after.min(ca.not_after());
            not_before = not_before.max(ca.not_before());
        }
        let upstream = request.snapshot.upstreams.get(&issuer.upstream);
        decides |= upstream.and_then(|upstream| upstream.capabilities(&issuer.ca)).is_some_and(|able| !able.overrides_usages);
    }
    let subject_alt_names = match permit.subject_alt_names.as_slice() {
        [] => Vec::new(),
        names => extension::subject_alt_names(names).map_err(|error| EnrollError::Internal(error.to_string()))?,
    };
    let order = IssuanceOrder {
        group: group.name.clone(),
        rule: proof.rule(),
        profile: profile.name.clone(),
        form: profile.form,
        signature: profile.signature,
        issuer: profile.issuer.clone(),
        issuer_key: upstream.issuer_key(&profile.issuer.ca),
        failover: profile.failover.clone(),
        spread: profile.spread,
        alternative: profile.alternative.filter(|_| profile.form == Form::Catalyst),
        sibling: profile.sibling().map(|(signature, issuer)| SiblingOrder {
            signature,
            issuer: issuer.clone(),
            issuer_key: request.snapshot.upstreams.get(&issuer.upstream).and_then(|upstream| upstream.issuer_key(&issuer.ca)),
        }),
        related: None,
        csr: request.csr.der().to_vec(),
        spki: request.csr.spki().to_vec(),
        key: request.csr.key(),
        alternative_spki: match request.csr.alternative() {
            Some(alternative) if profile.form == Form::Catalyst => alternative.spki.clone(),
            _ => Vec::new(),
        },
        subject: permit.subject.der().to_vec(),
        subject_alt_names,
        key_usage: permit.key_usage,
        extended_key_usages: permit.extended_key_usages.iter().map(ToString::to_string).collect(),
        allowed: decides.then(|| allowed_usages(group)),
        extensions: profile.extensions.clone(),
        not_before,
        not_after,
        device: permit.device.clone(),
        renews: proof.renews().map(|certificate| hex::encode(certificate.fingerprint())),
        snapshot: request.snapshot.digest_hex(),
    };
    let shape = request.endpoint.scep.reply_certs;
    let others = profile.failover.iter().map(|issuer| expected_reply(&order, shape, &request.snapshot.chain_of(issuer)));
    let size = others.fold(expected_reply(&order, shape, &chain), usize::max);
    Ok((order, size))
}

/// What a group lets through, for an issuer that decides about usages itself.
fn allowed_usages(group: &DeviceGroup) -> AllowedUsages {
    let rules = group.rules();
    let usages = rules.usages.iter().chain(&rules.default_usages);
    AllowedUsages { key_usage: rules.key_usage, extended_key_usages: usages.map(ToString::to_string).collect() }
}

/// About how large a reply will be, with as much of the chain as the endpoint sends along.
fn expected_reply(order: &IssuanceOrder, shape: ReplyShape, chain: &[Arc<Certificate>]) -> usize {
    let subject = order.spki.len() + order.alternative_spki.len() + order.subject.len() + order.subject_alt_names.len();
    let certificate = size::certificate_len(subject, order.signature, order.alternative, &order.extensions);
    let above = chain.iter().take(shape.certificates_above(chain)).map(|certificate| certificate.der().len()).sum();
    size::reply_len(certificate, above)
}
