//! Ravelin: a crypto-agile registration authority proxy.
//!
//! Old devices speak SCEP. Ravelin answers them, decides by policy whether and what they may have, and gets the certificate from
//! an upstream CA that signs with the algorithm which the device's group is on today.

#![deny(unsafe_code)]

pub mod admin;
pub mod algorithm;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod enroll;
pub mod inventory;
pub mod policy;
pub mod ra;
pub mod rollout;
pub mod scep;
pub mod server;
pub mod snapshot;
pub mod telemetry;
pub mod upstream;
pub mod worker;
pub mod x509;
