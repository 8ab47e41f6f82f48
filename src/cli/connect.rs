//! The way from a command to the operations: through the control socket of the running server, or, when none runs, on the data
//! folder itself. Both end in the same handlers, [`Control::handle`](crate::admin::Control::handle).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::{Failed, Global};
use crate::admin::Control;
use crate::config::{Config, Overrides};
use crate::server::{Instance, OpenError, instance};

/// Where requests go.
pub enum Connection {
    /// To the running server.
    Socket(PathBuf),
    /// To the handlers in this process, on the data folder that it holds the lock of.
    Folder(Arc<Control>, Box<Instance>),
}

impl Connection {
    /// To the running server if there is one, else on the data folder.
    pub async fn open(global: &Global) -> Result<Self, Failed> {
        let path = global.config_path();
        let socket = likely_socket(&path);
        if answers(&socket).await {
            return Ok(Connection::Socket(socket));
        }
        let config = load(&path)?;
        let socket = config.server.control_socket.clone();
        if answers(&socket).await {
            return Ok(Connection::Socket(socket));
        }
        match Instance::open(config).await {
            Ok(instance) => Ok(Connection::Folder(instance.control(), Box::new(instance))),
            Err(OpenError::Locked(path)) => Err(Failed::new(format!(
                "another process holds {}, but no control socket answers at {}: is a server starting or stopping?",
                path.display(),
                socket.display()
            ))),
            Err(error) => Err(error.into()),
        }
    }

    /// To the running server only.
    pub async fn to_server(global: &Global) -> Result<Self, Failed> {
        let path = global.config_path();
        let socket = likely_socket(&path);
        if answers(&socket).await {
            return Ok(Connection::Socket(socket));
        }
        Ok(Connection::Socket(load(&path)?.server.control_socket))
    }

    /// Asks.
    pub async fn get(&self, target: &str) -> Result<Value, Failed> {
        self.send(Method::GET, target, Bytes::new(), "application/json").await
    }

    /// Tells.
    pub async fn post(&self, target: &str, body: &Value) -> Result<Value, Failed> {
        self.send(Method::POST, target, body.to_string().into(), "application/json").await
    }

    /// Sends bytes.
    pub async fn post_bytes(&self, target: &str, body: Vec<u8>) -> Result<Value, Failed> {
        self.send(Method::POST, target, body.into(), "application/octet-stream").await
    }

    /// Removes.
    pub async fn delete(&self, target: &str) -> Result<Value, Failed> {
        self.send(Method::DELETE, target, Bytes::new(), "application/json").await
    }

    async fn send(&self, method: Method, target: &str, body: Bytes, kind: &str) -> Result<Value, Failed> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, "ravelin")
            .header(header::CONTENT_TYPE, kind)
            .header("x-ravelin-operator", operator())
            .body(body)?;
        let (status, body) = match self {
            Connection::Socket(path) => over_socket(path, request).await?,
            Connection::Folder(control, _) => {
                let response = control.handle(request).await;
                (response.status(), response.into_body())
            }
        };
        let value: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        if status.is_success() { Ok(value) } else { Err(problem(status, &value)) }
    }
}

/// Reads the configuration for a command; what is wrong with it is told as `check-config` tells it.
pub fn load(path: &Path) -> Result<Config, Failed> {
    Ok(instance::load(path, &Overrides::from_environment())?)
}

/// Where the control socket is, read without checking anything: a server that runs on the configuration of yesterday has to be
/// reached while that of today is broken, not least to be told to load it and to say what is wrong.
fn likely_socket(path: &Path) -> PathBuf {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let value = |variable: &str, value: Option<&toml::Value>| {
        std::env::var(variable).ok().or_else(|| value.and_then(toml::Value::as_str).map(str::to_owned))
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let data = value("RAVELIN__DATA", table.get("data")).map_or_else(|| folder.to_owned(), |data| folder.join(data));
    let named = table.get("server").and_then(|server| server.get("control-socket"));
    data.join(value("RAVELIN__SERVER__CONTROL_SOCKET", named).unwrap_or_else(|| "control.sock".to_owned()))
}

/// Who is at the keyboard, for the audit log: a name, not a proof.
fn operator() -> String {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).or_else(|_| std::env::var("LOGNAME"));
    let name: String = name.unwrap_or_default().chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
    if name.is_empty() { "local".to_owned() } else { name }
}

async fn answers(socket: &Path) -> bool {
    UnixStream::connect(socket).await.is_ok()
}

async fn over_socket(path: &Path, request: Request<Bytes>) -> Result<(StatusCode, Bytes), Failed> {
    let stream = UnixStream::connect(path).await.map_err(|error| {
        Failed::new(format!("no server answers at {} ({error}); start one with: ravelin serve", path.display()))
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request.map(Full::new)).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, body))
}

/// An RFC 9457 problem as an error message.
fn problem(status: StatusCode, value: &Value) -> Failed {
    let code = value["code"].as_str().unwrap_or("");
    let detail = value["detail"].as_str().or(value["title"].as_str()).unwrap_or(status.canonical_reason().unwrap_or("failed"));
    let message = if code.is_empty() { detail.to_owned() } else { format!("{detail} [{code}]") };
    if code == "bad-configuration" { Failed::config(message) } else { Failed::new(message) }
}

/// A query string out of the pairs that have a value.
pub fn query(path: &str, pairs: &[(&str, Option<String>)]) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let mut target = path.to_owned();
    let mut mark = '?';
    for (name, value) in pairs {
        if let Some(value) = value {
            target.push(mark);
            target.push_str(name);
            target.push('=');
            target.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
            mark = '&';
        }
    }
    target
}

/// A path segment, escaped.
pub fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_found_beside_a_broken_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ravelin.toml");
        std::fs::write(&file, "data = \"state\"\nunknown = 1\n[server]\ncontrol-socket = \"c\"").unwrap();
        assert_eq!(likely_socket(&file), dir.path().join("state/c"));
        std::fs::write(&file, "data = [").unwrap();
        assert_eq!(likely_socket(&file), dir.path().join("control.sock"));
    }

    #[test]
    fn queries_are_escaped() {
        let target = query("/v1/certificates", &[("text", Some("a b&c".into())), ("group", None), ("limit", Some("5".into()))]);
        assert_eq!(target, "/v1/certificates?text=a%20b%26c&limit=5");
    }

    #[test]
    fn problems_carry_their_code() {
        let value = serde_json::json!({"code": "unknown-group", "detail": "there is no group \"x\""});
        assert_eq!(problem(StatusCode::NOT_FOUND, &value).message(), "there is no group \"x\" [unknown-group]");
    }
}
