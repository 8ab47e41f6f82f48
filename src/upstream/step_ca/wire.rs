//! What step-ca answers.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use crate::upstream::IssuanceOrder;
use crate::upstream::http::Answer;
use crate::upstream::remote::CallError;
use crate::x509::Certificate;

/// The answer to `sign`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignAnswer {
    crt: String,
    #[serde(default)]
    ca: Option<String>,
    #[serde(default)]
    cert_chain: Option<Vec<String>>,
}

/// The answer to `roots` and `intermediates`.
#[derive(Deserialize)]
struct Certificates {
    #[serde(default)]
    crts: Option<Vec<String>>,
}

/// How step-ca says what is wrong.
#[derive(Deserialize)]
struct Wrong {
    status: u16,
    message: String,
}

fn unclear(what: impl std::fmt::Display) -> CallError {
    CallError::Unclear(format!("the answer makes no sense: {what}"))
}

fn certificate(pem: &str) -> Result<Arc<Certificate>, CallError> {
    Certificate::from_pem(pem).map(Arc::new).map_err(unclear)
}

/// The certificate of an answer to `sign`, and those above it.
pub(super) fn issued(body: &[u8], order: &IssuanceOrder) -> Result<(Arc<Certificate>, Vec<Arc<Certificate>>), CallError> {
    let answer: SignAnswer = serde_json::from_slice(body).map_err(unclear)?;
    let leaf = certificate(&answer.crt)?;
    if leaf.spki() != order.spki {
        return Err(unclear("the certificate is for another key"));
    }
    let above = answer.cert_chain.unwrap_or_default();
    let above: Vec<&String> = above.iter().skip(1).chain(answer.ca.iter().filter(|_| above.len() < 2)).collect();
    let above = above.into_iter().map(|pem| certificate(pem)).collect::<Result<_, _>>()?;
    Ok((leaf, above))
}

/// The certificates of an answer.
pub(super) fn certificates(body: &[u8]) -> Result<Vec<Arc<Certificate>>, CallError> {
    let answer: Certificates = serde_json::from_slice(body).map_err(unclear)?;
    answer.crts.unwrap_or_default().iter().map(|pem| certificate(pem)).collect()
}

/// Whether step-ca itself answered, and not something before it.
pub(super) fn is_its_own(answer: &Answer) -> bool {
    serde_json::from_slice::<Wrong>(&answer.body).is_ok_and(|wrong| wrong.status == answer.status.as_u16())
}

/// What it says is wrong, for people.
pub(super) fn said(answer: Answer) -> String {
    let said = match serde_json::from_slice::<Wrong>(&answer.body) {
        Ok(wrong) => Answer { body: Bytes::from(wrong.message), ..answer.clone() }.excerpt(),
        Err(_) => answer.excerpt(),
    };
    match said.is_empty() {
        true => answer.status.to_string(),
        false => format!("{}: {said}", answer.status),
    }
}

/// A serial number (content octets of its INTEGER) in decimal digits.
pub(super) fn decimal(serial: &[u8]) -> String {
    const LIMB: u64 = 1_000_000_000;
    // Little end first.
    let mut limbs: Vec<u64> = vec![0];
    for octet in serial {
        let mut carry = u64::from(*octet);
        for limb in &mut limbs {
            let value = *limb * 256 + carry;
            (*limb, carry) = (value % LIMB, value / LIMB);
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let mut text = limbs.pop().unwrap_or_default().to_string();
    for limb in limbs.iter().rev() {
        text.push_str(&format!("{limb:09}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn serial_numbers_are_told_in_decimal_digits() {
        assert_eq!(decimal(&[0]), "0");
        assert_eq!(decimal(&[0, 0xff]), "255");
        assert_eq!(decimal(&[0x3b, 0x9a, 0xca, 0x00]), "1000000000");
        assert_eq!(decimal(&(u64::MAX.to_be_bytes())), u64::MAX.to_string());
        assert_eq!(decimal(&(u128::MAX.to_be_bytes())), u128::MAX.to_string());
        let mut longest = [0u8; 21];
        longest[1] = 0x80;
        assert_eq!(decimal(&longest), "730750818665451459101842416358141509827966271488");
    }
}
