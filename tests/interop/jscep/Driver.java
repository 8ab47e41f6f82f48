import java.io.StringWriter;
import java.math.BigInteger;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;

import javax.security.auth.x500.X500Principal;

import org.bouncycastle.asn1.DERPrintableString;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.openssl.jcajce.JcaPEMWriter;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;
import org.jscep.client.Client;
import org.jscep.client.EnrollmentResponse;
import org.jscep.client.verification.OptimisticCertificateVerifier;
import org.jscep.transport.TransportFactory;
import org.jscep.transport.UrlConnectionTransportFactory;

/**
 * Drives jscep: ACTION URL FOLDER [get] ...
 *
 * <pre>
 * enroll URL FOLDER METHOD CN CHALLENGE   makes cert.pem and key.pem; polls while the answer is PENDING
 * renew  URL FOLDER METHOD CN             signs with cert.pem and key.pem, writes both anew
 * get    URL FOLDER METHOD                asks for the certificate of cert.pem again (GetCert), writes again.pem
 * crl    URL FOLDER METHOD                asks for the CRL of cert.pem (GetCRL), writes crl.der
 * next   URL FOLDER METHOD                asks for the next certificates (GetNextCACert), writes next-0.pem, next-1.pem, ...
 * </pre>
 *
 * METHOD is `GET`, or `auto` for what GetCACaps says. Exit status 0 for SUCCESS, 4 for FAILURE (failInfo on stdout), 5 for PENDING to the end.
 */
public class Driver {
    public static void main(String[] arguments) throws Exception {
        String action = arguments[0];
        Path folder = Path.of(arguments[2]);
        Client client = new Client(new URL(arguments[1]), new OptimisticCertificateVerifier());
        if (arguments[3].equals("GET")) {
            TransportFactory plain = new UrlConnectionTransportFactory();
            client.setTransportFactory((method, url) -> plain.forMethod(TransportFactory.Method.GET, url));
        }
        if (action.equals("enroll") || action.equals("renew")) {
            KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
            generator.initialize(2048);
            KeyPair pair = generator.generateKeyPair();
            X500Principal subject = new X500Principal("CN=" + arguments[4] + ",O=Interop");
            boolean first = action.equals("enroll");
            X509Certificate signer = first ? selfSigned(subject, pair) : certificate(folder.resolve("cert.pem"));
            PrivateKey signerKey = first ? pair.getPrivate() : key(folder.resolve("key.der"));
            EnrollmentResponse answer = client.enrol(signer, signerKey, request(subject, pair, first ? arguments[5] : null));
            for (int polls = 0; answer.isPending() && polls < 20; polls++) {
                System.out.println("PENDING " + answer.getTransactionId());
                Thread.sleep(1500);
                answer = client.poll(signer, signerKey, subject, answer.getTransactionId());
            }
            if (answer.isFailure()) {
                System.out.println("FAILURE " + answer.getFailInfo());
                System.exit(4);
            }
            if (answer.isPending()) {
                System.exit(5);
            }
            write(folder.resolve("cert.pem"), leaf(answer.getCertStore()));
            write(folder.resolve("key.pem"), pair.getPrivate());
            Files.write(folder.resolve("key.der"), pair.getPrivate().getEncoded());
        } else if (action.equals("next")) {
            int count = 0;
            for (var certificate : client.getRolloverCertificate().getCertificates(null)) {
                write(folder.resolve("next-" + count++ + ".pem"), certificate);
            }
        } else {
            X509Certificate own = certificate(folder.resolve("cert.pem"));
            PrivateKey key = key(folder.resolve("key.der"));
            if (action.equals("get")) {
                write(folder.resolve("again.pem"), leaf(client.getCertificate(own, key, own.getSerialNumber())));
            } else if (action.equals("crl")) {
                byte[] crl = client.getRevocationList(own, key, own.getIssuerX500Principal(), own.getSerialNumber()).getEncoded();
                Files.write(folder.resolve("crl.der"), crl);
            } else {
                throw new IllegalArgumentException(action);
            }
        }
    }

    static X509Certificate selfSigned(X500Principal name, KeyPair pair) throws Exception {
        long now = System.currentTimeMillis();
        JcaX509v3CertificateBuilder builder = new JcaX509v3CertificateBuilder(
            name, BigInteger.valueOf(now), new Date(now - 60_000), new Date(now + 86_400_000), name, pair.getPublic());
        return new JcaX509CertificateConverter().getCertificate(builder.build(signer(pair)));
    }

    static PKCS10CertificationRequest request(X500Principal name, KeyPair pair, String challenge) throws Exception {
        JcaPKCS10CertificationRequestBuilder builder = new JcaPKCS10CertificationRequestBuilder(name, pair.getPublic());
        if (challenge != null) {
            builder.addAttribute(PKCSObjectIdentifiers.pkcs_9_at_challengePassword, new DERPrintableString(challenge));
        }
        return builder.build(signer(pair));
    }

    static ContentSigner signer(KeyPair pair) throws Exception {
        return new JcaContentSignerBuilder("SHA256withRSA").build(pair.getPrivate());
    }

    static X509Certificate leaf(CertStore store) throws Exception {
        List<X509Certificate> leaves = new ArrayList<>();
        for (var certificate : store.getCertificates(null)) {
            if (((X509Certificate) certificate).getBasicConstraints() < 0) {
                leaves.add((X509Certificate) certificate);
            }
        }
        if (leaves.size() != 1) {
            throw new IllegalStateException(leaves.size() + " leaf certificates came");
        }
        return leaves.get(0);
    }

    static X509Certificate certificate(Path file) throws Exception {
        try (var in = Files.newInputStream(file)) {
            return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(in);
        }
    }

    static PrivateKey key(Path file) throws Exception {
        return java.security.KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(Files.readAllBytes(file)));
    }

    static void write(Path file, Object what) throws Exception {
        StringWriter text = new StringWriter();
        try (JcaPEMWriter writer = new JcaPEMWriter(text)) {
            writer.writeObject(what);
        }
        Files.writeString(file, text.toString());
    }
}
