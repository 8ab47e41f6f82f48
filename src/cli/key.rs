//! `ravelin key`: private keys in files, from one form and one encryption to another. All of them are PKCS#8 in PEM, as OpenSSL reads
//! and writes it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use der::Decode;
use pkcs8::PrivateKeyInfoRef;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Exit, Failed, Global, Outcome, connect, output};
use crate::algorithm::{KeyAlgorithm, unsupported};
use crate::crypto::{CryptoError, KeyForm, Signer, keystore, ml_dsa, provider};
use crate::server::Folder;

/// `ravelin key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key
    Generate(GenerateArgs),
    /// Say what a key file holds; nothing secret is printed
    Show(ShowArgs),
    /// Check a key from elsewhere, and write it as the data folder holds its keys: encrypted with its passphrase
    Import(ImportArgs),
    /// Write a key of the data folder for use elsewhere
    Export(ExportArgs),
    /// Write a key in another form, or with another passphrase or none
    Convert(ConvertArgs),
}

/// `ravelin key generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Its kind: rsa-3072, ecdsa-p256, ed25519, ml-dsa-65, slh-dsa-sha2-128s, mldsa65-ecdsa-p256-sha512, …
    #[arg(value_name = "KEY")]
    pub key: KeyAlgorithm,
    #[command(flatten)]
    pub out: Out,
}

/// `ravelin key show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    pub input: In,
    /// Print the public key, PEM
    #[arg(long, conflicts_with = "json")]
    pub public: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `ravelin key import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(flatten)]
    pub input: In,
    /// The file to write; one that is there stays
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
}

/// `ravelin key export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The key file in the data folder
    pub file: PathBuf,
    #[command(flatten)]
    pub out: Out,
}

/// `ravelin key convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    #[command(flatten)]
    pub input: In,
    #[command(flatten)]
    pub out: Out,
}

/// A key file to read.
#[derive(Debug, Args)]
pub struct In {
    /// The key file: PKCS#8, PEM
    pub file: PathBuf,
    /// The file whose first line is its passphrase, if it is encrypted
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// A key file to write.
#[derive(Debug, Args)]
pub struct Out {
    /// The file to write; one that is there stays
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    /// The file whose first line is the passphrase to encrypt it with; it is not encrypted if not set
    #[arg(long, value_name = "FILE")]
    pub out_passphrase_file: Option<PathBuf>,
    /// The form of an ML-DSA key: seed, expanded or both (RFC 9881) [default: seed, if it is known]
    #[arg(long, value_name = "FORM")]
    pub form: Option<KeyForm>,
}

impl KeyCommand {
    /// Runs it.
    pub fn run(self, global: &Global) -> Outcome {
        match self {
            KeyCommand::Generate(args) => {
                let key = provider().keys.generate(args.key).map_err(|error| match error {
                    CryptoError::Unsupported => Failed::new(format!("this program makes no keys {}", args.key)),
                    other => other.into(),
                })?;
                args.out.write(key.as_ref())?;
            }
            KeyCommand::Show(args) => {
                let (key, pkcs8) = args.input.read()?;
                let view = view(key.as_ref(), &pkcs8);
                match (args.public, args.json) {
                    (true, _) => output::print(&output::pem("PUBLIC KEY", key.spki())),
                    (_, true) => output::json(&view),
                    _ => output::print(&output::object(&view)),
                }
            }
            KeyCommand::Import(args) => {
                let (key, _) = args.input.read()?;
                let passphrase = Folder::of(&connect::load(&global.config_path())?).passphrase()?;
                write(&args.out, &exported(key.as_ref(), None)?, Some(&passphrase))?;
            }
            KeyCommand::Export(args) => {
                let passphrase = Folder::of(&connect::load(&global.config_path())?).passphrase()?;
                let (key, _) = open(&args.file, Some(&passphrase))?;
                args.out.write(key.as_ref())?;
            }
            KeyCommand::Convert(args) => {
                let (key, _) = args.input.read()?;
                args.out.write(key.as_ref())?;
            }
        }
        Ok(Exit::Ok)
    }
}

type Opened = (Arc<dyn Signer>, Zeroizing<Vec<u8>>);

impl In {
    fn read(&self) -> Result<Opened, Failed> {
        let passphrase = self.passphrase_file.as_deref().map(keystore::read_passphrase).transpose()?;
        open(&self.file, passphrase.as_ref().map(|text| text.as_str()))
    }
}

impl Out {
    fn write(&self, key: &dyn Signer) -> Result<(), Failed> {
        let passphrase = self.out_passphrase_file.as_deref().map(keystore::read_passphrase).transpose()?;
        write(&self.out, &exported(key, self.form)?, passphrase.as_ref().map(|text| text.as_str()))
    }
}

fn open(path: &Path, passphrase: Option<&str>) -> Result<Opened, Failed> {
    let pkcs8 = keystore::read_key(path, passphrase)?;
    let key = provider().keys.signer(&pkcs8).map_err(|error| {
        let oid = PrivateKeyInfoRef::from_der(&pkcs8).map(|info| info.algorithm.oid).ok();
        let why = match oid.and_then(|oid| unsupported::by_oid(&oid)) {
            Some(refused) => format!("a key {}: {}", refused.name, refused.why),
            None => error.to_string(),
        };
        Failed::new(format!("{}: {why}", path.display()))
    })?;
    Ok((key, pkcs8))
}

fn exported(key: &dyn Signer, form: Option<KeyForm>) -> Result<Zeroizing<Vec<u8>>, Failed> {
    let kind = key.key();
    match form {
        None => key.export_pkcs8().ok_or_else(|| Failed::new(format!("the key {kind} cannot leave where it is"))),
        Some(form) => key.export_form(form).ok_or_else(|| {
            Failed::new(if ml_dsa::is(kind) {
                format!("the key came in its expanded form, from which no seed can be computed, so that it has no form {form}")
            } else {
                format!("only ML-DSA keys have forms, and this is a key {kind}; leave out --form")
            })
        }),
    }
}

fn write(path: &Path, pkcs8: &[u8], passphrase: Option<&str>) -> Result<(), Failed> {
    if path.exists() {
        return Err(Failed::new(format!("{}: this file is there already; keys are not overwritten", path.display())));
    }
    match passphrase {
        Some(passphrase) => keystore::write_key(path, pkcs8, passphrase)?,
        None => keystore::write_plain_key(path, pkcs8)?,
    }
    Ok(())
}

fn view(key: &dyn Signer, pkcs8: &[u8]) -> Value {
    let kind = key.key();
    let signatures: Vec<_> = key.algorithms().iter().map(|algorithm| algorithm.name()).collect();
    let mut view = json!({
        "key": kind,
        "signs_with": signatures,
        "public_key_octets": key.spki().len(),
        "public_key_sha256": hex::encode(provider().digester.sha256(key.spki())),
        "signature_octets": kind.max_signature_len(),
        "post_quantum": kind.is_post_quantum(),
    });
    if let Some(level) = kind.nist_level() {
        view["nist_category"] = level.into();
    }
    if let Some(form) = ml_dsa::form(pkcs8) {
        view["form"] = form.name().into();
    }
    view
}
