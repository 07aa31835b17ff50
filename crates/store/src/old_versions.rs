//! Which versions of a route nothing needs any more.

/// The rest of a condition over `routes r JOIN route_versions v`: neither the newest nor what calls run,
/// not being prepared, not of an alias, and not of a call that is still to end. The same on every
/// database.
pub(crate) const UNNEEDED: &str = " AND v.number <> r.latest_number \
    AND (r.active_number IS NULL OR v.number <> r.active_number) AND v.state <> 'preparing' \
    AND NOT EXISTS (SELECT 1 FROM alias_shares s WHERE s.route_id = v.route_id AND s.number = v.number) \
    AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.state = 'queued' AND c.route_id = v.route_id \
    AND c.version_id = v.id) \
    AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.state = 'running' AND c.version_id = v.id)";
