//! The commands that move a group: what they show, write, load, and take back.

#[path = "ops/harness.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harness::{Data, eventually, good, text};

const POLICY: &str = "policies/default.toml";

/// The profile of a certificate that was enrolled just now.
fn profile_of(data: &Data, url: &str, name: &str) -> String {
    assert_eq!(data.enroll(url, name, &[])["status"], "issued");
    let listed = data.json(&["certificate", "list", "--limit", "1"]);
    assert_eq!(listed["certificates"][0]["common_name"], name, "{listed}");
    listed["certificates"][0]["profile"].as_str().expect("a profile").to_owned()
}

#[test]
fn set_profile_changes_one_line_and_undo_brings_it_back() {
    let data = Data::copy();
    let server = data.serve(&[], &[("RAVELIN__SERVER__WATCH", "false")]);
    fs::set_permissions(data.path(POLICY), fs::Permissions::from_mode(0o640)).unwrap();
    let before = data.read(POLICY);
    assert_eq!(profile_of(&data, &server.url(), "one"), "ecdsa-p256");

    // Nobody is asked where nobody is, and nothing happens before.
    let asked = data.run(&["group", "set-profile", "default", "rsa-sha256"]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(text(&asked.stderr).contains("--yes"), "{}", text(&asked.stderr));
    let shown = good(data.run(&["group", "set-profile", "default", "ecdsa-p384", "--dry-run"]));
    assert_eq!(data.read(POLICY), before);
    for part in [
        "-profile     = \"ecdsa-p256\"            # the switch",
        "+profile     = \"ecdsa-p384\"            # the switch",
        "signed with ecdsa-sha384 by local/ecdsa-p384",
        "Valid certificates: 1 of ecdsa-p256",
        "refuses devices that come with such a one: 1 of ecdsa-p256",
        "Nothing was changed.",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }

    let told = good(data.run(&["group", "set-profile", "default", "rsa-sha256", "--yes"]));
    assert!(told.contains("holds from the next request on (generation 2)"), "{told}");
    assert_eq!(
        data.read(POLICY),
        before.replace("\"ecdsa-p256\"            # the switch", "\"rsa-sha256\"            # the switch")
    );
    assert_eq!(fs::metadata(data.path(POLICY)).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(profile_of(&data, &server.url(), "two"), "rsa-sha256");
    assert_eq!(data.json(&["group", "show", "default"])["profile"], "rsa-sha256");
    let again = good(data.run(&["group", "set-profile", "default", "rsa-sha256", "--yes"]));
    assert!(again.contains("nothing to do"), "{again}");

    // A second change; undone one after the other.
    good(data.run(&["group", "set-profile", "default", "ecdsa-p384", "--yes"]));
    let undone = data.json(&["group", "undo", "default"]);
    assert_eq!(
        (undone["from"].as_str(), undone["to"].as_str(), undone["written"].as_bool()),
        (Some("ecdsa-p384"), Some("rsa-sha256"), Some(true))
    );
    good(data.run(&["group", "undo", "default", "--yes"]));
    assert_eq!(data.read(POLICY), before);
    assert_eq!(profile_of(&data, &server.url(), "three"), "ecdsa-p256");
    let nothing = data.run(&["group", "undo", "default", "--yes"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing.stderr).contains("nothing to undo"), "{}", text(&nothing.stderr));

    // An edit by hand and SIGHUP do the same, and are not overwritten by an undo.
    good(data.run(&["group", "set-profile", "default", "rsa-sha256", "--yes"]));
    data.edit(POLICY, "Devices that", "Old devices that");
    let refused = data.run(&["group", "undo", "default", "--yes"]);
    assert!(text(&refused.stderr).contains("was changed since"), "{}", text(&refused.stderr));
    data.edit(POLICY, "\"rsa-sha256\"", "\"ecdsa-p256\"");
    server.signal("-HUP");
    eventually("the group is back", || data.json(&["group", "show", "default"])["profile"] == "ecdsa-p256");

    let log = data.json(&["audit", "list", "--limit", "1000"]);
    let changes: Vec<String> = log["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["event"])
        .filter(|event| event["event"] == "group.profile-changed")
        .map(|event| {
            let fields = &event["fields"];
            format!(
                "{} {} {}",
                fields["from"].as_str().unwrap(),
                fields["to"].as_str().unwrap(),
                fields["cause"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        changes,
        [
            "ecdsa-p256 rsa-sha256 operator",
            "rsa-sha256 ecdsa-p384 operator",
            "ecdsa-p384 rsa-sha256 operator",
            "rsa-sha256 ecdsa-p256 operator",
            "ecdsa-p256 rsa-sha256 operator",
            "rsa-sha256 ecdsa-p256 signal"
        ]
    );
}

#[test]
fn a_bad_change_leaves_the_old_serving() {
    let data = Data::copy();
    let server = data.serve(&[], &[("RAVELIN__SERVER__WATCH", "false")]);
    let before = data.read(POLICY);
    // Seen before anything is written.
    let unknown = data.run(&["group", "set-profile", "default", "ecdsa-p348", "--yes"]);
    assert_eq!(unknown.status.code(), Some(78));
    let report = text(&unknown.stderr);
    assert!(report.contains("policies/default.toml:") && report.contains("did you mean `ecdsa-p384`?"), "{report}");
    assert_eq!(data.run(&["group", "set-profile", "nobody", "ecdsa-p384", "--yes"]).status.code(), Some(1));
    assert_eq!(data.run(&["group", "set-profile", "../x", "ecdsa-p384", "--yes"]).status.code(), Some(1));

    // Seen only by the server, which has the issuers: the file comes back.
    data.write(
        "algorithms/ghost.toml",
        "accepts = [\"ecdsa-p256\"]\nsignature = \"ecdsa-sha256\"\nissuer = { upstream = \"local\", ca = \"ghost\" }\n",
    );
    good(data.run(&["reload"]));
    let refused = data.run(&["group", "set-profile", "default", "ghost", "--yes"]);
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused.stdout));
    let report = text(&refused.stderr);
    assert!(report.contains("has no CA `ghost`") && report.contains("the file is as it was before"), "{report}");
    assert_eq!(data.read(POLICY), before);
    assert_eq!(profile_of(&data, &server.url(), "one"), "ecdsa-p256");
    let nothing = data.run(&["group", "undo", "default", "--yes"]);
    assert!(text(&nothing.stderr).contains("nothing to undo"), "{}", text(&nothing.stderr));
}

#[test]
fn a_rollout_is_watched_stopped_and_promoted() {
    let data = Data::copy();
    let server = data.serve(&[], &[("RAVELIN__SERVER__WATCH", "false")]);
    assert!(good(data.run(&["rollout", "status"])).contains("No group tries a candidate"));
    let none = data.run(&["rollout", "halt", "default"]);
    assert!(text(&none.stderr).contains("[no-rollout]"), "{}", text(&none.stderr));

    let plan = "\n# first the lab\n[rollout]\ncandidate = \"rsa-sha256\"\ndevices = [\"commonName=lab-*\"]\nrings = [{ from = \"2999-01-01\", percent = 5 }]\n";
    let before = data.read(POLICY);
    data.write(POLICY, before.clone() + plan);
    good(data.run(&["reload"]));
    assert_eq!(profile_of(&data, &server.url(), "lab-1"), "rsa-sha256");
    assert_eq!(profile_of(&data, &server.url(), "other"), "ecdsa-p256");
    let table = good(data.run(&["rollout", "status"]));
    for part in ["rsa-sha256", "running", "2999-01-01", "1 of 2"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    let shown = good(data.run(&["rollout", "status", "default"]));
    for part in ["commonName=lab-*", "No gate trips before the candidate has met 20 devices.", "A gate that trips: halt."] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert_eq!(data.json(&["group", "show", "default"])["rollout"]["phase"], "running");

    good(data.run(&["rollout", "roll-back", "default", "--reason", "printers choke"]));
    assert_eq!(profile_of(&data, &server.url(), "lab-2"), "ecdsa-p256");
    let status = data.json(&["rollout", "status", "default"]);
    assert_eq!((status["phase"].as_str(), status["why"].as_str()), (Some("rolled-back"), Some("printers choke")));
    let again = data.run(&["rollout", "roll-back", "default"]);
    assert!(text(&again.stderr).contains("[rollout-phase]"), "{}", text(&again.stderr));
    good(data.run(&["rollout", "resume", "default"]));
    assert_eq!(profile_of(&data, &server.url(), "lab-3"), "rsa-sha256");

    let wrong = data.run(&["group", "set-profile", "default", "rsa-sha256", "--yes"]);
    assert!(text(&wrong.stderr).contains("ravelin rollout promote default"), "{}", text(&wrong.stderr));
    let promoted = good(data.run(&["rollout", "promote", "default", "--yes"]));
    assert!(promoted.contains("+profile     = \"rsa-sha256\"") && promoted.contains("-candidate = \"rsa-sha256\""), "{promoted}");
    assert!(!data.read(POLICY).contains("[rollout]"));
    assert_eq!(profile_of(&data, &server.url(), "other-2"), "rsa-sha256");
    good(data.run(&["group", "undo", "default", "--yes"]));
    assert_eq!(data.read(POLICY), before + plan);
    assert_eq!(profile_of(&data, &server.url(), "other-3"), "ecdsa-p256");
}

#[test]
fn without_a_server_the_next_one_starts_with_it() {
    let data = Data::copy();
    let told = good(data.run(&["group", "set-profile", "default", "rsa-sha256", "--yes"]));
    assert!(told.contains("no server runs"), "{told}");
    let server = data.serve(&[], &[]);
    assert_eq!(profile_of(&data, &server.url(), "one"), "rsa-sha256");
}
