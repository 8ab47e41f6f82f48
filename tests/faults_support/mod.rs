//! The real program on a data folder of its own: started, halted, killed, and asked over loopback.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ravelin::algorithm::KeyAlgorithm;
use ravelin::enroll::challenge::{self, ChallengeOrder};
use ravelin::inventory::Inventory;
use ravelin::inventory::sqlite::SqliteInventory;
use ravelin::scep::client::{Client, CsrSource, DeviceKey, Options, Request};
use ravelin::x509::DistinguishedName;
use tempfile::TempDir;
use zeroize::Zeroizing;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAM: &str = env!("CARGO_BIN_EXE_ravelin");

/// Made once by `ravelin init`: RSA keys take a while.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    TEMPLATE
        .get_or_init(|| {
            let dir = tempfile::tempdir().expect("a folder");
            let made = Command::new(PROGRAM).args(["init", "--dir"]).arg(dir.path()).output().expect("the program runs");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            dir
        })
        .path()
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// A data folder.
pub struct Folder {
    dir: TempDir,
}

impl Folder {
    /// A fresh one, with the group `default`.
    pub fn new() -> Self {
        Self::inside(tempfile::tempdir().expect("a folder"))
    }

    /// A fresh one in a folder that is there.
    pub fn inside(dir: TempDir) -> Self {
        copy(template(), dir.path());
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Changes a file.
    pub fn edit(&self, name: &str, change: impl FnOnce(String) -> String) {
        let path = self.file(name);
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::write(&path, change(text)).expect("written");
    }

    /// The inventory, while no server runs or beside one.
    pub fn inventory(&self) -> SqliteInventory {
        std::fs::create_dir_all(self.file("inventory")).expect("a folder");
        SqliteInventory::open(self.file("inventory/ravelin.sqlite"), Default::default()).expect("opens")
    }

    /// Fresh one-time challenges of the group `default`.
    pub async fn challenges(&self, count: usize) -> Vec<String> {
        let order = ChallengeOrder { group: "default".into(), ttl: Duration::from_secs(3600), ..ChallengeOrder::default() };
        let (texts, rows) = (0..count).map(|_| challenge::mint(&order, Timestamp::now())).unzip();
        self.inventory().add_challenges(rows).await.expect("written");
        texts
    }

    /// Runs a command on this folder, and gives what it printed.
    pub fn command(&self, arguments: &[&str]) -> String {
        let done = Command::new(PROGRAM).arg("-c").arg(self.file("ravelin.toml")).args(arguments).output().expect("it runs");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    }
}

/// A server.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub devices: SocketAddr,
    pub admin: SocketAddr,
}

impl Process {
    /// Starts `ravelin serve` and waits until it serves.
    pub fn start(folder: &Folder) -> Self {
        Self::start_with(folder, &[])
    }

    /// The same, with more in its environment.
    pub fn start_with(folder: &Folder, environment: &[(&str, &str)]) -> Self {
        Self::started(spawn(Command::new(PROGRAM), folder, environment))
    }

    /// The same, with a process that is told of a file size limit by an error, and not by a signal.
    pub fn start_shielded(folder: &Folder) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", PROGRAM]);
        Self::started(spawn(shell, folder, &[]))
    }

    fn started((child, log): (Child, Arc<Mutex<Vec<String>>>)) -> Self {
        let mut process = Self { child, log, devices: NOWHERE, admin: NOWHERE };
        let line = process.wait_for_line("\"Serving.\"");
        let serving: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        process.devices = address(&serving["devices"]);
        process.admin = address(&serving["admin"]);
        process
    }

    /// A client of the group `default`.
    pub fn client(&self) -> Client {
        Client::new(&format!("http://{}/scep/default", self.devices), Options::default()).expect("an address")
    }

    /// What it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic").clone()
    }

    /// Waits until a line with this in it was logged.
    pub fn wait_for_line(&mut self, part: &str) -> String {
        let began = Instant::now();
        loop {
            if let Some(line) = self.log().into_iter().find(|line| line.contains(part)) {
                return line;
            }
            let ended = self.child.try_wait().expect("it is ours");
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "no {part} in {:#?}, {ended:?}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL: nothing is finished, nothing is flushed.
    pub fn kill(mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// SIGTERM: what is under way may end; gives the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(told.success());
        self.child.wait().expect("it is ours").code()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// GET at the admin listener: status and body.
    pub fn admin(&self, path: &str) -> (u16, String) {
        let (status, _, body) =
            exchange(self.admin, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"), &[]);
        (status, body)
    }

    /// POSTs a message: status, head and body.
    pub fn post(&self, message: &[u8]) -> (u16, String, String) {
        let head = format!(
            "POST /scep/default?operation=PKIOperation HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            message.len()
        );
        exchange(self.devices, &head, message)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server that is expected to end by itself, and gives its exit code and log.
pub fn serve_in_vain(folder: &Folder) -> (Option<i32>, Vec<String>) {
    let (mut child, log) = spawn(Command::new(PROGRAM), folder, &[]);
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            break status;
        }
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("it serves: {:#?}", log.lock());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    // The reading thread lets go of the log at its end.
    while Arc::strong_count(&log) > 1 && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    let log = log.lock().expect("no panic").clone();
    (status.code(), log)
}

fn spawn(mut program: Command, folder: &Folder, environment: &[(&str, &str)]) -> (Child, Arc<Mutex<Vec<String>>>) {
    let mut child = program
        .arg("-c")
        .arg(folder.file("ravelin.toml"))
        .args(["--log-format", "json", "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let log = Arc::new(Mutex::new(Vec::new()));
    let (lines, stderr) = (Arc::clone(&log), child.stderr.take().expect("piped"));
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            lines.lock().expect("no panic").push(line);
        }
    });
    (child, log)
}

const NOWHERE: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0));

/// The address in `[127.0.0.1:80]` or `Some(127.0.0.1:80)`.
fn address(value: &serde_json::Value) -> SocketAddr {
    let text = value.as_str().unwrap_or_default();
    text.trim_start_matches("Some(").trim_matches(['[', ']', '(', ')']).parse().unwrap_or_else(|_| panic!("no address: {value}"))
}

/// One exchange over HTTP/1.1: status, head, body.
pub fn exchange(with: SocketAddr, head: &str, body: &[u8]) -> (u16, String, String) {
    let mut stream = TcpStream::connect(with).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    answer(&mut stream)
}

/// Reads an answer until the connection ends.
pub fn answer(stream: &mut TcpStream) -> (u16, String, String) {
    let mut octets = Vec::new();
    let _ = stream.read_to_end(&mut octets);
    let text = String::from_utf8_lossy(&octets);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head.to_lowercase(), body.to_owned())
}

/// A key for all devices of a test binary: RSA keys take a while.
pub fn rsa_key() -> DeviceKey {
    static KEY: OnceLock<DeviceKey> = OnceLock::new();
    KEY.get_or_init(|| DeviceKey::generate(KeyAlgorithm::Rsa(2048)).expect("a key")).clone()
}

/// A request of a device.
pub fn request(key: &DeviceKey, name: &str, challenge: &str) -> Request {
    Request {
        key: key.clone(),
        csr: CsrSource::Template {
            subject: DistinguishedName::parse(&format!("CN={name}"), true).expect("a name"),
            subject_alt_names: Vec::new(),
            extended_key_usages: Vec::new(),
            key_usage: None,
        },
        challenge: Some(Zeroizing::new(challenge.to_owned())),
        renewal: None,
        transport_key: None,
        reply_key: None,
        message_type: None,
        transaction_id: None,
    }
}
