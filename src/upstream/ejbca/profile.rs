//! What the real EJBCA says of the names in our configuration.

use super::{Ejbca, EjbcaCa, api, same_name};
use crate::algorithm::{KeyAlgorithm, KeyRule};
use crate::upstream::remote::{CallError, RemoteCa};

impl Ejbca {
    /// The certificate profile; `None` if EJBCA has none of that name, or shows it to nobody like us.
    pub(super) async fn profile(&self, at: &EjbcaCa) -> Result<Option<api::ProfileInfo>, CallError> {
        let path = format!("/v2/certificate/profile/{}", api::segment(&at.certificate_profile));
        match self.get(&path).await {
            Ok(answer) => api::read(&answer).map(Some),
            Err(CallError::Refused(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Whether the CA and the certificate profile are there, and go together.
    pub(super) async fn check_names(&self, ca: &RemoteCa) -> Result<Vec<String>, CallError> {
        let at = self.at(ca)?;
        let mut findings = Vec::new();
        let known: api::Authorities = api::read(&self.get("/v1/ca").await?)?;
        let known = known.certificate_authorities;
        match known.iter().find(|one| one.name == at.authority) {
            None => {
                let names: Vec<_> = known.iter().map(|one| one.name.as_str()).collect();
                findings.push(format!("EJBCA shows us no CA {:?}, but {}", at.authority, listed(&names)));
            }
            Some(one) if !same_name(&one.subject_dn, ca.certificate().subject()) => findings.push(format!(
                "the CA {:?} is {}, and the file of `chain` begins with the certificate of {}",
                at.authority,
                one.subject_dn,
                ca.certificate().subject()
            )),
            Some(_) => {}
        }
        match self.profile(at).await? {
            None => findings.push(format!("EJBCA shows us no certificate profile {:?}", at.certificate_profile)),
            Some(info) if !info.serves(&at.authority) => findings.push(format!(
                "certificate profile {:?} is not for CA {:?}, but for {}",
                at.certificate_profile,
                at.authority,
                listed(&info.available_cas)
            )),
            Some(_) => {}
        }
        // That nothing is seen may be because nothing was issued yet; that nothing may be asked is not.
        if at.handle().is_some()
            && let Err(error) = self.sees_others(at).await
        {
            findings.push(format!("we may not search for certificates, and could not find an order again: {error}"));
        }
        Ok(findings)
    }
}

impl api::ProfileInfo {
    /// Whether it may be used with this CA.
    fn serves(&self, authority: &str) -> bool {
        let any = |name: &str| name.chars().filter(char::is_ascii_alphabetic).collect::<String>().eq_ignore_ascii_case("anyca");
        self.available_cas.is_empty() || self.available_cas.iter().any(|name| name == authority || any(name))
    }

    /// The subject keys that it takes, as far as we know them.
    pub(super) fn key_rules(&self) -> Vec<KeyRule> {
        let mut rules = Vec::new();
        for name in &self.available_key_algs {
            match name.to_ascii_uppercase().as_str() {
                "RSA" => {
                    let bits = self.available_bit_lenghts.iter().copied().filter(|bits| *bits >= 1024);
                    rules.extend(bits.map(|bits| KeyRule::RsaRange { min: bits, max: bits }));
                }
                "ECDSA" | "EC" => rules.extend(self.available_ecdsa_curves.iter().flat_map(|curve| curve_rules(curve))),
                _ => rules.extend(name.to_ascii_lowercase().parse().ok().map(KeyRule::Exactly)),
            }
        }
        rules
    }
}

fn curve_rules(name: &str) -> Vec<KeyRule> {
    let all = [KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::EcdsaP521];
    let keys = match name.to_ascii_lowercase().replace('-', "").as_str() {
        "secp256r1" | "prime256v1" | "p256" => &all[..1],
        "secp384r1" | "p384" => &all[1..2],
        "secp521r1" | "p521" => &all[2..],
        any if any.starts_with("any") => &all[..],
        _ => &[],
    };
    keys.iter().copied().map(KeyRule::Exactly).collect()
}

fn listed(names: &[impl AsRef<str>]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.iter().map(|name| format!("{:?}", name.as_ref())).collect::<Vec<_>>().join(", "),
    }
}
