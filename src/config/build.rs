//! From a configuration to a snapshot: everything resolved, and checked against what issuers can do.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::diagnostic::{Diagnostic, Diagnostics, Severity, suggestion};
use super::{Config, UpstreamKind, deadline_table, fallback_table, value};
use crate::algorithm::{AlgorithmProfile, Form, IssuerRef, KeyRule, SignatureAlgorithm};
use crate::crypto::RaIdentity;
use crate::policy::enforce::Unlisted;
use crate::policy::{ChallengePolicy, DeviceGroup, Endpoint, matching};
use crate::snapshot::Snapshot;
use crate::upstream::{Capabilities, UpstreamCa};

/// What a snapshot needs beside the configuration: things that were opened.
pub struct Parts {
    /// The upstreams.
    pub upstreams: Vec<Arc<dyn UpstreamCa>>,
    /// The RA's keys and certificates.
    pub ra: Arc<RaIdentity>,
    /// Further ones by name.
    pub ras: BTreeMap<String, Arc<RaIdentity>>,
    /// Counts loads since the start, from 1; 0 is a check, of which nothing is taken into use.
    pub generation: u64,
    /// Now.
    pub now: Timestamp,
}

impl Snapshot {
    /// Builds the snapshot of a configuration, or says all that keeps it from being one.
    pub fn build(config: &Config, parts: Parts) -> Result<Snapshot, Diagnostics> {
        let findings = Snapshot::check(config, &parts.upstreams, parts.now);
        // Time alone makes a deadline pass. A start must not fail by it, which would take all other groups down with this one: its
        // own requests are refused. A change of a running service is refused as a whole.
        let lets_start = |finding: &Diagnostic| parts.generation == 1 && finding.code == deadline_table::PASSED;
        let errors = || findings.iter().filter(|finding| finding.severity == Severity::Error);
        if errors().any(|finding| !lets_start(finding)) {
            return Err(findings);
        }
        for finding in errors() {
            tracing::error!(code = finding.code, "Requests of a group will be refused: {}.", finding.message);
        }
        let mut endpoints: Vec<Arc<Endpoint>> = endpoints(config).into_iter().map(Arc::new).collect();
        // The longest path first, so that /scep/a/b is not taken for /scep/a.
        endpoints.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then_with(|| a.path.cmp(&b.path)));
        let mut renewal_issuers = Vec::new();
        for upstream in &parts.upstreams {
            let issuers = config.profiles.iter().flat_map(|profile| profile.issuers());
            for ca in issuers.filter(|issuer| issuer.upstream == upstream.name()).map(|issuer| issuer.ca.as_str()) {
                renewal_issuers.extend(upstream.chain(ca).and_then(|chain| chain.first().cloned()));
                renewal_issuers.extend(upstream.previous_certificates(ca));
            }
        }
        let renewals = config.groups.iter().filter_map(|(group, _)| group.renewal.as_ref());
        renewal_issuers.extend(renewals.flat_map(|renewal| renewal.earlier.iter().map(|(_, certificate)| certificate.clone())));
        renewal_issuers.sort_by(|a, b| a.der().cmp(b.der()));
        renewal_issuers.dedup_by(|a, b| a.der() == b.der());
        Ok(Snapshot {
            generation: parts.generation,
            digest: config.digest,
            loaded_at: parts.now,
            endpoints,
            groups: config.groups.iter().map(|(group, _)| (group.name.clone(), group.clone())).collect(),
            profiles: config.profiles.iter().map(|profile| (profile.name.clone(), profile.clone())).collect(),
            upstreams: parts.upstreams.into_iter().map(|upstream| (upstream.name().to_owned(), upstream)).collect(),
            ra: parts.ra,
            ras: parts.ras,
            patience: config.server.patience,
            most_waiting: (config.server.max_requests / 4).max(1),
            renewal_issuers,
        })
    }

    /// Checks groups and profiles against what the issuers can do; gives errors and warnings.
    pub fn check(config: &Config, upstreams: &[Arc<dyn UpstreamCa>], now: Timestamp) -> Diagnostics {
        let upstreams: BTreeMap<&str, &Arc<dyn UpstreamCa>> = upstreams.iter().map(|u| (u.name(), u)).collect();
        let mut checks = Checks { config, now, findings: Diagnostics::default() };
        for profile in &config.profiles {
            let uses = |group: &&Arc<DeviceGroup>| group.named_profiles().any(|name| leads_to(config, name, profile));
            let groups: Vec<_> = config.groups.iter().map(|(group, _)| group).filter(uses).collect();
            // A shipped profile that nobody is on may name a CA that is not there.
            if groups.is_empty() && !in_use(config, profile) {
                continue;
            }
            let open = |issuer: &IssuerRef, key: &str, checks: &mut Checks<'_>| {
                let name = &issuer.upstream;
                let found = upstreams.get(name.as_str());
                if found.is_none() {
                    let finding = Diagnostic::error("unknown-name", format!("there is no upstream `{name}`"));
                    checks.at(finding.help(suggestion(name, upstreams.keys().copied())), profile, &format!("{key}.upstream"));
                }
                found
            };
            for (key, issuer) in profile.keyed_issuers() {
                if let Some(upstream) = open(issuer, &key, &mut checks)
                    && let Some(capabilities) = checks.issuer(profile, upstream.as_ref(), issuer, &key)
                {
                    for group in &groups {
                        checks.group(group, profile, issuer, &capabilities);
                    }
                }
            }
            if let Some((signature, issuer)) = profile.sibling()
                && let Some(upstream) = open(issuer, "alternative-issuer", &mut checks)
            {
                checks.signs(profile, upstream.as_ref(), &issuer.ca, signature, ["alternative-issuer", "alternative"]);
            }
        }
        for (group, _) in &config.groups {
            for (finding, key) in
                deadline_table::check(group, config, now).into_iter().chain(fallback_table::check(group, config))
            {
                checks.at_group(finding, group, &key);
            }
        }
        checks.findings
    }
}

/// Whether a device may come to be on this profile: by its group, or by a fallback from that of its group.
pub fn in_use(config: &Config, profile: &AlgorithmProfile) -> bool {
    config.groups.iter().any(|(group, _)| group.named_profiles().any(|start| leads_to(config, start, profile)))
}

/// Whether the ladder that begins with a profile has this one as a rung.
fn leads_to(config: &Config, start: &str, profile: &AlgorithmProfile) -> bool {
    let mut step = config.profile(start);
    // No ladder is longer than there are profiles.
    for _ in 0..config.profiles.len() {
        match step {
            Some(here) if here.name == profile.name => return true,
            Some(here) => step = here.fallback.as_deref().and_then(|next| config.profile(next)),
            None => return false,
        }
    }
    false
}

/// Where a policy names a profile that its group only tries.
fn tried_by(group: &DeviceGroup, profile: &AlgorithmProfile) -> &'static str {
    match group.shadow.as_deref() == Some(&profile.name) && !group.profiles().any(|name| name == profile.name) {
        true => "shadow.candidate",
        false => "rollout.candidate",
    }
}

/// Each group's own endpoint, and the shared ones.
fn endpoints(config: &Config) -> Vec<Endpoint> {
    let is_default = |name: &str| config.default_endpoint.as_deref() == Some(name);
    let own = config.groups.iter().map(|(group, scep)| Endpoint {
        name: group.name.clone(),
        path: format!("/scep/{}", group.name),
        hosts: Vec::new(),
        sources: Vec::new(),
        default: is_default(&group.name),
        scep: scep.clone(),
        groups: vec![group.clone()],
        capabilities: OnceLock::new(),
        ca_certificates: OnceLock::new(),
    });
    let shared = config.endpoints.iter().map(|settings| {
        let mut groups: Vec<_> = settings.groups.iter().filter_map(|name| config.group(name).cloned()).collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.priority));
        Endpoint {
            name: settings.name.clone(),
            path: settings.path.clone(),
            hosts: settings.hosts.clone(),
            sources: settings.sources.clone(),
            default: is_default(&settings.name),
            scep: settings.scep.clone(),
            groups,
            capabilities: OnceLock::new(),
            ca_certificates: OnceLock::new(),
        }
    });
    own.chain(shared).collect()
}

struct Checks<'a> {
    config: &'a Config,
    now: Timestamp,
    findings: Diagnostics,
}

impl Checks<'_> {
    /// Reports a finding at a key of a profile.
    fn at(&mut self, finding: Diagnostic, profile: &AlgorithmProfile, key: &str) {
        let paths = [format!("profile/{}/{key}", profile.name), format!("profile/{}", profile.name)];
        self.findings.push(self.config.origins.point(finding, &paths));
    }

    /// Reports a finding at a key of a group.
    fn at_group(&mut self, finding: Diagnostic, group: &DeviceGroup, key: &str) {
        let paths = [format!("group/{}/{key}", group.name), format!("group/{}/profile", group.name)];
        self.findings.push(self.config.origins.point(finding, &paths));
    }

    /// Whether the issuer can do what the profile says.
    fn issuer(
        &mut self,
        profile: &AlgorithmProfile,
        upstream: &dyn UpstreamCa,
        issuer: &IssuerRef,
        key: &str,
    ) -> Option<Capabilities> {
        let ca = &issuer.ca;
        let capabilities = self.signs(profile, upstream, ca, profile.signature, [key, "signature"])?;
        if profile.form == Form::Catalyst
            && let Some(alternative) = profile.alternative
            && !capabilities.alternatives.contains(&alternative)
        {
            let message = format!("CA `{ca}` of upstream `{}` makes no alternative signature by {alternative}", upstream.name());
            let known: Vec<_> = capabilities.alternatives.iter().map(|s| s.name()).collect();
            let help = match known.is_empty() {
                true if self.is_local(upstream) => {
                    format!("make one that does, with `ravelin ca create --profile {}`, and name it in `issuer`", profile.name)
                }
                true => "no CA behind a network can be told to; only an embedded one (kind = \"local\") makes such certificates"
                    .to_owned(),
                false => format!("it makes {}", known.join(", ")),
            };
            self.at(Diagnostic::error("issuer-cannot", message).help(help), profile, "alternative");
        }
        if !profile.extensions.is_empty() && !capabilities.takes_extensions {
            let message = format!("CA `{ca}` of upstream `{}` chooses the extensions itself", upstream.name());
            let help = "leave `extensions` out, and set them at the CA";
            self.at(Diagnostic::error("issuer-cannot", message).help(help), profile, "extensions");
        }
        Some(capabilities)
    }

    /// Whether one of the issuers of a profile is there and signs so; `keys` are where the issuer and the signature stand.
    fn signs(
        &mut self,
        profile: &AlgorithmProfile,
        upstream: &dyn UpstreamCa,
        ca: &str,
        signature: SignatureAlgorithm,
        keys: [&str; 2],
    ) -> Option<Capabilities> {
        let [at_issuer, at_signature] = keys;
        let at_ca = format!("{at_issuer}.ca");
        let Some(capabilities) = upstream.capabilities(ca) else {
            let finding = Diagnostic::error("unknown-name", format!("upstream `{}` has no CA `{ca}`", upstream.name()));
            let help = match self.cas_of(upstream) {
                None => format!("make it with `ravelin ca create --profile {}`, or name another", profile.name),
                Some(known) => suggestion(ca, known.iter().map(String::as_str)),
            };
            self.at(finding.help(help), profile, &at_ca);
            return None;
        };
        if !capabilities.signatures.contains(&signature) {
            let message = format!("CA `{ca}` of upstream `{}` does not sign with {signature}", upstream.name());
            let known: Vec<_> = capabilities.signatures.iter().map(|s| s.name()).collect();
            let finding = Diagnostic::error("issuer-cannot", message).help(format!("it signs with {}", known.join(", ")));
            self.at(finding, profile, at_signature);
        }
        for rule in &profile.accepts {
            if !capabilities.subject_keys.iter().any(|taken| matching::overlap(rule, taken)) {
                let message = format!("CA `{ca}` of upstream `{}` certifies no key of {rule}", upstream.name());
                self.at(Diagnostic::error("issuer-cannot", message), profile, "accepts");
            }
        }
        if let Some(issuer) = upstream.chain(ca).and_then(|chain| chain.first().cloned()) {
            let left = issuer.not_after().duration_since(self.now);
            let left = std::time::Duration::try_from(left).unwrap_or_default();
            let days = value::show_duration(std::time::Duration::from_secs(left.as_secs() / 86_400 * 86_400));
            if left.is_zero() {
                let message = format!("the certificate of CA `{ca}` is expired");
                self.at(Diagnostic::error("issuer-cannot", message), profile, &at_ca);
            } else if left < profile.validity {
                let message = format!(
                    "certificates are to be valid for {}, but CA `{ca}` is for {days} only",
                    value::show_duration(profile.validity)
                );
                let help = match self.is_local(upstream) {
                    true => "certificates end with the CA; a next CA certificate is due",
                    false => "certificates end with the CA; put its next certificate into the file of `chain` when it has one",
                };
                self.at(Diagnostic::warning("issuer-cannot", message).help(help), profile, "validity");
            }
        }
        Some(capabilities)
    }

    /// Whether an upstream is embedded.
    fn is_local(&self, upstream: &dyn UpstreamCa) -> bool {
        self.cas_of(upstream).is_none()
    }

    /// The CAs that are configured at an upstream behind a network; `None` if it is embedded.
    fn cas_of(&self, upstream: &dyn UpstreamCa) -> Option<Vec<String>> {
        let settings = self.config.upstreams.iter().find(|settings| settings.name == upstream.name())?;
        match &settings.kind {
            UpstreamKind::Local { .. } => None,
            UpstreamKind::Remote(remote) => Some(remote.common.cas.iter().map(|ca| ca.name.clone()).collect()),
        }
    }

    /// Whether any device that can enroll today could under the candidate.
    fn candidate(&mut self, group: &DeviceGroup, candidate: &AlgorithmProfile) {
        let incumbent = self.config.profile(&group.profile).map(|profile| profile.accepts.as_slice()).unwrap_or_default();
        let brought = if group.rules().keys.is_empty() { incumbent } else { &group.rules().keys };
        let shared = brought.iter().any(|rule| candidate.accepts.iter().any(|accepted| matching::overlap(rule, accepted)));
        if !shared && !brought.is_empty() {
            let shown = |rules: &[KeyRule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let message = format!("profile `{}` accepts no key that devices of this group bring", candidate.name);
            let help = format!("it accepts {}; the group has {}", shown(&candidate.accepts), shown(brought));
            self.at_group(Diagnostic::error("never-fits", message).help(help), group, tried_by(group, candidate));
        }
    }

    /// Whether the issuer can do what the group says.
    fn group(&mut self, group: &DeviceGroup, profile: &AlgorithmProfile, at: &IssuerRef, issuer: &Capabilities) {
        let rules = group.rules();
        let is_candidate = group.profile != profile.name;
        // Whether a rung accepts what the one above it does is told where the fallback is named.
        let is_rung = !group.named_profiles().any(|name| name == profile.name);
        let is_first = *at == profile.issuer;
        if is_candidate && !is_rung && is_first {
            self.candidate(group, profile);
        }
        for rule in rules.keys.iter().filter(|_| !is_candidate && is_first) {
            if !profile.accepts.iter().any(|accepted| matching::overlap(rule, accepted)) {
                let accepted: Vec<_> = profile.accepts.iter().map(ToString::to_string).collect();
                let message = format!("profile `{}` accepts no key of {rule}", profile.name);
                let finding = Diagnostic::error("never-fits", message).help(format!("it accepts {}", accepted.join(", ")));
                self.at_group(finding, group, "enforce.keys");
            }
        }
        let ca = &at.ca;
        let role = if is_first { "the issuer" } else { "an issuer" };
        let mut needs = |needed: bool, can: bool, what: &str, key: &str| {
            if needed && !can {
                let message = format!("CA `{ca}`, {role} of profile `{}`, cannot {what}", profile.name);
                let finding = match is_rung {
                    true => Diagnostic::warning("issuer-cannot", message).help("no device of this group can fall back to it"),
                    false => Diagnostic::error("issuer-cannot", message),
                };
                let at = match (is_candidate, is_rung) {
                    (_, true) => "profile",
                    (true, false) => tried_by(group, profile),
                    (false, false) => key,
                };
                self.at_group(finding, group, at);
            }
        };
        needs(
            rules.set_subject.is_some(),
            issuer.overrides_subject,
            "issue another subject than the requested one",
            "enforce.subject.set",
        );
        needs(!rules.names.add.is_empty(), issuer.overrides_subject_alt_names, "add alternative names", "enforce.san.add");
        let drops = rules.names.unlisted == Unlisted::Drop;
        needs(drops, issuer.overrides_subject_alt_names, "leave alternative names out", "enforce.san.unlisted");
        if !issuer.overrides_usages && rules.unlisted_usages == Unlisted::Drop {
            let message = format!("CA `{ca}`, {role} of profile `{}`, decides about usages itself", profile.name);
            let help = "what it issues with an extended key usage that is not listed is not delivered; say unlisted = \"refuse\" to refuse \
                        such requests before";
            self.at_group(Diagnostic::warning("issuer-decides", message).help(help), group, "enforce.usages");
        }
        let shared = group.challenges.iter().any(|way| matches!(way, ChallengePolicy::Shared(_)));
        if issuer.sees_challenge && shared {
            let message = format!(
                "CA `{ca}` of upstream `{}` is sent CSRs as they are, with the challenge that all devices of group `{}` share",
                at.upstream, group.name
            );
            let finding = match group.allow_challenge_upstream {
                true => Diagnostic::warning("challenge-upstream", message)
                    .help("whoever runs that CA can enroll as any of these devices"),
                false => Diagnostic::error("challenge-upstream", message).help(
                    "whoever runs that CA could enroll as any of these devices: take one-time challenges, or say \
                     allow-challenge-upstream = true in [authenticate]",
                ),
            };
            self.at_group(finding, group, "authenticate.challenge");
        }
        if issuer.wants_challenge && !shared {
            let message = format!(
                "CA `{ca}` of upstream `{}` lets requests in by a challenge that it knows, and those of group `{}` are known to Ravelin alone",
                at.upstream, group.name
            );
            let help = "take a shared challenge that the CA knows too, or have the CA trust the certificate of Ravelin \
                        (authenticate = \"ra-certificate\" in the [[upstream]])";
            self.at_group(Diagnostic::error("challenge-unknown", message).help(help), group, "authenticate.challenge");
        }
        if issuer.wants_challenge && group.renewal.is_some() {
            let message = format!("CA `{ca}` of upstream `{}` wants a challenge in renewals too", at.upstream);
            let help = "most clients leave it out when they renew: such requests are refused";
            self.at_group(Diagnostic::warning("challenge-in-renewals", message).help(help), group, "authenticate.renewal");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;

    use async_trait::async_trait;

    use super::super::{Overrides, load, template};
    use super::*;
    use crate::algorithm::{Digest, KeyAlgorithm, SignatureAlgorithm};
    use crate::crypto::provider;
    use crate::upstream::{IdempotencyKey, IssuanceOrder, Submission, UpstreamError};
    use crate::x509::{Certificate, DistinguishedName, builder};

    /// An issuer with one CA, `ecdsa-p256`.
    struct Issuer {
        capabilities: Capabilities,
        certificate: Arc<Certificate>,
    }

    #[async_trait]
    impl UpstreamCa for Issuer {
        fn name(&self) -> &str {
            "local"
        }
        fn capabilities(&self, ca: &str) -> Option<Capabilities> {
            (ca == "ecdsa-p256").then(|| self.capabilities.clone())
        }
        async fn submit(&self, _: &IssuanceOrder, _: &IdempotencyKey) -> Submission {
            unreachable!("nothing is submitted when a configuration is checked")
        }
        async fn poll(&self, _: &IssuanceOrder, _: &str) -> Submission {
            unreachable!("nothing is polled when a configuration is checked")
        }
        fn chain(&self, _: &str) -> Option<Arc<[Arc<Certificate>]>> {
            Some(Arc::from([self.certificate.clone()]))
        }
        async fn health(&self) -> Result<(), UpstreamError> {
            Ok(())
        }
    }

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn certificate() -> Arc<Certificate> {
        let key = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
        let name = DistinguishedName::parse("CN=CA", true).unwrap();
        Arc::new(Certificate::from_der(&builder::self_signed(&name, key.as_ref(), Digest::Sha256, now()).unwrap()).unwrap())
    }

    fn able() -> Capabilities {
        Capabilities {
            signatures: vec![SignatureAlgorithm::EcdsaSha256],
            alternatives: Vec::new(),
            binds_related: true,
            takes_extensions: true,
            subject_keys: ["rsa-2048..4096", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521"].map(|r| r.parse().unwrap()).to_vec(),
            overrides_subject: true,
            overrides_subject_alt_names: true,
            overrides_usages: true,
            overrides_validity: true,
            names: crate::upstream::NamesRule::AsOrdered,
            can_wait: false,
            can_revoke: true,
            can_find_again: true,
            poll_may_issue: false,
            sees_challenge: false,
            wants_challenge: false,
        }
    }

    fn upstream(capabilities: Capabilities) -> Vec<Arc<dyn UpstreamCa>> {
        vec![Arc::new(Issuer { capabilities, certificate: certificate() })]
    }

    fn config(policy: &str, profile: &str, root: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        template::write(dir.path(), &template::Options { policies: Vec::new(), ..Default::default() }).unwrap();
        fs::write(dir.path().join("ravelin.toml"), root).unwrap();
        fs::write(dir.path().join("policies/devices.toml"), policy).unwrap();
        if !profile.is_empty() {
            fs::write(dir.path().join("algorithms/ecdsa-p256.toml"), profile).unwrap();
        }
        load(dir.path(), &Overrides::none()).unwrap_or_else(|findings| panic!("{findings}"))
    }

    const POLICY: &str = "profile = \"ecdsa-p256\"\n[authenticate]\nchallenge = { kind = \"one-time\" }\n";
    const PROFILE: &str = "accepts = [\"rsa-2048\"]\nsignature = \"ecdsa-sha256\"\nvalidity = \"1h\"\n\
                           issuer = { upstream = \"local\", ca = \"ecdsa-p256\" }\n";

    #[test]
    fn a_snapshot_finds_its_endpoints() {
        let root = "default-endpoint = \"devices\"\n[[endpoint]]\nname = \"shared\"\npath = \"/scep/devices/shared\"\ngroups = [\"devices\"]\n";
        let config = config(POLICY, PROFILE, root);
        let key = provider().keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
        let ra = RaIdentity {
            signer: key,
            signer_certificate: certificate(),
            decrypters: Vec::new(),
            chain: Vec::new(),
            rollover: Default::default(),
        };
        let parts = Parts { upstreams: upstream(able()), ra: Arc::new(ra), ras: BTreeMap::new(), generation: 3, now: now() };
        let snapshot = Snapshot::build(&config, parts).unwrap_or_else(|findings| panic!("{findings}"));
        let found = |path| snapshot.endpoint(None, path, IpAddr::V4(Ipv4Addr::LOCALHOST)).map(|endpoint| endpoint.name.clone());
        assert_eq!(found("/scep/devices").as_deref(), Some("devices"));
        assert_eq!(found("/scep/devices/pkiclient.exe").as_deref(), Some("devices"));
        assert_eq!(found("/scep/devices/shared/pkiclient.exe").as_deref(), Some("shared"));
        assert_eq!(found("/cgi-bin/pkiclient.exe").as_deref(), Some("devices"));
        assert_eq!((snapshot.generation, snapshot.digest, snapshot.renewal_issuers.len()), (3, config.digest, 1));
        assert!(snapshot.profile_of(&snapshot.groups["devices"]).is_some_and(|profile| snapshot.upstream_of(profile).is_some()));
    }

    fn findings(policy: &str, profile: &str, capabilities: Capabilities) -> String {
        let config = config(policy, profile, "");
        Snapshot::check(&config, &upstream(capabilities), now()).to_string()
    }

    #[test]
    fn what_issuers_cannot_do_is_found_where_it_stands() {
        assert_eq!(findings(POLICY, PROFILE, able()), "");
        let rewrite = format!(
            "{POLICY}[enforce]\nsubject = {{ allow = \"CN={{n}}\", set = \"CN={{n}},O=x\" }}\nsan = {{ add = [\"dns:x\"], unlisted = \"drop\" }}\n"
        );
        let unable =
            Capabilities { overrides_subject: false, overrides_subject_alt_names: false, overrides_usages: false, ..able() };
        let report = findings(&rewrite, PROFILE, unable);
        for part in
            ["policies/devices.toml:5:", "policies/devices.toml:6:", "another subject", "add alternative", "leave alternative"]
        {
            assert!(report.contains(part), "{part} is not in\n{report}");
        }
        for (from, to, place, what) in [
            ("ecdsa-sha256", "rsa-sha256", "algorithms/ecdsa-p256.toml:2:", "it signs with ecdsa-sha256"),
            ("ca = \"ecdsa-p256\"", "ca = \"other\"", "algorithms/ecdsa-p256.toml:4:", "has no CA `other`"),
            ("rsa-2048", "ed25519", "algorithms/ecdsa-p256.toml:1:", "certifies no key of ed25519"),
            ("1h", "2y", "algorithms/ecdsa-p256.toml:3:", "to be valid for 2y"),
        ] {
            let report = findings(POLICY, &PROFILE.replace(from, to), able());
            assert!(report.contains(place) && report.contains(what), "{place} or {what} is not in\n{report}");
        }
        let narrow = format!("{POLICY}[enforce]\nkeys = [\"ecdsa-p256\"]\n");
        assert!(findings(&narrow, PROFILE, able()).contains("accepts no key of ecdsa-p256"));
    }

    #[test]
    fn a_ca_that_wants_the_challenge_of_the_device_has_to_know_it() {
        let wants = || Capabilities { sees_challenge: true, wants_challenge: true, ..able() };
        let report = findings(POLICY, PROFILE, wants());
        assert!(report.contains("policies/devices.toml:3:") && report.contains("are known to Ravelin alone"), "{report}");
        assert!(!report.contains("in renewals too"));
        let hash = crate::policy::challenge::SharedChallenge::hash("a password of sixteen");
        let shared = format!(
            "profile = \"ecdsa-p256\"\n[authenticate]\nallow-challenge-upstream = true\n\
             challenge = {{ kind = \"shared\", hash = \"{hash}\" }}\nrenewal = {{ issuers = [\"own\"] }}\n"
        );
        let report = findings(&shared, PROFILE, wants());
        assert!(!report.contains("known to Ravelin alone") && report.contains("wants a challenge in renewals too"), "{report}");
    }

    #[test]
    fn a_candidate_is_checked_like_the_profile() {
        let rollout = |candidate: &str| format!("{POLICY}[rollout]\ncandidate = \"{candidate}\"\npercent = 5\n");
        // This upstream has no such CA.
        let report = findings(&rollout("ecdsa-p384"), PROFILE, able());
        assert!(report.contains("algorithms/ecdsa-p384.toml") && report.contains("has no CA `ecdsa-p384`"), "{report}");
        // PROFILE accepts rsa-2048 only, and this one other keys only.
        assert!(report.is_empty() || !report.contains("accepts no key that devices"), "{report}");
        let config = |policy: &str| {
            let dir = tempfile::tempdir().unwrap();
            template::write(dir.path(), &template::Options { policies: Vec::new(), ..Default::default() }).unwrap();
            fs::write(dir.path().join("policies/devices.toml"), policy).unwrap();
            fs::write(dir.path().join("algorithms/ecdsa-p256.toml"), PROFILE).unwrap();
            fs::write(dir.path().join("algorithms/next.toml"), PROFILE.replace("rsa-2048", "ecdsa-p256")).unwrap();
            load(dir.path(), &Overrides::none()).unwrap_or_else(|findings| panic!("{findings}"))
        };
        let report = Snapshot::check(&config(&rollout("next")), &upstream(able()), now()).to_string();
        for part in [
            "policies/devices.toml:5:",
            "profile `next` accepts no key that devices of this group bring",
            "it accepts ecdsa-p256",
        ] {
            assert!(report.contains(part), "{part} is not in\n{report}");
        }
    }

    #[test]
    fn what_issuers_cannot_do_for_a_form_is_found_where_it_stands() {
        let catalyst = format!("{PROFILE}form = \"catalyst\"\nalternative = \"ml-dsa-65\"\n");
        let report = findings(POLICY, &catalyst, able());
        for part in [
            "algorithms/ecdsa-p256.toml:6:15",
            "makes no alternative signature by ml-dsa-65",
            "`ravelin ca create --profile ecdsa-p256`",
        ] {
            assert!(report.contains(part), "{part} is not in\n{report}");
        }
        let other = Capabilities { alternatives: vec![SignatureAlgorithm::MlDsa44], ..able() };
        assert!(findings(POLICY, &catalyst, other).contains("it makes ml-dsa-44"));
        let right = Capabilities { alternatives: vec![SignatureAlgorithm::MlDsa65], ..able() };
        assert_eq!(findings(POLICY, &catalyst, right), "");

        let paired = |sibling: &str| {
            let sibling = format!("alternative-issuer = {{ upstream = \"local\", ca = \"{sibling}\" }}\n");
            format!("{PROFILE}form = \"paired\"\nalternative = \"ml-dsa-65\"\n{sibling}")
        };
        let report = findings(POLICY, &paired("ecdsa-p256"), able());
        let says = "CA `ecdsa-p256` of upstream `local` does not sign with ml-dsa-65";
        assert!(report.contains("algorithms/ecdsa-p256.toml:6:15") && report.contains(says), "{report}");
        let report = findings(POLICY, &paired("ml-dsa-65"), able());
        assert!(report.contains("algorithms/ecdsa-p256.toml:7:") && report.contains("has no CA `ml-dsa-65`"), "{report}");

        let extensions = format!("{PROFILE}[extensions]\npolicies = [\"1.2.3\"]\n");
        let report = findings(POLICY, &extensions, Capabilities { takes_extensions: false, ..able() });
        assert!(report.contains("algorithms/ecdsa-p256.toml:") && report.contains("chooses the extensions itself"), "{report}");
        assert_eq!(findings(POLICY, &extensions, able()), "");
    }

    /// Word for word, as `ravelin check-config` tells it.
    #[test]
    fn issuers_that_cannot_sign_so_are_reported_word_for_word() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config/issuer");
        let config = load(&folder, &Overrides::none()).unwrap_or_else(|findings| panic!("{findings}"));
        let found = Snapshot::check(&config, &upstream(able()), now());
        assert!(found.has_errors());
        let (report, found) = (folder.join("report.txt"), format!("{found}\n"));
        if std::env::var_os("RAVELIN_UPDATE_GOLDEN").is_some() {
            fs::write(&report, &found).unwrap();
        }
        assert!(fs::read_to_string(&report).unwrap_or_default() == found, "{} differs:\n{found}", report.display());
    }

    #[test]
    fn those_who_sign_in_the_place_of_an_issuer_are_checked_like_it() {
        let others = format!("{PROFILE}failover = [{{ upstream = \"local\", ca = \"spare\" }}]\n");
        let report = findings(POLICY, &others, able());
        for part in ["algorithms/ecdsa-p256.toml:5:40", "upstream `local` has no CA `spare`"] {
            assert!(report.contains(part), "{part} is not in\n{report}");
        }
    }

    /// CAs that are sent the CSR as it is.
    #[test]
    fn what_a_ca_decides_or_sees_is_told() {
        let deciding = || Capabilities { overrides_usages: false, sees_challenge: true, ..able() };
        assert_eq!(findings(POLICY, PROFILE, deciding()), "", "a one-time challenge is spent by then, and usages are looked at");
        let drops = format!("{POLICY}[enforce]\nusages = {{ allow = [\"clientAuth\"], unlisted = \"drop\" }}\n");
        let report = findings(&drops, PROFILE, deciding());
        assert!(report.contains("warning[issuer-decides]") && report.contains("policies/devices.toml:5:"), "{report}");
        assert_eq!(findings(&drops, PROFILE, able()), "");

        let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$1ZRr2yyA9jZRpDVd8CGTXIzwuiaHCBvkvm2Hh1v3PaY";
        let shared = |more: &str| {
            format!("profile = \"ecdsa-p256\"\n[authenticate]\nchallenge = {{ kind = \"shared\", hash = \"{hash}\" }}\n{more}")
        };
        assert_eq!(findings(&shared(""), PROFILE, able()), "");
        let report = findings(&shared(""), PROFILE, deciding());
        assert!(report.contains("error[challenge-upstream]") && report.contains("policies/devices.toml:3:"), "{report}");
        let report = findings(&shared("allow-challenge-upstream = true\n"), PROFILE, deciding());
        assert!(report.contains("warning[challenge-upstream]") && !report.contains("error["), "{report}");
    }

    /// A rung that a group cannot step on is no reason to refuse the rest.
    #[test]
    fn a_rung_whose_issuer_cannot_do_what_the_group_says_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        template::write(dir.path(), &template::Options { policies: Vec::new(), ..Default::default() }).unwrap();
        let policy = format!("{POLICY}[enforce]\nsan = {{ add = [\"dns:x\"] }}\n");
        fs::write(dir.path().join("policies/devices.toml"), policy).unwrap();
        fs::write(dir.path().join("algorithms/ecdsa-p256.toml"), format!("{PROFILE}fallback = \"rung\"\n")).unwrap();
        fs::write(dir.path().join("algorithms/rung.toml"), PROFILE).unwrap();
        let config = load(dir.path(), &Overrides::none()).unwrap_or_else(|findings| panic!("{findings}"));
        let unable = Capabilities { overrides_subject_alt_names: false, ..able() };
        let report = Snapshot::check(&config, &upstream(unable), now()).to_string();
        for part in
            ["error[issuer-cannot]", "warning[issuer-cannot]", "the issuer of profile `rung`, cannot add", "can fall back to it"]
        {
            assert!(report.contains(part), "{part} is not in\n{report}");
        }
    }

    #[test]
    fn what_is_tried_in_the_shadow_is_checked_like_the_profile() {
        let report = findings(&format!("{POLICY}[shadow]\ncandidate = \"ecdsa-p384\"\n"), PROFILE, able());
        assert!(report.contains("algorithms/ecdsa-p384.toml") && report.contains("has no CA `ecdsa-p384`"), "{report}");
    }

    #[test]
    fn a_deadline_that_has_passed_is_found_where_it_stands() {
        let past = format!("{POLICY}[deadline]\nfrom = \"2020-01-01\"\n");
        let report = findings(&past, PROFILE, able());
        for part in
            ["error[deadline-passed]", "policies/devices.toml:", "what `ecdsa-p256` signs is classical only", "move `from`"]
        {
            assert!(report.contains(part), "{part} is not in\n{report}");
        }
        let exception = |until: &str| {
            let exception = format!("{{ devices = [\"commonName=x\"], until = \"{until}\", why = \"late\" }}");
            findings(&format!("{past}exceptions = [{exception}]\n"), PROFILE, able())
        };
        let report = exception("2090-01-01");
        assert!(report.contains("warning[deadline-passed]") && !report.contains("error["), "{report}");
        let report = exception("2020-02-01");
        assert!(report.contains("error[deadline-passed]") && report.contains("warning[exception-ended]"), "{report}");
        let future = past.replace("2020", "2090");
        assert_eq!(findings(&future, PROFILE, able()), "");
    }

    /// A fallback may be needed at any time: its issuer has to be there too.
    #[test]
    fn the_steps_of_a_ladder_are_checked() {
        let report = findings(POLICY, &format!("{PROFILE}fallback = \"rsa-sha256\"\n"), able());
        assert!(report.contains("has no CA `rsa`") && report.contains("--profile rsa-sha256"), "{report}");
    }

    #[test]
    fn a_profile_that_nobody_is_on_is_not_checked() {
        // rsa-sha256 and ecdsa-p384 are shipped, and this upstream has no such CA.
        assert_eq!(findings(POLICY, PROFILE, able()), "");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("algorithms/rsa-sha256.toml").exists());
    }
}
