//! Round trips. Signatures of other programs are in `tests/pq_certificates.rs`.

use super::*;
use crate::crypto::provider;

/// Made, read and written again; and told apart from what is not quite a key.
fn keys(set: SlhDsa) -> Arc<dyn Signer> {
    let kind = KeyAlgorithm::SlhDsa(set);
    let key = provider().keys.generate(kind).unwrap();
    assert_eq!((key.key(), key.algorithms()), (kind, vec![SignatureAlgorithm::SlhDsa(set)]));
    let pkcs8 = key.export_pkcs8().unwrap();
    let raw = RawKey::from_pkcs8(&pkcs8).unwrap().private.to_vec();
    // RFC 9909 section 6: the octets as they are.
    assert_eq!((raw.len(), pkcs8.len()), (4 * set.n(), 4 * set.n() + if set.n() == 32 { 22 } else { 20 }));
    assert_eq!(provider().keys.signer(&pkcs8).unwrap().spki(), key.spki());
    let (_, public) = raw_key::from_spki(key.spki()).unwrap().unwrap();
    assert_eq!(public, &raw[2 * set.n()..]);
    let mut root = raw.clone();
    *root.last_mut().unwrap() ^= 1;
    let wrapped = [&[4, raw.len() as u8][..], &raw].concat();
    for wrong in [&root[..], &raw[1..], &[&raw[..], &[0]].concat(), &wrapped, b""] {
        let pkcs8 = raw_key::pkcs8(kind, wrong).unwrap();
        assert_eq!(provider().keys.signer(&pkcs8).err(), Some(CryptoError::BadKey), "{set}");
    }
    key
}

fn signatures(key: &dyn Signer, set: SlhDsa) {
    let algorithm = SignatureAlgorithm::SlhDsa(set);
    let signature = key.sign(algorithm, b"message").unwrap();
    assert_eq!(signature.len(), set.signature_len());
    // Hedged: the randomizer in front is another one each time.
    assert_ne!(key.sign(algorithm, b"message").unwrap()[..set.n()], signature[..set.n()]);
    let check = |message: &[u8], signature: &[u8]| provider().verifier.verify(algorithm, key.spki(), message, signature);
    assert_eq!(check(b"message", &signature), Ok(()), "{set}");
    let bad = Err(CryptoError::BadSignature);
    assert_eq!(check(b"massage", &signature), bad);
    assert_eq!(check(b"message", &signature[1..]), bad);
    assert_eq!(check(b"message", b""), bad);
    for place in [0, 40, signature.len() / 2, signature.len() - 1] {
        let mut flipped = signature.clone();
        flipped[place] ^= 1;
        assert_eq!(check(b"message", &flipped), bad, "{set} {place}");
    }
    // Another parameter set with keys and signatures of the same lengths.
    let twin = SlhDsa::ALL.iter().copied().find(|&s| s != set && s.signature_len() == set.signature_len()).unwrap();
    let twin_algorithm = SignatureAlgorithm::SlhDsa(twin);
    assert_eq!(key.sign(twin_algorithm, b"m"), Err(CryptoError::Unsupported));
    assert_eq!(provider().verifier.verify(twin_algorithm, key.spki(), b"message", &signature), Err(CryptoError::BadKey));
    let (_, public) = raw_key::from_spki(key.spki()).unwrap().unwrap();
    let spki = raw_key::spki(KeyAlgorithm::SlhDsa(twin), public).unwrap();
    assert_eq!(provider().verifier.verify(twin_algorithm, &spki, b"message", &signature), bad);
}

/// Without optimisation a signature of the larger sets takes minutes.
fn sets() -> &'static [SlhDsa] {
    if std::env::var_os("RAVELIN_SLOW_TESTS").is_some() {
        return SlhDsa::ALL;
    }
    println!("skipped: the other parameter sets; RAVELIN_SLOW_TESTS=1 runs them, best with --release");
    &[SlhDsa::Sha2_128f]
}

#[test]
fn keys_and_signatures() {
    for &set in sets() {
        signatures(keys(set).as_ref(), set);
    }
}

#[test]
fn every_set_verifies_and_refuses() {
    // No signature, but of the right lengths: it goes all the way.
    for &set in SlhDsa::ALL {
        let spki = raw_key::spki(KeyAlgorithm::SlhDsa(set), &vec![7; set.public_key_len()]).unwrap();
        let check = |len| provider().verifier.verify(SignatureAlgorithm::SlhDsa(set), &spki, b"m", &vec![9; len]);
        assert_eq!(check(set.signature_len()), Err(CryptoError::BadSignature), "{set}");
        assert_eq!(check(set.signature_len() + 1), Err(CryptoError::BadSignature), "{set}");
        let short = raw_key::spki(KeyAlgorithm::SlhDsa(set), &vec![7; set.public_key_len() - 1]).unwrap();
        let held = provider().verifier.verify(SignatureAlgorithm::SlhDsa(set), &short, b"m", &vec![9; set.signature_len()]);
        assert_eq!(held, Err(CryptoError::BadKey), "{set}");
    }
}
