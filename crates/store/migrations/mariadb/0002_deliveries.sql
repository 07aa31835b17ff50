-- What ended calls send to others: made in the transaction that ends the call, tried until it is
-- taken or given up. While a process tries one, `not_before` is the end of its lease.
CREATE TABLE IF NOT EXISTS deliveries (
    id          VARCHAR(64) NOT NULL PRIMARY KEY,
    call_id     VARCHAR(64) NOT NULL,
    project_id  VARCHAR(64) NOT NULL,
    app_id      VARCHAR(64) NOT NULL,
    kind        VARCHAR(64) NOT NULL,
    -- As it may be shown; the rest of a URL is in `content`.
    target      TEXT NOT NULL,
    state       VARCHAR(64) NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempts    BIGINT NOT NULL DEFAULT 0,
    not_before  BIGINT NOT NULL,
    lease_owner VARCHAR(64),
    last_error  TEXT,
    created_at  BIGINT NOT NULL,
    finished_at BIGINT,
    -- Encrypted under the key `key_id`; deleted when the delivery ends.
    key_id      VARCHAR(64),
    content     LONGBLOB,
    KEY deliveries_by_state (state, project_id, not_before),
    KEY deliveries_by_call (call_id),
    CONSTRAINT deliveries_end_once CHECK ((state = 'waiting') = (finished_at IS NULL)),
    CONSTRAINT ended_deliveries_are_empty CHECK ((state = 'waiting') = (content IS NOT NULL)),
    CONSTRAINT deliveries_have_a_call FOREIGN KEY (call_id) REFERENCES calls (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;


-- The keys that sign what an app's calls send, encrypted as bodies are.
CREATE TABLE IF NOT EXISTS signing_keys (
    app_id         VARCHAR(64) NOT NULL PRIMARY KEY,
    newest         LONGBLOB NOT NULL,
    newest_key_id VARCHAR(64) NOT NULL,
    previous        LONGBLOB,
    previous_key_id VARCHAR(64),
    previous_until  BIGINT,
    CONSTRAINT signing_keys_have_an_app FOREIGN KEY (app_id) REFERENCES apps (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
