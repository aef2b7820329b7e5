//! Sealing told by the traces in `tests/traces/sealing`.
//!
//! An event is a line:
//!
//! ```text
//! start nothing | committed p5 | fetched p5=batch | sealed p7  what is known before
//! listed p0..p2 p4                                             the names in the journal
//! got p5=batch p6..p9=absent s0=absent end=present             one round of gets
//! created won | unknown | lost p6=batch                        how the create of the seal ended
//! ```
//!
//! An object is `absent`, `opening`, `undecodable`, `batch` or `seal`; the last two may have `committed`, `low_water`
//! and `checkpoint_at`, as in `batch,committed=3,low_water=2`. The default of `committed` is the position before the
//! batch.

#![expect(clippy::unwrap_used, reason = "a trace that can't be read should fail where it is read")]

#[path = "support/traces.rs"]
mod traces;

use std::fmt::Write as _;

use holocron_protocol::{
    format::{codec::Malformed, keys, segment::SegmentLen},
    ids::{Epoch, HostName, Position, Segment, SessionId},
    journal::{
        batch::{BatchHeader, Seal},
        sealing::{CreateOutcome, Hint, SealEffect, SealEvent, Sealing, Seen},
    },
};

const SESSION: SessionId = SessionId::new(7);

#[test]
fn every_trace_comes_out_as_recorded() {
    traces::check(&[("sealing", 12, replay)]);
}

/// Replays the events of a scenario; returns the effect of each.
fn replay(input: &str) -> String {
    let mut output = String::new();
    let mut machine: Option<Sealing> = None;
    for line in traces::events(input) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let effect = if verb == "start" {
            let by = HostName::new("h2").unwrap();
            let started = Sealing::new(SESSION, SegmentLen::JOURNAL, hint(rest), by, Epoch::new(4));
            machine.insert(started).start()
        } else {
            let machine = machine.as_mut().expect("a trace starts with `start`");
            machine.step(event(verb, rest))
        };
        writeln!(output, "{verb} → {}", effect_words(&effect)).unwrap();
    }
    output
}

fn hint(text: &str) -> Hint {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("nothing", "") => Hint::Nothing,
        ("committed", at) => Hint::Committed(position(at)),
        ("sealed", at) => Hint::Sealed(position(at)),
        ("fetched", rest) => {
            let (at, object) = rest.split_once('=').expect("fetched p5=batch");
            let Seen::Batch(header) = seen(position(at), object) else {
                panic!("only a batch is fetched, not {object}")
            };
            Hint::Fetched(header)
        }
        other => panic!("no such start: {other:?}"),
    }
}

fn event(verb: &str, rest: &str) -> SealEvent {
    match verb {
        "listed" => SealEvent::Listed(rest.split_whitespace().flat_map(range).collect()),
        "got" => got(rest),
        "created" => SealEvent::Created(match rest.split_once(' ').unwrap_or((rest, "")) {
            ("won", "") => CreateOutcome::Won,
            ("unknown", "") => CreateOutcome::Unknown,
            ("lost", found) => {
                let (at, object) = found.split_once('=').expect("lost p6=batch");
                CreateOutcome::Lost(seen(position(at), object))
            }
            other => panic!("no such outcome: {other:?}"),
        }),
        _ => panic!("no such event: {verb}"),
    }
}

fn got(text: &str) -> SealEvent {
    let (mut positions, mut marks, mut end) = (Vec::new(), Vec::new(), None);
    for (what, found) in text.split_whitespace().map(|word| word.split_once('=').expect("p5=batch"))
    {
        let there = || match found {
            "present" => true,
            "absent" => false,
            _ => panic!("a mark is present or absent, not {found}"),
        };
        if what == "end" {
            end = Some(there());
        } else if let Some(number) = what.strip_prefix('s') {
            marks.push((Segment::new(number.parse().unwrap()), there()));
        } else {
            positions.extend(range(what).map(|at| (at, seen(at, found))));
        }
    }
    SealEvent::Got { positions, marks, end }
}

fn seen(at: Position, object: &str) -> Seen {
    let mut words = object.split(',');
    let noun = words.next().expect("split yields at least one");
    let said: Vec<_> = words.map(|word| word.split_once('=').expect("committed=3")).collect();
    let said = |field: &str| {
        let found = said.iter().find(|&&(name, _)| name == field);
        found.map(|(_, number)| Position::new(number.parse().unwrap()))
    };
    let low_water = said("low_water").unwrap_or_default();
    let checkpoint_at = said("checkpoint_at").unwrap_or_default();
    match noun {
        "absent" => Seen::Absent,
        "opening" => Seen::Opening,
        "undecodable" => {
            Seen::Undecodable(Malformed::new(&keys::journal_position(SESSION, at), "damaged"))
        }
        "batch" => Seen::Batch(BatchHeader {
            session: SESSION,
            position: at,
            committed: said("committed").or(at.previous()).expect("position 0 holds no batch"),
            low_water,
            checkpoint_at,
        }),
        "seal" => Seen::Seal(Seal {
            by: HostName::new("h3").unwrap(),
            epoch: Epoch::new(3),
            low_water,
            checkpoint_at,
        }),
        _ => panic!("no such object: {noun}"),
    }
}

/// `p5`, or `p5..p9`, both included.
fn range(text: &str) -> impl Iterator<Item = Position> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    (position(first).get()..=position(last).get()).map(Position::new)
}

fn position(text: &str) -> Position {
    let number = text.strip_prefix('p').unwrap_or_else(|| panic!("not a position: {text}"));
    Position::new(number.parse().unwrap())
}

/// An effect, in the form of the traces.
fn effect_words(effect: &SealEffect) -> String {
    match effect {
        SealEffect::List => "list".into(),
        SealEffect::Get { positions, marks, end } => {
            let mut words = vec!["get".to_owned()];
            match positions[..] {
                [first, _, _, .., last] => words.push(format!("{first}..{last}")),
                _ => words.extend(positions.iter().map(ToString::to_string)),
            }
            words.extend(marks.iter().map(ToString::to_string));
            words.extend(end.then(|| "end".to_owned()));
            words.join(" ")
        }
        SealEffect::Create { position, seal } => format!(
            "create seal at {position} low_water={} checkpoint_at={} by {} in {}",
            seal.low_water, seal.checkpoint_at, seal.by, seal.epoch
        ),
        SealEffect::Done(sealed) => format!(
            "sealed at {} low_water={} checkpoint_at={}",
            sealed.position, sealed.low_water, sealed.checkpoint_at
        ),
        SealEffect::Detached => "detached".into(),
        SealEffect::Broken(malformed) => format!("broken: {malformed}"),
    }
}
