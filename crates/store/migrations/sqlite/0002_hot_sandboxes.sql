-- What hot formats need to know of a version. Versions from before are of format `default`.
ALTER TABLE route_versions ADD COLUMN concurrency INTEGER NOT NULL DEFAULT 1;
ALTER TABLE route_versions ADD COLUMN idle_timeout_s INTEGER NOT NULL DEFAULT 30;
ALTER TABLE route_versions ADD COLUMN min_instances INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER route_versions_are_immutable;
CREATE TRIGGER route_versions_are_immutable
BEFORE UPDATE OF id, route_id, number, image, format, config, merged_config, memory_mb, timeout_s,
    max_concurrency, concurrency, idle_timeout_s, min_instances, queue_timeout_s, network, created_by,
    created_at ON route_versions
BEGIN
    SELECT RAISE(ABORT, 'a route version does not change');
END;

-- Routes with sandboxes to be kept warm are looked up when a node starts.
CREATE INDEX route_versions_kept_warm ON route_versions (route_id) WHERE min_instances > 0;
