//! SLH-DSA: FIPS 205, RFC 9909. The crate `fips205`, which shares no code with our backend, has to make the same octets.

use fips205::traits::{KeyGen, SerDes, Signer as _, Verifier as _};

use super::*;
use crate::algorithm::{SignatureAlgorithm, SlhDsa};
use crate::crypto::raw_key;
use crate::crypto::slh_dsa::SlhDsaBackend;

fn of(backend: Backend) -> &'static dyn SlhDsaBackend {
    backend.slh_dsa().unwrap()
}

/// The sets that most checks use: the others take longer, and go through the same code with other numbers.
const QUICK: [SlhDsa; 2] = [SlhDsa::Sha2_128f, SlhDsa::Shake128f];

/// Whether to try harder.
fn all_sets() -> bool {
    std::env::var_os("RAVELIN_ALL_SETS").is_some()
}

pub(super) fn what_it_declares_holds(backend: Backend) {
    let (declared, provider) = (backend.abilities(Family::SlhDsa).unwrap(), provider(Family::SlhDsa, backend));
    assert_eq!(of(backend).name(), backend.name());
    assert_eq!(of(backend).sets(), SlhDsa::ALL);
    for set in QUICK {
        let (kind, algorithm) = (KeyAlgorithm::SlhDsa(set), SignatureAlgorithm::SlhDsa(set));
        let made = provider.keys.generate(kind);
        answers(declared.generate, &made, "generate");
        let made = made.unwrap();
        let file = made.export_pkcs8().ok_or(CryptoError::Unsupported);
        answers(declared.export, &file, "export");
        let read = provider.keys.signer(&file.unwrap());
        answers(declared.import_expanded, &read, "import");
        let read = read.unwrap();
        assert_eq!((read.key(), read.spki()), (kind, made.spki()));
        let signature = read.sign(algorithm, b"message");
        answers(declared.sign, &signature, "sign");
        let verified = provider.verifier.verify(algorithm, made.spki(), b"message", &signature.unwrap());
        answers(declared.verify, &verified, "verify");
        // A key has no form but the one.
        assert!(FORMS.iter().all(|form| made.export_form(*form).is_none()));
    }
}

pub(super) fn acvp_key_generation(backend: Backend) {
    let file: Value = serde_json::from_str(include_str!("../../../testdata/acvp/slh-dsa-key-generation.json")).unwrap();
    // The small sets take sixty times as long as the fast ones.
    let all = all_sets();
    let mut seen = 0;
    for (group, test) in cases(&file) {
        let KeyAlgorithm::SlhDsa(set) = set(&group["parameterSet"]) else { panic!("{group}") };
        if set.is_small() && !all {
            continue;
        }
        let seeds = ["skSeed", "skPrf", "pkSeed"].map(|field| octets(test, field));
        let key = of(backend).make(set, [&seeds[0], &seeds[1], &seeds[2]]).unwrap();
        assert_eq!(*key.private_key(), octets(test, "sk"), "{set}");
        assert_eq!(key.public_key(), octets(test, "pk"), "{set}");
        seen += 1;
    }
    assert_eq!(seen, if all { 12 } else { 6 });
}

/// A private and its public key.
type KeyPair = (Vec<u8>, Vec<u8>);

/// What the other implementation does with one parameter set.
struct Other {
    set: SlhDsa,
    /// Of three seeds: the private and the public key.
    key: fn([&[u8]; 3]) -> KeyPair,
    /// By a private key, with PK.seed in place of randomness (FIPS 205 section 9.2, deterministic).
    sign: fn(&[u8], &[u8]) -> Vec<u8>,
    /// By a public key: message and signature.
    verify: fn(&[u8], &[u8], &[u8]) -> bool,
}

macro_rules! others {
    ($($set:ident $n:literal $module:ident),+ $(,)?) => {
        [$({
            use fips205::$module::{KG, PrivateKey, PublicKey};
            Other {
                set: SlhDsa::$set,
                key: |[seed, prf, public]| {
                    let exactly = |octets: &[u8]| <[u8; $n]>::try_from(octets).unwrap();
                    let (public, private) = KG::keygen_from_seed(&exactly(seed), &exactly(prf), &exactly(public));
                    (private.into_bytes().to_vec(), public.into_bytes().to_vec())
                },
                sign: |private, message| {
                    let key = PrivateKey::try_from_bytes(private.try_into().unwrap()).unwrap();
                    key.try_sign(message, &[], false).unwrap().to_vec()
                },
                verify: |public, message, signature| {
                    let key = PublicKey::try_from_bytes(public.try_into().unwrap()).unwrap();
                    key.verify(message, signature.try_into().unwrap(), &[])
                },
            }
        }),+]
    };
}

fn others() -> [Other; 12] {
    others! {
        Sha2_128s 16 slh_dsa_sha2_128s,
        Sha2_128f 16 slh_dsa_sha2_128f,
        Sha2_192s 24 slh_dsa_sha2_192s,
        Sha2_192f 24 slh_dsa_sha2_192f,
        Sha2_256s 32 slh_dsa_sha2_256s,
        Sha2_256f 32 slh_dsa_sha2_256f,
        Shake128s 16 slh_dsa_shake_128s,
        Shake128f 16 slh_dsa_shake_128f,
        Shake192s 24 slh_dsa_shake_192s,
        Shake192f 24 slh_dsa_shake_192f,
        Shake256s 32 slh_dsa_shake_256s,
        Shake256f 32 slh_dsa_shake_256f,
    }
}

/// Seeds that have nothing in common.
fn seeds(set: SlhDsa) -> Vec<u8> {
    (0..3 * set.n()).map(|n| (n * 7 + 3) as u8).collect()
}

fn split(seeds: &[u8]) -> [&[u8]; 3] {
    let n = seeds.len() / 3;
    [&seeds[..n], &seeds[n..2 * n], &seeds[2 * n..]]
}

pub(super) fn another_implementation_makes_the_same_keys_and_signatures(backend: Backend) {
    let enough = |set: SlhDsa| QUICK.contains(&set) || all_sets() && !set.is_small();
    for other in others().into_iter().filter(|other| enough(other.set)) {
        let seeds = seeds(other.set);
        let [_, _, public_seed] = split(&seeds);
        let key = of(backend).make(other.set, split(&seeds)).unwrap();
        assert_eq!((key.private_key().to_vec(), key.public_key()), (other.key)(split(&seeds)), "{}", other.set);
        let ours = key.sign(b"message", public_seed).unwrap();
        let theirs = (other.sign)(&key.private_key(), b"message");
        assert!(ours == theirs, "{}: the signatures differ", other.set);
        assert!((other.verify)(&key.public_key(), b"message", &ours), "{}", other.set);
        assert!(!(other.verify)(&key.public_key(), b"massage", &ours), "{}", other.set);
        assert_eq!(of(backend).verify(other.set, &key.public_key(), b"message", &theirs), Ok(()), "{}", other.set);
        let refused = of(backend).verify(other.set, &key.public_key(), b"massage", &theirs);
        assert_eq!(refused, Err(CryptoError::BadSignature), "{}", other.set);
    }
}

pub(super) fn signatures_are_hedged(backend: Backend) {
    let provider = provider(Family::SlhDsa, backend);
    let key = provider.keys.generate(KeyAlgorithm::SlhDsa(SlhDsa::Sha2_128f)).unwrap();
    let sign = || key.sign(SignatureAlgorithm::SlhDsa(SlhDsa::Sha2_128f), b"message").unwrap();
    assert_ne!(sign(), sign());
}

pub(super) fn what_was_changed_does_not_verify(backend: Backend) {
    let (provider, set) = (provider(Family::SlhDsa, backend), SlhDsa::Sha2_128f);
    let algorithm = SignatureAlgorithm::SlhDsa(set);
    let key = provider.keys.generate(KeyAlgorithm::SlhDsa(set)).unwrap();
    let good = key.sign(algorithm, b"message").unwrap();
    assert_eq!(good.len(), set.signature_len());
    let verify = |signature: &[u8]| provider.verifier.verify(algorithm, key.spki(), b"message", signature);
    assert_eq!(verify(&good), Ok(()));
    // The randomizer, the few-time signature, and the tree above it.
    for place in [0, 15, 16, 5000, 17_000, good.len() - 1] {
        let mut changed = good.clone();
        changed[place] ^= 1;
        assert_eq!(verify(&changed), Err(CryptoError::BadSignature), "octet {place}");
    }
    for wrong in [&good[1..], &good[..good.len() - 1], &[&good[..], &[0]].concat(), &[]] {
        assert_eq!(verify(wrong), Err(CryptoError::BadSignature));
    }
    // The same octets as a key of another hash.
    let (_, raw) = raw_key::from_spki(key.spki()).unwrap().unwrap();
    let other = raw_key::spki(KeyAlgorithm::SlhDsa(SlhDsa::Shake128f), raw).unwrap();
    assert_eq!(provider.verifier.verify(algorithm, &other, b"message", &good), Err(CryptoError::BadKey));
    let shake = SignatureAlgorithm::SlhDsa(SlhDsa::Shake128f);
    assert_eq!(provider.verifier.verify(shake, &other, b"message", &good), Err(CryptoError::BadSignature));
}

pub(super) fn keys_that_are_no_keys_are_refused(backend: Backend) {
    let (it, set) = (of(backend), SlhDsa::Shake128f);
    let seeds = seeds(set);
    let private = it.make(set, split(&seeds)).unwrap().private_key();
    assert!(it.read(set, &private).is_ok());
    for wrong in [&private[1..], &private[..private.len() - 1], &[&private[..], &[0]].concat(), &[]] {
        assert_eq!(it.read(set, wrong).err(), Some(CryptoError::BadKey));
    }
    // PK.root that does not follow from the seeds.
    let mut changed = private.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(it.read(set, &changed).err(), Some(CryptoError::BadKey));
    let keys = provider(Family::SlhDsa, backend).keys;
    assert!(keys.signer(&raw_key::pkcs8(KeyAlgorithm::SlhDsa(set), &private).unwrap()).is_ok());
    // RFC 9909 section 6 has no OCTET STRING around the octets.
    let wrapped = [&[4, 64][..], &private].concat();
    assert_eq!(keys.signer(&raw_key::pkcs8(KeyAlgorithm::SlhDsa(set), &wrapped).unwrap()).err(), Some(CryptoError::BadKey));
}
