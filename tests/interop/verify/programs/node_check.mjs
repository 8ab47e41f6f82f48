// Checks with Node's own X509Certificate and TLS: a JSON list of jobs on stdin, one JSON line for each on stdout. See README.md.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';

const certificate = (path) => new X509Certificate(readFileSync(path));
const pem = (path) => certificate(path).toString();
const crlPem = (path) =>
  `-----BEGIN X509 CRL-----\n${readFileSync(path).toString('base64').replace(/(.{64})/g, '$1\n').trimEnd()}\n-----END X509 CRL-----\n`;

function checkCertificate(job) {
  const one = certificate(job.file);
  const issuer = certificate(job.issuer);
  if (!one.verify(issuer.publicKey)) return ['refused', 'verify says no'];
  return one.checkIssued(issuer) ? ['ok', ''] : ['refused', 'checkIssued says no'];
}

function checkSelfSigned(job) {
  const one = certificate(job.file);
  return one.verify(one.publicKey) ? ['ok', ''] : ['refused', 'verify says no'];
}

// A TLS 1.3 handshake on loopback in which the device's certificate is the client's; with CRLs, the whole chain is checked against them.
function checkHandshake(job) {
  if (!job.key) return ['cannot', 'the key of this certificate is not here'];
  const key = readFileSync(job.key);
  const cert = pem(job.file) + job.chain.map(pem).join('');
  const ca = pem(job.root);
  const crl = (job.crls ?? []).map(crlPem);
  return new Promise((resolve) => {
    const server = tls.createServer({ key, cert, ca, crl, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
    const done = (...answer) => {
      server.close();
      resolve(answer);
    };
    server.on('secureConnection', (socket) => {
      const answer = socket.authorized ? ['ok', ''] : ['refused', String(socket.authorizationError)];
      socket.destroy();
      done(...answer);
    });
    server.on('tlsClientError', (error) => done('refused', error.code ?? error.message));
    server.listen(0, '127.0.0.1', () => {
      const socket = tls.connect({ port: server.address().port, host: '127.0.0.1', key, cert, rejectUnauthorized: false });
      socket.on('error', () => {});
    });
  });
}

const CHECKS = { certificate: checkCertificate, 'self-signed': checkSelfSigned, handshake: checkHandshake };
// What the library says of a key or signature of a kind that it does not know.
const UNKNOWN = ['ERR_OSSL_EVP_DECODE_ERROR', 'ERR_OSSL_EVP_UNSUPPORTED', 'ERR_OSSL_X509_UNSUPPORTED_ALGORITHM', 'ERR_OSSL_UNSUPPORTED'];

async function attempt(job) {
  if (!CHECKS[job.kind]) return ['cannot', `there is no call for a ${job.kind}`];
  try {
    return await CHECKS[job.kind](job);
  } catch (error) {
    return [UNKNOWN.includes(error.code) ? 'cannot' : 'refused', `${error.code ?? ''} ${error.message}`];
  }
}

if (process.argv[2] === '--version') {
  console.log(`${process.version} with OpenSSL ${process.versions.openssl}`);
} else {
  for (const job of JSON.parse(readFileSync(0))) {
    const [result, why] = await attempt(job);
    console.log(JSON.stringify({ id: job.id, result, why: why.slice(0, 300) }));
  }
}
