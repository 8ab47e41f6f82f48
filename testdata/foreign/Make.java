import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.Security;
import java.util.Date;
import java.util.Map;
import java.util.TreeMap;

import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.CRLReason;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.KeyUsage;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cert.RelatedCertificateTool;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.X509v2CRLBuilder;
import org.bouncycastle.cert.X509v3CertificateBuilder;
import org.bouncycastle.cert.jcajce.JcaX509ExtensionUtils;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.bc.BcDigestCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;

/**
 * Makes certificates with Bouncy Castle, into the folder that is given: a CA and, for some, a leaf, a CRL and a request. With `old` as the
 * second argument, only what a release of an older draft makes: a composite certificate under the identifiers of that draft.
 */
public class Make {
    /** Signed the same way whatever the key: name of the algorithm, key generator, its size or curve. */
    static final String[][] SIGNATURES = {
        {"SHA256withRSAandMGF1", "RSA", "2048"},
        {"Ed25519", "Ed25519", ""},
        {"ML-DSA-44", "ML-DSA-44", ""},
        {"ML-DSA-65", "ML-DSA-65", ""},
        {"ML-DSA-87", "ML-DSA-87", ""},
        {"SLH-DSA-SHA2-128S", "SLH-DSA-SHA2-128S", ""},
        {"SLH-DSA-SHA2-128F", "SLH-DSA-SHA2-128F", ""},
        {"SLH-DSA-SHA2-192S", "SLH-DSA-SHA2-192S", ""},
        {"SLH-DSA-SHA2-256S", "SLH-DSA-SHA2-256S", ""},
        {"SLH-DSA-SHAKE-128S", "SLH-DSA-SHAKE-128S", ""},
        {"SLH-DSA-SHAKE-128F", "SLH-DSA-SHAKE-128F", ""},
        {"SLH-DSA-SHAKE-192S", "SLH-DSA-SHAKE-192S", ""},
        {"SLH-DSA-SHAKE-256S", "SLH-DSA-SHAKE-256S", ""},
        {"MLDSA44-RSA2048-PSS-SHA256", "", ""},
        {"MLDSA44-RSA2048-PKCS15-SHA256", "", ""},
        {"MLDSA44-Ed25519-SHA512", "", ""},
        {"MLDSA44-ECDSA-P256-SHA256", "", ""},
        {"MLDSA65-RSA3072-PSS-SHA512", "", ""},
        {"MLDSA65-RSA3072-PKCS15-SHA512", "", ""},
        {"MLDSA65-RSA4096-PSS-SHA512", "", ""},
        {"MLDSA65-RSA4096-PKCS15-SHA512", "", ""},
        {"MLDSA65-ECDSA-P256-SHA512", "", ""},
        {"MLDSA65-ECDSA-P384-SHA512", "", ""},
        {"MLDSA65-Ed25519-SHA512", "", ""},
        {"MLDSA87-ECDSA-P384-SHA512", "", ""},
        {"MLDSA87-RSA3072-PSS-SHA512", "", ""},
        {"MLDSA87-RSA4096-PSS-SHA512", "", ""},
        {"MLDSA87-ECDSA-P521-SHA512", "", ""},
        // What we refuse: HashML-DSA, and composites with halves that we do not have.
        {"ML-DSA-65-WITH-SHA512", "ML-DSA-65-WITH-SHA512", ""},
        {"MLDSA65-ECDSA-brainpoolP256r1-SHA512", "", ""},
        {"MLDSA87-Ed448-SHAKE256", "", ""},
    };
    /** Of these there is a leaf, a CRL and a request too. */
    static final Map<String, Boolean> WHOLE = Map.of(
        "ML-DSA-65", true, "SLH-DSA-SHA2-128S", true, "MLDSA65-ECDSA-P256-SHA512", true, "MLDSA44-RSA2048-PSS-SHA256", true);

    static final Date FROM = new Date(1767225600000L);
    static final Date UNTIL = new Date(3660681600000L);

    static Path folder;

    public static void main(String[] arguments) throws Exception {
        folder = Path.of(arguments[0]);
        Files.createDirectories(folder);
        Security.addProvider(new BouncyCastleProvider());
        if (arguments.length > 1) {
            make(new String[] {arguments[1], "", ""});
            return;
        }
        for (String[] signature : SIGNATURES) {
            make(signature);
        }
        catalyst("catalyst-ECDSA-P256-ML-DSA-65", "SHA256withECDSA", pair("EC", "256"), "ML-DSA-65");
        catalyst("catalyst-RSA-SLH-DSA-SHA2-128S", "SHA256withRSA", pair("RSA", "2048"), "SLH-DSA-SHA2-128S");
        related();
    }

    static void make(String[] signature) throws Exception {
        String name = signature[0];
        KeyPair pair = pair(signature[1].isEmpty() ? name : signature[1], signature[2]);
        ContentSigner signer = signer(name, pair.getPrivate());
        X509CertificateHolder ca = write(name + ".ca", authority(name, pair, null).build(signer).getEncoded());
        if (WHOLE.containsKey(name)) {
            KeyPair device = pair("EC", "256");
            write(name + ".leaf", leaf(name, device, ca).build(signer).getEncoded());
            Files.write(folder.resolve(name + ".crl.der"), crl(ca).build(signer).getEncoded());
            Files.write(folder.resolve(name + ".csr.der"),
                new JcaPKCS10CertificationRequestBuilder(named(name, "device"), pair.getPublic()).build(signer).getEncoded());
        }
    }

    /** The two signatures of ITU-T X.509 (10/2019), 9.8. */
    static void catalyst(String name, String classical, KeyPair pair, String alternative) throws Exception {
        KeyPair second = pair(alternative, "");
        ContentSigner signer = signer(classical, pair.getPrivate());
        ContentSigner other = signer(alternative, second.getPrivate());
        X509CertificateHolder ca = write(name + ".ca", authority(name, pair, second).build(signer, false, other).getEncoded());
        write(name + ".leaf", leaf(name, pair("EC", "256"), ca).build(signer, false, other).getEncoded());
        Files.write(folder.resolve(name + ".crl.der"), crl(ca).build(signer, false, other).getEncoded());
    }

    /** RFC 9763: the second certificate has the hash of the first. */
    static void related() throws Exception {
        KeyPair pair = pair("EC", "256");
        ContentSigner signer = signer("SHA256withECDSA", pair.getPrivate());
        X509CertificateHolder ca = write("related.ca", authority("related", pair, null).build(signer).getEncoded());
        KeyPair device = pair("EC", "256");
        X509CertificateHolder first = write("related.leaf", leaf("related", device, ca).build(signer).getEncoded());
        X509v3CertificateBuilder second = leaf("related", device, ca);
        AlgorithmIdentifier sha256 = new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha256);
        second.addExtension(Extension.relatedCertificate, false,
            RelatedCertificateTool.createRelatedCertificate(first, new BcDigestCalculatorProvider().get(sha256)));
        write("related.related", second.build(signer).getEncoded());
    }

    static X509v3CertificateBuilder authority(String name, KeyPair pair, KeyPair second) throws Exception {
        SubjectPublicKeyInfo key = SubjectPublicKeyInfo.getInstance(pair.getPublic().getEncoded());
        X509v3CertificateBuilder builder = new X509v3CertificateBuilder(named(name, "CA"), serial(), FROM, UNTIL, named(name, "CA"), key);
        builder.addExtension(Extension.basicConstraints, true, new BasicConstraints(0));
        builder.addExtension(Extension.keyUsage, true, new KeyUsage(KeyUsage.keyCertSign | KeyUsage.cRLSign));
        builder.addExtension(Extension.subjectKeyIdentifier, false, new JcaX509ExtensionUtils().createSubjectKeyIdentifier(key));
        if (second != null) {
            builder.addExtension(Extension.subjectAltPublicKeyInfo, false, SubjectPublicKeyInfo.getInstance(second.getPublic().getEncoded()));
        }
        return builder;
    }

    static X509v3CertificateBuilder leaf(String name, KeyPair device, X509CertificateHolder ca) throws Exception {
        SubjectPublicKeyInfo key = SubjectPublicKeyInfo.getInstance(device.getPublic().getEncoded());
        X509v3CertificateBuilder builder = new X509v3CertificateBuilder(ca.getSubject(), serial(), FROM, UNTIL, named(name, "device"), key);
        builder.addExtension(Extension.keyUsage, true, new KeyUsage(KeyUsage.digitalSignature));
        builder.addExtension(Extension.authorityKeyIdentifier, false, new JcaX509ExtensionUtils().createAuthorityKeyIdentifier(ca));
        return builder;
    }

    static X509v2CRLBuilder crl(X509CertificateHolder ca) throws Exception {
        X509v2CRLBuilder builder = new X509v2CRLBuilder(ca.getSubject(), FROM);
        builder.setNextUpdate(UNTIL);
        builder.addCRLEntry(BigInteger.valueOf(4711), FROM, CRLReason.keyCompromise);
        builder.addExtension(Extension.authorityKeyIdentifier, false, new JcaX509ExtensionUtils().createAuthorityKeyIdentifier(ca));
        return builder;
    }

    static KeyPair pair(String algorithm, String size) throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance(algorithm, "BC");
        if (!size.isEmpty()) {
            generator.initialize(Integer.parseInt(size));
        }
        return generator.generateKeyPair();
    }

    static ContentSigner signer(String algorithm, PrivateKey key) throws Exception {
        return new JcaContentSignerBuilder(algorithm).setProvider("BC").build(key);
    }

    static X500Name named(String algorithm, String what) {
        return new X500Name("O=Bouncy Castle,CN=" + algorithm + " " + what);
    }

    static BigInteger serial() {
        return new BigInteger(119, new java.security.SecureRandom()).setBit(120);
    }

    static X509CertificateHolder write(String name, byte[] der) throws Exception {
        Files.write(folder.resolve(name + ".der"), der);
        return new X509CertificateHolder(der);
    }
}
