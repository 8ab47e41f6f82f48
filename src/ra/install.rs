//! Installing certificates: checked first, then moved in as a set, so that a crash leaves the old set or the new one.
//!
//! The new set is put together in `incoming.part/`. Renaming that to `incoming/` is the moment that counts: whatever happens
//! after it, [`finish`] moves the files to their places when the folder is next used.

use std::fs;
use std::path::Path;

use jiff::Timestamp;

use super::certify::signer_usage;
use super::rollover::NEXT_CERTIFICATES;
use super::{CHAIN, Keys, MIN_RSA_BITS, RaError, RaStore, Role};
use crate::algorithm::KeyAlgorithm;
use crate::crypto::RaIdentity;
use crate::upstream::local::authority::same_key;
use crate::upstream::local::files;
use crate::x509::{Certificate, KeyUsage};

impl RaStore {
    /// Installs certificates from a CA outside, for the keys that wait or for those in use. `decrypter` is `None` if one key does
    /// both. `chain` is the CA certificates above, in any order, down to the issuers.
    pub fn install(
        &self,
        signer: Certificate,
        decrypter: Option<Certificate>,
        chain: Vec<Certificate>,
        now: Timestamp,
    ) -> Result<RaIdentity, RaError> {
        let mut keys = self.keys_to_certify()?;
        if keys.waiting && !same_key(signer.spki(), keys.signer.spki()) && self.exists() {
            // They may have been ordered for the keys in use, before others were made.
            let in_use = self.keys_in_use()?;
            if same_key(signer.spki(), in_use.signer.spki()) {
                keys = in_use;
            }
        }
        self.install_for(&keys, signer, decrypter, chain, now)
    }

    pub(super) fn install_for(
        &self,
        keys: &Keys,
        signer: Certificate,
        decrypter: Option<Certificate>,
        chain: Vec<Certificate>,
        now: Timestamp,
    ) -> Result<RaIdentity, RaError> {
        let chain = checked(keys, &signer, decrypter.as_ref(), chain, now)?;
        self.stage(keys, &signer, decrypter.as_ref(), &chain, now)?;
        finish(&self.dir)?;
        self.load()
    }

    /// Puts the new set into `incoming/`, and gives the current decrypter its number.
    fn stage(
        &self,
        keys: &Keys,
        signer: &Certificate,
        decrypter: Option<&Certificate>,
        chain: &[Certificate],
        now: Timestamp,
    ) -> Result<(), RaError> {
        let part = self.dir.join("incoming.part");
        if part.exists() {
            fs::remove_dir_all(&part).map_err(RaError::io(&part))?;
        }
        files::create_private_dir(&part).map_err(RaError::io(&part))?;
        let write = |name: &str, text: String| {
            let path = part.join(name);
            files::write(&path, text.as_bytes()).map_err(RaError::io(&path))
        };
        write(CHAIN, chain.iter().map(Certificate::to_pem).collect())?;
        write(Role::Signer.certificate_file(), signer.to_pem())?;
        let mut roles = vec![Role::Signer];
        match decrypter {
            Some(decrypter) => {
                write(Role::Decrypter.certificate_file(), decrypter.to_pem())?;
                roles.push(Role::Decrypter);
            }
            None => write(ONLY_ONE, String::new())?,
        }
        if keys.waiting {
            for role in roles {
                let path = self.dir.join(role.waiting_key_file());
                files::keep_as(&path, &part.join(role.key_file())).map_err(RaError::io(&path))?;
            }
        }
        self.keep_current_decrypter(now)?;
        let incoming = self.dir.join(INCOMING);
        files::rename(&part, &incoming).map_err(RaError::io(&incoming))
    }

    /// Keeps what devices encrypt to today as `decrypter-N.*`, with what signs the replies, and removes what ended, except the latest: devices whose clock is
    /// wrong, or that fetched the certificate long ago, may still use that one.
    fn keep_current_decrypter(&self, now: Timestamp) -> Result<(), RaError> {
        if !self.dir.join(Role::Signer.certificate_file()).is_file() {
            return Ok(());
        }
        // Counted before anything is removed, and with keys whose certificate is gone: a number is never taken again.
        let keys = files::numbered(&self.dir, "decrypter-", ".key.pem").map_err(RaError::io(&self.dir))?;
        let number = keys.into_iter().chain(self.earlier()?).max().map_or(1, |n| n + 1);
        for number in self.earlier()? {
            let path = self.dir.join(format!("decrypter-{number}.pem"));
            let text = fs::read_to_string(&path).map_err(RaError::io(&path))?;
            let ended = Certificate::from_pem(&text).is_ok_and(|c| c.not_after() < now);
            if ended {
                self.remove_earlier(number)?;
            }
        }
        let two = self.dir.join(Role::Decrypter.key_file()).is_file();
        let role = if two { Role::Decrypter } else { Role::Signer };
        let since = self.dir.join(format!("replaced-{number}"));
        files::write(&since, now.to_string().as_bytes()).map_err(RaError::io(&since))?;
        // What signs the replies to those who encrypt to it, then its certificate, which tells that it is there, last.
        let signer = [
            (Role::Signer.key_file(), format!("signer-{number}.key.pem")),
            (Role::Signer.certificate_file(), format!("signer-{number}.pem")),
        ];
        let rest = [
            (CHAIN, format!("chain-{number}.pem")),
            (role.key_file(), format!("decrypter-{number}.key.pem")),
            (role.certificate_file(), format!("decrypter-{number}.pem")),
        ];
        for (from, to) in signer.into_iter().filter(|_| two).chain(rest) {
            let from = self.dir.join(from);
            if from.is_file() || !from.ends_with(CHAIN) {
                files::keep_as(&from, &self.dir.join(to)).map_err(RaError::io(&from))?;
            }
        }
        Ok(())
    }

    fn keys_in_use(&self) -> Result<Keys, RaError> {
        let decrypter = self.dir.join(Role::Decrypter.key_file());
        Ok(Keys {
            waiting: false,
            signer: self.read_signer(&self.dir.join(Role::Signer.key_file()))?,
            decrypter: if decrypter.is_file() { Some(self.read_recipient(&decrypter)?) } else { None },
        })
    }
}

/// Checks that the certificates are for these keys, and that devices can use them; gives the chain above.
pub(super) fn checked(
    keys: &Keys,
    signer: &Certificate,
    decrypter: Option<&Certificate>,
    chain: Vec<Certificate>,
    now: Timestamp,
) -> Result<Vec<Certificate>, RaError> {
    check_keys(keys, signer, decrypter)?;
    let expected = Expected { encapsulation: keys.encapsulate(), chain: &chain, now };
    expected.check(Role::Signer, signer, signer_usage(decrypter.is_none()))?;
    if let Some(decrypter) = decrypter {
        expected.check(Role::Decrypter, decrypter, KeyUsage::KEY_ENCIPHERMENT)?;
    }
    path_above(signer, decrypter, chain, now)
}

/// Moves the files of `incoming/` to their places. Can be broken off and called again at any point.
pub(super) fn finish(dir: &Path) -> Result<(), RaError> {
    let incoming = dir.join(INCOMING);
    if !incoming.is_dir() {
        return Ok(());
    }
    if incoming.join(ONLY_ONE).is_file() {
        for name in [Role::Decrypter.key_file(), Role::Decrypter.certificate_file()] {
            remove(&dir.join(name))?;
        }
    }
    for role in [Role::Decrypter, Role::Signer] {
        let (from, to) = (incoming.join(role.key_file()), dir.join(role.key_file()));
        if from.is_file() {
            files::rename(&from, &to).map_err(RaError::io(&from))?;
        }
        // A key that waited is now in use, under its other name.
        let waiting = dir.join(role.waiting_key_file());
        if waiting.is_file() && fs::read(&waiting).ok() == fs::read(&to).ok() {
            remove(&waiting)?;
        }
    }
    for name in [Role::Decrypter.certificate_file(), Role::Signer.certificate_file(), CHAIN] {
        let from = incoming.join(name);
        if from.is_file() {
            files::rename(&from, &dir.join(name)).map_err(RaError::io(&from))?;
        }
    }
    // What was announced is now in use.
    for name in NEXT_CERTIFICATES {
        remove(&dir.join(name))?;
    }
    remove(&incoming.join(ONLY_ONE))?;
    fs::remove_dir(&incoming).map_err(RaError::io(&incoming))
}

pub(super) fn remove(path: &Path) -> Result<(), RaError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(RaError::io(path)(e)),
        _ => Ok(()),
    }
}

/// The certificates are for these keys, each for its own.
fn check_keys(keys: &Keys, signer: &Certificate, decrypter: Option<&Certificate>) -> Result<(), RaError> {
    let count = |second: bool| 1 + u8::from(second);
    if keys.decrypter.is_some() != decrypter.is_some() {
        return Err(RaError::WrongCount { keys: count(keys.decrypter.is_some()), certificates: count(decrypter.is_some()) });
    }
    if decrypter.is_some_and(|d| same_key(d.spki(), signer.spki())) {
        return Err(RaError::SharedKey);
    }
    let other = keys.decrypter.as_ref();
    let mismatch = |role, certificate: &Certificate, opposite: bool| RaError::KeyMismatch {
        role,
        subject: certificate.subject().to_string(),
        hint: if opposite { ": the two certificates are exchanged" } else { "; was it requested with other keys?" },
    };
    if !same_key(signer.spki(), keys.signer.spki()) {
        let opposite = other.is_some_and(|key| same_key(signer.spki(), &key.spki));
        return Err(mismatch(Role::Signer, signer, opposite));
    }
    if let (Some(certificate), Some(key)) = (decrypter, other)
        && !same_key(certificate.spki(), &key.spki)
    {
        return Err(mismatch(Role::Decrypter, certificate, false));
    }
    Ok(())
}

/// What a certificate has to be for devices to use it.
struct Expected<'a> {
    /// Whether the devices encapsulate to the RA: these know more kinds of keys.
    encapsulation: bool,
    chain: &'a [Certificate],
    now: Timestamp,
}

impl Expected<'_> {
    fn check(&self, role: Role, certificate: &Certificate, needed: KeyUsage) -> Result<(), RaError> {
        match (certificate.key(), role) {
            (Some(KeyAlgorithm::Rsa(bits)), _) if bits < MIN_RSA_BITS => return Err(RaError::WeakKey { role, bits }),
            (Some(KeyAlgorithm::Rsa(_)), _) => {}
            (Some(key), Role::Signer) if self.encapsulation && key.can_sign() => {}
            (Some(key), Role::Decrypter) if key.can_decapsulate() => {}
            _ => return Err(RaError::NotRsa { role }),
        }
        if certificate.is_ca() || self.chain.iter().any(|ca| ca.is_ca() && same_key(ca.spki(), certificate.spki())) {
            return Err(RaError::CaKey { role });
        }
        if let Some(missing) = missing_usage(certificate, needed) {
            return Err(RaError::MissingKeyUsage { role, missing });
        }
        if certificate.not_after() <= self.now {
            return Err(RaError::Expired { role, not_after: certificate.not_after() });
        }
        if certificate.not_before() > self.now {
            return Err(RaError::NotYetValid { role, not_before: certificate.not_before() });
        }
        Ok(())
    }
}

/// The first key usage of `needed` that the certificate does not say. One without the extension says none: some clients then
/// encrypt to the CA instead.
pub(super) fn missing_usage(certificate: &Certificate, needed: KeyUsage) -> Option<&'static str> {
    let usage = certificate.key_usage().unwrap_or_default();
    [(KeyUsage::DIGITAL_SIGNATURE, "digitalSignature"), (KeyUsage::KEY_ENCIPHERMENT, "keyEncipherment")]
        .into_iter()
        .find(|(bit, _)| needed.contains(*bit) && !usage.contains(*bit))
        .map(|(_, name)| name)
}

/// The path from the issuer of the signing certificate upwards, and after it what only the other certificate needs. Certificates
/// of `chain` that neither needs are left out.
fn path_above(
    signer: &Certificate,
    decrypter: Option<&Certificate>,
    chain: Vec<Certificate>,
    now: Timestamp,
) -> Result<Vec<Certificate>, RaError> {
    let mut path: Vec<Certificate> = Vec::new();
    for leaf in std::iter::once(signer).chain(decrypter) {
        let mut below = leaf;
        // A path is no longer than the certificates that it is made of: a circle ends too.
        for step in 0..=chain.len() {
            if below.issuer() == below.subject() && below.verify_signed_by(below.spki()).is_ok() {
                break;
            }
            let issuer = chain
                .iter()
                .find(|ca| ca.subject() == below.issuer() && below.verify_signed_by(ca.spki()).is_ok())
                .or_else(|| chain.iter().find(|ca| ca.subject() == below.issuer()));
            let Some(issuer) = issuer else {
                // What is above the issuer may be left out: a device may trust the issuer itself.
                if step > 0 {
                    break;
                }
                return Err(RaError::NoIssuer { issuer: below.issuer().to_string(), of: below.subject().to_string() });
            };
            let broken = |subject: &Certificate, why| RaError::BrokenChain { subject: subject.subject().to_string(), why };
            if !issuer.is_ca() {
                return Err(broken(issuer, "it is no CA certificate"));
            }
            if below.verify_signed_by(issuer.spki()).is_err() {
                return Err(broken(below, "the CA certificate of that name did not sign it"));
            }
            if issuer.not_after() <= now {
                return Err(broken(issuer, "it has ended"));
            }
            if !path.contains(issuer) {
                path.push(issuer.clone());
            }
            below = issuer;
        }
    }
    Ok(path)
}

pub(super) const INCOMING: &str = "incoming";
/// In `incoming/`: there is no second certificate from now on.
const ONLY_ONE: &str = "only-one";
