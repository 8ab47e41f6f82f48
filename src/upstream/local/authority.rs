//! One CA in its folder, as it was loaded: immutable, replaced whole when its key rolls over.
//!
//! ```text
//! <dir>/<name>/certificate.pem        its certificate
//!              key.pem                its key, encrypted PKCS#8
//!              alternative-key.pem    the key of its alternative signatures, where its certificate names one
//!              chain.pem              the certificates above it, issuer first (none for a root)
//!              ca.toml                settings
//!              serial.key             32 secret octets that serial numbers are made with
//!              next-certificate.pem, next-key.pem, next-chain.pem, ...    prepared for the rollover
//!              next-cross.pem                                             of a root: new key by the old one, old key by the new one
//!              previous-N-certificate.pem, previous-N-key.pem, ...        earlier generations, oldest first; without a key once retired
//!              previous-N-cross.pem                                       what next-cross.pem was when N went
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::assembly::IssuerKeys;
use super::crl::CrlCache;
use super::settings::Settings;
use super::{LocalCaError, files};
use crate::crypto::{Signer, keystore, provider};
use crate::upstream::crl_key_name;
use crate::x509::{Certificate, spki};

/// A CA that can sign.
pub(super) struct Authority {
    pub(super) certificate: Arc<Certificate>,
    /// The CA's own certificate first, the root last.
    pub(super) chain: Arc<[Arc<Certificate>]>,
    pub(super) keys: IssuerKeys,
    pub(super) settings: Settings,
    pub(super) serial_key: Zeroizing<Vec<u8>>,
    pub(super) next: Option<Arc<Certificate>>,
    pub(super) previous: Vec<Previous>,
    pub(super) crls: CrlCache,
}

/// An earlier generation. Its keys are read only when somebody asks for its CRL.
#[derive(Clone)]
pub(super) struct Previous {
    pub(super) certificate: Arc<Certificate>,
    /// Its own certificate first, the root last.
    pub(super) chain: Arc<[Arc<Certificate>]>,
    key: PathBuf,
    alternative_key: PathBuf,
}

impl Previous {
    /// Whether its key is gone, so that it signs no CRLs any more.
    pub(super) fn retired(&self) -> bool {
        !self.key.is_file()
    }

    /// The CA as it was in this generation, to carry out an order of that time. Blocks, for reading the key.
    pub(super) fn authority(&self, current: &Authority, passphrase: &str) -> Result<Authority, LocalCaError> {
        Ok(Authority {
            certificate: Arc::clone(&self.certificate),
            chain: Arc::clone(&self.chain),
            keys: self.keys(passphrase)?,
            settings: current.settings.clone(),
            serial_key: current.serial_key.clone(),
            next: None,
            previous: Vec::new(),
            crls: CrlCache::default(),
        })
    }

    /// Reads its keys.
    pub(super) fn keys(&self, passphrase: &str) -> Result<IssuerKeys, LocalCaError> {
        let primary = read_signer(&self.key, passphrase)?;
        let alternative = match self.certificate.alternative_spki() {
            Some(_) => Some(read_signer(&self.alternative_key, passphrase)?),
            None => None,
        };
        Ok(IssuerKeys { primary, alternative })
    }
}

impl Authority {
    /// Loads the CA in this folder, and ends a rollover that was broken off.
    pub(super) fn load(dir: &Path, passphrase: &str) -> Result<Self, LocalCaError> {
        let mut certificate = read_certificate(&dir.join(CERTIFICATE))?;
        let signer = read_signer(&dir.join(KEY), passphrase)?;
        if !same_key(signer.spki(), certificate.spki()) {
            let next = dir.join(NEXT_CERTIFICATE);
            if !next.is_file() || !same_key(signer.spki(), read_certificate(&next)?.spki()) {
                return Err(LocalCaError::KeyMismatch { certificate: dir.join(CERTIFICATE), key: dir.join(KEY) });
            }
            finish_activation(dir)?;
            certificate = read_certificate(&dir.join(CERTIFICATE))?;
        }
        if !certificate.is_ca() {
            return Err(LocalCaError::NotACa { path: dir.join(CERTIFICATE) });
        }
        let alternative = read_alternative(&certificate, &dir.join(CERTIFICATE), &dir.join(ALTERNATIVE_KEY), passphrase)?;
        let certificate = Arc::new(certificate);
        let next = dir.join(NEXT_CERTIFICATE);
        Ok(Authority {
            chain: read_chain(&certificate, &dir.join(CHAIN))?.into(),
            keys: IssuerKeys { primary: signer, alternative },
            settings: Settings::read(&dir.join(SETTINGS))?,
            serial_key: read_serial_key(&dir.join(SERIAL_KEY))?,
            next: if next.is_file() { Some(Arc::new(read_certificate(&next)?)) } else { None },
            previous: read_previous(dir, &certificate)?,
            crls: CrlCache::default(),
            certificate,
        })
    }

    /// The CA as it will be once it signs with its next key. Blocks, for reading the key.
    pub(super) fn with_next(&self, dir: &Path, passphrase: &str) -> Result<Option<Authority>, LocalCaError> {
        let Some(next) = &self.next else { return Ok(None) };
        let (certificate, key) = (dir.join(NEXT_CERTIFICATE), dir.join(NEXT_KEY));
        if !next.is_ca() {
            return Err(LocalCaError::NotACa { path: certificate });
        }
        let primary = read_signer(&key, passphrase)?;
        if !same_key(primary.spki(), next.spki()) {
            return Err(LocalCaError::KeyMismatch { certificate, key });
        }
        let alternative = read_alternative(next, &certificate, &dir.join(NEXT_ALTERNATIVE_KEY), passphrase)?;
        Ok(Some(Authority {
            certificate: Arc::clone(next),
            chain: read_chain(next, &dir.join(NEXT_CHAIN))?.into(),
            keys: IssuerKeys { primary, alternative },
            settings: self.settings.clone(),
            serial_key: self.serial_key.clone(),
            next: None,
            previous: self.previous.clone(),
            crls: CrlCache::default(),
        }))
    }

    /// The generation that an order names: `None` is the current one. The error says why there is none.
    pub(super) fn generation(&self, key: Option<&str>) -> Result<Option<&Previous>, String> {
        let Some(key) = key.filter(|key| *key != crl_key_name(&self.certificate)) else { return Ok(None) };
        match self.previous.iter().find(|previous| crl_key_name(&previous.certificate) == key) {
            Some(previous) if previous.retired() => Err(format!("its key {key}, which the order names, is retired")),
            Some(previous) => Ok(Some(previous)),
            None => Err(format!("it has no key {key}, which the order names")),
        }
    }

    /// The chain of the generation whose key signed this certificate.
    pub(super) fn chain_above(&self, certificate: &Certificate) -> &Arc<[Arc<Certificate>]> {
        let Some(named) = certificate.authority_key_identifier() else { return &self.chain };
        let is = |ca: &Certificate| key_identifier(ca).is_ok_and(|own| own == named);
        if is(&self.certificate) {
            return &self.chain;
        }
        self.previous.iter().find(|previous| is(&previous.certificate)).map_or(&self.chain, |previous| &previous.chain)
    }

    /// What authorityKeyIdentifier says in what this CA issues.
    pub(super) fn key_identifier(&self) -> Result<Vec<u8>, LocalCaError> {
        key_identifier(&self.certificate)
    }
}

/// The key identifier of a CA certificate: what it says itself, else the SHA-1 of its key.
pub(super) fn key_identifier(certificate: &Certificate) -> Result<Vec<u8>, LocalCaError> {
    match certificate.subject_key_identifier() {
        Some(identifier) => Ok(identifier),
        None => Ok(spki::key_identifier(certificate.spki())?.to_vec()),
    }
}

/// Whether two SubjectPublicKeyInfo name the same key, however their parameters are written.
pub(crate) fn same_key(a: &[u8], b: &[u8]) -> bool {
    fn bits(der: &[u8]) -> Option<(der::oid::ObjectIdentifier, Vec<u8>)> {
        let info = <::spki::SubjectPublicKeyInfoRef<'_> as der::Decode>::from_der(der).ok()?;
        Some((info.algorithm.oid, info.subject_public_key.raw_bytes().to_vec()))
    }
    a == b || matches!((bits(a), bits(b)), (Some(a), Some(b)) if a == b)
}

/// The CA folders in `dir`, by name.
pub(super) fn folders(dir: &Path) -> Result<Vec<String>, LocalCaError> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        Err(e) => return Err(LocalCaError::io(dir)(e)),
    };
    for entry in entries {
        let entry = entry.map_err(LocalCaError::io(dir))?;
        if let Ok(name) = entry.file_name().into_string()
            && check_name(&name).is_ok()
            && entry.path().join(CERTIFICATE).is_file()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Lets only names through that are safe as a folder.
pub(super) fn check_name(name: &str) -> Result<(), LocalCaError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(fits) && name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Ok(())
    } else {
        Err(LocalCaError::BadName { name: name.to_owned() })
    }
}

/// Takes back what was prepared. The key is destroyed, the certificate goes last: while it is there, this can be done again.
pub(super) fn cancel(dir: &Path) -> Result<(), LocalCaError> {
    for key in [NEXT_KEY, NEXT_ALTERNATIVE_KEY] {
        let path = dir.join(key);
        files::destroy(&path).map_err(LocalCaError::io(&path))?;
    }
    for name in [NEXT_CHAIN, NEXT_CROSS, NEXT_CERTIFICATE] {
        let path = dir.join(name);
        files::remove(&path).map_err(LocalCaError::io(&path))?;
    }
    Ok(())
}

/// Prepares an earlier generation as the next one. Its own files stay: they are named twice.
pub(super) fn prepare_earlier(dir: &Path, earlier: &Certificate) -> Result<(), LocalCaError> {
    let mut found = None;
    for n in numbers_of(dir, earlier)? {
        if dir.join(format!("previous-{n}-key.pem")).is_file() {
            found = Some(n);
        }
    }
    // What a preparation that was broken off left behind.
    cancel(dir)?;
    let Some(n) = found else { return Err(LocalCaError::Retired { key: crl_key_name(earlier) }) };
    for (from, to) in
        [("key", NEXT_KEY), ("alternative-key", NEXT_ALTERNATIVE_KEY), ("chain", NEXT_CHAIN), ("certificate", NEXT_CERTIFICATE)]
    {
        let from = dir.join(format!("previous-{n}-{from}.pem"));
        if from.is_file() {
            files::keep_as(&from, &dir.join(to)).map_err(LocalCaError::io(&from))?;
        } else if to == NEXT_CHAIN && earlier.issuer() == earlier.subject() {
            // A root has none, and what its successor had must not stay.
            let path = dir.join(to);
            files::write(&path, b"").map_err(LocalCaError::io(&path))?;
        }
    }
    Ok(())
}

/// Destroys the keys of an earlier generation; its certificate stays for those who check what it signed.
pub(super) fn retire(dir: &Path, earlier: &Certificate) -> Result<(), LocalCaError> {
    for n in numbers_of(dir, earlier)? {
        for key in ["key", "alternative-key"] {
            let path = dir.join(format!("previous-{n}-{key}.pem"));
            files::destroy(&path).map_err(LocalCaError::io(&path))?;
        }
    }
    Ok(())
}

/// The numbers under which an earlier generation is kept: more than one if it came and went.
fn numbers_of(dir: &Path, earlier: &Certificate) -> Result<Vec<u32>, LocalCaError> {
    let mut numbers = Vec::new();
    for n in files::numbered(dir, "previous-", "-certificate.pem").map_err(LocalCaError::io(dir))? {
        if read_certificate(&dir.join(format!("previous-{n}-certificate.pem")))? == *earlier {
            numbers.push(n);
        }
    }
    Ok(numbers)
}

/// Puts the next generation in the place of the current one, which stays as `previous-N-*`.
///
/// The key is renamed first and the certificate last. Whoever finds a key that fits the next certificate knows that
/// [`finish_activation`] is what is missing.
pub(super) fn activate(dir: &Path) -> Result<(), LocalCaError> {
    let number =
        files::numbered(dir, "previous-", "-certificate.pem").map_err(LocalCaError::io(dir))?.last().map_or(1, |n| n + 1);
    for (from, to) in [(KEY, "key"), (CERTIFICATE, "certificate")] {
        let path = dir.join(from);
        files::keep_as(&path, &dir.join(format!("previous-{number}-{to}.pem"))).map_err(LocalCaError::io(&path))?;
    }
    for (from, to) in [(ALTERNATIVE_KEY, "alternative-key"), (CHAIN, "chain"), (NEXT_CROSS, "cross")] {
        let path = dir.join(from);
        if path.is_file() {
            files::keep_as(&path, &dir.join(format!("previous-{number}-{to}.pem"))).map_err(LocalCaError::io(&path))?;
        }
    }
    let key = dir.join(KEY);
    files::rename(&dir.join(NEXT_KEY), &key).map_err(LocalCaError::io(&key))?;
    finish_activation(dir)
}

fn finish_activation(dir: &Path) -> Result<(), LocalCaError> {
    let (next, alternative) = (dir.join(NEXT_CERTIFICATE), dir.join(ALTERNATIVE_KEY));
    if next.is_file() && alternative.is_file() && read_certificate(&next)?.alternative_spki().is_none() {
        fs::remove_file(&alternative).map_err(LocalCaError::io(&alternative))?;
    }
    let cross = dir.join(NEXT_CROSS);
    if cross.is_file() {
        fs::remove_file(&cross).map_err(LocalCaError::io(&cross))?;
    }
    for (from, to) in [(NEXT_CHAIN, CHAIN), (NEXT_ALTERNATIVE_KEY, ALTERNATIVE_KEY), (NEXT_CERTIFICATE, CERTIFICATE)] {
        let from = dir.join(from);
        if from.is_file() {
            files::rename(&from, &dir.join(to)).map_err(LocalCaError::io(&from))?;
        }
    }
    Ok(())
}

pub(super) fn read_certificate(path: &Path) -> Result<Certificate, LocalCaError> {
    let text = fs::read_to_string(path).map_err(LocalCaError::io(path))?;
    Certificate::from_pem(&text).map_err(|source| LocalCaError::Certificate { path: path.to_owned(), source })
}

pub(super) fn read_signer(path: &Path, passphrase: &str) -> Result<Arc<dyn Signer>, LocalCaError> {
    let pkcs8 = keystore::read_key(path, Some(passphrase))?;
    Ok(provider().keys.signer(&pkcs8)?)
}

/// Reads the alternative key, which has to be the one that the certificate names.
pub(super) fn read_alternative(
    certificate: &Certificate,
    certificate_path: &Path,
    path: &Path,
    passphrase: &str,
) -> Result<Option<Arc<dyn Signer>>, LocalCaError> {
    let mismatch = || LocalCaError::KeyMismatch { certificate: certificate_path.to_owned(), key: path.to_owned() };
    match certificate.alternative_spki() {
        Some(spki) => match read_signer(path, passphrase)? {
            signer if same_key(signer.spki(), spki) => Ok(Some(signer)),
            _ => Err(mismatch()),
        },
        None if path.is_file() => Err(mismatch()),
        None => Ok(None),
    }
}

/// The certificate and what is above it, each checked to have signed the one before, with its alternative key too where it has one.
fn read_chain(certificate: &Arc<Certificate>, path: &Path) -> Result<Vec<Arc<Certificate>>, LocalCaError> {
    let mut chain = vec![Arc::clone(certificate)];
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => {}
        Ok(text) => {
            let above = Certificate::chain_from_pem(&text)
                .map_err(|source| LocalCaError::Certificate { path: path.to_owned(), source })?;
            chain.extend(above.into_iter().map(Arc::new));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(LocalCaError::io(path)(e)),
    }
    for pair in chain.windows(2) {
        let (below, above) = (&pair[0], &pair[1]);
        let alternative = match above.alternative_spki() {
            Some(spki) if below.has_alternative_signature() => below.verify_alternative(spki),
            _ => Ok(()),
        };
        let signed = below.verify_signed_by(above.spki()).and(alternative);
        if below.issuer() != above.subject() || !above.is_ca() || signed.is_err() {
            return Err(LocalCaError::BrokenChain { path: path.to_owned() });
        }
    }
    Ok(chain)
}

/// Reads the serial key; a CA that was made elsewhere gets one on its first start.
fn read_serial_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, LocalCaError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            let key = Zeroizing::new(hex::decode(text.trim()).unwrap_or_default());
            if key.len() != SERIAL_KEY_LEN {
                let why = format!("it must hold {SERIAL_KEY_LEN} octets in hex; restore it, or remove it to have a new one made");
                return Err(LocalCaError::Settings { path: path.to_owned(), why });
            }
            Ok(key)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => write_serial_key(path),
        Err(e) => Err(LocalCaError::io(path)(e)),
    }
}

/// Makes a serial key.
pub(super) fn write_serial_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, LocalCaError> {
    let key = Zeroizing::new(provider().random::<SERIAL_KEY_LEN>().to_vec());
    files::write_secret(path, Zeroizing::new(hex::encode(&*key)).as_bytes()).map_err(LocalCaError::io(path))?;
    Ok(key)
}

/// The earlier generations. An activation that was broken off early leaves the current one among them, or one of them twice.
fn read_previous(dir: &Path, current: &Certificate) -> Result<Vec<Previous>, LocalCaError> {
    let mut previous: Vec<Previous> = Vec::new();
    for n in files::numbered(dir, "previous-", "-certificate.pem").map_err(LocalCaError::io(dir))? {
        let certificate = read_certificate(&dir.join(format!("previous-{n}-certificate.pem")))?;
        if certificate != *current && previous.iter().all(|p| *p.certificate != certificate) {
            let key = dir.join(format!("previous-{n}-key.pem"));
            let alternative_key = dir.join(format!("previous-{n}-alternative-key.pem"));
            let certificate = Arc::new(certificate);
            let chain = read_chain(&certificate, &dir.join(format!("previous-{n}-chain.pem")))?.into();
            previous.push(Previous { certificate, chain, key, alternative_key });
        }
    }
    Ok(previous)
}

pub(super) const CERTIFICATE: &str = "certificate.pem";
pub(super) const KEY: &str = "key.pem";
pub(super) const ALTERNATIVE_KEY: &str = "alternative-key.pem";
pub(super) const CHAIN: &str = "chain.pem";
pub(super) const SETTINGS: &str = "ca.toml";
pub(super) const SERIAL_KEY: &str = "serial.key";
pub(super) const NEXT_CERTIFICATE: &str = "next-certificate.pem";
pub(super) const NEXT_KEY: &str = "next-key.pem";
pub(super) const NEXT_ALTERNATIVE_KEY: &str = "next-alternative-key.pem";
pub(super) const NEXT_CHAIN: &str = "next-chain.pem";
pub(super) const NEXT_CROSS: &str = "next-cross.pem";
const SERIAL_KEY_LEN: usize = 32;
