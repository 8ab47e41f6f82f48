-- Where the rollout of a candidate stands; without a row it is running.
CREATE TABLE rollouts (
    device_group TEXT NOT NULL,
    candidate    TEXT NOT NULL,
    phase        TEXT NOT NULL,
    since        INTEGER NOT NULL,
    why          TEXT NOT NULL,
    changed_by   TEXT NOT NULL,
    PRIMARY KEY (device_group, candidate)
) STRICT, WITHOUT ROWID;

-- Devices that fared badly under a profile, while their group tried a candidate: one row a device, however often it asks.
CREATE TABLE setbacks (
    device_group TEXT NOT NULL,
    profile      TEXT NOT NULL,
    kind         TEXT NOT NULL,
    device       TEXT NOT NULL,
    code         TEXT NOT NULL,
    detail       TEXT NOT NULL,
    first_at     INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    count        INTEGER NOT NULL,
    PRIMARY KEY (device_group, profile, kind, device)
) STRICT, WITHOUT ROWID;
