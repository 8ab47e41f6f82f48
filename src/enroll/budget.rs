//! How many refusals of strangers are written down: each costs disk, and anybody can cause them.

use crate::clock::bucket::TokenBucket;

/// Pays for records of requests that nobody has authenticated. What it does not pay for is answered, counted and logged as ever, and
/// leaves no row.
pub(super) struct RefusalBudget(TokenBucket);

/// Records that may be written at once.
const BURST: f64 = 1000.0;

/// Records that may be written per second in the long run: under a gigabyte in a month of flood.
const PER_SECOND: f64 = 1.0;

impl RefusalBudget {
    /// A full bucket.
    pub(super) fn new() -> Self {
        Self(TokenBucket::new(BURST, PER_SECOND))
    }

    /// Whether one more may be written.
    pub(super) fn pays(&self) -> bool {
        self.0.pays()
    }
}
