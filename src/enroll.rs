//! The protocol-neutral core: a request goes in, is recorded, matched, authenticated, checked, ordered, approved and issued, and an
//! answer comes out.
//!
//! Each step is one tower layer in one file; each changes the type of what it hands on, so that a skipped or swapped step does not
//! compile. Front ends only translate between their wire and [`EnrollmentRequest`], [`Query`] and [`Outcome`].

pub mod enroller;
pub mod outcome;
pub mod query;
pub mod rejection;
pub mod request;

pub use enroller::Enroller;
pub use outcome::{Answer, EnrollError, IssuedCertificate, Outcome};
pub use query::Query;
pub use rejection::{Rejection, RejectionCode};
pub use request::{EnrollmentRequest, Intent, Peer, Reply};
