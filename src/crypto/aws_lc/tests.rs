//! Known answers and round trips; published vectors and other programs are in the modules below.

use super::*;
use crate::algorithm::{ContentCipher, KeyAlgorithm, KeyTransport, SignatureAlgorithm};
use crate::crypto::CryptoError;

mod openssl;
mod published;

const P: &CryptoProvider = &crate::crypto::PROVIDER;

/// Kinds of key that are made here; the RSA size keeps the tests quick.
const KEYS: &[KeyAlgorithm] = &[
    KeyAlgorithm::Rsa(1024),
    KeyAlgorithm::EcdsaP256,
    KeyAlgorithm::EcdsaP384,
    KeyAlgorithm::EcdsaP521,
    KeyAlgorithm::Ed25519,
    KeyAlgorithm::MlDsa44,
    KeyAlgorithm::MlDsa65,
    KeyAlgorithm::MlDsa87,
];

#[test]
fn digests_give_their_known_answers() {
    for (digest, answer) in [
        (Digest::Md5, "900150983cd24fb0d6963f7d28e17f72"),
        (Digest::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (Digest::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (Digest::Sha384, "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"),
        (
            Digest::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
    ] {
        let out = P.digester.digest(digest, b"abc");
        assert_eq!(hex::encode(&out), answer, "{digest}");
        assert_eq!(out.len(), digest.output_len());
    }
    assert_eq!(P.digester.sha256(b"abc").to_vec(), P.digester.digest(Digest::Sha256, b"abc"));
}

#[test]
fn hmac_gives_the_answer_of_rfc_4231() {
    // Test case 2.
    assert_eq!(
        hex::encode(P.digester.hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn pbkdf2_gives_the_answer_of_rfc_6070() {
    let key = P.ciphers.pbkdf2(Digest::Sha1, b"password", b"salt", 4096, 20).unwrap();
    assert_eq!(hex::encode(&*key), "4b007901b765489abead49d926f721d065a429c1");
    for (digest, iterations, len) in [(Digest::Md5, 1, 16), (Digest::Sha256, 0, 16), (Digest::Sha256, 1, 0)] {
        assert_eq!(P.ciphers.pbkdf2(digest, b"p", b"s", iterations, len), Err(CryptoError::Unsupported));
    }
}

#[test]
fn random_octets_differ() {
    assert_ne!(P.random::<32>(), P.random::<32>());
}

#[test]
fn every_key_signs_with_all_it_lists_and_survives_pkcs8() {
    for &kind in KEYS {
        let key = P.keys.generate(kind).unwrap();
        assert_eq!(key.key(), kind);
        let again = P.keys.signer(&key.export_pkcs8().unwrap()).unwrap();
        assert_eq!((again.key(), again.spki()), (kind, key.spki()));
        for algorithm in again.algorithms() {
            if kind == KeyAlgorithm::Rsa(1024) && algorithm == SignatureAlgorithm::RsaPssSha512 {
                // 64 octets of digest and as much salt do not fit in 128.
                assert_eq!(again.sign(algorithm, b"m"), Err(CryptoError::Backend));
                continue;
            }
            let signature = again.sign(algorithm, b"message").unwrap();
            let check = |message: &[u8], signature: &[u8]| P.verifier.verify(algorithm, key.spki(), message, signature);
            assert_eq!(check(b"message", &signature), Ok(()), "{kind} {algorithm}");
            assert_eq!(check(b"massage", &signature), Err(CryptoError::BadSignature));
            assert_eq!(check(b"message", &signature[1..]), Err(CryptoError::BadSignature));
            assert_eq!(check(b"message", b""), Err(CryptoError::BadSignature));
        }
    }
}

#[test]
fn no_key_passes_for_another_kind() {
    let keys: Vec<_> = KEYS.iter().map(|&kind| P.keys.generate(kind).unwrap()).collect();
    for key in &keys {
        for &algorithm in SignatureAlgorithm::ALL {
            let (spki, fits) = (key.spki(), fits(key.key(), algorithm));
            match P.verifier.verify(algorithm, spki, b"m", &[0x30; 64]) {
                Err(CryptoError::BadKey) => assert!(!fits, "{} {algorithm}", key.key()),
                Err(CryptoError::BadSignature) => assert!(fits, "{} {algorithm}", key.key()),
                Err(CryptoError::Unsupported) => {
                    assert_eq!((key.key(), algorithm), (KeyAlgorithm::EcdsaP384, SignatureAlgorithm::EcdsaSha1))
                }
                other => panic!("{} {algorithm}: {other:?}", key.key()),
            }
            if !key.algorithms().contains(&algorithm) {
                assert_eq!(key.sign(algorithm, b"m"), Err(CryptoError::Unsupported));
            }
        }
        // A bare key where a SubjectPublicKeyInfo belongs, octets after it, and a cut one.
        let mut longer = key.spki().to_vec();
        longer.push(0);
        let shorter = &key.spki()[..key.spki().len() - 1];
        let bare = spki::SubjectPublicKeyInfoRef::try_from(key.spki()).unwrap().subject_public_key.raw_bytes();
        for wrong in [bare, &longer, shorter, b""] {
            assert_eq!(P.verifier.verify(key.algorithms()[0], wrong, b"m", &[0; 64]), Err(CryptoError::BadKey));
            assert!(!P.transport.can_wrap(wrong));
        }
        assert_eq!(P.transport.can_wrap(key.spki()), key.key().can_decrypt());
    }
}

fn fits(key: KeyAlgorithm, algorithm: SignatureAlgorithm) -> bool {
    match key {
        KeyAlgorithm::Rsa(_) => algorithm.name().starts_with("rsa-"),
        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521 => algorithm.name().starts_with("ecdsa-"),
        other => other.to_string() == algorithm.name(),
    }
}

#[test]
fn keys_of_other_sizes_and_kinds_are_refused() {
    for bits in [512, 1000, 1025, 8320, 16384] {
        assert_eq!(P.keys.generate(KeyAlgorithm::Rsa(bits)).err(), Some(CryptoError::Unsupported));
    }
    let ec = P.keys.generate(KeyAlgorithm::EcdsaP256).unwrap();
    let pkcs8 = ec.export_pkcs8().unwrap();
    assert_eq!(P.keys.decrypter(&pkcs8).err(), Some(CryptoError::BadKey));
    assert_eq!(P.transport.wrap_key(KeyTransport::Pkcs1v15, ec.spki(), &[1; 16]), Err(CryptoError::BadKey));
    let mut longer = pkcs8.to_vec();
    longer.push(0);
    for wrong in [&longer[..], &pkcs8[..pkcs8.len() - 1], b"", b"0"] {
        assert_eq!(P.keys.signer(wrong).err(), Some(CryptoError::BadKey));
        assert_eq!(P.keys.decrypter(wrong).err(), Some(CryptoError::BadKey));
    }
}

#[test]
fn rsa_keys_that_are_too_short_are_refused_everywhere() {
    let short = ffi::PrivateKey::generate_rsa(768).unwrap();
    let (pkcs8, spki) = (short.pkcs8().unwrap(), short.spki().unwrap());
    assert_eq!(P.keys.signer(&pkcs8).err(), Some(CryptoError::BadKey));
    assert_eq!(P.keys.decrypter(&pkcs8).err(), Some(CryptoError::BadKey));
    let signature = short.rsa_sign(Digest::Sha256, &P.digester.sha256(b"m")).unwrap();
    assert_eq!(P.verifier.verify(SignatureAlgorithm::RsaSha256, &spki, b"m", &signature), Err(CryptoError::BadKey));
    assert!(!P.transport.can_wrap(&spki));
}

#[test]
fn one_key_serves_many_threads() {
    let key = P.keys.generate(KeyAlgorithm::Rsa(1024)).unwrap();
    let opener = P.keys.decrypter(&key.export_pkcs8().unwrap()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let (key, opener) = (&key, &opener);
            scope.spawn(move || {
                for turn in 0..50u8 {
                    let message = [thread, turn, 7, 7, 7, 7, 7, 7];
                    let signature = key.sign(SignatureAlgorithm::RsaSha256, &message).unwrap();
                    P.verifier.verify(SignatureAlgorithm::RsaSha256, key.spki(), &message, &signature).unwrap();
                    let wrapped = P.transport.wrap_key(KeyTransport::Pkcs1v15, key.spki(), &message).unwrap();
                    assert_eq!(*opener.unwrap_key(KeyTransport::Pkcs1v15, &wrapped, 8).unwrap(), message);
                }
            });
        }
    });
}

/// Every transport that is offered.
fn transports() -> Vec<KeyTransport> {
    let digests = || Digest::ALL.iter().copied().filter(|&d| d != Digest::Md5);
    let oaep = digests().flat_map(|digest| digests().map(move |mgf1| KeyTransport::Oaep { digest, mgf1 }));
    std::iter::once(KeyTransport::Pkcs1v15).chain(oaep).collect()
}

#[test]
fn keys_are_wrapped_and_opened() {
    let key = P.keys.generate(KeyAlgorithm::Rsa(2048)).unwrap();
    let opener = P.keys.decrypter(&key.export_pkcs8().unwrap()).unwrap();
    assert_eq!((opener.key(), opener.spki()), (KeyAlgorithm::Rsa(2048), key.spki()));
    for transport in transports() {
        for len in [8, 16, 24, 32] {
            let cek = vec![len as u8; len];
            let wrapped = P.transport.wrap_key(transport, key.spki(), &cek).unwrap();
            assert_eq!(*opener.unwrap_key(transport, &wrapped, len).unwrap(), cek, "{transport:?}");
            // Another length than the one inside is random, as is every ciphertext that is no good.
            let flipped: Vec<u8> = wrapped.iter().enumerate().map(|(i, b)| if i == 100 { b ^ 1 } else { *b }).collect();
            for (bad, asked) in [
                (&wrapped[..], len + 1),
                (&wrapped, len - 1),
                (&wrapped, 300),
                (&flipped, len),
                (&wrapped[1..], len),
                (b"", len),
                (&[0; 256], len),
                (&[0xff; 256], len),
                (&[1; 257], len),
            ] {
                let (one, two) =
                    (opener.unwrap_key(transport, bad, asked).unwrap(), opener.unwrap_key(transport, bad, asked).unwrap());
                assert_eq!((one.len(), two.len()), (asked, asked));
                assert_ne!(one, two, "{transport:?}");
            }
        }
        assert_eq!(P.transport.wrap_key(transport, key.spki(), &[1; 256]), Err(CryptoError::BadKey));
    }
    let md5 = KeyTransport::Oaep { digest: Digest::Md5, mgf1: Digest::Sha1 };
    assert_eq!(P.transport.wrap_key(md5, key.spki(), &[1; 16]), Err(CryptoError::Unsupported));
    assert_eq!(opener.unwrap_key(md5, &[1; 256], 16), Err(CryptoError::Unsupported));
}

#[test]
fn an_oaep_key_too_long_for_its_modulus_is_refused() {
    let key = P.keys.generate(KeyAlgorithm::Rsa(1024)).unwrap();
    let opener = P.keys.decrypter(&key.export_pkcs8().unwrap()).unwrap();
    let oaep = KeyTransport::Oaep { digest: Digest::Sha512, mgf1: Digest::Sha512 };
    assert_eq!(P.transport.wrap_key(oaep, key.spki(), &[1; 16]), Err(CryptoError::BadKey));
    assert_eq!(opener.unwrap_key(oaep, &[1; 128], 16).unwrap().len(), 16);
}

#[test]
fn pkcs1_padding_is_looked_at_to_the_last_octet() {
    let good = |ps: usize| {
        let mut message = vec![0, 2];
        message.extend(vec![0xa5; ps]);
        message.extend([0, 7, 7, 7, 7]);
        message
    };
    let open = |message: &[u8]| padding::pkcs1_decode(message, 4).map(|(good, key)| bool::from(good).then(|| key.to_vec()));
    assert_eq!(open(&good(8)), Some(Some(vec![7; 4])));
    assert_eq!(open(&good(7)), None);
    for place in 0..good(20).len() - 4 {
        for change in [0, 1, 3, 255] {
            let mut message = good(20);
            if message[place] == change || (2..22).contains(&place) && change != 0 {
                continue;
            }
            message[place] = change;
            assert_eq!(open(&message), Some(None), "octet {place} to {change}");
        }
    }
}

#[test]
fn pkcs7_padding_is_looked_at_to_the_last_octet() {
    for block_len in [8usize, 16] {
        for count in 1..=block_len {
            let mut blocks = vec![0xee; 3 * block_len];
            let content = blocks.len() - count;
            blocks[content..].fill(count as u8);
            assert_eq!(padding::pkcs7_content_len(&blocks, block_len), Some(content));
            for place in content..blocks.len() {
                let mut bad = blocks.clone();
                bad[place] ^= 0x80;
                assert_eq!(padding::pkcs7_content_len(&bad, block_len), None);
            }
        }
        let last = |octet| [vec![0xee; block_len - 1], vec![octet]].concat();
        for octet in [0, block_len as u8 + 1, 255] {
            assert_eq!(padding::pkcs7_content_len(&last(octet), block_len), None);
        }
        assert_eq!(padding::pkcs7_content_len(&[], block_len), None);
        assert_eq!(padding::pkcs7_content_len(&vec![1; block_len + 1], block_len), None);
    }
}

#[test]
fn content_is_encrypted_and_decrypted_by_every_cipher() {
    for &cipher in ContentCipher::ALL {
        let (key, iv) = (P.random::<32>()[..cipher.key_len()].to_vec(), P.random::<16>()[..cipher.iv_len()].to_vec());
        for len in [0, 1, 7, 8, 15, 16, 17, 1200] {
            let plain = vec![0x5a; len];
            let sealed = P.ciphers.encrypt(cipher, &key, &iv, &plain).unwrap();
            assert_eq!(*P.ciphers.decrypt(cipher, &key, &iv, &sealed).unwrap(), plain, "{cipher} {len}");
            // One error, whatever is wrong.
            for (key, iv, sealed) in
                [(&key[1..], &iv[..], &sealed[..]), (&key, &iv[1..], &sealed), (&key, &iv, &sealed[1..]), (&key, &iv, b"")]
            {
                assert_eq!(P.ciphers.decrypt(cipher, key, iv, sealed), Err(CryptoError::BadCiphertext), "{cipher} {len}");
            }
        }
        assert_eq!(P.ciphers.encrypt(cipher, &key[1..], &iv, b"x"), Err(CryptoError::BadKey));
        assert_eq!(P.ciphers.encrypt(cipher, &key, &iv[1..], b"x"), Err(CryptoError::BadKey));
        if cipher.is_aead() {
            assert!(P.ciphers.encrypt_blocks(cipher, &key, &iv, &[1; 32]).is_err());
            continue;
        }
        let blocks = P.ciphers.encrypt_blocks(cipher, &key, &iv, &[1; 32]).unwrap();
        assert_eq!(blocks.len(), 32);
        assert_eq!(*P.ciphers.decrypt_blocks(cipher, &key, &iv, &blocks).unwrap(), [1; 32]);
        assert!(P.ciphers.encrypt_blocks(cipher, &key, &iv, &[1; 31]).is_err());
        assert_eq!(P.ciphers.decrypt_blocks(cipher, &key, &iv, &blocks[1..]), Err(CryptoError::BadCiphertext));
    }
}

#[test]
fn two_key_triple_des_is_done_and_single_des_in_disguise_is_not() {
    let cipher = ContentCipher::DesEde3Cbc;
    let (one, two, three, iv) = (*b"\x01#Eg\x89\xab\xcd\xef", *b"first ke", *b"other ke", [7; 8]);
    // DES by itself, so that the answer does not come from the same call: E(K1) D(K2) E(K1) of one block without an IV.
    let des = |key: &[u8], block: &[u8]| P.ciphers.encrypt_blocks(ContentCipher::DesCbc, key, &[0; 8], block).unwrap();
    let undes = |key: &[u8], block: &[u8]| P.ciphers.decrypt_blocks(ContentCipher::DesCbc, key, &[0; 8], block).unwrap();
    for last in [one, three] {
        let answer = des(&last, &undes(&two, &des(&one, b"8 octets")));
        let key = [one, two, last].concat();
        assert_eq!(P.ciphers.encrypt_blocks(cipher, &key, &[0; 8], b"8 octets").unwrap(), answer);
        let sealed = P.ciphers.encrypt(cipher, &key, &iv, b"content").unwrap();
        assert_eq!(**P.ciphers.decrypt(cipher, &key, &iv, &sealed).unwrap(), *b"content");
    }
    for key in [[one, one, two], [two, one, one], [one; 3], [[1; 8], two, three]] {
        assert_eq!(P.ciphers.encrypt(cipher, &key.concat(), &iv, b"content"), Err(CryptoError::BadKey));
        assert_eq!(P.ciphers.decrypt(cipher, &key.concat(), &iv, &[0; 16]), Err(CryptoError::BadCiphertext));
    }
}

#[test]
fn aes_cbc_gives_the_answer_of_rfc_3602() {
    // Section 4, case 1.
    let (key, iv) =
        (hex::decode("06a9214036b8a15b512e03d534120006").unwrap(), hex::decode("3dafba429d9eb430b422da802c9fac41").unwrap());
    let sealed = P.ciphers.encrypt_blocks(ContentCipher::Aes128Cbc, &key, &iv, b"Single block msg").unwrap();
    assert_eq!(hex::encode(sealed), "e353779c1079aeb82708942dbe77181a");
}
