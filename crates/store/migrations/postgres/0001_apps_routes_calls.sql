-- Apps, routes with immutable versions, calls with their bodies, and the outbox.
--
-- Ids are text, times are microseconds since the Unix epoch, configuration is JSON text. Text
-- compares by bytes (collation "C"): names are case-sensitive and sort alike everywhere.

CREATE TABLE apps (
    id          TEXT COLLATE "C" PRIMARY KEY,
    project_id  TEXT COLLATE "C" NOT NULL,
    short_name  TEXT COLLATE "C" NOT NULL,
    full_name   TEXT COLLATE "C" NOT NULL UNIQUE,
    description TEXT NOT NULL,
    config      TEXT NOT NULL CHECK (config::json IS NOT NULL),
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    UNIQUE (project_id, short_name)
);

CREATE TABLE routes (
    id            TEXT COLLATE "C" PRIMARY KEY,
    app_id        TEXT COLLATE "C" NOT NULL REFERENCES apps (id) ON DELETE RESTRICT,
    pattern       TEXT COLLATE "C" NOT NULL CHECK (octet_length(pattern) BETWEEN 1 AND 512),
    -- The pattern without parameter names: equal shapes answer the same paths.
    shape         TEXT COLLATE "C" NOT NULL,
    methods       TEXT NOT NULL CHECK (methods::json IS NOT NULL),
    route_type    TEXT NOT NULL,
    is_public     BOOLEAN NOT NULL,
    -- Numbers of route_versions; `active_number` is NULL until a version is ready.
    latest_number BIGINT NOT NULL,
    active_number BIGINT,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);

CREATE INDEX routes_by_pattern ON routes (app_id, pattern);

CREATE TABLE route_versions (
    id              TEXT COLLATE "C" PRIMARY KEY,
    route_id        TEXT COLLATE "C" NOT NULL REFERENCES routes (id) ON DELETE CASCADE,
    number          BIGINT NOT NULL CHECK (number > 0),
    image           TEXT NOT NULL,
    format          TEXT NOT NULL,
    config          TEXT NOT NULL CHECK (config::json IS NOT NULL),
    merged_config   TEXT NOT NULL CHECK (merged_config::json IS NOT NULL),
    memory_mb       BIGINT NOT NULL,
    timeout_s       BIGINT NOT NULL,
    max_concurrency BIGINT,
    concurrency     BIGINT NOT NULL,
    idle_timeout_s  BIGINT NOT NULL,
    min_instances   BIGINT NOT NULL,
    queue_timeout_s BIGINT NOT NULL,
    network         TEXT NOT NULL,
    digest          TEXT COLLATE "C",
    state           TEXT COLLATE "C" NOT NULL CHECK (state IN ('preparing', 'ready', 'failed')),
    error           TEXT,
    -- The version whose preparation decides this one's digest: set when a change of the app's
    -- configuration copied a version that was still preparing.
    copy_of         TEXT COLLATE "C" REFERENCES route_versions (id) ON DELETE SET NULL,
    created_by      TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    UNIQUE (route_id, number),
    CHECK ((state = 'ready') = (digest IS NOT NULL))
);

CREATE INDEX route_versions_preparing ON route_versions (created_at) WHERE state = 'preparing';
CREATE INDEX route_versions_by_copy ON route_versions (copy_of) WHERE copy_of IS NOT NULL;
-- Routes with sandboxes to be kept warm are looked up when a node starts.
CREATE INDEX route_versions_kept_warm ON route_versions (route_id) WHERE min_instances > 0;

-- A version is what a call ran: only the outcome of its preparation may be filled in, once.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER route_versions_are_immutable
BEFORE UPDATE OF id, route_id, number, image, format, config, merged_config, memory_mb, timeout_s,
    max_concurrency, concurrency, idle_timeout_s, min_instances, queue_timeout_s, network, created_by,
    created_at ON route_versions
FOR EACH ROW EXECUTE FUNCTION refuse_change('a route version does not change');

CREATE TRIGGER route_versions_are_decided_once
BEFORE UPDATE OF digest, state ON route_versions FOR EACH ROW WHEN (old.state <> 'preparing')
EXECUTE FUNCTION refuse_change('a route version is decided once');

-- No reference to apps, routes or versions: a call's record outlives them.
CREATE TABLE calls (
    id                TEXT COLLATE "C" PRIMARY KEY,
    project_id        TEXT COLLATE "C" NOT NULL,
    app_id            TEXT COLLATE "C" NOT NULL,
    route_id          TEXT COLLATE "C" NOT NULL,
    version_id        TEXT COLLATE "C" NOT NULL,
    -- The version's digest, so that its image stays while the call may still run.
    digest            TEXT COLLATE "C",
    trigger_kind      TEXT NOT NULL,
    call_type         TEXT NOT NULL,
    state             TEXT COLLATE "C" NOT NULL,
    request_id        TEXT NOT NULL,
    attempt           BIGINT NOT NULL DEFAULT 0,
    not_before        BIGINT NOT NULL,
    priority          BIGINT NOT NULL CHECK (priority BETWEEN 0 AND 2),
    -- When it was last put into the outbox.
    dispatched_at     BIGINT NOT NULL,
    lease_owner       TEXT COLLATE "C",
    lease_until       BIGINT,
    created_at        BIGINT NOT NULL,
    started_at        BIGINT,
    finished_at       BIGINT,
    failure           TEXT CHECK (failure::json IS NOT NULL OR failure IS NULL),
    exit_code         BIGINT,
    memory_peak_bytes BIGINT,
    -- Names that outlive app, route and version.
    app_name          TEXT COLLATE "C" NOT NULL,
    route_path        TEXT COLLATE "C" NOT NULL,
    version_number    BIGINT NOT NULL,
    -- At acceptance, or at the last retry.
    queued_at         BIGINT NOT NULL,
    -- Leases that ended while the call ran, since `queued_at`.
    lost_runs         BIGINT NOT NULL DEFAULT 0,
    cancel_requested  BOOLEAN NOT NULL DEFAULT false,
    -- The process that ran it last; `lease_owner` is cleared with the lease.
    node              TEXT COLLATE "C",
    http_status       BIGINT,
    cold_start        BOOLEAN
);

CREATE INDEX calls_queued ON calls (not_before) WHERE state = 'queued';
CREATE INDEX calls_running ON calls (lease_until) WHERE state = 'running';
CREATE INDEX calls_queued_by_route ON calls (route_id) WHERE state = 'queued';
CREATE INDEX calls_by_project ON calls (project_id, created_at, id);
CREATE INDEX calls_finished ON calls (project_id, finished_at) WHERE finished_at IS NOT NULL;

-- What a caller sent, encrypted under the key `key_id`; deleted when the call succeeded.
CREATE TABLE call_bodies (
    call_id  TEXT COLLATE "C" PRIMARY KEY REFERENCES calls (id) ON DELETE CASCADE,
    key_id   TEXT NOT NULL,
    envelope BYTEA NOT NULL,
    payload  BYTEA NOT NULL
);

-- What a function answered and logged, encrypted as bodies are.
CREATE TABLE call_outputs (
    call_id TEXT COLLATE "C" PRIMARY KEY REFERENCES calls (id) ON DELETE CASCADE,
    key_id  TEXT NOT NULL,
    result  BYTEA NOT NULL,
    log     BYTEA NOT NULL
);

-- Call ids still to be handed to the queue. A number is never used twice, so a late deletion
-- cannot hit a newer entry.
CREATE TABLE outbox (
    number     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    call_id    TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES calls (id) ON DELETE CASCADE,
    not_before BIGINT NOT NULL,
    priority   BIGINT NOT NULL
);
