-- Certificates that nobody is given: they are no part of what a device was given. And those whose CA is still to be told that they are revoked.
ALTER TABLE certificates ADD COLUMN set_aside INTEGER NOT NULL DEFAULT 0;
ALTER TABLE certificates ADD COLUMN owed INTEGER NOT NULL DEFAULT 0;
UPDATE certificates SET set_aside = 1, owed = (status = 'valid')
WHERE lower(hex(fingerprint)) IN (SELECT json_extract(fields, '$.fingerprint') FROM audit WHERE event = 'certificate.set-aside');
CREATE INDEX certificates_owed ON certificates (upstream, issued_at) WHERE owed = 1;
