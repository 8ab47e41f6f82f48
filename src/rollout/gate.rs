//! Gates: how the devices fare under the candidate, compared with those under the incumbent.
//!
//! What is counted are devices and not requests, so that one device which asks all day long weighs no more than another.

use std::time::Duration;

use serde::Serialize;

use super::Share;

/// When a rollout stops by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates {
    /// How far back they look.
    pub window: Duration,
    /// How many devices the candidate must have met before they say anything.
    pub min_devices: u64,
    /// Devices that were refused.
    pub refusals: Option<Threshold>,
    /// Devices whose request the issuer refused or could not answer.
    pub upstream_errors: Option<Threshold>,
    /// Devices that came back for another certificate soon after they were given one.
    pub returns: Option<ReturnsGate>,
    /// What happens when one trips.
    pub on_trip: OnTrip,
}

impl Default for Gates {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Gates {
            window: day,
            min_devices: 20,
            refusals: Some(Threshold::above(5)),
            upstream_errors: Some(Threshold::above(2)),
            returns: Some(ReturnsGate::DEFAULT),
            on_trip: OnTrip::Halt,
        }
    }
}

/// The gate for devices that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnsGate {
    /// How soon counts as soon.
    pub within: Duration,
    /// How many are too many.
    pub more_than: Threshold,
}

impl ReturnsGate {
    /// What holds where a group does not say.
    pub const DEFAULT: ReturnsGate = ReturnsGate { within: Duration::from_secs(24 * 3600), more_than: Threshold::above(5) };
}

/// How many are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Whether the incumbent's share is added: `+5%`, in percentage points.
    pub above_incumbent: bool,
    /// The share of the devices.
    pub share: Share,
}

impl Threshold {
    const fn above(percent: u32) -> Self {
        match Share::percent(percent) {
            Some(share) => Threshold { above_incumbent: true, share },
            None => panic!("a threshold is at most 100 %"),
        }
    }

    /// Reads `+5%` (so many percentage points above the incumbent) or `5%`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (above_incumbent, share) = match text.trim().strip_prefix('+') {
            Some(share) => (true, share),
            None => (false, text.trim()),
        };
        let wrong = |_| format!("{text:?} is no threshold; write \"+5%\" (that much above the incumbent), \"5%\", or \"off\"");
        Ok(Threshold { above_incumbent, share: Share::parse(share).map_err(wrong)? })
    }

    /// The share that must not be exceeded. An incumbent that has met too few devices counts as one without faults.
    fn limit(self, incumbent: Option<f64>) -> f64 {
        let base = if self.above_incumbent { incumbent.unwrap_or(0.0) } else { 0.0 };
        (base + self.share.fraction()).min(1.0)
    }
}

impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.above_incumbent { "+" } else { "" };
        write!(f, "{sign}{}", self.share.to_string().replace(' ', ""))
    }
}

/// What happens when a gate trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnTrip {
    /// No further device gets the candidate.
    Halt,
    /// Every device gets the incumbent again.
    RollBack,
}

crate::algorithm::named!(OnTrip, "action of a gate", { Halt => "halt", RollBack => "roll-back" });

/// How many devices met a profile, and how they fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Devices that were given a certificate, refused, or failed by the issuer.
    pub devices: u64,
    /// Those that were given a certificate.
    pub issued: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Those whose request the issuer refused or could not answer.
    pub upstream_errors: u64,
    /// Those that came back for another certificate soon after they were given one.
    pub returned: u64,
}

/// What a gate looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    /// Devices that were refused.
    Refusals,
    /// Devices that the issuer failed.
    UpstreamErrors,
    /// Devices that came back.
    Returns,
}

crate::algorithm::named!(Gate, "gate", {
    Refusals => "refusals",
    UpstreamErrors => "upstream-errors",
    Returns => "returns",
});

impl Gate {
    /// Of how many, how many.
    fn count(self, figures: &Figures) -> (u64, u64) {
        match self {
            Gate::Refusals => (figures.devices, figures.refused),
            Gate::UpstreamErrors => (figures.devices, figures.upstream_errors),
            Gate::Returns => (figures.issued, figures.returned),
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Gate::Refusals => "were refused",
            Gate::UpstreamErrors => "were failed by the issuer",
            Gate::Returns => "came back for another certificate",
        }
    }
}

/// Where a gate stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateReading {
    /// Which.
    pub gate: Gate,
    /// The threshold as it is configured.
    pub threshold: String,
    /// Of how many devices under the candidate.
    pub of: u64,
    /// How many.
    pub count: u64,
    /// The share of them.
    pub candidate: f64,
    /// The share under the incumbent, if it met enough devices to tell.
    pub incumbent: Option<f64>,
    /// What the candidate's share must not exceed.
    pub limit: f64,
}

impl GateReading {
    /// Whether the share is too large, enough devices or not.
    pub fn exceeded(&self) -> bool {
        self.count > 0 && self.candidate > self.limit
    }
}

impl std::fmt::Display for GateReading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let GateReading { gate, of, count, candidate, incumbent, limit, .. } = self;
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        write!(f, "{count} of {of} devices {} ({})", gate.what(), percent(*candidate))?;
        match incumbent {
            Some(incumbent) => write!(f, ", {} under the incumbent", percent(*incumbent))?,
            None => f.write_str(", too few under the incumbent to compare with")?,
        }
        write!(f, "; the limit is {}", percent(*limit))
    }
}

/// What the gates say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether the candidate has met enough devices.
    pub enough: bool,
    /// Where each gate stands.
    pub readings: Vec<GateReading>,
}

impl Verdict {
    /// The gates that trip, in words; `None` if all is well, or too early to tell.
    pub fn trip(&self) -> Option<String> {
        let over = self.readings.iter().filter(|reading| reading.exceeded());
        let told: Vec<String> = over.map(|reading| format!("{}: {reading}", reading.gate)).collect();
        (self.enough && !told.is_empty()).then(|| told.join("; "))
    }
}

/// Compares the candidate's devices with the incumbent's.
pub fn judge(gates: &Gates, candidate: &Figures, incumbent: &Figures) -> Verdict {
    let thresholds = [
        (Gate::Refusals, gates.refusals),
        (Gate::UpstreamErrors, gates.upstream_errors),
        (Gate::Returns, gates.returns.map(|returns| returns.more_than)),
    ];
    let share = |(of, count): (u64, u64)| if of == 0 { 0.0 } else { count as f64 / of as f64 };
    let comparable = incumbent.devices >= gates.min_devices;
    let readings = thresholds.into_iter().filter_map(|(gate, threshold)| {
        let threshold = threshold?;
        let (of, count) = gate.count(candidate);
        let incumbent = comparable.then(|| share(gate.count(incumbent)));
        let limit = threshold.limit(incumbent);
        Some(GateReading { gate, threshold: threshold.to_string(), of, count, candidate: share((of, count)), incumbent, limit })
    });
    Verdict { enough: candidate.devices >= gates.min_devices, readings: readings.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(devices: u64, refused: u64, upstream_errors: u64, returned: u64) -> Figures {
        Figures { devices, issued: devices - refused, refused, upstream_errors, returned }
    }

    #[test]
    fn nothing_trips_before_there_are_enough_devices() {
        let verdict = judge(&Gates::default(), &figures(19, 19, 0, 0), &Figures::default());
        assert!(!verdict.enough);
        assert_eq!(verdict.trip(), None);
        assert!(verdict.readings[0].exceeded(), "it is shown all the same");
        assert!(judge(&Gates::default(), &figures(20, 19, 0, 0), &Figures::default()).trip().is_some());
    }

    #[test]
    fn the_incumbent_is_what_is_compared_with() {
        let gates = Gates::default();
        let bad_group = figures(1000, 100, 0, 0);
        // 10 % are refused anyway: 15 % are no more than 5 points above.
        assert_eq!(judge(&gates, &figures(100, 15, 0, 0), &bad_group).trip(), None);
        let why = judge(&gates, &figures(100, 16, 0, 0), &bad_group).trip().unwrap();
        assert!(why.starts_with("refusals: 16 of 100 devices were refused (16.0 %), 10.0 % under the incumbent"), "{why}");
        // Without enough devices to compare with, the incumbent counts as faultless.
        let few = figures(10, 10, 0, 0);
        assert_eq!(judge(&gates, &figures(100, 5, 0, 0), &few).trip(), None);
        assert!(judge(&gates, &figures(100, 6, 0, 0), &few).trip().unwrap().contains("too few"));
    }

    #[test]
    fn each_gate_trips_by_itself_and_can_be_off() {
        let gates = Gates::default();
        assert!(judge(&gates, &figures(100, 0, 3, 0), &Figures::default()).trip().unwrap().starts_with("upstream-errors: 3"));
        assert!(judge(&gates, &figures(100, 0, 0, 6), &Figures::default()).trip().unwrap().starts_with("returns: 6 of 100"));
        let off = Gates { refusals: None, upstream_errors: None, returns: None, ..gates };
        let verdict = judge(&off, &figures(100, 100, 0, 0), &Figures::default());
        assert_eq!((verdict.trip(), verdict.readings.len()), (None, 0));
    }

    #[test]
    fn absolute_thresholds_do_not_look_at_the_incumbent() {
        let gates = Gates { refusals: Some(Threshold::parse("5%").unwrap()), ..Gates::default() };
        assert!(judge(&gates, &figures(100, 6, 0, 0), &figures(1000, 500, 0, 0)).trip().is_some());
        let none_at_all = Gates { refusals: Some(Threshold::parse("0%").unwrap()), ..Gates::default() };
        assert_eq!(judge(&none_at_all, &figures(100, 0, 0, 0), &Figures::default()).trip(), None);
        assert!(judge(&none_at_all, &figures(100, 1, 0, 0), &Figures::default()).trip().is_some());
    }

    #[test]
    fn thresholds_are_read_and_shown() {
        for text in ["+5%", "5%", "+0.5%", "0%"] {
            assert_eq!(Threshold::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "+", "-5%", "+101%", "some"] {
            assert!(Threshold::parse(bad).is_err(), "{bad}");
        }
    }
}
