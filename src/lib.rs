//! Ravelin: a crypto-agile registration authority proxy.

pub mod algorithm;
pub mod crypto;
pub mod x509;
