-- Apps, routes with immutable versions, calls with their bodies, and the outbox.
--
-- Ids are text, times are integers in microseconds since the Unix epoch, configuration is JSON.
-- Text compares by bytes (BINARY, the default collation): names are case-sensitive.

CREATE TABLE apps (
    id          TEXT PRIMARY KEY,
    project_id  TEXT NOT NULL,
    short_name  TEXT NOT NULL,
    full_name   TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    config      TEXT NOT NULL CHECK (json_valid(config)),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    UNIQUE (project_id, short_name)
) STRICT;

CREATE TABLE routes (
    id            TEXT PRIMARY KEY,
    app_id        TEXT NOT NULL REFERENCES apps (id) ON DELETE RESTRICT,
    pattern       TEXT NOT NULL CHECK (length(CAST(pattern AS BLOB)) BETWEEN 1 AND 512),
    -- The pattern without parameter names: equal shapes answer the same paths.
    shape         TEXT NOT NULL,
    methods       TEXT NOT NULL CHECK (json_valid(methods)),
    route_type    TEXT NOT NULL,
    is_public     INTEGER NOT NULL CHECK (is_public IN (0, 1)),
    -- Numbers of route_versions; `active_number` is NULL until a version is ready.
    latest_number INTEGER NOT NULL,
    active_number INTEGER,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;

CREATE INDEX routes_by_pattern ON routes (app_id, pattern);

CREATE TABLE route_versions (
    id              TEXT PRIMARY KEY,
    route_id        TEXT NOT NULL REFERENCES routes (id) ON DELETE CASCADE,
    number          INTEGER NOT NULL CHECK (number > 0),
    image           TEXT NOT NULL,
    format          TEXT NOT NULL,
    config          TEXT NOT NULL CHECK (json_valid(config)),
    merged_config   TEXT NOT NULL CHECK (json_valid(merged_config)),
    memory_mb       INTEGER NOT NULL,
    timeout_s       INTEGER NOT NULL,
    max_concurrency INTEGER,
    queue_timeout_s INTEGER NOT NULL,
    network         TEXT NOT NULL,
    digest          TEXT,
    state           TEXT NOT NULL CHECK (state IN ('preparing', 'ready', 'failed')),
    error           TEXT,
    -- The version whose preparation decides this one's digest: set when a change of the app's
    -- configuration copied a version that was still preparing.
    copy_of         TEXT REFERENCES route_versions (id) ON DELETE SET NULL,
    created_by      TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (route_id, number),
    CHECK ((state = 'ready') = (digest IS NOT NULL))
) STRICT;

CREATE INDEX route_versions_preparing ON route_versions (created_at) WHERE state = 'preparing';
CREATE INDEX route_versions_by_copy ON route_versions (copy_of) WHERE copy_of IS NOT NULL;

-- A version is what a call ran: only the outcome of its preparation may be filled in, once.
CREATE TRIGGER route_versions_are_immutable
BEFORE UPDATE OF id, route_id, number, image, format, config, merged_config, memory_mb, timeout_s,
    max_concurrency, queue_timeout_s, network, created_by, created_at ON route_versions
BEGIN
    SELECT RAISE(ABORT, 'a route version does not change');
END;

CREATE TRIGGER route_versions_are_decided_once
BEFORE UPDATE OF digest, state ON route_versions WHEN old.state <> 'preparing'
BEGIN
    SELECT RAISE(ABORT, 'a route version is decided once');
END;

-- No reference to apps, routes or versions: a call's record outlives them.
CREATE TABLE calls (
    id                TEXT PRIMARY KEY,
    project_id        TEXT NOT NULL,
    app_id            TEXT NOT NULL,
    route_id          TEXT NOT NULL,
    version_id        TEXT NOT NULL,
    -- The version's digest, so that its image stays while the call may still run.
    digest            TEXT,
    trigger_kind      TEXT NOT NULL,
    call_type         TEXT NOT NULL,
    state             TEXT NOT NULL,
    request_id        TEXT NOT NULL,
    attempt           INTEGER NOT NULL DEFAULT 0,
    not_before        INTEGER NOT NULL,
    priority          INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 2),
    -- When it was last put into the outbox.
    dispatched_at     INTEGER NOT NULL,
    lease_owner       TEXT,
    lease_until       INTEGER,
    created_at        INTEGER NOT NULL,
    started_at        INTEGER,
    finished_at       INTEGER,
    failure           TEXT CHECK (failure IS NULL OR json_valid(failure)),
    exit_code         INTEGER,
    memory_peak_bytes INTEGER
) STRICT;

CREATE INDEX calls_queued ON calls (not_before) WHERE state = 'queued';
CREATE INDEX calls_running ON calls (lease_until) WHERE state = 'running';
CREATE INDEX calls_queued_by_route ON calls (route_id) WHERE state = 'queued';

-- What a caller sent, encrypted under the key `key_id`; deleted when the call ends.
CREATE TABLE call_bodies (
    call_id  TEXT PRIMARY KEY REFERENCES calls (id) ON DELETE CASCADE,
    key_id   TEXT NOT NULL,
    envelope BLOB NOT NULL,
    payload  BLOB NOT NULL
) STRICT;

-- Call ids still to be handed to the queue. AUTOINCREMENT: a number is never used twice, so a
-- late deletion cannot hit a newer entry.
CREATE TABLE outbox (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    call_id    TEXT NOT NULL UNIQUE REFERENCES calls (id) ON DELETE CASCADE,
    not_before INTEGER NOT NULL,
    priority   INTEGER NOT NULL
) STRICT;
