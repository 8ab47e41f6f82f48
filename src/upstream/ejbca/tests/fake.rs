//! An EJBCA for tests: it refuses what the description does not allow, answers in shapes that it allows, and files what it issues under
//! the name of the end entity.
//!
//! How EJBCA fails is not in the description: those answers are made after what its source has.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::contract::Contract;
use crate::upstream::testing::{Play, Scripted, Seen, TestCa};
use crate::x509::crl::CrlTemplate;
use crate::x509::extension::{self, oid};
use crate::x509::{Certificate, Extension, VerifiedCsr};

pub(super) const BASE: &str = "/ejbca/ejbca-rest-api";

/// What goes wrong with the next enrollment.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The request does not arrive.
    LostRequest,
    /// The answer does not arrive.
    LostAnswer,
    /// It issues, and says that it failed.
    IssuesAndFails(&'static str),
    /// It answers so, and does nothing.
    Says(u16, &'static str),
    /// It answers with something that is no JSON.
    Page(u16),
    /// The certificate is for this key.
    ForKey(Vec<u8>),
}

/// A certificate in its database.
#[derive(Clone)]
pub(super) struct Filed {
    pub(super) username: String,
    pub(super) account: Option<String>,
    pub(super) certificate: Arc<Certificate>,
    pub(super) revoked: Option<String>,
}

#[derive(Default)]
struct State {
    filed: Vec<Filed>,
    troubles: VecDeque<Trouble>,
    violations: Vec<String>,
    /// The role may not see certificates.
    blind: bool,
    /// Octets are encoded in base64 twice.
    twice: bool,
}

pub(super) struct Fake {
    pub(super) ca: TestCa,
    contract: Contract,
    state: Mutex<State>,
}

impl Fake {
    /// Starts it. Its CA is called `Issuing`, its profiles `DEVICE` and `Devices`.
    pub(super) async fn start(ca: TestCa) -> (Arc<Self>, Scripted) {
        let fake = Arc::new(Self { ca, contract: Contract::load(), state: Mutex::default() });
        let peer = Scripted::answering({
            let fake = Arc::clone(&fake);
            move |seen| fake.play(seen)
        })
        .await;
        (fake, peer)
    }

    pub(super) fn trouble(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.state.lock().unwrap().troubles.extend(troubles);
    }

    pub(super) fn blind(&self, blind: bool) {
        self.state.lock().unwrap().blind = blind;
    }

    pub(super) fn twice(&self) {
        self.state.lock().unwrap().twice = true;
    }

    pub(super) fn filed(&self) -> Vec<Filed> {
        self.state.lock().unwrap().filed.clone()
    }

    /// Files a certificate that nobody here asked for.
    pub(super) fn file(&self, username: &str, spki: &[u8], revoked: Option<&str>) -> Arc<Certificate> {
        let csr_subject = self.ca.certificate.subject().clone();
        let certificate = Arc::new(self.ca.certify(csr_subject, spki, validity(), Vec::new()));
        self.state.lock().unwrap().filed.push(Filed {
            username: username.to_owned(),
            account: None,
            certificate: Arc::clone(&certificate),
            revoked: revoked.map(str::to_owned),
        });
        certificate
    }

    /// What was asked or answered against the description.
    pub(super) fn violations(&self) -> Vec<String> {
        self.state.lock().unwrap().violations.clone()
    }

    fn play(&self, seen: &Seen) -> Play {
        let mut state = self.state.lock().unwrap();
        let (operation, values) = match self.contract.allows(BASE, seen) {
            Ok(allowed) => allowed,
            Err(why) => {
                state.violations.push(why.clone());
                return failure(400, &why);
            }
        };
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let asked = format!("{} {}", operation.method, operation.path);
        let trouble = match asked.contains("pkcs10enroll") {
            true => state.troubles.pop_front(),
            false => None,
        };
        match &trouble {
            Some(Trouble::LostRequest) => return Play::Cut,
            Some(Trouble::Says(status, words)) => return failure(*status, words),
            Some(Trouble::Page(status)) => return Play::body(*status, "text/html", "<html>a page of somebody else</html>"),
            _ => {}
        }
        let body = || seen.json();
        let answer = match asked.as_str() {
            "POST /v1/certificate/pkcs10enroll" => self.enroll(&mut state, &body(), &trouble),
            "POST /v2/certificate/search" => Ok((200, search(&state, &body()))),
            "PUT /v1/certificate/{issuer_dn}/{certificate_serial_number}/revoke" => {
                let query = seen.target.split_once("reason=").map_or("", |(_, reason)| reason);
                self.revoke(&mut state, values[0], values[1], query)
            }
            "GET /v1/certificate/{issuer_dn}/{certificate_serial_number}/revocationstatus" => {
                self.status(&state, values[0], values[1])
            }
            "GET /v1/ca" => {
                let subject = self.ca.certificate.subject().to_string();
                Ok((200, json!({ "certificate_authorities": [{ "id": 17, "name": "Issuing", "subject_dn": subject }] })))
            }
            "GET /v1/ca/{subject_dn}/certificate/download" if values[0] == self.ca.certificate.subject().to_string() => {
                let pem: String = self.ca.chain().iter().map(|one| one.to_pem()).collect();
                return Play::body(200, "application/octet-stream", pem);
            }
            "GET /v1/ca/{issuer_dn}/getLatestCrl" if values[0] == self.ca.certificate.subject().to_string() => {
                Ok((200, json!({ "crl": octets(&state, &self.crl()), "response_format": "DER" })))
            }
            "GET /v2/certificate/profile/{profile_name}" if values[0] == "DEVICE" => Ok((
                200,
                json!({
                    "certificate_profile_id": 5, "available_key_algs": ["ECDSA", "ML-DSA-65", "RSA", "Falcon-512"],
                    "available_alt_key_algs": [], "available_bit_lenghts": [512, 2048, 3072],
                    "available_ecdsa_curves": ["P-256", "secp384r1", "brainpoolP256r1"], "available_cas": ["Issuing"],
                }),
            )),
            _ => Err((404, "not found")),
        };
        let (status, answer) = match answer {
            Ok(answer) => answer,
            Err((status, words)) => return failure(status, words),
        };
        if let Err(why) = self.contract.allows_answer(operation, status, &answer) {
            state.violations.push(why);
        }
        match trouble {
            Some(Trouble::LostAnswer) => Play::Cut,
            Some(Trouble::IssuesAndFails(words)) => failure(400, words),
            _ => Play::json(status, &answer),
        }
    }

    fn enroll(&self, state: &mut State, body: &Value, trouble: &Option<Trouble>) -> Result<(u16, Value), (u16, &'static str)> {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let names = ["certificate_authority_name", "certificate_profile_name", "end_entity_profile_name"].map(text);
        if names != ["Issuing", "DEVICE", "Devices"] {
            return Err((400, "no such CA or profile"));
        }
        let csr = STANDARD.decode(text("certificate_request")).map_err(|_| (400, "the request is not in base64"))?;
        let spki = if let Some(Trouble::ForKey(spki)) = trouble { Some(spki.clone()) } else { None };
        let certificate = self.issue(state, &csr, spki, text("username"), body["account_binding_id"].as_str())?;
        Ok((200, self.issued(state, &certificate, body["include_chain"] == true)))
    }

    fn issued(&self, state: &State, certificate: &Certificate, with_chain: bool) -> Value {
        let chain: Vec<_> = self.ca.chain().iter().map(|one| octets(state, one.der())).collect();
        let mut answer = json!({
            "certificate": octets(state, certificate.der()), "serial_number": certificate.serial_hex(), "response_format": "DER",
        });
        if with_chain {
            answer["certificate_chain"] = chain.into();
        }
        answer
    }

    fn issue(
        &self,
        state: &mut State,
        csr: &[u8],
        spki: Option<Vec<u8>>,
        username: String,
        account: Option<&str>,
    ) -> Result<Arc<Certificate>, (u16, &'static str)> {
        let csr = VerifiedCsr::from_der(csr).map_err(|_| (400, "no request that can be read"))?;
        let value = extension::subject_alt_names(csr.subject_alt_names()).unwrap();
        let names = Extension { oid: oid::SUBJECT_ALT_NAME, critical: false, value };
        let spki = spki.unwrap_or_else(|| csr.spki().to_vec());
        let certificate = Arc::new(self.ca.certify(csr.subject().clone(), &spki, validity(), vec![names]));
        state.filed.push(Filed {
            username,
            account: account.map(str::to_owned),
            certificate: Arc::clone(&certificate),
            revoked: None,
        });
        Ok(certificate)
    }

    fn revoke(&self, state: &mut State, issuer: &str, serial: &str, reason: &str) -> Result<(u16, Value), (u16, &'static str)> {
        let filed = state.filed.iter_mut().find(|filed| filed.certificate.serial_hex() == serial);
        let filed = filed.filter(|_| issuer == self.ca.certificate.subject().to_string()).ok_or((404, "no such certificate"))?;
        if filed.revoked.is_some() {
            return Err((409, "Certificate has previously been revoked."));
        }
        filed.revoked = Some(reason.to_owned());
        Ok((200, revocation(issuer, filed)))
    }

    fn status(&self, state: &State, issuer: &str, serial: &str) -> Result<(u16, Value), (u16, &'static str)> {
        let filed = state.filed.iter().find(|filed| filed.certificate.serial_hex() == serial);
        filed.map(|filed| (200, revocation(issuer, filed))).ok_or((404, "no such certificate"))
    }

    fn crl(&self) -> Vec<u8> {
        let now = Timestamp::now();
        CrlTemplate {
            issuer: self.ca.certificate.subject().clone(),
            authority_key_identifier: self.ca.certificate.subject_key_identifier().unwrap(),
            number: 1,
            this_update: now,
            next_update: now + SignedDuration::from_hours(24),
            revoked: Vec::new(),
        }
        .sign(&*self.ca.signer, self.ca.signer.algorithms()[0])
        .unwrap()
    }
}

fn validity() -> (Timestamp, Timestamp) {
    let now = Timestamp::now();
    (now - SignedDuration::from_mins(10), now + SignedDuration::from_hours(24))
}

fn revocation(issuer: &str, filed: &Filed) -> Value {
    json!({
        "issuer _distinguished _name": issuer, "hex _serial _number": filed.certificate.serial_hex(),
        "rfc5280 revokation reason": filed.revoked, "revoked": filed.revoked.is_some(),
    })
    .as_object()
    .map(|all| all.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.clone())).collect())
    .unwrap()
}

fn search(state: &State, body: &Value) -> Value {
    let fits = |filed: &&Filed| {
        !state.blind
            && body["criteria"].as_array().unwrap().iter().all(|criterion| {
                let value = criterion["value"].as_str();
                match criterion["property"].as_str().unwrap() {
                    "USERNAME" => value == Some(&filed.username),
                    "EXTERNAL_ACCOUNT_BINDING_ID" => value == filed.account.as_deref(),
                    "CA" => value == Some("Issuing"),
                    "CERTIFICATE_PROFILE" => value == Some("DEVICE"),
                    "END_ENTITY_PROFILE" => value == Some("Devices"),
                    other => panic!("a search for {other}"),
                }
            })
    };
    let page = usize::try_from(body["pagination"]["page_size"].as_u64().unwrap()).unwrap();
    let certificates: Vec<_> = state
        .filed
        .iter()
        .filter(fits)
        .take(page)
        .map(|filed| {
            json!({
                "base64_cert": octets(state, filed.certificate.der()), "username": filed.username,
                "serial_number": filed.certificate.serial_hex(), "status": if filed.revoked.is_some() { 40 } else { 20 },
                "revocation_reason": if filed.revoked.is_some() { 4 } else { -1 },
            })
        })
        .collect();
    json!({ "certificates": certificates, "pagination_summary": { "page_size": page, "current_page": 1 } })
}

fn octets(state: &State, der: &[u8]) -> String {
    let once = STANDARD.encode(der);
    if state.twice { STANDARD.encode(once) } else { once }
}

fn failure(status: u16, words: &str) -> Play {
    Play::json(status, &json!({ "error_code": status, "error_message": words }))
}
