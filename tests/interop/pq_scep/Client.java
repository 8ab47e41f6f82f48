// A SCEP client of Bouncy Castle's parts, and none of ours: signed by ML-DSA (RFC 9882), encapsulated to ML-KEM (RFC 9936), the reply
// opened with an ML-KEM reply key or a password. It shares no line with Ravelin; docs/src/pq-scep.md is what it was written from.
//
//     java -cp JARS Client.java URL CHALLENGE NAME SIGNATURE-ALGORITHM kem|password|DAMAGE
//
// Prints one line: `issued SERIAL`, or `failure FAILINFO TEXT`. Anything else is an exception.

import java.io.ByteArrayOutputStream;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.Security;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HexFormat;
import java.util.List;
import org.bouncycastle.asn1.ASN1EncodableVector;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.ASN1String;
import org.bouncycastle.asn1.DEROctetString;
import org.bouncycastle.asn1.DERPrintableString;
import org.bouncycastle.asn1.DERSet;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.cms.IssuerAndSerialNumber;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.smime.SMIMEEncryptionKeyPreferenceAttribute;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.KeyUsage;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.cms.CMSAlgorithm;
import org.bouncycastle.cms.CMSEnvelopedData;
import org.bouncycastle.cms.CMSEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.DefaultSignedAttributeTableGenerator;
import org.bouncycastle.cms.KEMRecipientInformation;
import org.bouncycastle.cms.PasswordRecipient;
import org.bouncycastle.cms.PasswordRecipientInformation;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.cms.jcajce.JceCMSContentEncryptorBuilder;
import org.bouncycastle.cms.jcajce.JceKEMEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKEMRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JcePasswordEnvelopedRecipient;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;

public class Client {
    static final SecureRandom RANDOM = new SecureRandom();
    static final HttpClient HTTP = HttpClient.newHttpClient();
    static final String ARC = "2.16.840.1.113733.1.9.";

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        String url = arguments[0], challenge = arguments[1], mode = arguments[4];
        X500Name name = new X500Name("CN=" + arguments[2]);
        String algorithm = arguments[3];

        // The bag of GetCACert: who signs, whom to encapsulate to, and the CA.
        CMSSignedData bag = new CMSSignedData(fetch(url + "?operation=GetCACert"));
        X509CertificateHolder ra = null, recipient = null, ca = null;
        for (X509CertificateHolder one : bag.getCertificates().getMatches(null)) {
            KeyUsage usage = KeyUsage.fromExtensions(one.getExtensions());
            if (usage.hasUsages(KeyUsage.keyCertSign)) ca = one;
            else if (usage.hasUsages(KeyUsage.keyEncipherment)) recipient = one;
            else ra = one;
        }
        for (X509CertificateHolder leaf : List.of(ra, recipient)) {
            check(leaf.isSignatureValid(verifier(ca)), "the CA signed the RA's certificates");
        }
        check(KeyUsage.fromExtensions(recipient.getExtensions()).getBytes()[0] == (byte) KeyUsage.keyEncipherment, "keyEncipherment alone");

        KeyPair device = KeyPairGenerator.getInstance(algorithm, "BC").generateKeyPair();
        KeyPair reply = KeyPairGenerator.getInstance("ML-KEM-768", "BC").generateKeyPair();
        X509Certificate own = certificate(name, device, device, algorithm, KeyUsage.digitalSignature);
        X509Certificate named = certificate(name, reply, device, algorithm, KeyUsage.keyEncipherment);

        byte[] csr = new JcaPKCS10CertificationRequestBuilder(name, device.getPublic())
            .addAttribute(PKCSObjectIdentifiers.pkcs_9_at_challengePassword, new DERPrintableString(challenge))
            .build(signer(algorithm, device.getPrivate()))
            .getEncoded();
        CMSEnvelopedDataGenerator envelope = new CMSEnvelopedDataGenerator();
        JceKEMRecipientInfoGenerator encapsulate =
            new JceKEMRecipientInfoGenerator(new JcaX509CertificateConverter().getCertificate(recipient), CMSAlgorithm.AES256_WRAP);
        encapsulate.setKDF(new AlgorithmIdentifier(PKCSObjectIdentifiers.id_alg_hkdf_with_sha256)).setProvider("BC");
        envelope.addRecipientInfoGenerator(encapsulate);
        byte[] sealed = envelope
            .generate(new CMSProcessableByteArray(csr), new JceCMSContentEncryptorBuilder(CMSAlgorithm.AES256_CBC).setProvider("BC").build())
            .toASN1Structure().getEncoded("DER");
        if (mode.equals("damage")) {
            sealed[sealed.length - 200] ^= 1;
        }

        byte[] nonce = new byte[16];
        RANDOM.nextBytes(nonce);
        String transaction = HexFormat.of().formatHex(Arrays.copyOf(nonce, 8)) + arguments[2];
        ASN1EncodableVector attributes = new ASN1EncodableVector();
        attributes.add(attribute("2", new DERPrintableString("19")));
        attributes.add(attribute("5", new DEROctetString(nonce)));
        attributes.add(attribute("7", new DERPrintableString(transaction)));
        List<X509Certificate> along = new ArrayList<>(List.of(own));
        if (!mode.equals("password")) {
            attributes.add(new SMIMEEncryptionKeyPreferenceAttribute(new IssuerAndSerialNumber(name, named.getSerialNumber())));
            along.add(named);
        }
        CMSSignedDataGenerator message = new CMSSignedDataGenerator();
        message.addSignerInfoGenerator(
            new JcaSignerInfoGeneratorBuilder(new JcaDigestCalculatorProviderBuilder().setProvider("BC").build())
                .setSignedAttributeGenerator(new DefaultSignedAttributeTableGenerator(new AttributeTable(attributes)))
                .build(signer(algorithm, device.getPrivate()), own));
        message.addCertificates(new JcaCertStore(along));
        byte[] request = message.generate(new CMSProcessableByteArray(sealed), true).getEncoded();

        CMSSignedData answer = new CMSSignedData(post(url + "?operation=PKIOperation", request));
        SignerInformation by = answer.getSignerInfos().getSigners().iterator().next();
        check(by.getSID().match(ra), "the RA signed the answer");
        check(by.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(ra)), "the RA's signature holds");
        check(by.getDigestAlgOID().equals("2.16.840.1.101.3.4.2.3"), "with SHA-512");
        AttributeTable signed = by.getSignedAttributes();
        check(text(signed, "7").equals(transaction), "the transaction is ours");
        check(Arrays.equals(((ASN1OctetString) value(signed, "6")).getOctets(), nonce), "the nonce is ours");
        if (!text(signed, "3").equals("0")) {
            Attribute why = signed.get(new ASN1ObjectIdentifier("1.3.6.1.5.5.7.24.1"));
            System.out.println("failure " + text(signed, "4") + " " + ((ASN1String) why.getAttrValues().getObjectAt(0)).getString());
            return;
        }

        ByteArrayOutputStream content = new ByteArrayOutputStream();
        answer.getSignedContent().write(content);
        RecipientInformation info = new CMSEnvelopedData(content.toByteArray()).getRecipientInfos().getRecipients().iterator().next();
        byte[] opened;
        if (mode.equals("password")) {
            check(info instanceof PasswordRecipientInformation, "a PasswordRecipientInfo");
            opened = info.getContent(
                new JcePasswordEnvelopedRecipient(challenge.toCharArray())
                    .setPasswordConversionScheme(PasswordRecipient.PKCS5_SCHEME2_UTF8)
                    .setProvider("BC"));
        } else {
            check(info instanceof KEMRecipientInformation, "a KEMRecipientInfo");
            check(info.getRID().match(new X509CertificateHolder(named.getEncoded())), "for the certificate that was named");
            opened = info.getContent(new JceKEMEnvelopedRecipient(reply.getPrivate()).setProvider("BC"));
        }
        X509CertificateHolder issued = new CMSSignedData(opened).getCertificates().getMatches(null).iterator().next();
        check(Arrays.equals(issued.getSubjectPublicKeyInfo().getEncoded(), device.getPublic().getEncoded()), "it is for our key");
        check(issued.isSignatureValid(verifier(ca)), "the CA signed it");
        System.out.println("issued " + issued.getSerialNumber().toString(16));
    }

    static org.bouncycastle.operator.ContentSigner signer(String algorithm, PrivateKey key) throws Exception {
        return new JcaContentSignerBuilder(algorithm).setProvider("BC").build(key);
    }

    static org.bouncycastle.operator.ContentVerifierProvider verifier(X509CertificateHolder by) throws Exception {
        return new JcaContentVerifierProviderBuilder().setProvider("BC").build(by);
    }

    static X509Certificate certificate(X500Name name, KeyPair of, KeyPair by, String algorithm, int usage) throws Exception {
        long now = System.currentTimeMillis(), hour = 3_600_000;
        JcaX509v3CertificateBuilder builder = new JcaX509v3CertificateBuilder(
            name, new BigInteger(120, RANDOM), new Date(now - hour), new Date(now + hour), name, of.getPublic());
        builder.addExtension(Extension.keyUsage, true, new KeyUsage(usage));
        return new JcaX509CertificateConverter().getCertificate(builder.build(signer(algorithm, by.getPrivate())));
    }

    static Attribute attribute(String number, ASN1Encodable value) {
        return new Attribute(new ASN1ObjectIdentifier(ARC + number), new DERSet(value));
    }

    static ASN1Encodable value(AttributeTable table, String number) {
        return table.get(new ASN1ObjectIdentifier(ARC + number)).getAttrValues().getObjectAt(0);
    }

    static String text(AttributeTable table, String number) {
        return ((ASN1String) value(table, number)).getString();
    }

    static byte[] fetch(String url) throws Exception {
        return answer(HttpRequest.newBuilder(URI.create(url)).build());
    }

    static byte[] post(String url, byte[] body) throws Exception {
        return answer(HttpRequest.newBuilder(URI.create(url))
            .header("Content-Type", "application/x-pki-message")
            .POST(HttpRequest.BodyPublishers.ofByteArray(body))
            .build());
    }

    static byte[] answer(HttpRequest request) throws Exception {
        HttpResponse<byte[]> response = HTTP.send(request, HttpResponse.BodyHandlers.ofByteArray());
        check(response.statusCode() == 200, "HTTP status 200, not " + response.statusCode());
        return response.body();
    }

    static void check(boolean holds, String what) {
        if (!holds) throw new IllegalStateException("not so: " + what);
    }
}
