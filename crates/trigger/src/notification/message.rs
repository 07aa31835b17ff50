//! What the broker hands over, before anybody has looked into it.

/// A message as the broker hands it over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) exchange: &'a str,
    pub(super) routing_key: &'a str,
    pub(super) body: &'a [u8],
}
