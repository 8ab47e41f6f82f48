//! SCEP (RFC 8894): message codec, envelope, operations, HTTP service, client.
