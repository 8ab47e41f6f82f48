//! Data folders, servers and clients for the tests of operations: all of them processes of the built program.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ravelin");

/// Long enough for a slow machine, short enough for an impatient one.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// RSA keys are slow to make: one folder is made, and every test works in a copy.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = TEMPLATE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let made = ravelin(&["init", "--dir", dir.path().to_str().unwrap()]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        dir
    });
    dir.path()
}

pub fn ravelin(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).env_remove("RAVELIN_CONFIG").output().expect("the program starts")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard output of a command that has to succeed.
#[track_caller]
pub fn good(done: Output) -> String {
    assert!(done.status.success(), "{}\n{}", text(&done.stdout), text(&done.stderr));
    text(&done.stdout)
}

/// Whether the tools that these tests look from outside with are there; says so if not.
pub fn tools() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| {
        let there = ["openssl", "curl"].iter().all(|tool| {
            let found = Command::new(tool).arg(if *tool == "curl" { "--version" } else { "version" }).output();
            found.is_ok_and(|done| done.status.success())
        });
        if !there {
            eprintln!("skipped: there is no openssl or curl command");
        }
        there
    })
}

/// A data folder of its own.
pub struct Data {
    dir: tempfile::TempDir,
}

impl Data {
    pub fn copy() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        copy_into(template(), dir.path());
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn name(&self, name: &str) -> String {
        self.path(name).to_str().expect("temporary folders have plain names").to_owned()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Changes one file; what is looked for has to be there.
    #[track_caller]
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let before = self.read(name);
        assert!(before.contains(from), "{from:?} is not in {name}:\n{before}");
        self.write(name, before.replace(from, to));
    }

    pub fn run(&self, args: &[&str]) -> Output {
        let config = self.name("ravelin.toml");
        let all = [&["-c", &config], args].concat();
        Command::new(PROGRAM).args(all).env_remove("RAVELIN_CONFIG").current_dir(self.dir.path()).output().expect("it starts")
    }

    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let printed = good(self.run(&[args, &["--json"]].concat()));
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    #[track_caller]
    pub fn openssl(&self, args: &[&str]) -> String {
        good(self.try_openssl(args))
    }

    pub fn try_openssl(&self, args: &[&str]) -> Output {
        Command::new("openssl").args(args).current_dir(self.dir.path()).stdin(Stdio::null()).output().expect("openssl starts")
    }

    /// A fresh one-time challenge of the group `default`.
    #[track_caller]
    pub fn challenge(&self) -> String {
        let minted = self.json(&["challenge", "new", "--group", "default"]);
        minted["challenges"][0]["challenge"].as_str().expect("a challenge").to_owned()
    }

    /// The arguments of an enrollment of `name`, whose files are NAME.key and NAME.crt. EC keys are fast to make, and cannot renew:
    /// the answer to a renewal is encrypted to the key.
    pub fn enroll_args(&self, url: &str, name: &str, key_type: &str, more: &[&str]) -> Vec<String> {
        let challenge = self.challenge();
        let (key, out) = (self.name(&format!("{name}.key")), self.name(&format!("{name}.crt")));
        let subject = format!("CN={name}");
        ["enroll", url, "--challenge", &challenge, "--subject", &subject, "--key-type", key_type, "--key", &key]
            .into_iter()
            .chain(["--out", &out, "--json"])
            .chain(more.iter().copied())
            .map(str::to_owned)
            .collect()
    }

    #[track_caller]
    pub fn enroll(&self, url: &str, name: &str, more: &[&str]) -> Value {
        self.enroll_with(url, name, "ecdsa-p256", more)
    }

    #[track_caller]
    pub fn enroll_with(&self, url: &str, name: &str, key_type: &str, more: &[&str]) -> Value {
        let args = self.enroll_args(url, name, key_type, more);
        let done = self.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{}{}", text(&done.stdout), text(&done.stderr)))
    }

    pub fn spawn(&self, args: &[String]) -> Child {
        let mut command = Command::new(PROGRAM);
        command.args(args).current_dir(self.dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("it starts")
    }

    pub fn serve(&self, more: &[&str], environment: &[(&str, &str)]) -> Server {
        Server::start(&self.name("ravelin.toml"), more, environment)
    }
}

/// A running server; on ports of its own unless told otherwise.
pub struct Server {
    child: Child,
    pub devices: SocketAddr,
    pub tls: Option<SocketAddr>,
    log: Arc<Mutex<String>>,
}

impl Server {
    fn start(config: &str, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let listen: &[&str] = if more.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let mut child = Command::new(PROGRAM)
            .args(["-c", config, "--log-format", "json", "serve", "--admin", "127.0.0.1:0"])
            .args(listen)
            .args(more)
            .envs(environment.iter().copied())
            .env_remove("RAVELIN_CONFIG")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mut seen, mut devices, mut tls) = (String::new(), None, None);
        for line in lines.by_ref() {
            let line = line.expect("log lines are text");
            seen.push_str(&line);
            seen.push('\n');
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            if event["message"] == "Serving." {
                devices = first_address(&event["devices"]);
                tls = first_address(&event["devices_tls"]);
                break;
            }
        }
        let Some(devices) = devices else { panic!("the server did not start:\n{seen}") };
        let log = Arc::new(Mutex::new(seen));
        let keep = Arc::clone(&log);
        // Whoever does not read a pipe makes its writer wait.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = keep.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, devices, tls, log }
    }

    pub fn url(&self) -> String {
        format!("http://{}/scep/default", self.devices)
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn get(&self, target: &str) -> Answer {
        exchange(self.devices, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), b"")
    }

    pub fn post(&self, target: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        exchange(self.devices, &head, body)
    }

    pub fn capabilities(&self) -> String {
        text(&self.get("/scep/default?operation=GetCACaps").body)
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill is there");
        assert!(sent.success());
    }

    /// Waits for the end; the exit code.
    pub fn ended(mut self) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn read(stream: &mut impl Read) -> Self {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("the server answers and closes");
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no head: {}", text(&all)));
        let head = text(&all[..end]);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head, body: all.split_off(end + 4) }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        Some(line[name.len() + 1..].trim())
    }
}

pub fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    Answer::read(&mut stream)
}

/// Lets questions through to a server, keeps the first message that is posted, and fails it: so a test gets a real message that
/// the server has never seen.
pub fn trap_message(server: SocketAddr) -> (String, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/scep/default", listener.local_addr().unwrap());
    let trapped = std::thread::spawn(move || {
        loop {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).unwrap(), 0, "a whole head: {head}");
            }
            let target = head.split(' ').nth(1).unwrap().to_owned();
            if head.starts_with("GET ") {
                let asked = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
                let answer = exchange(server, &asked, b"");
                let mut stream = reader.into_inner();
                write!(stream, "{}\r\n\r\n", answer.head).unwrap();
                stream.write_all(&answer.body).unwrap();
                continue;
            }
            let length =
                head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let mut message = vec![0; length.expect("a Content-Length")];
            reader.read_exact(&mut message).unwrap();
            let _ = reader.into_inner().write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return message;
        }
    });
    (url, trapped)
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it never came true that {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The first `a.b.c.d:port` of a debug-formatted list.
fn first_address(value: &Value) -> Option<SocketAddr> {
    let text = value.as_str()?;
    text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).find_map(|part| part.parse().ok())
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&to).unwrap();
            fs::set_permissions(&to, fs::metadata(entry.path()).unwrap().permissions()).unwrap();
            copy_into(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}
