-- The outbox lists what is due; calls that are due much later are not walked over.
CREATE INDEX outbox_due ON outbox (not_before, number);
