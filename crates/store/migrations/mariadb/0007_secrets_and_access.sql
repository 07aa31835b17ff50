-- Secrets of apps and routes, each value encrypted; a version has those of both, as it has their
-- configuration.
ALTER TABLE apps ADD COLUMN IF NOT EXISTS secrets LONGTEXT NOT NULL DEFAULT '{}' CHECK (json_valid(secrets));
ALTER TABLE route_versions ADD COLUMN IF NOT EXISTS secrets LONGTEXT NOT NULL DEFAULT '{}' CHECK (json_valid(secrets));
ALTER TABLE route_versions ADD COLUMN IF NOT EXISTS merged_secrets LONGTEXT NOT NULL DEFAULT '{}' CHECK (json_valid(merged_secrets));

-- Which pages of other origins may call an app's public functions.
ALTER TABLE apps ADD COLUMN IF NOT EXISTS cors LONGTEXT NOT NULL DEFAULT 'null' CHECK (json_valid(cors));

-- What a public route asks of callers without a token.
ALTER TABLE routes ADD COLUMN IF NOT EXISTS access LONGTEXT NOT NULL DEFAULT '{}' CHECK (json_valid(access));
