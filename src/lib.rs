//! Ravelin: a crypto-agile registration authority proxy.

pub mod algorithm;
pub mod crypto;
pub mod inventory;
pub mod upstream;
pub mod x509;
