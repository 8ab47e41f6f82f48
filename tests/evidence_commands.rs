//! The commands about devices that cannot digest a profile, shadow runs and forecasts, against a running server.

#[path = "ops/harness.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod harness;

use harness::{Data, eventually, good, text};

const POLICY: &str = "policies/default.toml";

/// A profile above the one that the group is on.
const UPPER: &str = "accepts = [\"rsa-2048..4096\", \"ecdsa-*\"]\nsignature = \"ecdsa-sha384\"\nfallback = \"ecdsa-p256\"\n\
                     issuer = { upstream = \"local\", ca = \"ecdsa-p384\" }\n";

#[test]
fn devices_shadows_and_forecasts_are_told() {
    let data = Data::copy();
    data.write("algorithms/upper.toml", UPPER);
    data.edit(POLICY, "\"ecdsa-p256\"", "\"upper\"");
    let policy = data.read(POLICY) + "\n[shadow]\ncandidate = \"ecdsa-p384\"\n\n[deadline]\nfrom = \"2090-01-01\"\n";
    data.write(POLICY, &policy);
    good(data.run(&["check-config"]));
    let server = data.serve(&[], &[("RAVELIN__SERVER__WATCH", "false")]);
    let profile = || {
        assert_eq!(data.enroll(&server.url(), "one", &[])["status"], "issued");
        let listed = data.json(&["certificate", "list", "--limit", "1"]);
        listed["certificates"][0]["profile"].as_str().expect("a profile").to_owned()
    };
    assert_eq!([profile(), profile(), profile()], ["upper", "upper", "ecdsa-p256"]);

    let listed = data.json(&["device", "list", "--group", "default"]);
    let one = &listed["devices"][0];
    assert_eq!((one["profile"].as_str(), one["kind"].as_str()), (Some("upper"), Some("came-back")), "{listed}");
    let device = one["device"].as_str().expect("a device").to_owned();
    let shown = good(data.run(&["device", "show", "default", &device]));
    assert!(shown.contains("upper") && shown.contains("came back without"), "{shown}");
    let forgotten = good(data.run(&["device", "forget", "default", &device, "--reason", "new firmware"]));
    assert!(forgotten.contains("may get upper again"), "{forgotten}");
    let again = data.run(&["device", "forget", "default", &device]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("nothing is known"), "{}", text(&again.stderr));
    assert_eq!(profile(), "upper");

    eventually("the shadow runs are made", || data.json(&["rollout", "shadow", "default"])["runs"] == 4);
    let shown = good(data.run(&["rollout", "shadow", "default"]));
    assert!(shown.contains("ecdsa-p384") && shown.contains("would be issued"), "{shown}");

    let forecast = data.json(&["rollout", "forecast", "default", "--at", "2030-01-01"]);
    assert_eq!((forecast["group"].as_str(), forecast["certificates"].as_u64()), (Some("default"), Some(4)), "{forecast}");
    // Nothing leads to a post-quantum profile, and nobody renews what was followed by another one.
    assert_eq!((forecast["classical"].as_u64(), forecast["ended"].as_u64()), (Some(1), Some(3)), "{forecast}");
    let all = good(data.run(&["rollout", "forecast"]));
    assert!(all.contains("default") && all.contains("2090-01-01"), "{all}");
    assert_eq!(data.run(&["rollout", "forecast", "default", "--at", "some day"]).status.code(), Some(1));

    // A deadline that has passed is refused wherever somebody could do something about it.
    data.edit(POLICY, "2090-01-01", "2020-01-01");
    for command in ["check-config", "reload"] {
        let refused = data.run(&[command]);
        assert_eq!(refused.status.code(), Some(78), "{command}");
        let report = text(&refused.stderr);
        assert!(report.contains("deadline-passed") && report.contains("nobody would be let through"), "{command}: {report}");
    }
    assert_eq!(profile(), "upper", "the configuration before goes on serving");
}
