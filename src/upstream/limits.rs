//! How much an upstream may be asked, and how much it may decide.

use std::time::Duration;

/// When an order that waits at its CA is asked after again, where the CA did not say.
pub const ASK_AGAIN: Duration = Duration::from_secs(15);

/// How much an upstream is asked at most. The core keeps to it, on every path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Orders per second, and how many at once after a rest; `None` is no limit.
    pub rate: Option<Rate>,
    /// Orders under way at a time.
    pub places: usize,
    /// Orders that may be open, waiting for a place or for the CA: a new request beyond that is told to come again later.
    pub queue: usize,
    /// Failures in a row after which the CA is left alone for a while.
    pub trip_after: u32,
    /// How long it is left alone at first; twice as long each time that it still does not answer.
    pub cooldown: Duration,
}

/// So many per second in the long run, and so many at once after a rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Per second.
    pub per_second: f64,
    /// At once.
    pub burst: f64,
}

impl Limits {
    /// An issuer within the process.
    pub const NONE: Limits =
        Limits { rate: None, places: usize::MAX, queue: usize::MAX, trip_after: u32::MAX, cooldown: Duration::ZERO };
}

impl Eq for Limits {}

/// How much of a certificate's subject and alternative names is the CA's to decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NamesRule {
    /// Nothing: they are what was ordered.
    #[default]
    AsOrdered,
    /// It may add to what was ordered.
    MayAdd,
    /// All: a template of the CA decides, and only the key says whose certificate it is.
    CaDecides,
}

crate::algorithm::named!(NamesRule, "rule for names", {
    AsOrdered => "as-ordered",
    MayAdd => "may-add",
    CaDecides => "ca-decides",
});
