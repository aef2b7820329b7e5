//! What a session does with one slot. The session is A. An event is a line:
//!
//! ```text
//! epoch B@4 from A@3       the newest epoch that it has read: who holds the slot
//! recovered e3 at p5       the slot was recovered for that tenure; if that is still wanted, its Adopt is appended there
//! flushed                  the vnodes have handed over; if a Release is owed and everything is closed, it is appended
//! opens e3                 a vnode that is active under that tenure begins to open something; if it may
//! closed e3                it is closed
//! overdue e3               the closes of that tenure have taken too long
//! call                     a call arrives
//! append e3                a vnode that is active under that tenure has a record to append
//! answer e3                a query of such a vnode is to wait for its barrier
//! find p5 | find none      a vnode is activated, whose newest record in the own journal's tail stands there
//! ```

use std::fmt::Write as _;

use holocron_protocol::{
    ids::{Position, Slot},
    slot::residency::{Admission, Effect, Event, Newest, Residency, SlotState},
};

use crate::{
    traces,
    words::{epoch, holding, position, session},
};

const SLOT: Slot = Slot(0);

/// Steps a residency through the lines of a trace.
pub(crate) fn play(input: &str) -> String {
    let mut residency = Residency::new(session("A"), 1);
    let mut output = String::new();
    for line in traces::events(input) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let before = residency.state(SLOT);
        let mut said = match words.as_slice() {
            ["epoch", words @ ..] => step(&mut residency, Event::Epoch(&holding(words))),
            ["recovered", tenure, "at", at] => {
                let (tenure, at) = (epoch(tenure), position(at));
                if residency.may_adopt(SLOT, tenure) {
                    step(&mut residency, Event::Adopted { tenure, at })
                } else {
                    vec!["not wanted".into()]
                }
            }
            ["opens", tenure] if !residency.may_open(SLOT, epoch(tenure)) => vec!["refused".into()],
            ["opens", tenure] => step(&mut residency, Event::Opening(epoch(tenure))),
            ["closed", tenure] => step(&mut residency, Event::Closed(epoch(tenure))),
            ["overdue", tenure] => step(&mut residency, Event::CloseOverdue(epoch(tenure))),
            ["flushed"] => match residency.owed_release(SLOT) {
                Some(_) if residency.releasable(SLOT).is_none() => {
                    vec!["the Release waits for a close".into()]
                }
                Some(release) => {
                    let mut said = vec![format!("append Release {release}")];
                    said.extend(step(&mut residency, Event::Released));
                    said
                }
                None => vec!["nothing is owed".into()],
            },
            question => vec![answer(&residency, question)],
        };
        if before != residency.state(SLOT) {
            said.push(state_words(residency.state(SLOT)));
        }
        if said.is_empty() {
            said.push("nothing".into());
        }
        writeln!(output, "{line} → {}", said.join("; ")).unwrap();
    }
    output
}

fn step(residency: &mut Residency, event: Event<'_>) -> Vec<String> {
    residency.step(SLOT, event).into_iter().map(|effect| effect_words(effect).into()).collect()
}

fn answer(residency: &Residency, question: &[&str]) -> String {
    let allowed = |allowed: bool| if allowed { "allowed" } else { "refused" }.to_owned();
    match question {
        ["call"] => match residency.admission(SLOT) {
            Admission::Run(tenure) => format!("runs under {tenure}"),
            Admission::Wait => "waits".into(),
            Admission::Refuse => "refused".into(),
        },
        ["append", tenure] => allowed(residency.may_append(SLOT, epoch(tenure))),
        ["answer", tenure] => allowed(residency.may_answer(SLOT, epoch(tenure))),
        ["find", "none"] => newest_words(residency, None),
        ["find", at] => newest_words(residency, Some(position(at))),
        _ => panic!("{question:?} never happens"),
    }
}

fn newest_words(residency: &Residency, in_tail: Option<Position>) -> String {
    match residency.newest(SLOT, in_tail) {
        Newest::InTail => "in the tail".into(),
        Newest::InIndex(tenure) => format!("in the index of {tenure}, or new"),
        Newest::NotServed => "not served".into(),
    }
}

const fn effect_words(effect: Effect) -> &'static str {
    match effect {
        Effect::Recover => "recover",
        Effect::Drain => "drain",
        Effect::RunWaiting => "run the calls that wait",
        Effect::RefuseWaiting => "refuse the calls that wait",
    }
}

fn state_words(state: SlotState) -> String {
    match state {
        SlotState::NotOurs => "is not ours".into(),
        SlotState::Recovering { tenure } => format!("is recovering for {tenure}"),
        SlotState::Serving { tenure, since } => format!("serves {tenure} since {since}"),
        SlotState::Draining { tenure, since, release } => {
            format!("is draining {tenure} since {since}, owes Release {release}")
        }
        SlotState::ReleaseOwed { release } => format!("owes Release {release}"),
    }
}
