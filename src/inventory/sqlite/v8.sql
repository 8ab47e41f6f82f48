-- Compromised keys, of which there are few: they are looked for with every request.
CREATE INDEX certificates_compromised ON certificates (spki_digest) WHERE revocation_reason = 'keyCompromise';
