use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use der::oid::ObjectIdentifier;

use super::*;
use crate::algorithm::KeyAlgorithm;
use crate::scep::certs_only::{self, SetOrder};
use crate::upstream::testing::{Play, Scripted, TestCa};
use crate::x509::tlv::{encode, encode_oid, tag};

const CA: &str = "devices";

fn plain() -> EstSettings {
    EstSettings {
        username: None,
        password: None,
        repeats: Repeats::NewCertificate,
        longest_wait: Duration::from_secs(3600),
        labels: BTreeMap::new(),
    }
}

fn est(peer: &Scripted, settings: &EstSettings) -> Est {
    Est::open(settings, peer.http()).unwrap()
}

fn message(certificates: &[&Certificate]) -> Vec<u8> {
    let certificates: Vec<_> = certificates.iter().map(|one| one.der()).collect();
    certs_only::write(&certificates, &[], SetOrder::AsGiven)
}

fn base64(certificates: &[&Certificate]) -> String {
    STANDARD.encode(message(certificates))
}

fn pkcs7(body: impl Into<Vec<u8>>) -> Play {
    Play::body(200, "application/pkcs7-mime; smime-type=certs-only", body)
}

fn ca() -> TestCa {
    TestCa::new(KeyAlgorithm::EcdsaP256)
}

const KEY: IdempotencyKey = IdempotencyKey([7; 16]);

fn issued(submission: Submission) -> (Arc<Certificate>, Vec<Arc<Certificate>>) {
    match submission {
        Submission::Issued { certificate, chain } => (certificate, chain),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_request_goes_as_it_is() {
    let root = ca();
    let ca = root.below(KeyAlgorithm::EcdsaP384);
    let order = ca.order(CA);
    let leaf = ca.issue(&order);
    let peer = Scripted::playing([pkcs7(base64(&[&leaf])), pkcs7(base64(&[&root.certificate, &leaf, &ca.certificate]))]).await;
    let password = ca.file("password");
    std::fs::write(&password, "est pwd\n").unwrap();
    let settings = EstSettings {
        username: Some("ra".into()),
        password: Some(SecretSource::File(password)),
        labels: [(CA.to_owned(), Some("IOT_1/devices".to_owned()))].into(),
        ..plain()
    };
    let est = est(&peer, &settings);
    let (alone, chain) = issued(est.submit(&ca.remote_ca(CA), &order, &KEY).await);
    assert_eq!((alone.der(), chain.len()), (leaf.der(), 0));
    let seen = &peer.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/.well-known/est/IOT_1/devices/simpleenroll"));
    assert_eq!(seen.header("content-type"), "application/pkcs10");
    assert_eq!(seen.header("authorization"), format!("Basic {}", STANDARD.encode("ra:est pwd")));
    assert!(
        seen.text().lines().count() > 3 && seen.text().lines().all(|line| line.len() <= 64),
        "servers built on OpenSSL want lines"
    );
    assert_eq!(STANDARD.decode(seen.text().replace('\n', "")).unwrap(), order.csr);

    // One that gives what is above it, in any order.
    let (_, chain) = issued(est.submit(&ca.remote_ca(CA), &order, &KEY).await);
    let chain: Vec<_> = chain.iter().map(|one| one.der()).collect();
    assert_eq!(chain, [ca.certificate.der(), root.certificate.der()]);

    // Who is not listed has no label; an address that has the path already does not get it twice.
    let http = crate::upstream::http::HttpSettings { url: format!("{}/.well-known/est/", peer.url()), ..peer.settings() };
    let est = Est::open(&plain(), Http::open(&http, "").unwrap()).unwrap();
    let _ = est.certificates(&ca.remote_ca("other")).await;
    assert_eq!(peer.seen()[2].target, "/.well-known/est/cacerts");
}

#[tokio::test]
async fn certificates_are_read_in_all_the_ways_they_come() {
    let ca = ca();
    let one = &*ca.certificate;
    let der = message(&[one]);
    let text = STANDARD.encode(&der);
    let lines: String = text.as_bytes().chunks(64).map(|line| format!("{}\r\n", std::str::from_utf8(line).unwrap())).collect();
    let part = |kind: &str| {
        format!(
            "preamble\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\nContent-Type: {kind}\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n{lines}--b1--\r\nafter"
        )
    };
    let good = [
        pkcs7(text.clone()),
        pkcs7(lines.clone()).header("Content-Transfer-Encoding", "binary"),
        pkcs7(text.trim_end_matches('=')),
        pkcs7(der.clone()),
        Play::body(200, "text/plain", lines.clone()),
        pkcs7(crate::x509::pem::write("PKCS7", &der)),
        pkcs7(one.to_pem()),
        Play::body(200, "multipart/mixed; boundary=\"b1\"", part("application/pkcs7-mime; smime-type=certs-only")),
    ];
    let bad = [
        pkcs7(""),
        pkcs7("not base64!"),
        pkcs7(&der[..der.len() - 1]),
        Play::body(200, "text/html", "<p>welcome"),
        Play::body(200, "text/html", format!("<pre>{}</pre>", one.to_pem())),
        Play::body(200, "multipart/mixed; boundary=b1", part("application/pkcs8")),
        Play::body(200, "multipart/mixed; boundary=b1", "--b1"),
        Play::status(204),
    ];
    let (goods, bads) = (good.len(), bad.len());
    let peer = Scripted::playing(good.into_iter().chain(bad)).await;
    let est = est(&peer, &plain());
    let remote = ca.remote_ca(CA);
    for at in 0..goods {
        let read = est.certificates(&remote).await.unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(read.iter().map(|one| one.der()).collect::<Vec<_>>(), [one.der()], "{at}");
    }
    for at in 0..bads {
        let read = est.certificates(&remote).await;
        assert!(matches!(&read, Err(CallError::Unclear(why)) if why.contains("certs-only")), "{at}: {read:?}");
    }
}

#[tokio::test]
async fn a_server_that_lets_wait_is_sent_the_same_again() {
    let ca = ca();
    let order = ca.order(CA);
    let leaf = ca.issue(&order);
    let peer = Scripted::playing([
        Play::status(202).header("Retry-After", "120"),
        Play::status(202).header("Retry-After", "86400"),
        Play::status(202),
        Play::status(202).header("Retry-After", "0"),
        Play::status(503).header("Retry-After", "15"),
        pkcs7(base64(&[&leaf])),
    ])
    .await;
    let est = est(&peer, &plain());
    let remote = ca.remote_ca(CA);
    let mut submission = est.submit(&remote, &order, &KEY).await;
    let mut waits = Vec::new();
    loop {
        match submission {
            Submission::Waiting { retry_after, .. } => waits.push(Some(retry_after.as_secs())),
            Submission::NotTaken { .. } => waits.push(None),
            _ => break,
        }
        submission = est.poll(&remote, &order, REFERENCE).await;
    }
    assert_eq!(issued(submission).0.der(), leaf.der());
    assert_eq!(waits, [Some(120), Some(3600), Some(60), Some(1), None], "an hour is the longest here");
    let seen = peer.seen();
    assert!(seen.iter().all(|one| one.body == seen[0].body && one.target == seen[0].target));
}

#[tokio::test]
async fn after_a_lost_answer_nobody_knows() {
    let ca = ca();
    let order = ca.order(CA);
    let leaf = ca.issue(&order);
    let script = || [Play::Cut, Play::Cut, pkcs7(base64(&[&leaf])).cut_in_body(9), Play::status(500), Play::status(200)];
    let peer = Scripted::playing(script()).await;
    let remote = ca.remote_ca(CA);
    let strict = est(&peer, &plain());
    assert!(!strict.abilities(&remote).can_find_again);
    for at in 0..5 {
        let submission = match at {
            0 => strict.submit(&remote, &order, &KEY).await,
            _ => strict.poll(&remote, &order, REFERENCE).await,
        };
        assert!(matches!(submission, Submission::Unknown { .. }), "{at}: {submission:?}");
    }

    // A server that is known to repeat itself is asked again.
    let peer = Scripted::playing([Play::Cut, Play::Cut, pkcs7(base64(&[&leaf]))]).await;
    let lax = est(&peer, &EstSettings { repeats: Repeats::SameCertificate, ..plain() });
    assert!(lax.abilities(&remote).can_find_again);
    assert!(matches!(lax.submit(&remote, &order, &KEY).await, Submission::Unknown { .. }));
    assert!(matches!(lax.poll(&remote, &order, REFERENCE).await, Submission::NotTaken { .. }));
    assert_eq!(issued(lax.find(&remote, &order, &KEY).await).0.der(), leaf.der());
}

#[tokio::test]
async fn what_is_wrong_on_our_side_is_no_devices_fault() {
    let ca = ca();
    let order = ca.order(CA);
    let statuses = [401, 403, 404, 405, 501, 503, 429];
    let peer = Scripted::playing(statuses.map(|status| Play::status(status).header("Retry-After", "5"))).await;
    let est = est(&peer, &plain());
    let remote = ca.remote_ca(CA);
    for status in statuses {
        let submission = est.submit(&remote, &order, &KEY).await;
        let Submission::NotTaken { reason, .. } = submission else { panic!("{status}: {submission:?}") };
        assert_eq!(reason.contains("id-kp-cmcRA"), status == 401 || status == 403, "{reason}");
        assert!(reason.contains(&status.to_string()), "{reason}");
    }
    // The request itself is not liked.
    let peer = Scripted::playing([Play::body(400, "text/plain", "subject not permitted")]).await;
    let said = self::est(&peer, &plain()).submit(&remote, &order, &KEY).await;
    assert!(matches!(&said, Submission::Rejected { reason } if reason.contains("subject not permitted")), "{said:?}");
}

#[tokio::test]
async fn a_certificate_for_another_key_is_handed_on_to_be_looked_at() {
    let ca = ca();
    let order = ca.order(CA);
    let (other, another) = (ca.issue(&ca.order(CA)), ca.issue(&ca.order(CA)));
    let peer = Scripted::playing([
        pkcs7(base64(&[&other])),
        pkcs7(base64(&[&other, &another])),
        pkcs7(base64(&[&ca.certificate])),
        pkcs7(base64(&[])),
    ])
    .await;
    let est = est(&peer, &plain());
    let remote = ca.remote_ca(CA);
    assert_eq!(issued(est.submit(&remote, &order, &KEY).await).0.der(), other.der());
    for _ in 0..3 {
        let unclear = est.submit(&remote, &order, &KEY).await;
        assert!(matches!(unclear, Submission::Unknown { .. }), "{unclear:?}");
    }
}

#[tokio::test]
async fn a_check_tells_what_a_server_wants_and_whether_we_are_let_in() {
    let ca = ca();
    let remote = ca.remote_ca(CA);
    let oid = |dotted: &str| encode_oid(&ObjectIdentifier::new(dotted).unwrap());
    let curve = encode(tag::SEQUENCE, &[oid("1.2.840.10045.2.1"), encode(tag::SET, &[oid("1.3.132.0.34")])]);
    let wanted = STANDARD.encode(encode(tag::SEQUENCE, &[curve, oid("1.2.3.4"), oid("1.2.840.113549.1.9.7")]));
    let attributes = move |body: String| Play::body(200, "application/csrattrs", body);

    let peer = Scripted::playing([attributes(wanted), Play::body(400, "text/plain", "no request")]).await;
    let est = self::est(&peer, &plain());
    assert_eq!(est.check(&remote).await.unwrap(), [""; 0], "what it wants is no reason not to try");
    let remarks = est.remarks(&remote).join("\n");
    for part in ["attributes 1.2.3.4", "challengePassword", "ecdsa-p384"] {
        assert!(remarks.contains(part), "{remarks}");
    }
    let seen = peer.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", "/.well-known/est/csrattrs"));
    assert_eq!((seen[1].method.as_str(), seen[1].target.as_str()), ("POST", "/.well-known/est/simpleenroll"));
    assert_eq!(seen[1].text(), "MAA=\n", "no request at all");

    let found = async |attributes: Play, enroll: Play| {
        let peer = Scripted::playing([attributes, enroll]).await;
        let est = self::est(&peer, &plain());
        let findings = est.check(&remote).await.unwrap();
        [findings, est.remarks(&remote)].concat()
    };
    for none in [Play::status(204), Play::status(404), Play::status(200), attributes("MAA=\0".into())] {
        assert_eq!(found(none, Play::status(400)).await, [""; 0]);
    }
    assert!(found(attributes("MAUGA1UE".into()), Play::status(400)).await[0].contains("cannot be read"));
    assert!(found(Play::status(204), Play::status(401)).await[0].contains("does not accept us"));
    assert!(found(Play::status(204), Play::status(404)).await[0].contains("no enrollment at this address"));
    assert!(found(Play::status(204), Play::status(202)).await[0].contains("no request at all was answered"));
    assert_eq!(found(Play::status(403), Play::status(403)).await.len(), 2);
}
