//! `policies/NAME.toml`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use der::oid::ObjectIdentifier;

use super::diagnostic::{Diagnostic, did_you_mean, suggestion};
use super::reader::{Located, Reader, Sink, values};
use super::server_file::network;
use super::tree::Table;
use super::{Origins, schema};
use crate::algorithm::{ContentCipher, Digest, KeyRule};
use crate::policy::enforce::{KEY_USAGE_NAMES, NameKind, NameRules, OtherNames, Unlisted};
use crate::policy::{
    Approval, ChallengePolicy, DeviceGroup, GroupSettings, Matching, RenewalPolicy, Rules, ScepSettings, SharedChallenge,
    SignerKey, SubjectPattern, SubjectTemplate, Template, TextPattern, selector,
};
use crate::x509::extension::extended_key_usage_oid;
use crate::x509::{Certificate, KeyUsage};

/// What reading a group needs beside its table.
pub(super) struct Context<'a> {
    /// The file's stem.
    pub(super) name: &'a str,
    /// Where relative paths start.
    pub(super) folder: &'a Path,
    /// Where findings go.
    pub(super) sink: &'a Sink,
    /// Files that were read on the way.
    pub(super) read: &'a mut Vec<(PathBuf, Vec<u8>)>,
}

/// Reads a group; `None` if its profile is missing, which is reported.
pub(super) fn read(table: &Table, context: &mut Context<'_>, origins: &mut Origins) -> Option<(DeviceGroup, ScepSettings)> {
    let name = context.name;
    let root = Reader::new(table, &schema::GROUP, context.sink);
    let empty = Table { entries: Vec::new(), origin: table.origin.clone() };
    let section = |key, schema| root.table(key, schema).unwrap_or_else(|| Reader::new(&empty, schema, context.sink));
    let profile = root.required("profile");
    if let Some(profile) = &profile {
        origins.note(format!("group/{name}/profile"), &profile.origin);
    }
    origins.note(format!("group/{name}"), root.origin());
    if let Some(origin) = root.origin_of("priority") {
        origins.note(format!("group/{name}/priority"), &origin);
    }

    let device = section("device", &schema::DEVICE);
    let ids = device.parsed_list("id", |text| selector(text).map(|_| text.to_owned())).map(values);
    let scep = section("scep", &schema::SCEP);
    if let Some(origin) = scep.origin_of("ra") {
        origins.note(format!("group/{name}/scep.ra"), &origin);
    }
    let scep = read_scep(&scep);
    let authenticate = section("authenticate", &schema::AUTHENTICATE);
    let challenges = challenges(&authenticate, context);
    if let Some(origin) = authenticate.key_origin_of("challenge") {
        origins.note(format!("group/{name}/authenticate.challenge"), &origin);
    }
    let renewal = renewal(&authenticate, context);
    if challenges.is_empty() && renewal.is_none() {
        let found = Diagnostic::warning("nobody-enrolls", format!("group `{name}` lets nobody in"));
        let origin = root.key_origin_of("authenticate").unwrap_or_else(|| root.origin().clone());
        let help = "add a challenge: [authenticate] challenge = { kind = \"one-time\" }";
        root.report(found.at(&origin).help(help));
    }
    let enforce = section("enforce", &schema::ENFORCE);
    let rules = rules(&enforce, name, origins);
    let limits = section("limits", &schema::GROUP_LIMITS);
    let matching = matching(&section("match", &schema::MATCH), &challenges);
    let ids = ids.filter(|ids| !ids.is_empty()).unwrap_or_else(|| DEVICE_ID.map(str::to_owned).to_vec());
    let profile = profile.map(|profile| profile.value).unwrap_or_default();
    let shadow = super::shadow_table::read(&root, name, &profile, origins);
    let fallback = super::fallback_table::read(&root, name, origins);
    let deadline = super::deadline_table::read(&root, name, &ids, origins);
    let rollout = super::rollout_table::read(&root, name, &profile, &ids, origins);
    let group = DeviceGroup::new(GroupSettings {
        name: name.to_owned(),
        description: root.string("description").map(|text| text.value).unwrap_or_default(),
        priority: root.integer("priority", -1_000_000, 1_000_000).unwrap_or(0) as i32,
        profile,
        rollout,
        deadline,
        fallback,
        shadow,
        device: ids,
        challenges,
        allow_challenge_upstream: authenticate.boolean("allow-challenge-upstream").unwrap_or(false),
        renewal,
        signer_key: authenticate.named::<SignerKey>("signer-key").map_or(SignerKey::Same, |rule| rule.value),
        approval: enforce.named::<Approval>("approval").map_or(Approval::Automatic, |approval| approval.value),
        per_device: limits.parsed("per-device", super::value::limit).map(|limit| limit.value),
        allow_shared_keys: enforce.boolean("allow-shared-keys").unwrap_or(false),
        replay: limits.duration("replay").unwrap_or(Duration::from_secs(24 * 3600)),
        rules,
        matching,
    });
    (!group.profile.is_empty()).then_some((group, scep))
}

/// Reads a `[scep]` table; what is legacy is warned of.
pub(super) fn read_scep(table: &Reader<'_>) -> ScepSettings {
    let defaults = ScepSettings::default();
    let ciphers = table.named_list::<ContentCipher>("accept-ciphers");
    let digests = table.named_list::<Digest>("accept-digests");
    let legacy_ciphers = ciphers.iter().flatten().filter(|c| c.value.is_legacy()).map(|c| (c.value.name(), &c.origin));
    let legacy_digests = digests.iter().flatten().filter(|d| d.value.is_legacy()).map(|d| (d.value.name(), &d.origin));
    for (name, origin) in legacy_ciphers.chain(legacy_digests) {
        let found = Diagnostic::warning("legacy-algorithm", format!("`{name}` is weak (RFC 8894 section 2.9)")).at(origin);
        table.report(found.label("let through, and logged at each use"));
    }
    let only_ciphers = ciphers.as_ref().is_some_and(|list| !list.is_empty() && list.iter().all(|c| c.value.is_legacy()));
    let only_digests = digests.as_ref().is_some_and(|list| !list.is_empty() && list.iter().all(|d| d.value.is_legacy()));
    for (only, key) in [(only_ciphers, "accept-ciphers"), (only_digests, "accept-digests")] {
        if let (true, Some(origin)) = (only, table.origin_of(key)) {
            let found = Diagnostic::warning("legacy-only", "devices that can do better are turned away here").at(&origin);
            table.report(found.help("list a current algorithm as well"));
        }
    }
    for key in ["accept-ciphers", "accept-digests"] {
        if let Some(origin) = table.empty_array(key) {
            table.bad(&origin, format!("`{key}` is empty: no request could be read"));
        }
    }
    ScepSettings {
        accept_ciphers: ciphers.map_or(defaults.accept_ciphers, values),
        accept_digests: digests.map_or(defaults.accept_digests, values),
        accept_oaep: table.boolean("accept-oaep").unwrap_or(defaults.accept_oaep),
        ca_certs: table.named("ca-certs").map_or(defaults.ca_certs, |shape| shape.value),
        reply_certs: table.named("reply-certs").map_or(defaults.reply_certs, |shape| shape.value),
        reply_includes_signer: table.boolean("reply-includes-signer").unwrap_or(defaults.reply_includes_signer),
        max_message: table.size("max-message", 4 * 1024, 8 * 1024 * 1024).unwrap_or(defaults.max_message),
        ra: table.string("ra").map(|name| name.value).filter(|name| name != super::server_file::DEFAULT_RA),
    }
}

fn challenges(table: &Reader<'_>, context: &mut Context<'_>) -> Vec<ChallengePolicy> {
    let mut found = Vec::new();
    for challenge in table.tables("challenge", &schema::CHALLENGE).unwrap_or_default() {
        let Some(kind) = challenge.required("kind") else { continue };
        let (ours, others): (&[&str], &[&str]) = match kind.value.as_str() {
            "one-time" => (&["ttl", "bind"], &["hash-file", "hash"]),
            "shared" => (&["hash-file", "hash"], &["ttl", "bind"]),
            other => {
                let help = suggestion(other, ["one-time", "shared"]);
                let message = format!("unknown kind of challenge `{other}`");
                challenge.report(Diagnostic::error("unknown-name", message).at(&kind.origin).help(help));
                continue;
            }
        };
        for origin in others.iter().filter_map(|key| challenge.key_origin_of(key)) {
            let message = format!("this key is not for challenges of kind `{}`", kind.value);
            challenge.report(
                Diagnostic::error("unknown-key", message).at(&origin).help(format!("keys for them are {}", ours.join(", "))),
            );
        }
        if kind.value == "one-time" {
            found.push(ChallengePolicy::OneTime {
                ttl: challenge.duration("ttl").unwrap_or(Duration::from_secs(24 * 3600)),
                bind: challenge
                    .parsed_list("bind", |text| selector(text).map(|_| text.to_owned()))
                    .map(values)
                    .unwrap_or_default(),
            });
        } else {
            found.extend(shared(&challenge, context).map(ChallengePolicy::Shared));
        }
    }
    found
}

fn shared(table: &Reader<'_>, context: &mut Context<'_>) -> Option<SharedChallenge> {
    let (file, inline) = (table.path("hash-file", context.folder), table.string("hash"));
    let phc = match (file, inline) {
        (Some(file), None) => {
            let content = read_file(table, &file, context)?;
            Located { value: String::from_utf8_lossy(&content).trim().to_owned(), origin: file.origin }
        }
        (None, Some(inline)) => inline,
        (Some(_), Some(inline)) => {
            table.bad(&inline.origin, "`hash` and `hash-file` cannot both be there");
            return None;
        }
        (None, None) => {
            if table.origin_of("hash-file").is_none() && table.origin_of("hash").is_none() {
                table.must_have("hash-file");
            }
            return None;
        }
    };
    match SharedChallenge::from_phc(&phc.value) {
        Ok(shared) => Some(shared),
        Err(why) => {
            let found = Diagnostic::error("bad-value", format!("this is no Argon2id hash: {why}")).at(&phc.origin);
            let help = "make one with: printf %s 'the challenge' | ravelin hash-challenge";
            // It may be the password itself.
            table.report(found.help(help).secret());
            None
        }
    }
}

fn read_file(table: &Reader<'_>, path: &Located<PathBuf>, context: &mut Context<'_>) -> Option<Vec<u8>> {
    match std::fs::read(&path.value) {
        Ok(content) => {
            context.read.push((path.value.clone(), content.clone()));
            Some(content)
        }
        Err(error) => {
            let message = format!("the file cannot be read: {error}");
            table.report(Diagnostic::error("unreadable-file", message).at(&path.origin));
            None
        }
    }
}

fn renewal(table: &Reader<'_>, context: &mut Context<'_>) -> Option<RenewalPolicy> {
    let renewal = table.table("renewal", &schema::RENEWAL)?;
    let mut policy = RenewalPolicy {
        window: renewal.duration("window"),
        grace: renewal.duration("grace").unwrap_or_default(),
        own: false,
        earlier: Vec::new(),
        allow_name_change: renewal.boolean("allow-name-change").unwrap_or(false),
        allow_same_key: renewal.boolean("allow-same-key").unwrap_or(true),
    };
    let Some(issuers) = renewal.strings("issuers") else {
        policy.own = true;
        return Some(policy);
    };
    for issuer in issuers {
        if issuer.value == "own" {
            policy.own = true;
            continue;
        }
        let path = Located { value: context.folder.join(&issuer.value), origin: issuer.origin.clone() };
        let Some(content) = read_file(&renewal, &path, context) else { continue };
        match Certificate::from_pem(&String::from_utf8_lossy(&content)) {
            Ok(certificate) if certificate.is_ca() || certificate.extensions().is_empty() => {
                policy.earlier.push((issuer.value, Arc::new(certificate)));
            }
            Ok(certificate) => {
                renewal.bad(&issuer.origin, format!("the certificate of {} is not one of a CA", certificate.subject()))
            }
            Err(why) => renewal.bad(&issuer.origin, format!("there is no certificate in this file: {why}")),
        }
    }
    if !policy.own
        && policy.earlier.is_empty()
        && let Some(origin) = renewal.origin_of("issuers")
    {
        renewal.report(Diagnostic::warning("nobody-enrolls", "no certificate counts for a renewal").at(&origin));
    }
    Some(policy)
}

fn rules(table: &Reader<'_>, name: &str, origins: &mut Origins) -> Rules {
    let defaults = Rules::default();
    if let Some(origin) = table.origin_of("keys") {
        origins.note(format!("group/{name}/enforce.keys"), &origin);
    }
    let pattern = |text: &str| SubjectPattern::parse(text).map_err(|e| e.to_string());
    let (mut subject, mut set_subject) = (Vec::new(), None);
    if let Some(table) = table.table("subject", &schema::SUBJECT) {
        subject = table.parsed_list("allow", pattern).map(values).unwrap_or_default();
        set_subject = table.parsed("set", |text| SubjectTemplate::parse(text).map_err(|e| e.to_string()));
    }
    let captured: BTreeSet<String> = subject.iter().flat_map(|pattern| pattern.names()).map(str::to_owned).collect();
    if let Some(set) = &set_subject {
        check_references(table, set.value.references(), &captured, set);
        origins.note(format!("group/{name}/enforce.subject.set"), &set.origin);
    }
    let names = table.table("san", &schema::SAN).map(|san| names(&san, name, &captured, origins)).unwrap_or_default();
    let usages = usages(table, name, origins);
    if let Some(origin) = table.origin_of("key-usage") {
        origins.note(format!("group/{name}/enforce.key-usage"), &origin);
    }
    let (key_usage, unlisted_key_usage) = key_usage(table);
    Rules {
        keys: table.named_list::<KeyRule>("keys").map(values).unwrap_or_default(),
        subject,
        set_subject: set_subject.map(|set| set.value),
        names,
        usages: usages.allow.unwrap_or(defaults.usages),
        default_usages: usages.default.unwrap_or(defaults.default_usages),
        unlisted_usages: usages.unlisted.unwrap_or(defaults.unlisted_usages),
        key_usage: key_usage.unwrap_or(defaults.key_usage),
        unlisted_key_usage: unlisted_key_usage.unwrap_or(defaults.unlisted_key_usage),
    }
}

/// Reports references to what no subject pattern takes.
fn check_references<'r, T>(
    table: &Reader<'_>,
    references: impl Iterator<Item = &'r str>,
    captured: &BTreeSet<String>,
    at: &Located<T>,
) {
    for name in references.filter(|name| !name.contains('.') && !captured.contains(*name)) {
        let found = Diagnostic::error("unknown-name", format!("no subject pattern takes `{{{name}}}`")).at(&at.origin);
        let help = match did_you_mean(name, captured.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{{{meant}}}`?"),
            None if captured.is_empty() => {
                format!("say what it is in `subject.allow`: CN={{{name}}}, or give an expression: {{{name}:[a-z0-9-]+}}")
            }
            None => format!("known are {}", captured.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")),
        };
        table.report(found.help(help));
    }
}

fn names(table: &Reader<'_>, group: &str, captured: &BTreeSet<String>, origins: &mut Origins) -> NameRules {
    let patterns = |key: &str, ignore_case: bool| {
        let read = |text: &str| TextPattern::parse(text, ignore_case).map_err(|e| e.to_string());
        let found = table.parsed_list(key, read).unwrap_or_default();
        for pattern in &found {
            check_references(table, pattern.value.references(), captured, pattern);
        }
        values(found)
    };
    let add = table.parsed_list("add", |text| {
        let (kind, template) = text.split_once(':').ok_or_else(|| format!("{text:?} lacks its kind, as in \"dns:{text}\""))?;
        let kind: NameKind = kind.parse().map_err(|unknown: crate::algorithm::UnknownAlgorithm| unknown.to_string())?;
        Ok((kind, Template::parse(template).map_err(|e| e.to_string())?))
    });
    let add = add.unwrap_or_default();
    for name in &add {
        check_references(table, name.value.1.references(), captured, name);
    }
    for key in ["add", "unlisted"] {
        if let Some(origin) = table.origin_of(key) {
            origins.note(format!("group/{group}/enforce.san.{key}"), &origin);
        }
    }
    NameRules {
        dns: patterns("dns", true),
        ip: table.parsed_list("ip", network).map(values).unwrap_or_default(),
        uri: patterns("uri", false),
        email: patterns("email", false),
        other: table.named("other").map_or(OtherNames::Unlisted, |other| other.value),
        unlisted: table.named("unlisted").map_or(Unlisted::Refuse, |unlisted| unlisted.value),
        add: values(add),
    }
}

#[derive(Default)]
struct Usages {
    allow: Option<Vec<ObjectIdentifier>>,
    default: Option<Vec<ObjectIdentifier>>,
    unlisted: Option<Unlisted>,
}

fn usages(enforce: &Reader<'_>, group: &str, origins: &mut Origins) -> Usages {
    let read = |text: &str| {
        extended_key_usage_oid(text).ok_or_else(|| format!("unknown extended key usage {text:?}; {}", suggestion(text, USAGES)))
    };
    if let Some(origin) = enforce.origin_of("usages") {
        origins.note(format!("group/{group}/enforce.usages"), &origin);
    }
    if !enforce.is_table("usages") {
        let allow = enforce.parsed_list("usages", read).map(values);
        return Usages { default: allow.clone(), allow, unlisted: None };
    }
    let Some(table) = enforce.table("usages", &schema::USAGES) else { return Usages::default() };
    let allow = table.parsed_list("allow", read).map(values);
    let default = table.parsed_list("default", read).map(values).or_else(|| allow.clone());
    Usages { allow, default, unlisted: table.named("unlisted").map(|unlisted| unlisted.value) }
}

fn key_usage(enforce: &Reader<'_>) -> (Option<KeyUsage>, Option<Unlisted>) {
    let read = |text: &str| {
        let known = KEY_USAGE_NAMES.iter().find(|(name, _)| *name == text).map(|(_, bit)| *bit);
        let ca = KeyUsage::KEY_CERT_SIGN.union(KeyUsage::CRL_SIGN);
        match known {
            Some(bit) if ca.contains(bit) => Err(format!("{text} is for CAs, which no device gets")),
            Some(bit) => Ok(bit),
            None => {
                Err(format!("unknown key usage {text:?}; {}", suggestion(text, KEY_USAGE_NAMES.iter().map(|(name, _)| *name))))
            }
        }
    };
    let all = |bits: Vec<KeyUsage>| bits.into_iter().fold(KeyUsage::default(), KeyUsage::union);
    if !enforce.is_table("key-usage") {
        return (enforce.parsed_list("key-usage", read).map(values).map(all), None);
    }
    let Some(table) = enforce.table("key-usage", &schema::KEY_USAGE) else { return (None, None) };
    let unlisted = table.named("unlisted").map(|unlisted| unlisted.value);
    (table.parsed_list("allow", read).map(values).map(all), unlisted)
}

fn matching(table: &Reader<'_>, challenges: &[ChallengePolicy]) -> Matching {
    let pattern = |text: &str| SubjectPattern::parse(text).map_err(|e| e.to_string());
    let challenge = table.boolean("challenge").unwrap_or(false);
    if challenge
        && !challenges.iter().any(|policy| matches!(policy, ChallengePolicy::Shared(_)))
        && let Some(origin) = table.origin_of("challenge")
    {
        table.bad(&origin, "the group has no shared challenge to be chosen by");
    }
    Matching {
        subject: table.parsed_list("subject", pattern).map(values).unwrap_or_default(),
        keys: table.named_list::<KeyRule>("keys").map(values).unwrap_or_default(),
        sources: table.parsed_list("sources", network).map(values).unwrap_or_default(),
        challenge,
    }
}

/// What tells a device where the file does not say.
const DEVICE_ID: [&str; 3] = ["subject.serialNumber", "subject.commonName", "san.dns"];

/// Extended key usages to suggest.
const USAGES: [&str; 7] =
    ["clientAuth", "serverAuth", "emailProtection", "codeSigning", "ipsecIKE", "timeStamping", "OCSPSigning"];
