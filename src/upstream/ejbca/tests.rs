//! Against an EJBCA of our own, which keeps to the published description. It was never run against a real one.

use std::time::Duration;

use super::*;
use crate::algorithm::KeyAlgorithm;
use crate::upstream::testing::{Play, Scripted, TestCa};

mod contract;
mod fake;

use contract::Contract;
use fake::{BASE, Fake, Trouble};

const KEY: IdempotencyKey = IdempotencyKey([7; 16]);
const USERNAME: &str = "ravelin-07070707070707070707070707070707";

fn ca_settings() -> EjbcaCa {
    EjbcaCa {
        authority: "Issuing".into(),
        certificate_profile: "DEVICE".into(),
        end_entity_profile: "Devices".into(),
        username: "ravelin-{key}".parse().unwrap(),
        account: None,
        email: None,
        dn: None,
    }
}

fn settings(ca: EjbcaCa, settle: Duration) -> EjbcaSettings {
    let cas = BTreeMap::from([("issuing".to_owned(), ca)]);
    EjbcaSettings { token: None, settle, poll_interval: Duration::from_secs(9), cas }
}

fn open(peer: &Scripted, settings: &EjbcaSettings) -> Ejbca {
    let mut http = peer.settings();
    http.url = format!("{}{BASE}/", peer.url());
    Ejbca::open(settings, Http::open(&http, "").unwrap()).unwrap()
}

/// An EJBCA, a connector to it that waits `settle` after an unclear submission, and the CA as it is configured.
async fn world(settle: Duration) -> (Arc<Fake>, Scripted, Ejbca, RemoteCa) {
    let (fake, peer) = Fake::start(TestCa::new(KeyAlgorithm::EcdsaP256)).await;
    let ejbca = open(&peer, &settings(ca_settings(), settle));
    let ca = fake.ca.remote_ca("issuing");
    (fake, peer, ejbca, ca)
}

const LONG: Duration = Duration::from_secs(3600);

fn asked(peer: &Scripted, what: &str) -> usize {
    peer.seen().iter().filter(|seen| seen.target.contains(what)).count()
}

#[track_caller]
fn issued(submission: Submission) -> Arc<Certificate> {
    let Submission::Issued { certificate, .. } = submission else { panic!("{submission:?}") };
    certificate
}

#[track_caller]
fn unknown(submission: Submission) -> String {
    let Submission::Unknown { reason } = submission else { panic!("{submission:?}") };
    reason
}

#[track_caller]
fn waiting(submission: Submission) -> (String, Duration) {
    let Submission::Waiting { reference, retry_after } = submission else { panic!("{submission:?}") };
    (reference, retry_after)
}

#[track_caller]
fn rejected(submission: Submission) -> String {
    let Submission::Rejected { reason } = submission else { panic!("{submission:?}") };
    reason
}

#[test]
fn our_table_says_what_the_description_says() {
    let Some(description) = Contract::description() else {
        eprintln!("skipped: RAVELIN_EJBCA_OPENAPI does not name EJBCA's openapi.json");
        return;
    };
    let table = Contract::table();
    let agree = |what: &str, ours: &BTreeMap<String, contract::Type>, theirs: &BTreeMap<String, contract::Type>| {
        let names = |types: &BTreeMap<String, contract::Type>| types.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(ours), names(theirs), "{what}");
        for (name, kind) in ours {
            assert!(kind.agrees_with(&theirs[name]), "{what}: {name} is {:?}, and not {kind:?}", theirs[name]);
        }
    };
    for ours in &table.operations {
        let same = |theirs: &&contract::Operation| theirs.method == ours.method && theirs.path == ours.path;
        let theirs =
            description.operations.iter().find(same).unwrap_or_else(|| panic!("there is no {} {}", ours.method, ours.path));
        agree(&ours.path, &ours.parameters, &theirs.parameters);
        agree(&ours.path, &ours.query, &theirs.query);
        assert_eq!((&ours.body, &ours.answers), (&theirs.body, &theirs.answers), "{}", ours.path);
    }
    for (name, ours) in &table.objects {
        agree(name, ours, &description.objects[name]);
    }
}

#[tokio::test]
async fn it_enrolls_as_the_description_has_it() {
    let (fake, peer, ejbca, ca) = world(LONG).await;
    let order = fake.ca.order("issuing");
    assert_eq!(issued(ejbca.submit(&ca, &order, &KEY).await).spki(), order.spki);
    let body = peer.seen()[0].json();
    // A chain that it cannot give would turn a success into a failure.
    assert_eq!((body["username"].as_str(), body["include_chain"].as_bool()), (Some(USERNAME), Some(false)));
    assert_eq!(STANDARD.decode(body["certificate_request"].as_str().unwrap()).unwrap(), order.csr);
    let code = body["password"].as_str().unwrap();
    assert_eq!(code.len(), 32);
    assert!(!code.contains("0707"), "the code does not follow from the name");
    assert!(body.get("account_binding_id").is_none() && body.get("email").is_none());
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn octets_may_be_encoded_twice_and_201_is_a_success() {
    let (fake, _peer, ejbca, ca) = world(LONG).await;
    fake.twice();
    let order = fake.ca.order("issuing");
    let certificate = issued(ejbca.submit(&ca, &order, &KEY).await);
    assert_eq!(issued(ejbca.find(&ca, &order, &KEY).await).der(), certificate.der());
    assert!(Connector::crl(&ejbca, &ca).await.unwrap().is_some());
    let text = certificate.to_pem();
    assert_eq!(api::octets(&text).unwrap(), certificate.der(), "PEM");
    assert_eq!(api::octets(&STANDARD.encode(&text)).unwrap(), certificate.der(), "PEM in base64");
    assert!(api::octets("no base64!").is_err());

    let answer = serde_json::json!({ "certificate": STANDARD.encode(certificate.der()), "serial_number": "1" });
    let peer = Scripted::playing([Play::json(201, &answer)]).await;
    let other = open(&peer, &settings(ca_settings(), LONG));
    assert_eq!(issued(other.submit(&ca, &order, &KEY).await).der(), certificate.der());
}

#[tokio::test]
async fn a_lost_answer_is_found_and_nothing_is_issued_twice() {
    let (fake, peer, ejbca, ca) = world(Duration::ZERO).await;
    let order = fake.ca.order("issuing");
    fake.trouble([Trouble::LostAnswer]);
    unknown(ejbca.submit(&ca, &order, &KEY).await);
    // Another process finds it too: it has nothing in memory.
    let after_restart = open(&peer, &settings(ca_settings(), Duration::ZERO));
    let found = issued(after_restart.find(&ca, &order, &KEY).await);
    assert_eq!(issued(ejbca.find(&ca, &order, &KEY).await).der(), found.der());
    assert_eq!((asked(&peer, "pkcs10enroll"), fake.filed().len()), (1, 1));
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_absent_is_submitted_again_only_after_a_while() {
    let (fake, peer, ejbca, ca) = world(Duration::from_millis(300)).await;
    let order = fake.ca.order("issuing");
    issued(ejbca.submit(&ca, &fake.ca.order("issuing"), &IdempotencyKey([1; 16])).await);
    fake.trouble([Trouble::LostRequest]);
    unknown(ejbca.submit(&ca, &order, &KEY).await);
    let (reference, after) = waiting(ejbca.find(&ca, &order, &KEY).await);
    assert!(after <= Duration::from_millis(300) && reference == format!("sent/{KEY}"), "{reference} {after:?}");
    waiting(ejbca.poll(&ca, &order, &reference).await);
    assert_eq!(asked(&peer, "pkcs10enroll"), 2, "it may still be on its way");
    tokio::time::sleep(Duration::from_millis(400)).await;
    issued(ejbca.poll(&ca, &order, &reference).await);
    assert_eq!((asked(&peer, "pkcs10enroll"), fake.filed().len()), (3, 2));

    // Of what was sent before a restart nobody knows when it was: the time is counted from the first search.
    let key = IdempotencyKey([8; 16]);
    let after_restart = open(&peer, &settings(ca_settings(), Duration::from_millis(300)));
    waiting(after_restart.find(&ca, &order, &key).await);
    tokio::time::sleep(Duration::from_millis(400)).await;
    issued(after_restart.find(&ca, &order, &key).await);
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_empty_search_proves_nothing_to_who_sees_nothing() {
    let (fake, peer, ejbca, ca) = world(Duration::ZERO).await;
    let order = fake.ca.order("issuing");
    fake.trouble([Trouble::LostAnswer]);
    unknown(ejbca.submit(&ca, &order, &KEY).await);
    fake.blind(true);
    let (reference, after) = waiting(ejbca.find(&ca, &order, &KEY).await);
    assert_eq!(after.as_secs(), 9);
    waiting(ejbca.poll(&ca, &order, &reference).await);
    fake.blind(false);
    issued(ejbca.poll(&ca, &order, &reference).await);
    assert_eq!((asked(&peer, "pkcs10enroll"), fake.filed().len()), (1, 1));
}

#[tokio::test]
async fn what_is_found_may_be_revoked_double_or_somebody_elses() {
    let (fake, _peer, ejbca, ca) = world(Duration::ZERO).await;
    let order = fake.ca.order("issuing");
    fake.file(USERNAME, &order.spki, Some("SUPERSEDED"));
    assert!(rejected(ejbca.find(&ca, &order, &KEY).await).contains("revoked since"));
    let (first, second) = (fake.file(USERNAME, &order.spki, None), fake.file(USERNAME, &order.spki, None));
    let kept = issued(ejbca.find(&ca, &order, &KEY).await);
    let living: Vec<_> = fake.filed().into_iter().filter(|filed| filed.revoked.is_none()).collect();
    assert_eq!((living.len(), living[0].certificate.der()), (1, kept.der()));
    assert!([first.der(), second.der()].contains(&kept.der()));

    let other = fake.ca.order("issuing");
    let key = IdempotencyKey([9; 16]);
    fake.file(&format!("ravelin-{key}"), &order.spki, None);
    assert!(unknown(ejbca.find(&ca, &other, &key).await).contains("another key"));
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_failures_of_an_enrollment_mean() {
    let (fake, peer, ejbca, ca) = world(LONG).await;
    let order = fake.ca.order("issuing");
    let submit = async |trouble: Trouble| {
        fake.trouble([trouble]);
        ejbca.submit(&ca, &order, &KEY).await
    };
    let not_taken = |submission: Submission| match submission {
        Submission::NotTaken { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    // To who sees no certificate at all, that there is none of this order proves nothing.
    assert!(unknown(submit(Trouble::Says(400, "no")).await).contains("proves nothing"));
    unknown(submit(Trouble::Says(400, "The CA is offline")).await);
    fake.file("somebody", &fake.ca.order("issuing").spki, None);
    let reason = rejected(submit(Trouble::Says(400, "User is not allowed\n\u{1b}[2Jto use this subject")).await);
    assert_eq!(reason, "400 Bad Request: User is not allowed [2Jto use this subject");
    rejected(submit(Trouble::Says(422, "The key is too short")).await);
    assert!(not_taken(submit(Trouble::Says(403, "Not authorized")).await).contains("does not let us"));
    not_taken(submit(Trouble::Says(401, "")).await);
    not_taken(submit(Trouble::Says(503, "CA services are not available")).await);
    not_taken(submit(Trouble::Says(400, "The CA is offline")).await);
    let approvals =
        "Single transaction enrollment request rejected since approvals are enabled for this CA (17) or Certificate Profile (5).";
    assert!(not_taken(submit(Trouble::Says(400, approvals)).await).contains("approvals are enabled"));
    assert!(not_taken(submit(Trouble::Page(404)).await).contains("no such interface"));
    unknown(submit(Trouble::Says(500, "General failure.")).await);
    unknown(submit(Trouble::Page(502)).await);
    unknown(submit(Trouble::Page(200)).await);
    assert_eq!((fake.filed().len(), fake.violations()), (1, Vec::new()));

    // A refusal is believed only where there is no certificate, whatever it says.
    issued(submit(Trouble::IssuesAndFails("The publisher is offline")).await);
    assert_eq!(fake.filed().len(), 2);
    let other = IdempotencyKey([5; 16]);
    fake.trouble([Trouble::IssuesAndFails("Internal error.")]);
    issued(ejbca.submit(&ca, &order, &other).await);
    assert_eq!(fake.filed().len(), 3);
    let key = IdempotencyKey([4; 16]);
    let foreign = fake.ca.order("issuing");
    fake.trouble([Trouble::ForKey(foreign.spki.clone())]);
    assert!(unknown(ejbca.submit(&ca, &order, &key).await).contains("not for the key"));
    assert!(asked(&peer, "search") > 0);
}

#[tokio::test]
async fn what_no_search_gave_is_no_reference() {
    let (fake, peer, ejbca, ca) = world(LONG).await;
    let order = fake.ca.order("issuing");
    for wrong in ["", "1", "1/07070707070707070707070707070707", "sent/", "sent/07", "x/07070707070707070707070707070707"] {
        unknown(ejbca.poll(&ca, &order, wrong).await);
    }
    assert!(peer.seen().is_empty());
}

#[tokio::test]
async fn an_account_binding_finds_it_too_and_a_name_that_all_have_does_not() {
    let (fake, peer, _, ca) = world(LONG).await;
    let bound = EjbcaCa { username: "{device}".parse().unwrap(), account: Some("{key}".parse().unwrap()), ..ca_settings() };
    let ejbca = open(&peer, &settings(bound.clone(), Duration::ZERO));
    let order = fake.ca.order("issuing");
    assert!(ejbca.abilities(&ca).can_find_again);
    fake.trouble([Trouble::LostAnswer]);
    unknown(ejbca.submit(&ca, &order, &KEY).await);
    issued(ejbca.find(&ca, &order, &KEY).await);
    assert_eq!((fake.filed().len(), fake.filed()[0].username.as_str()), (1, "router-1"));

    let common = open(&peer, &settings(EjbcaCa { account: None, ..bound }, Duration::ZERO));
    assert!(!common.abilities(&ca).can_find_again);
    fake.trouble([Trouble::Says(400, "no"), Trouble::Says(400, "The CA is offline")]);
    rejected(common.submit(&ca, &order, &KEY).await);
    // Nobody can look whether it came to that before or after.
    unknown(common.submit(&ca, &order, &KEY).await);
    // What cannot be named is not sent.
    let nameless = crate::upstream::IssuanceOrder { device: None, ..order };
    let before = peer.seen().len();
    assert!(rejected(ejbca.submit(&ca, &nameless, &KEY).await).contains("{device}"));
    assert_eq!(peer.seen().len(), before);
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn the_token_is_read_anew_for_each_request() {
    let (fake, peer, _, ca) = world(LONG).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first\n").unwrap();
    let token = Some(SecretSource::File(file.path().to_owned()));
    let ejbca = open(&peer, &EjbcaSettings { token, ..settings(ca_settings(), LONG) });
    ejbca.certificates(&ca).await.unwrap();
    std::fs::write(file.path(), "second").unwrap();
    ejbca.certificates(&ca).await.unwrap();
    let tokens: Vec<_> = peer.seen().iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(tokens, ["Bearer first", "Bearer second"]);
    std::fs::remove_file(file.path()).unwrap();
    let order = fake.ca.order("issuing");
    assert!(matches!(ejbca.submit(&ca, &order, &KEY).await, Submission::NotTaken { .. }));
}

#[tokio::test]
async fn it_revokes_and_revoking_twice_is_no_error() {
    let (fake, peer, ejbca, ca) = world(LONG).await;
    let certificate = issued(ejbca.submit(&ca, &fake.ca.order("issuing"), &KEY).await);
    let reason = RevocationReason::PrivilegeWithdrawn;
    for _ in 0..2 {
        Connector::revoke(&ejbca, &ca, &certificate, reason).await.unwrap();
    }
    assert_eq!(fake.filed()[0].revoked.as_deref(), Some("PRIVILEGES_WITHDRAWN"));
    let unknown = fake.ca.issue(&fake.ca.order("issuing"));
    let refused = Connector::revoke(&ejbca, &ca, &unknown, reason).await.unwrap_err();
    assert!(matches!(&refused, CallError::Refused(said) if said.contains("no such certificate")), "{refused:?}");
    assert!(peer.seen().iter().any(|seen| seen.target.contains("/CN%3DTest%20CA%20")));
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn chain_crl_and_what_is_configured_are_held_against_ejbca() {
    let (fake, peer, ejbca, ca) = world(LONG).await;
    let told = ejbca.certificates(&ca).await.unwrap();
    assert_eq!(told[0].der(), fake.ca.certificate.der());
    crate::x509::crl::read_crl(&Connector::crl(&ejbca, &ca).await.unwrap().unwrap()).unwrap();
    assert_eq!(ejbca.check(&ca).await.unwrap(), Vec::<String>::new());
    let keys = ejbca.subject_keys(&ca).await.unwrap().unwrap();
    let takes = |key| keys.iter().any(|rule| rule.admits(key));
    assert!(takes(KeyAlgorithm::EcdsaP256) && takes(KeyAlgorithm::EcdsaP384) && takes(KeyAlgorithm::MlDsa65));
    assert!(takes(KeyAlgorithm::Rsa(2048)) && takes(KeyAlgorithm::Rsa(3072)));
    assert!(!takes(KeyAlgorithm::Rsa(4096)) && !takes(KeyAlgorithm::Rsa(512)) && !takes(KeyAlgorithm::EcdsaP521));

    let wrong = EjbcaCa { authority: "Isuing".into(), certificate_profile: "DEVISE".into(), ..ca_settings() };
    let findings = open(&peer, &settings(wrong, LONG)).check(&ca).await.unwrap();
    assert_eq!(
        findings,
        ["EJBCA shows us no CA \"Isuing\", but \"Issuing\"", "EJBCA shows us no certificate profile \"DEVISE\""]
    );
    let other = TestCa::new(KeyAlgorithm::EcdsaP256);
    let findings = ejbca.check(&other.remote_ca("issuing")).await.unwrap();
    assert!(findings[0].contains("the file of `chain` begins with the certificate of"), "{findings:?}");
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[test]
fn names_are_written_with_the_common_name_in_front() {
    let name = |text: &str| DistinguishedName::parse(text, true).unwrap();
    assert_eq!(api::dn(&name("C=SE,O=Sample,CN=Example CA")), "CN=Example CA,O=Sample,C=SE");
    assert_eq!(api::dn(&name("CN=Example CA,O=Sample,C=SE")), "CN=Example CA,O=Sample,C=SE");
    assert_eq!(api::dn(&name("O=Sample,OU=CA")), "O=Sample,OU=CA");
    assert_eq!(api::segment("CN=A/B c,O=Ä"), "CN%3DA%2FB%20c%2CO%3D%C3%84");
    assert!(same_name("C=SE,O=Sample,CN=example  ca", &name("CN=Example CA,O=Sample,C=SE")));
    assert!(!same_name("CN=Other", &name("CN=Example CA,O=Sample,C=SE")));
}
