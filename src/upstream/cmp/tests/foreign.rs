//! Messages of OpenSSL: how they come, and that their protection holds by what we compute.

use super::*;
use crate::x509::tlv::Reader;

fn file(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/cmp").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn nobody() -> super::super::responders::Responders {
    super::super::responders::Responders { anchors: Vec::new(), name: None }
}

#[test]
fn protection_by_a_secret_holds() {
    let secret = |text: &str| Credential::Secret { secret: Zeroizing::new(text.into()), kind: MacKind::Pbmac1 };
    for (name, number) in [
        ("cp.der", body_tag::CP),
        ("cp-waiting.der", body_tag::CP),
        ("cp-rejection.der", body_tag::CP),
        ("pkiconf.der", body_tag::PKI_CONF),
        ("pollrep.der", body_tag::POLL_REP),
        ("error.der", body_tag::ERROR),
        ("rp.der", body_tag::RP),
        ("genp-cacerts.der", body_tag::GENP),
        ("certconf.der", body_tag::CERT_CONF),
        ("rr.der", body_tag::RR),
    ] {
        let der = file(name);
        let message = Message::read(&der).unwrap();
        assert_eq!(message.body_tag, number, "{name}");
        let now = message.header.time.unwrap();
        assert_eq!(protection::verify(&message, &secret(SECRET), &nobody(), now), Ok(()), "{name}");
        assert!(protection::verify(&message, &secret("another"), &nobody(), now).is_err(), "{name}");
        body::read_any(message.body_tag, message.content).unwrap();
    }
}

#[test]
fn protection_by_a_signature_holds() {
    let der = file("ip-signed.der");
    let message = Message::read(&der).unwrap();
    let now = message.header.time.unwrap();
    let ca = Arc::new(Certificate::from_der(&file("ca.der")).unwrap());
    let trusted = super::super::responders::Responders { anchors: vec![ca], name: None };
    let own = Credential::Secret { secret: Zeroizing::new(SECRET.into()), kind: MacKind::Pbm };
    assert_eq!(protection::verify(&message, &own, &trusted, now), Ok(()));
    assert!(protection::verify(&message, &own, &nobody(), now).unwrap_err().contains("does not chain"));
    let rep = body::CertRep::read(message.content).unwrap();
    assert_eq!((rep.id, rep.status.status, rep.ca_pubs.len()), (0, PkiStatus::Accepted, 1));
    let certificate = Certificate::from_der(rep.certificate.unwrap()).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=dev-ir");
}

#[test]
fn what_the_ca_says_is_read_out() {
    let rep = |name: &str| {
        let der = file(name);
        let message = Message::read(&der).unwrap();
        let rep = body::CertRep::read(message.content).unwrap();
        (rep.id, rep.status.status, rep.status.to_string(), rep.certificate.is_some())
    };
    assert!(matches!(rep("cp.der"), (-1, PkiStatus::Accepted, _, true)));
    assert!(matches!(rep("cp-waiting.der"), (-1, PkiStatus::Waiting, _, false)));
    let (_, _, words, _) = rep("cp-rejection.der");
    assert_eq!(words, r#"rejected (badCertTemplate): "this name is not for you""#);
    let content = |name: &str| {
        let der = file(name);
        Message::read(&der).unwrap().content.to_vec()
    };
    assert!(body::read_error(&content("error.der")).unwrap().text.starts_with("wrong pbm value"));
    assert_eq!(body::read_poll(&content("pollrep.der")), Ok(Duration::from_secs(1)));
    assert_eq!(body::read_revocation(&content("rp.der")).unwrap().status, PkiStatus::Accepted);
    assert_eq!(body::read_ca_certificates(&content("genp-cacerts.der")).unwrap().len(), 2);
}

/// What OpenSSL asks, and what we would ask in its place, octet for octet.
#[test]
fn bodies_are_written_as_openssl_writes_them() {
    let content = |name: &str| {
        let der = file(name);
        Message::read(&der).unwrap().content.to_vec()
    };
    let der = file("cp.der");
    let issued = Message::read(&der).unwrap();
    let certificate = Certificate::from_der(body::CertRep::read(issued.content).unwrap().certificate.unwrap()).unwrap();
    let (hash, named) = super::super::look::certificate_hash(&certificate);
    // OpenSSL says besides that it accepts, which is what it means to say nothing.
    let ours = body::confirmation(-1, &hash, named, None);
    let theirs = content("certconf.der");
    let (ours, theirs) = (&ours[4..], &theirs[4..]);
    assert_eq!((ours.len(), &theirs[..ours.len()]), (2 + 32 + 3, ours));
    assert_eq!(
        StatusInfo::read(&Reader::single("status", &theirs[ours.len()..], tag::SEQUENCE).unwrap()).unwrap().status,
        PkiStatus::Accepted
    );

    assert_eq!(template::revocation(&certificate, RevocationReason::KeyCompromise), content("rr.der"));
}
