//! What is sent.

use super::*;
use crate::x509::VerifiedCsr;
use crate::x509::algorithm_identifier::read_signature_algorithm;
use crate::x509::tlv::{Reader, Tlv};

#[tokio::test]
async fn a_pkcs10_is_sent_as_it_came() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let order = ca.order("devices");
    let server = playing(vec![accepted(&ca.issue(&order)).implicit()]).await;
    let settings = CmpCaSettings { cert_profile: Some("tls".into()), ..by_secret(&ca) };
    let submission = cmp(&server, settings).submit(&ca.remote_ca("devices"), &order, &KEY).await;
    assert_eq!(name_of(&submission), "issued", "{submission:?}");

    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/.well-known/cmp/p/devices"));
    assert_eq!(seen.header("content-type"), "application/pkixcmp");
    let message = Message::read(&seen.body).unwrap();
    assert_eq!((message.body_tag, message.content), (4, order.csr.as_slice()));
    let header = &message.header;
    assert_eq!((header.pvno, header.sender_kid, header.implicit_confirm), (2, b"ravelin".as_slice(), true));
    assert_eq!(header.sender.as_ref().unwrap().to_string(), "CN=ravelin");
    assert_eq!((header.transaction.len(), header.sender_nonce.len(), header.recip_nonce.len()), (16, 16, 0));
    assert!(seen.body.windows(3).any(|octets| octets == b"tls"), "the profile is in the header");
    let secret = Credential::Secret { secret: Zeroizing::new(SECRET.into()), kind: MacKind::Pbm };
    let nobody = ::std::iter::empty().collect();
    let nobody = super::super::responders::Responders { anchors: nobody, name: None };
    assert_eq!(protection::verify(&message, &secret, &nobody, Timestamp::now()), Ok(()));
}

/// A repeated submission of one order is the same message but for its time and its salt.
#[tokio::test]
async fn the_transaction_is_made_of_the_key_of_the_order() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let order = ca.order("devices");
    let server = playing(Vec::new()).await;
    let (cmp, remote) = (cmp(&server, by_secret(&ca)), ca.remote_ca("devices"));
    for key in [KEY, KEY, IdempotencyKey([8; 16])] {
        cmp.submit(&remote, &order, &key).await;
    }
    let seen = server.seen();
    let headers: Vec<_> = seen.iter().map(|seen| Message::read(&seen.body).unwrap().header).collect();
    assert_eq!((headers[0].transaction, headers[0].sender_nonce), (headers[1].transaction, headers[1].sender_nonce));
    assert_ne!(headers[0].transaction, headers[2].transaction);
    assert_ne!(headers[0].transaction, headers[0].sender_nonce);
}

#[tokio::test]
async fn a_template_asks_for_what_was_ordered() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let order = ca.order("devices");
    for (kind, number) in [(RequestKind::Ir, 0), (RequestKind::Cr, 2)] {
        let server = playing(Vec::new()).await;
        let settings = CmpCaSettings { message: kind, ..by_secret(&ca) };
        cmp(&server, settings).submit(&ca.remote_ca("devices"), &order, &KEY).await;
        let seen = server.seen();
        let message = Message::read(&seen[0].body).unwrap();
        assert_eq!(message.body_tag, number);
        let requests = Reader::single("requests", message.content, tag::SEQUENCE).unwrap();
        let mut request = requests.reader().tag(tag::SEQUENCE).unwrap().reader();
        let mut inner = request.tag(tag::SEQUENCE).unwrap().reader();
        assert_eq!(request.any().unwrap().raw, [0x80, 0], "raVerified");
        assert_eq!(inner.any().unwrap().raw, [2, 1, 0]);
        let fields = fields(&inner.tag(tag::SEQUENCE).unwrap());
        assert_eq!(fields.iter().map(|field| field.tag).collect::<Vec<_>>(), [0xa4, 0xa5, 0xa6, 0xa9]);
        assert_eq!(fields[1].value, order.subject);
        assert_eq!(encode(tag::SEQUENCE, &[fields[2].value]), order.spki);
        let names = encode(tag::OCTET_STRING, &[&order.subject_alt_names]);
        assert!(fields[3].value.windows(names.len()).any(|octets| octets == names), "the alternative names");
        assert!(fields[3].value.windows(4).any(|octets| octets == [3, 2, 7, 0x80]), "digitalSignature");
        let limits = self::fields(&fields[0]);
        assert_eq!(limits.iter().map(|limit| (limit.tag, limit.value[0])).collect::<Vec<_>>(), [(0xa0, 0x17), (0xa1, 0x17)]);
    }
}

fn fields<'a>(outer: &Tlv<'a>) -> Vec<Tlv<'a>> {
    let mut reader = outer.reader();
    std::iter::from_fn(|| (!reader.is_empty()).then(|| reader.any().unwrap())).collect()
}

#[tokio::test]
async fn what_the_ca_decides_is_left_out() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let order = ca.order("devices");
    let server = playing(Vec::new()).await;
    let asked = Asked { usages: false, validity: false };
    let settings = CmpCaSettings { message: RequestKind::Cr, asked, ..by_secret(&ca) };
    let able = abilities(&settings);
    assert!(able.overrides_subject && able.overrides_subject_alt_names && !able.overrides_usages && !able.overrides_validity);
    cmp(&server, settings).submit(&ca.remote_ca("devices"), &order, &KEY).await;
    let body = &server.seen()[0].body;
    assert!(!body.windows(4).any(|octets| octets == [3, 2, 7, 0x80]), "no key usage");
    let by_p10cr = abilities(&by_secret(&ca));
    assert!(!by_p10cr.overrides_subject && by_p10cr.sees_challenge && !by_p10cr.can_find_again && by_p10cr.can_wait);
}

#[tokio::test]
async fn messages_are_signed_by_keys_of_every_kind() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let order = ca.order("devices");
    assert!(VerifiedCsr::from_der(&order.csr).is_ok());
    for key in [KeyAlgorithm::EcdsaP384, KeyAlgorithm::Rsa(2048), KeyAlgorithm::Ed25519, KeyAlgorithm::MlDsa65] {
        let server = playing(Vec::new()).await;
        cmp(&server, by_signature(&ca, key)).submit(&ca.remote_ca("devices"), &order, &KEY).await;
        let seen = server.seen();
        let message = Message::read(&seen[0].body).unwrap();
        let own = Certificate::from_der(message.extra_certificates[0]).unwrap();
        assert_eq!(own.key(), Some(key));
        assert_eq!(message.header.sender_kid, own.subject_key_identifier().unwrap());
        assert_eq!(message.header.sender.as_ref(), Some(own.subject()));
        let algorithm = read_signature_algorithm(message.header.protection.as_ref().unwrap()).unwrap().unwrap();
        let verifier = provider().verifier;
        verifier.verify(algorithm, own.spki(), &message.protected_part(), message.protection.unwrap()).unwrap();
    }
}

/// The key of a certificate may lie encrypted with the passphrase of the data folder, and has to be its key.
#[tokio::test]
async fn keys_are_opened_with_the_passphrase() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let server = playing(Vec::new()).await;
    let settings = by_signature(&ca, KeyAlgorithm::EcdsaP256);
    let CredentialSettings::Signature { certificate, key } = settings.credential.clone() else { unreachable!() };
    let plain = keystore::read_key(&key, None).unwrap();
    let sealed = ca.file("sealed.key");
    keystore::write_key(&sealed, &plain, "correct horse").unwrap();
    let with = |key, passphrase| {
        let credential = CredentialSettings::Signature { certificate: certificate.clone(), key };
        let cas = BTreeMap::from([("devices".to_owned(), CmpCaSettings { credential, ..settings.clone() })]);
        Cmp::open(&CmpSettings { cas }, server.http(), Duration::from_secs(5), passphrase).map(drop)
    };
    with(sealed.clone(), "correct horse").unwrap();
    assert!(with(sealed, "wrong").unwrap_err().to_string().contains("sealed.key"));
    let other = by_signature(&ca, KeyAlgorithm::EcdsaP256);
    let CredentialSettings::Signature { key: other, .. } = other.credential else { unreachable!() };
    assert!(with(other, "").unwrap_err().to_string().contains("not the key of the certificate"));
}
