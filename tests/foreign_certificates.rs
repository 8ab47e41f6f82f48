//! Certificates, CRLs and requests that other implementations made: good ones verify, damaged ones do not, and neither does what we refuse
//! on purpose (HashML-DSA, identifiers of older drafts, composites with halves that we do not have).
//!
//! Those in `testdata/foreign` were looked at by other programs first (`tests/interop/verify`). Where the vectors folder beside the project is
//! there, the certificates of a dozen implementations are read too.

use std::path::{Path, PathBuf};

use ravelin::crypto::CryptoError;
use ravelin::x509::crl::verify_crl;
use ravelin::x509::{Certificate, VerifiedCsr, X509Error, alternative};

/// Parts of the file names of what has to be refused, each by what it names itself.
const REFUSED: [&str; 4] = ["-with-sha512", "brainpool", "ed448", "old-draft"];

/// Composites whose ECDSA key is a compressed point, by a maker that some verifiers bear with; the draft wants uncompressed ones (section 4.1).
const COMPRESSED: &str = "carl-redhound/ml-dsa-";

fn is_compressed(path: &Path) -> bool {
    let name = path.display().to_string();
    name.contains(COMPRESSED) && name.contains("-ecdsa-")
}

fn is_refused(path: &Path) -> bool {
    let name = path.display().to_string().to_lowercase();
    REFUSED.iter().any(|part| name.contains(part))
}

/// All files under this folder whose name ends so, sorted.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn foreign(ending: &str) -> Vec<PathBuf> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/foreign"), ending)
}

/// The folder of certificates of other implementations, if it is there.
fn vectors() -> Option<PathBuf> {
    let root = std::env::var_os("RAVELIN_SHARED_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"), PathBuf::from);
    let folder = root.join("pqc-certificates");
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return None;
    }
    Some(folder)
}

fn read(path: &Path) -> Certificate {
    Certificate::from_der(&std::fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Copies with one bit changed: in the first octets of the signature, in its last one, and in what is signed. The signature is at the end.
fn damaged(der: &[u8], signature: usize) -> [Vec<u8>; 3] {
    // In the middle of what is signed stands a key, or for a CRL a date; the first octet of an ECDSA signature is a tag.
    let places = [der.len() - signature + 8, der.len() - 1, (der.len() - signature) / 2];
    places.map(|at| {
        let mut copy = der.to_vec();
        copy[at] ^= 1;
        copy
    })
}

/// A self-signed certificate verifies, and no damaged copy of it does by the key of the good one.
fn assert_self_signed(path: &Path) {
    let good = read(path);
    good.verify_signed_by(good.spki()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (at, copy) in damaged(good.der(), good.signature().len()).iter().enumerate() {
        let verified = Certificate::from_der(copy).and_then(|copy| copy.verify_signed_by(good.spki()));
        assert!(verified.is_err(), "{}: damaged copy {at} verifies", path.display());
    }
}

/// It can be read, and nothing can be made of its algorithm.
fn assert_refused(path: &Path) {
    let one = read(path);
    assert_eq!((one.key(), one.signature_algorithm()), (None, None), "{}", path.display());
    assert!(matches!(one.verify_signed_by(one.spki()), Err(X509Error::Crypto(_))), "{}", path.display());
}

#[test]
fn authorities_of_others_verify() {
    let (mut verified, mut refused) = (0, 0);
    for path in foreign(".ca.der") {
        if is_refused(&path) {
            assert_refused(&path);
            refused += 1;
        } else {
            assert_self_signed(&path);
            verified += 1;
        }
    }
    assert_eq!((verified, refused), (34, 4));
}

#[test]
fn leaves_of_others_verify_by_their_authority_alone() {
    let leaves = foreign(".leaf.der");
    for path in &leaves {
        let (leaf, ca) = (read(path), read(&sibling(path, "ca")));
        leaf.verify_signed_by(ca.spki()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(leaf.issuer().matches(ca.subject()));
        assert!(leaf.verify_signed_by(leaf.spki()).is_err(), "{}", path.display());
        for copy in damaged(leaf.der(), leaf.signature().len()) {
            assert!(
                Certificate::from_der(&copy).and_then(|copy| copy.verify_signed_by(ca.spki())).is_err(),
                "{}",
                path.display()
            );
        }
    }
    assert_eq!(leaves.len(), 10);
}

#[test]
fn revocation_lists_of_others_verify() {
    let lists = foreign(".crl.der");
    for path in &lists {
        let (der, ca) = (std::fs::read(path).unwrap(), read(&sibling(path, "ca")));
        verify_crl(&der, ca.spki()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // CRL and CA are signed by the same key, so their signatures are about as long.
        for copy in damaged(&der, ca.signature().len() - 8) {
            assert!(verify_crl(&copy, ca.spki()).is_err(), "{}", path.display());
        }
    }
    assert_eq!(lists.len(), 9);
}

#[test]
fn requests_of_others_verify() {
    let requests = foreign(".csr.der");
    for path in &requests {
        let der = std::fs::read(path).unwrap();
        let request = VerifiedCsr::from_der(&der).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(Some(request.key()), read(&sibling(path, "ca")).key(), "{}", path.display());
        let ca = read(&sibling(path, "ca"));
        for copy in damaged(&der, ca.signature().len()) {
            assert!(VerifiedCsr::from_der(&copy).is_err(), "{}", path.display());
        }
    }
    assert_eq!(requests.len(), 7);
}

#[test]
fn alternative_signatures_of_others_verify() {
    let mut verified = 0;
    for path in foreign(".ca.der") {
        let ca = read(&path);
        let Some(key) = ca.alternative_spki() else { continue };
        let leaf = read(&sibling(&path, "leaf"));
        for one in [&ca, &leaf] {
            assert!(one.has_alternative_signature() && one.alternative_signature_algorithm().is_some());
            one.verify_alternative(key).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_alternative_is_checked(one, key);
        }
        let crl = std::fs::read(sibling(&path, "crl")).unwrap();
        alternative::verify_crl(&crl, key).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        verify_crl(&crl, ca.spki()).unwrap();
        verified += 1;
    }
    assert_eq!(verified, 2);
}

/// One bit of the value, or one of what is signed, and the alternative signature is wrong; and the ordinary one with it, which is over both.
fn assert_alternative_is_checked(good: &Certificate, key: &[u8]) {
    let extension = good.extension(&alternative::ALT_SIGNATURE_VALUE).expect("it was verified");
    let at = find(good.der(), &extension.value);
    for place in
        [at + 12, at + extension.value.len() - 1, find(good.der(), good.subject().der()) + good.subject().der().len() - 1]
    {
        let mut copy = good.der().to_vec();
        copy[place] ^= 1;
        let copy = Certificate::from_der(&copy).expect("its structure is the same");
        assert!(copy.verify_alternative(key).is_err());
        assert!(copy.verify_signed_by(good.spki()).is_err());
    }
}

fn find(all: &[u8], part: &[u8]) -> usize {
    all.windows(part.len()).position(|window| window == part).expect("it is in there")
}

#[test]
fn a_related_certificate_of_others_is_known_by_its_hash() {
    let [path] = foreign(".related.der").try_into().expect("there is one");
    let (second, first, ca) = (read(&path), read(&sibling(&path, "leaf")), read(&sibling(&path, "ca")));
    second.verify_signed_by(ca.spki()).unwrap();
    assert_eq!(second.is_related_to(&first), Some(true));
    assert_eq!(second.is_related_to(&ca), Some(false));
    assert_eq!(first.is_related_to(&second), None);
}

/// The file that goes with this one: `NAME.leaf.der` and `NAME.ca.der`.
fn sibling(path: &Path, what: &str) -> PathBuf {
    let name = path.file_stem().and_then(|stem| Path::new(stem).file_stem()).expect("it is called NAME.WHAT.der");
    path.with_file_name(format!("{}.{what}.der", name.to_string_lossy()))
}

#[test]
fn certificates_of_a_dozen_implementations_verify() {
    let Some(folder) = vectors() else { return };
    let (mut verified, mut refused) = (0, 0);
    for path in files(&folder, "_ta.der") {
        if is_refused(&path) {
            assert_refused(&path);
            refused += 1;
            continue;
        }
        if is_compressed(&path) {
            let one = read(&path);
            assert!(
                matches!(one.verify_signed_by(one.spki()), Err(X509Error::Crypto(CryptoError::BadKey))),
                "{}",
                path.display()
            );
            refused += 1;
            continue;
        }
        assert_self_signed(&path);
        let one = read(&path);
        let name = path.to_string_lossy();
        assert_eq!(one.is_chameleon(), name.contains("chameleon"), "{name}");
        assert_eq!(one.has_alternative_signature(), name.contains("catalyst"), "{name}");
        if let Some(key) = one.alternative_spki() {
            one.verify_alternative(key).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_alternative_is_checked(&one, key);
        }
        verified += 1;
    }
    println!("{verified} certificates verify, {refused} are refused");
    // HashML-DSA 3, brainpool 4, Ed448 2, compressed points 3.
    assert_eq!((verified, refused), (105, 12));
}

#[test]
fn certificates_for_ml_kem_keys_verify_by_the_authority_that_signed_them() {
    let Some(folder) = vectors() else { return };
    let bouncy_castle = folder.join("bc");
    let authorities: Vec<_> = files(&bouncy_castle, "_ta.der").iter().map(|path| read(path)).collect();
    let leaves = files(&bouncy_castle, "_ee.der");
    for path in &leaves {
        let leaf = read(path);
        assert!(leaf.verify_signed_by(leaf.spki()).is_err(), "a KEM key signs nothing");
        let signers = authorities.iter().filter(|ca| leaf.verify_signed_by(ca.spki()).is_ok()).count();
        assert_eq!(signers, 1, "{}", path.display());
    }
    assert_eq!(leaves.len(), 3);
}
