-- A pair is two certificates for one key by two issuers. The second names the first.
ALTER TABLE certificates ADD COLUMN sibling_of BLOB;
CREATE INDEX certificates_siblings ON certificates (sibling_of) WHERE sibling_of IS NOT NULL;
