//! `ravelin quickstart`: everything in one folder, a server on this machine, and one demo device that enrolls.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use zeroize::Zeroizing;

use super::{Exit, Failed, Global, Outcome, output, serve, setup};
use crate::admin::Control;
use crate::algorithm::KeyAlgorithm;
use crate::config::{Config, template};
use crate::policy::{ChallengePolicy, DeviceGroup};
use crate::scep::client::{self, Client, CsrSource, DeviceKey};
use crate::server::{self, Bound, Instance, instance};
use crate::x509::{Certificate, DistinguishedName};

/// `ravelin quickstart`.
#[derive(Debug, Args)]
pub struct QuickstartArgs {
    /// The folder for everything
    #[arg(long, value_name = "DIR", default_value = "ravelin-data")]
    pub dir: PathBuf,
    /// Answer devices here [default: what ravelin.toml says; 127.0.0.1:8080 in a new one]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Answer health and metrics here [default: what ravelin.toml says; 127.0.0.1:8081 in a new one]
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
    /// End after the enrollment
    #[arg(long)]
    pub once: bool,
}

impl QuickstartArgs {
    /// Sets up, serves, enrolls.
    pub fn run(self, global: &Global) -> Outcome {
        let file = self.dir.join("ravelin.toml");
        let fresh = !file.exists();
        let defaults = template::Options::default();
        let options = template::Options {
            listen: self.listen.unwrap_or(defaults.listen),
            admin: self.admin.or(defaults.admin),
            ..defaults
        };
        template::write(&self.dir, &options).map_err(|error| Failed::new(format!("{}: {error}", self.dir.display())))?;
        let listen: Vec<SocketAddr> = self.listen.into_iter().collect();
        let overrides = serve::overrides(&listen, self.admin);
        let config = instance::load(&file, &overrides)?;
        serve::start_logs(global, &config, Some("warn"))?;
        if fresh {
            output::print(&format!("Setting up {} (the keys take a moment) ...\n", self.dir.display()));
        }
        // The device's key takes as long as the RA's: all of them at once.
        let key = std::thread::spawn(|| DeviceKey::generate(KeyAlgorithm::Rsa(2048)));
        let made = setup::make(&config)?;
        let key = key.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        for ca in &made.cas {
            output::print(&format!("  made the CA {ca}\n"));
        }
        if made.ra {
            output::print("  made the RA's two keys and their certificates\n");
        }

        let group = demo_group(&config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let done = runtime.block_on(async {
            let instance = Instance::open_with(config, overrides).await?;
            let control = instance.control();
            let (stop, stops) = watch::channel(false);
            let (tell, told) = oneshot::channel();
            let server = tokio::spawn(server::run(instance, stops, |bound| {
                let _ = tell.send(bound);
            }));
            // If the server ends before it is ready, it says why itself.
            let Ok(bound) = told.await else { return Ok(server.await??) };
            let shown = demonstrate(&control, &bound, &group, key, &self.dir, &file).await;
            if self.once || shown.is_err() {
                let _ = stop.send(true);
            }
            server.await??;
            shown
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        done.map(|()| Exit::Ok)
    }
}

/// The group for the demo device: the first one that takes one-time challenges that are bound to nothing.
fn demo_group(config: &Config) -> Result<Arc<DeviceGroup>, Failed> {
    let open = |group: &DeviceGroup| {
        group.challenges.iter().any(|way| matches!(way, ChallengePolicy::OneTime { bind, .. } if bind.is_empty()))
    };
    let mut groups: Vec<_> = config.groups.iter().map(|(group, _)| group).filter(|group| open(group)).collect();
    groups.sort_by_key(|group| group.name != "default");
    groups.first().map(|group| Arc::clone(group)).ok_or_else(|| {
        Failed::config("no group takes one-time challenges, so no demo device can enroll; serve with: ravelin serve".to_owned())
    })
}

/// Enrolls one device over HTTP, and tells what happened and what to do next.
async fn demonstrate(
    control: &Control,
    bound: &Bound,
    group: &DeviceGroup,
    key: DeviceKey,
    dir: &Path,
    file: &Path,
) -> Result<(), Failed> {
    let address = bound.devices.first().ok_or_else(|| Failed::config("there is no plain HTTP listener for the demo device"))?;
    let base = format!("http://{}", reachable(*address));
    let url = format!("{base}/scep/{}", group.name);
    output::print(&format!("Serving SCEP at {url}\n"));
    if let Some(admin) = bound.admin {
        output::print(&format!("Health and metrics at http://{0}/readyz and http://{0}/metrics\n", reachable(admin)));
    }

    let demo = dir.join("demo");
    std::fs::create_dir_all(&demo).map_err(|error| Failed::new(format!("{}: {error}", demo.display())))?;
    let name = format!("demo-{}", hex::encode(crate::crypto::provider().random::<3>()));
    let (key_file, certificate) = (demo.join(format!("{name}.key")), demo.join(format!("{name}.crt")));
    write_key(&key_file, &key)?;
    let challenge = self::challenge(control, &group.name, "quickstart's demo device").await?;
    let issued = enroll(&url, &name, challenge, key).await?;
    std::fs::write(&certificate, issued.to_pem()).map_err(|error| Failed::new(format!("{}: {error}", certificate.display())))?;
    let fingerprint = hex::encode(issued.fingerprint());
    let record = ask(control, Method::GET, &format!("/v1/certificates/{fingerprint}"), Value::Null).await?;
    let target = format!("/v1/transactions/{}", output::text(&record, "transaction"));
    let transaction = ask(control, Method::GET, &target, Value::Null).await?;
    let text = |field: &str| output::text(&record, field);
    output::print("\nA device enrolled over SCEP:\n");
    output::print(&indent(&output::fields(&[
        ("device", format!("CN={name}, with an RSA-2048 key of its own")),
        ("group", text("group")),
        ("rule", output::text(&transaction, "rule")),
        ("profile", text("profile")),
        ("issuer", format!("{} ({}/{})", text("issuer"), text("upstream"), text("ca"))),
        ("signed with", text("signature_algorithm")),
        ("serial", text("serial")),
        ("valid until", output::time(&record, "not_after")),
        ("file", certificate.display().to_string()),
    ])));
    let next = self::challenge(control, &group.name, "quickstart's next step").await?;
    output::print(&next_steps(&url, &next, group, file));
    Ok(())
}

/// The one place that plays the device: with the SCEP client that `ravelin enroll` has, over HTTP like any other.
async fn enroll(url: &str, name: &str, challenge: String, key: DeviceKey) -> Result<Certificate, Failed> {
    let csr = CsrSource::Template {
        subject: DistinguishedName::parse(&format!("CN={name}"), true)?,
        subject_alt_names: Vec::new(),
        extended_key_usages: Vec::new(),
        key_usage: None,
    };
    let challenge = Some(Zeroizing::new(challenge));
    let request = client::Request {
        key,
        csr,
        challenge,
        renewal: None,
        transport_key: None,
        reply_key: None,
        message_type: None,
        transaction_id: None,
    };
    let enrollment = Client::new(url, client::Options::default())?.enroll(request).await?;
    match enrollment.outcome {
        client::Outcome::Issued(issued) => Ok(issued.certificate),
        client::Outcome::Pending => {
            Err(Failed::new("the group lets the demo device wait for approval; see: ravelin pending list".to_owned()))
        }
        client::Outcome::Failed(failure) => Err(Failed::new(format!("the demo device was refused: {failure:?}"))),
    }
}

/// Writes a key of the demo device, for its owner only.
fn write_key(path: &Path, key: &DeviceKey) -> Result<(), Failed> {
    let pkcs8 = key.signer().export_pkcs8().ok_or_else(|| Failed::new("the key of the demo device does not leave its place"))?;
    let pem = Zeroizing::new(output::pem("PRIVATE KEY", &pkcs8));
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(pem.as_bytes())).map_err(|error| Failed::new(format!("{}: {error}", path.display())))
}

async fn challenge(control: &Control, group: &str, note: &str) -> Result<String, Failed> {
    let minted = ask(control, Method::POST, "/v1/challenges", json!({ "group": group, "note": note })).await?;
    Ok(output::text(&minted["challenges"][0], "challenge"))
}

async fn ask(control: &Control, method: Method, target: &str, body: Value) -> Result<Value, Failed> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder().method(method).uri(target).header("x-ravelin-operator", "quickstart").body(body.into())?;
    let response = control.handle(request).await;
    let value: Value = serde_json::from_slice(response.body())?;
    if response.status().is_success() {
        Ok(value)
    } else {
        Err(Failed::new(format!("{} [{}]", output::text(&value, "detail"), output::text(&value, "code"))))
    }
}

/// An address that a client on this machine can use.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr =
            if address.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        SocketAddr::new(loopback, address.port())
    } else {
        address
    }
}

fn next_steps(url: &str, challenge: &str, group: &DeviceGroup, file: &Path) -> String {
    let other = if group.profile == "ml-dsa-65" { "ecdsa-p256" } else { "ml-dsa-65" };
    let file = file.display();
    format!(
        r#"
Next, ready to paste in another terminal:

  # 1. A real SCEP client: strongSwan (the challenge below is fresh, and good once)
  pki --gen --type rsa --size 2048 --outform pem > router.key
  pki --scepca --url {url} --caout ca.pem --raout ra.pem --outform pem --force
  pki --scep --url {url} --in router.key --dn "CN=router-1" --password {challenge} \
      --cacert-enc ra.pem --cacert-sig ra-2.pem --cacert ca.pem --outform pem > router.crt

  # 2. What would happen to a request, and why: nothing is issued
  openssl req -new -newkey rsa:2048 -nodes -keyout try.key -subj /CN=printer-7 -out try.csr
  {ravelin} -c {file} explain try.csr

  # 3. Move the group to another algorithm, and back: one line of its policy, shown first, loaded at once
  {ravelin} -c {file} group set-profile {group_name} {other}
  {ravelin} -c {file} group undo {group_name}

  # 4. Look around
  {ravelin} -c {file} certificate list
  {ravelin} -c {file} challenge new --group {group_name}

"#,
        group_name = group.name,
        ravelin = output::program(),
    )
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
