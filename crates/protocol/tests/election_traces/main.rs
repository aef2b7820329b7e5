//! Elections told by the traces in `tests/traces/election`, and members of an election used alone by those in
//! `tests/traces/candidate`; [`model`] searches claims to lead under drifting clocks.
//!
//! In `election`, an event is a line that starts with its time in milliseconds:
//!
//! ```text
//! start empty | start e7 other rank 1          what is known before
//! chance 100000                                the random bits from now on
//! 100 heard e7 | heard e7 by hint | suspected other | learned e8 us
//! 100 read nothing | read unknown | read e8 gone rank 0
//! 100 created won | lost | unknown | withdrawn
//! 100 mark absent | present | unknown
//! 100 tick | paused | change wanted | contest due | store fails | store works
//! 100 claim 10000 1000                         until when it claims to lead, by lease and margin
//! ```

#![expect(clippy::unwrap_used, reason = "a trace that can't be read fails its test")]

mod candidate;
mod model;
#[path = "../support/switched.rs"]
mod switch;
#[path = "../support/traces.rs"]
mod traces;

use std::{fmt::Write as _, time::Duration};

use holocron_protocol::{
    control::{
        election::{
            CreateOutcome, Effect, Election, ElectionSettings, Event, HeardBy, MarkOutcome, News,
            ReadOutcome, Role, Writer,
        },
        lease::Lease,
    },
    epoch::log::MarkState,
    ids::{Epoch, SessionId},
    time::Time,
};
use traces::Folder;

const FOLDERS: [Folder; 2] = [("election", 26, run), ("candidate", 22, candidate::play)];

#[test]
fn every_trace_comes_out_as_recorded() {
    traces::check(&FOLDERS);
}

/// Bugs planted in the real code, each found by a trace or by the model.
mod switched {
    use holocron_planted::Bug;

    use super::{FOLDERS, model, switch, traces};

    const TRACES: &str = "switched::all_traces";
    const MODEL: &str = "switched::the_whole_model";

    #[test]
    #[ignore = "breaks a promise: started by the tests below, with a bug planted"]
    fn all_traces() {
        let bug = switch::plant();
        let changed = traces::changed(&FOLDERS);
        assert!(changed.is_empty(), "{}:\n{}", bug.name(), changed.join("\n"));
    }

    #[test]
    #[ignore = "breaks a promise: started by the tests below, with a bug planted"]
    fn the_whole_model() {
        let _bug = switch::plant();
        model::search();
    }

    #[test]
    fn a_claim_from_the_time_of_the_answer() {
        switch::is_missed(Bug::ClaimFromAnswer, MODEL, model::OVERLAP);
    }

    #[test]
    fn a_claim_that_begins_at_once() {
        switch::is_missed(Bug::ClaimAtOnce, MODEL, model::OVERLAP);
        switch::is_missed(Bug::ClaimAtOnce, TRACES, "election/the_lease_of_a_leader.txt");
    }

    #[test]
    fn a_leader_that_is_not_confirmed() {
        let trace = "candidate/a_leader_without_the_store.txt";
        switch::is_missed(Bug::LeadUnconfirmed, TRACES, trace);
    }

    #[test]
    fn a_leader_that_resigns_and_goes_on() {
        let trace = "candidate/the_leader_resigns.txt";
        switch::is_missed(Bug::ResignAsLeader, TRACES, trace);
    }
}

/// Replays the lines of a trace.
fn run(input: &str) -> String {
    let mut election = None;
    let (mut output, mut chance) = (String::new(), 0);
    for line in traces::events(input) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let fresh = |newest| Election::new(ElectionSettings::default(), Time::ZERO, newest);
        match words.as_slice() {
            ["start", "empty"] => election = Some(fresh(None)),
            ["start", news @ ..] => election = Some(fresh(Some(parse_news(news)))),
            ["chance", bits] => chance = bits.parse().unwrap(),
            [millis, "claim", lease, margin] => {
                let election: &Election = election.as_ref().expect("a trace starts with `start`");
                let span = |text: &str| Duration::from_millis(text.parse().unwrap());
                let now = Time::from_millis(millis.parse().unwrap());
                let lease = Lease { length: span(lease), margin: span(margin) };
                let until = election.claim(lease).and_then(|claim| claim.at(now));
                let until = until.map_or("claims nothing".to_string(), |until| {
                    format!("claims until {}", until.as_micros() / 1000)
                });
                writeln!(output, "@{millis} {until}").unwrap();
            }
            [millis, event @ ..] => {
                let election = election.as_mut().expect("a trace starts with `start`");
                let now = Time::from_millis(millis.parse().unwrap());
                let before = election.role();
                for effect in election.step(now, chance, parse_event(event)) {
                    writeln!(output, "@{millis} → {}", effect_words(effect)).unwrap();
                }
                let role = election.role();
                if role_words(before) != role_words(role) {
                    writeln!(output, "@{millis} {}", role_words(role)).unwrap();
                }
            }
            [] => unreachable!("empty lines are skipped"),
        }
    }
    output
}

fn parse_epoch(word: &str) -> Epoch {
    Epoch::new(word.strip_prefix('e').expect("an epoch is written e7").parse().unwrap())
}

/// `e7 other rank 1`: written by `us`, by an `other` or a `third` host that continues to lead, or by one that is
/// `gone`. The rank may be omitted for `us`.
fn parse_news(words: &[&str]) -> News {
    let (epoch, writer, rank) = match words {
        [epoch, writer, "rank", rank] => (epoch, writer, rank.parse().unwrap()),
        [epoch, writer] => (epoch, writer, 0),
        _ => panic!("not a record: {words:?}"),
    };
    let writer = match *writer {
        "us" => Writer::Us,
        "gone" => Writer::Gone,
        another => Writer::Other(parse_session(another)),
    };
    News { epoch: parse_epoch(epoch), writer, rank }
}

/// The session of an `other` or a `third`.
fn parse_session(word: &str) -> SessionId {
    match word {
        "other" => SessionId::new(1),
        "third" => SessionId::new(2),
        _ => panic!("{word} has no session"),
    }
}

fn parse_event(words: &[&str]) -> Event {
    match words {
        ["tick"] => Event::Tick,
        ["heard", epoch] => {
            Event::HeardLeader { epoch: parse_epoch(epoch), by: HeardBy::Connection }
        }
        ["heard", epoch, "by", "hint"] => {
            Event::HeardLeader { epoch: parse_epoch(epoch), by: HeardBy::Hint }
        }
        ["suspected", leader] => Event::LeaderSuspected { leader: parse_session(leader) },
        ["learned", news @ ..] => Event::Learned(parse_news(news)),
        ["read", "nothing"] => Event::Read(ReadOutcome::Nothing),
        ["read", "unknown"] => Event::Read(ReadOutcome::Unknown),
        ["read", news @ ..] => Event::Read(ReadOutcome::Newest(parse_news(news))),
        ["created", "won"] => Event::Created(CreateOutcome::Won),
        ["created", "lost"] => Event::Created(CreateOutcome::Lost),
        ["created", "unknown"] => Event::Created(CreateOutcome::Unknown),
        ["created", "withdrawn"] => Event::Created(CreateOutcome::Withdrawn),
        ["mark", "absent"] => Event::Marked(MarkOutcome::Seen(MarkState::Absent)),
        ["mark", "present"] => Event::Marked(MarkOutcome::Seen(MarkState::Present)),
        ["mark", "unknown"] => Event::Marked(MarkOutcome::Unknown),
        ["change", "wanted"] => Event::ChangeWanted,
        ["contest", "due"] => Event::ContestDue,
        ["paused"] => Event::Paused,
        ["store", "fails"] => Event::StoreFailing,
        ["store", "works"] => Event::StoreWorking,
        _ => panic!("not an event: {words:?}"),
    }
}

fn effect_words(effect: Effect) -> String {
    match effect {
        Effect::Read(epoch) => format!("read from {epoch}"),
        Effect::Create(epoch) => format!("create {epoch}"),
        Effect::CheckMark(epoch) => format!("get the mark of {epoch}"),
        Effect::PutHint(epoch) => format!("put the hint of {epoch}"),
        Effect::Lead(epoch) => format!("lead {epoch}"),
        Effect::Follow(epoch) => format!("follow {epoch}"),
    }
}

fn role_words(role: Role) -> String {
    let millis = |time: Time| time.as_micros() / 1000;
    match role {
        Role::Waking => "wakes".to_string(),
        Role::Following { until } => format!("is quiet until {}", millis(until)),
        Role::Candidate { not_before } => format!("is a candidate from {}", millis(not_before)),
        Role::Leading { .. } => "leads".to_string(),
    }
}
