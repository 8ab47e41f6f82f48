//! What operators see: health, readiness and metrics over TCP, and the control socket with the operations.
//!
//! The TCP listener has no authentication, so it only tells; whatever changes something goes through the control socket, which
//! the file system guards.

pub mod control;
pub mod explain;
pub mod health;
pub mod problem;
pub mod views;

mod audit;
mod certificates;
mod challenges;
mod configuration;
mod devices;
mod rollouts;
mod transactions;

pub use control::{Control, Loaded, Reload};
pub use explain::OpenMessage;
pub use health::Health;
pub use problem::Problem;
