-- Whom functions are in OpenStack: what a user granted to a route, and why it waits for consent.
CREATE TABLE IF NOT EXISTS route_identities (
    route_id          VARCHAR(64) NOT NULL PRIMARY KEY,
    project_id        VARCHAR(64) NOT NULL,
    -- Who granted it.
    user_id           VARCHAR(255) NOT NULL,
    kind              VARCHAR(32) NOT NULL CHECK (kind IN ('trust', 'application_credential')),
    -- Of the trust or the application credential.
    grant_id          VARCHAR(64) NOT NULL,
    -- Of an application credential: its secret, encrypted.
    secret            LONGTEXT CHECK (secret IS NULL OR json_valid(secret)),
    roles             LONGTEXT NOT NULL CHECK (json_valid(roles)),
    granted_at        BIGINT NOT NULL,
    suspended_by      TEXT,
    suspended_at      BIGINT,
    suspension_reason TEXT,
    CONSTRAINT only_credentials_have_a_secret CHECK ((kind = 'trust') = (secret IS NULL)),
    CONSTRAINT suspensions_have_a_user CHECK ((suspended_at IS NULL) = (suspended_by IS NULL)),
    CONSTRAINT suspensions_have_a_reason CHECK ((suspended_at IS NULL) = (suspension_reason IS NULL)),
    CONSTRAINT identities_have_a_route FOREIGN KEY (route_id) REFERENCES routes (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Trusts that nothing needs any more and that Keystone may still have.
CREATE TABLE IF NOT EXISTS identity_revocations (
    trust_id   VARCHAR(64) NOT NULL PRIMARY KEY,
    attempts   BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    KEY identity_revocations_by_time (not_before)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
