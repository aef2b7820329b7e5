//! Lists the vnodes of slots: carries out `protocol::slot::listing`.
//!
//! A page shows each of its slots as it was committed at one moment: the moment at which the tail and the indexes were
//! looked at. A barrier that begins after it shows that this session still owned the slots then. The records are read
//! afterwards: they never change, and if a checkpoint has moved one the page is made anew.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use holocron_protocol::{
    ids::{Epoch, Slot, VnodeHash, VnodeName},
    journal::batch,
    slot::listing::{
        Filter, Newest, Page, RECORDS_MAX, Reached, Room, SLOTS_MAX, has_state, newest,
    },
    state::place::{FileId, Place, PlaceKind},
};
use tokio::time::timeout;

use super::{
    Session,
    spans::{READS_MAX, Span, spans},
    tail::{TailEntry, TailMoment},
};
use crate::{
    store_io::state_reader::Located,
    transport::peer::{ListRequest, ListedPage, PeerReply},
};

/// How long one page may take.
const PAGE_MAX: Duration = Duration::from_secs(30);
/// How often a page is made anew because a checkpoint has moved its records.
const TRIES_MAX: u32 = 8;

/// Why there is no page.
enum NoPage {
    /// Its first slot isn't served here.
    NotServed,
    /// A record was moved while it was read.
    Moved,
    /// A record can't be read, and why.
    Unreadable(String),
}

/// What was committed of some slots at one moment.
struct Moment {
    slots: Vec<OneSlot>,
    /// Whether the index of the last slot has more entries.
    is_cut: bool,
    tail: TailMoment,
}

struct OneSlot {
    slot: Slot,
    tenure: Epoch,
    /// The first batch of the tail that counts for it.
    tail_from: usize,
    index: Vec<(VnodeHash, Place, FileId)>,
}

/// The record of a vnode that has a state.
enum Record {
    Here(VnodeName),
    InStore(Located),
}

impl Moment {
    /// The newest record of a vnode and its length; none if the vnode has no state.
    fn record(
        &self,
        slot: &OneSlot,
        hash: VnodeHash,
        newest: Newest<(usize, TailEntry)>,
    ) -> Result<Option<(u32, Record)>, NoPage> {
        match newest {
            Newest::InIndex(place) => {
                let at = slot.index.binary_search_by_key(&hash, |entry| entry.0);
                let file = slot.index[at.expect("a place of the index")].2;
                let record = Record::InStore(Located { file, hash, place });
                Ok(has_state(&place).then_some((place.length, record)))
            }
            Newest::InTail((batch, entry)) => {
                let record =
                    batch::decode_state("a record in memory", &self.tail.record(batch, entry))
                        .map_err(|malformed| NoPage::Unreadable(malformed.to_string()))?;
                Ok(match PlaceKind::of(record.kind) {
                    PlaceKind::Live => Some((entry.len, Record::Here(record.name))),
                    PlaceKind::Tombstone => None,
                })
            }
        }
    }
}

/// The records of a page.
#[derive(Default)]
struct Records {
    names: Vec<VnodeName>,
    in_store: Vec<Located>,
}

impl Session {
    /// One page of a listing.
    pub(crate) async fn list(&self, request: &ListRequest) -> PeerReply {
        let ListRequest { slots, after, filter, .. } = request;
        let count = self.parts.cluster.slots;
        if slots.len() > SLOTS_MAX || slots.iter().any(|slot| slot.0 >= count) {
            return PeerReply::Refused(format!(
                "a page has at most {SLOTS_MAX} slots below {count}"
            ));
        }
        let page = async {
            for _ in 0..TRIES_MAX {
                match self.page(slots, *after, filter).await {
                    Err(NoPage::Moved) => {}
                    Err(NoPage::NotServed) => return PeerReply::NotServed,
                    Err(NoPage::Unreadable(why)) => return PeerReply::Refused(why),
                    Ok(page) => return PeerReply::Listed(page),
                }
            }
            PeerReply::Refused("records are moved faster than they can be read".to_owned())
        };
        let late = || PeerReply::Refused(format!("the store took longer than {PAGE_MAX:?}"));
        timeout(PAGE_MAX, page).await.unwrap_or_else(|_elapsed| late())
    }

    async fn page(
        &self,
        slots: &[Slot],
        after: Option<VnodeHash>,
        filter: &Filter,
    ) -> Result<ListedPage, NoPage> {
        let moment = self.moment(slots, after);
        let first = moment.slots.first().ok_or(NoPage::NotServed)?;
        let served = self.journal.barrier(first.slot, first.tenure).await;
        served.map_err(|_session_over| NoPage::NotServed)?;
        let (reached, mut records) = self.select(&moment, after)?;
        let reads = spans(records.in_store).into_iter().map(|span| self.read_names(span));
        let mut reads = stream::iter(reads).buffered(READS_MAX);
        while let Some(names) = reads.try_next().await? {
            records.names.extend(names);
        }
        let shown = records.names.into_iter().filter(|name| filter.shows(name));
        let keys = shown.map(|name| name.key().to_owned()).collect();
        Ok(ListedPage { keys, reached })
    }

    /// Notes what is committed of slots now, up to the first that isn't served here.
    fn moment(&self, slots: &[Slot], after: Option<VnodeHash>) -> Moment {
        // While the table is locked, no record moves from the tail into an index, and no slot comes or goes.
        let table = self.slots.lock();
        let (held, tail) = self.journal.tail_moment(slots);
        let files = self.slots.files();
        let mut moment = Moment { slots: Vec::new(), is_cut: false, tail };
        let (mut left, mut after) = (RECORDS_MAX, after);
        for (&slot, held) in slots.iter().zip(held) {
            let Some((tenure, tail_from)) = held.filter(|_| left > 0) else { break };
            let mut index = Vec::new();
            if let Some(entries) = table.get(slot).index(tenure) {
                let mut entries = entries.iter_after(after.take());
                let places = entries.by_ref().take(left);
                index.extend(places.map(|(hash, place)| (hash, place, files.id(place.file))));
                left -= index.len();
                moment.is_cut = left == 0 && entries.next().is_some();
            }
            moment.slots.push(OneSlot { slot, tenure, tail_from, index });
            if moment.is_cut {
                break;
            }
        }
        moment
    }

    /// Which records a page has, and how far it comes.
    fn select(
        &self,
        moment: &Moment,
        after: Option<VnodeHash>,
    ) -> Result<(Reached, Records), NoPage> {
        let (mut page, mut records) = (Page::after(after), Records::default());
        let tails = self.tails(moment);
        for (at, (slot, tail)) in moment.slots.iter().zip(&tails).enumerate() {
            let is_cut = moment.is_cut && at + 1 == moment.slots.len();
            let last = slot.index.last().map(|entry| entry.0).filter(|_| is_cut);
            let index = slot.index.iter().map(|(hash, place, _)| (*hash, *place));
            for (hash, newest) in newest(index, tail, page.reached().after) {
                if last.is_some_and(|last| hash > last) {
                    return Ok((page.reached(), records));
                }
                let Some((len, record)) = moment.record(slot, hash, newest)? else {
                    page.pass(hash);
                    continue;
                };
                match (page.record(hash, len), record) {
                    (Room::Full, _) => return Ok((page.reached(), records)),
                    (Room::Taken, Record::Here(name)) => records.names.push(name),
                    (Room::Taken, Record::InStore(located)) => {
                        match self.record_cache.record(&located.file, &located.place) {
                            Some(record) => records.names.push(name_in(&located, &record)?),
                            None => records.in_store.push(located),
                        }
                    }
                }
            }
            if !is_cut {
                page.slot_ends();
            }
        }
        Ok((page.reached(), records))
    }

    /// The newest records in the tail, for each slot.
    fn tails(&self, moment: &Moment) -> Vec<BTreeMap<VnodeHash, (usize, TailEntry)>> {
        let count = self.parts.cluster.slots;
        let by_slot: BTreeMap<Slot, usize> =
            moment.slots.iter().enumerate().map(|(at, slot)| (slot.slot, at)).collect();
        let mut tails = vec![BTreeMap::new(); moment.slots.len()];
        for (batch, entry) in moment.tail.entries() {
            if let Some(&at) = by_slot.get(&entry.hash.slot(count))
                && batch >= moment.slots[at].tail_from
            {
                tails[at].insert(entry.hash, (batch, entry));
            }
        }
        tails
    }

    /// The names in records of one file.
    async fn read_names(&self, span: Span) -> Result<Vec<VnodeName>, NoPage> {
        let bytes = self.read_span(&span).await.ok_or(NoPage::Moved)?;
        let parts = span.items.iter().map(|located| span.part(located, &bytes));
        let records = parts.collect::<Option<Vec<_>>>().ok_or(NoPage::Moved)?;
        let names = span.items.iter().zip(records);
        names.map(|(located, record)| name_in(located, &record)).collect()
    }
}

fn name_in(located: &Located, record: &Bytes) -> Result<VnodeName, NoPage> {
    let state = located.place.open(&located.file.key(), located.hash, record);
    state.map(|state| state.name).map_err(|malformed| NoPage::Unreadable(malformed.to_string()))
}
