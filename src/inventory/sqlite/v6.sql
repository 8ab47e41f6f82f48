-- What the latest shadow run of each device came to.
CREATE TABLE shadow_outcomes (
    device_group   TEXT NOT NULL,
    candidate      TEXT NOT NULL,
    device         TEXT NOT NULL,
    code           TEXT NOT NULL,
    detail         TEXT NOT NULL,
    reply          INTEGER,
    signing_micros INTEGER,
    first_at       INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    count          INTEGER NOT NULL,
    PRIMARY KEY (device_group, candidate, device)
) STRICT, WITHOUT ROWID;
