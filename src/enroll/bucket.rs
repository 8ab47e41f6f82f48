//! A token bucket: so many per second in the long run, and so many at once after a rest.

use std::time::{Duration, Instant};

use crate::upstream::Rate;

/// What comes in while whoever takes is this late is kept, so that the rate is what it says and not a little less.
const LATE: f64 = 0.05;

/// A token bucket; without a rate there is always one.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Option<Rate>,
    /// As of a moment.
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: Option<Rate>, now: Instant) -> Self {
        Self { rate, tokens: rate.map_or(f64::INFINITY, |rate| rate.burst.max(1.0)), filled_at: now }
    }

    /// Another rate from now on; what is in it stays.
    pub(super) fn change(&mut self, rate: Option<Rate>, now: Instant) {
        if self.rate != rate {
            self.fill(now);
            let tokens = self.tokens;
            *self = Self::new(rate, self.filled_at);
            if tokens.is_finite() && rate.is_some() {
                self.tokens = tokens;
            }
            self.fill(now);
        }
    }

    fn fill(&mut self, now: Instant) {
        if let Some(rate) = self.rate {
            let came = now.saturating_duration_since(self.filled_at).as_secs_f64() * rate.per_second;
            self.tokens = (self.tokens + came).min(rate.burst.max(1.0) + rate.per_second * LATE);
        }
        self.filled_at = self.filled_at.max(now);
    }

    /// How many may go now.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
    pub(super) fn room(&mut self, now: Instant) -> usize {
        self.fill(now);
        self.tokens.floor() as usize
    }

    /// One goes.
    pub(super) fn take(&mut self) {
        self.tokens -= 1.0;
    }

    /// One did not go after all.
    pub(super) fn give_back(&mut self) {
        self.tokens += 1.0;
    }

    /// In which time the next one may go; `None` where all may.
    pub(super) fn next(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        let rate = self.rate?;
        Some(Duration::from_secs_f64(((1.0 - self.tokens).max(0.0) / rate.per_second).min(60.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_by_who_is_late_too() {
        for per_second in [7.0, 100.0] {
            let start = Instant::now();
            let mut bucket = Bucket::new(Some(Rate { per_second, burst: 1.0 }), start);
            let (mut now, mut count) = (start, 0.0);
            while now < start + Duration::from_secs(10) {
                for _ in 0..bucket.room(now) {
                    bucket.take();
                    count += 1.0;
                }
                // Each time a little later than it said.
                now += bucket.next(now).expect("there is a rate") + Duration::from_millis(9);
            }
            assert!(count >= per_second * 10.0 - 1.0 && count <= per_second * 10.0 + 2.0, "{count} at {per_second}");
        }
    }

    #[test]
    fn another_rate_brings_nothing_at_once() {
        let start = Instant::now();
        let slow = Some(Rate { per_second: 0.001, burst: 3.0 });
        let mut bucket = Bucket::new(slow, start);
        (0..3).for_each(|_| bucket.take());
        bucket.change(Some(Rate { per_second: 0.002, burst: 5.0 }), start);
        assert_eq!(bucket.room(start), 0);
        bucket.change(None, start);
        assert!(bucket.room(start) > 1000 && bucket.next(start).is_none());
        bucket.change(slow, start);
        assert_eq!(bucket.room(start), 3);
    }
}
