-- What ended calls send to others: made in the transaction that ends the call, tried until it is
-- taken or given up. While a process tries one, `not_before` is the end of its lease.
CREATE TABLE deliveries (
    id          TEXT COLLATE "C" PRIMARY KEY,
    call_id     TEXT COLLATE "C" NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    project_id  TEXT COLLATE "C" NOT NULL,
    app_id      TEXT COLLATE "C" NOT NULL,
    kind        TEXT NOT NULL,
    -- As it may be shown; the rest of a URL is in `content`.
    target      TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempts    BIGINT NOT NULL DEFAULT 0,
    not_before  BIGINT NOT NULL,
    lease_owner TEXT,
    last_error  TEXT,
    created_at  BIGINT NOT NULL,
    finished_at BIGINT,
    -- Encrypted under the key `key_id`; deleted when the delivery ends.
    key_id      TEXT,
    content     BYTEA,
    CHECK ((state = 'waiting') = (finished_at IS NULL)),
    CHECK ((state = 'waiting') = (content IS NOT NULL))
);

CREATE INDEX deliveries_waiting ON deliveries (project_id, not_before) WHERE state = 'waiting';
CREATE INDEX deliveries_by_call ON deliveries (call_id);

-- The keys that sign what an app's calls send, encrypted as bodies are.
CREATE TABLE signing_keys (
    app_id         TEXT COLLATE "C" PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    newest         BYTEA NOT NULL,
    newest_key_id TEXT NOT NULL,
    previous        BYTEA,
    previous_key_id TEXT,
    previous_until  BIGINT
);
