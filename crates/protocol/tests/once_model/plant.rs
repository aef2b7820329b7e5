//! Planted bugs: what the rules would be with one clause left out. The real functions are called and their answers
//! bent, so that nothing of this is in the crate itself.

use holocron_protocol::{
    ids::{ClientId, CommitNumber, RequestNumber},
    request::{
        envelope::{self, Envelope},
        window::{Admission, Recorded, Request, RequestId, Window, WindowSize},
    },
};

use crate::host::Rules;

/// A clause left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// What is evicted leaves the mark where it was.
    EvictionLeavesMark,
    /// An evicted client raises the mark to the answers it still has, not to the newest it ever had.
    ClientRaisesMarkToWhatIsLeft,
    /// A retry takes the newest base there is.
    BaseTakenAtRetry,
    /// A base at the mark isn't enough.
    BaseMustExceedMark,
    /// A base one below the mark is enough.
    BaseMayBeOneBelow,
    /// A client whose record is there needs no base.
    BaseOnlyOfUnknownClients,
    /// The envelope holds the state alone.
    WindowNotStored,
    /// The envelope holds the answers and not the mark.
    MarkNotStored,
    /// A reply leaves when its command has run.
    ReplyBeforeCommit,
    /// A recorded reply leaves though its envelope is in flight.
    RecordedReplyBeforeCommit,
    /// `Rebase` leaves with the number of an envelope that isn't committed.
    RebaseBeforeCommit,
    /// A panic rolls back to the last committed envelope.
    RollBackPastInFlight,
    /// A panic runs again also what was handed over.
    RerunOfHandedOver,
    /// What ran again is answered with what it was to be answered first.
    OldRepliesAfterRerun,
    /// A client says it waits for nothing below its newest request.
    LowestTooEarly,
    /// What is below a client's lowest number isn't held off.
    LowestForgotten,
    /// `Rebase` moves the base whatever else was sent.
    RebaseAfterAnotherAttempt,
    /// A refusal is final whatever else was sent.
    RefusalFinalAfterAnotherAttempt,
    /// A panic is answered and forgotten.
    PanicNotRecorded,
    /// A client that starts anew takes its old id.
    ClientIdReused,
    /// A base is a number that a host has given to an envelope, committed or not.
    BaseNotCommitted,
}

/// [`Window::admit`].
pub(crate) fn admit(bug: Option<Bug>, window: &mut Window, request: &Request) -> Admission {
    let known = bug == Some(Bug::BaseOnlyOfUnknownClients) && knows(window, request.id.client);
    let admission = window.admit(request);
    match (bug, &admission) {
        (Some(Bug::BaseMustExceedMark), Admission::Run) if request.base == window.mark() => {
            Admission::Rebase
        }
        (Some(Bug::BaseMayBeOneBelow), Admission::Rebase)
            if request.base.next() == window.mark() =>
        {
            Admission::Run
        }
        (Some(Bug::BaseOnlyOfUnknownClients), Admission::Rebase) if known => Admission::Run,
        (Some(Bug::LowestForgotten), Admission::Stale) => Admission::Run,
        _ => admission,
    }
}

/// [`Window::record`].
pub(crate) fn record(rules: &Rules, window: &mut Window, request: &Request, recorded: Recorded) {
    let before = window.clone();
    let mut request = *request;
    match rules.bug {
        Some(Bug::BaseMayBeOneBelow | Bug::BaseOnlyOfUnknownClients) => {
            request.base = request.base.max(window.mark());
        }
        // It ran below its client's lowest number: its answer would go at once.
        Some(Bug::LowestForgotten) if window.admit(&request) != Admission::Run => return,
        _ => {}
    }
    window.record(&request, recorded, &rules.limits);
    match rules.bug {
        Some(Bug::EvictionLeavesMark) => set_mark(window, before.mark()),
        Some(Bug::ClientRaisesMarkToWhatIsLeft) => {
            let evicted = answers(&before).filter(|(id, _)| answer(window, *id).is_none());
            let newest = evicted.map(|(_, commit)| commit).max().unwrap_or_default();
            set_mark(window, before.mark().max(newest));
        }
        _ => {}
    }
}

/// [`Window::trim`].
pub(crate) fn trim(bug: Option<Bug>, window: &mut Window, size: &WindowSize) {
    let before = window.mark();
    window.trim(size);
    if bug != Some(Bug::EvictionLeavesMark) {
        return;
    }
    if before == CommitNumber::ZERO && size.clients == 0 {
        *window = Window::default();
    } else {
        set_mark(window, before);
    }
}

/// What a host finds when it recovers the vnode.
pub(crate) fn recovered(bug: Option<Bug>, window: &mut Window) {
    match bug {
        Some(Bug::WindowNotStored) => *window = Window::default(),
        Some(Bug::MarkNotStored) if *window != Window::default() => {
            set_mark(window, CommitNumber::ZERO);
        }
        _ => {}
    }
}

/// Ids of clients and numbers of requests that a model uses are below these.
pub(crate) const CLIENTS_END: u128 = 20;
pub(crate) const NUMBERS_END: u64 = 4;

fn probe(client: ClientId, number: u64) -> Request {
    let id = RequestId { client, number: RequestNumber::new(number) };
    Request { id, lowest: RequestNumber::ZERO, base: CommitNumber::new(u64::MAX) }
}

/// Whether a client has a record: number 0 is below its lowest then.
fn knows(window: &Window, client: ClientId) -> bool {
    window.clone().admit(&probe(client, 0)) == Admission::Stale
}

/// The commit number of a recorded answer.
fn answer(window: &Window, id: RequestId) -> Option<CommitNumber> {
    match window.clone().admit(&probe(id.client, id.number.get())) {
        Admission::Recorded(recorded) => Some(recorded.commit),
        Admission::Run | Admission::Rebase | Admission::Stale => None,
    }
}

fn answers(window: &Window) -> impl Iterator<Item = (RequestId, CommitNumber)> {
    let ids =
        (0..CLIENTS_END).flat_map(|client| (1..NUMBERS_END).map(move |number| (client, number)));
    ids.filter_map(|(client, number)| {
        let id = probe(ClientId::new(client), number).id;
        answer(window, id).map(|commit| (id, commit))
    })
}

/// Forges the mark, which stands behind the version, the schema version and the tag.
fn set_mark(window: &mut Window, mark: CommitNumber) {
    let mut bytes = Vec::new();
    envelope::encode_tombstone(&mut bytes, window);
    assert!(window.mark().get() < 0x80, "a mark of one byte");
    bytes[3] = u8::try_from(mark.get()).expect("a mark of one byte");
    *window = Envelope::decode("forged", &bytes.into()).expect("only the mark differs").window;
    assert_eq!(window.mark(), mark, "forged");
}
