//! Protection by a shared secret: the password-based MAC (RFC 9810 section 5.1.3.1) and PBMAC1 (RFC 8018 section 7.1, RFC 9481 section
//! 6.1.2).

use der::oid::ObjectIdentifier;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::algorithm::Digest;
use crate::crypto::provider;
use crate::x509::X509Error;
use crate::x509::algorithm_identifier as identifier;
use crate::x509::tlv::{Tlv, encode, encode_oid, encode_unsigned, tag};

/// How a message is protected with a shared secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MacKind {
    /// The password-based MAC that every CMP server knows.
    #[default]
    Pbm,
    /// PBMAC1, with PBKDF2.
    Pbmac1,
}

crate::algorithm::named!(MacKind, "protection by a secret", {
    Pbm => "pbm",
    Pbmac1 => "pbmac1",
});

/// id-PasswordBasedMac
const PASSWORD_BASED_MAC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113533.7.66.13");
/// id-PBMAC1
const PBMAC1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.14");
/// id-PBKDF2
const PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
/// hmac-SHA1 under the name that RFC 4210 gave it
const HMAC_SHA1_OF_CMP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.8.1.2");

/// The keyed digests of RFC 8018 appendix B.1.
const HMACS: [(ObjectIdentifier, Digest); 4] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.2.7"), Digest::Sha1),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.2.9"), Digest::Sha256),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.2.10"), Digest::Sha384),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.2.11"), Digest::Sha512),
];

/// Rounds of the password-based MAC. EJBCA takes up to 10,000.
const PBM_ROUNDS: u32 = 5_000;

/// Rounds of PBKDF2.
const PBKDF2_ROUNDS: u32 = 100_000;

/// More rounds than this are a way to keep us busy.
const MOST_ROUNDS: u64 = 1_000_000;

/// Longest salt that is taken.
const MOST_SALT: usize = 1024;

/// A MAC algorithm with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mac {
    kind: MacKind,
    salt: Vec<u8>,
    rounds: u32,
    /// The one-way function of the password-based MAC, or the digest of PBKDF2.
    derivation: Digest,
    /// Of the HMAC.
    digest: Digest,
    /// The length of the key: that of the one-way function, or what PBKDF2 is told.
    key_len: usize,
}

impl Mac {
    /// With a fresh salt, and SHA-256 throughout.
    pub fn fresh(kind: MacKind) -> Self {
        let rounds = match kind {
            MacKind::Pbm => PBM_ROUNDS,
            MacKind::Pbmac1 => PBKDF2_ROUNDS,
        };
        let salt = provider().random::<16>().to_vec();
        Self { kind, salt, rounds, derivation: Digest::Sha256, digest: Digest::Sha256, key_len: 32 }
    }

    /// Reads an AlgorithmIdentifier; `None` if it is no MAC by a password.
    pub(super) fn read(algorithm: &Tlv<'_>) -> Result<Option<Self>, X509Error> {
        let (oid, parameters) = identifier::read(algorithm)?;
        let sequence = || match parameters {
            Some(parameters) if parameters.tag == tag::SEQUENCE => Ok(parameters),
            _ => Err(algorithm.error("a MAC without its parameters")),
        };
        match oid {
            Some(PASSWORD_BASED_MAC) => Self::read_pbm(&sequence()?).map(Some),
            Some(PBMAC1) => Self::read_pbmac1(&sequence()?).map(Some),
            _ => Ok(None),
        }
    }

    /// PBMParameter ::= SEQUENCE { salt OCTET STRING, owf AlgorithmIdentifier, iterationCount INTEGER, mac AlgorithmIdentifier }
    fn read_pbm(parameters: &Tlv<'_>) -> Result<Self, X509Error> {
        let mut fields = parameters.reader();
        let salt = salt(&fields.tag(tag::OCTET_STRING)?)?;
        let owf = fields.tag(tag::SEQUENCE)?;
        let rounds = rounds(&fields.tag(tag::INTEGER)?)?;
        let mac = fields.tag(tag::SEQUENCE)?;
        fields.finish()?;
        let derivation = identifier::read(&owf)?.0.and_then(|oid| Digest::from_oid(&oid)).filter(|digest| *digest != Digest::Md5);
        let derivation = derivation.ok_or_else(|| owf.error("a one-way function that we do not know"))?;
        let digest = keyed_digest(&mac)?;
        Ok(Self { kind: MacKind::Pbm, salt, rounds, derivation, digest, key_len: derivation.output_len() })
    }

    /// PBMAC1-params ::= SEQUENCE { keyDerivationFunc AlgorithmIdentifier, messageAuthScheme AlgorithmIdentifier }
    ///
    /// PBKDF2-params ::= SEQUENCE { salt OCTET STRING, iterationCount INTEGER, keyLength INTEGER OPTIONAL, prf DEFAULT hmacWithSHA1 }
    fn read_pbmac1(parameters: &Tlv<'_>) -> Result<Self, X509Error> {
        let mut fields = parameters.reader();
        let (derivation, mac) = (fields.tag(tag::SEQUENCE)?, fields.tag(tag::SEQUENCE)?);
        fields.finish()?;
        let digest = keyed_digest(&mac)?;
        let (Some(PBKDF2), Some(inner)) = identifier::read(&derivation)? else {
            return Err(derivation.error("a key derivation that is not PBKDF2"));
        };
        let mut fields = inner.reader();
        let salt = salt(&fields.tag(tag::OCTET_STRING)?)?;
        let rounds = rounds(&fields.tag(tag::INTEGER)?)?;
        let key_len = match fields.optional(tag::INTEGER)? {
            Some(length) => match length.unsigned() {
                Some(octets @ 16..=64) => Some(octets),
                // RFC 8018 appendix A.2 means octets. Siemens' component writes bits, and no key is that long in octets.
                Some(bits @ 128..=4096) if bits % 8 == 0 => Some(bits / 8),
                _ => None,
            },
            None => Some(digest.output_len() as u64),
        };
        let key_len = key_len.ok_or_else(|| inner.error("a key that is too short or too long"))? as usize;
        let derivation = fields.optional(tag::SEQUENCE)?.map_or(Ok(Digest::Sha1), |prf| keyed_digest(&prf))?;
        fields.finish()?;
        Ok(Self { kind: MacKind::Pbmac1, salt, rounds, derivation, digest, key_len })
    }

    /// The AlgorithmIdentifier.
    pub fn to_der(&self) -> Vec<u8> {
        let salt = encode(tag::OCTET_STRING, &[&self.salt]);
        let rounds = encode_unsigned(&self.rounds.to_be_bytes());
        let (oid, parameters) = match self.kind {
            MacKind::Pbm => {
                let owf = algorithm(&self.derivation.oid());
                (PASSWORD_BASED_MAC, encode(tag::SEQUENCE, &[salt, owf, rounds, hmac_algorithm(self.digest)]))
            }
            MacKind::Pbmac1 => {
                let length = encode_unsigned(&[self.key_len as u8]);
                let pbkdf2 = encode(tag::SEQUENCE, &[salt, rounds, length, hmac_algorithm(self.derivation)]);
                let derivation = encode(tag::SEQUENCE, &[encode_oid(&PBKDF2), pbkdf2]);
                (PBMAC1, encode(tag::SEQUENCE, &[derivation, hmac_algorithm(self.digest)]))
            }
        };
        encode(tag::SEQUENCE, &[encode_oid(&oid), parameters])
    }

    /// The MAC over a ProtectedPart. Slow, as it has to be.
    pub fn compute(&self, secret: &[u8], protected: &[u8]) -> Result<Vec<u8>, X509Error> {
        let key = match self.kind {
            // BASEKEY is the digest of secret and salt, and the digest of that, and so on. An HMAC takes a key of any length, so that
            // nothing is cut off, whatever digest it has (RFC 4211 section 4.4; OpenSSL sends HMAC-SHA-1 with 32 octets).
            MacKind::Pbm => {
                let first = Zeroizing::new([secret, self.salt.as_slice()].concat());
                let mut key = Zeroizing::new(provider().digester.digest(self.derivation, &first));
                for _ in 1..self.rounds {
                    key = Zeroizing::new(provider().digester.digest(self.derivation, &key));
                }
                key
            }
            MacKind::Pbmac1 => provider().ciphers.pbkdf2(self.derivation, secret, &self.salt, self.rounds, self.key_len)?,
        };
        Ok(provider().digester.hmac(self.digest, &key, protected)?)
    }

    /// Whether this is the MAC over a ProtectedPart.
    pub fn verify(&self, secret: &[u8], protected: &[u8], mac: &[u8]) -> bool {
        self.compute(secret, protected).is_ok_and(|right| bool::from(right.ct_eq(mac)))
    }
}

fn salt(octets: &Tlv<'_>) -> Result<Vec<u8>, X509Error> {
    if octets.value.len() > MOST_SALT {
        return Err(octets.error("a salt that is too long"));
    }
    Ok(octets.value.to_vec())
}

fn rounds(count: &Tlv<'_>) -> Result<u32, X509Error> {
    let fits = count.unsigned().filter(|count| (1..=MOST_ROUNDS).contains(count));
    Ok(fits.ok_or_else(|| count.error(format_args!("a number of rounds that is not between 1 and {MOST_ROUNDS}")))? as u32)
}

fn keyed_digest(algorithm: &Tlv<'_>) -> Result<Digest, X509Error> {
    let known = match identifier::read(algorithm)?.0 {
        Some(HMAC_SHA1_OF_CMP) => Some(Digest::Sha1),
        Some(oid) => HMACS.iter().find(|(known, _)| *known == oid).map(|(_, digest)| *digest),
        None => None,
    };
    known.ok_or_else(|| algorithm.error("a keyed digest that we do not know"))
}

/// An AlgorithmIdentifier without parameters.
fn algorithm(oid: &ObjectIdentifier) -> Vec<u8> {
    encode(tag::SEQUENCE, &[encode_oid(oid)])
}

/// The AlgorithmIdentifier of an HMAC: with NULL (RFC 8018 appendix B.1.2).
fn hmac_algorithm(digest: Digest) -> Vec<u8> {
    let (oid, _) = HMACS.iter().find(|(_, known)| *known == digest).expect("only digests of the table are taken");
    encode(tag::SEQUENCE, &[encode_oid(oid), vec![tag::NULL, 0]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::tlv::Reader;

    fn known(kind: MacKind) -> Mac {
        Mac { salt: b"salt of test".to_vec(), rounds: 1000, ..Mac::fresh(kind) }
    }

    /// Computed with Python's hashlib and hmac.
    #[test]
    fn macs_are_those_of_other_tools() {
        let mac = |kind| hex::encode(known(kind).compute(b"insta-secret", b"protected part").unwrap());
        assert_eq!(mac(MacKind::Pbm), PBM_BY_PYTHON);
        assert_eq!(mac(MacKind::Pbmac1), PBMAC1_BY_PYTHON);
    }

    const PBM_BY_PYTHON: &str = "9428abcce1cc03938fc84dfd8221bcccb5d0e7b566a878c05bfd031ddc574480";
    const PBMAC1_BY_PYTHON: &str = "2363693fcbf59e8723cb3abd754c665d33836958ed005e43b9ea09973ff56d71";

    #[test]
    fn parameters_come_back_as_they_went() {
        for kind in [MacKind::Pbm, MacKind::Pbmac1] {
            let der = known(kind).to_der();
            let read = Mac::read(&Reader::single("algorithm", &der, tag::SEQUENCE).unwrap()).unwrap();
            assert_eq!(read, Some(known(kind)));
            assert!(known(kind).verify(b"s", b"x", &known(kind).compute(b"s", b"x").unwrap()));
            assert!(!known(kind).verify(b"t", b"x", &known(kind).compute(b"s", b"x").unwrap()));
        }
    }

    /// The parameters of Siemens' CmpRaComponent 4.1.4: the key is 4096 bits long, and says so in bits.
    #[test]
    fn the_length_of_a_key_may_be_in_bits() {
        let der = "305406092a864886f70d01050e3047303906092a864886f70d01050c302c041470b50ff8a61391925b941fd6298d35e179cca2bb\
                   0202271002021000300c06082a864886f70d02090500300a06082a864886f70d0209";
        let der = hex::decode(der).unwrap();
        let mac = Mac::read(&Reader::single("algorithm", &der, tag::SEQUENCE).unwrap()).unwrap().unwrap();
        assert_eq!((mac.key_len, mac.rounds), (512, 10_000));
        let computed = mac.compute(b"insta-secret", b"protected part").unwrap();
        assert_eq!(hex::encode(computed), "309b2cccf7dee3b1ba8824ff6d65710d3f8211afd3f55df17f6e6364a55f1b4d");
    }

    #[test]
    fn nobody_keeps_us_busy() {
        for kind in [MacKind::Pbm, MacKind::Pbmac1] {
            let der = Mac { rounds: 1_000_001, ..known(kind) }.to_der();
            let error = Mac::read(&Reader::single("algorithm", &der, tag::SEQUENCE).unwrap()).unwrap_err();
            assert!(error.to_string().contains("rounds"), "{error}");
        }
    }
}
