//! The default backend: AWS-LC through `aws-lc-rs`.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::*;

/// The provider.
pub static PROVIDER: CryptoProvider = CryptoProvider {
    name: "aws-lc",
    digester: &AwsLc,
    verifier: &AwsLc,
    keys: &AwsLc,
    transport: &AwsLc,
    ciphers: &AwsLc,
    random: &AwsLc,
};

struct AwsLc;

impl Digester for AwsLc {
    fn digest(&self, _algorithm: Digest, _data: &[u8]) -> Vec<u8> {
        todo!()
    }
    fn sha256(&self, _data: &[u8]) -> [u8; 32] {
        todo!()
    }
    fn hmac_sha256(&self, _key: &[u8], _data: &[u8]) -> [u8; 32] {
        todo!()
    }
}
impl Verifier for AwsLc {
    fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        todo!()
    }
    fn verify(&self, _: SignatureAlgorithm, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), CryptoError> {
        todo!()
    }
}
impl KeyFactory for AwsLc {
    fn generate(&self, _: KeyAlgorithm) -> Result<Arc<dyn Signer>, CryptoError> {
        todo!()
    }
    fn signer(&self, _: &[u8]) -> Result<Arc<dyn Signer>, CryptoError> {
        todo!()
    }
    fn decrypter(&self, _: &[u8]) -> Result<Arc<dyn Decrypter>, CryptoError> {
        todo!()
    }
}
impl KeyEncrypter for AwsLc {
    fn wrap_key(&self, _: KeyTransport, _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        todo!()
    }
    fn can_wrap(&self, _: &[u8]) -> bool {
        todo!()
    }
}
impl ContentEncryption for AwsLc {
    fn encrypt(&self, _: ContentCipher, _: &[u8], _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        todo!()
    }
    fn decrypt(&self, _: ContentCipher, _: &[u8], _: &[u8], _: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        todo!()
    }
    fn encrypt_blocks(&self, _: ContentCipher, _: &[u8], _: &[u8], _: &[u8]) -> Result<Vec<u8>, CryptoError> {
        todo!()
    }
    fn decrypt_blocks(&self, _: ContentCipher, _: &[u8], _: &[u8], _: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        todo!()
    }
    fn pbkdf2(&self, _: Digest, _: &[u8], _: &[u8], _: u32, _: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        todo!()
    }
}
impl SecureRandom for AwsLc {
    fn fill(&self, _: &mut [u8]) {
        todo!()
    }
}
