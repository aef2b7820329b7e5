//! Listing the vnodes of a kind: slot by slot, page by page, from the hosts that own the slots.
//!
//! It goes through *windows* of slots, one after the other, and within a window from owner to owner. So what is left of a listing
//! is a window and some of its slots, and fits into a cursor, with which another process can go on.

mod cursor;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use futures::{Stream, StreamExt, stream};
use holocron_protocol::{
    ids::{DomainId, Slot, VnodeHash},
    slot::listing::{Filter, Reached, SLOTS_MAX},
};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

pub use self::cursor::{InvalidCursor, ListCursor};
use super::{
    CallError, Client, Unavailable, VnodeRef,
    routes::{Routes, Target},
};
use crate::{
    api::vnode::Vnode,
    transport::peer::{ListRequest, ListedPage, PeerMessage, PeerReply},
};

impl Client {
    /// The vnodes of a kind that exist and whose keys begin with a prefix; `""` for all. In no order.
    ///
    /// Each slot is shown as it was committed at a moment between the request for its page and the answer; a slot with more
    /// vnodes than fit on a page, page by page. So a vnode that exists the whole time is listed once; one that is created or
    /// deleted meanwhile may be listed or not. Failovers and moves of slots don't change that.
    ///
    /// It reads the newest record of every vnode of the cluster's slots, of any kind: the kind and the prefix choose what is
    /// shown, not what is read. Use it for reports and repairs, not in the path of a request.
    ///
    /// ```no_run
    /// # async fn list(client: &holocron::Client) -> Result<(), holocron::CallError> {
    /// let mut carts = client.list("cart", "eu/");
    /// while let Some(keys) = carts.next_page().await? {
    ///     keys.iter().for_each(|key| println!("{key}"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn list(&self, kind: &str, prefix: &str) -> Listing {
        let filter = Filter { kind: kind.to_owned(), prefix: prefix.to_owned() };
        Listing { client: self.clone(), filter, from: None, slot_count: 1, left: None, begun: None }
    }

    /// Goes on where a listing of the same kind and prefix has ended, in this process or another: see [`Listing::cursor`].
    #[must_use]
    pub fn list_from(&self, kind: &str, prefix: &str, cursor: ListCursor) -> Listing {
        Listing { from: Some(cursor), ..self.list(kind, prefix) }
    }

    /// Handles to the vnodes that [`Client::list`] lists, of a kind that this program knows.
    pub fn list_of<V: Vnode>(
        &self,
        prefix: &str,
    ) -> impl Stream<Item = Result<VnodeRef<V>, CallError>> + Send + use<V> {
        let client = self.clone();
        let keys = self.list(V::KIND, prefix).into_stream();
        let handle = move |key: Result<String, CallError>| key.map(|key| client.get::<V>(&key));
        keys.map(handle)
    }
}

/// A listing of vnodes, in pages; see [`Client::list`].
#[derive(Debug)]
pub struct Listing {
    client: Client,
    filter: Filter,
    /// Where it begins, until the first page.
    from: Option<ListCursor>,
    /// Slots of the cluster; known with the first page.
    slot_count: u16,
    /// The slots that aren't listed to their end; unknown before the first page.
    left: Option<BTreeSet<DomainSlot>>,
    /// The slot whose listing has begun, and the last vnode in it that was looked at.
    begun: Option<(DomainSlot, VnodeHash)>,
}

/// A slot of a domain.
type DomainSlot = (DomainId, Slot);

impl Listing {
    /// The keys of the next page, which may have none; `None` at the end. After an error it may be called again, and goes on
    /// from where it was.
    ///
    /// # Errors
    ///
    /// [`CallError::Unavailable`] when the next slot's owner gives no page until the client's deadline.
    pub async fn next_page(&mut self) -> Result<Option<Vec<String>>, CallError> {
        self.next_keys(usize::MAX).await
    }

    /// The same, with so many keys at most. `None` at the end.
    ///
    /// # Errors
    ///
    /// As [`Listing::next_page`].
    pub async fn next_keys(&mut self, max: usize) -> Result<Option<Vec<String>>, CallError> {
        let deadline = Instant::now() + self.client.deadline;
        if self.left.is_none() {
            let record = self.client.ready().await?.record;
            let domains = record.domains_of(&self.filter.kind, &self.filter.prefix);
            self.slot_count = record.slot_count;
            let slots = |domain| (0..record.slot_count).map(move |slot| (domain, Slot(slot)));
            let mut left: BTreeSet<DomainSlot> = domains.flat_map(slots).collect();
            if let Some(from) = self.from.take() {
                self.begun = from.apply(&mut left);
            }
            self.left = Some(left);
        }
        let shared = Arc::clone(&self.client.shared);
        let mut failures = 0;
        while let Some(next) = self.next_slot() {
            let routes = shared.routes();
            let slots = self.slots_with(next, &routes);
            let obstacle = match timeout_at(deadline, self.ask(&slots, &routes)).await {
                Ok(Ok(page)) => match self.take(self.cut(page, &slots, max), &slots) {
                    Ok(keys) => return Ok(Some(keys)),
                    Err(why) => why,
                },
                Ok(Err(why)) => why,
                Err(_elapsed) => return Err(unavailable("no page came in time")),
            };
            failures += 1;
            let changed = shared.changed();
            if shared.routes().epoch() > routes.epoch() {
                continue;
            }
            let _need = shared.need_view();
            tokio::select! {
                biased;
                () = sleep_until(deadline) => return Err(obstacle),
                () = changed => {}
                () = sleep(shared.back_off(failures)) => {}
            }
        }
        Ok(None)
    }

    /// All keys, one by one.
    pub fn into_stream(self) -> impl Stream<Item = Result<String, CallError>> + Send {
        stream::unfold((self, VecDeque::new()), |(mut listing, mut keys)| async move {
            loop {
                if let Some(key) = keys.pop_front() {
                    return Some((Ok(key), (listing, keys)));
                }
                match listing.next_page().await {
                    Ok(Some(page)) => keys = page.into(),
                    Ok(None) => return None,
                    Err(error) => return Some((Err(error), (listing, keys))),
                }
            }
        })
    }

    /// Where it has come to, for [`Client::list_from`]; none at its begin and at its end.
    #[must_use]
    pub fn cursor(&self) -> Option<ListCursor> {
        let left = self.left.as_ref()?;
        ListCursor::of(left, self.begun)
    }

    fn left(&self) -> &BTreeSet<DomainSlot> {
        self.left.as_ref().expect("known from the first page on")
    }

    fn next_slot(&self) -> Option<DomainSlot> {
        self.begun.map(|(slot, _)| slot).or_else(|| self.left().first().copied())
    }

    /// The next slots of the window, as far as they have the same owner.
    fn slots_with(&self, next: DomainSlot, routes: &Routes) -> Vec<DomainSlot> {
        let owner = routes.owner_of(next.0, next.1);
        let others = self.left().iter().filter(|&&(domain, slot)| {
            let in_window = domain == next.0 && window(slot) == window(next.1);
            in_window && (domain, slot) != next && routes.owner_of(domain, slot) == owner
        });
        core::iter::once(next).chain(others.copied()).take(SLOTS_MAX).collect()
    }

    /// Asks the slots' owner for a page; the error says why there is none.
    async fn ask(&self, slots: &[DomainSlot], routes: &Routes) -> Result<ListedPage, CallError> {
        let (domain, first) = slots[0];
        let request = ListRequest {
            domain,
            slots: slots.iter().map(|(_, slot)| *slot).collect(),
            after: self.begun.map(|(_, after)| after),
            filter: self.filter.clone(),
        };
        let Some(target) = routes.target_of(domain, first) else {
            let why = format!("no host serves slot {first}");
            return Err(CallError::unavailable(Unavailable::NotServed, why));
        };
        let message = PeerMessage::List(request);
        let reply = match target {
            Target::Local => {
                let local = self.client.shared.local.as_ref();
                local.expect("only a local host is routed here").serve.peer(message).await
            }
            Target::Remote(connection) => {
                let link = connection.link().await.map_err(unavailable)?;
                link.message(message).await.map_err(|lost| unavailable(lost.to_string()))?
            }
        };
        match reply {
            PeerReply::Listed(page) => Ok(page),
            PeerReply::NotServed => {
                let why = format!("slot {first} is moving");
                Err(CallError::unavailable(Unavailable::Moving, why))
            }
            PeerReply::Refused(why) => Err(unavailable(why)),
            other @ (PeerReply::Noted
            | PeerReply::View(_)
            | PeerReply::NotLeader { .. }
            | PeerReply::Health(_)
            | PeerReply::Status(_)
            | PeerReply::Vnode(_)
            | PeerReply::Sealed(_)
            | PeerReply::Kinds(_)
            | PeerReply::Frozen(_)
            | PeerReply::Measures(_)) => Err(unavailable(format!("unexpected reply: {other:?}"))),
        }
    }

    /// A page with so many keys at most: those that come first in the order in which slots, and in a slot vnodes, are listed.
    fn cut(&self, mut page: ListedPage, slots: &[DomainSlot], max: usize) -> ListedPage {
        let max = max.max(1);
        if page.keys.len() <= max {
            return page;
        }
        let place = |key: &String| {
            let hash = VnodeHash::of(&self.filter.kind, key);
            let slot = hash.slot(self.slot_count);
            (slots.iter().position(|(_, listed)| *listed == slot), hash)
        };
        page.keys.sort_by_cached_key(place);
        // A host that lists vnodes of other slots is wrong: then nothing is cut, and nothing is lost.
        if let (Some(at), last) = place(&page.keys[max - 1]) {
            page.keys.truncate(max);
            let slots = u32::try_from(at).expect("few slots are asked for at once");
            page.reached = Reached { slots, after: Some(last) };
        }
        page
    }

    /// Notes how far a page comes. A page that doesn't get on is an error.
    fn take(&mut self, page: ListedPage, slots: &[DomainSlot]) -> Result<Vec<String>, CallError> {
        let ListedPage { keys, reached: Reached { slots: done, after } } = page;
        let done = slots.len().min(done as usize);
        let begun = slots.get(done).copied().zip(after);
        if done == 0 && begun == self.begun {
            let why = format!("slot {} has more vnodes, but the page ends", slots[0].1);
            return Err(CallError::Unreadable { why });
        }
        self.begun = begun;
        let left = self.left.as_mut().expect("known from the first page on");
        for slot in &slots[..done] {
            left.remove(slot);
        }
        Ok(keys)
    }
}

/// Slots that are listed before those after them are begun.
const WINDOW: u16 = 1_024;

/// The number of a slot's window.
const fn window(slot: Slot) -> u16 {
    slot.0 / WINDOW
}

fn unavailable(why: impl Into<String>) -> CallError {
    CallError::unavailable(Unavailable::Unreachable, why)
}
