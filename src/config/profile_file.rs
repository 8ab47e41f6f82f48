//! `algorithms/NAME.toml`.

use std::time::Duration;

use super::reader::{Reader, Sink, values};
use super::tree::Table;
use super::{Origins, schema};
use crate::algorithm::{AlgorithmProfile, Form, IssuerRef, KeyRule, SignatureAlgorithm};

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
    let signature = root.named::<SignatureAlgorithm>("signature");
    if let Some(signature) = &signature
        && signature.value.digest().is_some_and(|digest| digest.is_legacy())
    {
        root.bad(&signature.origin, format!("no certificate is signed with {} any more (RFC 6194, RFC 6151)", signature.value));
    }
    let issuer = root.table("issuer", &schema::ISSUER).and_then(|issuer| {
        let (upstream, ca) = (issuer.required("upstream"), issuer.required("ca"));
        let (upstream, ca) = (upstream?, ca?);
        origins.note(format!("profile/{name}/issuer.upstream"), &upstream.origin);
        origins.note(format!("profile/{name}/issuer.ca"), &ca.origin);
        Some(IssuerRef { upstream: upstream.value, ca: ca.value })
    });
    let validity = root.parsed("validity", |text| match super::value::duration(text)? {
        short if short < Duration::from_secs(60) => Err(format!("{text:?} is shorter than a minute")),
        validity => Ok(validity),
    });
    for key in ["accepts", "signature", "validity"] {
        if let Some(origin) = root.origin_of(key) {
            origins.note(format!("profile/{name}/{key}"), &origin);
        }
    }
    origins.note(format!("profile/{name}"), root.origin());
    let form = root.named::<Form>("form").map_or(Form::Single, |form| form.value);
    let description = root.string("description").map(|text| text.value).unwrap_or_default();
    let max_reply = root.size("max-reply", 1024, 16 * 1024 * 1024);
    Some(AlgorithmProfile {
        name: name.to_owned(),
        description,
        accepts: values(accepts?),
        form,
        signature: signature?.value,
        issuer: issuer?,
        validity: validity.map_or(Duration::from_secs(365 * 24 * 3600), |validity| validity.value),
        max_reply,
    })
}
