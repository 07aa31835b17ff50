-- Which version a version was made of by a roll back.
ALTER TABLE route_versions ADD COLUMN IF NOT EXISTS rolled_back_to BIGINT;

-- Names that stand for versions of a route.
CREATE TABLE IF NOT EXISTS route_aliases (
    route_id    VARCHAR(64) NOT NULL,
    name        VARCHAR(64) NOT NULL,
    is_public   BOOLEAN NOT NULL,
    -- What tells clients apart: a header or a cookie of this name.
    sticky_kind VARCHAR(16) CHECK (sticky_kind IN ('header', 'cookie')),
    sticky_name VARCHAR(64),
    created_by  TEXT NOT NULL,
    updated_by  TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (route_id, name),
    CONSTRAINT sticky_aliases_have_a_name CHECK ((sticky_kind IS NULL) = (sticky_name IS NULL)),
    CONSTRAINT aliases_have_a_route FOREIGN KEY (route_id) REFERENCES routes (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- The versions of an alias, each with its part of the calls.
CREATE TABLE IF NOT EXISTS alias_shares (
    route_id VARCHAR(64) NOT NULL,
    name     VARCHAR(64) NOT NULL,
    number   BIGINT NOT NULL,
    weight   BIGINT NOT NULL CHECK (weight >= 0),
    PRIMARY KEY (route_id, name, number),
    KEY alias_shares_by_version (route_id, number),
    CONSTRAINT shares_have_an_alias FOREIGN KEY (route_id, name) REFERENCES route_aliases (route_id, name) ON DELETE CASCADE,
    CONSTRAINT shares_have_a_version FOREIGN KEY (route_id, number) REFERENCES route_versions (route_id, number) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
