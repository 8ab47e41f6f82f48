//! Against pages of our own, made after what is known of the real ones: the IDs of their sentences, their links, cookies and codes. It was
//! never run against a real AD CS.

use percent_encoding::percent_decode_str;

use super::*;
use crate::algorithm::KeyAlgorithm;
use crate::scep::certs_only::{self, SetOrder};
use crate::upstream::testing::{Play, Scripted, Seen, TestCa};

const KEY: IdempotencyKey = IdempotencyKey([7; 16]);

fn settings() -> AdCsSettings {
    let ca = AdCsCa { template: Some("RavelinDevice".into()), attributes: vec!["ccm:web.example.net".into()] };
    let cas = BTreeMap::from([("devices".to_owned(), ca)]);
    AdCsSettings { username: None, password: None, poll_interval: Duration::from_secs(9), cas }
}

fn open(peer: &Scripted, settings: &AdCsSettings) -> AdCs {
    let mut http = peer.settings();
    http.url = format!("{}/certsrv", peer.url());
    AdCs::open(settings, Http::open(&http, "").unwrap()).unwrap()
}

/// A page as the real ones are built, with sentences in another language than English.
fn html(inner: &str) -> Play {
    let page = format!(
        "<html><head><meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\"><title>Zertifikatdienste</title></head>\n\
         <body><table><tr><td><font><LocID ID=locMSCertSrv>Dienste -- Example CA 0x11111111</LocID></font></td>\
         <td ID=locHomeAlign><a href=\"/certsrv\">Start</a></td></tr></table>\n{inner}\n</body></html>"
    );
    Play::body(200, "text/html", page)
}

fn issued_page(request: u32) -> Play {
    html(&format!(
        "<P ID=locPageTitle><b>Zertifikat ausgestellt</b>\n<a href=\"certnew.cer?ReqID={request}&amp;Enc=bin\">DER</a> \
         <a href=\"certnew.cer?ReqID={request}&amp;Enc=b64\">Base 64</a> <a href=\"certnew.p7b?ReqID={request}&amp;Enc=b64\">Kette</a>"
    ))
}

fn pending_page(request: u32) -> Play {
    html(&format!(
        "<P ID=locPageTitle><b>Zertifikat steht aus</b>\n<P ID=locInfoNewReq>Ihre Anforderung ist da; warten Sie bis zu 10 Tage.</P>\n\
         <P ID=locInfoReqID>\nIhre Anforderungs-ID ist {request}.\n</P>\n<P ID=locTimeoutWarning>Binnen 10 Tagen abholen.</P>"
    ))
}

fn denied_page(request: u32) -> Play {
    html(&format!(
        "<P ID=locPageTitle><b>Abgelehnt</b>\n<P ID=locDenied>Die Anforderung wurde abgelehnt.</P>\n<P ID=locInfoReqIDandReason>\
         Die ID ist {request}. Die Meldung ist &quot;Verweigert vom Richtlinienmodul 0x80094800, Vorlage wird nicht unterst&uuml;tzt: \
         Denied by Policy Module&quot;.</P>"
    ))
}

/// The page that comes in the place of a certificate.
fn error_page(disposition: &str, result: &str) -> Play {
    html(&format!(
        "<P ID=locPageTitle><b>Fehler</b>\n<P ID=locReqFailed>Es ging nicht.</P><DL><DT ID=locDispLabel><Font><B>Disposition:</B></Font>\
         </DT><DD>\n\t\t{disposition} <LocID ID=locDispSpacer>-</LocID></DD><DT ID=locDispMsgLabel>Meldung:</DT><DD>(keine)</DD>\
         <DT ID=locResultLabel>Ergebnis:</DT><DD>{result}</DD></DL>"
    ))
}

fn pem_of(certificate: &Certificate) -> Play {
    Play::body(200, "text/html", certificate.to_pem().replace('\n', "\r\n"))
}

struct World {
    authority: TestCa,
    ca: RemoteCa,
    order: IssuanceOrder,
    certificate: Certificate,
}

fn world() -> World {
    let authority = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (ca, order) = (authority.remote_ca("devices"), authority.order("devices"));
    let certificate = authority.issue(&order);
    World { authority, ca, order, certificate }
}

fn field(seen: &Seen, name: &str) -> Option<String> {
    let value = seen.text().split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_decode_str(value).decode_utf8().unwrap().into_owned())
}

/// What becomes of a submission that is answered so.
async fn submitted(world: &World, plays: impl IntoIterator<Item = Play>) -> (Submission, Vec<Seen>) {
    let peer = Scripted::playing(plays).await;
    let submission = open(&peer, &settings()).submit(&world.ca, &world.order, &KEY).await;
    (submission, peer.seen())
}

async fn polled(world: &World, plays: impl IntoIterator<Item = Play>) -> (Submission, Vec<Seen>) {
    let peer = Scripted::playing(plays).await;
    let submission = open(&peer, &settings()).poll(&world.ca, &world.order, "12").await;
    (submission, peer.seen())
}

fn waits_for(submission: &Submission) -> (&str, u64) {
    let Submission::Waiting { reference, retry_after } = submission else { panic!("{submission:?}") };
    (reference, retry_after.as_secs())
}

#[tokio::test]
async fn it_fills_in_the_form_and_fetches_the_certificate() {
    let world = world();
    let peer = Scripted::playing([issued_page(12), pem_of(&world.certificate)]).await;
    let pages = open(&peer, &settings());
    // The ID is handed over first, so that no trouble with the certificate can lose it.
    let submission = pages.submit(&world.ca, &world.order, &KEY).await;
    assert_eq!((waits_for(&submission), peer.seen().len()), (("12", 0), 1));
    let submission = pages.poll(&world.ca, &world.order, "12").await;
    let Submission::Issued { certificate, .. } = submission else { panic!("{submission:?}") };
    assert_eq!(certificate.der(), world.certificate.der());
    let seen = peer.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("POST", "/certsrv/certfnsh.asp"));
    assert_eq!(seen[1].target, "/certsrv/certnew.cer?ReqID=12&Enc=b64");
    assert_eq!(seen[0].header("content-type"), "application/x-www-form-urlencoded");
    assert!(seen.iter().all(|seen| seen.header("user-agent").starts_with("Mozilla/5.0 (compatible; ravelin/")));
    assert!(seen[0].header("authorization").is_empty());
    let value = |name: &str| field(&seen[0], name).unwrap();
    assert_eq!(value("Mode"), "newreq");
    assert_eq!(value("CertAttrib"), "CertificateTemplate:RavelinDevice\r\nccm:web.example.net\r\n");
    assert_eq!(pem::read(&value("CertRequest"), "CERTIFICATE REQUEST").unwrap(), std::slice::from_ref(&world.order.csr));
    assert_eq!((value("TargetStoreFlags").as_str(), value("SaveCert").as_str()), ("0", "yes"));
}

#[tokio::test]
async fn basic_goes_with_each_request() {
    let world = world();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "pass word\n").unwrap();
    let peer = Scripted::playing([issued_page(12), pem_of(&world.certificate)]).await;
    let password = Some(SecretSource::File(file.path().to_owned()));
    let settings = AdCsSettings { username: Some("EXAMPLE\\ravelin".into()), password, ..settings() };
    let pages = open(&peer, &settings);
    waits_for(&pages.submit(&world.ca, &world.order, &KEY).await);
    assert!(matches!(pages.poll(&world.ca, &world.order, "12").await, Submission::Issued { .. }));
    let expected = format!("Basic {}", STANDARD.encode("EXAMPLE\\ravelin:pass word"));
    assert!(peer.seen().iter().all(|seen| seen.header("authorization") == expected));
}

#[tokio::test]
async fn certificates_come_in_many_forms() {
    let world = world();
    let der = world.certificate.der();
    let both = certs_only::write(&[der, world.authority.certificate.der()], &[], SetOrder::AsGiven);
    let forms: [Vec<u8>; 6] = [
        der.to_vec(),
        STANDARD.encode(der).into_bytes(),
        world.certificate.to_pem().into_bytes(),
        pem::write("CERTIFICATE", &both).into_bytes(),
        pem::write("PKCS7", &both).into_bytes(),
        both,
    ];
    for form in forms {
        assert_eq!(read_certificates(&form)[0].der(), der);
    }
    for none in [&b""[..], b"<html>certnew</html>", b"-----BEGIN CERTIFICATE-----\n", &[0x30, 0x82], &[0xff; 40]] {
        assert!(read_certificates(none).is_empty());
    }
}

#[tokio::test]
async fn a_request_that_waits_is_known_by_its_id_in_any_language() {
    let world = world();
    let english = html("<b>Certificate Pending</b> Your Request Id is 12. Return in a day or two.");
    let cookie =
        html("<P ID=locInfoChkPnd>Noch nicht.</P>").header("Set-Cookie", "Requests=[12,1/2/2026 3:04:05,]; path=/certsrv");
    let sixteen: Vec<u8> =
        [0xff, 0xfe].into_iter().chain("<P ID='locInfoReqID'>番号 12</P>".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    for page in [pending_page(12), english, cookie, Play::body(200, "text/html", sixteen)] {
        let (submission, seen) = submitted(&world, [page]).await;
        assert_eq!((waits_for(&submission), seen.len()), (("12", 9), 1));
    }
    let nameless = html("<P ID=locInfoChkPnd>Noch nicht.</P>");
    let (submission, _) = submitted(&world, [nameless]).await;
    assert!(matches!(&submission, Submission::Unknown { reason } if reason.contains("no ID can be read")), "{submission:?}");
}

#[tokio::test]
async fn what_waits_is_asked_after_until_it_is_decided() {
    let world = world();
    let (submission, seen) = polled(&world, [error_page("5", "0x00000000")]).await;
    assert_eq!((waits_for(&submission), seen[0].target.as_str()), (("12", 9), "/certsrv/certnew.cer?ReqID=12&Enc=b64"));
    let (submission, _) = polled(&world, [pem_of(&world.certificate)]).await;
    assert!(matches!(submission, Submission::Issued { .. }));

    let (submission, seen) = polled(&world, [error_page("2", "0x80094014"), denied_page(12)]).await;
    assert!(matches!(&submission, Submission::Rejected { reason } if reason.contains("0x80094800")), "{submission:?}");
    assert_eq!((field(&seen[1], "Mode"), field(&seen[1], "ReqID")), (Some("chkpnd".into()), Some("12".into())));
    // A page that somebody wrote anew: the one for people is asked.
    let (submission, _) = polled(&world, [html("nichts"), pending_page(12)]).await;
    waits_for(&submission);
    let asked_again = |submission: &Submission| matches!(submission, Submission::NotTaken { .. });
    let (submission, _) = polled(&world, [html("nichts"), html("nichts")]).await;
    assert!(asked_again(&submission), "what cannot be read is asked again: {submission:?}");
    let (submission, _) = polled(&world, [error_page("<LocID ID=locDispNeverSet>(nie)</LocID>", "0x80094004")]).await;
    assert!(matches!(&submission, Submission::Unknown { reason } if reason.contains("knows no request 12")), "{submission:?}");
    for trouble in [Play::Cut, Play::status(500), Play::status(401), error_page("-", "0x800706ba")] {
        let (submission, _) = polled(&world, [trouble]).await;
        assert!(asked_again(&submission), "{submission:?}");
    }
    let other = world.authority.issue(&world.authority.order("devices"));
    let (submission, _) = polled(&world, [pem_of(&other)]).await;
    assert!(asked_again(&submission), "a certificate for another key is not taken: {submission:?}");

    let peer = Scripted::playing([]).await;
    for wrong in ["", "12&x", "-1"] {
        let submission = open(&peer, &settings()).poll(&world.ca, &world.order, wrong).await;
        assert!(matches!(submission, Submission::Unknown { .. }));
    }
    assert!(peer.seen().is_empty());
}

#[tokio::test]
async fn a_refusal_says_why() {
    let world = world();
    let (submission, _) = submitted(&world, [denied_page(12)]).await;
    let Submission::Rejected { reason } = submission else { panic!("{submission:?}") };
    assert!(reason.starts_with("Die ID ist 12. Die Meldung ist \"Verweigert vom Richtlinienmodul 0x80094800"), "{reason}");
    let english =
        html("<b>Certificate Request Denied</b> Your Request Id is 13. The disposition message is \"Denied by Policy Module\".");
    let (submission, _) = submitted(&world, [english]).await;
    assert!(
        matches!(&submission, Submission::Rejected { reason } if reason.contains("Denied by Policy Module")),
        "{submission:?}"
    );
    let (submission, _) = submitted(&world, [error_page("1", "0x80093005 (ASN: 5)")]).await;
    assert!(matches!(submission, Submission::Rejected { .. }), "the request cannot be read");
}

#[tokio::test]
async fn what_other_answers_mean_for_a_submission() {
    let world = world();
    let unreachable = error_page("<LocID ID=locDispNeverSet>(nie)</LocID>", "RPC: 0x800706ba (WIN32: 1722)");
    let later = Play::status(503).header("Retry-After", "60");
    for nobody_heard in
        [Play::status(401), Play::status(403), Play::status(404), later, unreachable, error_page("0", "0x80070005")]
    {
        let (submission, _) = submitted(&world, [nobody_heard]).await;
        assert!(matches!(submission, Submission::NotTaken { .. }), "{submission:?}");
    }
    for unclear in [
        Play::Cut,
        Play::status(500),
        Play::status(503),
        html("nichts"),
        error_page("-", "0x800706be"),
        issued_page(1).cut_in_body(20),
    ] {
        let (submission, _) = submitted(&world, [unclear]).await;
        let Submission::Unknown { reason } = submission else { panic!("{submission:?}") };
        assert!(reason.contains("certutil -view -restrict \"Request.CommonName=router-1\""), "{reason}");
    }
}

#[tokio::test]
async fn a_code_is_taken_for_what_it_says() {
    let world = world();
    let never = "<LocID ID=locDispNeverSet>(nie)</LocID>";
    // The CA is suspended or has a bad certificate, it has no database sessions left, the call was not executed.
    for nobody_can in ["0x80094006", "0x80094005", "0x8009400f", "0x800706bf", "0x800706ba", "0x80092013"] {
        let (submission, _) = submitted(&world, [error_page(never, nobody_can)]).await;
        assert!(matches!(submission, Submission::NotTaken { .. }), "{nobody_can}: {submission:?}");
        let (submission, _) = polled(&world, [error_page(never, nobody_can)]).await;
        assert!(matches!(submission, Submission::NotTaken { .. }), "{nobody_can}: {submission:?}");
    }
    for unclear in ["0x80094003", "0x80090006", "0x80094002", "0x80094004"] {
        let (submission, _) = submitted(&world, [error_page(never, unclear)]).await;
        assert!(matches!(submission, Submission::Unknown { .. }), "{unclear}: {submission:?}");
    }
    // It was issued, whatever the code says.
    for (disposition, code) in [("3", "0x80092013"), ("4", "0x800706ba"), ("3", "0x80094800")] {
        let (submission, _) = submitted(&world, [error_page(disposition, code)]).await;
        assert!(matches!(submission, Submission::Unknown { .. }), "{disposition} {code}: {submission:?}");
        let (submission, _) = polled(&world, [error_page(disposition, code), html("nichts")]).await;
        assert!(matches!(submission, Submission::NotTaken { .. }), "{disposition} {code}: {submission:?}");
    }
    for no_such in ["0x80094002", "0x80094004"] {
        let (submission, _) = polled(&world, [error_page(never, no_such)]).await;
        assert!(matches!(submission, Submission::Unknown { .. }), "{no_such}: {submission:?}");
    }
    for denied in ["0x80094800", "0x80094012", "0x80093100"] {
        let (submission, _) = submitted(&world, [error_page(never, denied)]).await;
        assert!(matches!(submission, Submission::Rejected { .. }), "{denied}: {submission:?}");
    }
}

#[tokio::test]
async fn a_refusal_counts_where_the_second_page_cannot_be_read() {
    let world = world();
    let (submission, _) = polled(&world, [error_page("2", "0x80094014"), html("nichts")]).await;
    assert!(matches!(&submission, Submission::Rejected { reason } if reason.contains("0x80094014")), "{submission:?}");
    // It asks again where that page never came.
    let (submission, _) = polled(&world, [error_page("2", "0x80094014"), Play::Cut]).await;
    assert!(matches!(submission, Submission::NotTaken { .. }), "{submission:?}");
    // One that was issued, and whose certificate does not come yet, is asked for again soon.
    let (submission, _) = polled(&world, [html("nichts"), issued_page(12)]).await;
    assert_eq!(waits_for(&submission), ("12", 5));
}

#[tokio::test]
async fn chain_and_crl_are_those_of_the_newest_certificate_of_the_ca() {
    let world = world();
    let below = world.authority.below(KeyAlgorithm::EcdsaP256);
    let chain: Vec<_> = below.chain();
    let both = certs_only::write(&[chain[0].der(), chain[1].der()], &[], SetOrder::AsGiven);
    let crl = crate::x509::crl::CrlTemplate {
        issuer: below.certificate.subject().clone(),
        authority_key_identifier: below.certificate.subject_key_identifier().unwrap(),
        number: 1,
        this_update: jiff::Timestamp::now(),
        next_update: jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1),
        revoked: Vec::new(),
    };
    let crl = crl.sign(&*below.signer, below.signer.algorithms()[0]).unwrap();
    let list = |renewals: &str| html(&format!("<script>var nRenewals={renewals};</script>"));
    let plays = [
        list("2"),
        Play::body(200, "application/x-pkcs7-certificates", pem::write("CERTIFICATE", &both)),
        html("ohne Zahl"),
        html("nichts"),
        pem_of(&below.certificate),
        list("2"),
        Play::body(200, "application/pkix-crl", pem::write("X509 CRL", &crl)),
        list("0"),
        Play::body(200, "application/pkix-crl", crl.clone()),
        list("0"),
        html("nichts"),
    ];
    let peer = Scripted::playing(plays).await;
    let pages = open(&peer, &settings());
    assert_eq!(pages.certificates(&world.ca).await.unwrap().len(), 2);
    assert_eq!(pages.certificates(&world.ca).await.unwrap()[0].der(), below.certificate.der());
    for _ in 0..2 {
        assert_eq!(Connector::crl(&pages, &world.ca).await.unwrap(), Some(crl.clone()));
    }
    assert!(Connector::crl(&pages, &world.ca).await.is_err());
    let targets: Vec<_> = peer.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets[1], "/certsrv/certnew.p7b?ReqID=CACert&Renewal=2&Enc=b64");
    assert_eq!(targets[3], "/certsrv/certnew.p7b?ReqID=CACert&Renewal=-1&Enc=b64");
    assert_eq!(targets[4], "/certsrv/certnew.cer?ReqID=CACert&Renewal=-1&Enc=b64");
    assert_eq!(targets[6], "/certsrv/certcrl.crl?Type=base&Renewal=2&Enc=b64");
}

#[tokio::test]
async fn it_says_what_it_cannot() {
    let world = world();
    let peer = Scripted::playing([]).await;
    let pages = open(&peer, &settings());
    let able = pages.abilities(&world.ca);
    assert!(able.can_wait && able.sees_challenge && !able.can_revoke && !able.can_find_again && !able.overrides_subject);
    assert!(Connector::revoke(&pages, &world.ca, &world.certificate, RevocationReason::Unspecified).await.is_err());
    assert!(peer.seen().is_empty());
}
