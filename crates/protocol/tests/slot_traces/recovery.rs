//! How a session recovers slots. The session is C, and its residency is the real one. An event is a line, its
//! milliseconds first:
//!
//! ```text
//! 0 epoch e4 | #0 C@4 from B@3 A@1 | B sealed at p9    it reads an epoch record, see [`record`]
//! 0 committed A p6                                     A is about to be sealed; it was known to have committed p6
//! 0 sealed A p9                                        A is sealed there, word comes
//! 0 released A p7                                      A has a Release committed there, word comes
//! 20 fetched A live @1 a1 full -4 #1 @1 b2             a fetch ends: what the journal says of #0, and then of #1
//! 20 fetched A sealed p9 @1 a1                         the same, up to the seal
//! 20 fetched A live @1 a1 -4 #1 damaged                the same; what it says of #1 breaks a rule
//! 20 failed A detached | missing | unreadable          a fetch fails
//! 30 flushed                                           C's vnodes have handed over: the Releases that it owes are appended
//! 500 tick                                             time passes
//! 600 awaited                                          it is asked for which Releases it waits
//! ```
//!
//! In a journal `@1` adopts the slot, `a5` writes vnode a with commit 5, `full` is a checkpoint that holds all of the open
//! tenure, `-2` releases it.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use holocron_protocol::{
    epoch::draft::{SlotReport, SourceFact},
    ids::{CommitNumber, Epoch, Position, SessionId, Slot, VnodeHash},
    journal::sealing::Hint,
    slot::{
        log::SlotLog,
        recovery::{self, Effect, Event, FetchFailure, FetchUpTo, Recovered, Recovery, Wanted},
        replay::{JournalEnd, Source},
        residency::{self, Residency},
    },
    state::{
        index::SlotIndex,
        place::{FileNumber, Origin, Place, PlaceKind},
    },
    time::Time,
};

use crate::{
    traces,
    words::{SLOT_COUNT, number, position, record, session, session_word, slot, tenure_word},
};

/// Steps a recovery through the lines of a trace.
pub(crate) fn play(input: &str) -> String {
    let mut reader = Reader::new();
    for line in traces::events(input) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [millis, event @ ..] = words.as_slice() else { panic!("no time in {line:?}") };
        reader.millis = millis.parse().unwrap();
        let looked_at = reader.recovery.look_at();
        reader.happens(event);
        reader.recover();
        if looked_at != reader.recovery.look_at() {
            let looks = match reader.recovery.look_at() {
                Some(at) => format!("looks again at {}", at.as_micros() / 1000),
                None => "waits for no time".into(),
            };
            reader.says(&looks);
        }
    }
    reader.output
}

/// A journal that was fetched.
struct Journal {
    end: JournalEnd,
    /// What it says of each slot; `None` where that breaks a rule.
    logs: BTreeMap<Slot, Option<SlotLog>>,
}

/// The session that recovers, driven like a real one.
struct Reader {
    session: SessionId,
    millis: u64,
    residency: Residency,
    recovery: Recovery,
    journals: BTreeMap<SessionId, Journal>,
    /// The last position of its own journal.
    last: Position,
    output: String,
}

impl Reader {
    fn new() -> Self {
        let session = session("C");
        Self {
            session,
            millis: 0,
            residency: Residency::new(session, SLOT_COUNT),
            recovery: Recovery::new(session),
            journals: BTreeMap::new(),
            last: Position::ZERO,
            output: String::new(),
        }
    }

    fn says(&mut self, what: &str) {
        writeln!(self.output, "@{} {what}", self.millis).unwrap();
    }

    fn happens(&mut self, event: &[&str]) {
        let event = match event {
            ["epoch", words @ ..] => {
                let record = record(words);
                for (slot, holding) in record.home().slots.iter() {
                    // Calls are of no interest here, and the vnodes hand over when the trace says so.
                    drop(self.residency.step(slot, residency::Event::Epoch(holding)));
                }
                Event::Epoch(Arc::new(record))
            }
            ["committed", name, at] => Event::Committed(session(name), position(at)),
            ["sealed", name, at] => Event::Sealed(session(name), position(at)),
            ["released", name, at] => Event::Released(session(name), position(at)),
            ["fetched", name, "live", words @ ..] => {
                self.fetched(session(name), JournalEnd::Live, words)
            }
            ["fetched", name, "sealed", at, words @ ..] => {
                self.fetched(session(name), JournalEnd::Sealed(position(at)), words)
            }
            ["failed", name, why] => Event::Failed(session(name), failure(why)),
            ["flushed"] => return self.release(),
            ["awaited"] => return self.awaited(),
            ["tick"] => Event::Tick,
            _ => panic!("{event:?} never happens"),
        };
        self.step(event);
    }

    fn fetched(&mut self, session: SessionId, end: JournalEnd, words: &[&str]) -> Event {
        self.journals.insert(session, Journal { end, logs: logs(words) });
        Event::Fetched(session, end)
    }

    fn release(&mut self) {
        for slot in (0..SLOT_COUNT).map(Slot) {
            let Some(release) = self.residency.owed_release(slot) else { continue };
            drop(self.residency.step(slot, residency::Event::Released));
            self.last = self.last.next();
            self.says(&format!("→ append Release {release} of {slot} at {}", self.last));
        }
    }

    fn awaited(&mut self) {
        let names: Vec<&str> = self.recovery.awaited().map(session_word).collect();
        let names = if names.is_empty() { "none".into() } else { names.join(" ") };
        self.says(&format!("awaits a Release of {names}"));
    }

    fn step(&mut self, event: Event) {
        let effects = self.recovery.step(Time::from_millis(self.millis), event);
        self.act(effects);
    }

    fn recover(&mut self) {
        let Some(record) = self.recovery.record() else { return };
        let wanted = recovery::wanted(&self.residency, self.session, record);
        self.replay(&wanted);
        let source = |session: SessionId, slot: Slot| {
            let Journal { end, logs } = self.journals.get(&session)?;
            let log =
                logs.get(&slot).map(|log| log.as_ref().expect("what is damaged is forgotten"));
            Some(Source { end: *end, log })
        };
        let effects = self.recovery.recover(Time::from_millis(self.millis), &wanted, source);
        self.act(effects);
    }

    /// Says of each journal that is needed whether it could be replayed. Only what it says of wanted slots is looked at.
    fn replay(&mut self, wanted: &[Wanted]) {
        let events = self.journals.iter().filter_map(|(&session, journal)| {
            let needs =
                |wanted: &&Wanted| wanted.sources.iter().any(|source| source.session == session);
            let slots: Vec<Slot> = wanted.iter().filter(needs).map(|wanted| wanted.slot).collect();
            let damaged = slots.iter().any(|slot| matches!(journal.logs.get(slot), Some(None)));
            (!slots.is_empty()).then_some(if damaged {
                Event::NotReplayed(session)
            } else {
                Event::Replayed(session)
            })
        });
        for event in events.collect::<Vec<_>>() {
            self.step(event);
        }
    }

    fn act(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.says(&format!("→ {}", effect_words(&effect)));
            match effect {
                Effect::Adopt(Recovered { slot, tenure, .. }) => {
                    self.last = self.last.next();
                    let adopted = residency::Event::Adopted { tenure: tenure.epoch, at: self.last };
                    drop(self.residency.step(slot, adopted));
                }
                Effect::Forget(session) => drop(self.journals.remove(&session)),
                Effect::Fetch(..)
                | Effect::ReadEpochLog
                | Effect::Report(_)
                | Effect::Contradicted(..)
                | Effect::Alert(_) => {}
            }
        }
    }
}

fn failure(word: &str) -> FetchFailure {
    match word {
        "detached" => FetchFailure::Detached,
        "missing" => FetchFailure::ObjectMissing,
        "unreadable" => FetchFailure::Unreadable,
        "gave-up" => FetchFailure::GaveUp,
        _ => panic!("{word} is no failure"),
    }
}

fn logs(words: &[&str]) -> BTreeMap<Slot, Option<SlotLog>> {
    let mut logs = BTreeMap::new();
    let mut of = Slot(0);
    for word in words {
        if word.starts_with('#') {
            of = slot(word);
        } else if *word == "damaged" {
            logs.insert(of, None);
        } else {
            let log = logs.entry(of).or_insert_with(|| Some(SlotLog::default()));
            add(log.as_mut().expect("nothing follows `damaged`"), word);
        }
    }
    logs
}

fn add(log: &mut SlotLog, word: &str) {
    let mut letters = word.chars();
    match (letters.next().unwrap(), letters.as_str()) {
        ('@', epoch) => {
            log.adopt(Epoch::new(epoch.parse().unwrap()), SlotIndex::default()).unwrap();
        }
        ('-', epoch) => log.release(Epoch::new(epoch.parse().unwrap())).unwrap(),
        ('f', "ull") => log.settled(log.open().unwrap().epoch),
        (vnode, _) => {
            let commit = number(vnode, word);
            // Two places with one commit number are copies of one record: the checksum says so.
            let place = Place {
                file: FileNumber::default(),
                offset: 32,
                length: 1,
                checksum: commit.try_into().unwrap(),
                commit: CommitNumber::new(commit),
                wake_at: 0,
                kind: PlaceKind::Live,
                origin: Origin::Own,
            };
            log.write(hash(vnode), &place).unwrap();
        }
    }
}

fn hash(vnode: char) -> VnodeHash {
    VnodeHash::from_bits(u128::from(u32::from(vnode)))
}

fn effect_words(effect: &Effect) -> String {
    match effect {
        Effect::Fetch(session, up_to) => {
            format!("fetch {} up to {}", session_word(*session), up_to_words(*up_to))
        }
        Effect::Forget(session) => format!("forget {}", session_word(*session)),
        Effect::ReadEpochLog => "read the epoch log".into(),
        Effect::Adopt(recovered) => recovered_words(recovered),
        Effect::Report(SlotReport { domain: _, slot, fact }) => match *fact {
            SourceFact::Empty(tenure) => format!("report {} of {slot} empty", tenure_word(tenure)),
            SourceFact::Full(_) => panic!("a recovery copies nothing: {fact:?}"),
        },
        Effect::Contradicted(slot, contradiction) => format!(
            "alert: {slot} has commit {} of {} and then {} of {}",
            contradiction.older_commit,
            tenure_word(contradiction.older),
            contradiction.newer_commit,
            tenure_word(contradiction.newer)
        ),
        Effect::Alert(session) => {
            format!("alert: objects of {} are missing", session_word(*session))
        }
    }
}

fn up_to_words(up_to: FetchUpTo) -> String {
    match up_to {
        FetchUpTo::Seal(Hint::Nothing) => "its seal".into(),
        FetchUpTo::Seal(Hint::Committed(at)) => format!("its seal, somewhere behind {at}"),
        FetchUpTo::Seal(Hint::Sealed(at)) => format!("its seal at {at}"),
        FetchUpTo::Seal(Hint::Fetched(_)) => panic!("the leader alone fetches before it seals"),
        FetchUpTo::Release(at) => format!("its Release at {at}"),
        FetchUpTo::NewestBatch => "its newest batch".into(),
        FetchUpTo::OwnCommitted => "what it has submitted".into(),
    }
}

/// `adopt #0 as C@3 from B@2 A@1: a2 b1`.
fn recovered_words(recovered: &Recovered) -> String {
    let Recovered { slot, tenure, sources, index } = recovered;
    let sources: Vec<String> = sources.iter().map(|&source| tenure_word(source)).collect();
    let entries: Vec<String> = ('a'..='z')
        .filter_map(|vnode| Some(format!("{vnode}{}", index.get(hash(vnode))?.commit.get())))
        .collect();
    assert_eq!(entries.len(), index.count(), "vnodes are called a to z");
    let from = if sources.is_empty() { "nothing".into() } else { sources.join(" ") };
    let found = if entries.is_empty() { "nothing".into() } else { entries.join(" ") };
    format!("adopt {slot} as {} from {from}: {found}", tenure_word(*tenure))
}
