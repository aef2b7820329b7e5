//! A simulated store: one shared map, and requests that take time, fail, land late, or land twice.
//!
//! The fate of a request is decided when it is sent, and it is carried out by the world's tick, so it lands even if its
//! sender has crashed or is paused. The answer of a create and whether it lands are two separate draws: that is the
//! point.

mod census;
mod faults;
mod handle;
mod landings;
mod list;
mod pace;
mod request;

use core::{ops::RangeInclusive, time::Duration};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use holocron_protocol::{
    epoch::record::EpochRecord,
    format::keys,
    ids::{DomainId, Epoch, HostName, SessionId},
};
use holocron_store::Error;
use tokio::sync::oneshot;

use self::{
    census::Census,
    landings::Landings,
    pace::{Pace, Paces},
    request::{Answer, Due, Reply, Report, Verb},
};
pub use self::{faults::StoreFaults, handle::SimStore, pace::Slow};
use crate::{
    chance::Chance,
    counters::Counters,
    trace::Trace,
    watch::{Event, Place, Watch},
};

/// The store.
#[derive(Clone, Debug)]
pub struct Shelf(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    now: Duration,
    place: Place,
    chance: Chance,
    trace: Trace,
    faults: StoreFaults,
    /// The end of the current outage.
    out_until: Duration,
    paces: Paces,
    /// The nodes without access.
    denied: BTreeSet<String>,
    objects: BTreeMap<String, Bytes>,
    due: BTreeMap<(Duration, u64), Due>,
    /// Answers in flight.
    answers: BTreeMap<(Duration, u64), (Reply, Result<Answer, Error>)>,
    next: u64,
    counts: BTreeMap<&'static str, u64>,
    watch: Watch,
    census: Census,
    landings: Landings,
    lost: bool,
}

/// The replacement of a lost store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// An empty store.
    Nothing,
    /// A store with this `cluster` object.
    Cluster(Bytes),
}

impl Shelf {
    pub(crate) fn new(place: Place, chance: Chance, trace: Trace, watch: Watch) -> Self {
        Self(Arc::new(Mutex::new(State {
            now: Duration::ZERO,
            place,
            chance,
            trace,
            faults: StoreFaults::none(),
            out_until: Duration::ZERO,
            paces: Paces::default(),
            denied: BTreeSet::new(),
            objects: BTreeMap::new(),
            due: BTreeMap::new(),
            answers: BTreeMap::new(),
            next: 0,
            counts: BTreeMap::new(),
            watch,
            landings: Landings::default(),
            census: Census::default(),
            lost: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under the store's lock")
    }

    pub(crate) fn of(&self, node: &str) -> SimStore {
        SimStore { shelf: self.clone(), node: node.to_owned() }
    }

    /// Sets the faults of the store.
    pub fn set_faults(&self, faults: StoreFaults) {
        self.state().faults = faults;
    }

    /// Starts an outage.
    pub fn set_outage(&self, span: Duration) {
        let mut state = self.state();
        let place = state.place;
        state.trace.note(format_args!("{place}the store is away for {span:?}"));
        state.out_until = state.now + span;
    }

    /// Takes one node's access, or gives it back.
    pub fn set_denied(&self, node: &str, denied: bool) {
        let mut state = self.state();
        let changed =
            if denied { state.denied.insert(node.to_owned()) } else { state.denied.remove(node) };
        if changed {
            let place = state.place;
            state.trace.note(format_args!("{place}{node} has access: {}", !denied));
        }
    }

    /// Makes one node's requests slow, or normal again.
    pub fn set_slow(&self, node: &str, slow: Option<Slow>) {
        let mut state = self.state();
        if let Some(slow) = slow {
            let place = state.place;
            state.trace.note(format_args!("{place}{node} is slow: {slow:?}"));
        }
        state.paces.set(node, slow);
    }

    /// The number of events by kind.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state().counts.clone()
    }

    /// Counters of what has landed.
    #[must_use]
    pub fn census(&self) -> Counters {
        self.state().census.counters
    }

    /// Whether a host at this address owns slots by the newest epoch that landed.
    pub(crate) fn owns_slots(&self, address: &str) -> bool {
        self.state().census.owns_slots(address)
    }

    /// Whether a session may end: it is sealed, the newest epoch says that it is over, or it leads.
    pub(crate) fn may_end(&self, session: SessionId) -> bool {
        self.state().census.may_end(session)
    }

    /// Whether one of these epochs has a session of this host that isn't among `ours`.
    pub(crate) fn names_another(
        &self,
        host: &HostName,
        epochs: RangeInclusive<Epoch>,
        ours: &BTreeSet<SessionId>,
    ) -> bool {
        let state = self.state();
        let mut numbers = epochs.start().get()..=epochs.end().get();
        numbers.any(|number| {
            let key = keys::epoch(Epoch::new(number));
            let record = state.objects.get(&key).map(|object| EpochRecord::decode(&key, object));
            let Some(Ok(record)) = record else { return false };
            let entry = record.hosts.get(host);
            let session = entry.and_then(|entry| entry.sessions.get(&DomainId::HOME));
            session.is_some_and(|session| !ours.contains(session))
        })
    }

    /// The keys under a prefix.
    #[must_use]
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let state = self.state();
        state
            .objects
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// An object is deleted from outside.
    pub fn delete_outside(&self, key: &str) {
        let mut state = self.state();
        let gone = state.objects.remove(key).is_some();
        state.trace.note(format_args!("{key} is deleted from outside: {gone}"));
        state.watch.deleted_outside(key);
    }

    /// The store is lost, and another one replaces it under the same address. Requests in flight reach that one.
    pub fn lose(&self, replacement: Replacement) {
        let mut state = self.state();
        state.trace.note(format_args!("the store is lost: {replacement:?}"));
        state.lost = true;
        state.watch.lost();
        state.objects.clear();
        if let Replacement::Cluster(object) = replacement {
            state.objects.insert(keys::CLUSTER.to_owned(), object);
        }
    }

    /// Whether the store was lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.state().lost
    }

    /// The last object under a prefix.
    /// An object, if it exists.
    #[must_use]
    pub fn read(&self, key: &str) -> Option<Bytes> {
        self.state().objects.get(key).cloned()
    }

    pub(crate) fn newest(&self, prefix: &str) -> Option<(String, Bytes)> {
        let state = self.state();
        let under =
            state.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        under.last().map(|(key, object)| (key.clone(), object.clone()))
    }

    /// Carries out all requests that are due.
    pub(crate) fn deliver(&self, now: Duration) {
        let mut state = self.state();
        state.now = now;
        while let Some(entry) = state.due.first_entry().filter(|entry| entry.key().0 <= now) {
            let due = entry.remove();
            state.carry_out(due);
        }
        while let Some(entry) = state.answers.first_entry().filter(|entry| entry.key().0 <= now) {
            let (reply, answer) = entry.remove();
            // The sender may be gone.
            drop(reply.send(answer));
        }
    }
}

impl State {
    /// Decides the fate of a request.
    fn ask(&mut self, node: &str, verb: Verb) -> oneshot::Receiver<Result<Answer, Error>> {
        let (reply, answer) = oneshot::channel();
        let pace = self.paces.of(node, &verb, self.faults.latency, &self.chance);
        if let Verb::Create(..) = verb {
            // The minimum latency is half of the usual one. Each domain has a journal of its own.
            let asker = format!("{}{node}", self.place);
            self.watch.asked(&asker, self.now, self.faults.latency / 2);
        }
        let mut due = Due {
            node: node.to_owned(),
            verb,
            reply: Some(reply),
            report: Report::Truth,
            told_after: pace.back,
        };
        let faults = self.faults.clone();
        if self.denied.contains(node) {
            self.count("denied");
            due.is_denied();
        } else if self.now < self.out_until {
            self.count("refused by an outage");
            due.fails_unheard();
        } else if self.chance.happens(faults.fail_before) {
            self.count("failed before");
            due.fails_unheard();
        } else if self.chance.happens(faults.fail_after) {
            self.count("failed after");
            if let Verb::Create(..) = due.verb {
                self.census.counters.unknown_outcomes += 1;
            }
            due.report = Report::Failed;
        } else if let Verb::Create(..) = due.verb {
            self.ask_create(pace, &mut due);
        }
        self.schedule(pace.there, due);
        answer
    }

    fn ask_create(&mut self, pace: Pace, due: &mut Due) {
        let faults = self.faults.clone();
        let again = due.again();
        let late = pace.there + self.chance.between(Duration::ZERO, faults.late);
        let mut twice = false;
        if self.chance.happens(faults.land_late) {
            self.count("landed late");
            due.fails_unheard();
            self.schedule(late, again);
        } else if self.chance.happens(faults.land_twice) {
            self.count("landed twice");
            twice = true;
            self.schedule(late, again);
        } else if self.chance.happens(faults.conflict_after) {
            self.count("conflict with itself");
            due.report = Report::Conflict;
        } else if self.chance.happens(faults.conflict_before) {
            self.count("conflict with nothing");
            due.fails_unheard();
            due.report = Report::Conflict;
        }
        if due.report != Report::Truth || twice {
            self.census.counters.unknown_outcomes += 1;
        }
    }

    fn schedule(&mut self, after: Duration, due: Due) {
        self.next += 1;
        self.due.insert((self.now + after, self.next), due);
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn carry_out(&mut self, due: Due) {
        let Due { node, verb, reply, report, told_after } = due;
        let key = verb.key().to_owned();
        let truth = self.apply(&node, verb);
        let answer = match report {
            Report::Truth => truth,
            Report::Failed => {
                Err(Error::Unclear { key, source: "the simulated store says nothing".into() })
            }
            Report::Conflict => Err(Error::Conflict { key }),
            Report::Denied => {
                Err(Error::Denied { key, source: "the simulated key was revoked".into() })
            }
        };
        if let Some(reply) = reply {
            self.next += 1;
            self.answers.insert((self.now + told_after, self.next), (reply, answer));
        }
    }

    fn apply(&mut self, node: &str, verb: Verb) -> Result<Answer, Error> {
        self.count(verb.name());
        let place = self.place;
        match verb {
            Verb::Create(key, body) => {
                if let Some(existing) = self.objects.get(&key) {
                    self.census.met(&key, &body, existing);
                    return Err(Error::Conflict { key });
                }
                self.trace.note(format_args!("{place}{node} create {key} {} B", body.len()));
                self.census.created(&key, &body);
                self.landings.created(&key, &body);
                self.objects.insert(key.clone(), body.clone());
                self.watch.created(Event { place, node, key: &key, objects: &self.objects }, &body);
                Ok(Answer::Done)
            }
            Verb::Put(key, body) => {
                self.trace.note(format_args!("{place}{node} put {key} {} B", body.len()));
                self.objects.insert(key.clone(), body.clone());
                self.watch.put(Event { place, node, key: &key, objects: &self.objects }, &body);
                Ok(Answer::Done)
            }
            Verb::Get(key) => Ok(Answer::Got(self.objects.get(&key).cloned())),
            Verb::GetRange(key, range) => {
                let Some(object) = self.objects.get(&key) else {
                    return Ok(Answer::Got(None));
                };
                let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
                let part = bounds.filter(|&(begin, end)| begin <= end && end <= object.len());
                match part {
                    Some((begin, end)) => Ok(Answer::Got(Some(object.slice(begin..end)))),
                    None => {
                        Err(Error::Rejected { key, source: "a range beyond the object".into() })
                    }
                }
            }
            Verb::List(prefix) => {
                Ok(Answer::Listed(list::in_no_order(&self.objects, &prefix, &self.chance)))
            }
            Verb::Delete(key) => {
                if self.objects.remove(&key).is_some() {
                    self.trace.note(format_args!("{place}{node} delete {key}"));
                    self.watch.deleted(Event { place, node, key: &key, objects: &self.objects });
                }
                Ok(Answer::Done)
            }
            Verb::Nothing(_) => Ok(Answer::Done),
        }
    }
}
