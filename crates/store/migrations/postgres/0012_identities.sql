-- Whom functions are in OpenStack: what a user granted to a route, and why it waits for consent.
CREATE TABLE route_identities (
    route_id          TEXT COLLATE "C" PRIMARY KEY REFERENCES routes (id) ON DELETE CASCADE,
    project_id        TEXT NOT NULL,
    -- Who granted it.
    user_id           TEXT COLLATE "C" NOT NULL,
    kind              TEXT NOT NULL CHECK (kind IN ('trust', 'application_credential')),
    -- Of the trust or the application credential.
    grant_id          TEXT NOT NULL,
    -- Of an application credential: its secret, encrypted.
    secret            TEXT CHECK (secret IS NULL OR secret::json IS NOT NULL),
    roles             TEXT NOT NULL CHECK (roles::json IS NOT NULL),
    granted_at        BIGINT NOT NULL,
    suspended_by      TEXT,
    suspended_at      BIGINT,
    suspension_reason TEXT,
    CHECK ((kind = 'trust') = (secret IS NULL)),
    CHECK ((suspended_at IS NULL) = (suspended_by IS NULL)),
    CHECK ((suspended_at IS NULL) = (suspension_reason IS NULL))
);

-- Trusts that nothing needs any more and that Keystone may still have.
CREATE TABLE identity_revocations (
    trust_id   TEXT COLLATE "C" PRIMARY KEY,
    attempts   BIGINT NOT NULL,
    not_before BIGINT NOT NULL
);
CREATE INDEX identity_revocations_by_time ON identity_revocations (not_before);
