-- What makes functions run by itself.
CREATE TABLE IF NOT EXISTS triggers (
    id            VARCHAR(64) PRIMARY KEY,
    project_id    VARCHAR(64) NOT NULL,
    app_id        VARCHAR(64) NOT NULL,
    route_id      VARCHAR(64) NOT NULL,
    name          VARCHAR(64) NOT NULL,
    -- A version's number or an alias's name; NULL: the version that calls run.
    selector      VARCHAR(64),
    kind          VARCHAR(16) NOT NULL CHECK (kind IN ('schedule', 'notification', 'webhook', 'object', 'queue')),
    -- JSON, as all of the next three.
    options       MEDIUMTEXT NOT NULL,
    filter        MEDIUMTEXT NOT NULL,
    input         MEDIUMTEXT,
    state         VARCHAR(16) NOT NULL CHECK (state IN ('active', 'paused', 'finished', 'stopped', 'suspended')),
    state_reason  TEXT,
    -- When somebody looks at it next, and who does until when.
    next_at       BIGINT,
    lease_owner   VARCHAR(64),
    lease_until   BIGINT NOT NULL,
    progress      MEDIUMTEXT,
    -- SHA-256 of the token in a webhook's URL; the sealed key of its senders' signatures.
    hook_hash     VARCHAR(64) UNIQUE,
    hook_key      TEXT,
    identity      TEXT,
    fired         BIGINT NOT NULL,
    last_fired_at BIGINT,
    revision      BIGINT NOT NULL,
    created_by    TEXT NOT NULL,
    updated_by    TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    UNIQUE KEY triggers_by_name (project_id, name),
    KEY triggers_by_due_time (kind, state, next_at),
    KEY triggers_by_kind (kind, id),
    KEY triggers_by_app (app_id),
    KEY triggers_by_route (route_id),
    CONSTRAINT triggers_have_a_route FOREIGN KEY (route_id) REFERENCES routes (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What became of the last events of each.
CREATE TABLE IF NOT EXISTS trigger_firings (
    id         VARCHAR(64) PRIMARY KEY,
    trigger_id VARCHAR(64) NOT NULL,
    event_id   TEXT NOT NULL,
    outcome    VARCHAR(16) NOT NULL,
    reason     TEXT,
    call_id    VARCHAR(64),
    fired_at   BIGINT NOT NULL,
    KEY firings_by_trigger (trigger_id, id),
    CONSTRAINT firings_have_a_trigger FOREIGN KEY (trigger_id) REFERENCES triggers (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
