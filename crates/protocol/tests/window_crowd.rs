//! Many clients of one vnode: how often they are rebased, and how large the envelope becomes.
//!
//! Time is in rounds. In each round the vnode takes some attempts and commits once. A client that got its answer sends
//! the next request some rounds later.

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

/// A client that sends one request after the other.
#[derive(Clone, Copy)]
struct Client {
    number: u64,
    base: CommitNumber,
    /// How often the current request was rebased.
    rebased: u64,
}

/// The result of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    requests: u64,
    rebased: u64,
    /// The most for one request.
    rebased_max: u64,
    /// The fewest requests that one client finished.
    finished_min: u64,
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

    /// Takes an attempt. `Ok` if it ran, `Err` if it was rebased; with the commit number that the client learns.
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
            other @ (Admission::Recorded(_) | Admission::Stale | Admission::Full) => {
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
        envelope::encode_tombstone(&mut out, &self.window, None);
        out.len()
    }
}

/// A number of clients, the attempts that the vnode takes per round, and the rounds that each client waits before its
/// next request.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    clients: u64,
    per_round: usize,
    delay: fn(u64, u64) -> u64,
}

impl Crowd {
    /// Runs until the clients finished `until` requests on average; counts from request `from` on.
    fn run(self, vnode: &mut Vnode, from: u64, until: u64) -> Count {
        let new = Client { number: 1, base: CommitNumber::ZERO, rebased: 0 };
        let mut clients = vec![new; usize::try_from(self.clients).expect("a few thousand")];
        // By round, the clients whose attempts arrive.
        let mut arriving: BTreeMap<u64, Vec<u64>> =
            BTreeMap::from([(0, (0..self.clients).collect())]);
        let mut waiting = std::collections::VecDeque::new();
        let (mut count, mut done, mut round) = (Count::default(), 0, 0);
        while done < self.clients * until {
            waiting.extend(arriving.remove(&round).unwrap_or_default());
            let taken = waiting.len().min(self.per_round);
            for at in waiting.drain(..taken) {
                let client = &mut clients[usize::try_from(at).expect("below their count")];
                let counts = done >= self.clients * from;
                match vnode.take(at, client.number, client.base) {
                    Ok(commit) => {
                        done += 1;
                        count.requests += u64::from(counts);
                        *client = Client { number: client.number + 1, base: commit, rebased: 0 };
                    }
                    Err(commit) => {
                        client.base = commit;
                        client.rebased += 1;
                        count.rebased += u64::from(counts);
                        if counts {
                            count.rebased_max = count.rebased_max.max(client.rebased);
                        }
                    }
                }
                arriving.entry(round + 1 + (self.delay)(at, round)).or_default().push(at);
            }
            vnode.commit();
            round += 1;
            assert!(round < 100_000_000, "no progress: {self:?}");
        }
        count.finished_min = clients
            .iter()
            .map(|client| client.number - 1)
            .min()
            .expect("there is at least one client");
        count
    }
}

/// A pseudo-random number.
fn pseudo_random(client: u64, round: u64) -> u64 {
    let mut mix =
        client.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round.wrapping_mul(0xd1b5_4a32_d192_ed03);
    mix ^= mix >> 29;
    mix.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

const DELAYS: [fn(u64, u64) -> u64; 4] = [
    |_, _| 0,
    |_, _| 3,
    |client, round| pseudo_random(client, round) % 7,
    // Most clients are fast, and some are slow.
    |client, _| if client % 16 == 0 { 40 } else { 1 },
];

#[test]
fn many_clients_are_never_rebased_after_their_first_requests() {
    for clients in [1, 30, 100, 400, 1_000, 3_000] {
        for per_round in [1, 8, 64, 4_096] {
            for delay in DELAYS {
                let crowd = Crowd { clients, per_round, delay };
                let mut vnode = Vnode::new(WindowLimits::default());
                let count = crowd.run(&mut vnode, 6, 12);
                assert_eq!(count.rebased, 0, "{crowd:?}: {count:?}");
            }
        }
    }
}

#[test]
fn first_requests_of_a_crowd_are_rebased_at_most_a_few_times() {
    for clients in [100, 1_000, 3_000] {
        for per_round in [8, 64, 4_096] {
            for delay in DELAYS {
                let crowd = Crowd { clients, per_round, delay };
                let count = crowd.run(&mut Vnode::new(WindowLimits::default()), 0, 6);
                assert!(count.rebased_max <= 4, "{crowd:?}: {count:?}");
                assert!(count.rebased <= 3 * clients, "{crowd:?}: {count:?}");
            }
        }
    }
}

#[test]
fn a_window_without_a_higher_hard_limit_rebases_a_crowd_again_and_again() {
    let crowd = Crowd { clients: 100, per_round: 100, delay: |_, _| 0 };
    let count = crowd.run(&mut Vnode::new(WindowLimits::exactly(size(256, 32))), 6, 12);
    assert!(count.rebased > count.requests, "{count:?}");
}

#[test]
fn more_clients_than_the_hard_limit_all_make_progress() {
    let limits = WindowLimits { soft: size(16, 8), hard: size(128, 64) };
    for clients in [65, 80, 130, 260, 1_000] {
        for per_round in [4, 16, 64] {
            let crowd = Crowd {
                clients,
                per_round,
                delay: |client, round| pseudo_random(client, round) % 5,
            };
            let count = crowd.run(&mut Vnode::new(limits), 4, 40);
            // In proportion to the clients beyond the hard limit, and no client starves.
            assert!(count.rebased <= count.requests * clients / 64, "{crowd:?}: {count:?}");
            assert!(count.finished_min >= 10, "{crowd:?}: {count:?}");
        }
    }
}

#[test]
fn clients_with_one_request_do_not_make_the_envelope_larger() {
    let usual = {
        let mut vnode = Vnode::new(WindowLimits::exactly(WindowLimits::default().soft));
        one_shots(&mut vnode, |_| {});
        vnode.encoded_len()
    };
    let mut most = 0;
    let mut vnode = Vnode::new(WindowLimits::default());
    one_shots(&mut vnode, |vnode| most = most.max(vnode.encoded_len()));
    assert!(most <= 2 * usual, "{most} bytes instead of about {usual}");
}

/// Thousands of clients with one request each, eight at a time, and one client with rare requests.
fn one_shots(vnode: &mut Vnode, mut look: impl FnMut(&Vnode)) {
    let (mut known, mut number) = (CommitNumber::ZERO, 0);
    for round in 0..1_000 {
        for client in 0..8 {
            let client = 1_000 + round * 8 + client;
            if let Err(base) = vnode.take(client, 1, CommitNumber::ZERO) {
                // It retries before the next commit.
                assert!(vnode.take(client, 1, base).is_ok(), "the new base is valid");
            }
        }
        if round % 300 == 299 {
            number += 1;
            known = match vnode.take(1, number, known) {
                Ok(commit) => commit,
                Err(base) => vnode.take(1, number, base).expect("the new base is valid"),
            };
        }
        vnode.commit();
        look(vnode);
    }
}

#[test]
fn a_trimmed_window_is_small_again_and_its_mark_is_raised() {
    let soft = WindowLimits::default().soft;
    let mut vnode = Vnode::new(WindowLimits::default());
    let crowd = Crowd { clients: 1_000, per_round: 4_096, delay: |_, _| 0 };
    crowd.run(&mut vnode, 0, 6);
    let (before, mark) = (vnode.encoded_len(), vnode.window.mark());
    assert!(vnode.window.exceeds(&soft) && before > 20_000, "{before} bytes");
    vnode.window.trim(&soft);
    assert!(!vnode.window.exceeds(&soft) && vnode.encoded_len() < 2_000, "{}", vnode.encoded_len());
    assert!(vnode.window.mark() > mark && vnode.window.mark() < vnode.open);
}

#[test]
fn a_window_that_is_read_back_does_not_evict_a_crowd_at_once() {
    let mut vnode = Vnode::new(WindowLimits::default());
    let crowd = Crowd { clients: 1_000, per_round: 4_096, delay: |_, _| 0 };
    crowd.run(&mut vnode, 0, 6);
    let mut out = Vec::new();
    envelope::encode_tombstone(&mut out, &vnode.window, None);
    vnode.window = envelope::Envelope::decode("read back", &out.into()).unwrap().window;
    let mark = vnode.window.mark();
    // Other clients send first; clients of the failed host may retry later.
    for client in 0..2_000 {
        vnode.take(5_000 + client, 1, vnode.open.previous().unwrap()).unwrap();
        vnode.commit();
    }
    assert_eq!(vnode.window.mark(), mark);
}
