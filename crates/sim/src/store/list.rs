//! Listings: some stores list in no order.

use holocron_store::Listed;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{chance::Chance, watch::Objects};

/// The objects below a prefix, in an order that is drawn.
pub(super) fn in_no_order(objects: &Objects, prefix: &str, chance: &Chance) -> Vec<Listed> {
    let below = objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
    let mut listed: Vec<Listed> =
        below.map(|(key, object)| Listed { key: key.clone(), len: object.len() as u64 }).collect();
    let bits = chance.bits();
    listed.sort_by_key(|object| xxh3_64_with_seed(object.key.as_bytes(), bits));
    listed
}
