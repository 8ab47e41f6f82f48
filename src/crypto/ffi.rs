//! The one module with `unsafe`: raw AWS-LC calls that the safe API of `aws-lc-rs` lacks, and one setting of the allocator.
//!
//! The safe API cannot decrypt RSA without unpadding (so it has no implicit rejection), knows no RSA key under 2048 bits as a
//! private key, signs nothing with SHA-1, ties each curve to one digest when it signs, has no MD5, and knows no context string of
//! ML-DSA, which composites need. Everything else goes through it.
//!
//! The rules of the module: every pointer that AWS-LC gives is owned by a guard that frees it; what goes in is a slice whose
//! length goes in with it; no pointer leaves. AWS-LC keeps reference counts, the blinding cache and lazily made Montgomery
//! contexts behind its own locks, so that an `RSA`, `EC_KEY` or `EVP_PKEY` that nobody changes may be used by many threads
//! (`openssl/rsa.h`, `openssl/ec_key.h`, `openssl/evp.h` say so); nothing here changes a key once it is made.
//!
//! Faults: `rsa_default_private_transform` raises every result to the public exponent and compares before it lets it out,
//! with and without the CRT (the attack of Boneh, DeMillo and Lipton). It covers signatures and decryption alike, so neither
//! is checked a second time here. It also refuses to compute without a public exponent, and blinds every operation.

use std::os::raw::{c_int, c_uint};
use std::ptr::{self, NonNull};

use aws_lc_sys as c;
use zeroize::Zeroizing;

use super::CryptoError;
use crate::algorithm::{Digest, KeyAlgorithm};

/// Computes MD5.
pub(super) fn md5(data: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    // SAFETY: `data` is readable for its length, `out` has the 16 octets (MD5_DIGEST_LENGTH) that are written.
    unsafe { c::MD5(data.as_ptr(), data.len(), out.as_mut_ptr()) };
    out
}

/// A key of AWS-LC's: RSA, EC or ML-KEM, private with its public half. [`MlDsaKey`] has one inside.
pub(super) struct PrivateKey(NonNull<c::EVP_PKEY>);

// SAFETY: an EVP_PKEY that is not changed may be used from any thread, and from many at a time; see the module's rules.
unsafe impl Send for PrivateKey {}
// SAFETY: as above.
unsafe impl Sync for PrivateKey {}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        // SAFETY: the pointer is owned by us and freed once. AWS-LC wipes private material when the last reference goes.
        unsafe { c::EVP_PKEY_free(self.0.as_ptr()) }
    }
}

impl PrivateKey {
    /// Reads PKCS#8; AWS-LC checks that the numbers belong together. Refuses trailing octets.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, CryptoError> {
        let mut input = c::CBS { data: der.as_ptr(), len: der.len() };
        // SAFETY: `input` points at `der`, which outlives the call; the key that comes back is a copy and ours.
        let key = unsafe { c::EVP_parse_private_key(&mut input) };
        let key = Self(NonNull::new(key).ok_or(CryptoError::BadKey)?);
        if input.len == 0 { Ok(key) } else { Err(CryptoError::BadKey) }
    }

    /// Makes an RSA key with public exponent 65537.
    pub(super) fn generate_rsa(bits: u32) -> Result<Self, CryptoError> {
        let bits = c_int::try_from(bits).map_err(|_| CryptoError::Unsupported)?;
        // SAFETY: `BN_new` gives null or a number that the guard frees.
        let exponent = Number(NonNull::new(unsafe { c::BN_new() }).ok_or(CryptoError::Backend)?);
        // SAFETY: `RSA_new` gives null or a key that the guard frees.
        let rsa = RsaPublicKey(NonNull::new(unsafe { c::RSA_new() }).ok_or(CryptoError::Backend)?);
        // SAFETY: both pointers are valid and not shared yet; a null callback is allowed.
        let made = unsafe {
            c::BN_set_word(exponent.0.as_ptr(), c::RSA_F4 as c::BN_ULONG) == 1
                && c::RSA_generate_key_ex(rsa.0.as_ptr(), bits, exponent.0.as_ptr(), ptr::null_mut()) == 1
        };
        if !made {
            return Err(CryptoError::Backend);
        }
        // SAFETY: `EVP_PKEY_new` gives null or a key that the guard frees.
        let key = Self(NonNull::new(unsafe { c::EVP_PKEY_new() }).ok_or(CryptoError::Backend)?);
        // SAFETY: both pointers are valid; `set1` takes a reference of its own, so that both guards still free their part.
        if unsafe { c::EVP_PKEY_set1_RSA(key.0.as_ptr(), rsa.0.as_ptr()) } == 1 { Ok(key) } else { Err(CryptoError::Backend) }
    }

    /// The kind of the key, if it is one of those that this module serves.
    pub(super) fn algorithm(&self) -> Result<KeyAlgorithm, CryptoError> {
        if let Ok(rsa) = self.rsa() {
            // SAFETY: `rsa` is valid while `self` is.
            return Ok(KeyAlgorithm::Rsa(unsafe { c::RSA_bits(rsa) }));
        }
        let ec = self.ec()?;
        // SAFETY: `ec` is valid while `self` is; a parsed key has a group.
        match unsafe { c::EC_GROUP_get_curve_name(c::EC_KEY_get0_group(ec)) } {
            c::NID_X9_62_prime256v1 => Ok(KeyAlgorithm::EcdsaP256),
            c::NID_secp384r1 => Ok(KeyAlgorithm::EcdsaP384),
            c::NID_secp521r1 => Ok(KeyAlgorithm::EcdsaP521),
            _ => Err(CryptoError::BadKey),
        }
    }

    /// DER SubjectPublicKeyInfo.
    pub(super) fn spki(&self) -> Result<Vec<u8>, CryptoError> {
        // SAFETY: `cbb` is initialised by `Builder`, and the key is valid.
        Builder::build(|cbb| unsafe { c::EVP_marshal_public_key(cbb, self.0.as_ptr()) }).map(|mut der| std::mem::take(&mut *der))
    }

    /// PKCS#8.
    pub(super) fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        // SAFETY: as for `spki`.
        Builder::build(|cbb| unsafe { c::EVP_marshal_private_key(cbb, self.0.as_ptr()) })
    }

    /// The raw private key, for kinds that have one: the decapsulation key of FIPS 203 for ML-KEM.
    pub(super) fn raw_private(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut len = 0;
        // SAFETY: with a null buffer only the length is written.
        if unsafe { c::EVP_PKEY_get_raw_private_key(self.0.as_ptr(), ptr::null_mut(), &mut len) } != 1 {
            return Err(CryptoError::BadKey);
        }
        let mut out = Zeroizing::new(vec![0; len]);
        // SAFETY: `out` is writable for the length that is handed in as its bound; the key is valid and not changed.
        let done = unsafe { c::EVP_PKEY_get_raw_private_key(self.0.as_ptr(), out.as_mut_ptr(), &mut len) };
        if done == 1 && len == out.len() { Ok(out) } else { Err(CryptoError::BadKey) }
    }

    /// The RSA private operation without any padding, blinded: `out` is as long as the modulus.
    ///
    /// It fails for an input that is not as long as the modulus, or not smaller than it: both are things that the sender
    /// knows. No failure depends on what is in the plaintext.
    pub(super) fn rsa_raw(&self, input: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
        let rsa = self.rsa()?;
        let mut len = 0;
        // SAFETY: `out` is writable for the length that is handed in as its bound, `input` is readable for its length.
        let done =
            unsafe { c::RSA_decrypt(rsa, &mut len, out.as_mut_ptr(), out.len(), input.as_ptr(), input.len(), c::RSA_NO_PADDING) };
        if done == 1 && len == out.len() { Ok(()) } else { Err(CryptoError::Backend) }
    }

    /// RSASSA-PKCS1-v1_5 over a digest.
    pub(super) fn rsa_sign(&self, digest: Digest, hash: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let rsa = self.rsa()?;
        // SAFETY: `rsa` is valid while `self` is.
        let mut signature = vec![0; unsafe { c::RSA_size(rsa) } as usize];
        let mut len: c_uint = 0;
        // SAFETY: `signature` has the RSA_size octets that RSA_sign may write; `hash` is readable for its length.
        let done = unsafe { c::RSA_sign(nid(digest), hash.as_ptr(), hash.len(), signature.as_mut_ptr(), &mut len, rsa) };
        if done == 1 && len as usize == signature.len() { Ok(signature) } else { Err(CryptoError::Backend) }
    }

    /// RSASSA-PSS over a digest, MGF1 with the same digest, a salt as long as the digest.
    pub(super) fn rsa_sign_pss(&self, digest: Digest, hash: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let rsa = self.rsa()?;
        // SAFETY: `rsa` is valid while `self` is.
        let mut signature = vec![0; unsafe { c::RSA_size(rsa) } as usize];
        let mut len = 0;
        let md = message_digest(digest);
        // SAFETY: `signature` is writable for the length handed in, `hash` readable for its; `md` is static. A salt length of
        // -1 (RSA_PSS_SALTLEN_DIGEST) is that of the digest.
        let done = unsafe {
            c::RSA_sign_pss_mgf1(
                rsa,
                &mut len,
                signature.as_mut_ptr(),
                signature.len(),
                hash.as_ptr(),
                hash.len(),
                md,
                md,
                SALT_AS_DIGEST,
            )
        };
        if done == 1 && len == signature.len() { Ok(signature) } else { Err(CryptoError::Backend) }
    }

    /// ECDSA over a digest, as DER.
    pub(super) fn ecdsa_sign(&self, hash: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let ec = self.ec()?;
        // SAFETY: `ec` is valid while `self` is.
        let mut signature = vec![0; unsafe { c::ECDSA_size(ec) }];
        let mut len: c_uint = 0;
        // SAFETY: `signature` has the ECDSA_size octets that ECDSA_sign may write, `hash` is readable for its length. The
        // first argument is ignored.
        let done = unsafe { c::ECDSA_sign(0, hash.as_ptr(), hash.len(), signature.as_mut_ptr(), &mut len, ec) };
        if done != 1 {
            return Err(CryptoError::Backend);
        }
        signature.truncate(len as usize);
        Ok(signature)
    }

    /// The RSA key inside, borrowed from `self`.
    fn rsa(&self) -> Result<*mut c::RSA, CryptoError> {
        // SAFETY: the pointer is valid; the answer is null for another kind of key, and lives as long as `self`.
        let rsa = unsafe { c::EVP_PKEY_get0_RSA(self.0.as_ptr()) };
        if rsa.is_null() { Err(CryptoError::BadKey) } else { Ok(rsa) }
    }

    /// The EC key inside, borrowed from `self`.
    fn ec(&self) -> Result<*mut c::EC_KEY, CryptoError> {
        // SAFETY: as for `rsa`.
        let ec = unsafe { c::EVP_PKEY_get0_EC_KEY(self.0.as_ptr()) };
        if ec.is_null() { Err(CryptoError::BadKey) } else { Ok(ec) }
    }
}

/// An RSA public key.
pub(super) struct RsaPublicKey(NonNull<c::RSA>);

// SAFETY: an RSA key that is not changed may be used from any thread, and from many at a time; see the module's rules.
unsafe impl Send for RsaPublicKey {}
// SAFETY: as above.
unsafe impl Sync for RsaPublicKey {}

impl Drop for RsaPublicKey {
    fn drop(&mut self) {
        // SAFETY: the pointer is owned by us and freed once.
        unsafe { c::RSA_free(self.0.as_ptr()) }
    }
}

impl RsaPublicKey {
    /// Reads RSAPublicKey (RFC 8017 appendix A.1.1), strictly DER, no trailing octets.
    pub(super) fn from_pkcs1(der: &[u8]) -> Result<Self, CryptoError> {
        // SAFETY: `der` is readable for its length; the key that comes back is a copy and ours.
        let key = unsafe { c::RSA_public_key_from_bytes(der.as_ptr(), der.len()) };
        NonNull::new(key).map(Self).ok_or(CryptoError::BadKey)
    }

    /// Bits of the modulus.
    pub(super) fn bits(&self) -> u32 {
        // SAFETY: the pointer is valid.
        unsafe { c::RSA_bits(self.0.as_ptr()) }
    }

    /// Octets of the modulus.
    pub(super) fn size(&self) -> usize {
        // SAFETY: the pointer is valid.
        unsafe { c::RSA_size(self.0.as_ptr()) as usize }
    }

    /// Checks RSASSA-PKCS1-v1_5 over a digest.
    pub(super) fn verify(&self, digest: Digest, hash: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let rsa = self.0.as_ptr();
        // SAFETY: both slices are readable for their lengths, the key is valid.
        let held = unsafe { c::RSA_verify(nid(digest), hash.as_ptr(), hash.len(), signature.as_ptr(), signature.len(), rsa) };
        if held == 1 { Ok(()) } else { Err(CryptoError::BadSignature) }
    }

    /// Checks RSASSA-PSS over a digest, MGF1 with the same digest, a salt as long as the digest.
    pub(super) fn verify_pss(&self, digest: Digest, hash: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let rsa = self.0.as_ptr();
        let md = message_digest(digest);
        if hash.len() != digest.output_len() {
            return Err(CryptoError::BadSignature);
        }
        // SAFETY: both slices are readable for their lengths, the key is valid, `md` is static.
        let held = unsafe {
            c::RSA_verify_pss_mgf1(rsa, hash.as_ptr(), hash.len(), md, md, SALT_AS_DIGEST, signature.as_ptr(), signature.len())
        };
        if held == 1 { Ok(()) } else { Err(CryptoError::BadSignature) }
    }

    /// Encrypts with RSAES-PKCS1-v1_5.
    pub(super) fn encrypt_pkcs1(&self, plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.encrypt(plain, c::RSA_PKCS1_PADDING)
    }

    /// Encrypts a message that is padded already and as long as the modulus.
    pub(super) fn encrypt_raw(&self, padded: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.encrypt(padded, c::RSA_NO_PADDING)
    }

    fn encrypt(&self, input: &[u8], padding: c_int) -> Result<Vec<u8>, CryptoError> {
        let mut out = vec![0; self.size()];
        let mut len = 0;
        // SAFETY: `out` is writable for the length handed in as its bound, `input` readable for its length.
        let done = unsafe {
            c::RSA_encrypt(self.0.as_ptr(), &mut len, out.as_mut_ptr(), out.len(), input.as_ptr(), input.len(), padding)
        };
        if done == 1 && len == out.len() { Ok(out) } else { Err(CryptoError::BadKey) }
    }
}

/// A number of AWS-LC's, freed at the end of its scope.
struct Number(NonNull<c::BIGNUM>);

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: the pointer is owned by us and freed once.
        unsafe { c::BN_free(self.0.as_ptr()) }
    }
}

/// A growing output buffer of AWS-LC's, wiped and freed at the end of its scope.
struct Builder(c::CBB);

impl Drop for Builder {
    fn drop(&mut self) {
        // SAFETY: the buffer was initialised in `build`; `CBB_cleanup` is allowed in every state after that. AWS-LC wipes what
        // it frees.
        unsafe { c::CBB_cleanup(&mut self.0) }
    }
}

impl Builder {
    /// Runs `write`, which answers 1 if it succeeded, and gives what it wrote.
    fn build(write: impl FnOnce(*mut c::CBB) -> c_int) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut cbb = std::mem::MaybeUninit::<c::CBB>::uninit();
        // SAFETY: `CBB_zero` writes the whole structure, so that it is initialised and may be cleaned up whether or not
        // `CBB_init` succeeds. A buffer without children holds no pointer to itself, so that it may be moved.
        let (done, mut builder) = unsafe {
            c::CBB_zero(cbb.as_mut_ptr());
            let done = c::CBB_init(cbb.as_mut_ptr(), 2048);
            (done, Builder(cbb.assume_init()))
        };
        if done != 1 || write(&mut builder.0) != 1 {
            return Err(CryptoError::Backend);
        }
        // SAFETY: the buffer is initialised and has no open children (`write` succeeded); data and length belong together and
        // are valid until the buffer changes.
        let written = unsafe { std::slice::from_raw_parts(c::CBB_data(&builder.0), c::CBB_len(&builder.0)) };
        Ok(Zeroizing::new(written.to_vec()))
    }
}

/// An ML-DSA key: the private one with its public half, or the public one alone.
pub(super) struct MlDsaKey(PrivateKey);

impl MlDsaKey {
    /// Reads a private key from its seed of 32 octets, or in its expanded form. AWS-LC computes the public key, and for an expanded
    /// key compares `t0` and `tr` with those that follow from the rest (`mld_sign_pk_from_sk`).
    pub(super) fn from_private(algorithm: KeyAlgorithm, raw: &[u8]) -> Result<Self, CryptoError> {
        let nid = ml_dsa_nid(algorithm)?;
        // SAFETY: `raw` is readable for its length; the key that comes back is a copy and ours.
        let key = unsafe { c::EVP_PKEY_pqdsa_new_raw_private_key(nid, raw.as_ptr(), raw.len()) };
        NonNull::new(key).map(|key| Self(PrivateKey(key))).ok_or(CryptoError::BadKey)
    }

    /// Reads a raw public key.
    pub(super) fn from_public(algorithm: KeyAlgorithm, raw: &[u8]) -> Result<Self, CryptoError> {
        let nid = ml_dsa_nid(algorithm)?;
        if algorithm.public_key_len() != Some(raw.len()) {
            return Err(CryptoError::BadKey);
        }
        // SAFETY: as for `from_private`.
        let key = unsafe { c::EVP_PKEY_pqdsa_new_raw_public_key(nid, raw.as_ptr(), raw.len()) };
        NonNull::new(key).map(|key| Self(PrivateKey(key))).ok_or(CryptoError::BadKey)
    }

    /// The raw public key.
    pub(super) fn public(&self) -> Result<Vec<u8>, CryptoError> {
        let mut len = 0;
        // SAFETY: the key is valid; without a buffer only the length is written.
        if unsafe { c::EVP_PKEY_get_raw_public_key(self.0.0.as_ptr(), ptr::null_mut(), &mut len) } != 1 {
            return Err(CryptoError::Backend);
        }
        let mut raw = vec![0; len];
        // SAFETY: `raw` is writable for the length handed in as its bound.
        let done = unsafe { c::EVP_PKEY_get_raw_public_key(self.0.0.as_ptr(), raw.as_mut_ptr(), &mut len) };
        if done == 1 && len == raw.len() { Ok(raw) } else { Err(CryptoError::Backend) }
    }

    /// The expanded private key.
    pub(super) fn expanded(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut len = 0;
        // SAFETY: the key is valid; without a buffer only the length is written.
        if unsafe { c::EVP_PKEY_get_raw_private_key(self.0.0.as_ptr(), ptr::null_mut(), &mut len) } != 1 {
            return Err(CryptoError::Backend);
        }
        let mut raw = Zeroizing::new(vec![0; len]);
        // SAFETY: `raw` is writable for the length handed in as its bound.
        let done = unsafe { c::EVP_PKEY_get_raw_private_key(self.0.0.as_ptr(), raw.as_mut_ptr(), &mut len) };
        if done == 1 && len == raw.len() { Ok(raw) } else { Err(CryptoError::Backend) }
    }

    /// Signs a message in the pure mode with a context of at most 255 octets, hedged.
    pub(super) fn sign(&self, context: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let operation = Operation::new()?;
        let mut settings = ptr::null_mut();
        let (md, key) = (operation.0.as_ptr(), self.0.0.as_ptr());
        // SAFETY: both pointers are valid; ML-DSA takes no digest. `settings` belongs to the operation, which holds a reference to
        // the key of its own, and is used only while the operation lives.
        if unsafe { c::EVP_DigestSignInit(md, &mut settings, ptr::null(), ptr::null_mut(), key) } != 1 {
            return Err(CryptoError::Backend);
        }
        // SAFETY: `settings` was just written by a call that succeeded.
        unsafe { set_context(settings, context)? };
        let mut len = 0;
        // SAFETY: without a buffer only the length is written; `message` is readable for its length.
        if unsafe { c::EVP_DigestSign(md, ptr::null_mut(), &mut len, message.as_ptr(), message.len()) } != 1 {
            return Err(CryptoError::Backend);
        }
        let mut signature = vec![0; len];
        // SAFETY: `signature` is writable for the length handed in as its bound, `message` readable for its length.
        let done = unsafe { c::EVP_DigestSign(md, signature.as_mut_ptr(), &mut len, message.as_ptr(), message.len()) };
        if done == 1 && len == signature.len() { Ok(signature) } else { Err(CryptoError::Backend) }
    }

    /// Checks a signature over a message in the pure mode with a context.
    pub(super) fn verify(&self, context: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let operation = Operation::new()?;
        let mut settings = ptr::null_mut();
        let (md, key) = (operation.0.as_ptr(), self.0.0.as_ptr());
        // SAFETY: as for `sign`.
        if unsafe { c::EVP_DigestVerifyInit(md, &mut settings, ptr::null(), ptr::null_mut(), key) } != 1 {
            return Err(CryptoError::Backend);
        }
        // SAFETY: `settings` was just written by a call that succeeded.
        unsafe { set_context(settings, context)? };
        // SAFETY: both slices are readable for their lengths.
        let held = unsafe { c::EVP_DigestVerify(md, signature.as_ptr(), signature.len(), message.as_ptr(), message.len()) };
        if held == 1 { Ok(()) } else { Err(CryptoError::BadSignature) }
    }
}

/// Sets the context string of an ML-DSA operation.
///
/// # Safety
/// `settings` has to be valid and not shared.
unsafe fn set_context(settings: *mut c::EVP_PKEY_CTX, context: &[u8]) -> Result<(), CryptoError> {
    if context.is_empty() {
        // What an operation has from the beginning.
        return Ok(());
    }
    // SAFETY: the caller vouches for `settings`; `context` is readable for its length and copied. More than 255 octets are refused.
    let done = unsafe { c::EVP_PKEY_CTX_set1_signature_context_string(settings, context.as_ptr(), context.len()) };
    if done == 1 { Ok(()) } else { Err(CryptoError::Unsupported) }
}

/// AWS-LC's number of an ML-DSA parameter set.
fn ml_dsa_nid(algorithm: KeyAlgorithm) -> Result<c_int, CryptoError> {
    match algorithm {
        KeyAlgorithm::MlDsa44 => Ok(c::NID_MLDSA44),
        KeyAlgorithm::MlDsa65 => Ok(c::NID_MLDSA65),
        KeyAlgorithm::MlDsa87 => Ok(c::NID_MLDSA87),
        _ => Err(CryptoError::Unsupported),
    }
}

/// The state of one signature or verification, freed at the end of its scope.
struct Operation(NonNull<c::EVP_MD_CTX>);

impl Operation {
    fn new() -> Result<Self, CryptoError> {
        // SAFETY: `EVP_MD_CTX_new` gives null or a state that the guard frees.
        NonNull::new(unsafe { c::EVP_MD_CTX_new() }).map(Self).ok_or(CryptoError::Backend)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: the pointer is owned by us and freed once, with the EVP_PKEY_CTX that belongs to it.
        unsafe { c::EVP_MD_CTX_free(self.0.as_ptr()) }
    }
}

/// RSA_PSS_SALTLEN_DIGEST.
const SALT_AS_DIGEST: c_int = -1;

/// AWS-LC's number of a digest.
fn nid(digest: Digest) -> c_int {
    match digest {
        Digest::Md5 => c::NID_md5,
        Digest::Sha1 => c::NID_sha1,
        Digest::Sha256 => c::NID_sha256,
        Digest::Sha384 => c::NID_sha384,
        Digest::Sha512 => c::NID_sha512,
    }
}

/// AWS-LC's table of a digest.
fn message_digest(digest: Digest) -> *const c::EVP_MD {
    // SAFETY: these give pointers to static tables.
    unsafe {
        match digest {
            Digest::Md5 => c::EVP_md5(),
            Digest::Sha1 => c::EVP_sha1(),
            Digest::Sha256 => c::EVP_sha256(),
            Digest::Sha384 => c::EVP_sha384(),
            Digest::Sha512 => c::EVP_sha512(),
        }
    }
}
/// Has glibc take every block of a megabyte and more straight from the system, and give it back when it is freed.
///
/// Opening a key takes 16 MiB for a moment (scrypt). glibc raises its bound for such blocks once it has seen one freed, and keeps the
/// next ones for good: one for each thread that opened a key. A bound that was set by hand stays.
pub(super) fn give_large_blocks_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two integers and touches nothing but the allocator's own settings, under its own lock.
    unsafe {
        // It fails only for settings that it does not know, and then all stays as it was.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// Has the calling thread give way to others: for work that takes long and that nobody should have to wait for.
pub(super) fn lower_thread_priority() {
    #[cfg(target_os = "linux")]
    // SAFETY: setpriority takes three integers and touches no memory of ours. On Linux a niceness belongs to a thread, and 0 stands for
    // the calling one; raising it needs no privilege.
    unsafe {
        // It changes nothing if the system refuses.
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
    }
}
