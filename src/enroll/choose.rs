//! Which profile a request gets: chosen once, before anything depends on it, and kept to the end.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;

use super::authenticate::Authenticated;
use super::core::Core;
use super::learn::{self, Lesson};
use super::shadow::ShadowJob;
use super::stage::{Flow, Step};
use super::{EnrollError, EnrollmentRequest, Outcome, Rejection, RejectionCode};
use crate::algorithm::AlgorithmProfile;
use crate::inventory::Transaction;
use crate::policy::DeviceGroup;
use crate::rollout::{self, Choice, DeviceKnowledge, Ruling, Situation};
use crate::x509::Certificate;

/// A request whose profile is chosen.
pub struct Chosen {
    pub(super) authenticated: Authenticated,
    pub(super) chosen: Arc<ChosenProfile>,
}

/// The profile of a request.
#[derive(Clone, Debug)]
pub(super) struct ChosenProfile {
    /// The profile, out of the snapshot that the request is decided by.
    pub(super) profile: Arc<AlgorithmProfile>,
    /// Why it is this one.
    pub(super) choice: Choice,
    /// The device, where the choice needed to know it.
    pub(super) device: Option<String>,
    /// What the deadline of the group says of it.
    pub(super) ruling: Ruling,
    /// What the request has taught of its device.
    pub(super) lesson: Lesson,
}

impl ChosenProfile {
    /// The refusal, if the deadline of the group has passed and nothing excepts the device.
    pub(super) fn too_late(&self, group: &DeviceGroup) -> Option<Rejection> {
        let deadline = group.deadline.as_ref().filter(|_| self.ruling == Ruling::Passed)?;
        let device = self.device.as_deref().unwrap_or("a device that nothing tells");
        let why = format!(
            "profile {:?} signs classically only, which ended for this group at {}, and no exception covers {device}",
            self.profile.name, deadline.from
        );
        Some(Rejection::new(RejectionCode::DeadlinePassed, why))
    }

    /// The exception that let it through.
    pub(super) fn exception(&self) -> Option<String> {
        match &self.ruling {
            Ruling::Excepted(exception) => Some(exception.to_string()),
            Ruling::Free | Ruling::Passed => None,
        }
    }
}

/// The step.
#[derive(Clone)]
pub(crate) struct Choose(pub(crate) Arc<Core>);

impl Step<Authenticated> for Choose {
    type Out = Chosen;

    async fn step(&self, authenticated: Authenticated) -> Result<Flow<Chosen>, EnrollError> {
        let grouped = &authenticated.grouped;
        let request = &grouped.recorded.request;
        let renews = authenticated.proof.renews().map(Arc::as_ref);
        let chosen = Arc::new(choose(&self.0, request, &grouped.group, renews, self.0.now()).await?);
        if let Some(job) = ShadowJob::of(request, &grouped.group, &authenticated.proof) {
            *grouped.recorded.shadow.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
        }
        learn::remember(&self.0, &chosen.lesson, &chosen.choice, self.0.now()).await?;
        grouped.recorded.chosen.store(Some(Arc::clone(&chosen)));
        Ok(match chosen.too_late(&grouped.group) {
            Some(rejection) => Flow::Stop(Outcome::Refused(rejection)),
            None => Flow::Continue(Chosen { authenticated, chosen }),
        })
    }
}

/// Whether a request that was refused might get another profile now, under the same configuration: a ring has begun since, or a gate
/// or an operator has stopped the rollout, or resumed it.
pub(super) async fn may_be_chosen_otherwise(
    core: &Core,
    request: &EnrollmentRequest,
    refused: &Transaction,
) -> Result<bool, EnrollError> {
    let group = refused.group.as_ref().and_then(|name| request.snapshot.groups.get(name));
    let Some((group, plan)) = group.and_then(|group| Some((group, group.rollout.as_ref()?))) else { return Ok(false) };
    let (then, now) = (refused.updated_at, core.now());
    if plan.rings.iter().any(|ring| ring.from > then && ring.from <= now) {
        return Ok(true);
    }
    let state = core.inventory.rollout(&group.name, &plan.candidate).await?;
    Ok(state.is_some_and(|state| state.since >= then))
}

/// Chooses the profile of a request. Where a rollout stands is read from the inventory each time, so that what a gate, an operator or
/// another node did holds from the next request on. A group without a candidate, and a profile without a fallback, cost nothing.
pub(super) async fn choose(
    core: &Core,
    request: &EnrollmentRequest,
    group: &DeviceGroup,
    renews: Option<&Certificate>,
    now: Timestamp,
) -> Result<ChosenProfile, EnrollError> {
    let (mut state, mut device, mut knowledge) = (None, None, DeviceKnowledge::default());
    if let Some(plan) = &group.rollout {
        state = core.inventory.rollout(&group.name, &plan.candidate).await?;
        device = group.identify(&request.csr, renews);
        if let Some(device) = &device {
            knowledge = core.inventory.device_knowledge(&group.name, device).await?;
        }
    }
    let mut choice = rollout::choose(&Situation {
        group: &group.name,
        incumbent: &group.profile,
        plan: group.rollout.as_ref(),
        state: state.as_ref(),
        device: device.as_deref(),
        knowledge: &knowledge,
        now,
    });
    let named = |name: &str| {
        request
            .snapshot
            .profiles
            .get(name)
            .cloned()
            .ok_or_else(|| EnrollError::Internal(format!("group {:?}: profile {name:?} is not in the snapshot", group.name)))
    };
    let mut profile = named(&choice.profile)?;
    let late = group.deadline.as_ref().is_some_and(|deadline| deadline.is_past(now));
    if profile.fallback.is_some() || late {
        device = device.or_else(|| group.identify(&request.csr, renews));
    }
    let mut lesson = Lesson::default();
    if profile.fallback.is_some() {
        (choice, lesson) = learn::look(core, request, group, choice, device.as_deref(), renews, now).await?;
        profile = named(&choice.profile)?;
    }
    let ruling = learn::ruling(group, &profile, device.as_deref(), now);
    Ok(ChosenProfile { profile, choice, device, ruling, lesson })
}
