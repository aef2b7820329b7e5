//! What one active vnode with hooks does between opening and closing. An event is a line, `@` the time in milliseconds
//! from then on:
//!
//! ```text
//! @100
//! loaded         its state is in memory
//! opened         the hook has opened
//! not opened     it failed, its deadline passed, or it was cancelled
//! due            the time for another attempt has come
//! rolled back    a call panicked
//! evict          it was not used for a while
//! leave          its slot leaves
//! closed         the hook has closed
//! call           a call arrives
//! ```

use std::fmt::Write as _;

use core::time::Duration;
use holocron_protocol::{
    slot::lifecycle::{Admission, Effect, Event, Lifecycle, Stage},
    time::Time,
};

use crate::traces;

/// Steps a lifecycle through the lines of a trace.
pub(crate) fn play(input: &str) -> String {
    let mut lifecycle = Lifecycle::default();
    let mut now = Time::ZERO;
    let mut output = String::new();
    for line in traces::events(input) {
        if let Some(at) = line.strip_prefix('@') {
            now = Time::ZERO + Duration::from_millis(at.parse().unwrap());
            continue;
        }
        if line == "call" {
            let admission = match lifecycle.admission() {
                Admission::Run => "runs",
                Admission::Wait => "waits",
                Admission::Refuse => "is refused",
            };
            writeln!(output, "call → {admission}").unwrap();
            continue;
        }
        let before = lifecycle.stage();
        let mut said: Vec<String> =
            lifecycle.step(now, event(line)).into_iter().map(effect_words).collect();
        if before != lifecycle.stage() {
            said.push(stage_words(lifecycle.stage()));
        }
        if said.is_empty() {
            said.push("nothing".into());
        }
        writeln!(output, "{line} → {}", said.join("; ")).unwrap();
    }
    output
}

fn event(line: &str) -> Event {
    match line {
        "loaded" => Event::Loaded,
        "opened" => Event::Opened,
        "not opened" => Event::NotOpened,
        "due" => Event::Due,
        "rolled back" => Event::RolledBack,
        "evict" => Event::Evict,
        "leave" => Event::Leave,
        "closed" => Event::Closed,
        _ => panic!("{line:?} never happens"),
    }
}

fn effect_words(effect: Effect) -> String {
    match effect {
        Effect::Open => "open".into(),
        Effect::OpenAt(at) => format!("open at @{}", at.since(Time::ZERO).as_millis()),
        Effect::Cancel => "cancel the attempt".into(),
        Effect::RunWaiting => "run the calls that wait".into(),
        Effect::RefuseWaiting => "refuse the calls that wait".into(),
        Effect::Drop => "drop it".into(),
        Effect::Close => "close".into(),
        Effect::Evicted => "leave memory, or open again".into(),
        Effect::Gone => "the slot may leave".into(),
    }
}

fn stage_words(stage: Stage) -> String {
    match stage {
        Stage::Idle => "is idle".into(),
        Stage::Opening { failures: 0 } => "is opening".into(),
        Stage::Opening { failures } => format!("is opening after {failures} failures"),
        Stage::Failed { failures, .. } => format!("has failed {failures} times"),
        Stage::Open => "is open".into(),
        Stage::Closing(why) => format!("is closing: {why:?}"),
        Stage::Cancelling => "is cancelling".into(),
        Stage::Gone => "is gone".into(),
    }
}
