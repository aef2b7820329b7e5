//! What an earlier cluster left under a prefix.

use holocron_protocol::control::founding::{Absent, PREFIXES, Remains};
use holocron_store::{GaveUp, LIST_LEN_MAX, Patience, Store, list_until};
use tokio_util::sync::CancellationToken;

/// What exists under the prefix although `absent` is missing.
pub(crate) async fn remains(
    store: &dyn Store,
    absent: Absent,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<Remains, GaveUp> {
    let mut remains = Remains::default();
    for prefix in PREFIXES {
        match list_until(store, prefix, patience, stop).await {
            Ok(listed) => {
                remains += Remains::among(absent, listed.iter().map(|object| &*object.key));
            }
            // More objects than one list may return.
            Err(GaveUp::Rejected(_)) => remains.sessions += LIST_LEN_MAX as u64,
            Err(gave_up) => return Err(gave_up),
        }
    }
    Ok(remains)
}
