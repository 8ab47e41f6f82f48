import com.siemens.pki.cmpracomponent.configuration.*;
import com.siemens.pki.cmpracomponent.main.CmpRaComponent;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayInputStream;
import java.math.BigInteger;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Date;
import java.util.List;
import java.util.concurrent.Executors;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.Extensions;
import org.bouncycastle.cert.X509v3CertificateBuilder;
import org.bouncycastle.cert.jcajce.JcaX509ExtensionUtils;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;

/**
 * Siemens' RA component between a CMP client and a CMP CA. It checks every message against the Lightweight CMP Profile (RFC 9483), and gives
 * it on under a protection of its own.
 *
 * <pre>CmpRa PORT DIR CA-URL</pre>
 *
 * What is asked under /secret is answered under the shared secret, what is asked under /signature under a signature. DIR holds root.pem, ca.pem, cmp.pem and cmp.key (P-256; they protect what it answers) and secret, by which it speaks to the CA.
 */
public final class CmpRa {
    private static byte[] secret;
    private static List<X509Certificate> trusted, chain;
    private static X509Certificate issuing;
    private static PrivateKey key, issuingKey;

    public static void main(String[] words) throws Exception {
        Path folder = Path.of(words[1]);
        secret = Files.readString(folder.resolve("secret")).strip().getBytes();
        trusted = certificates(folder.resolve("root.pem"));
        chain = new ArrayList<>(certificates(folder.resolve("cmp.pem")));
        chain.addAll(certificates(folder.resolve("ca.pem")));
        issuing = chain.get(1);
        key = key(folder.resolve("cmp.key"));
        issuingKey = key(folder.resolve("ca.key"));

        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(words[0])), 64);
        server.setExecutor(Executors.newFixedThreadPool(8));
        URI ca = URI.create(words[2]);
        CredentialContext signature = new SignatureCredentialContext() {
            @Override public List<X509Certificate> getCertificateChain() { return chain; }
            @Override public PrivateKey getPrivateKey() { return key; }
        };
        serve(server, "/secret", passing(ca, (Shared) () -> secret));
        serve(server, "/signature", passing(ca, signature));
        serve(server, "/own/secret", signing((Shared) () -> secret));
        serve(server, "/own/signature", signing(signature));
        server.start();
        System.out.println("listening " + words[0]);
    }

    private interface Answer {
        byte[] to(byte[] request) throws Exception;
    }

    /** An RA that gives on what it is asked. */
    private static Answer passing(URI ca, CredentialContext own) throws Exception {
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        return CmpRaComponent.instantiateCmpRaComponent(new Settings(own), (request, profile, type) -> {
            HttpRequest post = HttpRequest.newBuilder(ca).header("Content-Type", "application/pkixcmp")
                .POST(HttpRequest.BodyPublishers.ofByteArray(request)).build();
            return client.send(post, HttpResponse.BodyHandlers.ofByteArray()).body();
        })::processRequest;
    }

    /** An RA that has only PKCS#10 requests to give on, to a CA that is a few lines of Bouncy Castle. */
    private static Answer signing(CredentialContext own) throws Exception {
        return CmpRaComponent.instantiateP10X509CmpRaComponent(new Settings(own), (request, profile) -> {
            try {
                PKCS10CertificationRequest asked = new PKCS10CertificationRequest(request);
                X500Name issuer = X500Name.getInstance(issuing.getSubjectX500Principal().getEncoded());
                Date now = new Date(System.currentTimeMillis() - 60_000), then = new Date(now.getTime() + 90L * 86_400_000);
                BigInteger serial = new BigInteger(120, new SecureRandom()).setBit(119);
                X509v3CertificateBuilder made =
                    new X509v3CertificateBuilder(issuer, serial, now, then, asked.getSubject(), asked.getSubjectPublicKeyInfo());
                Extensions wanted = asked.getRequestedExtensions();
                for (ASN1ObjectIdentifier one : wanted == null ? new ASN1ObjectIdentifier[0] : wanted.getExtensionOIDs()) {
                    made.addExtension(wanted.getExtension(one));
                }
                JcaX509ExtensionUtils identifiers = new JcaX509ExtensionUtils();
                made.addExtension(Extension.authorityKeyIdentifier, false, identifiers.createAuthorityKeyIdentifier(issuing));
                made.addExtension(Extension.subjectKeyIdentifier, false, identifiers.createSubjectKeyIdentifier(asked.getSubjectPublicKeyInfo()));
                byte[] certificate = made.build(new JcaContentSignerBuilder("SHA256withECDSA").build(issuingKey)).getEncoded();
                System.out.println("issued " + serial.toString(16) + " " + asked.getSubject());
                return certificate;
            } catch (Exception failure) {
                throw new IllegalStateException(failure);
            }
        })::apply;
    }

    private static void serve(HttpServer server, String path, Answer ra) {
        server.createContext(path, exchange -> {
            byte[] answer;
            int status = 200;
            try {
                answer = ra.to(exchange.getRequestBody().readAllBytes());
            } catch (Exception failure) {
                answer = String.valueOf(failure).getBytes();
                status = 500;
            }
            System.out.println(exchange.getRequestMethod() + " " + exchange.getRequestURI() + " " + status);
            exchange.getResponseHeaders().set("Content-Type", status == 200 ? "application/pkixcmp" : "text/plain");
            exchange.sendResponseHeaders(status, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
    }

    private static PrivateKey key(Path file) throws Exception {
        String pem = Files.readString(file).replaceAll("-----[A-Z ]+-----|\\s", "");
        return KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
    }

    private static List<X509Certificate> certificates(Path file) throws Exception {
        Collection<?> all = CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(Files.readAllBytes(file)));
        List<X509Certificate> list = new ArrayList<>();
        all.forEach(one -> list.add((X509Certificate) one));
        return list;
    }

    /** Whom it believes: the shared secret, or a certificate under the root. */
    private static final class Trust implements VerificationContext {
        @Override public byte[] getSharedSecret(byte[] sender) { return secret; }
        @Override public Collection<X509Certificate> getTrustedCertificates() { return trusted; }
        @Override public Collection<X509Certificate> getAdditionalCerts() { return chain; }
    }

    /** The password-based MAC of RFC 9810; by itself the component would take PBMAC1, which OpenSSL does not know. */
    private interface Shared extends SharedSecretCredentialContext {
        @Override default String getPasswordBasedMacAlgorithm() { return "1.2.840.113533.7.66.13"; }
        @Override default byte[] getSenderKID() { return "ravelin".getBytes(); }
    }

    private static final class Side implements CmpMessageInterface {
        private final CredentialContext own;

        Side(CredentialContext own) { this.own = own; }

        @Override public VerificationContext getInputVerification() { return new Trust(); }
        @Override public NestedEndpointContext getNestedEndpointContext() { return null; }
        @Override public CredentialContext getOutputCredentials() { return own; }
        @Override public ReprotectMode getReprotectMode() { return ReprotectMode.reprotect; }
        @Override public boolean getSuppressRedundantExtraCerts() { return false; }
        @Override public boolean isCacheExtraCerts() { return false; }
        @Override public boolean isMessageTimeDeviationAllowed(long seconds) { return Math.abs(seconds) < 300; }
    }

    private static final class Settings implements Configuration {
        private final CredentialContext own;

        Settings(CredentialContext own) { this.own = own; }

        @Override public CkgContext getCkgConfiguration(String profile, int type) { return null; }
        @Override public CmpMessageInterface getDownstreamConfiguration(String profile, int type) {
            return new Side(own);
        }
        @Override public int getDownstreamTimeout(String profile, int type) { return 10; }
        @Override public VerificationContext getEnrollmentTrust(String profile, int type) { return new Trust(); }
        @Override public boolean getForceRaVerifyOnUpstream(String profile, int type) { return false; }
        @Override public InventoryInterface getInventory(String profile, int type) { return null; }
        @Override public int getRetryAfterTimeInSeconds(String profile, int type) { return 1; }
        @Override public SupportMessageHandlerInterface getSupportMessageHandler(String profile, String type) { return null; }
        @Override public CmpMessageInterface getUpstreamConfiguration(String profile, int type) {
            return new Side((Shared) () -> secret);
        }
        @Override public boolean isRaVerifiedAcceptable(String profile, int type) { return true; }
    }
}
