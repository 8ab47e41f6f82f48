//! The RustCrypto crates: SLH-DSA, which AWS-LC has not, and a second ML-DSA that shares no code with the first.

mod ml_dsa;
mod slh_dsa;

/// All parts: the crates have no state.
pub struct RustCrypto;
