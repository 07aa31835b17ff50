-- Which version a version was made of by a roll back; like the rest of it, this does not change.
ALTER TABLE route_versions ADD COLUMN rolled_back_to INTEGER;

DROP TRIGGER route_versions_are_immutable;
CREATE TRIGGER route_versions_are_immutable
BEFORE UPDATE OF id, route_id, number, image, format, config, merged_config, memory_mb, timeout_s,
    max_concurrency, concurrency, idle_timeout_s, min_instances, queue_timeout_s, network, rolled_back_to,
    created_by, created_at ON route_versions
BEGIN
    SELECT RAISE(ABORT, 'a route version does not change');
END;

-- Names that stand for versions of a route.
CREATE TABLE route_aliases (
    route_id    TEXT NOT NULL REFERENCES routes (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    is_public   INTEGER NOT NULL CHECK (is_public IN (0, 1)),
    -- What tells clients apart: a header or a cookie of this name.
    sticky_kind TEXT CHECK (sticky_kind IN ('header', 'cookie')),
    sticky_name TEXT,
    created_by  TEXT NOT NULL,
    updated_by  TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (route_id, name),
    CHECK ((sticky_kind IS NULL) = (sticky_name IS NULL))
) STRICT;

-- The versions of an alias, each with its part of the calls.
CREATE TABLE alias_shares (
    route_id TEXT NOT NULL,
    name     TEXT NOT NULL,
    number   INTEGER NOT NULL,
    weight   INTEGER NOT NULL CHECK (weight >= 0),
    PRIMARY KEY (route_id, name, number),
    FOREIGN KEY (route_id, name) REFERENCES route_aliases (route_id, name) ON DELETE CASCADE,
    FOREIGN KEY (route_id, number) REFERENCES route_versions (route_id, number) ON DELETE CASCADE
) STRICT;
CREATE INDEX alias_shares_by_version ON alias_shares (route_id, number);
