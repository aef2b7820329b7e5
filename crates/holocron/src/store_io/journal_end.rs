//! Finds where a journal ends, for readers that seal nothing: `protocol::journal::sealing` decides.

use core::time::Duration;

use holocron_protocol::{
    format::{codec::Malformed, segment::SegmentLen},
    ids::SessionId,
    journal::sealing::{End, EndSearch, Sealed, SearchEffect},
    slot::replay::JournalEnd,
};
use holocron_store::{GaveUp, Patience, Store};
use tokio_util::sync::CancellationToken;

use crate::store_io::{
    fetch::Extent,
    sealer::{Reads, Round},
};

/// Why the end of a journal wasn't found.
#[derive(Debug)]
pub(crate) enum NoEnd {
    /// The session is detached, and its objects may be deleted.
    Detached,
    /// A required object is damaged or missing.
    Broken(Malformed),
    /// The store gave no answer.
    GaveUp(GaveUp),
}

/// The part of a session's journal that counts now.
pub(crate) async fn journal_extent(
    store: &dyn Store,
    session: SessionId,
    segment_len: SegmentLen,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<Extent, NoEnd> {
    let (mut search, mut effect) = EndSearch::new(session, segment_len);
    let reads = Reads { store, session, patience, stop };
    let mut pause = Duration::ZERO;
    loop {
        let event = match effect {
            SearchEffect::List => reads.list(&mut pause).await,
            SearchEffect::Get { positions, marks, end } => {
                reads.get(Round { positions, marks, end }).await
            }
            SearchEffect::Done(end) => return Ok(extent(end)),
            SearchEffect::Detached => return Err(NoEnd::Detached),
            SearchEffect::Broken(malformed) => return Err(NoEnd::Broken(malformed)),
        };
        effect = search.step(event.map_err(NoEnd::GaveUp)?);
    }
}

fn extent(end: End) -> Extent {
    let (Sealed { position, low_water, checkpoint_at }, end) = match end {
        End::Sealed(sealed) => (sealed, JournalEnd::Sealed(sealed.position)),
        End::Open(open) => (open, JournalEnd::Live),
    };
    let through = position.previous().expect("a journal never ends at its opening");
    Extent { low_water, checkpoint_at, through, end }
}
