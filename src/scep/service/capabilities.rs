//! GetCACaps (RFC 8894 section 3.5): what the server can do, computed from the endpoint that enforces it.

use bytes::Bytes;

use crate::algorithm::{ContentCipher, Digest};
use crate::policy::Endpoint;
use crate::snapshot::Snapshot;

/// The answer for this endpoint: one keyword a line.
pub fn capabilities(snapshot: &Snapshot, endpoint: &Endpoint) -> Bytes {
    if super::next_ca::has_next(snapshot, endpoint) {
        // Not remembered: a next certificate comes and goes while a snapshot serves.
        return keywords(endpoint, true);
    }
    endpoint.capabilities.get_or_init(|| keywords(endpoint, false)).clone()
}

/// strongSwan tests bit numbers as if they were masks, and takes AES and SHA-256 for granted only where SHA-384 is listed: so that
/// one stands here, although the IANA registry does not know it. Clients pass over keywords that they do not know.
fn keywords(endpoint: &Endpoint, next: bool) -> Bytes {
    let cipher = |cipher| endpoint.scep.accept_ciphers.contains(&cipher);
    let digest = |digest| endpoint.scep.accept_digests.contains(&digest);
    let standard = cipher(ContentCipher::Aes128Cbc) && digest(Digest::Sha256);
    let lines = [
        ("AES", cipher(ContentCipher::Aes128Cbc)),
        ("DES3", cipher(ContentCipher::DesEde3Cbc)),
        ("GetNextCACert", next),
        ("POSTPKIOperation", true),
        ("Renewal", true),
        ("SHA-1", digest(Digest::Sha1)),
        ("SHA-256", digest(Digest::Sha256)),
        ("SHA-384", digest(Digest::Sha384)),
        ("SHA-512", digest(Digest::Sha512)),
        ("SCEPStandard", standard),
    ];
    let mut text = String::new();
    for (keyword, _) in lines.iter().filter(|(_, holds)| *holds) {
        text.push_str(keyword);
        text.push('\n');
    }
    Bytes::from(text)
}
