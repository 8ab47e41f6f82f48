//! Paddings, taken off in constant time.
//!
//! A server that opens what strangers send must not tell them, by an answer or by its timing, whether a padding was good
//! (Bleichenbacher 1998, Manger 2001, Vaudenay 2002). The length of the key inside is known from the content-encryption
//! algorithm, so everything is looked for at the one place where it must be: no search, no length that depends on secrets.

use subtle::{Choice, ConstantTimeEq, ConstantTimeLess};
use zeroize::Zeroizing;

use super::Hash;
use crate::algorithm::Digest;

/// Opens EME-PKCS1-v1_5 (RFC 8017 section 7.2.2): `00 02 PS 00 M` with PS of at least eight octets, none of them zero.
///
/// Whether the padding is good comes as a [`Choice`], for the caller to select by. `None` if a message of `key_len` cannot be
/// in there, which is no secret.
pub(super) fn pkcs1_decode(message: &[u8], key_len: usize) -> Option<(Choice, Zeroizing<Vec<u8>>)> {
    let separator = message.len().checked_sub(key_len)?.checked_sub(1)?;
    if separator < 2 + 8 {
        return None;
    }
    let mut good = message[0].ct_eq(&0) & message[1].ct_eq(&2);
    for octet in &message[2..separator] {
        good &= !octet.ct_eq(&0);
    }
    good &= message[separator].ct_eq(&0);
    Some((good, Zeroizing::new(message[separator + 1..].to_vec())))
}

/// Opens EME-OAEP (RFC 8017 section 7.1.2) with an empty label: `00 maskedSeed maskedDB`, DB being `lHash PS 01 M`.
pub(super) fn oaep_decode(digest: Digest, mgf1: Digest, message: &[u8], key_len: usize) -> Option<(Choice, Zeroizing<Vec<u8>>)> {
    let hash_len = digest.output_len();
    // Where the 01 must stand in DB.
    let separator = message.len().checked_sub(1 + hash_len)?.checked_sub(key_len + 1)?;
    if separator < hash_len {
        return None;
    }
    let mut good = message[0].ct_eq(&0);
    let mut seed = Zeroizing::new(message[1..1 + hash_len].to_vec());
    let mut db = Zeroizing::new(message[1 + hash_len..].to_vec());
    mask(mgf1, &db, &mut seed);
    mask(mgf1, &seed, &mut db);
    good &= db[..hash_len].ct_eq(Hash::of(digest, b"").as_ref());
    for octet in &db[hash_len..separator] {
        good &= octet.ct_eq(&0);
    }
    good &= db[separator].ct_eq(&1);
    Some((good, Zeroizing::new(db[separator + 1..].to_vec())))
}

/// Makes EME-OAEP (RFC 8017 section 7.1.1) with an empty label; `None` if the key is too long for the modulus.
pub(super) fn oaep_encode(digest: Digest, mgf1: Digest, key: &[u8], seed: &[u8], len: usize) -> Option<Zeroizing<Vec<u8>>> {
    let hash_len = digest.output_len();
    debug_assert_eq!(seed.len(), hash_len);
    let separator = len.checked_sub(1 + hash_len)?.checked_sub(key.len() + 1)?;
    if separator < hash_len {
        return None;
    }
    let mut message = Zeroizing::new(vec![0; len]);
    let (masked_seed, db) = message[1..].split_at_mut(hash_len);
    masked_seed.copy_from_slice(seed);
    db[..hash_len].copy_from_slice(Hash::of(digest, b"").as_ref());
    db[separator] = 1;
    db[separator + 1..].copy_from_slice(key);
    mask(mgf1, seed, db);
    mask(mgf1, db, masked_seed);
    Some(message)
}

/// Takes off PKCS#7 padding (RFC 5652 section 6.3): how many octets are content. One `None` for whatever is wrong, and the
/// last block is looked at as a whole in every case.
pub(super) fn pkcs7_content_len(blocks: &[u8], block_len: usize) -> Option<usize> {
    if blocks.is_empty() || !blocks.len().is_multiple_of(block_len) {
        return None;
    }
    let last_block = &blocks[blocks.len() - block_len..];
    let count = last_block[block_len - 1];
    let mut good = !count.ct_eq(&0) & !(block_len as u8).ct_lt(&count);
    for (place, octet) in (0u8..).zip(last_block.iter().rev()) {
        let is_padding = place.ct_lt(&count);
        good &= !is_padding | octet.ct_eq(&count);
    }
    bool::from(good).then(|| blocks.len() - usize::from(count))
}

/// XORs MGF1 of `seed` (RFC 8017 appendix B.2.1) onto `out`.
fn mask(digest: Digest, seed: &[u8], out: &mut [u8]) {
    let mut input = Zeroizing::new([seed, &[0; 4]].concat());
    for (counter, chunk) in (0u32..).zip(out.chunks_mut(digest.output_len())) {
        input[seed.len()..].copy_from_slice(&counter.to_be_bytes());
        for (octet, mask) in chunk.iter_mut().zip(Hash::of(digest, &input).as_ref()) {
            *octet ^= mask;
        }
    }
}
