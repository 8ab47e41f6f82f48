-- What a request asks for tells one transaction of the same keys from another. Empty for those from before, which any wish fits.
ALTER TABLE transactions ADD COLUMN wish BLOB NOT NULL DEFAULT x'';
DROP INDEX transactions_open;
CREATE UNIQUE INDEX transactions_open ON transactions (signer_key, csr_key, endpoint, renews, wish) WHERE open = 1;
