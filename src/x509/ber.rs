//! BER to DER: definite lengths, joined strings. Bounded in depth and size.

use std::borrow::Cow;

use super::X509Error;

/// Deepest nesting that is followed.
pub const MAX_DEPTH: usize = 24;

/// Gives the DER of one BER value (X.690 section 8): definite lengths, constructed strings joined. DER input is borrowed as it is.
///
/// Trailing octets after the value are refused.
pub fn to_der(_input: &[u8]) -> Result<Cow<'_, [u8]>, X509Error> {
    todo!()
}
