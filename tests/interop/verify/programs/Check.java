import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.NoSuchAlgorithmException;
import java.security.Security;
import java.security.cert.CRL;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.RelatedCertificate;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cert.RelatedCertificateTool;
import org.bouncycastle.cert.X509CRLHolder;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.ContentVerifierProvider;
import org.bouncycastle.operator.OperatorCreationException;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;

/**
 * Checks with Bouncy Castle. Reads jobs from stdin, one per line, the fields separated by tabs (no JSON parser is at hand):
 * id, kind, file, issuer, root, other, chain, CRLs; the last two are paths separated by `|`. Writes id, result and reason, likewise.
 */
public class Check {
    public static void main(String[] arguments) throws Exception {
        BouncyCastleProvider provider = new BouncyCastleProvider();
        if (arguments.length == 1 && arguments[0].equals("--version")) {
            System.out.println(provider.getVersionStr());
            return;
        }
        Security.addProvider(provider);
        for (String line : new String(System.in.readAllBytes(), StandardCharsets.UTF_8).split("\n")) {
            if (line.isBlank()) {
                continue;
            }
            String[] job = line.split("\t", -1);
            String result;
            String why = "";
            try {
                result = check(job) ? "ok" : "refused";
            } catch (NoCall error) {
                result = "cannot";
                why = "there is no call for that";
            } catch (Exception error) {
                result = unknown(error) ? "cannot" : "refused";
                why = reasons(error);
            }
            System.out.println(job[0] + "\t" + result + "\t" + why.replaceAll("\\s+", " "));
        }
    }

    static class NoCall extends Exception {}

    static boolean check(String[] job) throws Exception {
        byte[] der = Files.readAllBytes(Path.of(job[2]));
        switch (job[1]) {
            case "certificate":
                X509CertificateHolder one = new X509CertificateHolder(der);
                return one.getIssuer().equals(holder(job[3]).getSubject()) && one.isSignatureValid(by(holder(job[3])));
            case "self-signed":
                X509CertificateHolder self = new X509CertificateHolder(der);
                return self.isSignatureValid(by(self));
            case "alternative-certificate":
                return new X509CertificateHolder(der).isAlternativeSignatureValid(byAlternative(holder(job[3])));
            case "crl":
                X509CRLHolder crl = new X509CRLHolder(der);
                return crl.getIssuer().equals(holder(job[3]).getSubject()) && crl.isSignatureValid(by(holder(job[3])));
            case "alternative-crl":
                return new X509CRLHolder(der).isAlternativeSignatureValid(byAlternative(holder(job[3])));
            case "csr":
                PKCS10CertificationRequest request = new PKCS10CertificationRequest(der);
                return request.isSignatureValid(by(request.getSubjectPublicKeyInfo()));
            case "related":
                Extension extension = new X509CertificateHolder(der).getExtension(Extension.relatedCertificate);
                return extension != null && RelatedCertificateTool.isRelatedCertificate(
                    RelatedCertificate.getInstance(extension.getParsedValue()), holder(job[5]), new JcaDigestCalculatorProviderBuilder().build());
            case "chain":
                chain(job);
                return true;
            default:
                throw new NoCall();
        }
    }

    /** Path validation; where CRLs are given, nothing may be revoked and every one of them has to verify. */
    static void chain(String[] job) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509", "BC");
        List<X509Certificate> path = new ArrayList<>();
        path.add(certificate(factory, job[2]));
        for (String file : paths(job[6])) {
            path.add(certificate(factory, file));
        }
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(certificate(factory, job[4]), null)));
        List<CRL> crls = new ArrayList<>();
        for (String file : paths(job[7])) {
            crls.add(factory.generateCRL(new ByteArrayInputStream(Files.readAllBytes(Path.of(file)))));
        }
        parameters.setRevocationEnabled(!crls.isEmpty());
        parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(crls), "BC"));
        CertPathValidator.getInstance("PKIX", "BC").validate(factory.generateCertPath(path), parameters);
    }

    static X509Certificate certificate(CertificateFactory factory, String file) throws Exception {
        return (X509Certificate) factory.generateCertificate(new ByteArrayInputStream(Files.readAllBytes(Path.of(file))));
    }

    static X509CertificateHolder holder(String file) throws Exception {
        return new X509CertificateHolder(Files.readAllBytes(Path.of(file)));
    }

    static ContentVerifierProvider by(X509CertificateHolder issuer) throws Exception {
        return by(issuer.getSubjectPublicKeyInfo());
    }

    static ContentVerifierProvider by(SubjectPublicKeyInfo key) throws Exception {
        return new JcaContentVerifierProviderBuilder().setProvider("BC").build(key);
    }

    /** The key that the issuer's certificate carries as its alternative one. */
    static ContentVerifierProvider byAlternative(X509CertificateHolder issuer) throws Exception {
        Extension extension = issuer.getExtension(Extension.subjectAltPublicKeyInfo);
        if (extension == null) {
            throw new IllegalArgumentException("the issuer has no alternative key");
        }
        return by(SubjectPublicKeyInfo.getInstance(extension.getParsedValue()));
    }

    static List<String> paths(String field) {
        return field.isEmpty() ? List.of() : List.of(field.split("\\|"));
    }

    /** Whether the library said that it does not know the algorithm, anywhere down the causes. */
    static boolean unknown(Throwable error) {
        for (Throwable one = error; one != null; one = one.getCause()) {
            String text = String.valueOf(one.getMessage());
            boolean operator = one instanceof OperatorCreationException && one.getCause() == null;
            if (operator || one instanceof NoSuchAlgorithmException || text.contains("not recognised") || text.contains("unrecognised")) {
                return true;
            }
        }
        return false;
    }

    static String reasons(Throwable error) {
        StringBuilder text = new StringBuilder();
        for (Throwable one = error; one != null && text.length() < 250; one = one.getCause()) {
            text.append(text.length() == 0 ? "" : ": ").append(one instanceof CertPathValidatorException ? "" : one.getClass().getSimpleName() + " ")
                .append(one.getMessage());
        }
        return text.toString();
    }
}
