-- Secrets of apps and routes, each value encrypted; a version has those of both, as it has their
-- configuration.
ALTER TABLE apps ADD COLUMN secrets TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(secrets));
ALTER TABLE route_versions ADD COLUMN secrets TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(secrets));
ALTER TABLE route_versions ADD COLUMN merged_secrets TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(merged_secrets));

-- Which pages of other origins may call an app's public functions.
ALTER TABLE apps ADD COLUMN cors TEXT NOT NULL DEFAULT 'null' CHECK (json_valid(cors));

-- What a public route asks of callers without a token.
ALTER TABLE routes ADD COLUMN access TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(access));

CREATE TRIGGER secrets_of_route_versions_are_immutable
BEFORE UPDATE OF secrets, merged_secrets ON route_versions
BEGIN
    SELECT RAISE(ABORT, 'a route version does not change');
END;
