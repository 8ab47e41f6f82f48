//! Reads what other programs made (`testdata/`, and the vectors folder beside the project), and has other programs read what we make.

use std::path::{Path, PathBuf};
use std::process::Command;

use ravelin::algorithm::{Composite, Digest, KeyAlgorithm, SignatureAlgorithm, SlhDsa};
use ravelin::crypto::{Signer, provider};
use ravelin::x509::builder::{self, CertificateTemplate};
use ravelin::x509::crl::{CrlTemplate, RevocationReason, RevokedCertificate, read_crl, verify_crl};
use ravelin::x509::csr::CsrTemplate;
use ravelin::x509::{
    Certificate, DistinguishedName, KeyUsage, SubjectAltName, VerifiedCsr, X509Error, ber, extension, pem, spki,
};

fn testdata(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn certificate(name: &str) -> Certificate {
    Certificate::from_der(&testdata(&format!("x509/{name}.der"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn csr(name: &str) -> VerifiedCsr {
    VerifiedCsr::from_der(&testdata(&format!("x509/{name}.der"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A file of the vectors folder beside the project, if it is there.
fn vector(name: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("RAVELIN_SHARED_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"), PathBuf::from);
    let read = std::fs::read(root.join(name)).ok();
    if read.is_none() {
        println!("skipped: the vectors folder has no {name}");
    }
    read
}

// Certificates

#[test]
fn a_leaf_with_everything() {
    let (leaf, ca) = (certificate("leaf-rsa"), certificate("ca-p256"));
    assert_eq!(leaf.subject().to_string(), r"C=DE,O=Example\, Inc.,OU=Ost+OU=Räume,serialNumber=FTX1234,CN=r1.example.net");
    assert_eq!(leaf.subject().values("serialnumber"), ["FTX1234"]);
    assert_eq!((leaf.serial(), leaf.serial_hex().as_str()), (&[0x0a][..], "0a"));
    assert_eq!((leaf.key(), leaf.signature_algorithm()), (Some(KeyAlgorithm::Rsa(2048)), Some(SignatureAlgorithm::EcdsaSha256)));
    assert_eq!(leaf.key_usage(), Some(KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT)));
    assert_eq!(
        leaf.extended_key_usages().iter().map(extension::extended_key_usage_name).collect::<Vec<_>>(),
        ["clientAuth", "ipsecIKE"]
    );
    let names = leaf.subject_alt_names();
    let kinds: Vec<_> = names.iter().map(SubjectAltName::kind).collect();
    assert_eq!(kinds, ["dns", "ip", "ip", "uri", "email", "directory", "other"]);
    assert_eq!(names[2].value(), "2001:db8::1");
    assert_eq!(names[3].value(), "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1104");
    assert_eq!(names[5].value(), "O=Example,CN=Test");
    let san = leaf.extension(&extension::oid::SUBJECT_ALT_NAME).unwrap();
    assert_eq!(extension::subject_alt_names(&names).unwrap(), san.value);
    assert!(!leaf.is_ca() && ca.is_ca());
    assert!(leaf.issuer().matches(ca.subject()));
    assert_eq!(leaf.authority_key_identifier(), ca.subject_key_identifier());
    assert_eq!(spki::key_identifier(ca.spki()).unwrap().to_vec(), ca.subject_key_identifier().unwrap());
    leaf.verify_signed_by(ca.spki()).unwrap();
    leaf.verify_signed_by(leaf.spki()).unwrap_err();
    ca.verify_signed_by(ca.spki()).unwrap();
    assert!(leaf.not_after().to_string().as_str() > "2100");
    assert_eq!(Certificate::from_pem(&leaf.to_pem()).unwrap(), leaf);
    assert_eq!(Certificate::chain_from_pem(&(leaf.to_pem() + &ca.to_pem())).unwrap(), [leaf, ca]);
}

#[test]
fn odd_certificates_are_read_and_verified() {
    let ca = certificate("ca-p256");
    let long = certificate("odd-long-serial");
    assert_eq!((long.serial().len(), long.serial_hex().len()), (32, 62));
    assert_eq!(long.key(), Some(KeyAlgorithm::Ed25519));
    assert!(long.extension(&extension::oid::AUTHORITY_KEY_IDENTIFIER).is_some_and(|e| e.critical));
    let negative = certificate("odd-negative-serial");
    assert_eq!(negative.serial(), [0xfb]);
    let twenty = certificate("leaf-p384");
    assert_eq!(twenty.serial().len(), 20);
    assert_eq!(twenty.subject().to_string(), "DC=net,DC=example,UID=r2,CN=r2,unstructuredName=r2.example.net");
    for leaf in [&long, &negative, &twenty] {
        leaf.verify_signed_by(ca.spki()).unwrap();
    }
    let v1 = certificate("v1");
    assert!(v1.extensions().is_empty() && !v1.is_ca() && v1.key_usage().is_none() && v1.subject_alt_names().is_empty());
    assert_eq!(certificate("self-signed-pss").signature_algorithm(), Some(SignatureAlgorithm::RsaPssSha384));
    assert_eq!(certificate("self-signed-sha1").signature_algorithm(), Some(SignatureAlgorithm::RsaSha1));
    for own in [v1, certificate("self-signed-pss"), certificate("self-signed-sha1"), certificate("name-strings")] {
        own.verify_signed_by(own.spki()).unwrap();
    }
}

#[test]
fn every_string_type_and_the_end_of_time() {
    let read = certificate("name-strings");
    assert_eq!(read.subject().to_string(), "O=Käse,OU=universal,L=Köln,CN=dev-1,emailAddress=a@example.net");
    assert!(
        read.subject().matches(&DistinguishedName::parse("o=käse,ou=Universal,l=köln,cn=DEV-1,e=A@example.net", true).unwrap())
    );
    assert_eq!(read.not_after(), jiff::Timestamp::MAX);
    assert_eq!(read.serial_hex(), "80");
}

#[test]
fn a_flipped_bit_ends_the_signature() {
    let (ca, leaf) = (certificate("ca-p256"), testdata("x509/leaf-rsa.der"));
    let at = leaf.windows(7).position(|w| w == b"FTX1234").unwrap();
    let mut forged = leaf.clone();
    forged[at] ^= 1;
    let forged = Certificate::from_der(&forged).unwrap();
    assert!(matches!(forged.verify_signed_by(ca.spki()), Err(X509Error::Crypto(_))));
    // Trailing octets.
    assert!(Certificate::from_der(&[leaf, vec![0]].concat()).is_err());
}

#[test]
fn post_quantum_certificates() {
    for (name, key, algorithm) in [
        ("ML-DSA-44", KeyAlgorithm::MlDsa44, SignatureAlgorithm::MlDsa44),
        ("ML-DSA-65", KeyAlgorithm::MlDsa65, SignatureAlgorithm::MlDsa65),
        ("ML-DSA-87", KeyAlgorithm::MlDsa87, SignatureAlgorithm::MlDsa87),
    ] {
        let Some(text) = vector(&format!("lamps-dilithium/{name}.crt")) else { return };
        let read = Certificate::from_pem(std::str::from_utf8(&text).unwrap()).unwrap();
        assert_eq!((read.key(), read.signature_algorithm()), (Some(key), Some(algorithm)));
        read.verify_signed_by(read.spki()).unwrap();
    }
}

/// All files under a folder of the vectors, sorted.
fn vectors(folder: &str) -> Vec<(String, Vec<u8>)> {
    let root = std::env::var_os("RAVELIN_SHARED_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"), PathBuf::from);
    let mut folders = vec![root.join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    if files.is_empty() {
        println!("skipped: the vectors folder has no {folder}");
    }
    files.sort();
    files
}

#[test]
fn certificates_of_other_implementations() {
    let mut verified = 0;
    for (name, der) in vectors("pqc-certificates") {
        if !name.ends_with("_ta.der") && !name.ends_with("_ee.der") {
            continue;
        }
        // Composite, catalyst, chameleon, SLH-DSA and KEM certificates are read, whether we know their algorithms or not.
        let read = Certificate::from_der(&der).unwrap_or_else(|e| panic!("{name}: {e}"));
        let known = read.signature_algorithm().is_some() && read.key().is_some();
        if name.ends_with("_ta.der") && known {
            read.verify_signed_by(read.spki()).unwrap_or_else(|e| panic!("{name}: {e}"));
            verified += 1;
        } else if !known {
            assert!(read.verify_signed_by(read.spki()).is_err(), "{name}");
        }
    }
    println!("{verified} self-signatures verified");
    // 39 of ML-DSA, 4 of SLH-DSA, the composites but for brainpool and Ed448, the classical signatures of catalyst and chameleon.
    assert!(verified == 0 || verified >= 95, "{verified}");
}

#[test]
fn private_keys_of_other_implementations_belong_to_their_certificates() {
    let files = vectors("pqc-certificates");
    let (mut read, mut refused) = (0, 0);
    for (name, pkcs8) in files.iter().filter(|(name, _)| name.ends_with("priv.der") || name.ends_with("_seed.der")) {
        let stem = ["_both_priv", "_expandedkey_priv", "_seed_priv", "_priv", "_seed"]
            .iter()
            .find_map(|end| name.strip_suffix(&format!("{end}.der")))
            .unwrap();
        let Some((_, certificate)) = files.iter().find(|(other, _)| *other == format!("{stem}_ta.der")) else { continue };
        let certificate = Certificate::from_der(certificate).unwrap();
        match (provider().keys.signer(pkcs8), certificate.key()) {
            (Ok(key), Some(kind)) => {
                assert_eq!((key.key(), key.spki()), (kind, certificate.spki()), "{name}");
                if !key.algorithms()[0].is_slow() {
                    let signature = key.sign(key.algorithms()[0], b"m").unwrap();
                    provider().verifier.verify(key.algorithms()[0], certificate.spki(), b"m", &signature).unwrap();
                }
                read += 1;
            }
            // HashML-DSA, brainpool, Ed448.
            (Err(_), None) => refused += 1,
            (Ok(key), None) => panic!("{name} is taken for {}", key.key()),
            (Err(error), Some(kind)) => panic!("{name}: {kind}: {error}"),
        }
    }
    println!("{read} keys read, {refused} refused");
    assert!(files.is_empty() || read >= 40 && refused >= 10, "{read} {refused}");
}

#[test]
fn captured_messages_pass_the_normaliser() {
    for (name, message) in vectors("scep") {
        let normalised = match name.rsplit('/').next() {
            Some(file) if file.ends_with(".der") => ber::to_der(&message).unwrap_or_else(|e| panic!("{name}: {e}")),
            _ => continue,
        };
        if !name.contains("csr") && !name.contains("_req0") && message.starts_with(&[0x30, 0x82]) && !name.contains("testca") {
            <cms::content_info::ContentInfo as der::Decode>::from_der(&normalised).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}

// Certification requests

#[test]
fn requests_of_all_key_types() {
    for (name, key) in [
        ("csr-rsa", KeyAlgorithm::Rsa(2048)),
        ("csr-p256", KeyAlgorithm::EcdsaP256),
        ("csr-p384", KeyAlgorithm::EcdsaP384),
        ("csr-ed25519", KeyAlgorithm::Ed25519),
    ] {
        let request = csr(name);
        assert_eq!(request.key(), key);
        assert_eq!(request.subject().to_string(), "O=Example,CN=r1.example.net");
        assert_eq!(request.key_usage(), Some(KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT)));
        assert_eq!(
            request.extended_key_usages().iter().map(extension::extended_key_usage_name).collect::<Vec<_>>(),
            ["clientAuth"]
        );
        assert_eq!(request.subject_alt_names()[1].value(), "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1104");
        assert_eq!(request.challenge_password(), None);
        assert_eq!(spki::key_algorithm(request.spki()).unwrap(), key);
    }
    assert_eq!(csr("csr-pss").signature_algorithm(), SignatureAlgorithm::RsaPssSha256);
    assert_eq!(csr("csr-python-pss").signature_algorithm(), SignatureAlgorithm::RsaPssSha512);
    assert_eq!(csr("csr-python").challenge_password(), Some("secret"));
}

#[test]
fn the_challenge_in_any_string_type() {
    for kind in ["printable", "utf8", "ia5", "t61", "bmp", "universal"] {
        let request = csr(&format!("synthetic-csr-challenge-{kind}"));
        assert_eq!(request.challenge_password(), Some("secret"), "{kind}");
        assert!(!format!("{request:?}").contains("secret"));
    }
    for mask in ["nombstr", "utf8only", "pkix"] {
        assert_eq!(csr(&format!("csr-challenge-{mask}")).challenge_password(), Some("Pa_&"), "{mask}");
    }
}

#[test]
fn odd_requests_are_taken() {
    assert_eq!(csr("synthetic-csr-version-2").subject().common_name(), Some("dev-1"));
    assert!(csr("synthetic-csr-no-attributes").extensions().is_empty());
    let unsorted = csr("synthetic-csr-unsorted");
    assert_eq!((unsorted.challenge_password(), unsorted.subject_alt_names()[0].kind()), (Some("secret"), "dns"));
    assert_eq!(csr("synthetic-csr-underscore").subject().common_name(), Some("dev_1"));
    assert_eq!(csr("synthetic-csr-microsoft").subject_alt_names()[0].value(), "dev-1.example.net");
    assert!(VerifiedCsr::from_der(&testdata("x509/synthetic-csr-two-challenges.der")).is_err());
}

#[test]
fn requests_without_possession_are_refused() {
    for name in ["csr-rsa", "csr-p256", "csr-ed25519", "csr-pss"] {
        let good = testdata(&format!("x509/{name}.der"));
        let at = good.windows(2).position(|w| w == b"CN" || w == b"ps" || w == b"r1").unwrap();
        let mut forged = good.clone();
        forged[at] ^= 1;
        assert_eq!(VerifiedCsr::from_der(&forged), Err(X509Error::NoPossession), "{name}");
        assert!(VerifiedCsr::from_der(&[good, vec![0]].concat()).is_err(), "{name}");
    }
}

#[test]
fn requests_of_real_clients() {
    if let Some(request) = vector("scep/jscep/scep_req0.der") {
        let request = VerifiedCsr::from_der(&request).unwrap();
        assert_eq!(request.challenge_password(), Some("NQ3C6-GS3ZN-2XPGL-SEJTQ"));
    }
    if let Some(request) = vector("scep/micromdm/PKCSReq.expected-csr.der") {
        let request = VerifiedCsr::from_der(&request).unwrap();
        assert_eq!((request.key(), request.signature_algorithm()), (KeyAlgorithm::Rsa(1024), SignatureAlgorithm::RsaSha1));
    }
}

// CRLs

#[test]
fn lists_are_read() {
    let ca = certificate("ca-p256");
    let der = testdata("x509/crl.der");
    let list = read_crl(&der).unwrap();
    assert_eq!((list.number, list.revoked.len()), (Some(0x1000), 2));
    assert!(list.issuer.matches(ca.subject()) && list.next_update.is_some());
    assert_eq!((list.revoked[0].serial.as_slice(), list.revoked[0].reason), (&[0x0a][..], RevocationReason::KeyCompromise));
    assert_eq!((list.revoked[1].serial.len(), list.revoked[1].reason), (20, RevocationReason::Unspecified));
    assert_eq!(list.revoked[0].revoked_at.to_string(), "2024-01-02T03:04:05Z");
    verify_crl(&der, ca.spki()).unwrap();
    verify_crl(&der, certificate("leaf-rsa").spki()).unwrap_err();
    let empty = read_crl(&testdata("x509/crl-v1-empty.der")).unwrap();
    assert_eq!((empty.number, empty.revoked.len()), (None, 0));
    let reasons = read_crl(&testdata("x509/crl-reasons.der")).unwrap();
    assert_eq!((reasons.number, reasons.revoked.len()), (Some(1 << 40), 10));
    for reason in RevocationReason::ALL {
        assert!(reasons.revoked.iter().any(|entry| entry.reason == *reason), "{reason}");
    }
}

// BER

#[test]
fn streamed_messages_become_der() {
    for name in ["enveloped", "signed"] {
        let der = testdata(&format!("cms/{name}-der.der"));
        assert!(matches!(ber::to_der(&der), Ok(std::borrow::Cow::Borrowed(_))), "{name}");
        let streamed = testdata(&format!("cms/{name}-ber.der"));
        let normalised = ber::to_der(&streamed).unwrap();
        // What is DER stays as it is, and the strict decoder takes it.
        assert!(matches!(ber::to_der(&normalised), Ok(std::borrow::Cow::Borrowed(_))), "{name}");
        let strict = <cms::content_info::ContentInfo as der::Decode>::from_der(&normalised).unwrap();
        let content = testdata("cms/content.txt");
        if name == "signed" {
            let signed: cms::signed_data::SignedData = strict.content.decode_as().unwrap();
            let inside = signed.encap_content_info.econtent.unwrap();
            assert_eq!(inside.value(), content);
        } else {
            let enveloped: cms::enveloped_data::EnvelopedData = strict.content.decode_as().unwrap();
            let encrypted = enveloped.encrypted_content.encrypted_content.unwrap();
            assert_eq!(encrypted.as_bytes().len(), content.len() / 16 * 16 + 16);
        }
    }
}

#[test]
fn openssl_reads_what_was_normalised() {
    for name in ["enveloped", "signed"] {
        let normalised = ber::to_der(&testdata(&format!("cms/{name}-ber.der"))).unwrap().into_owned();
        let folder = tempfile::tempdir().unwrap();
        let file = write(&folder, "message.der", &normalised);
        let Some(printed) = openssl(&["cms", "-cmsout", "-print", "-inform", "DER", "-in", &file]) else { return };
        assert!(printed.contains(if name == "signed" { "pkcs7-signedData" } else { "pkcs7-envelopedData" }), "{printed}");
        if name == "signed" {
            let out = folder.path().join("content").display().to_string();
            openssl(&["cms", "-verify", "-noverify", "-binary", "-inform", "DER", "-in", &file, "-out", &out]);
            assert_eq!(std::fs::read(out).unwrap(), testdata("cms/content.txt"));
        }
    }
}

#[test]
fn messages_of_real_clients_pass_the_normaliser() {
    let mut read = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/scep/captured")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "der") {
            let message = std::fs::read(&path).unwrap();
            let normalised = ber::to_der(&message).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            <cms::content_info::ContentInfo as der::Decode>::from_der(&normalised)
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            read += 1;
        }
    }
    assert!(read > 5, "the captured messages are there");
}

// What we make

/// Runs openssl and gives what it says; `None`, and a visible line, where there is no openssl.
fn openssl(arguments: &[&str]) -> Option<String> {
    let output = match Command::new("openssl").args(arguments).output() {
        Ok(output) => output,
        Err(e) => {
            println!("skipped: openssl cannot be run ({e})");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
    Some(text)
}

fn write(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

fn root(signer: &dyn Signer, algorithm: SignatureAlgorithm) -> Certificate {
    let name = DistinguishedName::parse("C=DE,O=Example,CN=Root", true).unwrap();
    let template = CertificateTemplate {
        serial: builder::random_serial(),
        issuer: name.clone(),
        subject: name,
        not_before: "2024-01-01T00:00:00Z".parse().unwrap(),
        not_after: "2099-12-31T23:59:59Z".parse().unwrap(),
        spki: signer.spki().to_vec(),
        extensions: builder::ca_extensions(signer.spki(), None, Some(1)).unwrap(),
    };
    Certificate::from_der(&template.sign(signer, algorithm).unwrap()).unwrap()
}

fn leaf(ca: &Certificate, signer: &dyn Signer, algorithm: SignatureAlgorithm, spki: &[u8]) -> Certificate {
    let mut extensions = vec![
        builder::key_usage(KeyUsage::DIGITAL_SIGNATURE),
        builder::subject_key_identifier(spki).unwrap(),
        builder::authority_key_identifier(&ca.subject_key_identifier().unwrap()).unwrap(),
        builder::crl_distribution_points(&["http://crl.example.net/1.crl".into(), "http://crl.example.org/1.crl".into()])
            .unwrap(),
    ];
    let names = [SubjectAltName::Dns("dev-1.example.net".into()), SubjectAltName::Ip([192, 0, 2, 7].into())];
    extensions.push(ravelin::x509::Extension {
        oid: extension::oid::SUBJECT_ALT_NAME,
        critical: false,
        value: extension::subject_alt_names(&names).unwrap(),
    });
    let template = CertificateTemplate {
        serial: builder::random_serial(),
        issuer: ca.subject().clone(),
        subject: DistinguishedName::parse("CN=dev-1+serialNumber=A1,O=Example", false).unwrap(),
        not_before: "2024-01-01T00:00:00Z".parse().unwrap(),
        not_after: "2049-12-31T23:59:59Z".parse().unwrap(),
        spki: spki.to_vec(),
        extensions,
    };
    Certificate::from_der(&template.sign(signer, algorithm).unwrap()).unwrap()
}

#[test]
fn openssl_verifies_what_we_issue() {
    for (key, algorithm) in [
        (KeyAlgorithm::EcdsaP256, SignatureAlgorithm::EcdsaSha256),
        (KeyAlgorithm::EcdsaP384, SignatureAlgorithm::EcdsaSha384),
        (KeyAlgorithm::Ed25519, SignatureAlgorithm::Ed25519),
        (KeyAlgorithm::Rsa(2048), SignatureAlgorithm::RsaSha256),
        (KeyAlgorithm::Rsa(2048), SignatureAlgorithm::RsaPssSha384),
    ] {
        let signer = provider().keys.generate(key).unwrap();
        let device = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
        let ca = root(&*signer, algorithm);
        let issued = leaf(&ca, &*signer, algorithm, device.spki());
        issued.verify_signed_by(ca.spki()).unwrap();
        assert_eq!(issued.subject().to_string(), "O=Example,serialNumber=A1+CN=dev-1");
        assert_eq!(issued.not_after().to_string(), "2049-12-31T23:59:59Z");

        let folder = tempfile::tempdir().unwrap();
        let ca_file = write(&folder, "ca.pem", ca.to_pem().as_bytes());
        let leaf_file = write(&folder, "leaf.pem", issued.to_pem().as_bytes());
        if openssl(&["verify", "-x509_strict", "-CAfile", &ca_file, &leaf_file]).is_none() {
            return;
        }
        let list = CrlTemplate {
            issuer: ca.subject().clone(),
            authority_key_identifier: ca.subject_key_identifier().unwrap(),
            number: 300,
            this_update: "2024-01-01T00:00:00Z".parse().unwrap(),
            next_update: "2099-01-01T00:00:00Z".parse().unwrap(),
            revoked: vec![RevokedCertificate {
                serial: issued.serial().to_vec(),
                revoked_at: "2024-06-01T12:00:00Z".parse().unwrap(),
                reason: RevocationReason::Superseded,
            }],
        };
        let list_der = list.sign(&*signer, algorithm).unwrap();
        verify_crl(&list_der, ca.spki()).unwrap();
        let read = read_crl(&list_der).unwrap();
        assert_eq!((read.number, &read.revoked, &read.issuer), (Some(300), &list.revoked, &list.issuer));
        let list_file = write(&folder, "list.pem", pem::write("X509 CRL", &list_der).as_bytes());
        let printed = openssl(&["crl", "-in", &list_file, "-CAfile", &ca_file, "-noout", "-text"]).unwrap();
        assert!(printed.contains("verify OK") && printed.contains("Superseded") && printed.contains("300"), "{printed}");
        // And the revoked certificate is found in it.
        let check = Command::new("openssl")
            .args(["verify", "-x509_strict", "-crl_check", "-CRLfile", &list_file, "-CAfile", &ca_file, &leaf_file])
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&check.stderr).contains("certificate revoked"), "{check:?}");

        let empty = CrlTemplate { revoked: Vec::new(), ..list }.sign(&*signer, algorithm).unwrap();
        let empty_file = write(&folder, "empty.pem", pem::write("X509 CRL", &empty).as_bytes());
        openssl(&["verify", "-x509_strict", "-crl_check", "-CRLfile", &empty_file, "-CAfile", &ca_file, &leaf_file]).unwrap();
    }
}

#[test]
fn post_quantum_chains_hold() {
    for (key, algorithm) in
        [(KeyAlgorithm::MlDsa44, SignatureAlgorithm::MlDsa44), (KeyAlgorithm::MlDsa65, SignatureAlgorithm::MlDsa65)]
    {
        let signer = provider().keys.generate(key).unwrap();
        let ca = root(&*signer, algorithm);
        let issued = leaf(&ca, &*signer, algorithm, signer.spki());
        issued.verify_signed_by(ca.spki()).unwrap();
        assert_eq!((issued.key(), issued.signature_algorithm()), (Some(key), Some(algorithm)));
        // The strict decoder agrees about the shape.
        <x509_cert::Certificate as der::Decode>::from_der(issued.der()).unwrap();
    }
}

#[test]
fn slh_dsa_stands_in_requests_and_certificates() {
    let algorithm = SignatureAlgorithm::SlhDsa(SlhDsa::Sha2_128f);
    let signer = provider().keys.generate(KeyAlgorithm::SlhDsa(SlhDsa::Sha2_128f)).unwrap();
    let ca = root(&*signer, algorithm);
    ca.verify_signed_by(ca.spki()).unwrap();
    assert_eq!((ca.key(), ca.signature_algorithm()), (Some(signer.key()), Some(algorithm)));
    <x509_cert::Certificate as der::Decode>::from_der(ca.der()).unwrap();
    let subject = DistinguishedName::parse("CN=dev-1", true).unwrap();
    let template = CsrTemplate {
        subject: &subject,
        subject_alt_names: &[],
        extended_key_usages: &[],
        key_usage: None,
        challenge_password: None,
    };
    let request = VerifiedCsr::from_der(&template.sign(&*signer, Digest::Sha256).unwrap()).unwrap();
    assert_eq!((request.key(), request.signature_algorithm()), (signer.key(), algorithm));
}

const COMPOSITE: Composite = Composite::MlDsa65EcdsaP256;

#[test]
fn requests_that_we_make_are_read_by_others() {
    let subject = DistinguishedName::parse("O=Example,CN=dev-1", true).unwrap();
    let names = [SubjectAltName::Dns("dev-1.example.net".into())];
    let usages = [extension::extended_key_usage_oid("clientAuth").unwrap()];
    for (key, algorithm) in [
        (KeyAlgorithm::EcdsaP256, SignatureAlgorithm::EcdsaSha256),
        (KeyAlgorithm::Rsa(2048), SignatureAlgorithm::RsaSha256),
        (KeyAlgorithm::Ed25519, SignatureAlgorithm::Ed25519),
        (KeyAlgorithm::MlDsa44, SignatureAlgorithm::MlDsa44),
        (KeyAlgorithm::Composite(COMPOSITE), SignatureAlgorithm::Composite(COMPOSITE)),
    ] {
        let signer = provider().keys.generate(key).unwrap();
        for challenge in [None, Some("secret"), Some("pa_ß")] {
            let template = CsrTemplate {
                subject: &subject,
                subject_alt_names: &names,
                extended_key_usages: &usages,
                key_usage: Some(KeyUsage::DIGITAL_SIGNATURE),
                challenge_password: challenge,
            };
            let der = template.sign(&*signer, Digest::Sha256).unwrap();
            let read = VerifiedCsr::from_der(&der).unwrap();
            assert_eq!((read.key(), read.signature_algorithm()), (key, algorithm));
            assert_eq!((read.subject(), read.challenge_password()), (&subject, challenge));
            assert_eq!((read.subject_alt_names(), read.extended_key_usages()), (&names[..], &usages[..]));
            assert_eq!((read.key_usage(), read.spki()), (Some(KeyUsage::DIGITAL_SIGNATURE), signer.spki()));
            <x509_cert::request::CertReq as der::Decode>::from_der(&der).unwrap();
            if !key.is_post_quantum() {
                let folder = tempfile::tempdir().unwrap();
                let file = write(&folder, "request.der", &der);
                let Some(printed) = openssl(&["req", "-inform", "DER", "-in", &file, "-noout", "-verify", "-text"]) else {
                    return;
                };
                assert!(printed.contains("verify OK") && printed.contains("DNS:dev-1.example.net"), "{printed}");
            }
        }
    }
}

#[test]
fn self_signed_device_certificates() {
    let subject = DistinguishedName::parse("CN=dev-1", true).unwrap();
    let now: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let rsa = provider().keys.generate(KeyAlgorithm::Rsa(2048)).unwrap();
    let ed25519 = provider().keys.generate(KeyAlgorithm::Ed25519).unwrap();
    for (signer, usage) in
        [(rsa, KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT)), (ed25519, KeyUsage::DIGITAL_SIGNATURE)]
    {
        let own = Certificate::from_der(&builder::self_signed(&subject, &*signer, Digest::Sha256, now).unwrap()).unwrap();
        own.verify_signed_by(signer.spki()).unwrap();
        assert_eq!((own.subject(), own.issuer(), own.key_usage()), (&subject, &subject, Some(usage)));
        assert!(own.not_before() < now && now < own.not_after());
    }
}

#[test]
fn templates_that_make_no_certificate_are_refused() {
    let signer = provider().keys.generate(KeyAlgorithm::Ed25519).unwrap();
    let good = CertificateTemplate {
        serial: vec![1],
        issuer: DistinguishedName::default(),
        subject: DistinguishedName::default(),
        not_before: "2024-01-01T00:00:00Z".parse().unwrap(),
        not_after: "2025-01-01T00:00:00Z".parse().unwrap(),
        spki: signer.spki().to_vec(),
        extensions: Vec::new(),
    };
    let algorithm = SignatureAlgorithm::Ed25519;
    good.sign(&*signer, algorithm).unwrap();
    for serial in [vec![], vec![0, 0], vec![1; 21], vec![0x80; 20]] {
        assert!(CertificateTemplate { serial, ..good.clone() }.sign(&*signer, algorithm).is_err());
    }
    assert!(
        CertificateTemplate { not_after: good.not_before - jiff::SignedDuration::from_secs(1), ..good.clone() }
            .sign(&*signer, algorithm)
            .is_err()
    );
    assert!(good.sign(&*signer, SignatureAlgorithm::RsaSha256).is_err());
    // The alternative signature is over the TBSCertificate without its `signature` field.
    let identifier = algorithm.identifier();
    let difference = good.tbs(&identifier).unwrap().len() - good.pre_tbs().unwrap().len();
    assert_eq!(difference, der::Encode::to_der(&identifier).unwrap().len());
}

#[test]
fn serial_numbers_are_positive_and_differ() {
    let serials: std::collections::BTreeSet<_> = (0..1000).map(|_| builder::random_serial()).collect();
    assert_eq!(serials.len(), 1000);
    assert!(serials.iter().all(|s| s.len() == 16 && s[0] & 0xc0 == 0x40));
}
