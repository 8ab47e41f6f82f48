//! The protocol-neutral core: a request goes in, is recorded, matched, authenticated, checked, ordered, approved and issued, and an
//! answer comes out.
//!
//! Each step is one tower layer in one file; each changes the type of what it hands on, so that a skipped or swapped step does not
//! compile. [`Enroller`] builds the stack, top to bottom. Front ends only translate between their wire and
//! [`EnrollmentRequest`], [`Query`] and [`Outcome`].

pub mod adopt;
pub mod approve;
pub mod authenticate;
mod backoff;
mod breaker;
mod bucket;
mod budget;
pub(crate) mod carry;
pub mod challenge;
pub mod choose;
pub(crate) mod conclude;
pub mod core;
pub mod devices;
pub mod enforce;
pub mod enroller;
pub mod expiry;
pub mod explain;
pub(crate) mod failover;
pub mod fault;
pub mod forecast;
pub mod gate;
pub mod generations;
pub mod inspect;
pub mod issue;
mod learn;
pub mod match_group;
pub mod operate;
pub mod outcome;
mod pair;
pub mod preview;
pub mod query;
pub mod record;
pub mod rejection;
pub mod request;
pub mod rollouts;
pub mod seal;
pub mod select_profile;
pub mod shadow;
pub mod stage;
mod stray;
mod wait;

pub use enroller::{Enroller, Parts};
pub use explain::Explanation;
pub use outcome::{Answer, EnrollError, IssuedCertificate, Outcome};
pub use query::{Query, Question};
pub use rejection::{Rejection, RejectionCode};
pub use request::{EnrollmentRequest, Intent, Peer, Reply};
