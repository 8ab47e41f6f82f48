//! GetCert, GetCRL and GetNextCACert: what can be asked for besides a new certificate (RFC 8894 sections 4.5 to 4.7).

use std::sync::Arc;

use super::reply::{Expected, Reply};
use super::transaction::Protect;
use super::{Authority, Client, ClientError, Failure, Identity, blocking, random_transaction_id};
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
        let bag = CertsOnly::read(&content).map_err(ClientError::Reply)?;
        let der = *bag.crls.first().ok_or(ClientError::NotWhatWasAsked("CRL"))?;
        let read = crl::read_crl(der)?;
        let issuers: Vec<&Certificate> =
            authority.certificates().iter().filter(|ca| ca.is_ca() && ca.subject().matches(&read.issuer)).collect();
        let mut checks = issuers.iter().map(|issuer| crl::verify_crl(der, issuer.spki())).peekable();
        if checks.peek().is_some() {
            let checks: Vec<Result<(), X509Error>> = checks.collect();
            if let (false, Some(Err(error))) = (checks.iter().any(Result::is_ok), checks.into_iter().next()) {
                return Err(error.into());
            }
        }
        Ok(Found::Found(der.to_vec()))
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
    ) -> Result<Found<(zeroize::Zeroizing<Vec<u8>>, Arc<Authority>)>, ClientError> {
        if !identity.can_decrypt() {
            // There is no place for a challenge in these messages.
            return Err(ClientError::NeedsChallenge);
        }
        let capabilities = self.capabilities().await?;
        let authority = Arc::new(self.ca_certificates().await?);
        let protect = Protect::new(&self.options, &capabilities, &authority, &identity.key)?;
        let id = random_transaction_id();
        let (asks, identity, to) = ((protect.clone(), id.clone(), wanted.to_der()), identity.clone(), Arc::clone(&authority));
        let (message, identity) = blocking(move || {
            let (protect, id, content) = asks;
            Ok((protect.message(kind, &id, &content, &identity, &to)?, identity))
        })
        .await?;
        let answer = self.deliver(&message, self.posts_by(&capabilities)).await?;
        blocking(move || {
            let expected = Expected {
                authority: &authority,
                transaction_id: &id,
                sender_nonce: &message.sender_nonce,
                identity: &identity,
                challenge: None,
                digests: &protect.accept_digests,
                ciphers: &protect.accept_ciphers,
            };
            match expected.open(&answer.body)?.0 {
                Reply::Success(content) => Ok(Found::Found((content, authority))),
                Reply::Failure(failure) => Ok(Found::Failed(failure)),
                Reply::Pending => Err(ClientError::UnexpectedPending(kind.name())),
            }
        })
        .await
    }
}
