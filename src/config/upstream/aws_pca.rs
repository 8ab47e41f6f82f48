//! `kind = "aws-pca"`.

use super::schema::{CA, HTTP, UPSTREAM, UpstreamPart};
use super::{Kind, Tables};
use crate::config::schema::{Key, TableSchema, key};
use crate::upstream::aws_pca::{AwsCa, AwsPcaSettings, CredentialSource};
use crate::upstream::remote::ConnectorSettings;

pub(super) const KIND: Kind = Kind { name: "aws-pca", upstream: &TABLE, ca: &CA_TABLE, needs_tls: true, read };

pub(super) static PART: UpstreamPart = UpstreamPart {
    title: "`kind = \"aws-pca\"`",
    doc: "AWS Private CA. `url` is that of its API in the region, such as `https://acm-pca.eu-central-1.amazonaws.com`, and `trust` has the roots of Amazon.",
    tables: &[("upstream", KEYS), ("upstream.ca", CA_KEYS)],
};

const KEYS: &[Key] = &[
    key("region", "string", "", "The region, such as `eu-central-1`."),
    key(
        "credentials",
        "`static`, `container` or `instance`",
        "`static`",
        "Where credentials come from: the keys below, the agent of a container (ECS, EKS Pod Identity), or the role of an EC2 instance (IMDSv2).",
    ),
    key("access-key-id", "secret", "needed for `static`", "The name of the access key."),
    key("secret-access-key", "secret", "needed for `static`", "The access key."),
    key("session-token", "secret", "none", "The token of a session, for keys that hold for a while only."),
];

const CA_KEYS: &[Key] = &[
    key("arn", "string", "", "The ARN of the CA."),
    key(
        "template",
        "string",
        "that of end entities",
        "The ARN of the template. One with `APIPassthrough` or `APICSRPassthrough` takes subject and alternative names as policy made them, a `Blank` one usages too.",
    ),
];

static TABLE: TableSchema =
    TableSchema { name: "upstream", repeated: true, doc: PART.doc, keys: KEYS, shared: &[UPSTREAM, HTTP] };

static CA_TABLE: TableSchema =
    TableSchema { name: "upstream.ca", repeated: true, doc: "One CA of AWS Private CA.", keys: CA_KEYS, shared: &[CA] };

fn read(tables: &Tables<'_>) -> Option<ConnectorSettings> {
    let table = &tables.upstream;
    let region = table.required("region");
    let kind = table.parsed("credentials", |text| match text {
        "static" | "container" | "instance" => Ok(text.to_owned()),
        other => Err(format!("{other:?} is none of \"static\", \"container\" and \"instance\"")),
    });
    let (id, secret) = (tables.secret("access-key-id"), tables.secret("secret-access-key"));
    let token = tables.secret("session-token");
    let credentials = match kind.as_ref().map_or("static", |kind| kind.value.as_str()) {
        "container" => Some(CredentialSource::Container),
        "instance" => Some(CredentialSource::Instance),
        _ => {
            table.must_have("access-key-id");
            table.must_have("secret-access-key");
            id.zip(secret).map(|(id, secret)| CredentialSource::Static { id, secret, token })
        }
    };
    let arn = |text: &str| match text.starts_with("arn:") {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("{text:?} is no ARN, such as \"arn:aws:acm-pca:eu-central-1:111122223333:certificate-authority/…\""))
        }
    };
    let cas = tables.of_cas(|ca| {
        ca.must_have("arn");
        let template = ca.parsed("template", arn).map(|template| template.value);
        AwsCa { arn: ca.parsed("arn", arn).map(|arn| arn.value).unwrap_or_default(), template }
    });
    Some(ConnectorSettings::AwsPca(AwsPcaSettings { region: region?.value, credentials: credentials?, cas }))
}
