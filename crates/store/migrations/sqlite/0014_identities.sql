-- Whom functions are in OpenStack: what a user granted to a route, and why it waits for consent.
CREATE TABLE route_identities (
    route_id          TEXT PRIMARY KEY NOT NULL REFERENCES routes (id) ON DELETE CASCADE,
    project_id        TEXT NOT NULL,
    -- Who granted it.
    user_id           TEXT NOT NULL,
    kind              TEXT NOT NULL CHECK (kind IN ('trust', 'application_credential')),
    -- Of the trust or the application credential.
    grant_id          TEXT NOT NULL,
    -- Of an application credential: its secret, encrypted.
    secret            TEXT CHECK (secret IS NULL OR json_valid(secret)),
    roles             TEXT NOT NULL CHECK (json_valid(roles)),
    granted_at        INTEGER NOT NULL,
    suspended_by      TEXT,
    suspended_at      INTEGER,
    suspension_reason TEXT,
    CHECK ((kind = 'trust') = (secret IS NULL)),
    CHECK ((suspended_at IS NULL) = (suspended_by IS NULL)),
    CHECK ((suspended_at IS NULL) = (suspension_reason IS NULL))
) STRICT;

-- Trusts that nothing needs any more and that Keystone may still have.
CREATE TABLE identity_revocations (
    trust_id   TEXT PRIMARY KEY NOT NULL,
    attempts   INTEGER NOT NULL,
    not_before INTEGER NOT NULL
) STRICT;
CREATE INDEX identity_revocations_by_time ON identity_revocations (not_before);
