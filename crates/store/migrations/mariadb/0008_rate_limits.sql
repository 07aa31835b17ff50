-- How often callers without a token may call a route; null: no limit.
ALTER TABLE routes ADD COLUMN IF NOT EXISTS rate_limit TEXT CHECK (rate_limit IS NULL OR json_valid(rate_limit));
