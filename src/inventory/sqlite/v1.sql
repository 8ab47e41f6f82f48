-- Times are microseconds since 1970. Digests and UUIDs are blobs. States and statuses are the names that reports show.
-- Rows that change are kept short and apart from the bulk that never does, since a commit writes whole pages.

CREATE TABLE transactions (
    number      INTEGER PRIMARY KEY,
    id          BLOB NOT NULL UNIQUE,
    endpoint    TEXT NOT NULL,
    wire_id     TEXT NOT NULL,
    signer_key  BLOB NOT NULL,
    csr_key     BLOB NOT NULL,
    renews      BLOB NOT NULL,                  -- empty for a first enrollment, so that it compares
    state       TEXT NOT NULL,
    open        INTEGER NOT NULL,               -- 1 while the state is not final
    device_group TEXT,
    device      TEXT,
    received_at INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    rejection   TEXT,
    detail      TEXT,
    certificate BLOB,
    challenge   BLOB
) STRICT;
CREATE INDEX transactions_by_signer ON transactions (signer_key, endpoint, wire_id);
CREATE UNIQUE INDEX transactions_open ON transactions (signer_key, csr_key, endpoint, renews) WHERE open = 1;
CREATE INDEX transactions_by_state ON transactions (state) WHERE open = 1;
CREATE INDEX transactions_of_device ON transactions (device, device_group) WHERE open = 1 AND device IS NOT NULL;
CREATE INDEX transactions_refused ON transactions (updated_at) WHERE state = 'refused';

-- What never changes of a transaction.
CREATE TABLE requests (
    number   INTEGER PRIMARY KEY REFERENCES transactions (number) ON DELETE CASCADE,
    protocol TEXT NOT NULL,
    subject  TEXT NOT NULL,
    source   TEXT,
    snapshot TEXT NOT NULL,
    csr      BLOB NOT NULL,
    issuance_order TEXT
) STRICT;

-- Further wire identifiers of a transaction: a request of the same keys joined it under another one.
CREATE TABLE aliases (
    signer_key BLOB NOT NULL,
    endpoint   TEXT NOT NULL,
    wire_id    TEXT NOT NULL,
    number     INTEGER NOT NULL REFERENCES transactions (number) ON DELETE CASCADE,
    PRIMARY KEY (signer_key, endpoint, wire_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX aliases_of_transaction ON aliases (number);

-- Challenges, sealed, that a later reply needs as a password.
CREATE TABLE sealed_challenges (
    number INTEGER PRIMARY KEY REFERENCES transactions (number) ON DELETE CASCADE,
    secret BLOB NOT NULL
) STRICT;

CREATE TABLE attempts (
    number     INTEGER NOT NULL REFERENCES transactions (number) ON DELETE CASCADE,
    id         BLOB NOT NULL,
    state      TEXT NOT NULL,
    pending    INTEGER NOT NULL,                -- 1 while there is work to do
    upstream   TEXT NOT NULL,
    ca         TEXT NOT NULL,
    reference  TEXT,
    due_at     INTEGER NOT NULL,
    held_by    TEXT,
    held_until INTEGER,
    PRIMARY KEY (number, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_due ON attempts (due_at) WHERE pending = 1;

-- Final replies, by the digest of the message that they answer.
CREATE TABLE replies (
    number      INTEGER PRIMARY KEY,
    message     BLOB NOT NULL UNIQUE,
    transaction_number INTEGER NOT NULL REFERENCES transactions (number) ON DELETE CASCADE,
    stored_at   INTEGER NOT NULL,
    reply       BLOB NOT NULL
) STRICT;
CREATE INDEX replies_of_transaction ON replies (transaction_number);

CREATE TABLE challenges (
    number      INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    digest      BLOB NOT NULL UNIQUE,
    device_group TEXT NOT NULL,
    bind        TEXT NOT NULL,                  -- JSON object
    note        TEXT,
    created_by  TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    redeemed_by BLOB,
    redeemed_at INTEGER,
    revoked_at  INTEGER
) STRICT;
CREATE INDEX challenges_by_age ON challenges (created_at);
CREATE INDEX challenges_outstanding ON challenges (expires_at) WHERE redeemed_at IS NULL AND revoked_at IS NULL;

CREATE TABLE issuers (
    number     INTEGER PRIMARY KEY,
    name       BLOB NOT NULL UNIQUE,            -- DER Name
    text       TEXT NOT NULL,
    crl_number INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Certificates are never deleted: the highest number is their count.
CREATE TABLE certificates (
    number        INTEGER PRIMARY KEY,
    fingerprint   BLOB NOT NULL UNIQUE,
    issuer        INTEGER NOT NULL REFERENCES issuers (number),
    serial        BLOB NOT NULL,
    subject       TEXT NOT NULL,
    common_name   TEXT,
    subject_alt_names TEXT NOT NULL,            -- JSON array
    not_before    INTEGER NOT NULL,
    not_after     INTEGER NOT NULL,
    key_algorithm TEXT NOT NULL,
    spki_digest   BLOB NOT NULL,
    signature_algorithm TEXT NOT NULL,
    status        TEXT NOT NULL,
    revoked_at    INTEGER,
    revocation_reason TEXT,
    device_group  TEXT NOT NULL,
    profile       TEXT NOT NULL,
    upstream      TEXT NOT NULL,
    ca            TEXT NOT NULL,
    device        TEXT,
    transaction_id BLOB NOT NULL,
    authenticated_by TEXT NOT NULL,
    source        TEXT,
    renews        BLOB,
    issued_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX certificates_by_serial ON certificates (serial, issuer);
CREATE INDEX certificates_by_key ON certificates (spki_digest);
CREATE INDEX certificates_by_age ON certificates (issued_at);
CREATE INDEX certificates_by_expiry ON certificates (not_after);
CREATE INDEX certificates_of_device ON certificates (device, device_group, issued_at);
CREATE INDEX certificates_revoked ON certificates (issuer, not_after) WHERE status = 'revoked';

-- Apart, so that a search reads only what it compares.
CREATE TABLE certificate_bodies (
    number INTEGER PRIMARY KEY REFERENCES certificates (number),
    der    BLOB NOT NULL
) STRICT;

CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    event    TEXT NOT NULL,
    actor    TEXT NOT NULL,
    object   TEXT NOT NULL,
    fields   TEXT NOT NULL,                     -- JSON object
    hash     BLOB NOT NULL
) STRICT;

-- One row, written only to find out whether writing works again after it failed.
CREATE TABLE probe (
    number INTEGER PRIMARY KEY CHECK (number = 1),
    count  INTEGER NOT NULL
) STRICT;
INSERT INTO probe (number, count) VALUES (1, 0);
