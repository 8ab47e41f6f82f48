//! Sends mutated test data through every reader of octets from the network, always the same mutations: nothing may panic, and
//! nothing may grow. A stand-in, on the stable compiler, for the fuzz targets in `fuzz/`.

use std::path::Path;

use ravelin::upstream::cmp;
use ravelin::x509::{Certificate, DistinguishedName, VerifiedCsr, ber, crl, extension, spki};

const ROUNDS: usize = 400;

/// xorshift64*: enough for choosing octets, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut files = Vec::new();
    for folder in ["x509", "cms", "cmp", "scep/captured"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "der") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 30, "the test data is there");
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Changes one to four places: a bit, an octet that means something in ASN.1, a cut, a doubled or a removed stretch.
fn mutate(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = seed.to_vec();
    for _ in 0..=random.below(4) {
        if out.is_empty() {
            break;
        }
        // Structure stands at the beginning more often than not.
        let reach = if random.below(2) == 0 { out.len() } else { out.len().min(64) };
        let at = random.below(reach);
        match random.below(6) {
            0 => out[at] ^= 1 << random.below(8),
            1 => out[at] = [0x00, 0x80, 0xff, 0x30, 0x31, 0x24, 0x04, 0xa0, 0x1f, 0x7f, 0x84, 0x02, 0x03, 0x06][random.below(14)],
            2 => out.truncate(at),
            3 => {
                let end = (at + 1 + random.below(16)).min(out.len());
                let stretch = out[at..end].to_vec();
                out.splice(at..at, stretch);
            }
            4 => {
                let end = (at + 1 + random.below(8)).min(out.len());
                out.drain(at..end);
            }
            _ => out.insert(at, random.below(256) as u8),
        }
    }
    out
}

fn read_everything(input: &[u8]) {
    if let Ok(der) = ber::to_der(input) {
        assert!(der.len() <= input.len(), "DER is never longer than BER");
        assert!(matches!(ber::to_der(&der), Ok(std::borrow::Cow::Borrowed(_))), "DER is a fixed point: {input:02x?}");
    }
    if let Ok(certificate) = Certificate::from_der(input) {
        assert_eq!(certificate.der(), input);
        let _ = (certificate.subject_alt_names(), certificate.key_usage(), certificate.is_ca(), certificate.serial_hex());
        let _ = (certificate.subject_key_identifier(), certificate.authority_key_identifier(), certificate.extended_key_usages());
        let _ = certificate.verify_signed_by(certificate.spki());
        name(certificate.subject().der());
        let _ = spki::key_identifier(certificate.spki());
    }
    if let Ok(request) = VerifiedCsr::from_der(input) {
        assert_eq!(request.der(), input);
        name(request.subject().der());
        for e in request.extensions() {
            extensions(&e.value);
        }
    }
    if let Ok(list) = crl::read_crl(input) {
        assert!(list.revoked.len() <= input.len() / 8);
    }
    let _ = crl::verify_crl(input, input);
    if let Ok(message) = cmp::message::Message::read(input) {
        assert!(message.protected_part().len() <= input.len() + 8);
        let _ = cmp::body::read_any(message.body_tag, message.content);
    }
    extensions(input);
    name(input);
}

fn extensions(value: &[u8]) {
    let _ = extension::read_extended_key_usage(value);
    let _ = extension::read_basic_constraints(value);
    let _ = extension::read_authority_key_identifier(value);
    if let Ok(names) = extension::read_subject_alt_names(value) {
        assert_eq!(extension::subject_alt_names(&names).unwrap(), value);
    }
    if let Ok(usage) = extension::read_key_usage(value) {
        assert_eq!(extension::read_key_usage(&extension::key_usage(usage)).unwrap(), usage);
    }
}

/// What is read can be printed, and what is printed can be read.
fn name(der: &[u8]) {
    let Ok(name) = DistinguishedName::from_der(der) else { return };
    let text = name.to_string();
    assert!(text.len() <= 16 * der.len());
    let again = DistinguishedName::parse(&text, true).unwrap_or_else(|e| panic!("{text:?}: {e}"));
    assert!(again.matches(&name), "{text:?} became {:?}", again.to_string());
}

#[test]
fn mutated_messages_do_no_harm() {
    let mut random = Random(0x5eed_0fac_a110);
    for seed in seeds() {
        read_everything(&seed);
        for _ in 0..ROUNDS {
            read_everything(&mutate(&seed, &mut random));
        }
    }
}

#[test]
fn mutated_names_do_no_harm() {
    let mut random = Random(0x5eed_0fa4_a3e0);
    let seeds = [r#"CN=Kö\, \"x\" \#1+serialNumber=\41B,O=" a ",1.2.3=#04026869;DC=net"#, "CN=a", r"OU=\ \ ,L=#0500"];
    for seed in seeds {
        for _ in 0..10 * ROUNDS {
            let mutated = mutate(seed.as_bytes(), &mut random);
            let text = String::from_utf8_lossy(&mutated);
            if let Ok(read) = DistinguishedName::parse(&text, random.below(2) == 0) {
                name(read.der());
            }
        }
    }
}

#[test]
fn mutated_parts_of_certificates_do_no_harm() {
    let mut random = Random(0x5eed_0fa9_a270);
    for seed in seeds() {
        let Ok(certificate) = Certificate::from_der(&seed) else { continue };
        for _ in 0..ROUNDS {
            name(&mutate(certificate.subject().der(), &mut random));
            let _ = spki::key_algorithm(&mutate(certificate.spki(), &mut random));
            for e in certificate.extensions() {
                extensions(&mutate(&e.value, &mut random));
            }
        }
    }
}
