//! What would happen to a request, without anything happening: the same functions as the steps, nothing written.

use std::sync::Arc;

use serde::Serialize;

use super::authenticate::{Proof, prove};
use super::choose::{self, ChosenProfile};
use super::enforce::permit;
use super::inspect::names_of;
use super::match_group::{choose, look_up};
use super::select_profile::{Selection, select};
use super::{EnrollError, Enroller, EnrollmentRequest, Rejection};
use crate::policy::Approval;
use crate::upstream::IssuanceOrder;
use crate::x509::DistinguishedName;

/// What would happen, step by step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The endpoint that would answer.
    pub endpoint: String,
    /// What was asked for.
    pub subject: String,
    /// The names that were asked for.
    pub names: Vec<String>,
    /// The kind of the key.
    pub key: String,
    /// The group.
    pub group: Option<String>,
    /// The rule that would let it in.
    pub rule: Option<String>,
    /// The algorithm profile.
    pub profile: Option<String>,
    /// Stable code of why it is this profile.
    pub chosen_by: Option<String>,
    /// Why it is this profile.
    pub choice: Option<String>,
    /// What was learned of the device.
    pub findings: Vec<String>,
    /// The exception from the deadline of the group that lets it through.
    pub exception: Option<String>,
    /// The issuer: `upstream/ca`.
    pub issuer: Option<String>,
    /// Who would sign in its place, in this order.
    pub failover: Vec<String>,
    /// Whether orders are spread over all of these.
    pub spread: bool,
    /// What would sign.
    pub signature: Option<String>,
    /// The second signature, of a form that has one, and where it would stand.
    pub alternative: Option<String>,
    /// What would stand in the certificate.
    pub certificate: Option<ExplainedCertificate>,
    /// `issue`, `wait for approval` or `refuse`.
    pub verdict: String,
    /// The stable code of the refusal.
    pub code: Option<String>,
    /// Why.
    pub why: String,
}

/// What would stand in the certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExplainedCertificate {
    /// The subject.
    pub subject: String,
    /// The subject alternative names.
    pub names: Vec<String>,
    /// End of the validity.
    pub not_after: String,
    /// The device, as the group recognises it.
    pub device: Option<String>,
    /// What policy changed.
    pub changes: Vec<String>,
}

impl Enroller {
    /// Says what would happen to a request. With `assume_authenticated` the credential is not looked at: for a bare CSR.
    pub async fn explain(&self, request: &EnrollmentRequest, assume_authenticated: bool) -> Result<Explanation, EnrollError> {
        let core = self.core();
        let now = core.now();
        let mut told = Explanation {
            endpoint: request.endpoint.name.clone(),
            subject: request.csr.subject().to_string(),
            names: request.csr.subject_alt_names().iter().map(|name| format!("{}:{}", name.kind(), name.value())).collect(),
            key: request.csr.key().to_string(),
            ..Explanation::default()
        };
        let known = look_up(core, request).await?;
        let group = match choose(core, request, &known).await? {
            Ok(group) => group,
            Err(rejection) => return Ok(refused(told, &rejection)),
        };
        told.group = Some(group.name.clone());
        let proof = match assume_authenticated {
            true => Proof::Shared,
            false => match prove(core, request, &group, &known, now).await? {
                Ok(proof) => proof,
                Err(rejection) => return Ok(refused(told, &rejection)),
            },
        };
        told.rule = Some(if assume_authenticated { "assumed: the credential was not looked at".into() } else { proof.rule() });
        let renews = proof.renews().map(Arc::as_ref);
        let chosen = Arc::new(choose::choose(core, request, &group, renews, now).await?);
        let profile = Arc::clone(&chosen.profile);
        told.profile = Some(profile.name.clone());
        told.chosen_by = Some(chosen.choice.why.code().to_owned());
        told.choice = Some(chosen.choice.why.to_string());
        told.exception = chosen.exception();
        if let Some(rejection) = chosen.too_late(&group) {
            return Ok(refused(told, &rejection));
        }
        told.findings =
            chosen.lesson.known.iter().map(|known| format!("cannot digest {}: {}", known.profile, known.detail)).collect();
        let (upstream, permit) = match permit(core, request, &group, &profile, renews, now).await? {
            Ok(permitted) => permitted,
            Err(rejection) => return Ok(refused(told, &rejection)),
        };
        let issuer = |told: &mut Explanation, chosen: &ChosenProfile| {
            let profile = &chosen.profile;
            told.profile = Some(profile.name.clone());
            told.chosen_by = Some(chosen.choice.why.code().to_owned());
            told.choice = Some(chosen.choice.why.to_string());
            told.exception = chosen.exception();
            told.issuer = Some(format!("{}/{}", profile.issuer.upstream, profile.issuer.ca));
            told.failover = profile.failover.iter().map(ToString::to_string).collect();
            told.spread = profile.spread;
            told.signature = Some(profile.signature.name().to_owned());
            told.alternative = profile.alternative.map(|alternative| match profile.sibling() {
                Some((_, issuer)) => format!("{alternative} by {issuer}, in a sibling"),
                None => format!("{alternative} in the same certificate"),
            });
        };
        issuer(&mut told, &chosen);
        let start = Selection { chosen, upstream, permit };
        let (selection, order) = match select(core, request, &group, &proof, start, now).await? {
            Ok(selected) => selected,
            Err(rejection) => return Ok(refused(told, &rejection)),
        };
        issuer(&mut told, &selection.chosen);
        told.certificate = Some(certificate_of(&order, selection.permit.changes));
        let waits = match group.approval {
            Approval::Automatic => false,
            Approval::Manual => true,
            Approval::ManualFirst => proof.renews().is_none(),
        };
        (told.verdict, told.why) = match waits {
            true => ("wait for approval".into(), format!("group {:?} has approval = {:?}", group.name, group.approval.name())),
            false => ("issue".into(), format!("every rule of group {:?} lets it through", group.name)),
        };
        Ok(told)
    }
}

fn refused(mut told: Explanation, rejection: &Rejection) -> Explanation {
    told.verdict = "refuse".into();
    told.code = Some(rejection.code.name().to_owned());
    told.why = rejection.detail.clone();
    told
}

fn certificate_of(order: &IssuanceOrder, changes: Vec<String>) -> ExplainedCertificate {
    ExplainedCertificate {
        subject: DistinguishedName::from_der(&order.subject).map(|name| name.to_string()).unwrap_or_default(),
        names: names_of(order),
        not_after: order.not_after.to_string(),
        device: order.device.clone(),
        changes,
    }
}
