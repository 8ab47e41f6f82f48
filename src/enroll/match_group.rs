//! Which of the endpoint's groups a request is of.

use std::sync::Arc;

use super::core::Core;
use super::record::Recorded;
use super::stage::{Flow, Step};
use super::{EnrollError, EnrollmentRequest, Intent, Outcome, Rejection, RejectionCode, challenge};
use crate::inventory::{CertificateRecord, Challenge};
use crate::policy::{DeviceGroup, MatchInput, Verdict};

/// A request whose group is known.
pub struct Grouped {
    pub(super) recorded: Recorded,
    pub(super) group: Arc<DeviceGroup>,
    pub(super) known: KnownCredentials,
}

/// What the inventory knows of the credentials that came along: looked up once.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownCredentials {
    /// The one-time challenge.
    pub(super) challenge: Option<Challenge>,
    /// The certificate that is renewed.
    pub(super) renews: Option<CertificateRecord>,
}

/// The step.
#[derive(Clone)]
pub(crate) struct MatchGroup(pub(crate) Arc<Core>);

impl Step<Recorded> for MatchGroup {
    type Out = Grouped;

    async fn step(&self, recorded: Recorded) -> Result<Flow<Grouped>, EnrollError> {
        let known = look_up(&self.0, &recorded.request).await?;
        Ok(match choose(&self.0, &recorded.request, &known).await? {
            Ok(group) => {
                // Set once per request: the cell is fresh.
                let _ = recorded.group.set(Arc::clone(&group));
                Flow::Continue(Grouped { recorded, group, known })
            }
            Err(rejection) => Flow::Stop(Outcome::Refused(rejection)),
        })
    }
}

/// Looks up the credentials of a request.
pub(super) async fn look_up(core: &Core, request: &EnrollmentRequest) -> Result<KnownCredentials, EnrollError> {
    let challenge = match &request.challenge {
        Some(text) => core.inventory.challenge(&challenge::digest(text)).await?,
        None => None,
    };
    let renews = match &request.intent {
        Intent::Renewal(certificate) => core.inventory.certificate(&certificate.fingerprint()).await?,
        Intent::Initial => None,
    };
    Ok(KnownCredentials { challenge, renews })
}

/// Chooses the group: the only one of the endpoint, or the one of highest priority that matches.
pub(super) async fn choose(
    core: &Core,
    request: &EnrollmentRequest,
    known: &KnownCredentials,
) -> Result<Result<Arc<DeviceGroup>, Rejection>, EnrollError> {
    if let [only] = request.endpoint.groups.as_slice() {
        // There is nothing to choose, but a group that names its networks is not for the others.
        let source = request.peer.ip();
        if !only.matching().admits(source) {
            let why = format!("group {:?} is not for {source}: `sources` of its [match]", only.name);
            return Ok(Err(Rejection::new(RejectionCode::NoGroup, why)));
        }
        return Ok(Ok(Arc::clone(only)));
    }
    // A group that matches by its shared challenge hashes a password: slow.
    let slow = |text: &str| known.challenge.is_none() && request.endpoint.groups.iter().any(|group| group.matches_slowly(text));
    let _turn = match request.challenge.as_ref().is_some_and(|text| slow(text)) {
        true => Some(core.turn_to_hash().await?),
        false => None,
    };
    let (request, known) = (request.clone(), known.clone());
    core.blocking(move || best(&request, &known)).await?
}

fn best(request: &EnrollmentRequest, known: &KnownCredentials) -> Result<Result<Arc<DeviceGroup>, Rejection>, EnrollError> {
    let input = MatchInput {
        csr: &request.csr,
        challenge_group: known.challenge.as_ref().map(|c| c.group.as_str()),
        challenge: request.challenge.as_ref().map(|c| c.as_str()),
        renews_group: known.renews.as_ref().map(|c| c.group.as_str()),
        source: request.peer.ip(),
    };
    for group in &request.endpoint.groups {
        match group.matches(&input) {
            Verdict::Right => return Ok(Ok(Arc::clone(group))),
            Verdict::Wrong => {}
            Verdict::Later => return Err(EnrollError::Busy),
        }
    }
    let tried = request.endpoint.groups.iter().map(|g| g.name.as_str()).collect::<Vec<_>>().join(", ");
    let why = format!("none of the groups of endpoint {:?} matches: {tried}", request.endpoint.name);
    Ok(Err(Rejection::new(RejectionCode::NoGroup, why)))
}
