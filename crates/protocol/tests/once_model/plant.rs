//! Planted bugs: the rules without one clause. The real functions are called and their results changed, so that nothing
//! of this is in the crate itself.

use holocron_protocol::{
    ids::{ClientId, CommitNumber, RequestNumber},
    request::{
        envelope::{self, Envelope},
        window::{Admission, Recorded, Request, RequestId, Window, WindowSize},
    },
};

use crate::host::Rules;

/// An omitted clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// An eviction doesn't raise the mark.
    EvictionLeavesMark,
    /// An evicted client raises the mark to the answers it still has, not to its newest answer ever.
    ClientRaisesMarkToWhatIsLeft,
    /// A retry takes the newest base.
    BaseTakenAtRetry,
    /// A base at the mark isn't enough.
    BaseMustExceedMark,
    /// A base one below the mark is enough.
    BaseMayBeOneBelow,
    /// A client with a record needs no base.
    BaseOnlyOfUnknownClients,
    /// The envelope has only the state.
    WindowNotStored,
    /// The envelope has the answers but not the mark.
    MarkNotStored,
    /// A reply is sent when its command has run.
    ReplyBeforeCommit,
    /// A recorded reply is sent while its envelope is in flight.
    RecordedReplyBeforeCommit,
    /// `Rebase` is sent with the number of an envelope that isn't committed.
    RebaseBeforeCommit,
    /// A panic rolls back to the last committed envelope.
    RollBackPastInFlight,
    /// After a panic, commands already appended to the journal run again too.
    RerunOfHandedOver,
    /// A command that ran again is answered with its first reply.
    OldRepliesAfterRerun,
    /// A client's lowest number is that of its newest request.
    LowestTooEarly,
    /// A request below its client's lowest number isn't rejected.
    LowestForgotten,
    /// `Rebase` moves the base even if other attempts aren't settled.
    RebaseAfterAnotherAttempt,
    /// A refusal is final even if other attempts aren't settled.
    RefusalFinalAfterAnotherAttempt,
    /// A panic is answered but not recorded.
    PanicNotRecorded,
    /// A client that restarts reuses its old id.
    ClientIdReused,
    /// A base may be the number of an envelope that isn't committed.
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
        // It ran below its client's lowest number: its answer would be dropped at once.
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

/// The window that a host recovers.
pub(crate) fn recovered(bug: Option<Bug>, window: &mut Window) {
    match bug {
        Some(Bug::WindowNotStored) => *window = Window::default(),
        Some(Bug::MarkNotStored) if *window != Window::default() => {
            set_mark(window, CommitNumber::ZERO);
        }
        _ => {}
    }
}

/// All client ids and request numbers of the model are below these.
pub(crate) const CLIENTS_END: u128 = 20;
pub(crate) const NUMBERS_END: u64 = 4;

fn probe(client: ClientId, number: u64) -> Request {
    let id = RequestId { client, number: RequestNumber::new(number) };
    Request { id, lowest: RequestNumber::ZERO, base: CommitNumber::new(u64::MAX) }
}

/// Whether a client has a record: then number 0 is below its lowest.
fn knows(window: &Window, client: ClientId) -> bool {
    window.clone().admit(&probe(client, 0)) == Admission::Stale
}

/// The commit number of a recorded answer.
fn answer(window: &Window, id: RequestId) -> Option<CommitNumber> {
    match window.clone().admit(&probe(id.client, id.number.get())) {
        Admission::Recorded(recorded) => Some(recorded.commit),
        Admission::Run | Admission::Rebase | Admission::Stale | Admission::Full => None,
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

/// Forges the mark, which comes after the version, the schema version and the tag.
fn set_mark(window: &mut Window, mark: CommitNumber) {
    let mut bytes = Vec::new();
    envelope::encode_tombstone(&mut bytes, window, None);
    assert!(window.mark().get() < 0x80, "a mark of one byte");
    bytes[3] = u8::try_from(mark.get()).expect("a mark of one byte");
    *window = Envelope::decode("forged", &bytes.into()).expect("only the mark differs").window;
    assert_eq!(window.mark(), mark, "forged");
}
