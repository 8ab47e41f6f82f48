-- What was learned of devices: profiles that they cannot digest. What was taken back stays as the time from which on evidence counts anew.
CREATE TABLE device_findings (
    device_group TEXT NOT NULL,
    device       TEXT NOT NULL,
    profile      TEXT NOT NULL,
    kind         TEXT NOT NULL,
    detail       TEXT NOT NULL,
    at           INTEGER NOT NULL,
    gone_at      INTEGER,
    PRIMARY KEY (device_group, device, profile)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_findings_by_age ON device_findings (at) WHERE gone_at IS NULL;
