//! `algorithms/NAME.toml`.

use std::time::Duration;

use der::oid::ObjectIdentifier;

use super::diagnostic::{Diagnostic, Origin};
use super::reader::{Located, Reader, Sink, values};
use super::tree::Table;
use super::{Origins, schema};
use crate::algorithm::{
    AlgorithmProfile, Digest, Family, Form, IssuerRef, KeyRule, ProfileExtensions, SignatureAlgorithm, UnfitUsage, size,
};

/// Reads a profile; `None` if something that must be there is missing or wrong, which is reported.
pub(super) fn read(name: &str, table: &Table, sink: &Sink, origins: &mut Origins) -> Option<AlgorithmProfile> {
    let root = Reader::new(table, &schema::PROFILE, sink);
    for key in ["accepts", "signature", "issuer"] {
        root.must_have(key);
    }
    let accepts = root.named_list::<KeyRule>("accepts");
    if let Some(origin) = root.empty_array("accepts") {
        root.bad(&origin, "a profile that accepts no key issues nothing");
    }
    let form = root.named::<Form>("form");
    let signature = signature(&root);
    let alternative = root.named::<SignatureAlgorithm>("alternative");
    let read_issuer = |key: &str, schema, origins: &mut Origins| {
        let issuer = root.table(key, schema)?;
        let (upstream, ca) = (issuer.required("upstream"), issuer.required("ca"));
        let (upstream, ca) = (upstream?, ca?);
        origins.note(format!("profile/{name}/{key}.upstream"), &upstream.origin);
        origins.note(format!("profile/{name}/{key}.ca"), &ca.origin);
        Some(IssuerRef { upstream: upstream.value, ca: ca.value })
    };
    let issuer = read_issuer("issuer", &schema::ISSUER, origins);
    let mut failover = Vec::new();
    for (index, table) in root.tables("failover", &schema::FAILOVER).unwrap_or_default().into_iter().enumerate() {
        let (Some(upstream), Some(ca)) = (table.required("upstream"), table.required("ca")) else { continue };
        origins.note(format!("profile/{name}/failover.{index}.upstream"), &upstream.origin);
        origins.note(format!("profile/{name}/failover.{index}.ca"), &ca.origin);
        let next = IssuerRef { upstream: upstream.value, ca: ca.value };
        if issuer.as_ref() == Some(&next) || failover.contains(&next) {
            root.bad(&ca.origin, format!("{next} is among the issuers already"));
            continue;
        }
        failover.push(next);
    }
    let alternative_issuer = read_issuer("alternative-issuer", &schema::ALTERNATIVE_ISSUER, origins);
    let validity = root.parsed("validity", |text| match super::value::duration(text)? {
        short if short < Duration::from_secs(60) => Err(format!("{text:?} is shorter than a minute")),
        validity => Ok(validity),
    });
    let spread = root.boolean("spread").unwrap_or(false);
    if spread
        && failover.is_empty()
        && let Some(origin) = root.key_origin_of("spread")
    {
        let found = Diagnostic::error("impossible-combination", "there is only one issuer to spread orders over").at(&origin);
        root.report(found.help("add failover = [{ upstream = \"other\", ca = \"name\" }]"));
    }
    for key in ["accepts", "signature", "alternative", "fallback", "validity", "max-reply", "extensions"] {
        if let Some(origin) = root.origin_of(key) {
            origins.note(format!("profile/{name}/{key}"), &origin);
        }
    }
    origins.note(format!("profile/{name}"), root.origin());
    let description = root.string("description").map(|text| text.value).unwrap_or_default();
    let max_reply = root.size("max-reply", 1024, 16 * 1024 * 1024);
    let extensions = root.table("extensions", &schema::EXTENSIONS).map(|table| extensions(&table)).unwrap_or_default();
    // What cannot be read may have been any of the forms: nothing can be said against the rest then.
    if form.is_some() || root.origin_of("form").is_none() {
        combination(&root, form.as_ref(), signature.as_ref(), alternative.as_ref());
    }
    let unreadable = alternative.is_none() && root.origin_of("alternative").is_some();
    let profile = AlgorithmProfile {
        name: name.to_owned(),
        description,
        accepts: values(accepts?),
        form: form.map_or(Form::Single, |form| form.value),
        signature: signature?.value,
        issuer: issuer?,
        failover,
        spread,
        alternative: alternative.map(|alternative| alternative.value),
        alternative_issuer,
        fallback: root.string("fallback").map(|name| name.value),
        key_usage: root.named::<UnfitUsage>("key-usage").map_or(UnfitUsage::default(), |rule| rule.value),
        extensions,
        validity: validity.map_or(Duration::from_secs(365 * 24 * 3600), |validity| validity.value),
        max_reply,
    };
    if unreadable {
        return None;
    }
    budget(&root, &profile);
    Some(profile)
}

/// What signs: by its whole name, or by a family and `digest`.
fn signature(root: &Reader<'_>) -> Option<Located<SignatureAlgorithm>> {
    let text = root.string("signature")?;
    let digest = root.named::<Digest>("digest");
    let signature = match text.value.as_str() {
        family @ ("rsa" | "rsa-pss" | "ecdsa") => {
            let Some(digest) = &digest else {
                if root.origin_of("digest").is_none() {
                    let found = Diagnostic::error("missing-key", format!("`{family}` needs a `digest`")).at(&text.origin);
                    root.report(found.help(format!("add digest = \"sha-256\", or write signature = \"{family}-sha256\"")));
                }
                return None;
            };
            let name = format!("{family}-{}", digest.value.name().replace('-', ""));
            match name.parse() {
                Ok(value) => Located { value, origin: text.origin.clone() },
                Err(_) => {
                    root.bad(&digest.origin, format!("there is no signature by `{family}` with {}", digest.value));
                    return None;
                }
            }
        }
        _ => {
            let signature = root.read_named::<SignatureAlgorithm>(&text)?;
            match (&digest, signature.value.digest()) {
                (Some(digest), Some(named)) if digest.value != named => {
                    let message = format!("`{}` is with {named}, and `digest` says {}", signature.value, digest.value);
                    let help = "leave `digest` out, or name the signature that you mean";
                    root.report(Diagnostic::error("impossible-combination", message).at(&digest.origin).help(help));
                }
                (Some(digest), None) => {
                    let message = format!("`{}` has a digest of its own", signature.value);
                    let found = Diagnostic::error("impossible-combination", message).at(&digest.origin);
                    root.report(found.help("leave `digest` out"));
                }
                _ => {}
            }
            signature
        }
    };
    if signature.value.digest().is_some_and(|digest| digest.is_legacy()) {
        root.bad(&signature.origin, format!("no certificate is signed with {} any more (RFC 6194, RFC 6151)", signature.value));
    }
    Some(signature)
}

/// What the form asks of the signatures, and of who makes them.
fn combination(
    root: &Reader<'_>,
    form: Option<&Located<Form>>,
    signature: Option<&Located<SignatureAlgorithm>>,
    alternative: Option<&Located<SignatureAlgorithm>>,
) {
    let impossible = |message: String, origin: &Origin, help: &str| {
        root.report(Diagnostic::error("impossible-combination", message).at(origin).help(help));
    };
    let at_form = form.map_or(root.origin(), |form| &form.origin);
    let form = form.map_or(Form::Single, |form| form.value);
    let two = matches!(form, Form::Catalyst | Form::Paired);
    if let Some(signature) = signature {
        let (name, family) = (signature.value, signature.value.family());
        match form {
            Form::Composite if family != Family::Composite => impossible(
                format!("form `composite` needs a composite signature, and `{name}` is none"),
                &signature.origin,
                "name a composite, such as `mldsa65-ecdsa-p256-sha512`, or say form = \"single\"",
            ),
            Form::Single if family == Family::Composite => impossible(
                format!("`{name}` is a composite, and the form is `single`"),
                &signature.origin,
                "say form = \"composite\"",
            ),
            Form::Catalyst | Form::Paired if name.is_post_quantum() => impossible(
                format!("form `{form}` needs a classical `signature`, which old devices check, and `{name}` is none"),
                &signature.origin,
                "name a signature by RSA, ECDSA or Ed25519 here, and this one in `alternative`",
            ),
            _ => {}
        }
    }
    if let Some(alternative) = alternative.filter(|_| two) {
        let (name, family) = (alternative.value, alternative.value.family());
        if !name.is_post_quantum() {
            impossible(
                format!("`{name}` is forged by a quantum computer like the signature beside it"),
                &alternative.origin,
                "name ML-DSA or SLH-DSA, such as `ml-dsa-65`",
            );
        } else if form == Form::Catalyst && family == Family::Composite {
            impossible(
                format!(
                    "an alternative signature beside a classical one is ML-DSA or SLH-DSA alone, and `{name}` is a composite"
                ),
                &alternative.origin,
                "name its ML-DSA half",
            );
        }
    }
    for (key, needed) in [("alternative", two), ("alternative-issuer", form == Form::Paired)] {
        match (needed, root.key_origin_of(key)) {
            (true, None) => {
                let help = match key {
                    "alternative" => "add alternative = \"ml-dsa-65\"",
                    _ => "add alternative-issuer = { upstream = \"local\", ca = \"ml-dsa-65\" }: it signs the sibling",
                };
                let message = format!("form `{form}` lacks the key `{key}`");
                root.report(Diagnostic::error("missing-key", message).at(at_form).help(help));
            }
            (false, Some(origin)) => {
                let help = match (key, form) {
                    ("alternative-issuer", Form::Catalyst) => "both signatures are by the CA in `issuer`; leave it out",
                    _ => "leave it out, or say form = \"catalyst\" or form = \"paired\"",
                };
                impossible(format!("form `{form}` has no `{key}`"), &origin, help);
            }
            _ => {}
        }
    }
}

/// A budget that not even the smallest certificate keeps.
fn budget(root: &Reader<'_>, profile: &AlgorithmProfile) {
    let (Some(budget), Some(origin)) = (profile.max_reply, root.origin_of("max-reply")) else { return };
    let smallest = size::reply_len(profile.certificate_lens().0, 0);
    if smallest > budget && !profile.accepts.is_empty() {
        let message =
            format!("nothing fits: the smallest reply under this profile has about {smallest} octets, `max-reply` is {budget}");
        let help = format!("allow at least \"{}KiB\", or choose a smaller signature", (smallest + 512).div_ceil(1024));
        root.report(Diagnostic::error("over-budget", message).at(&origin).help(help));
    }
}

fn extensions(table: &Reader<'_>) -> ProfileExtensions {
    let oid = |text: &str| {
        ObjectIdentifier::new(text).map(|oid| oid.to_string()).map_err(|_| format!("{text:?} is no dotted object identifier"))
    };
    let urls = |key: &str, schemes: &'static [&'static str]| {
        let url = |text: &str| {
            // RFC 5280 section 4.2.1.6: IA5String, absolute.
            let literal = if key == "crl-urls" { text.replace("{key}", "") } else { text.to_owned() };
            let clean = literal.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '{' | '}'));
            match clean && schemes.iter().any(|scheme| text.starts_with(scheme)) {
                true => Ok(text.to_owned()),
                false => Err(format!("{text:?} is no URL in ASCII without blanks that begins with {}", schemes.join(" or "))),
            }
        };
        table.parsed_list(key, url).map(values).unwrap_or_default()
    };
    ProfileExtensions {
        policies: table.parsed_list("policies", oid).map(values).unwrap_or_default(),
        crl_urls: urls("crl-urls", &["http://", "https://", "ldap://"]),
        ca_issuers: urls("ca-issuers", &["http://", "https://", "ldap://"]),
        ocsp: urls("ocsp", &["http://", "https://"]),
    }
}
