-- Which version a version was made of by a roll back; like the rest of it, this does not change.
ALTER TABLE route_versions ADD COLUMN rolled_back_to BIGINT;

DROP TRIGGER route_versions_are_immutable ON route_versions;
CREATE TRIGGER route_versions_are_immutable
BEFORE UPDATE OF id, route_id, number, image, format, config, merged_config, memory_mb, timeout_s,
    max_concurrency, concurrency, idle_timeout_s, min_instances, queue_timeout_s, network, rolled_back_to,
    created_by, created_at ON route_versions
FOR EACH ROW EXECUTE FUNCTION refuse_change('a route version does not change');

-- Names that stand for versions of a route.
CREATE TABLE route_aliases (
    route_id    TEXT COLLATE "C" NOT NULL REFERENCES routes (id) ON DELETE CASCADE,
    name        TEXT COLLATE "C" NOT NULL,
    is_public   BOOLEAN NOT NULL,
    -- What tells clients apart: a header or a cookie of this name.
    sticky_kind TEXT CHECK (sticky_kind IN ('header', 'cookie')),
    sticky_name TEXT,
    created_by  TEXT NOT NULL,
    updated_by  TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (route_id, name),
    CHECK ((sticky_kind IS NULL) = (sticky_name IS NULL))
);

-- The versions of an alias, each with its part of the calls.
CREATE TABLE alias_shares (
    route_id TEXT COLLATE "C" NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    number   BIGINT NOT NULL,
    weight   BIGINT NOT NULL CHECK (weight >= 0),
    PRIMARY KEY (route_id, name, number),
    FOREIGN KEY (route_id, name) REFERENCES route_aliases (route_id, name) ON DELETE CASCADE,
    FOREIGN KEY (route_id, number) REFERENCES route_versions (route_id, number) ON DELETE CASCADE
);
CREATE INDEX alias_shares_by_version ON alias_shares (route_id, number);
