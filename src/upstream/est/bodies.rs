//! What EST servers send: DER in base64, whatever the header fields say (RFC 8951 section 3.1), or close to it.

use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::scep::certs_only::CertsOnly;
use crate::upstream::http::Answer;
use crate::upstream::remote::CallError;
use crate::x509::{Certificate, ber, pem};

/// With padding or without.
const LAX: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The certificates of a certs-only message (RFC 7030 section 4.1.3): in base64 with line breaks or without, in PEM, or as it is; in a part of a
/// multipart body too.
pub(super) fn certificates(answer: &Answer) -> Result<Vec<Arc<Certificate>>, CallError> {
    let unclear = |what: &dyn std::fmt::Display| {
        let kind = match answer.media_type() {
            kind if kind.is_empty() => "no media type".to_owned(),
            kind => kind.chars().filter(|c| !c.is_control()).take(60).collect(),
        };
        CallError::Unclear(format!("the answer ({}, {kind}) is no certs-only message: {what}", answer.status))
    };
    let parts = parts(answer);
    let body = match parts.iter().find(|part| part.kind.starts_with("application/pkcs7-mime")) {
        Some(part) => part.body,
        None if parts.is_empty() => &answer.body[..],
        None => return Err(unclear(&"no part of it is application/pkcs7-mime")),
    };
    let text = std::str::from_utf8(body).unwrap_or_default().trim_start();
    // Nothing but that: a page for people may show certificates too.
    if text.starts_with("-----BEGIN CERTIFICATE-----") {
        return collect(pem::read(text, "CERTIFICATE").map_err(|error| unclear(&error))?.iter().map(Vec::as_slice), &unclear);
    }
    let message = der(body).map_err(|error| unclear(&error))?;
    let message = ber::to_der(&message).map_err(|error| unclear(&error))?;
    let read = CertsOnly::read(&message).map_err(|error| unclear(&error))?;
    collect(read.certificates.into_iter(), &unclear)
}

fn collect<'a>(
    certificates: impl Iterator<Item = &'a [u8]>,
    unclear: &dyn Fn(&dyn std::fmt::Display) -> CallError,
) -> Result<Vec<Arc<Certificate>>, CallError> {
    certificates.map(|der| Certificate::from_der(der).map(Arc::new).map_err(|error| unclear(&error))).collect()
}

/// What is in base64, in PEM, or as it is.
pub(super) fn der(body: &[u8]) -> Result<Vec<u8>, String> {
    const SEQUENCE: u8 = 0x30;
    // Base64 of a SEQUENCE begins with an M.
    if body.first() == Some(&SEQUENCE) {
        return Ok(body.to_vec());
    }
    let text = std::str::from_utf8(body).unwrap_or_default();
    for label in ["PKCS7", "CMS"] {
        if let Some(message) = pem::read(text, label).map_err(|error| error.to_string())?.into_iter().next() {
            return Ok(message);
        }
    }
    // There are servers that send the NUL at the end of a string of C.
    let compact: Vec<u8> = body.iter().copied().filter(|octet| !octet.is_ascii_whitespace() && *octet != 0).collect();
    LAX.decode(compact).map_err(|error| error.to_string())
}

/// Base64 in lines: RFC 8951 wants servers to take it with or without breaks, and those built on OpenSSL take it only with.
pub(super) fn base64_lines(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / 64 + 1);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        lines.push_str(line);
        lines.push('\n');
        rest = after;
    }
    lines
}

/// A part of a multipart body (RFC 2046 section 5.1).
struct Part<'a> {
    /// Its Content-Type in lower case.
    kind: String,
    body: &'a [u8],
}

/// The parts; none if the body is in one piece.
fn parts(answer: &Answer) -> Vec<Part<'_>> {
    if !answer.media_type().starts_with("multipart/") {
        return Vec::new();
    }
    let field = answer.headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let parameters = field.split(';').skip(1).filter_map(|parameter| parameter.trim().split_once('='));
    let boundary = parameters.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("boundary"));
    let (Some((_, boundary)), Ok(text)) = (boundary, std::str::from_utf8(&answer.body)) else { return Vec::new() };
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    let mut parts = Vec::new();
    for piece in text.split(delimiter.as_str()).skip(1) {
        // The last delimiter is followed by two hyphens.
        if piece.starts_with("--") {
            break;
        }
        let piece = piece.trim_start_matches(['\r', '\n']);
        let ends = ["\r\n\r\n", "\n\n"].into_iter().filter_map(|end| piece.split_once(end));
        let Some((head, body)) = ends.min_by_key(|(head, _)| head.len()) else { continue };
        let kind = head.lines().filter_map(|line| line.split_once(':'));
        let kind = kind.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("content-type"));
        let kind = kind.map(|(_, kind)| kind.trim().to_ascii_lowercase()).unwrap_or_default();
        parts.push(Part { kind, body: body.as_bytes() });
    }
    parts
}
