#!/bin/sh
# Makes the certificates, requests, CRLs and CMS messages in x509/ and cms/ that the openssl command can make (OpenSSL 3.0 or later).
# Run it in this folder. Keys are fresh each time and are not kept: nothing in the tests needs them, but for those named below.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p x509 cms

cat > "$work/openssl.cnf" <<'CNF'
[req]
distinguished_name = dn
prompt = no
string_mask = utf8only
[dn]
O = Example
CN = Test
[ca]
default_ca = test
[test]
database = $ENV::WORK/index.txt
crlnumber = $ENV::WORK/crlnumber
default_md = sha256
default_crl_days = 36500
[crl_ext]
authorityKeyIdentifier = keyid:always
[v3_ca]
basicConstraints = critical,CA:TRUE,pathlen:1
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[v3_leaf]
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = clientAuth,1.3.6.1.5.5.7.3.17
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = @leaf_names
crlDistributionPoints = URI:http://crl.example.net/ca.crl
[v3_odd]
authorityKeyIdentifier = critical,keyid
keyUsage = critical,digitalSignature
1.2.3.4.5 = critical,ASN1:UTF8String:unknown
[leaf_names]
DNS = r1.example.net
IP.1 = 192.0.2.1
IP.2 = 2001:db8::1
URI = "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1104"
email = r1@example.net
dirName = dn
otherName = 1.2.3.4;UTF8:other
[request_names]
DNS = r1.example.net
URI = "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1-2-3-1104"
[req_ext]
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = clientAuth
subjectAltName = @request_names
CNF
export WORK="$work" OPENSSL_CONF="$work/openssl.cnf"
key() { openssl genpkey -quiet "$@" 2>/dev/null || openssl genpkey "$@" 2>/dev/null; }
key -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$work/rsa.key"
key -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/p256.key"
key -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out "$work/p384.key"
key -algorithm ED25519 -out "$work/ed25519.key"

# Certificates
openssl req -x509 -new -key "$work/p256.key" -subj "/O=Example/CN=Test CA" -days 36500 -extensions v3_ca -out "$work/ca.pem"
openssl x509 -in "$work/ca.pem" -outform DER -out x509/ca-p256.der
issue() { # key, subject, extensions, name, more
    k=$1 s=$2 e=$3 n=$4
    shift 4
    openssl req -new -key "$work/$k.key" -utf8 -subj "$s" -out "$work/r.csr"
    openssl x509 -req -in "$work/r.csr" -CA "$work/ca.pem" -CAkey "$work/p256.key" -days 36500 -extfile "$work/openssl.cnf" \
        -extensions "$e" -outform DER -out "x509/$n.der" "$@"
}
issue rsa "/C=DE/O=Example, Inc./OU=Räume+OU=Ost/serialNumber=FTX1234/CN=r1.example.net" v3_leaf leaf-rsa -set_serial 0x0a
issue p384 "/DC=net/DC=example/UID=r2/CN=r2/unstructuredName=r2.example.net" v3_leaf leaf-p384 -set_serial 0x7fffffffffffffffffffffffffffffffffffffff
issue ed25519 "/CN=long serial" v3_odd odd-long-serial -set_serial 0x00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
issue rsa "/CN=negative serial" v3_odd odd-negative-serial -set_serial -5
openssl req -new -key "$work/rsa.key" -subj "/CN=certmonger" -out "$work/r.csr"
openssl x509 -req -in "$work/r.csr" -signkey "$work/rsa.key" -days 36500 -outform DER -out x509/v1.der
openssl req -x509 -new -key "$work/rsa.key" -subj "/CN=pss" -days 36500 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest \
    -sha384 -outform DER -out x509/self-signed-pss.der
openssl req -x509 -new -key "$work/rsa.key" -subj "/CN=sha1" -days 36500 -sha1 -outform DER -out x509/self-signed-sha1.der

# Certification requests
for k in rsa p256 p384 ed25519; do
    openssl req -new -key "$work/$k.key" -subj "/O=Example/CN=r1.example.net" -reqexts req_ext -outform DER -out "x509/csr-$k.der"
done
openssl req -new -key "$work/rsa.key" -subj "/CN=pss" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest -sha256 \
    -outform DER -out x509/csr-pss.der
for t in nombstr utf8only pkix; do
    sed -e "s/^string_mask.*/string_mask = $t/" -e "s/^\[dn\]/attributes = attr\n[attr]\nchallengePassword = Pa_\&\n[dn]/" \
        "$work/openssl.cnf" > "$work/challenge.cnf"
    openssl req -new -config "$work/challenge.cnf" -key "$work/rsa.key" -outform DER -out "x509/csr-challenge-$t.der"
done

# CRLs
: > "$work/index.txt"
echo 1000 > "$work/crlnumber"
printf 'R\t491231235959Z\t240102030405Z,keyCompromise\t0A\tunknown\t/CN=a\nR\t491231235959Z\t240102030405Z\t7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\tunknown\t/CN=b\n' > "$work/index.txt"
openssl ca -config "$work/openssl.cnf" -gencrl -crlexts crl_ext -cert "$work/ca.pem" -keyfile "$work/p256.key" -out "$work/crl.pem" 2>/dev/null
openssl crl -in "$work/crl.pem" -outform DER -out x509/crl.der
: > "$work/index.txt"
grep -v ^crlnumber "$work/openssl.cnf" > "$work/v1.cnf"
openssl ca -config "$work/v1.cnf" -gencrl -cert "$work/ca.pem" -keyfile "$work/p256.key" -out "$work/crl.pem" 2>/dev/null
openssl crl -in "$work/crl.pem" -outform DER -out x509/crl-v1-empty.der

# CMS, in DER and (-stream) in BER with indefinite lengths and the content in pieces
openssl req -x509 -new -key "$work/rsa.key" -subj "/CN=RA" -days 36500 -out "$work/ra.pem"
head -c 9000 /dev/zero | tr '\0' 'x' > "$work/content"
cp "$work/content" cms/content.txt
for form in der ber; do
    stream=; [ $form = ber ] && stream=-stream
    openssl cms -encrypt -binary $stream -aes128 -in "$work/content" -outform DER -out cms/enveloped-$form.der "$work/ra.pem"
    openssl cms -sign -binary $stream -nodetach -md sha256 -in "$work/content" -signer "$work/ra.pem" -inkey "$work/rsa.key" \
        -outform DER -out cms/signed-$form.der
done
openssl cms -encrypt -binary -aes256 -pwri_password secret -in "$work/content" -outform DER -out cms/enveloped-password.der
