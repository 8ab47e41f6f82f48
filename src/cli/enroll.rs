//! `ravelin enroll`: a SCEP client.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Exit, Failed, Global, Outcome};
use crate::algorithm::{ContentCipher, Digest, KeyAlgorithm};
use crate::x509::Certificate;

/// `ravelin enroll`.
#[derive(Clone, Debug, Args)]
pub struct EnrollArgs {
    /// The SCEP address, such as https://ra.example.net/scep/routers
    pub url: String,
    /// The challenge password (it stands in the process list: prefer --challenge-file)
    #[arg(long, value_name = "TEXT", conflicts_with = "challenge_file")]
    pub challenge: Option<String>,
    /// A file with the challenge password; - is stdin
    #[arg(long, value_name = "FILE")]
    pub challenge_file: Option<PathBuf>,
    /// The subject, such as CN=router-1,O=Example
    #[arg(long, value_name = "NAME", required_unless_present_any = ["renew", "get_ca_caps_only"])]
    pub subject: Option<String>,
    /// A subject alternative name: dns:NAME, ip:ADDRESS, uri:URI or email:ADDRESS; may be repeated
    #[arg(long, value_name = "KIND:VALUE")]
    pub san: Vec<String>,
    /// The key to make: rsa-2048, rsa-3072, rsa-4096, ecdsa-p256, ecdsa-p384, ...
    #[arg(long, value_name = "KEY", default_value = "rsa-2048")]
    pub key_type: KeyAlgorithm,
    /// The private key, PEM: used if it is there, made and written there if not
    #[arg(long, value_name = "FILE", default_value = "device.key")]
    pub key: PathBuf,
    /// Where the certificate goes, PEM
    #[arg(long, value_name = "FILE", default_value = "device.crt")]
    pub out: PathBuf,
    /// Renew this certificate, PEM; --renew-key is its key, --key the new one
    #[arg(long, value_name = "CERT", requires = "renew_key")]
    pub renew: Option<PathBuf>,
    /// The key of the certificate to renew, PEM
    #[arg(long, value_name = "FILE", requires = "renew")]
    pub renew_key: Option<PathBuf>,
    /// Seconds between polls while the answer is PENDING
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub poll_interval: Duration,
    /// How often to poll at most; 0 does not poll
    #[arg(long, value_name = "COUNT", default_value_t = 60)]
    pub max_poll: u32,
    /// How PKIOperation is sent; auto goes by the server's capabilities
    #[arg(long, value_enum, default_value_t = HttpMethod::Auto)]
    pub method: HttpMethod,
    /// The digest of signatures; the strongest that the server names if not set
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<Digest>,
    /// The content cipher; by the server's capabilities if not set
    #[arg(long, value_name = "CIPHER")]
    pub cipher: Option<ContentCipher>,
    /// How the content key travels
    #[arg(long, value_enum, default_value_t = Transport::Pkcs1)]
    pub key_transport: Transport,
    /// A file with the CA certificates (PEM) that the RA's certificates must chain to, instead of those of GetCACert
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// A file with the root certificates (PEM) for HTTPS
    #[arg(long, value_name = "FILE")]
    pub tls_roots: Option<PathBuf>,
    /// Only ask for the capabilities (GetCACaps) and print them
    #[arg(long)]
    pub get_ca_caps_only: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How PKIOperation is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HttpMethod {
    /// In the request target, base64.
    Get,
    /// In the body.
    Post,
    /// POST where the server names it.
    Auto,
}

/// How the content-encryption key travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// RSAES-PKCS1-v1_5.
    Pkcs1,
    /// RSAES-OAEP with SHA-256.
    OaepSha256,
    /// RSAES-OAEP with SHA-1, as old implementations have it.
    OaepSha1,
}

/// What an enrollment brought.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// The certificate.
    pub certificate: Certificate,
}

impl EnrollArgs {
    /// Enrolls, and prints what came of it.
    pub async fn run(self, _global: &Global) -> Outcome {
        self.perform().await?;
        Ok(Exit::Ok)
    }

    /// Enrolls, writes key and certificate to their files, and prints nothing.
    pub async fn perform(&self) -> Result<Enrolled, Failed> {
        Err(Failed::new("the SCEP client is not part of this build"))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| format!("{text:?} is not a number of seconds"))
}
