//! What clients do on the wire, case by case; `docs/src/quirks.md` has the table. The number in a name is the number there.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::Full;
use ravelin::algorithm::{ContentCipher, Digest, KeyAlgorithm, KeyTransport};
use ravelin::crypto::{RaIdentity, provider};
use ravelin::enroll::query::Question;
use ravelin::enroll::{Intent, Outcome, RejectionCode};
use ravelin::policy::endpoint::{CaCertsShape, ReplyShape, ScepSettings};
use ravelin::scep::certs_only::{CertsOnly, SetOrder, write};
use ravelin::scep::issuer_and::{IssuerAndSerialNumber, IssuerAndSubject};
use ravelin::scep::{FailInfo, MessageType, PkiMessage, PkiStatus};
use ravelin::x509::{Certificate, KeyUsage, ber::to_der};

#[path = "quirks/harness.rs"]
mod harness;

use harness::{Identity, Odd, Reply, Server, Will, ber, taken_apart, world};

/// The usual first request of the RSA device.
fn request() -> Vec<u8> {
    Odd::request(&world().device).der()
}

fn scep(change: impl FnOnce(&mut ScepSettings)) -> ScepSettings {
    let mut settings = ScepSettings::default();
    change(&mut settings);
    settings
}

/// GETs a PKIOperation whose message parameter is already written out.
async fn get_message(parameter: &str) -> Reply {
    let server = Server::default_issuing();
    let (status, media_type, body) =
        server.get(&format!("/scep/routers/pkiclient.exe?operation=PKIOperation&message={parameter}")).await;
    assert_eq!((status, media_type.as_str()), (StatusCode::OK, "application/x-pki-message"), "{body:?}");
    let reply = Reply::read(body);
    assert_eq!(reply.opened(&world().device).0.len(), 1);
    reply
}

fn escaped(text: &str) -> String {
    text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

// --- transport ---

#[tokio::test]
async fn t01_standard_base64_and_never_an_empty_200() {
    get_message(&escaped(&STANDARD.encode(request()))).await;
    let server = Server::default_issuing();
    for target in
        ["", "?operation=", "?operation=PKIOperation", "?operation=PKIOperation&message=", "?operation=PKIOperation&message=AAAA"]
    {
        let (status, _, body) = server.get(&format!("/scep/routers{target}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{target}");
        assert!(!body.is_empty());
    }
    let (status, _, body) = server.post(b"").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(!body.is_empty());
}

#[tokio::test]
async fn t02_both_alphabets() {
    get_message(&URL_SAFE_NO_PAD.encode(request())).await;
}

#[tokio::test]
async fn t03_plus_raw_and_escaped() {
    let text = STANDARD.encode(request());
    assert!(text.contains('+'));
    get_message(&text.replace('=', "%3D")).await;
    get_message(&text.replace('+', "%2B").replace('=', "%3D")).await;
    get_message(&text.replace('+', "%20")).await;
}

#[tokio::test]
async fn t04_only_the_padding_escaped() {
    get_message(&STANDARD.encode(request()).replace('=', "%3D")).await;
    get_message(&STANDARD.encode(request())).await;
}

#[tokio::test]
async fn t06_line_breaks() {
    let text = STANDARD.encode(request());
    let lines: Vec<String> = text.as_bytes().chunks(64).map(|line| escaped(&String::from_utf8_lossy(line))).collect();
    get_message(&lines.join("%0A")).await;
    get_message(&format!("{}%0D%0A", lines.join("%0D%0A"))).await;
}

#[tokio::test]
async fn t07_long_targets() {
    // As long as the http crate takes them; a message with an ML-DSA key needs about half of that.
    let server = Server::default_issuing();
    let text = STANDARD.encode(request());
    let head = "/scep/routers?operation=PKIOperation&message=";
    let filling = "%0A".repeat((65_000 - head.len() - text.len()) / 3);
    let (status, _, body) = server.get(&format!("{head}{filling}{}", text.replace('=', "%3D"))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(Reply::read(body).status(), PkiStatus::Success);
    // Too much is said clearly.
    let small = Server::new(Will::Issue, scep(|s| s.max_message = 100));
    let (status, _, body) = small.post(&request()).await;
    assert_eq!((status, &body[..]), (StatusCode::PAYLOAD_TOO_LARGE, &b"The message is too large.\n"[..]));
    let (status, ..) = small.get(&format!("{head}{}", escaped(&text))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

async fn capabilities(settings: ScepSettings) -> String {
    let (status, media_type, body) = Server::new(Will::Issue, settings).get("/scep/routers?operation=GetCACaps").await;
    assert_eq!((status, media_type.as_str()), (StatusCode::OK, "text/plain"));
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test]
async fn t08_post_is_always_advertised() {
    for settings in [ScepSettings::default(), scep(|s| s.accept_ciphers = vec![ContentCipher::DesEde3Cbc])] {
        assert!(capabilities(settings).await.lines().any(|line| line == "POSTPKIOperation"));
    }
}

#[tokio::test]
async fn t09_unknown_operations_and_methods() {
    let server = Server::default_issuing();
    let (status, _, body) = server.get("/scep/routers?operation=GetCertInitial").await;
    assert_eq!((status, &body[..]), (StatusCode::BAD_REQUEST, &b"The operation is unknown.\n"[..]));
    let put = Request::put("/scep/routers?operation=GetCACaps").body(Full::default()).unwrap();
    let response = server.call(put).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "GET, POST");
}

#[tokio::test]
async fn t10_any_suffix() {
    let server = Server::default_issuing();
    for path in ["/scep/routers", "/scep/routers/", "/scep/routers/pkiclient.exe", "/scep/routers/a/b", "/cgi-bin/pkiclient.exe"]
    {
        assert_eq!(server.get(&format!("{path}?operation=GetCACaps")).await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn t11_http_1_0_without_host() {
    let server = Server::default_issuing();
    let request =
        Request::get("/scep:8081/pkiclient.exe?operation=GetCACaps").version(Version::HTTP_10).body(Full::default()).unwrap();
    assert!(request.headers().is_empty());
    assert_eq!(server.call(request).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn t13_absolute_form() {
    let server = Server::default_issuing();
    let (status, ..) = server.get("http://ra.example.net:8080/scep/routers?operation=GetCACaps").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn t14_capabilities_exactly() {
    let server = Server::default_issuing();
    let request = Request::get("/scep/routers?operation=GetCACaps").body(Full::default()).unwrap();
    let response = server.call(request).await;
    let names: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["content-type"]);
    let (status, media_type, body) = taken_apart(response).await;
    assert_eq!((status, media_type.as_str()), (StatusCode::OK, "text/plain"));
    assert_eq!(&body[..], b"AES\nPOSTPKIOperation\nRenewal\nSHA-256\nSHA-384\nSHA-512\nSCEPStandard\n");
}

#[tokio::test]
async fn t15_a_message_parameter_on_every_operation() {
    let server = Server::default_issuing();
    for target in [
        "operation=GetCACaps&message=default",
        "message=CAIdentifier&operation=GetCACert",
        "operation=GetCACert&message=0",
        "operation=GetCACert&message=",
    ] {
        assert_eq!(server.get(&format!("/scep/routers?{target}")).await.0, StatusCode::OK, "{target}");
    }
}

#[tokio::test]
async fn t16_bare_media_types() {
    let server = Server::default_issuing();
    assert_eq!(server.get("/scep/routers?operation=GetCACert").await.1, "application/x-x509-ca-ra-cert");
    assert_eq!(server.get("/scep/routers?operation=GetCACaps").await.1, "text/plain");
    assert_eq!(server.post(&request()).await.1, "application/x-pki-message");
    // What comes in may be of any type, or of none.
    for media_type in
        [None, Some("application/octet-stream"), Some("application/x-pki-message; charset=utf-8"), Some("text/html")]
    {
        let mut post = Request::post("/scep/routers?operation=PKIOperation").body(Full::new(Bytes::from(request()))).unwrap();
        if let Some(media_type) = media_type {
            post.headers_mut().insert("content-type", media_type.parse().unwrap());
        }
        let (status, _, body) = taken_apart(server.call(post).await).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(Reply::read(body).status(), PkiStatus::Success);
    }
}

#[tokio::test]
async fn t17_the_windows_shape_of_get_ca_cert() {
    // RA first, a bag, and a signing and an encrypting certificate that can be told apart by their key usages.
    let (_, media_type, body) = Server::default_issuing().get("/scep/routers?operation=GetCACert").await;
    assert_eq!(media_type, "application/x-x509-ca-ra-cert");
    let read = CertsOnly::read(&body).unwrap();
    let usages: Vec<_> = read.certificates.iter().map(|der| Certificate::from_der(der).unwrap().key_usage().unwrap()).collect();
    assert!(usages[0].contains(KeyUsage::DIGITAL_SIGNATURE) && !usages[0].contains(KeyUsage::KEY_ENCIPHERMENT));
    assert!(usages[1].contains(KeyUsage::KEY_ENCIPHERMENT) && !usages[1].contains(KeyUsage::DIGITAL_SIGNATURE));
    assert!(usages[2].contains(KeyUsage::KEY_CERT_SIGN));
}

// --- GetCACaps ---

#[tokio::test]
async fn k01_always_an_answer() {
    let nothing = scep(|s| {
        s.accept_ciphers.clear();
        s.accept_digests.clear();
    });
    assert_eq!(capabilities(nothing).await, "POSTPKIOperation\nRenewal\n");
}

#[tokio::test]
async fn k02_every_advertised_capability_works() {
    let world = world();
    let settings = scep(|s| {
        s.accept_ciphers.push(ContentCipher::DesEde3Cbc);
        s.accept_digests.push(Digest::Sha1);
    });
    let server = Server::new(Will::Issue, settings.clone());
    for keyword in capabilities(settings).await.lines() {
        let mut odd = Odd::request(&world.device);
        match keyword {
            "AES" | "SCEPStandard" | "POSTPKIOperation" => {}
            "DES3" => odd.cipher = ContentCipher::DesEde3Cbc,
            "Renewal" => odd.kind = MessageType::RenewalReq.number(),
            digest => odd.digest = digest.to_ascii_lowercase().parse().expect("a digest"),
        }
        let reply = server.exchange(&odd.der()).await;
        assert_eq!(reply.opened(&world.device).0.len(), 1, "{keyword}");
        assert_eq!(reply.message().digest(), Some(odd.digest), "{keyword}");
    }
}

#[tokio::test]
async fn k03_what_is_not_advertised_is_not_taken() {
    let world = world();
    let server = Server::default_issuing();
    let advertised = capabilities(ScepSettings::default()).await;
    for (keyword, digest, cipher) in
        [("SHA-1", Digest::Sha1, ContentCipher::Aes128Cbc), ("DES3", Digest::Sha256, ContentCipher::DesEde3Cbc)]
    {
        assert!(!advertised.lines().any(|line| line == keyword));
        let odd = Odd { digest, cipher, ..Odd::request(&world.device) };
        assert_eq!(server.exchange(&odd.der()).await.failure().0, FailInfo::BadAlg, "{keyword}");
    }
    assert!(server.saw_nothing());
}

#[tokio::test]
async fn k04_no_next_ca_no_capability() {
    assert!(!capabilities(ScepSettings::default()).await.contains("GetNextCACert"));
    let (status, ..) = Server::default_issuing().get("/scep/routers?operation=GetNextCACert").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn k04_the_next_ca_signed_by_the_current_one() {
    let ca = &world().ca.certificate;
    let next = Arc::clone(&world().foreign_ca.certificate);
    let server = Server::with_upstream(Arc::new(harness::NextCa { next: Arc::clone(&next) }));
    let (_, _, body) = server.get("/scep/routers?operation=GetCACaps").await;
    assert!(String::from_utf8_lossy(&body).lines().any(|line| line == "GetNextCACert"));
    let (status, media_type, body) = server.get("/scep/routers?operation=GetNextCACert").await;
    assert_eq!((status, media_type.as_str()), (StatusCode::OK, "application/x-x509-next-ca-cert"));
    let message = PkiMessage::read(&body).unwrap();
    assert_eq!(message.verify(ca, &[Digest::Sha256]), Ok(()));
    assert!(message.verify(&next, &[Digest::Sha256]).is_err());
    assert_eq!(CertsOnly::read(message.content().unwrap()).unwrap().certificates, [next.der()]);
}

#[tokio::test]
async fn k05_triple_des_where_the_endpoint_names_it() {
    let odd = Odd { cipher: ContentCipher::DesEde3Cbc, ..Odd::request(&world().device) };
    let refused = Server::default_issuing().exchange(&odd.der()).await.failure();
    assert_eq!(refused, (FailInfo::BadAlg, "This content encryption is not accepted.".into()));
    let settings = scep(|s| s.accept_ciphers.push(ContentCipher::DesEde3Cbc));
    let reply = Server::new(Will::Issue, settings).exchange(&odd.der()).await;
    assert_eq!(reply.cipher(), ContentCipher::DesEde3Cbc);
    assert_eq!(reply.opened(&world().device).0.len(), 1);
}

/// A device with a certificate of this CA.
fn enrolled(by: &Identity) -> Identity {
    let device = &world().device;
    let usage = KeyUsage::DIGITAL_SIGNATURE.union(KeyUsage::KEY_ENCIPHERMENT);
    Identity::issued("CN=router-1,O=Example", Arc::clone(&device.signer), by, usage)
}

#[tokio::test]
async fn k06_p07_the_certificate_makes_the_renewal_not_the_type() {
    let old = enrolled(&world().ca);
    for kind in [MessageType::PkcsReq, MessageType::RenewalReq] {
        let server = Server::default_issuing();
        let odd = Odd { kind: kind.number(), ..Odd::request(&old) };
        assert_eq!(server.exchange(&odd.der()).await.opened(&old).0.len(), 1);
        assert_eq!(server.intent(), Intent::Renewal(Arc::clone(&old.certificate)));
        let own = Odd { kind: kind.number(), ..Odd::request(&world().device) };
        server.exchange(&own.der()).await;
        assert_eq!(server.intent(), Intent::Initial);
    }
}

#[tokio::test]
async fn k07_capabilities_without_a_message() {
    assert_eq!(Server::default_issuing().get("/scep/routers?operation=GetCACaps").await.0, StatusCode::OK);
}

// --- GetCACert ---

async fn shape(shape: CaCertsShape) -> (String, Vec<Vec<u8>>) {
    let server = Server::new(Will::Issue, scep(|s| s.ca_certs = shape));
    let (status, media_type, body) = server.get("/scep/routers?operation=GetCACert").await;
    assert_eq!(status, StatusCode::OK);
    let certificates = match media_type.as_str() {
        "application/x-x509-ca-cert" => vec![body.to_vec()],
        _ => CertsOnly::read(&body).unwrap().certificates.into_iter().map(<[u8]>::to_vec).collect(),
    };
    (media_type, certificates)
}

#[tokio::test]
async fn c01_the_ra_first() {
    let (_, certificates) = shape(CaCertsShape::RaPairChain).await;
    assert_eq!(certificates[0], world().ra_signer.certificate.der());
    assert_eq!(certificates[1], world().ra_decrypter.certificate.der());
    assert_eq!(certificates[2], world().ca.certificate.der());
}

#[test]
fn c02_the_order_that_was_given_or_the_order_of_der() {
    let (long, short) = (world().ra_signer.certificate.der(), world().ca.certificate.der());
    assert!(long.len() > short.len());
    let given = write(&[long, short], &[], SetOrder::AsGiven);
    assert_eq!(CertsOnly::read(&given).unwrap().certificates, [long, short]);
    let sorted = write(&[long, short], &[], SetOrder::Der);
    assert_eq!(CertsOnly::read(&sorted).unwrap().certificates, [short, long]);
}

#[tokio::test]
async fn c04_c07_every_shape() {
    let world = world();
    let (signer, decrypter, ca) =
        (world.ra_signer.certificate.der(), world.ra_decrypter.certificate.der(), world.ca.certificate.der());
    let bag = "application/x-x509-ca-ra-cert".to_owned();
    assert_eq!(shape(CaCertsShape::RaPair).await, (bag.clone(), vec![signer.to_vec(), decrypter.to_vec()]));
    let three = vec![signer.to_vec(), decrypter.to_vec(), ca.to_vec()];
    assert_eq!(shape(CaCertsShape::RaPairCa).await, (bag.clone(), three.clone()));
    assert_eq!(shape(CaCertsShape::RaPairChain).await, (bag, three));
    assert_eq!(shape(CaCertsShape::Ca).await, ("application/x-x509-ca-cert".into(), vec![ca.to_vec()]));
}

#[tokio::test]
async fn c05_c06_two_ra_certificates_by_default() {
    let (_, certificates) = shape(ScepSettings::default().ca_certs).await;
    let ra = certificates.iter().filter(|der| !Certificate::from_der(der).unwrap().is_ca()).count();
    assert_eq!(ra, 2);
}

#[tokio::test]
async fn c08_queries_by_any_issuer_and_serial() {
    let world = world();
    for (kind, named) in [
        (MessageType::GetCert, &world.ca.certificate),
        (MessageType::GetCert, &world.ra_decrypter.certificate),
        (MessageType::GetCrl, &world.ra_signer.certificate),
        (MessageType::GetCrl, &world.ca.certificate),
    ] {
        let asked = IssuerAndSerialNumber::from(&**named);
        let message = Odd::plain(&world.device, kind, asked.to_der()).der();
        if kind == MessageType::GetCert {
            let server = Server::new(Will::Say(Outcome::Certificate(Arc::clone(named))), ScepSettings::default());
            let (certificates, crls) = server.exchange(&message).await.opened(&world.device);
            assert_eq!((certificates, crls), (vec![named.der().to_vec()], vec![]));
            let question = server.core.queries.lock().unwrap()[0].question.clone();
            assert_eq!(question, Question::Certificate { issuer: asked.issuer, serial: asked.serial });
        } else {
            let crl = Bytes::from_static(b"\x30\x03\x02\x01\x05");
            let server = Server::new(Will::Say(Outcome::Crl(crl.clone())), ScepSettings::default());
            let (certificates, crls) = server.exchange(&message).await.opened(&world.device);
            assert_eq!((certificates, crls), (vec![], vec![crl.to_vec()]));
            let question = server.core.queries.lock().unwrap()[0].question.clone();
            assert_eq!(question, Question::Crl { issuer: asked.issuer, serial: asked.serial });
        }
    }
    let message = Odd::plain(&world.device, MessageType::GetCert, IssuerAndSerialNumber::from(&*world.ca.certificate).to_der());
    let server = Server::new(Will::Refuse(RejectionCode::NotFound), ScepSettings::default());
    assert_eq!(server.exchange(&message.der()).await.failure().0, FailInfo::BadCertId);
}

// --- encryption, digests, ASN.1 ---

#[tokio::test]
async fn e01_des_and_md5_are_bad_alg_unless_named() {
    let world = world();
    let des = Odd { cipher: ContentCipher::DesCbc, ..Odd::request(&world.device) };
    assert_eq!(Server::default_issuing().exchange(&des.der()).await.failure().0, FailInfo::BadAlg);
    let settings = scep(|s| s.accept_ciphers.push(ContentCipher::DesCbc));
    let reply = Server::new(Will::Issue, settings).exchange(&des.der()).await;
    assert_eq!(reply.cipher(), ContentCipher::DesCbc);
    assert_eq!(reply.opened(&world.device).0.len(), 1);
    // We never sign with MD5, so the message is one whose digest algorithm was changed to it: that it is not accepted is said first.
    let sha256 = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
    let mut message = request();
    let places: Vec<usize> = (0..message.len() - 9).filter(|&at| message[at..at + 9] == sha256).collect();
    for at in places {
        message[at + 8] = 0x07;
    }
    let (info, text) = Server::default_issuing().exchange(&message).await.failure();
    assert_eq!((info, text.as_str()), (FailInfo::BadAlg, "This digest is not accepted."));
}

#[tokio::test]
async fn e02_e14_the_reply_in_the_cipher_of_the_request() {
    let world = world();
    let server = Server::default_issuing();
    for cipher in [ContentCipher::Aes128Cbc, ContentCipher::Aes192Cbc, ContentCipher::Aes256Cbc] {
        let reply = server.exchange(&Odd { cipher, ..Odd::request(&world.device) }.der()).await;
        assert_eq!(reply.cipher(), cipher);
        assert_eq!(reply.opened(&world.device).0.len(), 1);
    }
}

#[tokio::test]
async fn e03_des_is_no_http_error() {
    let des = Odd { cipher: ContentCipher::DesCbc, ..Odd::request(&world().device) };
    let (status, media_type, _) = Server::default_issuing().post(&des.der()).await;
    assert_eq!((status, media_type.as_str()), (StatusCode::OK, "application/x-pki-message"));
}

#[tokio::test]
async fn e05_oaep_in_and_out() {
    let world = world();
    for digest in [Digest::Sha1, Digest::Sha256] {
        let transport = KeyTransport::Oaep { digest, mgf1: digest };
        let odd = Odd { transport, ..Odd::request(&world.device) };
        let reply = Server::default_issuing().exchange(&odd.der()).await;
        let message = reply.message();
        let envelope = ravelin::scep::Envelope::read(message.content().unwrap()).unwrap();
        let opened = envelope.open(&[world.device.decrypter()], harness::ANY).unwrap();
        assert_eq!(opened.transport, Some(transport));
        let strict = Server::new(Will::Issue, scep(|s| s.accept_oaep = false));
        assert_eq!(strict.exchange(&odd.der()).await.failure().0, FailInfo::BadAlg);
    }
}

/// The OIDs of the signed attributes, in the order of the encoding: found by looking for them.
fn attribute_oids(reply: &Reply) -> Vec<&'static str> {
    let known: [(&str, &[u8]); 10] = [
        ("contentType", b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03"),
        ("messageDigest", b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04"),
        ("signingTime", b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05"),
        ("messageType", b"\x60\x86\x48\x01\x86\xf8\x45\x01\x09\x02"),
        ("pkiStatus", b"\x60\x86\x48\x01\x86\xf8\x45\x01\x09\x03"),
        ("failInfo", b"\x60\x86\x48\x01\x86\xf8\x45\x01\x09\x04"),
        ("senderNonce", b"\x60\x86\x48\x01\x86\xf8\x45\x01\x09\x05"),
        ("recipientNonce", b"\x60\x86\x48\x01\x86\xf8\x45\x01\x09\x06"),
        ("transactionID", b"\x60\x86\x48\x01\x86\xf8\x45\x01\x09\x07"),
        ("failInfoText", b"\x2b\x06\x01\x05\x05\x07\x18\x01"),
    ];
    let mut found: Vec<(usize, &str)> = known
        .iter()
        .filter_map(|(name, oid)| reply.der.windows(oid.len()).rposition(|window| window == *oid).map(|at| (at, *name)))
        .collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}

#[tokio::test]
async fn e08_e09_e10_the_attributes_of_a_reply() {
    // What NDES sends, which Windows knows, sorted as DER has it: by the length of the encoding first.
    let reply = Server::default_issuing().exchange(&request()).await;
    let golden = ["messageType", "pkiStatus", "transactionID", "contentType", "senderNonce", "recipientNonce", "messageDigest"];
    assert_eq!(attribute_oids(&reply), golden);
    let reply = Server::new(Will::Refuse(RejectionCode::ChallengeWrong), ScepSettings::default()).exchange(&request()).await;
    let golden = [
        "messageType",
        "pkiStatus",
        "failInfo",
        "transactionID",
        "contentType",
        "senderNonce",
        "recipientNonce",
        "failInfoText",
        "messageDigest",
    ];
    let mut found = attribute_oids(&reply);
    assert_eq!(found.len(), golden.len());
    found.sort();
    let mut sorted = golden;
    sorted.sort();
    assert_eq!(found, sorted);
}

#[tokio::test]
async fn e11_a_fresh_sender_nonce_in_every_reply() {
    let server = Server::default_issuing();
    let one = server.exchange(&request()).await.attributes.sender_nonce.unwrap();
    let other = server.exchange(&request()).await.attributes.sender_nonce.unwrap();
    assert_eq!((one.len(), other.len()), (16, 16));
    assert_ne!(one, other);
    let pending = Server::new(Will::Pend, ScepSettings::default()).exchange(&request()).await;
    assert_eq!(pending.attributes.sender_nonce.unwrap().len(), 16);
}

#[tokio::test]
async fn e12_nonces_of_any_length_and_no_signing_time() {
    for len in [0, 1, 8, 16, 20, 200] {
        let nonce = vec![7; len];
        let odd = Odd { nonce: Some(nonce.clone()), ..Odd::request(&world().device) };
        let reply = Server::default_issuing().exchange(&odd.der()).await;
        assert_eq!(reply.attributes.recipient_nonce, Some(nonce));
        assert_eq!(reply.status(), PkiStatus::Success);
    }
    // None at all breaks the protocol, but can be answered.
    let odd = Odd { nonce: None, ..Odd::request(&world().device) };
    let reply = Server::default_issuing().exchange(&odd.der()).await;
    assert_eq!(reply.failure().0, FailInfo::BadRequest);
    assert_eq!(reply.attributes.recipient_nonce, None);
}

#[tokio::test]
async fn e13_indefinite_lengths_and_strings_in_pieces() {
    let odd = Odd::request(&world().device);
    let envelope = odd.envelope();
    let server = Server::default_issuing();
    let streamed = ber(&envelope);
    assert_eq!(to_der(&streamed).unwrap(), envelope);
    for message in [ber(&odd.der()), odd.around(&streamed), ber(&odd.around(&streamed))] {
        assert_eq!(server.exchange(&message).await.opened(&world().device).0.len(), 1);
    }
}

#[test]
fn e15_aes_and_sha_256_by_default() {
    let settings = ScepSettings::default();
    assert!(settings.accept_ciphers.contains(&ContentCipher::Aes128Cbc));
    assert!(settings.accept_digests.contains(&Digest::Sha256));
    assert!(!settings.accept_ciphers.iter().any(|cipher| cipher.is_legacy()));
    assert!(!settings.accept_digests.iter().any(|digest| digest.is_legacy()));
}

#[tokio::test]
async fn e16_the_challenge_comes_through() {
    // In every string type: the tests of the certification request.
    let server = Server::default_issuing();
    server.exchange(&request()).await;
    assert_eq!(server.last_request().challenge.unwrap().as_str(), "secret");
    let without = Odd::plain(&world().device, MessageType::PkcsReq, world().device.csr(None, Digest::Sha256));
    server.exchange(&without.der()).await;
    assert!(server.last_request().challenge.is_none());
}

#[tokio::test]
async fn e17_a_critical_authority_key_identifier_expired() {
    let device = &world().device;
    let odd = harness::odd_self_signed(device);
    let reply = Server::default_issuing().exchange(&Odd::request(&odd).der()).await;
    assert_eq!(reply.opened(&odd).0.len(), 1);
}

// --- keys that cannot decrypt ---

#[tokio::test]
async fn r02_one_key_signs_another_decrypts() {
    let world = world();
    let reply = Server::default_issuing().exchange(&request()).await;
    assert_eq!(reply.message().signer_certificate().unwrap(), *world.ra_signer.certificate);
    // A message to the signing key is for nobody.
    let odd = Odd { to: &world.ra_signer.certificate, ..Odd::request(&world.device) };
    let (info, text) = Server::default_issuing().exchange(&odd.der()).await.failure();
    assert_eq!((info, text.as_str()), (FailInfo::BadMessageCheck, "The message is encrypted to another recipient."));
}

#[tokio::test]
async fn r03_a_signer_that_cannot_decrypt_gets_the_reply_under_its_challenge() {
    let world = world();
    let odd = Odd::request(&world.ec_device);
    let server = Server::default_issuing();
    let reply = server.exchange(&odd.der()).await;
    assert_eq!(reply.status(), PkiStatus::Success);
    assert!(server.last_request().reply.needs_challenge());
    let (certificates, _) = reply.opened_with_password("secret");
    assert_eq!(Certificate::from_der(&certificates[0]).unwrap().spki(), world.ec_device.signer.spki());
}

#[tokio::test]
async fn r04_no_challenge_no_delivery_and_a_clear_bad_alg() {
    let world = world();
    let csr = world.ec_device.csr(None, Digest::Sha256);
    let server = Server::default_issuing();
    let reply = server.exchange(&Odd::plain(&world.ec_device, MessageType::PkcsReq, csr).der()).await;
    assert_eq!(reply.failure(), (FailInfo::BadAlg, "The reply could not be encrypted to this key.".into()));
    assert!(server.last_request().reply.deliverable().is_err());
}

#[tokio::test]
async fn r01_r05_an_rsa_ra_in_front_of_another_kind_of_ca() {
    // The RA's keys are RSA, the CA of these tests is ECDSA.
    let reply = Server::default_issuing().exchange(&request()).await;
    let issued = Certificate::from_der(&reply.opened(&world().device).0[0]).unwrap();
    assert!(issued.verify_signed_by(world().ca.certificate.spki()).is_ok());
    assert_eq!(world().ca.signer.key(), KeyAlgorithm::EcdsaP256);
}

// --- enrollment ---

#[tokio::test]
async fn p01_p04_pending_and_poll() {
    let world = world();
    let server = Server::new(Will::Pend, ScepSettings::default());
    let reply = server.exchange(&request()).await;
    assert_eq!(reply.status(), PkiStatus::Pending);
    // Zero octets of content and not none: certmonger needs it.
    assert_eq!(reply.message().content(), None);
    assert!(reply.der.windows(4).any(|window| window == [0xa0, 0x02, 0x04, 0x00]));
    let names = IssuerAndSubject {
        issuer: world.ca.certificate.subject().der().to_vec(),
        subject: harness::subject("CN=router-1,O=Example").der().to_vec(),
    };
    let poll = Odd::plain(&world.device, MessageType::CertPoll, names.to_der()).der();
    assert_eq!(server.exchange(&poll).await.status(), PkiStatus::Pending);
    let question = server.core.queries.lock().unwrap()[0].question.clone();
    assert_eq!(question, Question::Poll { wire_id: "4FF2".into() });
    assert_eq!(Server::default_issuing().exchange(&poll).await.opened(&world.device).0.len(), 1);
}

#[tokio::test]
async fn p06_self_signed_is_a_matter_of_keys() {
    // The signer's own name is not the request's; it is a first request all the same.
    let server = Server::default_issuing();
    server.exchange(&request()).await;
    let seen = server.last_request();
    assert_eq!(seen.intent, Intent::Initial);
    assert_ne!(seen.signer.subject(), seen.csr.subject());
    // And a self-signed certificate that bears the CA's name is no certificate of the CA.
    let posing = Identity::with_key("CN=Test CA,O=Example", Arc::clone(&world().device.signer));
    server.exchange(&Odd::request(&posing).der()).await;
    assert_eq!(server.intent(), Intent::Initial);
}

#[tokio::test]
async fn p08_a_certificate_of_a_ca_with_the_same_name_is_no_renewal() {
    let foreign = enrolled(&world().foreign_ca);
    assert_eq!(foreign.certificate.issuer(), world().ca.certificate.subject());
    let server = Server::default_issuing();
    server.exchange(&Odd::request(&foreign).der()).await;
    assert_eq!(server.intent(), Intent::Initial);
}

#[tokio::test]
async fn p19_a_refusal_is_an_answer() {
    for (code, info) in [
        (RejectionCode::NoGroup, FailInfo::BadRequest),
        (RejectionCode::ChallengeWrong, FailInfo::BadRequest),
        (RejectionCode::NotFound, FailInfo::BadCertId),
        (RejectionCode::Policy(ravelin::policy::DenialCode::KeyWeak), FailInfo::BadAlg),
    ] {
        let reply = Server::new(Will::Refuse(code), ScepSettings::default()).exchange(&request()).await;
        assert_eq!(reply.failure(), (info, code.public().to_owned()));
    }
    let response = Server::new(Will::Busy, ScepSettings::default())
        .call(Request::post("/scep/routers?operation=PKIOperation").body(Full::new(Bytes::from(request()))).unwrap())
        .await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "10");
}

// --- chains ---

#[tokio::test]
async fn h01_h02_the_chain_in_the_reply() {
    let world = world();
    let ca = world.ca.certificate.der().to_vec();
    for (shape, above) in [
        (ReplyShape::Leaf, vec![]),
        (ReplyShape::LeafCa, vec![ca.clone()]),
        (ReplyShape::LeafChain, vec![]),
        (ReplyShape::LeafChainRoot, vec![ca.clone()]),
    ] {
        let reply = Server::new(Will::Issue, scep(|s| s.reply_certs = shape)).exchange(&request()).await;
        let (certificates, _) = reply.opened(&world.device);
        assert_eq!(Certificate::from_der(&certificates[0]).unwrap().spki(), world.device.signer.spki());
        assert_eq!(certificates[1..], above, "{shape}");
    }
}

#[tokio::test]
async fn h03_the_ca_identity_in_clear_and_the_message_in_base64() {
    let server = Server::default_issuing();
    assert_eq!(server.get("/scep/routers?operation=GetCACert&message=My%20CA").await.0, StatusCode::OK);
    get_message(&escaped(&STANDARD.encode(request()))).await;
}

#[tokio::test]
async fn h04_the_signer_goes_along_unless_told_otherwise() {
    let reply = Server::default_issuing().exchange(&request()).await;
    assert_eq!(reply.message().certificates(), [world().ra_signer.certificate.der()]);
    let bare = Server::new(Will::Issue, scep(|s| s.reply_includes_signer = false)).exchange(&request()).await;
    assert!(bare.message().certificates().is_empty());
    assert!(bare.message().is_signed_with(&world().ra_signer.certificate));
}

// --- bad input ---

/// What comes of messages that are no messages: a bare status where nothing can be answered, a signed FAILURE where it can.
#[tokio::test]
async fn bad_messages_and_their_answers() {
    let world = world();
    let server = Server::default_issuing();
    let good = request();
    let mut deep = [0x30, 0x80].repeat(200);
    deep.extend([0, 0].repeat(200));
    for (what, octets) in [
        ("empty", vec![]),
        ("random", (0..3000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("trailing octets", [good.as_slice(), b"x"].concat()),
        ("trailing octets after BER", [ber(&good).as_slice(), b"x"].concat()),
        ("nested", deep),
        ("text", b"<html></html>".to_vec()),
        ("no transactionID", Odd { transaction_id: None, ..Odd::request(&world.device) }.der()),
    ] {
        let (status, media_type, body) = server.post(&octets).await;
        assert_eq!((status, media_type.as_str()), (StatusCode::BAD_REQUEST, "text/plain"), "{what}");
        assert!(body.ends_with(b".\n"), "{what}");
    }
    let (status, ..) = server.post(&vec![0x30; 100_000]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);

    let odd = Odd::request(&world.device);
    let mut bad_signature = good.clone();
    *bad_signature.last_mut().unwrap() ^= 1;
    let anonymous = {
        let by = Identity { signer: Arc::clone(&world.ec_device.signer), certificate: Arc::clone(&world.device.certificate) };
        Odd { by: &by, ..Odd::request(&world.device) }.der()
    };
    let sha1_csr = world.device.csr(Some("secret"), Digest::Sha1);
    for (what, octets, info) in [
        ("wrong signature", bad_signature, FailInfo::BadMessageCheck),
        ("another key", anonymous, FailInfo::BadMessageCheck),
        ("CertRep", Odd { kind: 3, ..Odd::request(&world.device) }.der(), FailInfo::BadRequest),
        ("unknown type", Odd { kind: 18, ..Odd::request(&world.device) }.der(), FailInfo::BadRequest),
        ("no content", odd.around(b""), FailInfo::BadRequest),
        ("no envelope", odd.around(b"\x30\x00"), FailInfo::BadMessageCheck),
        ("SHA-1", Odd { digest: Digest::Sha1, ..Odd::request(&world.device) }.der(), FailInfo::BadAlg),
        ("request signed with SHA-1", Odd::plain(&world.device, MessageType::PkcsReq, sha1_csr).der(), FailInfo::BadAlg),
    ] {
        let reply = server.exchange(&octets).await;
        assert_eq!(reply.failure().0, info, "{what}");
        assert_eq!(reply.attributes.transaction_id.as_deref(), Some("4FF2"), "{what}");
        assert_eq!(reply.attributes.recipient_nonce, Some(vec![0xa5; 16]), "{what}");
    }
    assert!(server.saw_nothing());
}

// --- one face ---

/// Whatever happens between the decryption of the content key and a CSR whose signature holds: the same answer, octet for octet but
/// for what has to differ.
#[tokio::test]
async fn one_face_for_every_envelope_that_does_not_open() {
    let world = world();
    let server = Server::default_issuing();
    let odd = Odd::request(&world.device);
    let envelope = odd.envelope();
    let expected = (FailInfo::BadMessageCheck, "The content cannot be read.".to_owned());
    let face = async |message: Vec<u8>| server.exchange(&message).await.failure();
    // The content key does not decrypt; the padding of the content is wrong; the content is no CSR.
    let last = envelope.len() - 1;
    let key_at = envelope.windows(4).position(|window| window == [0x04, 0x82, 0x01, 0x00]).unwrap() + 4;
    for at in [key_at, key_at + 128, key_at + 255, last, last - 16, last - 40] {
        let mut changed = envelope.clone();
        changed[at] ^= 0x40;
        assert_eq!(face(odd.around(&changed)).await, expected, "octet {at}");
    }
    for content in [&b""[..], b"x", b"\x30\x00", &[0x30; 300]] {
        let no_csr = Odd::plain(&world.device, MessageType::PkcsReq, content);
        assert_eq!(face(no_csr.der()).await, expected);
    }
    // A readable CSR whose own signature does not hold.
    let mut csr = world.device.csr(Some("secret"), Digest::Sha256);
    *csr.last_mut().unwrap() ^= 1;
    assert_eq!(face(Odd::plain(&world.device, MessageType::PkcsReq, csr).der()).await, expected);
    // The other message types.
    for kind in [MessageType::CertPoll, MessageType::GetCert, MessageType::GetCrl, MessageType::RenewalReq] {
        assert_eq!(face(Odd::plain(&world.device, kind, &b"\x30\x00"[..]).der()).await, expected);
    }
    assert!(server.saw_nothing());
}

/// The ciphertexts of Wycheproof as encrypted content keys: every invalid padding gets the answer of a good padding around another
/// key.
#[tokio::test]
async fn one_face_for_every_rsa_padding() {
    use wycheproof::TestResult;
    use wycheproof::rsa_pkcs1_decrypt::{TestName, TestSet};
    let world = world();
    let tests = TestSet::load(TestName::Rsa2048).unwrap();
    let mut seen = 0;
    for group in &tests.test_groups {
        let signer = provider().keys.signer(&group.pkcs8).unwrap();
        let ra = Identity::issued("CN=RA encrypt", signer, &world.ca, KeyUsage::KEY_ENCIPHERMENT);
        let identity = RaIdentity {
            signer: Arc::clone(&world.ra_signer.signer),
            signer_certificate: Arc::clone(&world.ra_signer.certificate),
            decrypters: vec![ra.decrypter()],
            chain: vec![Arc::clone(&world.ca.certificate)],
            rollover: Default::default(),
        };
        let server = Server::with_ra(Will::Issue, ScepSettings::default(), identity);
        let odd = Odd { to: &ra.certificate, ..Odd::request(&world.device) };
        assert_eq!(server.exchange(&odd.der()).await.status(), PkiStatus::Success);
        let envelope = odd.envelope();
        let key_at = envelope.windows(4).position(|window| window == [0x04, 0x82, 0x01, 0x00]).unwrap() + 4;
        for test in group.tests.iter().filter(|test| test.ct.len() == 256) {
            let mut changed = envelope.clone();
            changed[key_at..key_at + 256].copy_from_slice(&test.ct);
            let answer = server.exchange(&odd.around(&changed)).await.failure();
            let expected = (FailInfo::BadMessageCheck, "The content cannot be read.".to_owned());
            assert_eq!(answer, expected, "case {} ({:?}): {}", test.tc_id, test.result, test.comment);
            seen += usize::from(test.result == TestResult::Invalid);
        }
    }
    assert!(seen >= 20, "only {seen} cases");
}

// --- messages that real clients made ---

/// The messages in `testdata/scep/captured`: read, verified, opened. scepclient's have three recipients (C09).
#[tokio::test]
async fn c09_captured_messages_of_real_clients() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/scep/captured");
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let certificate = |name: &str| Arc::new(Certificate::from_pem(&text(name)).unwrap());
    let signer = |name: &str| {
        let (_, key) = der::SecretDocument::from_pem(&text(name)).unwrap();
        provider().keys.signer(key.as_bytes()).unwrap()
    };
    let sign = Identity { signer: signer("ra-sign.key.pem"), certificate: certificate("ra-sign.pem") };
    let decrypt = Identity { signer: signer("ra-decrypt.key.pem"), certificate: certificate("ra-decrypt.pem") };
    let index: toml::Table = text("index.toml").parse().unwrap();
    let settings = scep(|s| {
        s.accept_ciphers = ContentCipher::ALL.to_vec();
        s.accept_digests = Digest::ALL.to_vec();
    });
    for message in index["message"].as_array().unwrap() {
        let field = |name: &str| message.get(name).and_then(|value| value.as_str());
        let name = field("name").unwrap();
        let ra = RaIdentity {
            signer: Arc::clone(&sign.signer),
            signer_certificate: Arc::clone(&sign.certificate),
            decrypters: vec![decrypt.decrypter()],
            chain: vec![certificate("ca.pem")],
            rollover: Default::default(),
        };
        let server = Server::with_ra(Will::Pend, settings.clone(), ra);
        let octets = std::fs::read(folder.join(format!("{name}.der"))).unwrap();
        let der = to_der(&octets).unwrap();
        let read = PkiMessage::read(&der).unwrap();
        assert_eq!(read.digest().unwrap().name(), field("digest").unwrap(), "{name}");
        // As it came over HTTP: the target for GET, the body for POST.
        let http = text(&format!("{name}.http"));
        let target = http.lines().next().unwrap().split(' ').nth(1).unwrap().to_owned();
        let request = match field("method").unwrap() {
            "GET" => Request::get(&target).body(Full::default()).unwrap(),
            _ => Request::post(&target).body(Full::new(Bytes::copy_from_slice(&octets))).unwrap(),
        };
        let (status, _, body) = taken_apart(server.call(request).await).await;
        assert_eq!(status, StatusCode::OK, "{name}");
        let reply = PkiMessage::read(&body).unwrap();
        assert_eq!(reply.verify(&sign.certificate, Digest::ALL), Ok(()), "{name}");
        assert_eq!(reply.attributes().pki_status, Some(PkiStatus::Pending.number()), "{name}");
        assert_eq!(reply.attributes().transaction_id, read.attributes().transaction_id, "{name}");
        assert_eq!(reply.attributes().recipient_nonce, read.attributes().sender_nonce, "{name}");
        let seen = server.last_request();
        assert_eq!(seen.challenge.as_ref().map(|challenge| challenge.as_str()), field("challenge"), "{name}");
        let mut subject: Vec<_> = field("subject").unwrap().split(',').map(str::to_owned).collect();
        let text = seen.csr.subject().to_string();
        let mut found: Vec<_> = text.split(',').map(str::to_owned).collect();
        subject.sort();
        found.sort();
        assert_eq!(found, subject, "{name}");
        assert_eq!(seen.intent, Intent::Initial, "{name}: another CA");
    }
}
