//! The embedded CA.
