//! The built program from outside: set-up, checks, serving, reload, and clients that behave badly.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ravelin");

/// Long enough for a slow machine, short enough for an impatient one.
const PATIENCE: Duration = Duration::from_secs(60);

fn ravelin(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).env_remove("RAVELIN_CONFIG").output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A data folder of its own.
struct Data {
    dir: tempfile::TempDir,
}

impl Data {
    fn init() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let made = ravelin(&["init", "--dir", dir.path().to_str().unwrap()]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        Self { dir }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("ravelin.toml")
    }

    fn run(&self, args: &[&str]) -> Output {
        let config = self.config();
        let mut all = vec!["-c", config.to_str().unwrap()];
        all.extend(args);
        ravelin(&all)
    }

    fn serve(&self, environment: &[(&str, &str)]) -> Server {
        Server::start(&self.config(), environment)
    }
}

/// A running server on ports of its own.
struct Server {
    child: Child,
    devices: SocketAddr,
    admin: SocketAddr,
}

impl Server {
    fn start(config: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["-c", config.to_str().unwrap(), "--log-format", "json", "serve"])
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mut devices, mut admin) = (None, None);
        for line in lines.by_ref() {
            let line = line.expect("log lines are text");
            let Ok(event) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            if event["message"] == "Serving." {
                devices = first_address(&event["devices"]);
                admin = first_address(&event["admin"]);
                break;
            }
        }
        // Whoever does not read a pipe makes its writer wait.
        std::thread::spawn(move || lines.for_each(drop));
        let (Some(devices), Some(admin)) = (devices, admin) else { panic!("the server did not start") };
        Self { child, devices, admin }
    }

    fn get(&self, address: SocketAddr, target: &str) -> (u16, String) {
        get(address, target, "HTTP/1.1")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill is there");
        assert!(sent.success());
    }

    fn stop(mut self) -> Option<i32> {
        self.signal("-TERM");
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    fn metric(&self, line: &str) -> Option<u64> {
        let (_, text) = self.get(self.admin, "/metrics");
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first `a.b.c.d:port` of a debug-formatted list.
fn first_address(value: &serde_json::Value) -> Option<SocketAddr> {
    let text = value.as_str()?;
    text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).find_map(|part| part.parse().ok())
}

fn get(address: SocketAddr, target: &str, version: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {target} {version}\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    read_response(&mut stream)
}

fn read_response(stream: &mut TcpStream) -> (u16, String) {
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("the server answers and closes");
    let response = text(&response);
    let status = response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, response.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it never came true that {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_new_folder_is_good_and_a_second_init_changes_nothing() {
    let data = Data::init();
    let checked = data.run(&["check-config", "--online", "--deny-warnings"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    assert!(text(&checked.stdout).contains("is good"), "{}", text(&checked.stdout));

    let read = |name: &str| fs::read(data.dir.path().join(name)).unwrap();
    let files = ["ravelin.toml", "secrets/key-passphrase", "ra/signer.pem", "policies/default.toml"];
    let before = files.map(read);
    let again = ravelin(&["init", "--dir", data.dir.path().to_str().unwrap()]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(files.map(read), before);
    let mode = |name: &str| fs::metadata(data.dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("secrets/key-passphrase"), 0o600);
}

#[test]
fn a_bad_configuration_is_shown_with_its_line_and_exits_with_78() {
    let data = Data::init();
    let policy = data.dir.path().join("policies/default.toml");
    let good = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, format!("proffile = \"x\"\n{good}")).unwrap();
    for command in ["check-config", "serve"] {
        let checked = data.run(&[command]);
        assert_eq!(checked.status.code(), Some(78), "{command}: {}", text(&checked.stderr));
        let message = text(&checked.stderr);
        for part in ["proffile", "policies/default.toml:1", "did you mean `profile`?"] {
            assert!(message.contains(part), "{part} is missing in\n{message}");
        }
    }
}

#[test]
fn usage_errors_exit_with_2_and_missing_files_with_78() {
    assert_eq!(ravelin(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(ravelin(&["--help"]).status.code(), Some(0));
    let missing = ravelin(&["-c", "/nonexistent/ravelin.toml", "check-config"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(text(&missing.stderr).contains("/nonexistent/ravelin.toml"), "{}", text(&missing.stderr));
}

#[test]
fn operators_work_with_and_without_a_server() {
    let data = Data::init();
    // Without a server, on the folder itself.
    let offline = data.run(&["challenge", "new", "--group", "default", "--note", "offline"]);
    assert!(offline.status.success(), "{}", text(&offline.stderr));
    let refused = data.run(&["challenge", "new", "--group", "nobody"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("[unknown-group]"), "{}", text(&refused.stderr));
    let reload = data.run(&["reload"]);
    assert_eq!(reload.status.code(), Some(1));
    assert!(text(&reload.stderr).contains("ravelin serve"), "{}", text(&reload.stderr));

    let server = data.serve(&[]);
    let socket = fs::metadata(data.dir.path().join("control.sock")).expect("the control socket is there");
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    // Through the socket, which sees what was made before.
    let listed = data.run(&["challenge", "list", "--json"]);
    assert!(text(&listed.stdout).contains("offline"), "{}", text(&listed.stderr));
    for command in
        [&["status"][..], &["group", "show", "default"], &["profile", "list"], &["pending", "list"], &["certificate", "list"]]
    {
        let done = data.run(command);
        assert!(done.status.success(), "{command:?}: {}", text(&done.stderr));
    }
    let verified = data.run(&["audit", "verify"]);
    assert!(text(&verified.stdout).contains("is whole"), "{}{}", text(&verified.stdout), text(&verified.stderr));
    // One process holds the folder.
    let second = data.run(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another process holds"), "{}", text(&second.stderr));

    assert_eq!(server.stop(), Some(0));
    assert!(!data.dir.path().join("control.sock").exists());
}

/// Two commands that write the same key files: the second says so and changes nothing, whether a server runs or not.
#[test]
fn keys_are_changed_by_one_command_at_a_time() {
    let data = Data::init();
    let hold = |name: &str| {
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(data.dir.path().join(name)).unwrap();
        file.try_lock().expect("nobody else holds it");
        file
    };
    let create = ["ca", "create", "second", "--subject", "CN=Second CA"];
    let refused = |args: &[&str], why: &str| {
        let done = data.run(args);
        assert_eq!(done.status.code(), Some(1), "{args:?}: {}", text(&done.stderr));
        assert!(text(&done.stderr).contains(why), "{args:?}: {}", text(&done.stderr));
        assert!(!data.dir.path().join("ca/second").exists());
    };
    let keys = hold("keys.lock");
    let server = data.serve(&[]);
    refused(&create, "another command is changing keys");
    refused(&["ra", "renew", "--ca", "ecdsa-p256"], "another command is changing keys");
    drop(keys);
    let done = data.run(&create);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("The running server has loaded the change."), "{}", text(&done.stdout));
    assert_eq!(server.stop(), Some(0));

    // Who holds the folder and is no server cannot load the change.
    fs::remove_dir_all(data.dir.path().join("ca/second")).unwrap();
    let folder = hold("lock");
    refused(&create, "ravelin serve");
    drop(folder);
    assert!(data.run(&create).status.success());
}

#[test]
fn a_request_is_explained() {
    let data = Data::init();
    let made = Command::new("openssl")
        .args(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=printer-7", "-keyout", "try.key", "-out", "try.csr"])
        .current_dir(data.dir.path())
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no openssl command");
        return;
    }
    let csr = data.dir.path().join("try.csr");
    let explained = data.run(&["explain", csr.to_str().unwrap(), "--json"]);
    assert!(explained.status.success(), "{}", text(&explained.stderr));
    let report: serde_json::Value = serde_json::from_slice(&explained.stdout).expect("JSON");
    assert_eq!(report["group"], "default");
    assert_eq!(report["verdict"], "issue", "{report}");
    assert_eq!(report["issuer"], "local/ecdsa-p256");
}

#[test]
fn a_server_is_ready_answers_and_reloads_all_or_nothing() {
    let data = Data::init();
    // Without the file watch, so that the reloads counted are those asked for.
    let server = data.serve(&[("RAVELIN__SERVER__WATCH", "false")]);
    assert_eq!(server.get(server.admin, "/healthz").0, 200);
    let (status, body) = server.get(server.admin, "/readyz");
    assert_eq!(status, 200, "{body}");
    let (status, capabilities) = server.get(server.devices, "/scep/default/pkiclient.exe?operation=GetCACaps");
    assert_eq!(status, 200);
    assert!(capabilities.contains("POSTPKIOperation"), "{capabilities}");
    assert_eq!(get(server.devices, "/scep/default?operation=GetCACert", "HTTP/1.0").0, 200);
    // Health never stands on the port of devices.
    assert_ne!(server.get(server.devices, "/metrics").0, 200);

    let policy = data.dir.path().join("policies/default.toml");
    let good = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, "profile = [").unwrap();
    let refused = data.run(&["reload"]);
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("default.toml"), "{}", text(&refused.stderr));
    assert_eq!(server.metric("ravelin_config_reloads_total{result=\"failed\"}"), Some(1));
    assert_eq!(server.metric("ravelin_config_generation"), Some(1));
    assert_eq!(server.get(server.devices, "/scep/default?operation=GetCACaps").0, 200);

    fs::write(&policy, good.replace("\"ecdsa-p256\"", "\"rsa-sha256\"")).unwrap();
    let loaded = data.run(&["reload"]);
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));
    assert!(text(&loaded.stdout).contains("generation 2"), "{}", text(&loaded.stdout));
    let group = data.run(&["group", "show", "default", "--json"]);
    assert!(text(&group.stdout).contains("rsa-sha256"));

    fs::write(&policy, good).unwrap();
    server.signal("-HUP");
    eventually("SIGHUP loads", || server.metric("ravelin_config_generation") == Some(3));
    let audit = data.run(&["audit", "list", "--json"]);
    assert!(text(&audit.stdout).contains("config.refused") && text(&audit.stdout).contains("config.reloaded"));
}

#[test]
fn a_changed_file_is_loaded_without_being_told() {
    let data = Data::init();
    let server = data.serve(&[]);
    let policy = data.dir.path().join("policies/default.toml");
    // As editors do it: a new file takes the place of the old one.
    let text = fs::read_to_string(&policy).unwrap().replace("\"ecdsa-p256\"", "\"ecdsa-p384\"");
    // The watch begins a moment after the sockets.
    std::thread::sleep(Duration::from_millis(500));
    let fresh = data.dir.path().join("policies/.default.toml.new");
    fs::write(&fresh, text).unwrap();
    fs::rename(&fresh, &policy).unwrap();
    eventually("the change is loaded", || server.metric("ravelin_config_generation") == Some(2));
}

#[test]
fn slow_and_idle_clients_are_cut_off() {
    let data = Data::init();
    let limits = [
        ("RAVELIN__LIMITS__HEADER_TIMEOUT", "1s"),
        ("RAVELIN__LIMITS__BODY_TIMEOUT", "1s"),
        ("RAVELIN__LIMITS__IDLE_TIMEOUT", "2s"),
    ];
    let server = data.serve(&limits);
    let cut_off = |mut stream: TcpStream| {
        let start = Instant::now();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        text(&rest)
    };
    // Says nothing.
    cut_off(TcpStream::connect(server.devices).unwrap());
    // Dribbles its head.
    let dribbling = TcpStream::connect(server.devices).unwrap();
    let mut dribble = dribbling.try_clone().unwrap();
    std::thread::spawn(move || {
        for octet in b"GET /scep/default?operation=GetCACaps HTTP/1.1\r\nHost: localhost\r\nX-Slow: yes".iter().cycle() {
            if dribble.write_all(&[*octet]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    cut_off(dribbling);
    // Owes its body.
    let mut owing = TcpStream::connect(server.devices).unwrap();
    owing.write_all(b"POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc").unwrap();
    assert!(cut_off(owing).starts_with("HTTP/1.1 408 "));
    // Too large a body is not even begun.
    let mut large = TcpStream::connect(server.devices).unwrap();
    large
        .write_all(b"POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\nabc")
        .unwrap();
    assert!(cut_off(large).starts_with("HTTP/1.1 413 "));
    // Idle after a request.
    let mut idle = TcpStream::connect(server.devices).unwrap();
    idle.write_all(b"GET /scep/default?operation=GetCACaps HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(cut_off(idle).starts_with("HTTP/1.1 200 "));
    eventually("no connection is left", || server.metric("ravelin_connections") == Some(0));
}

#[test]
fn a_full_house_is_polite() {
    let data = Data::init();
    let server = data.serve(&[("RAVELIN__LIMITS__MAX_CONNECTIONS", "4")]);
    let mut held: Vec<_> = (0..4).map(|_| TcpStream::connect(server.devices).unwrap()).collect();
    eventually("all places are taken", || server.metric("ravelin_connections") == Some(4));
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.devices).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = write!(stream, "GET /scep/default?operation=GetCACaps HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(read_response(&mut stream).0, 503);
    }
    assert!(server.metric("ravelin_shed_total{reason=\"connections\"}") >= Some(20));
    held.clear();
    eventually("there is room again", || server.metric("ravelin_connections") == Some(0));
    assert_eq!(server.get(server.devices, "/scep/default?operation=GetCACaps").0, 200);
}

#[test]
fn large_targets_are_taken_and_larger_ones_refused() {
    let data = Data::init();
    let server = data.serve(&[]);
    let target = |length: usize| format!("/scep/default?operation=PKIOperation&message={}", "A".repeat(length));
    // Read as a message, and refused as one: what matters is that it came through.
    let (status, _) = server.get(server.devices, &target(60_000));
    assert_eq!(status, 400);
    let (status, _) = server.get(server.devices, &target(80_000));
    assert!(matches!(status, 414 | 431), "{status}");
}

#[test]
fn quickstart_enrolls_a_device_and_takes_up_the_same_data() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let start = || {
        let place = data.to_str().unwrap();
        let done = ravelin(&["quickstart", "--dir", place, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--once"]);
        assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
        text(&done.stdout)
    };
    let shown = start();
    for part in
        ["group        default", "rule         one-time challenge", "profile      ecdsa-p256", "serial", "explain", "pki --scep"]
    {
        assert!(shown.contains(part), "{part:?} is missing in\n{shown}");
    }
    let issuer = fs::read(data.join("ca/ecdsa-p256/certificate.pem")).unwrap();
    start();
    assert_eq!(fs::read(data.join("ca/ecdsa-p256/certificate.pem")).unwrap(), issuer);
    let config = data.join("ravelin.toml");
    let listed = ravelin(&["-c", config.to_str().unwrap(), "certificate", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["certificates"].as_array().map(Vec::len), Some(2));

    // What was issued can be shown, exported and revoked, once.
    let serial = listed["certificates"][0]["serial"].as_str().unwrap();
    let run = |args: &[&str]| ravelin(&[&["-c", config.to_str().unwrap()], args].concat());
    assert!(text(&run(&["certificate", "export", serial]).stdout).starts_with("-----BEGIN CERTIFICATE-----"));
    let revoked = run(&["certificate", "revoke", serial, "--reason", "keyCompromise"]);
    assert!(revoked.status.success(), "{}", text(&revoked.stderr));
    let again = run(&["certificate", "revoke", serial]);
    assert!(text(&again.stderr).contains("[already-revoked]"), "{}", text(&again.stderr));
    assert!(text(&run(&["certificate", "show", serial]).stdout).contains("keyCompromise"));
}

// Keys in files

#[test]
fn keys_go_from_form_to_form_and_are_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let good = |args: &[&str]| {
        let output = ravelin(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let bad = |args: &[&str], part: &str| {
        let output = ravelin(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output.stderr).contains(part), "{args:?}: {}", text(&output.stderr));
    };
    fs::write(path("pass"), "correct horse\n").unwrap();
    good(&["key", "generate", "ml-dsa-44", "-o", &path("seed"), "--out-passphrase-file", &path("pass")]);
    assert!(fs::read_to_string(path("seed")).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert_eq!(fs::metadata(path("seed")).unwrap().permissions().mode() & 0o777, 0o600);
    bad(&["key", "generate", "ml-dsa-44", "-o", &path("seed")], "not overwritten");
    bad(&["key", "show", &path("seed")], "passphrase");

    good(&["key", "convert", &path("seed"), "--passphrase-file", &path("pass"), "-o", &path("both"), "--form", "both"]);
    good(&["key", "convert", &path("both"), "-o", &path("expanded"), "--form", "expanded"]);
    bad(&["key", "convert", &path("expanded"), "-o", &path("never"), "--form", "seed"], "no seed can be computed");
    let public = good(&["key", "show", &path("seed"), "--passphrase-file", &path("pass"), "--public"]);
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----"));
    for (name, form) in [("both", "both"), ("expanded", "expanded")] {
        assert_eq!(good(&["key", "show", &path(name), "--public"]), public);
        let shown: serde_json::Value = serde_json::from_str(&good(&["key", "show", &path(name), "--json"])).unwrap();
        assert_eq!((&shown["key"], &shown["form"], &shown["nist_category"]), (&"ml-dsa-44".into(), &form.into(), &2.into()));
    }

    good(&["key", "generate", "id-MLDSA65-ECDSA-P256-SHA512", "-o", &path("composite")]);
    assert!(good(&["key", "show", &path("composite")]).contains("mldsa65-ecdsa-p256-sha512"));
    bad(&["key", "convert", &path("composite"), "-o", &path("never"), "--form", "seed"], "only ML-DSA keys have forms");
    let refused = ravelin(&["key", "generate", "mldsa87-ed448-shake256", "-o", &path("never")]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("no Ed448"), "{}", text(&refused.stderr));
    assert!(!Path::new(&path("never")).exists());
}

#[test]
fn a_key_of_the_data_folder_goes_out_and_comes_back() {
    let data = Data::init();
    let path = |name: &str| data.dir.path().join(name).to_str().unwrap().to_owned();
    let good = |args: &[&str]| {
        let output = data.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    good(&["key", "generate", "ed25519", "-o", &path("one")]);
    good(&["key", "import", &path("one"), "-o", &path("kept")]);
    assert!(fs::read_to_string(path("kept")).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    good(&["key", "export", &path("kept"), "-o", &path("two")]);
    assert_eq!(fs::read(path("one")).unwrap(), fs::read(path("two")).unwrap());
    // OpenSSL reads it where there is one.
    match Command::new("openssl").args(["pkey", "-in", &path("two"), "-pubout"]).output() {
        Ok(output) => assert_eq!(text(&output.stdout), good(&["key", "show", &path("two"), "--public"])),
        Err(_) => println!("skipped: no openssl command here"),
    }
}

#[test]
fn the_cryptography_backend_is_chosen_at_the_start() {
    let data = Data::init();
    let status = || text(&data.run(&["status"]).stdout);
    let choose = |backend: &str| {
        let file = fs::read_to_string(data.config()).unwrap();
        let before = file.split("\n[crypto]").next().unwrap().to_owned();
        fs::write(data.config(), format!("{before}\n[crypto]\nml-dsa = \"{backend}\"\n")).unwrap();
    };
    let server = data.serve(&[("RAVELIN__SERVER__WATCH", "false")]);
    assert!(status().contains("ml-dsa=aws-lc"), "{}", status());
    assert!(status().contains("slh-dsa=rustcrypto"), "{}", status());
    let shown = text(&data.run(&["profile", "show", "ecdsa-p256"]).stdout);
    assert!(shown.lines().any(|line| line.starts_with("backend") && line.ends_with("aws-lc")), "{shown}");

    // Keys are open in the one: the other comes with the next start.
    choose("rustcrypto");
    let reload = data.run(&["reload"]);
    assert!(reload.status.success(), "{}", text(&reload.stderr));
    assert!(status().contains("ml-dsa=aws-lc"), "{}", status());
    assert_eq!(server.stop(), Some(0));
    let server = data.serve(&[]);
    assert!(status().contains("ml-dsa=rustcrypto") && status().contains("composite=rustcrypto"), "{}", status());
    assert_eq!(server.stop(), Some(0));

    choose("openssl");
    let refused = data.run(&["check-config"]);
    assert_eq!(refused.status.code(), Some(78));
    let report = text(&refused.stderr);
    assert!(report.contains("unknown cryptography backend `openssl`") && report.contains("ravelin.toml:"), "{report}");
    if !cfg!(feature = "oqs") {
        choose("liboqs");
        let report = text(&data.run(&["check-config"]).stderr);
        assert!(report.contains("liboqs is not in this build") && report.contains("--features oqs"), "{report}");
    }
}
