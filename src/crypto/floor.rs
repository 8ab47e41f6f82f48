//! What one SCEP enrollment costs at the very least: its cryptography and nothing else.
//!
//! The speed of the server is told as a multiple of this floor, measured in the same run on the same machine. It is the
//! enrollment of a device with an RSA-2048 key, AES-128-CBC and SHA-256, an RA with RSA-2048 keys and a CA with a P-256 key:
//! every primitive that the request and its reply need, checks of our own signatures included, by the provider in use. There
//! is no ASN.1, no HTTP and no database in it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{CryptoError, CryptoProvider, Decrypter, Signer, provider};
use crate::algorithm::{ContentCipher, KeyAlgorithm, KeyTransport, SignatureAlgorithm};

/// Everything that the primitives of an enrollment work on.
pub struct Enrollment {
    provider: &'static CryptoProvider,
    device: Arc<dyn Signer>,
    ra_signer: Arc<dyn Signer>,
    ra_decrypter: Arc<dyn Decrypter>,
    ca: Arc<dyn Signer>,
    attributes_signature: Vec<u8>,
    csr_signature: Vec<u8>,
    certificate_signature: Vec<u8>,
    reply_signature: Vec<u8>,
    wrapped_key: Vec<u8>,
    sealed: Vec<u8>,
    key: [u8; 16],
    iv: [u8; 16],
}

/// One primitive with its name.
pub type Part = (&'static str, fn(&Enrollment) -> Result<(), CryptoError>);

/// The primitives, in the order of the enrollment.
pub const PARTS: &[Part] = &[
    ("sha256-request", |e| e.hash(REQUEST, 2)),
    ("rsa2048-verify-request", |e| e.verify(RSA, &*e.device, ATTRIBUTES, &e.attributes_signature)),
    ("rsa2048-decrypt-key", |e| e.ra_decrypter.unwrap_key(TRANSPORT, &e.wrapped_key, e.key.len()).map(drop)),
    ("aes128-decrypt", |e| e.provider.ciphers.decrypt(CIPHER, &e.key, &e.iv, &e.sealed).map(drop)),
    ("rsa2048-verify-csr", |e| e.verify(RSA, &*e.device, CSR, &e.csr_signature)),
    ("ecdsa-p256-sign-certificate", |e| e.ca.sign(EC, CERTIFICATE).map(drop)),
    ("ecdsa-p256-verify-certificate", |e| e.verify(EC, &*e.ca, CERTIFICATE, &e.certificate_signature)),
    ("sha256-certificate", |e| e.hash(CERTIFICATE, 1)),
    ("rsa2048-encrypt-key", |e| e.provider.transport.wrap_key(TRANSPORT, e.device.spki(), &e.provider.random::<16>()).map(drop)),
    ("aes128-encrypt", |e| e.provider.ciphers.encrypt(CIPHER, &e.key, &e.provider.random::<16>(), CONTENT).map(drop)),
    ("sha256-reply", |e| e.hash(REPLY, 1)),
    ("rsa2048-sign-reply", |e| e.ra_signer.sign(RSA, ATTRIBUTES).map(drop)),
    ("rsa2048-verify-reply", |e| e.verify(RSA, &*e.ra_signer, ATTRIBUTES, &e.reply_signature)),
];

impl Enrollment {
    /// Makes keys, signatures and ciphertexts. Takes a second or so.
    pub fn prepare() -> Result<Self, CryptoError> {
        let provider = provider();
        let device = provider.keys.generate(KeyAlgorithm::Rsa(2048))?;
        let ra_signer = provider.keys.generate(KeyAlgorithm::Rsa(2048))?;
        let ra_key = provider.keys.generate(KeyAlgorithm::Rsa(2048))?;
        let ra_decrypter = provider.keys.decrypter(&ra_key.export_pkcs8().ok_or(CryptoError::Backend)?)?;
        let ca = provider.keys.generate(KeyAlgorithm::EcdsaP256)?;
        let (key, iv) = (provider.random(), provider.random());
        Ok(Self {
            attributes_signature: device.sign(RSA, ATTRIBUTES)?,
            csr_signature: device.sign(RSA, CSR)?,
            certificate_signature: ca.sign(EC, CERTIFICATE)?,
            reply_signature: ra_signer.sign(RSA, ATTRIBUTES)?,
            wrapped_key: provider.transport.wrap_key(TRANSPORT, ra_key.spki(), &key)?,
            sealed: provider.ciphers.encrypt(CIPHER, &key, &iv, CONTENT)?,
            provider,
            device,
            ra_signer,
            ra_decrypter,
            ca,
            key,
            iv,
        })
    }

    /// Runs every part once.
    pub fn run(&self) -> Result<(), CryptoError> {
        PARTS.iter().try_for_each(|(_, part)| part(self))
    }

    /// Measures the parts, `rounds` times each in turn, with a clock that should count the CPU time of this thread.
    pub fn measure(&self, rounds: usize, clock: impl Fn() -> Duration) -> Result<Floor, CryptoError> {
        self.run()?;
        let mut times = vec![Vec::with_capacity(rounds); PARTS.len()];
        for _ in 0..rounds.max(1) {
            for ((name, part), times) in PARTS.iter().zip(&mut times) {
                // What takes a microsecond is repeated, so that asking for the time does not weigh.
                let repeat = if name.starts_with("rsa2048-decrypt") || name.starts_with("rsa2048-sign") { 1 } else { 8 };
                let start = clock();
                for _ in 0..repeat {
                    part(self)?;
                }
                times.push(clock().saturating_sub(start).as_secs_f64() * 1e6 / f64::from(repeat));
            }
        }
        let parts: Vec<_> = PARTS.iter().zip(times).map(|((name, _), times)| (*name, median(times))).collect();
        Ok(Floor { floor_us: parts.iter().map(|(_, us)| us).sum(), rounds, provider: self.provider.name, parts: Parts(parts) })
    }

    fn hash(&self, data: &[u8], times: usize) -> Result<(), CryptoError> {
        for _ in 0..times {
            black_box(self.provider.digester.sha256(black_box(data)));
        }
        Ok(())
    }

    fn verify(&self, by: SignatureAlgorithm, key: &dyn Signer, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.provider.verifier.verify(by, key.spki(), message, signature)
    }
}

/// The floor, as it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Floor {
    /// Microseconds of one enrollment: the sum of the parts.
    pub floor_us: f64,
    /// How often each part was measured.
    pub rounds: usize,
    /// The cryptography backend.
    pub provider: &'static str,
    /// The median of each part in microseconds.
    pub parts: Parts,
}

/// Parts by name, in the order of the enrollment; a JSON object.
#[derive(Clone, Debug)]
pub struct Parts(pub Vec<(&'static str, f64)>);

impl Serialize for Parts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, us)| (name, us)))
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

const RSA: SignatureAlgorithm = SignatureAlgorithm::RsaSha256;
const EC: SignatureAlgorithm = SignatureAlgorithm::EcdsaSha256;
const CIPHER: ContentCipher = ContentCipher::Aes128Cbc;
const TRANSPORT: KeyTransport = KeyTransport::Pkcs1v15;

// Octets of the sizes that real clients and a P-256 CA make.
const ATTRIBUTES: &[u8] = &[0x31; 300];
const CSR: &[u8] = &[0x30; 700];
const CONTENT: &[u8] = &[0x30; 1200];
const CERTIFICATE: &[u8] = &[0x30; 700];
const REQUEST: &[u8] = &[0x30; 1700];
const REPLY: &[u8] = &[0x30; 1700];

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn every_part_succeeds_and_is_in_the_sum() {
        let enrollment = Enrollment::prepare().unwrap();
        let start = Instant::now();
        let floor = enrollment.measure(3, || start.elapsed()).unwrap();
        assert_eq!(floor.parts.0.len(), PARTS.len());
        assert!(floor.parts.0.iter().all(|(_, us)| *us > 0.0), "{floor:?}");
        assert!(floor.floor_us > 500.0, "{floor:?}");
        let json = serde_json::to_value(&floor).unwrap();
        assert!(json["parts"]["rsa2048-sign-reply"].as_f64().unwrap() > 100.0, "{json}");
    }
}
