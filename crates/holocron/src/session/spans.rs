//! Many states by few requests: those that stand close together in a file are read at once.

use std::ops::Range;

use bytes::Bytes;
use holocron_protocol::state::place::FileId;
use holocron_store::get_range_until;

use super::Session;
use crate::store_io::state_reader::Located;

/// Most requests in flight for the states of one purpose.
pub(super) const READS_MAX: usize = 8;
/// Bytes between two states of a file up to which both are read by one request.
const GAP_MAX: u64 = 64 << 10;
/// Longest read.
const READ_LEN_MAX: u64 = 4 << 20;

/// States of one file that are read by one request.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) file: FileId,
    pub(super) range: Range<u64>,
    pub(super) items: Vec<Located>,
}

impl Span {
    /// A state of the span, in the bytes that were read of it; none if too few were read.
    pub(super) fn part(&self, located: &Located, bytes: &Bytes) -> Option<Bytes> {
        let begin = usize::try_from(u64::from(located.place.offset) - self.range.start).ok()?;
        let end = begin + located.place.length as usize;
        bytes.get(begin..end).map(|record| bytes.slice_ref(record))
    }
}

/// Few reads for many states.
pub(super) fn spans(mut located: Vec<Located>) -> Vec<Span> {
    located.sort_by_key(|located| (located.file, located.place.offset));
    let mut spans: Vec<Span> = Vec::new();
    for item in located {
        let begin = u64::from(item.place.offset);
        let end = begin + u64::from(item.place.length);
        match spans.last_mut() {
            Some(span)
                if span.file == item.file
                    && begin <= span.range.end + GAP_MAX
                    && end - span.range.start <= READ_LEN_MAX =>
            {
                span.range.end = span.range.end.max(end);
                span.items.push(item);
            }
            _ => spans.push(Span { file: item.file, range: begin..end, items: vec![item] }),
        }
    }
    spans
}

impl Session {
    /// Reads a span; `None` if a checkpoint has moved its states and the file is gone, or the session is over.
    pub(super) async fn read_span(&self, span: &Span) -> Option<Bytes> {
        let (store, stop) = (&*self.parts.store, self.journal.ended());
        let (key, range) = (span.file.key(), span.range.clone());
        let read = get_range_until(store, &key, range, self.patience(), stop).await;
        read.ok().flatten()
    }
}
