//! Members of an election used alone, told by the traces in `tests/traces/candidate`.
//!
//! The lease is 10,000 ms with a margin of 1,000, the leader's hint is read every 2,000. An event is a line that starts with
//! its time in milliseconds; those of an election are written as there.
//!
//! ```text
//! rotate every 30000 | rotate contested 30000   before the start; else never
//! start empty | start e7 other                  what is known before
//! chance 100000                                 the random bits from now on
//! 100 hint none | hint e7 other 5               the leader's hint: epoch, session, counter
//! 100 resign
//! 100 claim                                     until when it claims to lead
//! ```

use std::{fmt::Write as _, time::Duration};

use holocron_protocol::{
    control::{
        candidate::{Candidate, CandidateSettings, Effect, Event, Purpose, Rotation, Standing},
        hints::LeaderHint,
    },
    time::Time,
};

use super::{parse_epoch, parse_event, parse_news, parse_session, traces};

const LEASE: Duration = Duration::from_secs(10);

/// Replays the lines of a trace.
pub(crate) fn play(input: &str) -> String {
    let (mut candidate, mut rotation) = (None, Rotation::Never);
    let (mut output, mut chance, mut stood) = (String::new(), 0, None);
    for line in traces::events(input) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let fresh =
            |newest| Candidate::new(CandidateSettings::new(LEASE, rotation), Time::ZERO, newest);
        match words.as_slice() {
            ["rotate", how, millis] => rotation = parse_rotation(how, millis),
            ["start", "empty"] => candidate = Some(fresh(None)),
            ["start", news @ ..] => candidate = Some(fresh(Some(parse_news(news)))),
            ["chance", bits] => chance = bits.parse().unwrap(),
            [millis, event @ ..] => {
                let candidate = candidate.as_mut().expect("a trace starts with `start`");
                let now = Time::from_millis(millis.parse().unwrap());
                if event == ["claim"] {
                    let until = candidate.claim().and_then(|claim| claim.at(now));
                    let until = until.map_or("claims nothing".to_owned(), |until| {
                        format!("claims until {}", until.as_micros() / 1000)
                    });
                    writeln!(output, "@{millis} {until}").unwrap();
                    continue;
                }
                for effect in candidate.step(now, chance, parse(event)) {
                    writeln!(output, "@{millis} → {}", effect_words(effect)).unwrap();
                }
                let stands = candidate.standing(now);
                if stood != Some(stands) {
                    writeln!(output, "@{millis} {}", standing_words(stands)).unwrap();
                }
                stood = Some(stands);
            }
            [] => unreachable!("empty lines are skipped"),
        }
    }
    output
}

fn parse_rotation(how: &str, millis: &str) -> Rotation {
    let every = Duration::from_millis(millis.parse().unwrap());
    match how {
        "every" => Rotation::Every(every),
        "contested" => Rotation::Contested(every),
        _ => panic!("rotate every, or contested, not {how}"),
    }
}

fn parse(words: &[&str]) -> Event {
    match words {
        ["resign"] => Event::ResignAsked,
        ["hint", "none"] => Event::Hint(None),
        ["hint", epoch, session, counter] => Event::Hint(Some(LeaderHint {
            epoch: parse_epoch(epoch),
            session: parse_session(session),
            counter: counter.parse().unwrap(),
            address: String::new(),
        })),
        _ => Event::Election(parse_event(words)),
    }
}

fn effect_words(effect: Effect) -> String {
    match effect {
        Effect::Read(epoch) => format!("read from {epoch}"),
        Effect::Create(epoch, purpose) => format!("create {epoch}: {}", purpose_words(purpose)),
        Effect::CheckMark(epoch) => format!("get the mark of {epoch}"),
        Effect::GetHint => "get the hint".to_owned(),
        Effect::PutHint(epoch) => format!("put the hint of {epoch}"),
        Effect::Lead(epoch) => format!("lead {epoch}"),
        Effect::Follow(epoch) => format!("follow {epoch}"),
    }
}

fn purpose_words(purpose: Purpose) -> String {
    purpose.sentence(Some("it"))
}

fn standing_words(standing: Standing) -> String {
    match standing {
        Standing::NoLeader => "knows no leader".to_owned(),
        Standing::Following(epoch) => format!("follows {epoch}"),
        Standing::Leading(epoch) => format!("leads {epoch}"),
        Standing::Unconfirmed(epoch) => format!("can't confirm {epoch}"),
        Standing::Resigning => "resigns".to_owned(),
        Standing::Left => "has left".to_owned(),
    }
}
