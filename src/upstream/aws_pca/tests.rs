//! The connector against a stub of the API: what it sends, and what it makes of each answer. No real AWS Private CA was asked.

use super::credentials::Credentials;
use super::*;
use crate::algorithm::KeyAlgorithm;
use crate::upstream::remote::Connector;
use crate::upstream::secret::SecretSource;
use crate::upstream::testing::{self, Play, Scripted, Seen, TestCa};
use crate::x509::{DistinguishedName, SubjectAltName, extension};

const ARN: &str = "arn:aws:acm-pca:eu-central-1:111122223333:certificate-authority/c0";
const ISSUED: &str = "arn:aws:acm-pca:eu-central-1:111122223333:certificate-authority/c0/certificate/5e";

fn exception(kind: &str) -> Play {
    Play::json(400, &json!({ "__type": format!("com.amazonaws.acmpca#{kind}"), "message": "because" }))
}

/// A key as the core makes it, so many seconds ago.
fn key(seconds: i64) -> IdempotencyKey {
    let milliseconds = Timestamp::now().as_millisecond() - seconds * 1000;
    let mut key = [0x75; 16];
    key[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
    key[8] = 0x80;
    IdempotencyKey(key)
}

fn connector(ca: &TestCa, peer: &Scripted, template: Option<&str>) -> AwsPca {
    opened(ca, peer.http(), template).unwrap()
}

fn opened(ca: &TestCa, http: Http, template: Option<&str>) -> Result<AwsPca, RemoteError> {
    let secret = ca.file("secret");
    std::fs::write(&secret, "wJalrXUtnFEMI").unwrap();
    let id = ca.file("id");
    std::fs::write(&id, "AKIDEXAMPLE").unwrap();
    let token = ca.file("token");
    std::fs::write(&token, "session").unwrap();
    let file = SecretSource::File;
    let settings = AwsPcaSettings {
        region: "eu-central-1".into(),
        credentials: CredentialSource::Static { id: file(id), secret: file(secret), token: Some(file(token)) },
        cas: BTreeMap::from([("devices".into(), AwsCa { arn: ARN.into(), template: template.map(str::to_owned) })]),
    };
    AwsPca::open(&settings, http)
}

/// Whether the signature of a request is that of its header fields and body.
fn is_signed(seen: &Seen) {
    let names = ["content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"];
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (*name, seen.header(name))).collect();
    let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", seen.header("x-amz-date")).unwrap();
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    assert!(at.duration_since(Timestamp::now()).abs() < jiff::SignedDuration::from_mins(1));
    let scope = sigv4::Scope { region: "eu-central-1", service: "acm-pca", at };
    let key = sigv4::Key { id: "AKIDEXAMPLE".into(), secret: "wJalrXUtnFEMI".to_owned().into(), token: None };
    assert_eq!(seen.header("authorization"), sigv4::authorization(&key, &scope, ("POST", "/"), &headers, &seen.body));
    assert_eq!((seen.header("x-amz-security-token"), seen.target.as_str()), ("session", "/"));
}

#[tokio::test]
async fn an_order_is_issued_asked_after_and_revoked() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (remote, order) = (ca.remote_ca("devices"), ca.order("devices"));
    let (issued, pem) = (ca.issue(&order), ca.certificate.to_pem());
    let peer = Scripted::playing([
        Play::json(200, &json!({ "CertificateArn": ISSUED })),
        exception("RequestInProgressException"),
        exception("ThrottlingException"),
        Play::json(200, &json!({ "Certificate": issued.to_pem(), "CertificateChain": pem })),
        Play::status(200),
        exception("RequestAlreadyProcessedException"),
        Play::json(200, &json!({ "Certificate": pem })),
        Play::json(200, &json!({ "CertificateAuthority": { "Status": "ACTIVE" } })),
        Play::json(200, &json!({ "CertificateAuthority": { "Status": "DISABLED" } })),
    ])
    .await;
    let aws = connector(&ca, &peer, None);
    let Submission::Waiting { reference, .. } = aws.submit(&remote, &order, &key(0)).await else { panic!() };
    assert_eq!(reference, ISSUED);
    let Submission::Waiting { reference: again, .. } = aws.poll(&remote, &order, &reference).await else { panic!() };
    assert_eq!(again, ISSUED);
    assert!(matches!(aws.poll(&remote, &order, &reference).await, Submission::NotTaken { .. }));
    let Submission::Issued { certificate, .. } = aws.poll(&remote, &order, &reference).await else { panic!() };
    assert_eq!(certificate.der(), issued.der());
    for _ in 0..2 {
        aws.revoke(&remote, &certificate, RevocationReason::Superseded).await.unwrap();
    }
    assert_eq!(aws.certificates(&remote).await.unwrap()[0].der(), ca.certificate.der());
    assert_eq!(aws.check(&remote).await.unwrap(), Vec::<String>::new());
    assert_eq!(aws.check(&remote).await.unwrap(), ["the CA is DISABLED"]);

    let seen = peer.seen();
    seen.iter().for_each(is_signed);
    let targets: Vec<&str> = seen.iter().map(|seen| seen.header("x-amz-target").strip_prefix("ACMPrivateCA.").unwrap()).collect();
    let get = "GetCertificate";
    let revoke = "RevokeCertificate";
    let describe = "DescribeCertificateAuthority";
    let expected = ["IssueCertificate", get, get, get, revoke, revoke, "GetCertificateAuthorityCertificate", describe, describe];
    assert_eq!(targets, expected);
    let wanted = seen[0].json();
    let csr = STANDARD.decode(wanted["Csr"].as_str().unwrap()).unwrap();
    assert_eq!(pem::read(&String::from_utf8(csr).unwrap(), "CERTIFICATE REQUEST").unwrap(), std::slice::from_ref(&order.csr));
    assert_eq!(wanted["SigningAlgorithm"], "SHA256WITHECDSA");
    assert_eq!(wanted["Validity"], json!({ "Type": "ABSOLUTE", "Value": order.not_after.as_second() }));
    assert!(wanted["IdempotencyToken"].as_str().unwrap().len() <= 36);
    assert!(wanted["ApiPassthrough"].is_null() && wanted["TemplateArn"].is_null());
    assert_eq!(seen[1].json(), json!({ "CertificateAuthorityArn": ARN, "CertificateArn": ISSUED }));
    assert_eq!(seen[4].json()["RevocationReason"], "SUPERSEDED");
    // As AWS writes it in its guide to the operation.
    let sent = seen[4].json()["CertificateSerial"].as_str().unwrap().to_owned();
    assert_eq!((sent.replace(':', ""), sent.matches(':').count()), (issued.serial_hex(), issued.serial_hex().len() / 2 - 1));
    assert!(sent.split(':').all(|pair| pair.len() == 2), "{sent}");
    assert!(aws.revoke(&remote, &certificate, RevocationReason::CertificateHold).await.is_err());
}

#[tokio::test]
async fn templates_say_what_may_be_set() {
    let ca = TestCa::new(KeyAlgorithm::MlDsa65);
    let (remote, mut order) = (ca.remote_ca("devices"), ca.order("devices"));
    order.subject = DistinguishedName::parse("O=Example,CN=router-1", true).unwrap().der().to_vec();
    let names = [SubjectAltName::Dns("a.example".into()), SubjectAltName::Ip([10, 0, 0, 1].into())];
    order.subject_alt_names = extension::subject_alt_names(&names).unwrap();
    let issued = || Play::json(200, &json!({ "CertificateArn": ISSUED }));
    let peer = Scripted::playing([issued(), issued(), issued(), issued()]).await;

    let blank = "arn:aws:acm-pca:::template/BlankEndEntityCertificate_APICSRPassthrough/V1";
    let aws = connector(&ca, &peer, Some(blank));
    let able = aws.abilities(&remote);
    assert!(able.overrides_subject && able.overrides_subject_alt_names && able.overrides_usages && able.overrides_validity);
    aws.submit(&remote, &order, &key(0)).await;
    let wanted = peer.seen()[0].json();
    assert_eq!((&wanted["SigningAlgorithm"], &wanted["TemplateArn"]), (&json!("ML_DSA_65"), &json!(blank)));
    assert_eq!(
        wanted["ApiPassthrough"],
        json!({
            "Subject": { "CustomAttributes": [
                { "ObjectIdentifier": "2.5.4.10", "Value": "Example" }, { "ObjectIdentifier": "2.5.4.3", "Value": "router-1" },
            ] },
            "Extensions": {
                "SubjectAlternativeNames": [{ "DnsName": "a.example" }, { "IpAddress": "10.0.0.1" }],
                "ExtendedKeyUsage": [{ "ExtendedKeyUsageObjectIdentifier": "1.3.6.1.5.5.7.3.2" }],
                "KeyUsage": { "DigitalSignature": true },
            },
        })
    );
    // What a template says of usages itself counts more than what it is given.
    let aws = connector(&ca, &peer, Some("arn:aws:acm-pca:::template/EndEntityClientAuthCertificate_APIPassthrough/V1"));
    let able = aws.abilities(&remote);
    assert!(able.overrides_subject && !able.overrides_usages);
    aws.submit(&remote, &order, &key(0)).await;
    assert!(peer.seen()[1].json()["ApiPassthrough"]["Extensions"]["KeyUsage"].is_null());
    let able = connector(&ca, &peer, None).abilities(&remote);
    assert!(!able.overrides_subject && able.can_find_again && able.can_wait && able.can_revoke);

    // What the API is not given comes from the CSR, so that nothing of that can be left out.
    let rejected = async |template: &str, order: &IssuanceOrder| {
        let submitted = connector(&ca, &peer, Some(template)).submit(&remote, order, &key(0)).await;
        matches!(submitted, Submission::Rejected { reason } if reason.contains("cannot leave out"))
    };
    let names_only = "arn:aws:acm-pca:::template/EndEntityCertificate_APIPassthrough/V1";
    let no_names = IssuanceOrder { subject_alt_names: Vec::new(), ..order.clone() };
    let no_subject = IssuanceOrder { subject: vec![0x30, 0], ..order.clone() };
    let no_usages = IssuanceOrder { extended_key_usages: Vec::new(), ..order.clone() };
    for (template, order) in [(names_only, &no_names), (names_only, &no_subject), (blank, &no_names), (blank, &no_usages)] {
        assert!(rejected(template, order).await);
    }
    assert_eq!(peer.seen().len(), 2);
    for template in [names_only, "arn:aws:acm-pca:::template/BlankEndEntityCertificate_APIPassthrough/V1"] {
        assert!(!rejected(template, &no_usages).await);
        assert!(peer.seen().last().unwrap().json()["ApiPassthrough"]["Extensions"]["ExtendedKeyUsage"].is_null());
    }

    order.subject_alt_names = extension::subject_alt_names(&[SubjectAltName::Other(vec![0x88, 1, 42])]).unwrap();
    assert!(matches!(aws.submit(&remote, &order, &key(0)).await, Submission::Rejected { .. }));
    order.signature = SignatureAlgorithm::Ed25519;
    assert!(matches!(aws.submit(&remote, &order, &key(0)).await, Submission::Rejected { .. }));
    assert_eq!(peer.seen().len(), 4);
}

/// The path is signed, and the API has none.
#[test]
fn an_address_with_a_path_is_refused() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let open = |url: &str| opened(&ca, Http::open(&testing::settings(url), "").unwrap(), None);
    assert!(open("http://127.0.0.1:1").is_ok() && open("http://127.0.0.1:1/").is_ok());
    for url in ["http://127.0.0.1:1/prod", "http://127.0.0.1:1/prod/", "http://127.0.0.1:1/?a=b"] {
        assert!(open(url).is_err_and(|error| error.to_string().contains("has no path")), "{url}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_while_the_token_holds() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (remote, order) = (ca.remote_ca("devices"), ca.order("devices"));
    let peer = Scripted::playing([Play::Cut, Play::json(200, &json!({ "CertificateArn": ISSUED })), Play::status(503)]).await;
    let aws = connector(&ca, &peer, None);
    let lately = key(100);
    assert!(matches!(aws.submit(&remote, &order, &lately).await, Submission::Unknown { .. }));
    assert!(matches!(aws.find(&remote, &order, &lately).await, Submission::Waiting { .. }));
    assert_eq!(peer.seen()[0].json(), peer.seen()[1].json());
    // The first one may have been taken, whatever is said of the second.
    assert!(matches!(aws.find(&remote, &order, &lately).await, Submission::Unknown { .. }));
    // Later, or with a key of another make, the same order would be another one.
    for too_old in [key(250), key(86400), IdempotencyKey([0xff; 16])] {
        assert!(matches!(aws.find(&remote, &order, &too_old).await, Submission::Lost { .. }));
    }
    assert_eq!(peer.seen().len(), 3);
    let made = IdempotencyKey(*uuid::Uuid::now_v7().as_bytes());
    assert!(Timestamp::now().duration_since(made_at(&made).unwrap()).abs() < jiff::SignedDuration::from_secs(5));
}

#[tokio::test]
async fn exceptions_say_whether_the_order_was_taken() {
    let ca = TestCa::new(KeyAlgorithm::EcdsaP256);
    let (remote, order) = (ca.remote_ca("devices"), ca.order("devices"));
    let name = |submission: &Submission| match submission {
        Submission::NotTaken { .. } => "not-taken",
        Submission::Rejected { .. } => "rejected",
        Submission::Waiting { .. } => "waiting",
        _ => "unclear",
    };
    let internal = Play::json(500, &json!({ "__type": "InternalFailure", "message": "" }));
    for (play, submitted, polled) in [
        (exception("ThrottlingException"), "not-taken", "not-taken"),
        (exception("LimitExceededException"), "not-taken", "not-taken"),
        (exception("UnrecognizedClientException"), "not-taken", "not-taken"),
        (exception("AccessDeniedException"), "not-taken", "not-taken"),
        (exception("InvalidStateException"), "not-taken", "not-taken"),
        (exception("MalformedCSRException"), "rejected", "waiting"),
        (exception("InvalidArgsException"), "rejected", "waiting"),
        (exception("ValidationException"), "rejected", "waiting"),
        (exception("InvalidArnException"), "not-taken", "not-taken"),
        // AWS says of it that the network failed, and to try again.
        (exception("RequestFailedException"), "unclear", "not-taken"),
        (exception("RequestAbortedException"), "unclear", "not-taken"),
        (internal, "unclear", "not-taken"),
        (Play::status(503), "unclear", "not-taken"),
        (Play::status(503).header("Retry-After", "5"), "not-taken", "not-taken"),
        (Play::status(500), "unclear", "not-taken"),
        (Play::body(200, "text/html", "<html>"), "unclear", "not-taken"),
        (Play::Cut, "unclear", "not-taken"),
    ] {
        let peer = Scripted::playing([play.clone(), play.clone()]).await;
        let aws = connector(&ca, &peer, None);
        let found = (aws.submit(&remote, &order, &key(0)).await, aws.poll(&remote, &order, ISSUED).await);
        assert_eq!((name(&found.0), name(&found.1)), (submitted, polled), "{play:?}");
    }
}

#[tokio::test]
async fn containers_and_instances_are_given_keys_that_are_kept_while_they_hold() {
    let end = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let given = move |id: &str, end: Timestamp| {
        let given = json!({ "AccessKeyId": id, "SecretAccessKey": "s3cret", "Token": "t", "Expiration": end.to_string() });
        Play::json(200, &given)
    };
    let peer = Scripted::answering(move |seen| match (seen.method.as_str(), seen.target.as_str()) {
        ("PUT", "/latest/api/token") => Play::body(200, "text/plain", "imds"),
        (_, "/latest/meta-data/iam/security-credentials/") => Play::body(200, "text/plain", "role-1\n"),
        (_, "/latest/meta-data/iam/security-credentials/role-1") => {
            assert_eq!(seen.header("x-aws-ec2-metadata-token"), "imds");
            given("INSTANCE", end)
        }
        (_, "/pod") => {
            assert_eq!(seen.header("authorization"), "agent");
            // It ends so soon that it is asked for each time.
            given("POD", Timestamp::now() + jiff::SignedDuration::from_mins(1))
        }
        other => panic!("{other:?}"),
    })
    .await;
    let url = peer.url();
    let variables = move |name: &str| match name {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT" => Some(url.clone()),
        "AWS_CONTAINER_CREDENTIALS_FULL_URI" => Some(format!("{url}/pod")),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN" => Some("agent".to_owned()),
        _ => None,
    };
    let instance = Credentials::with_environment(&CredentialSource::Instance, &variables).unwrap();
    for _ in 0..2 {
        let key = instance.key().await.unwrap();
        assert_eq!((key.id.as_str(), key.token.as_ref().unwrap().as_str()), ("INSTANCE", "t"));
        assert!(!format!("{key:?}").contains("s3cret"));
    }
    assert_eq!(peer.seen().len(), 3);
    let container = Credentials::with_environment(&CredentialSource::Container, &variables).unwrap();
    for _ in 0..2 {
        assert_eq!(container.key().await.unwrap().id, "POD");
    }
    assert_eq!(peer.seen().len(), 5);
    assert!(Credentials::with_environment(&CredentialSource::Container, &|_| None).is_err());
}
