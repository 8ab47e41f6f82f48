//! The messages against their schema, a webhook against a scripted server, programs that are really run.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use super::exec::ExecSettings;
use super::webhook::WebhookSettings;
use super::*;
use crate::algorithm::KeyAlgorithm;
use crate::upstream::http::{Http, HttpSettings};
use crate::upstream::secret::SecretSource;
use crate::upstream::testing::{Play, Scripted, TestCa, settings};

const KEY: IdempotencyKey = IdempotencyKey([7; 16]);

fn ca() -> TestCa {
    TestCa::new(KeyAlgorithm::EcdsaP256)
}

fn can(what: &[Can]) -> DelegateSettings {
    let selectors = BTreeMap::from([("machines".to_owned(), Some("template-7".to_owned()))]);
    DelegateSettings { can: what.iter().copied().collect(), selectors }
}

fn hook(peer: &Scripted, what: &[Can]) -> Delegate {
    webhook::open(&WebhookSettings { delegate: can(what), ..WebhookSettings::default() }, peer.http()).unwrap()
}

// The schema.

/// As much of JSON Schema as the schema uses. Gives what is wrong; an unknown keyword is wrong too.
fn violations(root: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let schema = schema.as_object().unwrap();
    for (keyword, rule) in schema {
        match keyword.as_str() {
            "$schema" | "title" | "$defs" => {}
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                wrong.extend(violations(root, target, value));
            }
            "oneOf" => {
                let all: Vec<_> = rule.as_array().unwrap().iter().map(|one| violations(root, one, value)).collect();
                match all.iter().filter(|one| one.is_empty()).count() {
                    1 => {}
                    0 => wrong.extend(all.into_iter().min_by_key(Vec::len).unwrap()),
                    _ => wrong.push("it fits several".into()),
                }
            }
            "type" => {
                let fits = match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_u64(),
                    other => panic!("type {other}"),
                };
                if !fits {
                    wrong.push(format!("{value} is no {rule}"));
                }
            }
            "required" => {
                let missing = rule.as_array().unwrap().iter().filter(|key| value.get(key.as_str().unwrap()).is_none());
                wrong.extend(missing.map(|key| format!("{key} is missing")));
            }
            "properties" => {
                for (key, inner) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        wrong.extend(violations(root, inner, value));
                    }
                }
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object().unwrap();
                let strange = value.as_object().into_iter().flatten().filter(|(key, _)| !known.contains_key(*key));
                wrong.extend(strange.map(|(key, _)| format!("{key} is not known")));
            }
            "items" => wrong.extend(value.as_array().into_iter().flatten().flat_map(|one| violations(root, rule, one))),
            "enum" if rule.as_array().unwrap().contains(value) => {}
            "const" if rule == value => {}
            "enum" | "const" => wrong.push(format!("{value} is not {rule}")),
            "pattern" => {
                let pattern = regex::Regex::new(rule.as_str().unwrap()).unwrap();
                if !value.as_str().is_some_and(|text| pattern.is_match(text)) {
                    wrong.push(format!("{value} does not match {rule}"));
                }
            }
            other => panic!("keyword {other}"),
        }
    }
    wrong
}

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../docs/src/upstream-webhook.schema.json")).unwrap()
}

fn question(operation: Operation<'_>) -> Value {
    serde_json::from_slice(&Question::new("machines", Some("t"), operation).to_json()).unwrap()
}

#[test]
fn all_questions_fit_the_schema() {
    let (schema, ca) = (schema(), ca());
    let mut order = ca.order("machines");
    order.renews = Some("ab".repeat(32));
    order.key_usage = crate::x509::KeyUsage(0x1ff);
    let names = [
        crate::x509::SubjectAltName::Ip([10, 0, 0, 1].into()),
        crate::x509::SubjectAltName::Other(vec![0x88, 1, 42]),
        crate::x509::SubjectAltName::Uri("tag:example.net,2026:x".into()),
    ];
    order.subject_alt_names = crate::x509::extension::subject_alt_names(&names).unwrap();
    let certificate = ca.issue(&order);
    let mut all = vec![
        question(Operation::submit(&order, &KEY).unwrap()),
        question(Operation::find(&order, &KEY).unwrap()),
        question(Operation::poll(&order, "ticket 5").unwrap()),
        question(Operation::Certificates {}),
        question(Operation::Crl {}),
        question(Operation::Check {}),
    ];
    all.extend(RevocationReason::ALL.iter().map(|reason| question(Operation::revoke(&certificate, *reason))));
    for one in &all {
        let wrong = violations(&schema, &schema["$defs"]["question"], one);
        assert!(wrong.is_empty(), "{one:#}\n{wrong:?}");
    }
    // The schema says no more than is written: each field of an order is there.
    let known = schema["$defs"]["order"]["properties"].as_object().unwrap();
    assert!(known.keys().all(|key| all[0]["order"].get(key).is_some()), "{:#}", all[0]["order"]);
    assert_eq!(all[0]["order"]["subject"]["rdns"][1][0], json!({ "type": "O", "oid": "2.5.4.10", "value": "Example" }));
    assert_eq!(all[0]["order"]["subject_alt_names"][1], json!({ "kind": "other", "value": "#88012a" }));
    assert_eq!(all[0]["order"]["extended_key_usages"][0]["name"], "clientAuth");
    assert_eq!(all[0]["idempotency_key"], "07".repeat(16));

    // And it is no schema that all fits.
    for spoil in [
        |one: &mut Value| one["version"] = json!(2),
        |one: &mut Value| one["operation"] = json!("guess"),
        |one: &mut Value| one["order"]["surprise"] = json!(1),
        |one: &mut Value| one["order"]["csr"] = json!("§"),
        |one: &mut Value| drop(one.as_object_mut().unwrap().remove("ca")),
    ] {
        let mut spoilt = all[0].clone();
        spoil(&mut spoilt);
        assert!(!violations(&schema, &schema["$defs"]["question"], &spoilt).is_empty(), "{spoilt:#}");
    }
}

#[test]
fn all_answers_fit_the_schema_and_read_back() {
    let schema = schema();
    let (reason, retry_after) = ("why".to_owned(), Some(7));
    let answers = [
        Answer::Issued { certificate: "a".into(), chain: vec!["b".into()] },
        Answer::Issued { certificate: "a".into(), chain: vec![] },
        Answer::Waiting { reference: "r".into(), retry_after },
        Answer::Waiting { reference: "r".into(), retry_after: None },
        Answer::NotTaken { reason: reason.clone(), retry_after },
        Answer::Rejected { reason: reason.clone() },
        Answer::Unknown { reason },
        Answer::NotFound,
        Answer::Unsupported,
        Answer::Ok { certificates: vec!["a".into()], crl: Some("b".into()), problems: vec!["c".into()] },
        Answer::Ok { certificates: vec![], crl: None, problems: vec![] },
    ];
    for answer in answers {
        let mut json = serde_json::to_value(&answer).unwrap();
        assert_eq!(json["status"], answer.name());
        assert_eq!(violations(&schema, &schema["$defs"]["answer"], &json), Vec::<String>::new(), "{json}");
        json["of-a-later-version"] = json!(true);
        assert_eq!(Answer::read(json.to_string().as_bytes()).unwrap(), answer);
    }
    for bad in ["", "{}", "[]", r#"{"status":"fine"}"#, r#"{"status":"issued"}"#, r#"{"status":"waiting","reference":5}"#] {
        assert!(matches!(Answer::read(bad.as_bytes()), Err(CallError::Unclear(_))), "{bad}");
    }
}

// The webhook.

#[tokio::test]
async fn a_webhook_is_asked_and_answers() {
    let ca = ca();
    let remote = ca.remote_ca("machines");
    let order = ca.order("machines");
    let issued = ca.issue(&order);
    let pem = ca.certificate.to_pem();
    let der = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, issued.der());
    let peer = Scripted::playing([
        Play::json(200, &json!({ "status": "waiting", "reference": "ticket 5", "retry_after": 3 })),
        Play::json(200, &json!({ "status": "issued", "certificate": der, "chain": [pem] })),
        Play::json(200, &json!({ "status": "ok" })),
        Play::json(200, &json!({ "status": "ok", "certificates": [pem] })),
        Play::json(200, &json!({ "status": "unsupported" })),
        Play::json(200, &json!({ "status": "ok", "problems": ["no template-7"] })),
    ])
    .await;
    let secret = ca.file("secret");
    std::fs::write(&secret, "shared secret\n").unwrap();
    let hook = WebhookSettings {
        delegate: can(&[Can::Wait, Can::Revoke, Can::SetNames]),
        secret: Some(SecretSource::File(secret)),
        authorization: None,
    };
    let hook = webhook::open(&hook, peer.http()).unwrap();

    let able = hook.abilities(&remote);
    assert!(able.can_wait && able.can_revoke && able.overrides_subject_alt_names && able.sees_challenge);
    assert!(!able.can_find_again && !able.overrides_subject && !able.overrides_usages && !able.overrides_validity);

    let Submission::Waiting { reference, retry_after } = hook.submit(&remote, &order, &KEY).await else { panic!() };
    assert_eq!((reference.as_str(), retry_after), ("ticket 5", Duration::from_secs(3)));
    let Submission::Issued { certificate, chain } = hook.poll(&remote, &order, &reference).await else { panic!() };
    assert_eq!((certificate.der(), chain[0].der()), (issued.der(), ca.certificate.der()));
    hook.revoke(&remote, &issued, RevocationReason::Superseded).await.unwrap();
    assert_eq!(hook.certificates(&remote).await.unwrap()[0].der(), ca.certificate.der());
    assert_eq!(hook.crl(&remote).await.unwrap(), None);
    assert_eq!(hook.check(&remote).await.unwrap(), ["no template-7"]);

    let seen = peer.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].header("content-type")), ("POST", "application/json"));
    let at: i64 = seen[0].header("ravelin-timestamp").parse().unwrap();
    assert_eq!(seen[0].header("ravelin-signature"), webhook::signature("shared secret", at, &seen[0].body));
    assert!((at - jiff::Timestamp::now().as_second()).abs() < 60);
    assert_eq!(seen[0].json()["selector"], "template-7");
    assert_eq!(seen[1].json()["reference"], "ticket 5");
    assert_eq!(seen[2].json()["serial"], issued.serial_hex());
    let operations: Vec<_> = seen.iter().map(|seen| seen.json()["operation"].as_str().unwrap().to_owned()).collect();
    assert_eq!(operations, ["submit", "poll", "revoke", "certificates", "crl", "check"]);
}

#[tokio::test]
async fn what_a_webhook_did_is_told_by_how_it_failed() {
    let ca = ca();
    let (remote, order) = (ca.remote_ca("machines"), ca.order("machines"));
    let name = |submission: &Submission| match submission {
        Submission::Issued { .. } => "issued",
        Submission::Waiting { .. } => "waiting",
        Submission::NotTaken { .. } => "not-taken",
        Submission::Rejected { .. } => "rejected",
        Submission::Unknown { .. } => "unknown",
        Submission::Lost { .. } => "lost",
    };
    for (play, submitted, polled) in [
        (Play::json(200, &json!({ "status": "rejected", "reason": "no" })), "rejected", "rejected"),
        (Play::json(200, &json!({ "status": "unknown", "reason": "who knows" })), "unknown", "unknown"),
        (Play::json(200, &json!({ "status": "not-taken", "reason": "busy" })), "not-taken", "not-taken"),
        (Play::json(200, &json!({ "status": "ok" })), "unknown", "unknown"),
        (Play::json(200, &json!({ "status": "issued", "certificate": "MAA=" })), "unknown", "not-taken"),
        (Play::body(200, "text/html", "<html>"), "unknown", "not-taken"),
        (Play::status(503), "unknown", "not-taken"),
        (Play::status(503).header("Retry-After", "5"), "not-taken", "not-taken"),
        (Play::status(429), "not-taken", "not-taken"),
        (Play::status(401), "not-taken", "not-taken"),
        (Play::status(404), "not-taken", "not-taken"),
        (Play::status(408), "unknown", "not-taken"),
        (Play::status(500), "unknown", "not-taken"),
        (Play::status(301).header("Location", "/elsewhere"), "not-taken", "not-taken"),
        (Play::status(307), "not-taken", "not-taken"),
        (Play::status(308), "not-taken", "not-taken"),
        (Play::status(302), "unknown", "not-taken"),
        (Play::Cut, "unknown", "not-taken"),
        (Play::json(200, &json!({ "status": "rejected", "reason": "no" })).cut_in_body(9), "unknown", "not-taken"),
    ] {
        let peer = Scripted::playing([play.clone(), play.clone()]).await;
        let hook = hook(&peer, &[Can::Wait]);
        let found = (hook.submit(&remote, &order, &KEY).await, hook.poll(&remote, &order, "r").await);
        assert_eq!((name(&found.0), name(&found.1)), (submitted, polled), "{play:?}");
    }
    let nobody = Http::open(&settings("http://127.0.0.1:1"), "").unwrap();
    let hook = webhook::open(&WebhookSettings::default(), nobody).unwrap();
    assert_eq!(name(&hook.submit(&remote, &order, &KEY).await), "not-taken");
}

#[tokio::test]
async fn a_question_goes_to_the_address_as_it_is_written() {
    let ca = ca();
    let (remote, order) = (ca.remote_ca("machines"), ca.order("machines"));
    for path in ["/hook/", "/hook", "/"] {
        let peer = Scripted::playing([Play::status(301).header("Location", "/hook/there")]).await;
        let http = HttpSettings { url: format!("{}{path}", peer.url()), ..peer.settings() };
        let hook = webhook::open(&WebhookSettings::default(), Http::open(&http, "").unwrap()).unwrap();
        let Submission::NotTaken { reason, .. } = hook.submit(&remote, &order, &KEY).await else { panic!() };
        assert!(reason.contains("to /hook/there") && reason.contains("set `url`"), "{reason}");
        assert_eq!(peer.seen()[0].target, path);
    }
}

#[tokio::test]
async fn a_lost_answer_is_found_again_and_never_ordered_twice() {
    let ca = ca();
    let (remote, order) = (ca.remote_ca("machines"), ca.order("machines"));
    let issued = json!({ "status": "issued", "certificate": ca.issue(&order).to_pem() });
    let operations = |peer: &Scripted| -> Vec<String> {
        peer.seen().iter().map(|seen| seen.json()["operation"].as_str().unwrap().to_owned()).collect()
    };

    let peer = Scripted::playing([Play::Cut, Play::json(200, &issued)]).await;
    let finds = hook(&peer, &[Can::Find]);
    assert!(finds.abilities(&remote).can_find_again);
    assert!(matches!(finds.submit(&remote, &order, &KEY).await, Submission::Unknown { .. }));
    assert!(matches!(finds.find(&remote, &order, &KEY).await, Submission::Issued { .. }));
    assert_eq!(operations(&peer), ["submit", "find"]);
    assert_eq!(peer.seen()[0].json()["idempotency_key"], peer.seen()[1].json()["idempotency_key"]);

    // Only "there is none" lets the order go out again.
    let peer = Scripted::playing([Play::json(200, &json!({ "status": "not-found" })), Play::json(200, &issued)]).await;
    assert!(matches!(hook(&peer, &[Can::Find]).find(&remote, &order, &KEY).await, Submission::Issued { .. }));
    assert_eq!(operations(&peer), ["find", "submit"]);
    for unclear in [
        Play::status(503),
        Play::status(404),
        Play::Cut,
        Play::json(200, &json!({ "status": "unsupported" })),
        Play::json(200, &json!({ "status": "not-taken", "reason": "busy" })),
    ] {
        let peer = Scripted::playing([unclear.clone()]).await;
        let found = hook(&peer, &[Can::Find]).find(&remote, &order, &KEY).await;
        assert!(matches!(found, Submission::Unknown { .. }), "{unclear:?}: {found:?}");
        assert_eq!(operations(&peer), ["find"]);
    }

    let peer = Scripted::playing([Play::json(200, &issued)]).await;
    assert!(matches!(hook(&peer, &[Can::Repeat]).find(&remote, &order, &KEY).await, Submission::Issued { .. }));
    assert_eq!(operations(&peer), ["submit"]);
}

#[test]
fn secrets_are_in_no_debug_output_of_settings() {
    let settings = WebhookSettings { secret: Some(SecretSource::Environment("HOOK".into())), ..WebhookSettings::default() };
    assert!(format!("{settings:?}").contains("HOOK"));
    assert!(webhook::open(&settings, Http::open(&crate::upstream::testing::settings("http://h"), "").unwrap()).is_err());
}

// Programs.

fn script(ca: &TestCa, text: &str) -> PathBuf {
    let path = ca.file("program");
    // Written by another process: a file that is open for writing anywhere, as in a child that was just forked, cannot be run.
    let source = ca.file("program.source");
    std::fs::write(&source, text).unwrap();
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(std::process::Command::new("cp").arg("-p").arg(&source).arg(&path).status().unwrap().success());
    path
}

fn limits(timeout: Duration, max_answer: usize) -> HttpSettings {
    HttpSettings { timeout, max_answer, ..settings("/") }
}

fn program(path: &Path, limits: &HttpSettings, arguments: &[&str]) -> Delegate {
    let settings = ExecSettings {
        delegate: can(&[Can::Wait]),
        program: path.to_owned(),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        environment: vec!["PATH".into(), "RAVELIN_NO_SUCH_VARIABLE".into()],
        folder: path.parent().map(Path::to_owned),
    };
    exec::open(&settings, limits).unwrap()
}

const PATIENT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_program_reads_a_question_and_writes_an_answer() {
    let ca = ca();
    let (remote, order) = (ca.remote_ca("machines"), ca.order("machines"));
    let text = "#!/bin/sh\ncat > question\nenv > environment\nprintf '%s\\n' \"$@\" > arguments\necho 'all is well' >&2\n\
                printf '{\"status\":\"waiting\",\"reference\":\"%s\"}' \"$2\"\n";
    let path = script(&ca, text);
    let program = program(&path, &limits(PATIENT, 4096), &["$HOME; touch pwned", "b c"]);
    let Submission::Waiting { reference, .. } = program.submit(&remote, &order, &KEY).await else { panic!() };
    assert_eq!(reference, "b c");
    let question: Value = serde_json::from_slice(&std::fs::read(ca.file("question")).unwrap()).unwrap();
    assert_eq!((&question["operation"], &question["order"]["device"]), (&json!("submit"), &json!("router-1")));
    assert_eq!(std::fs::read_to_string(ca.file("arguments")).unwrap(), "$HOME; touch pwned\nb c\n");
    assert!(!ca.file("pwned").exists());
    let environment = std::fs::read_to_string(ca.file("environment")).unwrap();
    let names: Vec<&str> = environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    // What shells set by themselves may be there.
    assert!(names.iter().all(|name| ["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)), "{environment}");
}

#[tokio::test]
async fn what_a_program_did_is_told_by_how_it_ended() {
    let ca = ca();
    let (remote, order) = (ca.remote_ca("machines"), ca.order("machines"));
    let ended = async |body: &str, max_answer: usize| {
        let path = script(&ca, &format!("#!/bin/sh\n{body}\n"));
        program(&path, &limits(PATIENT, max_answer), &[]).submit(&remote, &order, &KEY).await
    };
    match ended("echo 'the CA is asleep' >&2; exit 75", 4096).await {
        Submission::NotTaken { reason, .. } => assert!(reason.contains("the CA is asleep"), "{reason}"),
        other => panic!("{other:?}"),
    }
    for (body, why) in [
        ("exit 1", "exit status: 1"),
        ("kill -9 $$", "signal: 9"),
        ("exit 0", "not as it should be"),
        ("echo nonsense", "not as it should be"),
        ("head -c 100000 /dev/zero", "more than 4096 octets"),
        ("yes x >&2 & sleep 0.1; kill $!; exit 3", "exit status: 3"),
    ] {
        match ended(body, 4096).await {
            Submission::Unknown { reason } => assert!(reason.contains(why), "{body}: {reason}"),
            other => panic!("{body}: {other:?}"),
        }
    }
    let missing = ExecSettings { program: ca.file("missing"), ..ExecSettings::default() };
    let limits = limits(PATIENT, 4096);
    assert!(exec::open(&missing, &limits).is_err());
    // It was there when the configuration was read, and is not any more.
    let path = script(&ca, "#!/bin/sh\n");
    let gone = program(&path, &limits, &[]);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(gone.submit(&remote, &order, &KEY).await, Submission::NotTaken { .. }));
}

/// Waits until a process is gone: killed and, for what it matters, no more than a zombie.
fn is_gone(pid: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Err(_) => return true,
            Ok(stat) if stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')) => return true,
            Ok(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    false
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed_with_its_children() {
    let ca = ca();
    let (remote, order) = (ca.remote_ca("machines"), ca.order("machines"));
    let path = script(&ca, "#!/bin/sh\nsleep 300 &\necho \"$! $$\" > pids.new; mv pids.new pids\nwait\n");
    let slow = program(&path, &limits(Duration::from_millis(1500), 4096), &[]);
    let started = Instant::now();
    let Submission::Unknown { reason } = slow.submit(&remote, &order, &KEY).await else { panic!() };
    assert_eq!(reason, "no answer within 1500 ms");
    assert!(started.elapsed() < Duration::from_secs(5));
    let pids = std::fs::read_to_string(ca.file("pids")).unwrap();
    assert!(pids.split_whitespace().all(is_gone), "{pids}");

    // Who asks may stop waiting earlier.
    std::fs::remove_file(ca.file("pids")).unwrap();
    let patient = program(&path, &limits(PATIENT, 4096), &[]);
    let begun = async {
        while !ca.file("pids").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        _ = patient.submit(&remote, &order, &KEY) => panic!("it never answers"),
        () = begun => {}
    }
    let pids = std::fs::read_to_string(ca.file("pids")).unwrap();
    assert!(pids.split_whitespace().all(is_gone), "{pids}");
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_not_waited_for() {
    let ca = ca();
    let (remote, order) = (ca.remote_ca("machines"), ca.order("machines"));
    // As ssh does that keeps its connection for the next one: it has all three pipes.
    let text = "#!/bin/sh\ncat > /dev/null\nsetsid sleep 60 <&0 &\necho $! > left\n\
                echo '{\"status\":\"waiting\",\"reference\":\"r\"}'\n";
    let path = script(&ca, text);
    let started = Instant::now();
    let found = program(&path, &limits(PATIENT, 4096), &[]).submit(&remote, &order, &KEY).await;
    let took = started.elapsed();
    let left = std::fs::read_to_string(ca.file("left")).unwrap();
    let lives = std::process::Command::new("kill").arg(left.trim()).status().unwrap().success();
    assert!(matches!(&found, Submission::Waiting { reference, .. } if reference == "r"), "{found:?}");
    assert!(took < Duration::from_secs(10) && lives, "{took:?}");
}

/// A block of the page, by its language.
fn example(language: &str) -> String {
    let page = include_str!("../../../docs/src/upstream-webhook.md");
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[tokio::test]
async fn the_program_in_the_book_issues_and_revokes() {
    let runs =
        |program: &str| std::process::Command::new(program).arg("--version").output().is_ok_and(|done| done.status.success());
    if !runs("python3") || std::process::Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: the example in the book needs python3 and openssl");
        return;
    }
    let ca = ca();
    let (remote, order) = (ca.remote_ca("machines"), ca.order("machines"));
    let path = script(&ca, &example("python"));
    std::fs::write(ca.file("openssl.cnf"), example("ini")).unwrap();
    crate::crypto::keystore::write_plain_key(&ca.file("ca.key"), &ca.signer.export_pkcs8().unwrap()).unwrap();
    std::fs::write(ca.file("index.txt"), "").unwrap();
    std::fs::create_dir(ca.file("issued")).unwrap();
    let settings = ExecSettings {
        delegate: can(&[Can::SetValidity, Can::Revoke, Can::Repeat]),
        program: path.clone(),
        arguments: Vec::new(),
        environment: ["PATH", "HOME", "PYENV_ROOT", "PYENV_VERSION"].map(str::to_owned).to_vec(),
        folder: path.parent().map(Path::to_owned),
    };
    let limits = limits(PATIENT, 64 * 1024);
    let program = exec::open(&settings, &limits).unwrap();

    let Submission::Issued { certificate, .. } = program.submit(&remote, &order, &KEY).await else {
        panic!("{:?}", program.submit(&remote, &order, &KEY).await)
    };
    certificate.verify_signed_by(ca.certificate.spki()).unwrap();
    assert_eq!((certificate.spki(), certificate.not_after()), (order.spki.as_slice(), order.not_after));
    assert_eq!(certificate.subject().to_string(), "CN=router-1,O=Example");
    assert_eq!(certificate.subject_alt_names().len(), 1);
    // The same order with the same key gives the same certificate, and another key another one.
    let Submission::Issued { certificate: again, .. } = program.find(&remote, &order, &KEY).await else { panic!() };
    assert_eq!(again.der(), certificate.der());
    let Submission::Issued { certificate: other, .. } = program.submit(&remote, &order, &IdempotencyKey([8; 16])).await else {
        panic!()
    };
    assert_ne!(other.der(), certificate.der());

    assert_eq!(program.certificates(&remote).await.unwrap()[0].der(), ca.certificate.der());
    for _ in 0..2 {
        program.revoke(&remote, &certificate, RevocationReason::Superseded).await.unwrap();
    }
    let crl = program.crl(&remote).await.unwrap().unwrap();
    let crl = crate::x509::crl::read_crl(&crl).unwrap();
    assert_eq!(crl.revoked.len(), 1);
    assert_eq!(crl.revoked[0].serial, certificate.serial());
}
