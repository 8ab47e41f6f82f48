//! Forecasts: what will still be classical only on a day, given how a group renews.
//!
//! Each valid certificate is followed to that day: it is renewed when certificates of its group are renewed, and gets the profile that the
//! group has then, along the rings of a rollout. A device that should have come long ago is taken for silent: it never comes.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Deadline, Plan};
use crate::algorithm::SignatureAlgorithm;

/// A valid certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The device, if it is known.
    pub device: Option<String>,
    /// Its profile.
    pub profile: String,
    /// What signed it.
    pub signature: String,
    /// Start of the validity.
    pub not_before: Timestamp,
    /// End of the validity.
    pub not_after: Timestamp,
    /// Whether its device was given a newer one: then nobody renews this one.
    pub followed: bool,
}

/// When certificates of a group are renewed: after this share of their lives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pace {
    /// The share, from 0 to 1.
    pub share: f64,
    /// Of how many renewals it is the median; 0 if it was not observed.
    pub renewals: usize,
}

impl Pace {
    /// What holds where no renewal was seen, and the group does not say when one may be.
    pub const ASSUMED: Pace = Pace { share: 0.8, renewals: 0 };

    /// The median of observed shares, if there are any.
    pub fn observed(mut shares: Vec<f64>) -> Option<Self> {
        shares.retain(|share| share.is_finite());
        shares.sort_by(f64::total_cmp);
        let share = shares.get(shares.len().checked_sub(1)? / 2)?.clamp(0.0, 1.0);
        Some(Pace { share, renewals: shares.len() })
    }
}

/// What a forecast goes by.
pub struct Outlook<'a> {
    /// The device group.
    pub group: &'a str,
    /// The profile that it is on.
    pub profile: &'a str,
    /// Its rollout, if it goes on.
    pub plan: Option<&'a Plan>,
    /// Its deadline.
    pub deadline: Option<&'a Deadline>,
    /// When it renews.
    pub pace: Pace,
    /// Whether what a profile signs is not classical only.
    pub is_post_quantum: &'a (dyn Fn(&str) -> bool + Sync),
    /// Now.
    pub now: Timestamp,
    /// The day.
    pub at: Timestamp,
}

/// What becomes of a certificate until the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is not classical only.
    Already,
    /// It will have been replaced by one that is not.
    Renewed,
    /// It will have ended: its device has a newer one, or does not come any more.
    Ended,
    /// It, or a classical one in its place, will be valid still, until then.
    Classical(Timestamp),
}

/// Says what becomes of a certificate.
pub fn fate(outlook: &Outlook<'_>, standing: &Standing) -> (Fate, bool) {
    let Outlook { group, profile, plan, deadline, pace, is_post_quantum, now, at } = *outlook;
    let life = standing.not_after.duration_since(standing.not_before).max(SignedDuration::from_secs(1));
    let due = later(standing.not_before, scaled(life, pace.share));
    // A tenth of a life late: it should have come.
    let silent = !standing.followed && now > later(due, scaled(life, 0.1));
    // By its profile, or, where that is not there any more, by what signed it.
    let by_signature = || standing.signature.parse().is_ok_and(SignatureAlgorithm::is_post_quantum);
    if is_post_quantum(&standing.profile) || by_signature() {
        return (Fate::Already, silent);
    }
    if silent || standing.followed {
        let fate = if standing.not_after <= at { Fate::Ended } else { Fate::Classical(standing.not_after) };
        return (fate, silent);
    }
    let device = standing.device.as_deref();
    let (mut comes, mut ends) = (due.max(now), standing.not_after);
    // Short lives and far days: after so many renewals nothing changes any more.
    for _ in 0..ROUNDS {
        if comes > at {
            break;
        }
        let next = match plan {
            Some(plan) if plan.reach(group, device, comes).is_some() => plan.candidate.as_str(),
            _ => profile,
        };
        if is_post_quantum(next) {
            return (Fate::Renewed, false);
        }
        // What the deadline rules out is not issued: it stays with what it has.
        let refused = deadline.is_some_and(|deadline| deadline.is_past(comes) && deadline.exception(device, comes).is_none());
        if refused {
            break;
        }
        ends = later(comes, life);
        comes = later(comes, scaled(life, pace.share.max(0.01)));
    }
    (if ends <= at { Fate::Ended } else { Fate::Classical(ends) }, false)
}

const ROUNDS: usize = 10_000;

fn later(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

fn scaled(duration: SignedDuration, share: f64) -> SignedDuration {
    SignedDuration::from_secs((duration.as_secs() as f64 * share) as i64)
}

/// What will be on a day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// The device group.
    pub group: String,
    /// The profile that it is on.
    pub profile: String,
    /// The day.
    pub at: Timestamp,
    /// Its deadline.
    pub deadline: Option<Timestamp>,
    /// When it renews.
    pub pace: Pace,
    /// Valid certificates now.
    pub certificates: u64,
    /// Of those, the ones that are not classical only already.
    pub already: u64,
    /// The ones that will be replaced by such.
    pub renewed: u64,
    /// The ones that will have ended: their devices have newer ones, or do not come any more.
    pub ended: u64,
    /// The ones that will still be classical only.
    pub classical: u64,
    /// Of those, the ones whose device has an exception on that day.
    pub excepted: u64,
    /// Devices that should have come long ago.
    pub silent: u64,
    /// The day when the last classical certificate ends.
    pub last_ends: Option<Timestamp>,
    /// Those that are classical only the longest.
    pub examples: Vec<Late>,
}

/// A certificate that will be classical only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Late {
    /// The device.
    pub device: Option<String>,
    /// The profile that it has now.
    pub profile: String,
    /// When what it has on the day ends.
    pub ends: Timestamp,
    /// How many days that is after the day.
    pub days_over: i64,
    /// Whether it should have come long ago.
    pub silent: bool,
    /// Whether an exception covers it on that day.
    pub excepted: bool,
}

/// Sums up the fates of certificates, one by one.
pub struct Forecaster<'a> {
    outlook: Outlook<'a>,
    named: usize,
    forecast: Forecast,
}

impl<'a> Forecaster<'a> {
    /// Nothing yet; names so many of those that will be late.
    pub fn new(outlook: Outlook<'a>, named: usize) -> Self {
        let forecast = Forecast {
            group: outlook.group.to_owned(),
            profile: outlook.profile.to_owned(),
            at: outlook.at,
            deadline: outlook.deadline.map(|deadline| deadline.from),
            pace: outlook.pace,
            certificates: 0,
            already: 0,
            renewed: 0,
            ended: 0,
            classical: 0,
            excepted: 0,
            silent: 0,
            last_ends: None,
            examples: Vec::new(),
        };
        Self { outlook, named, forecast }
    }

    /// Adds a certificate.
    pub fn add(&mut self, standing: &Standing) {
        let (fate, silent) = fate(&self.outlook, standing);
        let forecast = &mut self.forecast;
        forecast.certificates += 1;
        forecast.silent += u64::from(silent);
        match fate {
            Fate::Already => forecast.already += 1,
            Fate::Renewed => forecast.renewed += 1,
            Fate::Ended => forecast.ended += 1,
            Fate::Classical(ends) => {
                let at = self.outlook.at;
                let excepts = |deadline: &Deadline| deadline.exception(standing.device.as_deref(), at).is_some();
                let excepted = self.outlook.deadline.is_some_and(excepts);
                forecast.classical += 1;
                forecast.excepted += u64::from(excepted);
                forecast.last_ends = forecast.last_ends.max(Some(ends));
                let days_over = ends.duration_since(at).as_hours() / 24;
                let late = Late {
                    device: standing.device.clone(),
                    profile: standing.profile.clone(),
                    ends,
                    days_over,
                    silent,
                    excepted,
                };
                forecast.examples.push(late);
                // Sorted now and then, so that a large group costs no more memory than a small one.
                if forecast.examples.len() >= 2 * self.named + 64 {
                    shorten(&mut forecast.examples, self.named);
                }
            }
        }
    }

    /// The whole.
    pub fn finish(mut self) -> Forecast {
        shorten(&mut self.forecast.examples, self.named);
        self.forecast
    }
}

fn shorten(late: &mut Vec<Late>, most: usize) {
    late.sort_by(|a, b| b.ends.cmp(&a.ends).then_with(|| a.device.cmp(&b.device)));
    late.truncate(most);
}

#[cfg(test)]
mod tests {
    use super::super::{DevicePattern, Exception, Gates, Ring, Share};
    use super::*;

    fn day(text: &str) -> Timestamp {
        format!("{text}T00:00:00Z").parse().unwrap()
    }

    fn standing(device: &str, profile: &str, from: &str, until: &str) -> Standing {
        Standing {
            device: Some(device.into()),
            profile: profile.into(),
            signature: "ecdsa-sha256".into(),
            not_before: day(from),
            not_after: day(until),
            followed: false,
        }
    }

    fn is_next(profile: &str) -> bool {
        profile == "next"
    }

    fn outlook<'a>(plan: Option<&'a Plan>, deadline: Option<&'a Deadline>, at: &str) -> Outlook<'a> {
        Outlook {
            group: "routers",
            profile: "now",
            plan,
            deadline,
            pace: Pace { share: 0.75, renewals: 3 },
            is_post_quantum: &is_next,
            now: day("2027-01-01"),
            at: day(at),
        }
    }

    fn plan(percent: u32, rings: Vec<Ring>) -> Plan {
        let share = Share::percent(percent).unwrap();
        Plan { candidate: "next".into(), devices: Vec::new(), share, rings, gates: Gates::default() }
    }

    /// Renewed in the last quarter of a year.
    fn year(device: &str, profile: &str) -> Standing {
        standing(device, profile, "2026-07-01", "2027-07-01")
    }

    #[test]
    fn a_group_that_moves_is_over_with_its_last_renewal() {
        let all = plan(100, Vec::new());
        // Due in the first days of April.
        assert_eq!(fate(&outlook(Some(&all), None, "2027-05-01"), &year("d", "now")), (Fate::Renewed, false));
        assert_eq!(
            fate(&outlook(Some(&all), None, "2027-03-01"), &year("d", "now")),
            (Fate::Classical(day("2027-07-01")), false)
        );
        assert_eq!(fate(&outlook(Some(&all), None, "2027-03-01"), &year("d", "next")), (Fate::Already, false));
        let of_old = Standing { signature: "ml-dsa-65".into(), ..year("d", "gone") };
        assert_eq!(fate(&outlook(Some(&all), None, "2027-03-01"), &of_old), (Fate::Already, false));
        // Without a plan it is renewed as it is.
        let (stays, _) = fate(&outlook(None, None, "2027-05-01"), &year("d", "now"));
        assert!(matches!(stays, Fate::Classical(ends) if ends > day("2028-03-25")), "{stays:?}");
    }

    #[test]
    fn rings_count_when_the_device_comes() {
        let ring = |from: &str| vec![Ring { from: day(from), share: Some(Share::ALL), devices: Vec::new() }];
        let (soon, late) = (plan(0, ring("2027-03-01")), plan(0, ring("2027-05-01")));
        assert_eq!(fate(&outlook(Some(&soon), None, "2027-06-01"), &year("d", "now")).0, Fate::Renewed);
        // It comes in April, before the ring, and then not before January.
        assert!(matches!(fate(&outlook(Some(&late), None, "2027-06-01"), &year("d", "now")).0, Fate::Classical(_)));
        assert_eq!(fate(&outlook(Some(&late), None, "2028-02-01"), &year("d", "now")).0, Fate::Renewed);
    }

    #[test]
    fn silent_devices_never_come() {
        let all = plan(100, Vec::new());
        let silent = standing("d", "now", "2026-01-15", "2027-01-15");
        assert_eq!(fate(&outlook(Some(&all), None, "2027-01-10"), &silent), (Fate::Classical(day("2027-01-15")), true));
        assert_eq!(fate(&outlook(Some(&all), None, "2027-02-01"), &silent), (Fate::Ended, true));
        // Who has a newer one is not silent, and does not come with this one.
        let followed = Standing { followed: true, ..silent };
        assert_eq!(fate(&outlook(Some(&all), None, "2027-01-10"), &followed), (Fate::Classical(day("2027-01-15")), false));
        assert_eq!(fate(&outlook(Some(&all), None, "2027-02-01"), &followed), (Fate::Ended, false));
    }

    #[test]
    fn after_the_deadline_only_exceptions_are_renewed() {
        let exceptions = vec![Exception {
            devices: vec![DevicePattern::parse("serialNumber=OLD*").unwrap()],
            until: day("2030-01-01"),
            why: "late".into(),
        }];
        let deadline = Deadline { from: day("2027-02-01"), exceptions };
        let mut forecaster = Forecaster::new(outlook(None, Some(&deadline), "2027-06-01"), 1);
        forecaster.add(&year("serialNumber=OLD1", "now"));
        forecaster.add(&year("serialNumber=N1", "now"));
        forecaster.add(&standing("serialNumber=N2", "now", "2026-05-20", "2027-05-20"));
        let told = forecaster.finish();
        assert_eq!((told.certificates, told.classical, told.excepted, told.ended), (3, 2, 1, 1));
        assert_eq!(told.examples.len(), 1);
        let late = &told.examples[0];
        assert_eq!((late.device.as_deref(), late.excepted), (Some("serialNumber=OLD1"), true));
        assert_eq!(told.last_ends, Some(late.ends));
        assert!(late.days_over > 300, "{late:?}");
    }

    #[test]
    fn the_pace_is_a_median() {
        assert_eq!(Pace::observed(Vec::new()), None);
        assert_eq!(Pace::observed(vec![0.9, 0.1, 0.7]), Some(Pace { share: 0.7, renewals: 3 }));
        assert_eq!(Pace::observed(vec![f64::NAN, 3.0]), Some(Pace { share: 1.0, renewals: 1 }));
    }
}
