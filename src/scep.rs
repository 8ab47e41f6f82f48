//! SCEP (RFC 8894): message codec, envelope, operations, HTTP service, client.
//!
//! A message is read in layers, each in a file of its own: [`pki_message`] (CMS SignedData and its signature), [`attributes`] (what
//! SCEP puts under that signature), [`envelope`] (CMS EnvelopedData), [`certs_only`] (the degenerate SignedData in replies). Reading
//! is tolerant and borrows from the input; writing is strict DER. The codec knows nothing of endpoints, groups or HTTP: these are
//! the business of [`service`], which ties it to the core, and of the client.
//!
//! The layers are written on the small reader and writer below [`crate::x509`] and not on the types of the `cms` crate: those hold
//! names, serial numbers and certificates in strict types, and the certificate that a reply is encrypted to is one that a device
//! made for itself.

pub mod attributes;
pub mod cert_rep;
pub mod certs_only;
pub mod client;
pub mod envelope;
pub mod issuer_and;
pub mod pki_message;
pub mod service;
#[cfg(test)]
pub(crate) mod testing;
pub mod wire_error;

pub use attributes::{Attributes, FailInfo, MessageType, PkiStatus};
pub use envelope::Envelope;
pub use pki_message::{MessageTemplate, PkiMessage};
pub use service::ScepService;
pub use wire_error::WireError;
