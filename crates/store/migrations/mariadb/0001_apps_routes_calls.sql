-- Apps, routes with immutable versions, calls with their bodies, and the outbox.
--
-- MariaDB commits before and after each of these statements, so a migration can stop half way. All of
-- them are therefore written so that they may run again (IF NOT EXISTS), and a migration's version is
-- noted when its last statement is done.
--
-- Ids are text, times are microseconds since the Unix epoch, configuration is JSON text. Text compares
-- by its characters' numbers, trailing blanks included (utf8mb4_nopad_bin): names are case-sensitive and
-- sort alike everywhere. There are no triggers, which only an administrator may make where the binary
-- log is on: versions stay as they are because no statement of this driver changes them.

CREATE TABLE IF NOT EXISTS apps (
    id          VARCHAR(64) NOT NULL PRIMARY KEY,
    project_id  VARCHAR(64) NOT NULL,
    short_name  VARCHAR(255) NOT NULL,
    full_name   VARCHAR(255) NOT NULL,
    description TEXT NOT NULL,
    config      LONGTEXT NOT NULL CHECK (json_valid(config)),
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    UNIQUE KEY apps_by_full_name (full_name),
    UNIQUE KEY apps_by_short_name (project_id, short_name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS routes (
    id            VARCHAR(64) NOT NULL PRIMARY KEY,
    app_id        VARCHAR(64) NOT NULL,
    pattern       VARCHAR(512) NOT NULL CHECK (octet_length(pattern) BETWEEN 1 AND 512),
    -- The pattern without parameter names: equal shapes answer the same paths.
    shape         VARCHAR(512) NOT NULL,
    methods       TEXT NOT NULL CHECK (json_valid(methods)),
    route_type    VARCHAR(16) NOT NULL,
    is_public     BOOLEAN NOT NULL,
    -- Numbers of route_versions; `active_number` is NULL until a version is ready.
    latest_number BIGINT NOT NULL,
    active_number BIGINT,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    -- What happens to its asynchronous calls.
    delivery      TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(delivery)),
    KEY routes_by_pattern (app_id, pattern),
    CONSTRAINT routes_have_an_app FOREIGN KEY (app_id) REFERENCES apps (id) ON DELETE RESTRICT
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

CREATE TABLE IF NOT EXISTS route_versions (
    id              VARCHAR(64) NOT NULL PRIMARY KEY,
    route_id        VARCHAR(64) NOT NULL,
    number          BIGINT NOT NULL CHECK (number > 0),
    image           TEXT NOT NULL,
    format          VARCHAR(32) NOT NULL,
    config          LONGTEXT NOT NULL CHECK (json_valid(config)),
    merged_config   LONGTEXT NOT NULL CHECK (json_valid(merged_config)),
    memory_mb       BIGINT NOT NULL,
    timeout_s       BIGINT NOT NULL,
    max_concurrency BIGINT,
    concurrency     BIGINT NOT NULL,
    idle_timeout_s  BIGINT NOT NULL,
    min_instances   BIGINT NOT NULL,
    queue_timeout_s BIGINT NOT NULL,
    network         VARCHAR(32) NOT NULL,
    digest          VARCHAR(255),
    state           VARCHAR(16) NOT NULL CHECK (state IN ('preparing', 'ready', 'failed')),
    error           TEXT,
    -- The version whose preparation decides this one's digest: set when a change of the app's
    -- configuration copied a version that was still preparing.
    copy_of         VARCHAR(64),
    created_by      TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    UNIQUE KEY route_versions_by_number (route_id, number),
    KEY route_versions_by_state (state, created_at),
    KEY route_versions_by_copy (copy_of),
    -- Routes with sandboxes to be kept warm are looked up when a node starts.
    KEY route_versions_kept_warm (min_instances, route_id),
    CONSTRAINT ready_versions_have_a_digest CHECK ((state = 'ready') = (digest IS NOT NULL)),
    CONSTRAINT versions_have_a_route FOREIGN KEY (route_id) REFERENCES routes (id) ON DELETE CASCADE,
    CONSTRAINT versions_copy_versions FOREIGN KEY (copy_of) REFERENCES route_versions (id) ON DELETE SET NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- No reference to apps, routes or versions: a call's record outlives them.
CREATE TABLE IF NOT EXISTS calls (
    id                VARCHAR(64) NOT NULL PRIMARY KEY,
    project_id        VARCHAR(64) NOT NULL,
    app_id            VARCHAR(64) NOT NULL,
    route_id          VARCHAR(64) NOT NULL,
    version_id        VARCHAR(64) NOT NULL,
    -- The version's digest, so that its image stays while the call may still run.
    digest            VARCHAR(255),
    trigger_kind      VARCHAR(32) NOT NULL,
    call_type         VARCHAR(16) NOT NULL,
    state             VARCHAR(16) NOT NULL,
    request_id        TEXT NOT NULL,
    attempt           BIGINT NOT NULL DEFAULT 0,
    not_before        BIGINT NOT NULL,
    priority          BIGINT NOT NULL CHECK (priority BETWEEN 0 AND 2),
    -- When it was last put into the outbox.
    dispatched_at     BIGINT NOT NULL,
    lease_owner       VARCHAR(64),
    lease_until       BIGINT,
    created_at        BIGINT NOT NULL,
    started_at        BIGINT,
    finished_at       BIGINT,
    failure           LONGTEXT CHECK (failure IS NULL OR json_valid(failure)),
    exit_code         BIGINT,
    memory_peak_bytes BIGINT,
    -- Names that outlive app, route and version.
    app_name          VARCHAR(255) NOT NULL,
    route_path        VARCHAR(512) NOT NULL,
    version_number    BIGINT NOT NULL,
    -- At acceptance, or at the last retry.
    queued_at         BIGINT NOT NULL,
    -- Leases that ended while the call ran, since `queued_at`.
    lost_runs         BIGINT NOT NULL DEFAULT 0,
    cancel_requested  BOOLEAN NOT NULL DEFAULT false,
    -- The process that ran it last; `lease_owner` is cleared with the lease.
    node              VARCHAR(64),
    http_status       BIGINT,
    cold_start        BOOLEAN,
    -- What it took over of its route's delivery options.
    delivery          TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(delivery)),
    -- How many calls caused each other before it.
    depth             BIGINT NOT NULL DEFAULT 0,
    -- When it was first due, at acceptance or at the last retry by hand; `not_before` moves with each
    -- further run.
    due_at            BIGINT NOT NULL,
    -- Runs that failed in a way that its retry policy repeats, since `queued_at`.
    failed_runs       BIGINT NOT NULL DEFAULT 0,
    KEY calls_waiting (state, not_before),
    KEY calls_running (state, lease_until),
    KEY calls_by_route (route_id, state),
    KEY calls_by_project (project_id, created_at, id),
    KEY calls_finished (project_id, finished_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What a caller sent, encrypted under the key `key_id`; deleted when the call succeeded.
CREATE TABLE IF NOT EXISTS call_bodies (
    call_id  VARCHAR(64) NOT NULL PRIMARY KEY,
    key_id   VARCHAR(255) NOT NULL,
    envelope LONGBLOB NOT NULL,
    payload  LONGBLOB NOT NULL,
    CONSTRAINT bodies_have_a_call FOREIGN KEY (call_id) REFERENCES calls (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What a function answered and logged, encrypted as bodies are.
CREATE TABLE IF NOT EXISTS call_outputs (
    call_id VARCHAR(64) NOT NULL PRIMARY KEY,
    key_id  VARCHAR(255) NOT NULL,
    result  LONGBLOB NOT NULL,
    log     LONGBLOB NOT NULL,
    CONSTRAINT outputs_have_a_call FOREIGN KEY (call_id) REFERENCES calls (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Call ids still to be handed to the queue. A number is never used twice, so a late deletion
-- cannot hit a newer entry.
CREATE TABLE IF NOT EXISTS outbox (
    number     BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    call_id    VARCHAR(64) NOT NULL,
    not_before BIGINT NOT NULL,
    priority   BIGINT NOT NULL,
    UNIQUE KEY outbox_by_call (call_id),
    KEY outbox_due (not_before, number),
    CONSTRAINT entries_have_a_call FOREIGN KEY (call_id) REFERENCES calls (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- SHA-256 of keys and requests, in hex.
CREATE TABLE IF NOT EXISTS idempotency_keys (
    route_id     VARCHAR(64) NOT NULL,
    key_hash     VARCHAR(64) NOT NULL,
    request_hash VARCHAR(64) NOT NULL,
    call_id      VARCHAR(64) NOT NULL,
    expires_at   BIGINT NOT NULL,
    PRIMARY KEY (route_id, key_hash),
    KEY idempotency_keys_by_call (call_id),
    KEY idempotency_keys_by_end (expires_at),
    CONSTRAINT keys_have_a_call FOREIGN KEY (call_id) REFERENCES calls (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- Which app was changed, in the order of the changes: what processes on one database follow to drop
-- what they keep in memory. Not an AUTO_INCREMENT: its lower numbers may be committed after higher ones,
-- and a follower would pass them by. Whoever adds a row takes the next number under a lock that it
-- holds until its commit.
CREATE TABLE IF NOT EXISTS changes (
    number     BIGINT NOT NULL PRIMARY KEY,
    app_id     VARCHAR(64) NOT NULL,
    changed_at BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
