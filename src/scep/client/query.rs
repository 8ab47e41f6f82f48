//! GetCert, GetCRL and GetNextCACert: what can be asked for besides a new certificate (RFC 8894 sections 4.5 to 4.7).

use std::sync::Arc;

use zeroize::Zeroizing;

use super::reply::{Expected, Reply};
use super::transaction::{Outgoing, Protect};
use super::{Authority, Capabilities, Client, ClientError, Failure, Identity, Options, blocking, random_transaction_id};
use crate::scep::certs_only::CertsOnly;
use crate::scep::issuer_and::{IssuerAndSerialNumber, same_serial};
use crate::scep::{MessageType, PkiMessage};
use crate::x509::{Certificate, X509Error, ber, crl};

/// What a query came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// Here it is.
    Found(T),
    /// The server refuses, or has no such thing.
    Failed(Failure),
}

impl Client {
    /// GetCert: fetches a certificate by issuer and serial number, asked for by `identity`.
    pub async fn get_certificate(
        &self,
        identity: &Identity,
        wanted: &IssuerAndSerialNumber,
    ) -> Result<Found<Certificate>, ClientError> {
        let content = match self.query(MessageType::GetCert, identity, wanted).await? {
            Found::Found((content, _)) => content,
            Found::Failed(failure) => return Ok(Found::Failed(failure)),
        };
        let bag = CertsOnly::read(&content).map_err(ClientError::Reply)?;
        bag.certificates
            .iter()
            .filter_map(|der| Certificate::from_der(der).ok())
            .find(|certificate| same_serial(certificate.serial(), &wanted.serial))
            .map(Found::Found)
            .ok_or(ClientError::NotWhatWasAsked("certificate"))
    }

    /// GetCRL: fetches the CRL that would name this certificate. Gives its DER; the signature holds if GetCACert brought the CA.
    pub async fn get_crl(&self, identity: &Identity, wanted: &IssuerAndSerialNumber) -> Result<Found<Vec<u8>>, ClientError> {
        let (content, authority) = match self.query(MessageType::GetCrl, identity, wanted).await? {
            Found::Found(found) => found,
            Found::Failed(failure) => return Ok(Found::Failed(failure)),
        };
        crl_in(&content, &authority).map(Found::Found)
    }

    /// GetNextCACert: the CA certificates that will follow, signed by the current CA (RFC 8894 section 4.7).
    pub async fn next_ca_certificate(&self) -> Result<Vec<Certificate>, ClientError> {
        let authority = self.ca_certificates().await?;
        let answer = self.transport.get("GetNextCACert", self.options.ca_identifier.as_deref()).await?;
        let mut digests: Vec<_> = crate::algorithm::Digest::ALL.iter().copied().filter(|digest| !digest.is_legacy()).collect();
        digests.extend(&self.options.accept_digests);
        blocking(move || {
            let der = ber::to_der(&answer.body)?;
            let message = PkiMessage::read(&der).map_err(ClientError::Reply)?;
            let signers = authority.signers();
            let signer = signers.into_iter().find(|known| message.is_signed_with(known)).ok_or(ClientError::UnknownSigner)?;
            message.verify(signer, &digests).map_err(ClientError::Reply)?;
            let content = message.content().ok_or(ClientError::NotWhatWasAsked("next CA certificate"))?;
            let content = ber::to_der(content)?;
            let bag = CertsOnly::read(&content).map_err(ClientError::Reply)?;
            let certificates: Vec<Certificate> =
                bag.certificates.iter().map(|der| Certificate::from_der(der)).collect::<Result<_, _>>()?;
            if certificates.is_empty() {
                return Err(ClientError::NotWhatWasAsked("next CA certificate"));
            }
            Ok(certificates)
        })
        .await
    }

    async fn query(
        &self,
        kind: MessageType,
        identity: &Identity,
        wanted: &IssuerAndSerialNumber,
    ) -> Result<Found<(Zeroizing<Vec<u8>>, Arc<Authority>)>, ClientError> {
        if !identity.can_decrypt() {
            // There is no place for a challenge in these messages.
            return Err(ClientError::NeedsChallenge);
        }
        let capabilities = self.capabilities().await?;
        let authority = Arc::new(self.ca_certificates().await?);
        let post = self.posts_by(&capabilities);
        let (options, identity, wanted, to) =
            (Arc::clone(&self.options), identity.clone(), wanted.clone(), Arc::clone(&authority));
        let query = blocking(move || Query::new(kind, identity, &wanted, to, &capabilities, &options)).await?;
        let answer = self.deliver(&query.message, post).await?;
        blocking(move || {
            Ok(match query.open(&answer.body)? {
                Found::Found(content) => Found::Found((content, authority)),
                Found::Failed(failure) => Found::Failed(failure),
            })
        })
        .await
    }
}

/// A GetCert or GetCRL that is ready to be sent.
pub struct Query {
    kind: MessageType,
    id: String,
    identity: Identity,
    authority: Arc<Authority>,
    protect: Protect,
    message: Outgoing,
}

impl Query {
    /// Makes the message. Slow: not for an async thread.
    pub fn new(
        kind: MessageType,
        identity: Identity,
        wanted: &IssuerAndSerialNumber,
        authority: Arc<Authority>,
        capabilities: &Capabilities,
        options: &Options,
    ) -> Result<Self, ClientError> {
        let protect = Protect::new(options, capabilities, &authority, &identity.key)?;
        let id = random_transaction_id();
        let message = protect.message(kind, &id, &wanted.to_der(), &identity, &authority)?;
        Ok(Self { kind, id, identity, authority, protect, message })
    }

    /// What is sent.
    pub fn outgoing(&self) -> &Outgoing {
        &self.message
    }

    /// Checks the reply, and gives what is in its envelope: a certs-only message. Slow: not for an async thread.
    pub fn open(&self, answer: &[u8]) -> Result<Found<Zeroizing<Vec<u8>>>, ClientError> {
        let expected = Expected {
            authority: &self.authority,
            transaction_id: &self.id,
            sender_nonce: &self.message.sender_nonce,
            identity: &self.identity,
            challenge: None,
            digests: &self.protect.accept_digests,
            ciphers: &self.protect.accept_ciphers,
        };
        match expected.open(answer)?.0 {
            Reply::Success(content) => Ok(Found::Found(content)),
            Reply::Failure(failure) => Ok(Found::Failed(failure)),
            Reply::Pending => Err(ClientError::UnexpectedPending(self.kind.name())),
        }
    }
}

/// The CRL of a certs-only message, DER; its signature holds, if GetCACert brought its issuer.
pub fn crl_in(content: &[u8], authority: &Authority) -> Result<Vec<u8>, ClientError> {
    let bag = CertsOnly::read(content).map_err(ClientError::Reply)?;
    let der = *bag.crls.first().ok_or(ClientError::NotWhatWasAsked("CRL"))?;
    let read = crl::read_crl(der)?;
    let issuers = authority.certificates().iter().filter(|ca| ca.is_ca() && ca.subject().matches(&read.issuer));
    let checks: Vec<Result<(), X509Error>> = issuers.map(|issuer| crl::verify_crl(der, issuer.spki())).collect();
    match checks.iter().any(Result::is_ok) {
        true => Ok(der.to_vec()),
        false => checks.into_iter().next().unwrap_or(Ok(())).map(|()| der.to_vec()).map_err(ClientError::from),
    }
}
