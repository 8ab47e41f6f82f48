//! The circuit breaker of a gate: a CA that fails time and again is left alone for a while, then asked whether it is well, then given
//! one order at a time until one of them gets an answer.

use std::time::{Duration, Instant};

use super::backoff::jitter;

/// The longest rest between two looks at a CA that does not answer.
const LONGEST: Duration = Duration::from_secs(300);

/// What came of asking a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// It answered, whatever it said.
    Answer,
    /// It took nothing, or nobody knows whether it did.
    Failure(&'a str),
}

/// Whether a CA is asked.
#[derive(Debug)]
pub(crate) enum Breaker {
    /// It is.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// It is left alone until then.
    Open {
        /// When to see whether it answers again.
        until: Instant,
        /// The rest, without jitter.
        rest: Duration,
    },
    /// Somebody is seeing whether it answers.
    Probing {
        /// The rest before.
        rest: Duration,
    },
    /// It answers, and is given one order at a time.
    HalfOpen {
        /// The rest before.
        rest: Duration,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker::Closed { failures: 0 }
    }
}

impl Breaker {
    /// How many may ask it, when so many do.
    pub(super) fn room(&self, under_way: usize) -> usize {
        match self {
            Breaker::Closed { .. } => usize::MAX,
            Breaker::HalfOpen { .. } => 1_usize.saturating_sub(under_way),
            Breaker::Open { .. } | Breaker::Probing { .. } => 0,
        }
    }

    /// Whether it is left alone.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Breaker::Open { .. } | Breaker::Probing { .. })
    }

    /// Until when it is left alone.
    pub(super) fn resting_until(&self) -> Option<Instant> {
        match self {
            Breaker::Open { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// Takes note of what came of asking. `Some` if it was closed or half open and is open now, or the other way round.
    pub(super) fn heard(&mut self, heard: &Heard<'_>, trip_after: u32, cooldown: Duration, now: Instant) -> Option<bool> {
        match (&mut *self, heard) {
            (Breaker::Closed { failures }, Heard::Failure(_)) => {
                *failures = failures.saturating_add(1);
                if *failures < trip_after {
                    return None;
                }
                self.rest(cooldown, now);
                Some(true)
            }
            (Breaker::Closed { failures }, Heard::Answer) => {
                *failures = 0;
                None
            }
            (Breaker::HalfOpen { rest }, Heard::Failure(_)) => {
                let rest = *rest;
                self.rest(longer(rest), now);
                Some(true)
            }
            (Breaker::HalfOpen { .. }, Heard::Answer) => {
                *self = Breaker::default();
                Some(false)
            }
            // What was under way when it opened says nothing new.
            (Breaker::Open { .. } | Breaker::Probing { .. }, _) => None,
        }
    }

    fn rest(&mut self, rest: Duration, now: Instant) {
        *self = Breaker::Open { until: now + jitter(rest), rest };
    }

    /// Whether it is time to see if it answers; says so once.
    pub(super) fn begin_probe(&mut self, now: Instant) -> bool {
        match *self {
            Breaker::Open { until, rest } if until <= now => {
                *self = Breaker::Probing { rest };
                true
            }
            _ => false,
        }
    }

    /// It answers.
    pub(super) fn probed_well(&mut self) {
        if let Breaker::Probing { rest } | Breaker::Open { rest, .. } = *self {
            *self = Breaker::HalfOpen { rest };
        }
    }

    /// It does not; gives the next rest.
    pub(super) fn probed_in_vain(&mut self, now: Instant) -> Duration {
        match *self {
            Breaker::Probing { rest } | Breaker::Open { rest, .. } => {
                let rest = longer(rest);
                self.rest(rest, now);
                rest
            }
            Breaker::Closed { .. } | Breaker::HalfOpen { .. } => Duration::ZERO,
        }
    }

    /// For people and metrics.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Breaker::Closed { .. } => "closed",
            Breaker::Open { .. } | Breaker::Probing { .. } => "open",
            Breaker::HalfOpen { .. } => "half-open",
        }
    }

    /// Failures in a row, while it is closed.
    pub(super) const fn failures(&self) -> u32 {
        match self {
            Breaker::Closed { failures } => *failures,
            _ => 0,
        }
    }
}

fn longer(rest: Duration) -> Duration {
    (rest * 2).min(LONGEST.max(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_to_five_minutes() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        assert_eq!(breaker.heard(&Heard::Failure("x"), 1, Duration::from_secs(10), now), Some(true));
        let mut rests = Vec::new();
        for _ in 0..7 {
            let until = breaker.resting_until().expect("it rests");
            assert!(!breaker.begin_probe(until - Duration::from_millis(1)));
            assert!(breaker.begin_probe(until) && !breaker.begin_probe(until), "once");
            rests.push(breaker.probed_in_vain(now).as_secs());
        }
        assert_eq!(rests, [20, 40, 80, 160, 300, 300, 300]);
        breaker.begin_probe(breaker.resting_until().expect("it rests"));
        breaker.probed_well();
        assert_eq!((breaker.room(0), breaker.room(1)), (1, 0));
        assert_eq!(breaker.heard(&Heard::Failure("x"), 1, Duration::from_secs(10), now), Some(true));
        assert!(breaker.is_open());
    }
}
