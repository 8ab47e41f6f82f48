//! What will still be classical only on a day.

use jiff::Timestamp;

use super::Enroller;
use super::operate::OperateError;
use crate::rollout::Phase;
use crate::rollout::forecast::{Forecast, Forecaster, Outlook, Pace};

/// How many certificates are read at once.
const PAGE: usize = 1000;

/// How many renewals the pace of a group is taken from, the latest.
const RENEWALS: usize = 1000;

impl Enroller {
    /// Says what of a group's certificates will still be classical only on a day: that of its deadline if none is given. At most `named`
    /// devices are named.
    pub async fn forecast(&self, group: &str, at: Option<Timestamp>, named: usize) -> Result<Forecast, OperateError> {
        let core = self.core();
        let snapshot = self.snapshot();
        let group = snapshot.groups.get(group).ok_or_else(|| OperateError::NoSuchGroup(group.to_owned()))?;
        let deadline = group.deadline.as_ref();
        let at = at.or(deadline.map(|deadline| deadline.from)).ok_or_else(|| OperateError::NoDeadline(group.name.clone()))?;
        let now = core.now();
        // A rollout that was stopped does not go on by itself.
        let mut plan = group.rollout.as_ref();
        if let Some(tried) = plan {
            let state = core.inventory.rollout(&group.name, &tried.candidate).await?;
            plan = plan.filter(|_| state.is_none_or(|state| state.phase == Phase::Running));
        }
        let observed = Pace::observed(core.inventory.renewal_shares(&group.name, RENEWALS).await?);
        let life = snapshot.profile_of(group).map_or(0.0, |profile| profile.validity.as_secs_f64());
        let window = group.renewal.as_ref().and_then(|renewal| renewal.window).map(|window| window.as_secs_f64());
        let by_window = window.filter(|window| life > 0.0 && *window < life).map(|window| 1.0 - window / life);
        let pace = observed.or(by_window.map(|share| Pace { share, renewals: 0 })).unwrap_or(Pace::ASSUMED);
        let is_post_quantum = |name: &str| snapshot.profiles.get(name).is_some_and(|profile| profile.is_post_quantum());
        let mut forecaster = Forecaster::new(
            Outlook {
                group: &group.name,
                profile: &group.profile,
                plan,
                deadline,
                pace,
                is_post_quantum: &is_post_quantum,
                now,
                at,
            },
            named,
        );
        let mut after = Some(0);
        while let Some(number) = after {
            let page = core.inventory.standing(&group.name, number, PAGE).await?;
            page.certificates.iter().for_each(|standing| forecaster.add(standing));
            after = page.next;
        }
        Ok(forecaster.finish())
    }
}
