-- What makes functions run by itself.
CREATE TABLE triggers (
    id            TEXT COLLATE "C" PRIMARY KEY,
    project_id    TEXT COLLATE "C" NOT NULL,
    app_id        TEXT COLLATE "C" NOT NULL,
    route_id      TEXT COLLATE "C" NOT NULL REFERENCES routes (id) ON DELETE CASCADE,
    name          TEXT COLLATE "C" NOT NULL,
    -- A version's number or an alias's name; NULL: the version that calls run.
    selector      TEXT,
    kind          TEXT NOT NULL CHECK (kind IN ('schedule', 'notification', 'webhook', 'object', 'queue')),
    -- JSON, as all of the next three.
    options       TEXT NOT NULL,
    filter        TEXT NOT NULL,
    input         TEXT,
    state         TEXT NOT NULL CHECK (state IN ('active', 'paused', 'finished', 'stopped', 'suspended')),
    state_reason  TEXT,
    -- When somebody looks at it next, and who does until when.
    next_at       BIGINT,
    lease_owner   TEXT,
    lease_until   BIGINT NOT NULL,
    progress      TEXT,
    -- SHA-256 of the token in a webhook's URL; the sealed key of its senders' signatures.
    hook_hash     TEXT COLLATE "C" UNIQUE,
    hook_key      TEXT,
    identity      TEXT,
    fired         BIGINT NOT NULL,
    last_fired_at BIGINT,
    revision      BIGINT NOT NULL,
    created_by    TEXT NOT NULL,
    updated_by    TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    UNIQUE (project_id, name)
);
CREATE INDEX triggers_by_due_time ON triggers (kind, state, next_at);
CREATE INDEX triggers_by_kind ON triggers (kind, id);
CREATE INDEX triggers_by_app ON triggers (app_id);
CREATE INDEX triggers_by_route ON triggers (route_id);

-- What became of the last events of each.
CREATE TABLE trigger_firings (
    id         TEXT COLLATE "C" PRIMARY KEY,
    trigger_id TEXT COLLATE "C" NOT NULL REFERENCES triggers (id) ON DELETE CASCADE,
    event_id   TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    reason     TEXT,
    call_id    TEXT,
    fired_at   BIGINT NOT NULL
);
CREATE INDEX firings_by_trigger ON trigger_firings (trigger_id, id);
