//! What operators do with a running service, seen from outside: CRLs, RA and CA rollovers, approvals, HTTPS, systemd, the end.

#[path = "ops/harness.rs"]
mod harness;

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use harness::{Answer, Data, PATIENCE, Server, eventually, free_port, good, ravelin, text, tools, trap_message};

/// Serves on a port that the CAs' certificates name.
fn serve_with_crls(data: &Data) -> Server {
    let address = format!("127.0.0.1:{}", free_port());
    for ca in ["ecdsa-p256", "rsa"] {
        let settings = format!("ca/{ca}/ca.toml");
        if data.path(&settings).exists() {
            data.edit(&settings, "127.0.0.1:8080", &address);
        }
    }
    data.serve(&["--listen", &address], &[])
}

/// The URL in the CRL distribution point of a certificate, as OpenSSL reads it.
fn distribution_point(data: &Data, certificate: &str) -> String {
    let shown = data.openssl(&["x509", "-in", certificate, "-noout", "-ext", "crlDistributionPoints"]);
    let url = shown.split("URI:").nth(1).unwrap_or_else(|| panic!("no distribution point: {shown}"));
    url.trim().to_owned()
}

/// Fetches the CRL that the certificate names, and lets OpenSSL judge the certificate by it.
fn verdict(data: &Data, certificate: &str, root: &str) -> Result<(), String> {
    let url = distribution_point(data, certificate);
    let fetched = std::process::Command::new("curl").args(["-sSf", "-o", &data.name("fetched.crl"), &url]).output().unwrap();
    good(fetched);
    data.openssl(&["crl", "-inform", "DER", "-in", "fetched.crl", "-out", "fetched.pem"]);
    let done =
        data.try_openssl(&["verify", "-x509_strict", "-crl_check", "-CRLfile", "fetched.pem", "-CAfile", root, certificate]);
    if done.status.success() { Ok(()) } else { Err(text(&done.stdout) + &text(&done.stderr)) }
}

#[test]
fn a_crl_is_where_certificates_say_before_and_after_a_rollover() {
    if !tools() {
        return;
    }
    let data = Data::copy();
    let server = serve_with_crls(&data);
    let root = "ca/ecdsa-p256/certificate.pem";
    assert_eq!(data.enroll_with(&server.url(), "stays", "rsa-2048", &[])["status"], "issued");
    assert_eq!(data.enroll(&server.url(), "goes", &[])["status"], "issued");
    let url = distribution_point(&data, "stays.crt");
    let base = format!("http://{}", server.devices);
    let path = url.strip_prefix(&base).unwrap_or_else(|| panic!("{url}")).to_owned();
    assert!(path.starts_with("/crl/local/ecdsa-p256/"), "{path}");
    verdict(&data, "stays.crt", root).unwrap();
    verdict(&data, "goes.crt", root).unwrap();

    // The headers let caches keep it, and ask whether it changed.
    let first = server.get(&path);
    assert_eq!((first.status, first.header("content-type")), (200, Some("application/pkix-crl")));
    let age: u64 = first.header("cache-control").unwrap().rsplit('=').next().unwrap().parse().unwrap();
    assert!((6 * 86_400..=7 * 86_400).contains(&age), "{age}");
    let tag = first.header("etag").unwrap().to_owned();
    let ask = |head: &str| harness::exchange(server.devices, &format!("{head}Host: x\r\nConnection: close\r\n\r\n"), b"");
    let again = ask(&format!("GET {path} HTTP/1.1\r\nIf-None-Match: {tag}\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = ask(&format!("HEAD {path} HTTP/1.1\r\n"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(first.body.len().to_string().as_str()));
    assert_eq!(server.post(&path, b"x").status, 405);
    for missing in ["/crl/local/nobody.crl", "/crl/elsewhere/ecdsa-p256.crl", "/crl/local/ecdsa-p256/0000.crl", "/crl/x"] {
        assert_eq!(server.get(missing).status, 404, "{missing}");
    }
    assert_eq!(server.get("/crl/local/ecdsa-p256.crl").body, first.body, "the current key's");

    // A revocation is in the next answer.
    let serial = data.openssl(&["x509", "-in", "goes.crt", "-noout", "-serial"]);
    let serial = serial.trim().trim_start_matches("serial=").to_lowercase();
    good(data.run(&["certificate", "revoke", &serial, "--reason", "keyCompromise"]));
    assert_ne!(server.get(&path).header("etag"), Some(tag.as_str()));
    let refused = verdict(&data, "goes.crt", root).unwrap_err();
    assert!(refused.contains("certificate revoked"), "{refused}");
    verdict(&data, "stays.crt", root).unwrap();

    // The next key is announced, then used.
    assert!(!server.capabilities().contains("GetNextCACert"));
    assert_eq!(server.get("/scep/default?operation=GetNextCACert").status, 404);
    good(data.run(&["ca", "next", "ecdsa-p256"]));
    assert!(server.capabilities().contains("GetNextCACert\n"));
    let next = server.get("/scep/default?operation=GetNextCACert");
    assert_eq!((next.status, next.header("content-type")), (200, Some("application/x-x509-next-ca-cert")));
    data.write("next.p7", &next.body);
    data.write("old-root.pem", data.read(root));
    let announced = data.openssl(&[
        "cms",
        "-verify",
        "-inform",
        "DER",
        "-in",
        "next.p7",
        "-CAfile",
        "ca/rsa/certificate.pem",
        "-purpose",
        "any",
    ]);
    assert!(!announced.is_empty());
    good(data.run(&["ca", "activate", "ecdsa-p256"]));
    assert_ne!(data.read(root), data.read("old-root.pem"));
    assert!(!server.capabilities().contains("GetNextCACert"));

    // New certificates are by the new key; those of the old key can be renewed, and their CRL is still where they say.
    assert_eq!(data.enroll(&server.url(), "later", &[])["status"], "issued");
    assert_ne!(distribution_point(&data, "later.crt"), url);
    verdict(&data, "later.crt", root).unwrap();
    verdict(&data, "stays.crt", "old-root.pem").unwrap();
    assert!(verdict(&data, "goes.crt", "old-root.pem").unwrap_err().contains("certificate revoked"));
    let (old, key) = (data.name("stays.crt"), data.name("stays.key"));
    let renewed = ["enroll", &server.url(), "--renew", &old, "--renew-key", &key, "--key", &data.name("renewed.key")];
    let renewed = data.json(&[&renewed[..], &["--out", &data.name("renewed.crt")]].concat());
    assert_eq!(renewed["status"], "issued", "{renewed}");
    verdict(&data, "renewed.crt", root).unwrap();
    // The file of `ca crl` is that of the current key.
    good(data.run(&["ca", "crl", "ecdsa-p256", "--out", &data.name("file.crl")]));
    assert_eq!(std::fs::read(data.path("file.crl")).unwrap(), server.get("/crl/local/ecdsa-p256.crl").body);
}

#[test]
fn crls_count_for_the_limit_of_a_source() {
    let data = Data::copy();
    let server = data.serve(&[], &[("RAVELIN__LIMITS__PER_SOURCE", "1"), ("RAVELIN__LIMITS__PER_SOURCE_BURST", "3")]);
    let answers: Vec<u16> = (0..8).map(|_| server.get("/crl/local/ecdsa-p256.crl").status).collect();
    assert_eq!(answers[..3], [200, 200, 200], "{answers:?}");
    assert!(answers.contains(&429), "{answers:?}");
}

#[test]
fn a_ca_is_made_with_the_address_of_this_server() {
    if !tools() {
        return;
    }
    let data = Data::copy();
    data.edit("ravelin.toml", "[limits]", "public-url = \"http://ra.example.net/\"\n[limits]");
    let make = |name: &str, more: &[&str]| {
        let subject = format!("O=Example,CN={name}");
        good(data.run(&[&["ca", "create", name, "--subject", &subject], more].concat()))
    };
    assert!(make("root", &["--path-len", "1"]).contains("local/root"));
    make("below", &["--parent", "root", "--key", "ecdsa-p384"]);
    make("silent", &["--no-crl-url"]);
    let shown = data.json(&["ca", "show", "below"]);
    assert_eq!(shown["crl_urls"][0], "http://ra.example.net/crl/local/below/{key}.crl");
    assert_eq!(data.json(&["ca", "show", "silent"])["crl_urls"], serde_json::json!([]));
    // The certificate of the CA below names the CRL of the one above.
    let point = distribution_point(&data, "ca/below/certificate.pem");
    assert!(point.starts_with("http://ra.example.net/crl/local/root/") && point.ends_with(".crl"), "{point}");
    assert!(!point.contains("{key}"));
    let verified = data.openssl(&["verify", "-x509_strict", "-CAfile", "ca/root/certificate.pem", "ca/below/certificate.pem"]);
    assert!(verified.contains("OK"));
    let twice = data.run(&["ca", "create", "root", "--subject", "CN=x"]);
    assert_eq!(twice.status.code(), Some(1), "{}", text(&twice.stderr));
}

#[test]
fn the_ra_moves_to_certificates_of_the_ca_that_the_fleet_trusts() {
    if !tools() {
        return;
    }
    let data = Data::copy();
    let server = data.serve(&[], &[]);
    // A real request for the certificates of now, which comes late.
    let (url, trapped) = trap_message(server.devices);
    let failed = data.enroll_with(&url, "late", "rsa-2048", &[]);
    assert_eq!(failed["status"], "error", "{failed}");
    data.write("late.scep", trapped.join().unwrap());

    // It can be explained as it is, and so can a certification request.
    let explained = data.json(&["explain", &data.name("late.scep"), "--endpoint", "default"]);
    assert_eq!((&explained["verdict"], &explained["group"]), (&"issue".into(), &"default".into()), "{explained}");
    assert_eq!(explained["issuer"], "local/ecdsa-p256");
    data.openssl(&["req", "-new", "-key", "late.key", "-subj", "/CN=late/O=Example", "-outform", "DER", "-out", "late.der"]);
    let explained = data.json(&["explain", &data.name("late.der"), "--endpoint", "/scep/default"]);
    assert!(explained["subject"].as_str().unwrap().contains("CN=late"), "{explained}");
    data.write("garbage", b"\x30\x03\x02\x01");
    let garbage = data.run(&["explain", &data.name("garbage"), "--endpoint", "default"]);
    assert_eq!(garbage.status.code(), Some(1));
    assert!(text(&garbage.stderr).contains("[unreadable]"), "{}", text(&garbage.stderr));

    // The CA of the fleet, made by others.
    data.openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "fleet.key",
        "-out",
        "fleet.pem",
        "-subj",
        "/O=Example/CN=Fleet CA",
        "-days",
        "3650",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    ]);
    good(data.run(&["ra", "create", "--bits", "2048"]));
    let requested = good(data.run(&["ra", "request", "--out", &data.name("requests"), "--name", "Example"]));
    assert!(requested.contains("signer.csr") && requested.contains("decrypter.csr"), "{requested}");
    for (role, usage) in [("signer", "digitalSignature"), ("decrypter", "keyEncipherment")] {
        data.write("usage.ext", format!("keyUsage=critical,{usage}\nbasicConstraints=CA:false\n"));
        let (csr, out) = (format!("requests/{role}.csr"), format!("{role}.pem"));
        data.openssl(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            "fleet.pem",
            "-CAkey",
            "fleet.key",
            "-CAcreateserial",
            "-days",
            "365",
            "-extfile",
            "usage.ext",
            "-out",
            &out,
        ]);
    }
    // Swapped by mistake they are refused, and nothing changes.
    let install = |signer: &str, decrypter: &str| {
        let (signer, decrypter, chain) = (data.name(signer), data.name(decrypter), data.name("fleet.pem"));
        data.run(&["ra", "install", "--signer", &signer, "--decrypter", &decrypter, "--chain", &chain])
    };
    let before = server.get("/scep/default?operation=GetCACert").body;
    assert!(!install("decrypter.pem", "signer.pem").status.success());
    assert_eq!(server.get("/scep/default?operation=GetCACert").body, before);
    let installed = good(install("signer.pem", "decrypter.pem"));
    assert!(installed.contains("The running server has loaded the change"), "{installed}");
    assert_ne!(server.get("/scep/default?operation=GetCACert").body, before);

    // Clients that trust the fleet's CA enroll; those that asked before are still answered.
    let issued = data.enroll(&server.url(), "early", &["--ca-file", &data.name("fleet.pem")]);
    assert_eq!(issued["status"], "issued", "{issued}");
    assert!(issued["reply"]["signed_by"].as_str().unwrap().contains("Example RA signing"), "{issued}");
    let late = server.post("/scep/default?operation=PKIOperation", &std::fs::read(data.path("late.scep")).unwrap());
    assert_eq!((late.status, late.header("content-type")), (200, Some("application/x-pki-message")));
    let listed = data.json(&["certificate", "list"]);
    let subjects: Vec<_> =
        listed["certificates"].as_array().unwrap().iter().map(|one| one["subject"].as_str().unwrap()).collect();
    assert!(subjects.iter().any(|subject| subject.contains("CN=late")), "{subjects:?}");
    assert!(data.json(&["ra", "show"])["earlier decrypter 1"].is_object());

    // What will end is found in time, and renewed.
    assert_eq!(data.json(&["ra", "check"])["findings"], serde_json::json!([]));
    let soon = data.json(&["ra", "check", "--soon", "2y"]);
    let codes: Vec<_> = soon["findings"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"ra-certificate-expires"), "{soon}");
    let keys = data.read("ra/signer.key.pem");
    good(data.run(&["ra", "renew", "--ca", "rsa", "--same-keys"]));
    assert_eq!(data.read("ra/signer.key.pem"), keys);
    assert_eq!(data.json(&["ra", "check", "--soon", "2y"])["findings"], serde_json::json!([]));
    good(data.run(&["ra", "renew", "--ca", "rsa"]));
    assert_ne!(data.read("ra/signer.key.pem"), keys);
    let issued = data.enroll(&server.url(), "again", &["--ca-file", &data.name("ca/rsa/certificate.pem")]);
    assert_eq!(issued["status"], "issued", "{issued}");
}

#[test]
fn people_decide_while_a_client_polls() {
    let data = Data::copy();
    data.edit("policies/default.toml", "approval = \"automatic\"", "approval = \"manual\"");
    let listen = format!("127.0.0.1:{}", free_port());
    let server = data.serve(&["--listen", &listen], &[]);
    let poll = |name: &str, more: &[&str]| data.spawn(&data.enroll_args(&server.url(), name, "ecdsa-p256", more));
    let mut patient = poll("patient", &["--poll-interval", "1"]);
    let mut denied = poll("denied", &["--poll-interval", "1", "--poll-by", "resend"]);
    let state = data.name("impatient.state");
    let impatient = poll("impatient", &["--max-poll", "0", "--state", &state]).wait_with_output().unwrap();
    assert_eq!(impatient.status.code(), Some(75), "{}{}", text(&impatient.stdout), text(&impatient.stderr));

    let waiting = || data.json(&["pending", "list"])["transactions"].as_array().unwrap().clone();
    eventually("three requests wait", || waiting().len() == 3);
    let id = |name: &str| {
        let all = waiting();
        let one = all.iter().find(|one| one["subject"].as_str().unwrap().contains(&format!("CN={name}")));
        one.unwrap_or_else(|| panic!("{name} in {all:?}"))["id"].as_str().unwrap().to_owned()
    };
    assert!(patient.try_wait().unwrap().is_none() && denied.try_wait().unwrap().is_none());
    let (yes, no, later) = (id("patient"), id("denied"), id("impatient"));
    good(data.run(&["pending", "approve", &yes]));
    good(data.run(&["pending", "deny", &no, "--reason", "not ours"]));
    let patient = patient.wait_with_output().unwrap();
    assert_eq!(patient.status.code(), Some(0), "{}{}", text(&patient.stdout), text(&patient.stderr));
    let denied = denied.wait_with_output().unwrap();
    assert_eq!(denied.status.code(), Some(1), "{}", text(&denied.stdout));
    assert!(text(&denied.stdout).contains("\"refused\""), "{}", text(&denied.stdout));
    assert!(data.read("patient.crt").starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(!data.path("denied.crt").exists());

    // What is decided is decided.
    let twice = data.run(&["pending", "approve", &no]);
    assert!(text(&twice.stderr).contains("[not-waiting]"), "{}", text(&twice.stderr));
    // Who went away comes back after the decision, and after a restart of the server.
    drop(server);
    good(data.run(&["pending", "approve", &later]));
    let server = data.serve(&["--listen", &listen], &[]);
    let (key, out) = (data.name("impatient.key"), data.name("impatient.crt"));
    let back = data.json(&["enroll", &server.url(), "--state", &state, "--key", &key, "--out", &out, "--poll-interval", "1"]);
    assert_eq!(back["status"], "issued", "{back}");
    let audit = data.json(&["audit", "list"]).to_string();
    assert!(audit.contains("not ours"), "{audit}");
}

#[test]
fn a_dead_upstream_is_found() {
    let data = Data::copy();
    assert_eq!(data.run(&["check-config", "--online"]).status.code(), Some(0));
    // A CA whose certificate is about to end: the files are good, the CA is not.
    good(data.run(&["ca", "create", "brief", "--subject", "CN=Brief", "--validity", "3601s"]));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(data.run(&["check-config"]).status.code(), Some(0));
    let dead = data.run(&["check-config", "--online"]);
    assert_eq!(dead.status.code(), Some(69), "{}", text(&dead.stderr));
    assert!(text(&dead.stderr).contains("brief"), "{}", text(&dead.stderr));
    std::fs::remove_dir_all(data.path("ca/brief")).unwrap();
    // A profile that names a CA that is not there is a mistake in the configuration already.
    std::fs::rename(data.path("ca/ecdsa-p256"), data.path("gone")).unwrap();
    let gone = data.run(&["check-config", "--online"]);
    assert_eq!(gone.status.code(), Some(78), "{}", text(&gone.stderr));
    assert!(text(&gone.stderr).contains("ecdsa-p256"), "{}", text(&gone.stderr));
}

#[test]
fn a_key_of_another_kind_takes_no_groups_ca_away() {
    let data = Data::copy();
    good(data.run(&["ca", "next", "ecdsa-p256", "--key", "ecdsa-p384"]));
    let before = data.read("ca/ecdsa-p256/certificate.pem");
    let refused = data.run(&["ca", "activate", "ecdsa-p256"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(text(&refused.stderr).contains("--profile ecdsa-p256"), "{}", text(&refused.stderr));
    assert_eq!(data.read("ca/ecdsa-p256/certificate.pem"), before);
    // Once no group needs the old kind, it goes; and nothing is wrong then.
    data.edit("policies/default.toml", "\"ecdsa-p256\"", "\"ecdsa-p384\"");
    good(data.run(&["ca", "activate", "ecdsa-p256"]));
    assert_ne!(data.read("ca/ecdsa-p256/certificate.pem"), before);
    good(data.run(&["check-config", "--online"]));
}

/// Makes a certificate for HTTPS and puts it in place as deployments do: written beside, then renamed.
fn tls_certificate(data: &Data, name: &str) {
    std::fs::create_dir_all(data.path("tls")).unwrap();
    data.write(
        "tls/request.cnf",
        "[req]\ndistinguished_name=name\n[name]\n[leaf]\nbasicConstraints=critical,CA:false\nsubjectAltName=IP:127.0.0.1\n",
    );
    let subject = format!("/CN={name}");
    let fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "tls/fresh.key"];
    let leaf = ["-config", "tls/request.cnf", "-extensions", "leaf", "-days", "30", "-out", "tls/fresh.pem", "-subj", &subject];
    data.openssl(&[&["req", "-x509"][..], &fresh, &leaf].concat());
    for ending in ["key", "pem"] {
        std::fs::rename(data.path(&format!("tls/fresh.{ending}")), data.path(&format!("tls/server.{ending}"))).unwrap();
    }
}

#[test]
fn https_is_modern_asks_for_no_client_certificate_and_changes_its_own() {
    if !tools() {
        return;
    }
    let data = Data::copy();
    tls_certificate(&data, "one");
    let setting =
        "listen-tls = [\"127.0.0.1:0\"]\ntls = { certificate = \"tls/server.pem\", key = \"tls/server.key\" }\n[limits]";
    data.edit("ravelin.toml", "[limits]", setting);
    let server = data.serve(&[], &[]);
    let address = server.tls.expect("a TLS listener").to_string();
    let connect = |more: &[&str]| {
        let done = data.try_openssl(&[&["s_client", "-connect", &address, "-msg"], more].concat());
        text(&done.stdout) + &text(&done.stderr)
    };
    for (option, version) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let shown = connect(&[option]);
        assert!(shown.contains(&format!("New, {version}")), "{shown}");
        assert!(shown.contains("Certificate") && !shown.contains("CertificateRequest"), "{shown}");
        assert!(shown.contains("CN = one"), "{shown}");
    }
    assert!(!connect(&["-tls1_1"]).contains("New, TLSv1.1"));
    use rustls::crypto::aws_lc_rs::kx_group;
    assert_eq!(rustls_exchange(&address, &[kx_group::X25519MLKEM768, kx_group::X25519]), "X25519MLKEM768");
    assert_eq!(rustls_exchange(&address, &[kx_group::X25519]), "X25519");

    // HTTP/2 and HTTP/1.1, by ALPN.
    let url = format!("https://{address}/scep/default?operation=GetCACaps");
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let curl = std::process::Command::new("curl")
            .args(["-sS", "--cacert", &data.name("tls/server.pem"), option, "-w", "%{http_version} %{http_code}", &url])
            .output()
            .unwrap();
        let shown = good(curl);
        assert!(shown.contains("POSTPKIOperation") && shown.ends_with(&format!("{version} 200")), "{shown}");
    }
    // A device enrolls over it.
    let roots = data.name("tls/server.pem");
    let issued = data.enroll(&format!("https://{address}/scep/default"), "secure", &["--tls-roots", &roots]);
    assert_eq!(issued["status"], "issued", "{issued}");

    // Another certificate: seen by itself, and when told.
    std::thread::sleep(Duration::from_millis(500));
    tls_certificate(&data, "two");
    eventually("the second certificate serves", || connect(&[]).contains("CN = two"));
    tls_certificate(&data, "three");
    good(data.run(&["reload"]));
    assert!(connect(&[]).contains("CN = three"));
    // A broken one is refused, and the one before goes on.
    data.write("tls/server.pem", "this is no certificate");
    let refused = data.run(&["reload"]);
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("tls/server.pem"), "{}", text(&refused.stderr));
    assert!(connect(&[]).contains("CN = three"));
    let warned = || server.log().lines().any(|line| line.contains("refused") && line.contains("tls/server.pem"));
    eventually("the log says so", warned);
}

/// Which key exchange a client gets that can do these.
fn rustls_exchange(address: &str, groups: &[&'static dyn rustls::crypto::SupportedKxGroup]) -> String {
    use rustls::crypto::aws_lc_rs;
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = groups.to_vec();
    let verifier = std::sync::Arc::new(Anybody(provider.signature_verification_algorithms));
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    while client.is_handshaking() {
        client.complete_io(&mut stream).unwrap();
    }
    format!("{:?}", client.negotiated_key_exchange_group().unwrap().name())
}

/// Takes any certificate: what is looked at is the key exchange.
#[derive(Debug)]
struct Anybody(rustls::crypto::WebPkiSupportedAlgorithms);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &rustls_pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls_pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls_pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[test]
fn systemd_is_told_and_requests_under_way_are_answered_at_the_end() {
    let data = Data::copy();
    let place = data.path("notify.sock");
    let socket = UnixDatagram::bind(&place).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).expect("a datagram");
        text(&buffer[..length])
    };
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let environment = [("NOTIFY_SOCKET", place.to_str().unwrap()), ("RAVELIN__SERVER__WATCH", "false")];
    let server = std::thread::scope(|scope| {
        let starting = scope.spawn(|| data.serve(&["--listen", &listen], &environment));
        assert_eq!(told().trim(), "READY=1");
        // Whoever waited for that can connect.
        TcpStream::connect(&listen).expect("the sockets are bound");
        starting.join().unwrap()
    });

    server.signal("-HUP");
    let reloading = told();
    let lines: Vec<&str> = reloading.lines().collect();
    assert_eq!(lines[0], "RELOADING=1", "{reloading}");
    let usec = lines[1].strip_prefix("MONOTONIC_USEC=").expect("in the same datagram");
    assert!(usec.parse::<u64>().unwrap() > 0);
    assert_eq!(told().trim(), "READY=1");

    // A request of which the head and half of the body are there.
    let mut under_way = TcpStream::connect(&listen).unwrap();
    under_way.set_read_timeout(Some(PATIENCE)).unwrap();
    under_way
        .write_all(b"POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234")
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    server.signal("-TERM");
    assert_eq!(told().trim(), "STOPPING=1");
    eventually("no new connection is taken", || TcpStream::connect(&listen).is_err());
    under_way.write_all(b"56789").unwrap();
    let answer = Answer::read(&mut under_way);
    assert_eq!(answer.status, 400, "what is no message is refused as such: {}", answer.head);
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn the_help_knows_every_command_of_the_guide() {
    let guide = include_str!("../docs/src/operations.md");
    let mut checked = 0;
    for line in guide.lines().filter_map(|line| line.strip_prefix("ravelin ")) {
        let command = line.split(' ').next().unwrap();
        assert_eq!(ravelin(&[command, "--help"]).status.code(), Some(0), "{line}");
        checked += 1;
    }
    assert!(checked >= 3, "the guide shows no commands");
}
