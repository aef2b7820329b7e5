//! Many clients at one vnode: how often they are sent back, and how large the envelope becomes.
//!
//! Time goes in rounds. In each, the vnode takes a number of attempts, and what it recorded is one commit. A client that
//! has its answer sends the next request some rounds later.

use std::collections::BTreeMap;

use holocron_protocol::{
    ids::{ClientId, CommitNumber, RequestNumber},
    request::{
        envelope,
        window::{
            Admission, Outcome, Recorded, Request, RequestId, Window, WindowLimits, WindowSize,
        },
    },
};

const fn size(answers: usize, clients: usize) -> WindowSize {
    WindowSize { answers, clients, bytes: 256 << 10 }
}

/// A client that sends one request at a time, for ever.
#[derive(Clone, Copy)]
struct Looping {
    number: u64,
    base: CommitNumber,
    /// How often the current request was sent back.
    sent_back: u64,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    requests: u64,
    sent_back: u64,
    /// The most of one request.
    sent_back_max: u64,
    /// Done by the client that got the fewest done.
    fewest: u64,
}

struct Vnode {
    window: Window,
    limits: WindowLimits,
    open: CommitNumber,
    dirty: bool,
}

impl Vnode {
    fn new(limits: WindowLimits) -> Self {
        Self { window: Window::default(), limits, open: CommitNumber::new(1), dirty: false }
    }

    /// Takes an attempt. `Ok` when it ran, `Err` when it is sent back; with the commit number that the client learns.
    fn take(
        &mut self,
        client: u64,
        number: u64,
        base: CommitNumber,
    ) -> Result<CommitNumber, CommitNumber> {
        let number = RequestNumber::new(number);
        let id = RequestId { client: ClientId::new(u128::from(client) + 1), number };
        let request = Request { id, lowest: number, base };
        match self.window.admit(&request) {
            Admission::Run => {
                let outcome = Outcome::Reply(vec![7; 3].into());
                let recorded = Recorded { outcome, commit: self.open };
                self.window.record(&request, recorded, &self.limits);
                self.dirty = true;
                Ok(self.open)
            }
            Admission::Rebase if self.dirty => Err(self.open),
            Admission::Rebase => Err(self.open.previous().expect("the first is taken at 1")),
            other @ (Admission::Recorded(_) | Admission::Stale) => {
                panic!("{other:?} of {request:?}")
            }
        }
    }

    fn commit(&mut self) {
        if core::mem::take(&mut self.dirty) {
            self.open = self.open.next();
        }
    }

    fn encoded_len(&self) -> usize {
        let mut out = Vec::new();
        envelope::encode_tombstone(&mut out, &self.window);
        out.len()
    }
}

/// So many clients, of whom the vnode takes so many a round, and who are slow by so many rounds.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    clients: u64,
    a_round: usize,
    delay: fn(u64, u64) -> u64,
}

impl Crowd {
    /// Runs until each client has begun its request `until` on average; counts from request `from` on.
    fn run(self, vnode: &mut Vnode, from: u64, until: u64) -> Count {
        let new = Looping { number: 1, base: CommitNumber::ZERO, sent_back: 0 };
        let mut clients = vec![new; usize::try_from(self.clients).expect("a few thousand")];
        // Whose attempt arrives when.
        let mut arriving: BTreeMap<u64, Vec<u64>> =
            BTreeMap::from([(0, (0..self.clients).collect())]);
        let mut waiting = std::collections::VecDeque::new();
        let (mut count, mut done, mut round) = (Count::default(), 0, 0);
        while done < self.clients * until {
            waiting.extend(arriving.remove(&round).unwrap_or_default());
            let taken = waiting.len().min(self.a_round);
            for at in waiting.drain(..taken) {
                let client = &mut clients[usize::try_from(at).expect("below their count")];
                let counts = done >= self.clients * from;
                match vnode.take(at, client.number, client.base) {
                    Ok(commit) => {
                        done += 1;
                        count.requests += u64::from(counts);
                        *client = Looping { number: client.number + 1, base: commit, sent_back: 0 };
                    }
                    Err(commit) => {
                        client.base = commit;
                        client.sent_back += 1;
                        count.sent_back += u64::from(counts);
                        if counts {
                            count.sent_back_max = count.sent_back_max.max(client.sent_back);
                        }
                    }
                }
                arriving.entry(round + 1 + (self.delay)(at, round)).or_default().push(at);
            }
            vnode.commit();
            round += 1;
            assert!(round < 100_000_000, "nothing moves: {self:?}");
        }
        count.fewest =
            clients.iter().map(|client| client.number - 1).min().expect("there are some");
        count
    }
}

/// Some number from others.
fn mixed(client: u64, round: u64) -> u64 {
    let mut mix =
        client.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round.wrapping_mul(0xd1b5_4a32_d192_ed03);
    mix ^= mix >> 29;
    mix.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

const DELAYS: [fn(u64, u64) -> u64; 4] = [
    |_, _| 0,
    |_, _| 3,
    |client, round| mixed(client, round) % 7,
    // Most are near, and some are far away.
    |client, _| if client % 16 == 0 { 40 } else { 1 },
];

#[test]
fn many_clients_are_sent_back_once_when_they_come_and_then_never() {
    for clients in [1, 30, 100, 400, 1_000, 3_000] {
        for a_round in [1, 8, 64, 4_096] {
            for delay in DELAYS {
                let crowd = Crowd { clients, a_round, delay };
                let mut vnode = Vnode::new(WindowLimits::default());
                let count = crowd.run(&mut vnode, 6, 12);
                assert_eq!(count.sent_back, 0, "{crowd:?}: {count:?}");
            }
        }
    }
}

#[test]
fn the_first_requests_of_a_crowd_are_sent_back_a_few_times_at_most() {
    for clients in [100, 1_000, 3_000] {
        for a_round in [8, 64, 4_096] {
            for delay in DELAYS {
                let crowd = Crowd { clients, a_round, delay };
                let count = crowd.run(&mut Vnode::new(WindowLimits::default()), 0, 6);
                assert!(count.sent_back_max <= 4, "{crowd:?}: {count:?}");
                assert!(count.sent_back <= 3 * clients, "{crowd:?}: {count:?}");
            }
        }
    }
}

#[test]
fn a_window_that_keeps_few_clients_whatever_they_do_sends_a_crowd_back_again_and_again() {
    let crowd = Crowd { clients: 100, a_round: 100, delay: |_, _| 0 };
    let count = crowd.run(&mut Vnode::new(WindowLimits::exactly(size(256, 32))), 6, 12);
    assert!(count.sent_back > count.requests, "{count:?}");
}

#[test]
fn more_clients_than_the_most_that_are_kept_all_get_on() {
    let limits = WindowLimits { soft: size(16, 8), hard: size(128, 64) };
    for clients in [65, 80, 130, 260, 1_000] {
        for a_round in [4, 16, 64] {
            let crowd = Crowd { clients, a_round, delay: |client, round| mixed(client, round) % 5 };
            let count = crowd.run(&mut Vnode::new(limits), 4, 40);
            // As often as the most that are kept go into the crowd, and no client is left behind.
            assert!(count.sent_back <= count.requests * clients / 64, "{crowd:?}: {count:?}");
            assert!(count.fewest >= 10, "{crowd:?}: {count:?}");
        }
    }
}

#[test]
fn clients_that_come_once_make_no_envelope_larger() {
    let usual = {
        let mut vnode = Vnode::new(WindowLimits::exactly(WindowLimits::default().soft));
        one_shots(&mut vnode, |_| {});
        vnode.encoded_len()
    };
    let mut most = 0;
    let mut vnode = Vnode::new(WindowLimits::default());
    one_shots(&mut vnode, |vnode| most = most.max(vnode.encoded_len()));
    assert!(most <= 2 * usual, "{most} bytes, where {usual} are usual");
}

/// Thousands of clients that come once each, eight at a time, and one that stays and comes seldom.
fn one_shots(vnode: &mut Vnode, mut look: impl FnMut(&Vnode)) {
    let (mut known, mut number) = (CommitNumber::ZERO, 0);
    for round in 0..1_000 {
        for client in 0..8 {
            let client = 1_000 + round * 8 + client;
            if let Err(base) = vnode.take(client, 1, CommitNumber::ZERO) {
                // It is back before the next is committed.
                assert!(vnode.take(client, 1, base).is_ok(), "a fresh base is enough");
            }
        }
        if round % 300 == 299 {
            number += 1;
            known = match vnode.take(1, number, known) {
                Ok(commit) => commit,
                Err(base) => vnode.take(1, number, base).expect("a fresh base is enough"),
            };
        }
        vnode.commit();
        look(vnode);
    }
}

#[test]
fn a_trimmed_window_is_as_large_as_before_and_forgets_nothing_silently() {
    let soft = WindowLimits::default().soft;
    let mut vnode = Vnode::new(WindowLimits::default());
    let crowd = Crowd { clients: 1_000, a_round: 4_096, delay: |_, _| 0 };
    crowd.run(&mut vnode, 0, 6);
    let (before, mark) = (vnode.encoded_len(), vnode.window.mark());
    assert!(vnode.window.exceeds(&soft) && before > 20_000, "{before} bytes");
    vnode.window.trim(&soft);
    assert!(!vnode.window.exceeds(&soft) && vnode.encoded_len() < 2_000, "{}", vnode.encoded_len());
    assert!(vnode.window.mark() > mark && vnode.window.mark() < vnode.open);
}

#[test]
fn a_window_that_is_read_back_does_not_forget_a_crowd_at_its_first_command() {
    let mut vnode = Vnode::new(WindowLimits::default());
    let crowd = Crowd { clients: 1_000, a_round: 4_096, delay: |_, _| 0 };
    crowd.run(&mut vnode, 0, 6);
    let mut out = Vec::new();
    envelope::encode_tombstone(&mut out, &vnode.window);
    vnode.window = envelope::Envelope::decode("read back", &out.into()).unwrap().window;
    let mark = vnode.window.mark();
    // Others come first, and those who had no answer when the host died come later.
    for client in 0..2_000 {
        vnode.take(5_000 + client, 1, vnode.open.previous().unwrap()).unwrap();
        vnode.commit();
    }
    assert_eq!(vnode.window.mark(), mark);
}
