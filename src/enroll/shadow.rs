//! Shadow runs: what would have become of a live request under another profile.
//!
//! A run goes the way of the request, from policy to the signature, and stops before the issuer: it signs with a throwaway key of the
//! same kind, and nothing leaves this node. It begins after the answer was made, one at a time, from a queue that drops what it has no
//! place for. Whatever happens in it, the live request does not notice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::authenticate::Proof;
use super::core::Core;
use super::enforce::permit;
use super::learn::ruling;
use super::operate::OperateError;
use super::select_profile::{draft, within_budget};
use super::{EnrollError, Enroller, EnrollmentRequest, Rejection, RejectionCode};
use crate::algorithm::{AlgorithmProfile, Digest, Family, IssuerRef, KeyAlgorithm, SignatureAlgorithm};
use crate::crypto::pool::{Lane, PoolError};
use crate::crypto::{Signer, provider};
use crate::inventory::{ShadowOutcome, ShadowTally};
use crate::policy::DeviceGroup;
use crate::rollout::Ruling;
use crate::snapshot::Snapshot;
use crate::upstream::IssuanceOrder;
use crate::x509::builder::{CertificateTemplate, random_serial, subject_key_identifier};
use crate::x509::{DistinguishedName, X509Error};

/// How many requests wait for their shadow run at most.
const QUEUE: usize = 256;

/// The code of a run that came to its end.
const OK: &str = "ok";

/// How many would-be refusals a report names.
const EXAMPLES: usize = 20;

/// Requests that wait for their shadow run.
pub(crate) struct ShadowQueue {
    sender: mpsc::Sender<ShadowJob>,
    receiver: AsyncMutex<mpsc::Receiver<ShadowJob>>,
    keys: ThrowawayKeys,
}

/// A live request that was let in.
pub(super) struct ShadowJob {
    request: EnrollmentRequest,
    group: Arc<DeviceGroup>,
    proof: Proof,
}

impl ShadowJob {
    /// The run of a request, if its group has a shadow. The challenge is left behind: it has done its work.
    pub(super) fn of(request: &EnrollmentRequest, group: &Arc<DeviceGroup>, proof: &Proof) -> Option<Self> {
        group.shadow.as_ref()?;
        let request = EnrollmentRequest { challenge: None, ..request.clone() };
        Some(ShadowJob { request, group: Arc::clone(group), proof: proof.clone() })
    }
}

impl ShadowQueue {
    /// An empty queue.
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        Self { sender, receiver: AsyncMutex::new(receiver), keys: ThrowawayKeys::default() }
    }
}

/// Takes a request into the queue; drops it if that is full.
pub(super) fn offer(core: &Core, job: ShadowJob) {
    let group = Arc::clone(&job.group);
    if core.shadow.sender.try_send(job).is_err()
        && let Some(candidate) = &group.shadow
    {
        core.metrics.shadow(&group.name, candidate, "dropped");
    }
}

/// What shadow runs of a group have shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShadowReport {
    /// The device group.
    pub group: String,
    /// The profile that it is on.
    pub profile: String,
    /// The profile that is tried in its shadow.
    pub candidate: String,
    /// The largest reply that the candidate allows.
    pub max_reply: Option<usize>,
    /// What became of the devices.
    #[serde(flatten)]
    pub tally: ShadowTally,
}

impl Enroller {
    /// What shadow runs of a group have shown.
    pub async fn shadow(&self, group: &str) -> Result<ShadowReport, OperateError> {
        let snapshot = self.snapshot();
        let group = snapshot.groups.get(group).ok_or_else(|| OperateError::NoSuchGroup(group.to_owned()))?;
        let candidate = group.shadow.clone().ok_or_else(|| OperateError::NoShadow(group.name.clone()))?;
        let tally = self.inventory().shadow_tally(&group.name, &candidate, EXAMPLES).await?;
        let max_reply = snapshot.profiles.get(&candidate).and_then(|profile| profile.max_reply);
        Ok(ShadowReport { group: group.name.clone(), profile: group.profile.clone(), candidate, max_reply, tally })
    }

    /// Waits for a request, and makes its shadow run. The worker calls it, time and again.
    pub async fn next_shadow(&self) {
        let job = self.core().shadow.receiver.lock().await.recv().await;
        if let Some(job) = job {
            run(self.core(), job).await;
        }
    }

    /// Makes the shadow runs of all requests that wait now; gives how many.
    pub async fn settle_shadows(&self) -> usize {
        let mut count = 0;
        loop {
            let job = self.core().shadow.receiver.lock().await.try_recv();
            let Ok(job) = job else { return count };
            run(self.core(), job).await;
            count += 1;
        }
    }
}

/// What a run came to, if it came to something.
struct Run {
    reply: Option<usize>,
    signing: Option<Duration>,
    rejection: Option<Rejection>,
}

impl Run {
    fn refused(rejection: Rejection) -> Self {
        Run { reply: None, signing: None, rejection: Some(rejection) }
    }
}

async fn run(core: &Core, job: ShadowJob) {
    let ShadowJob { request, group, proof } = job;
    let Some(candidate) = &group.shadow else { return };
    let Some(profile) = request.snapshot.profiles.get(candidate) else { return };
    let ended = match attempt(core, &request, &group, &proof, profile).await {
        Ok(ended) => ended,
        Err(error) => {
            let busy = matches!(error, EnrollError::Busy);
            core.metrics.shadow(&group.name, candidate, if busy { "dropped" } else { "failed" });
            tracing::debug!(group = group.name, candidate, "A shadow run came to nothing: {error}.");
            return;
        }
    };
    core.metrics.shadow(&group.name, candidate, if ended.rejection.is_none() { "ok" } else { "refused" });
    let renews = proof.renews().map(Arc::as_ref);
    let key = || format!("key:{}", hex::encode(provider().digester.sha256(request.csr.spki())));
    let now = core.now();
    let (code, detail) = match ended.rejection {
        Some(rejection) => (rejection.code.name(), rejection.detail),
        None => (OK, String::new()),
    };
    let outcome = ShadowOutcome {
        group: group.name.clone(),
        candidate: candidate.clone(),
        device: group.identify(&request.csr, renews).unwrap_or_else(key),
        code: code.to_owned(),
        detail: detail.chars().take(512).collect(),
        reply: ended.reply.map(|octets| octets as u64),
        signing_micros: ended.signing.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
        first_at: now,
        at: now,
        count: 1,
    };
    if let Err(error) = core.inventory.add_shadow(outcome).await {
        tracing::debug!(group = group.name, "A shadow run was not written down: {error}.");
    }
}

/// The way of a request under another profile, by the very functions that the live one goes by.
async fn attempt(
    core: &Core,
    request: &EnrollmentRequest,
    group: &DeviceGroup,
    proof: &Proof,
    profile: &Arc<AlgorithmProfile>,
) -> Result<Run, EnrollError> {
    let now = core.now();
    let renews = proof.renews().map(Arc::as_ref);
    if let Err(why) = request.reply.deliverable() {
        return Ok(Run::refused(Rejection::new(RejectionCode::NotDeliverable, why)));
    }
    let device = group.identify(&request.csr, renews);
    if ruling(group, profile, device.as_deref(), now) == Ruling::Passed {
        let why = format!("profile {:?} signs classically only, and the deadline of the group has passed", profile.name);
        return Ok(Run::refused(Rejection::new(RejectionCode::DeadlinePassed, why)));
    }
    let (upstream, permit) = match permit(core, request, group, profile, renews, now).await? {
        Ok(permitted) => permitted,
        Err(rejection) => return Ok(Run::refused(rejection)),
    };
    let (order, size) = draft(request, group, proof, profile, upstream.as_ref(), &permit, now)?;
    if let Err(rejection) = within_budget(profile, size) {
        return Ok(Run { reply: Some(size), signing: None, rejection: Some(rejection) });
    }
    let signing = sign(core, &request.snapshot, order).await?;
    Ok(Run { reply: Some(size), signing: Some(signing), rejection: None })
}

/// Signs what was ordered with throwaway keys, and says how long it took. What finds no place is dropped.
async fn sign(core: &Core, snapshot: &Snapshot, order: IssuanceOrder) -> Result<Duration, EnrollError> {
    let keys = &core.shadow.keys;
    let primary = keys.get(core, order.signature, key_of(snapshot, &order.issuer)).await?;
    let alternative = match order.alternative {
        Some(algorithm) => Some((keys.get(core, algorithm, None).await?, algorithm)),
        None => None,
    };
    let sibling = match &order.sibling {
        Some(sibling) => Some((keys.get(core, sibling.signature, key_of(snapshot, &sibling.issuer)).await?, sibling.signature)),
        None => None,
    };
    let beside = alternative.iter().chain(&sibling).map(|(_, algorithm)| *algorithm);
    let lane = Lane::of(std::iter::once(order.signature).chain(beside));
    let work = move || -> Result<Duration, X509Error> {
        let template = template(&order)?;
        let started = Instant::now();
        match &alternative {
            Some((key, algorithm)) => template.clone().sign_catalyst(&*primary, order.signature, &**key, *algorithm)?,
            None => template.sign(&*primary, order.signature)?,
        };
        if let Some((key, algorithm)) = &sibling {
            template.sign(&**key, *algorithm)?;
        }
        Ok(started.elapsed())
    };
    let signed: Result<Duration, X509Error> = spare(core, lane, work).await?;
    signed.map_err(|error| EnrollError::Internal(error.to_string()))
}

/// Runs slow work where there is a place that no live request needs; the last one of a lane is left to those.
async fn spare<T: Send + 'static>(core: &Core, lane: Lane, work: impl FnOnce() -> T + Send + 'static) -> Result<T, EnrollError> {
    if core.pool.free_in(lane) < 2 {
        return Err(EnrollError::Busy);
    }
    core.pool.run_in(lane, work).await.map_err(|error| match error {
        PoolError::Full => EnrollError::Busy,
        PoolError::Panicked => EnrollError::Internal(error.to_string()),
    })
}

/// A certificate as it would be ordered, as far as its signature is concerned: no issuer has been asked what else it adds.
fn template(order: &IssuanceOrder) -> Result<CertificateTemplate, X509Error> {
    let subject = DistinguishedName::from_der(&order.subject)?;
    Ok(CertificateTemplate {
        serial: random_serial(),
        issuer: subject.clone(),
        subject,
        not_before: order.not_before,
        not_after: order.not_after,
        spki: order.spki.clone(),
        extensions: vec![subject_key_identifier(&order.spki)?],
    })
}

/// The kind of key that an issuer has.
fn key_of(snapshot: &Snapshot, issuer: &IssuerRef) -> Option<KeyAlgorithm> {
    snapshot.chain_of(issuer).first().and_then(|certificate| certificate.key())
}

/// Keys that sign shadow runs and nothing else: made once for each kind, kept in memory, and gone with the process.
#[derive(Default)]
struct ThrowawayKeys(Mutex<HashMap<KeyAlgorithm, Arc<dyn Signer>>>);

impl ThrowawayKeys {
    /// A key for this signature, of the kind that the issuer has if it can make it.
    async fn get(
        &self,
        core: &Core,
        algorithm: SignatureAlgorithm,
        issuer: Option<KeyAlgorithm>,
    ) -> Result<Arc<dyn Signer>, EnrollError> {
        let kind = match (algorithm.only_key(), issuer.filter(|key| algorithm.fits(*key))) {
            (Some(only), _) => only,
            (None, Some(key)) => key,
            (None, None) => usual_key(algorithm),
        };
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&kind) {
            return Ok(Arc::clone(known));
        }
        // RSA keys take seconds: apart from what devices wait for.
        let made = spare(core, Lane::Slow, move || provider().keys.generate(kind)).await?;
        let made = made.map_err(|error| EnrollError::Internal(error.to_string()))?;
        Ok(Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_insert(made)))
    }
}

/// The key for an algorithm that takes several, where the issuer's is not known.
fn usual_key(algorithm: SignatureAlgorithm) -> KeyAlgorithm {
    match (algorithm.family(), algorithm.digest()) {
        (Family::Rsa, _) => KeyAlgorithm::Rsa(3072),
        (_, Some(Digest::Sha384)) => KeyAlgorithm::EcdsaP384,
        (_, Some(Digest::Sha512)) => KeyAlgorithm::EcdsaP521,
        _ => KeyAlgorithm::EcdsaP256,
    }
}
