//! Making CAs, and the next generation of one.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use der::Decode;
use jiff::Timestamp;

use super::assembly::IssuerKeys;
use super::authority::{self, Authority, key_identifier};
use super::settings::Settings;
use super::{LocalCaError, cross, files};
use crate::algorithm::{Family, KeyAlgorithm};
use crate::crypto::{CryptoError, Signer, keystore, provider};
use crate::x509::builder::{self, CertificateTemplate};
use crate::x509::{Certificate, DistinguishedName, alternative};

/// A CA to make.
#[derive(Clone, Debug)]
pub struct NewCa {
    /// Its name.
    pub subject: DistinguishedName,
    /// Its key; RSA has 2048 to 4096 bits.
    pub key: KeyAlgorithm,
    /// The key of its alternative signatures, ML-DSA or SLH-DSA; `None` if it makes none.
    pub alternative: Option<KeyAlgorithm>,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// How long it is valid; cut to what is left of its parent.
    pub validity: Duration,
    /// Where its CRL will be found; stands in what it issues, with `{key}` as in [`Settings::crl_urls`].
    pub crl_urls: Vec<String>,
    /// How many CAs may stand below it in a chain; `None` is no limit.
    pub path_len: Option<u8>,
    /// The CA in the neighbouring folder that certifies it; `None` makes a root.
    pub parent: Option<String>,
}

/// The next generation of a CA to prepare.
#[derive(Clone, Debug)]
pub struct NextCa {
    /// Its key; `None` takes the same kind as now.
    pub key: Option<KeyAlgorithm>,
    /// The key of its alternative signatures; `None` takes the same kind as now, or none if there is none now.
    pub alternative: Option<KeyAlgorithm>,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// How long it is valid; cut to what is left of its parent.
    pub validity: Duration,
}

/// Makes the folder of a new CA: whole, or not at all.
pub(super) fn create(dir: &Path, passphrase: &str, name: &str, new: &NewCa) -> Result<(), LocalCaError> {
    authority::check_name(name)?;
    let place = dir.join(name);
    if place.exists() {
        return Err(LocalCaError::Exists { path: place });
    }
    let settings = Settings { crl_urls: new.crl_urls.clone(), parent: new.parent.clone(), ..Settings::default() };
    let settings =
        Settings::checked(settings).map_err(|why| LocalCaError::Settings { path: place.join(authority::SETTINGS), why })?;
    let parent = new.parent.as_deref().map(|parent| load_parent(dir, passphrase, parent)).transpose()?;
    let keys = generate_both(new.key, new.alternative)?;
    let certificate = certify(&Request {
        subject: &new.subject,
        keys: &keys,
        not_before: new.not_before,
        validity: new.validity,
        path_len: new.path_len,
        parent: parent.as_ref().map(|p| (new.parent.as_deref().unwrap_or_default(), p)),
    })?;

    // A name that `folders` does not take for a CA.
    let work = dir.join(format!(".{name}.new-{}", hex::encode(provider().random::<4>())));
    files::create_private_dir(&work).map_err(LocalCaError::io(&work))?;
    let filled = (|| {
        write_key(&work.join(authority::KEY), &keys.primary, passphrase)?;
        if let Some(alternative) = &keys.alternative {
            write_key(&work.join(authority::ALTERNATIVE_KEY), alternative, passphrase)?;
        }
        authority::write_serial_key(&work.join(authority::SERIAL_KEY))?;
        let write = |name: &str, text: String| {
            let path = work.join(name);
            files::write(&path, text.as_bytes()).map_err(LocalCaError::io(&path))
        };
        write(authority::SETTINGS, settings.to_toml())?;
        if let Some(parent) = &parent {
            write(authority::CHAIN, parent.chain.iter().map(|c| c.to_pem()).collect())?;
        }
        write(authority::CERTIFICATE, certificate.to_pem())?;
        files::rename(&work, &place).map_err(LocalCaError::io(&place))
    })();
    if filled.is_err() {
        let _ = fs::remove_dir_all(&work);
    }
    filled
}

/// Makes `next-key.pem`, `next-alternative-key.pem` where there is one, `next-chain.pem` and, last, `next-certificate.pem`.
pub(super) fn prepare_next(dir: &Path, passphrase: &str, name: &str, ca: &Authority, next: &NextCa) -> Result<(), LocalCaError> {
    let place = dir.join(name);
    if place.join(authority::NEXT_CERTIFICATE).exists() {
        return Err(LocalCaError::NextPrepared { ca: name.to_owned() });
    }
    let is_root = ca.certificate.issuer() == ca.certificate.subject();
    let parent = match &ca.settings.parent {
        Some(parent) => Some((parent.as_str(), load_parent(dir, passphrase, parent)?)),
        None if is_root => None,
        None => return Err(LocalCaError::ForeignParent { ca: name.to_owned() }),
    };
    // Beside a post-quantum key there is no alternative one: what is inherited goes with the classical key.
    let inherited =
        ca.keys.alternative.as_ref().map(|key| key.key()).filter(|_| !next.key.is_some_and(|key| key.is_post_quantum()));
    let alternative = next.alternative.or(inherited);
    let keys = generate_both(next.key.unwrap_or_else(|| ca.keys.primary.key()), alternative)?;
    let certificate = certify(&Request {
        subject: ca.certificate.subject(),
        keys: &keys,
        not_before: next.not_before,
        validity: next.validity,
        path_len: path_len(&ca.certificate),
        parent: parent.as_ref().map(|(name, parent)| (*name, parent)),
    })?;
    write_key(&place.join(authority::NEXT_KEY), &keys.primary, passphrase)?;
    if let Some(alternative) = &keys.alternative {
        write_key(&place.join(authority::NEXT_ALTERNATIVE_KEY), alternative, passphrase)?;
    }
    let cross: String = match parent {
        Some(_) => String::new(),
        None => cross::certificates(ca, &certificate, &keys)?.iter().map(Certificate::to_pem).collect(),
    };
    let chain: String = parent.iter().flat_map(|(_, p)| p.chain.iter()).map(|c| c.to_pem()).collect();
    let texts =
        [(authority::NEXT_CHAIN, chain), (authority::NEXT_CROSS, cross), (authority::NEXT_CERTIFICATE, certificate.to_pem())];
    for (name, text) in texts.into_iter().filter(|(name, text)| *name != authority::NEXT_CROSS || !text.is_empty()) {
        let path = place.join(name);
        files::write(&path, text.as_bytes()).map_err(LocalCaError::io(&path))?;
    }
    Ok(())
}

fn load_parent(dir: &Path, passphrase: &str, parent: &str) -> Result<Authority, LocalCaError> {
    let known = authority::folders(dir)?;
    if !known.iter().any(|name| name == parent) {
        return Err(LocalCaError::NoSuchCa { name: parent.to_owned(), dir: dir.to_owned(), known: known.join(", ") });
    }
    Authority::load(&dir.join(parent), passphrase)
}

/// The keys of a CA. An alternative signature is there for the day when the ordinary one can be forged: it is of an algorithm that no
/// quantum computer is known to break, and the ordinary one is what old devices check.
fn generate_both(key: KeyAlgorithm, alternative: Option<KeyAlgorithm>) -> Result<IssuerKeys, LocalCaError> {
    if let Some(alternative) = alternative {
        let unsuitable = |key, why| Err(LocalCaError::UnsuitableKey { key, why });
        if !matches!(alternative.family(), Family::MlDsa | Family::SlhDsa) {
            return unsuitable(alternative, "alternative signatures are made with ML-DSA or SLH-DSA");
        }
        if key.is_post_quantum() {
            return unsuitable(key, "beside an alternative key there is a classical one: RSA, ECDSA or Ed25519");
        }
    }
    Ok(IssuerKeys { primary: generate(key)?, alternative: alternative.map(generate).transpose()? })
}

fn generate(key: KeyAlgorithm) -> Result<Arc<dyn Signer>, LocalCaError> {
    match key {
        KeyAlgorithm::Rsa(bits) if !(2048..=4096).contains(&bits) => {
            return Err(LocalCaError::UnsuitableKey { key, why: "RSA keys of a CA have 2048 to 4096 bits" });
        }
        _ => {}
    }
    provider().keys.generate(key).map_err(|e| match e {
        CryptoError::Unsupported => LocalCaError::UnsuitableKey { key, why: "this build cannot make such keys" },
        other => other.into(),
    })
}

fn write_key(path: &Path, signer: &Arc<dyn Signer>, passphrase: &str) -> Result<(), LocalCaError> {
    let pkcs8 = signer.export_pkcs8().ok_or(CryptoError::Unsupported)?;
    Ok(keystore::write_key(path, &pkcs8, passphrase)?)
}

/// The certificate of a CA to make.
struct Request<'a> {
    subject: &'a DistinguishedName,
    keys: &'a IssuerKeys,
    not_before: Timestamp,
    validity: Duration,
    path_len: Option<u8>,
    parent: Option<(&'a str, &'a Authority)>,
}

fn certify(request: &Request<'_>) -> Result<Certificate, LocalCaError> {
    let subject_spki = request.keys.primary.spki();
    let mut not_after = request.not_before.checked_add(request.validity).unwrap_or(Timestamp::MAX);
    let mut extensions =
        builder::ca_extensions(subject_spki, request.parent.map(|(_, p)| p.certificate.spki()), request.path_len)?;
    if let Some(alternative) = &request.keys.alternative {
        extensions.push(alternative::key_extension(alternative.spki()));
    }
    let (issuer, keys) = match request.parent {
        None => (request.subject, request.keys),
        Some((name, parent)) => {
            let unsuitable = |why| LocalCaError::UnsuitableParent { parent: name.to_owned(), why };
            if path_len(&parent.certificate) == Some(0) {
                return Err(unsuitable("its own certificate allows no CA below it"));
            }
            not_after = not_after.min(parent.certificate.not_after());
            if not_after <= request.not_before {
                return Err(unsuitable("it is no longer valid then"));
            }
            // The parent may have been made elsewhere, with an identifier of another kind.
            let identifier = builder::authority_key_identifier(&key_identifier(&parent.certificate)?)?;
            for extension in extensions.iter_mut().filter(|e| e.oid == identifier.oid) {
                *extension = identifier.clone();
            }
            let crls = parent.settings.distribution_points(&parent.certificate);
            if !crls.is_empty() {
                extensions.push(builder::crl_distribution_points(&crls)?);
            }
            (parent.certificate.subject(), &parent.keys)
        }
    };
    let template = CertificateTemplate {
        serial: builder::random_serial(),
        issuer: issuer.clone(),
        subject: request.subject.clone(),
        not_before: request.not_before,
        not_after,
        spki: subject_spki.to_vec(),
        extensions,
    };
    Ok(Certificate::from_der(&keys.sign(template, keys.own_assembly()?)?)?)
}

/// pathLenConstraint of a CA certificate (RFC 5280 section 4.2.1.9).
pub(super) fn path_len(certificate: &Certificate) -> Option<u8> {
    let extension = certificate.extensions().iter().find(|e| e.oid.to_string() == "2.5.29.19")?;
    x509_cert::ext::pkix::BasicConstraints::from_der(&extension.value).ok()?.path_len_constraint
}
