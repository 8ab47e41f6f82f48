//! Whether the group lets the request through, and as what; whether the answer could be delivered at all.

use std::sync::Arc;

use jiff::Timestamp;

use super::authenticate::Authenticated;
use super::choose::{Chosen, ChosenProfile};
use super::core::Core;
use super::stage::{Flow, Step};
use super::{EnrollError, EnrollmentRequest, Outcome, Rejection, RejectionCode};
use crate::algorithm::AlgorithmProfile;
use crate::inventory::CertificateStatus;
use crate::policy::{DenialCode, DeviceGroup, Permit, PermitInput};
use crate::upstream::UpstreamCa;
use crate::x509::Certificate;

/// A request that policy lets through.
pub struct Permitted {
    pub(super) authenticated: Authenticated,
    pub(super) chosen: Arc<ChosenProfile>,
    pub(super) upstream: Arc<dyn UpstreamCa>,
    pub(super) permit: Permit,
}

/// The step.
#[derive(Clone)]
pub(crate) struct Enforce(pub(crate) Arc<Core>);

impl Step<Chosen> for Enforce {
    type Out = Permitted;

    async fn step(&self, chosen: Chosen) -> Result<Flow<Permitted>, EnrollError> {
        let Chosen { authenticated, chosen } = chosen;
        let request = &authenticated.grouped.recorded.request;
        let group = &authenticated.grouped.group;
        // Before anything else: there is no use in a certificate that cannot be handed over.
        if let Err(why) = request.reply.deliverable() {
            return Ok(Flow::Stop(Outcome::Refused(Rejection::new(RejectionCode::NotDeliverable, why))));
        }
        let now = self.0.now();
        let renews = authenticated.proof.renews().map(Arc::as_ref);
        match permit(&self.0, request, group, &chosen.profile, renews, now).await? {
            Ok((upstream, permit)) => Ok(Flow::Continue(Permitted { authenticated, chosen, upstream, permit })),
            Err(rejection) => Ok(Flow::Stop(Outcome::Refused(rejection))),
        }
    }
}

/// Resolves the issuer of the profile, and asks the group.
pub(super) async fn permit(
    core: &Core,
    request: &EnrollmentRequest,
    group: &DeviceGroup,
    profile: &AlgorithmProfile,
    renews: Option<&Certificate>,
    now: Timestamp,
) -> Result<Result<(Arc<dyn UpstreamCa>, Permit), Rejection>, EnrollError> {
    let unresolved = |what: &str| EnrollError::Internal(format!("group {:?}: {what} is not in the snapshot", group.name));
    let upstream = request.snapshot.upstream_of(profile).ok_or_else(|| unresolved("the upstream of its profile"))?;
    let issuer = upstream.capabilities(&profile.issuer.ca).ok_or_else(|| unresolved("the CA of its profile"))?;
    let digest_taken = match request.csr.signature_algorithm().digest() {
        Some(digest) => request.endpoint.scep.accept_digests.contains(&digest),
        None => true,
    };
    if !digest_taken {
        let why = format!("the CSR is signed with {}, which the endpoint does not take", request.csr.signature_algorithm());
        return Ok(Err(Rejection::new(RejectionCode::Policy(DenialCode::DigestNotAllowed), why)));
    }
    let permit = match group.permit(&PermitInput { csr: &request.csr, profile, issuer: &issuer, renews, now }) {
        Ok(permit) => permit,
        Err(denial) => return Ok(Err(denial.into())),
    };
    let spki = crate::crypto::provider().digester.sha256(request.csr.spki());
    let device = permit.device.as_deref().unwrap_or_default();
    if let Some(other) = core.inventory.key_used_elsewhere(&spki, &group.name, device).await? {
        let serial = hex::encode(&other.serial);
        if other.status == CertificateStatus::Revoked {
            let why = format!("certificate {serial} of {:?} was revoked because this key is compromised", other.subject);
            return Ok(Err(Rejection::new(RejectionCode::KeyReused, why)));
        }
        if !group.allow_shared_keys {
            let why = format!("certificate {serial} of {:?} has the same key", other.subject);
            return Ok(Err(Rejection::new(RejectionCode::KeyReused, why)));
        }
    }
    Ok(Ok((Arc::clone(upstream), permit)))
}
