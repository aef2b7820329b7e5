//! What a host does as a member. The host is h2, its first session h2a. An event is a line, its milliseconds first:
//!
//! ```text
//! 0 opened h2a                     the journal of that session was opened
//! 0 epoch e3 by h1a | h1a h2a      a newer record was read, see [`crate::words`]
//! 0 over h2a                       the journal of that session is over
//! 0 heartbeat e3 by h1a            a leader's heartbeat comes
//! 0 fact #0 full h2a@3             what lets sources go was learned
//! 0 leave                          an operator wants the host to leave
//! 0 tick                           time passes
//! 0 ticks to 2000                  time passes, with a tick every 50 ms
//! 0 declares index:4               before all: its kind has shards
//! 0 told                           which facts does it tell the leader?
//! ```
//!
//! Indented below: what it does, and what it is when that changes.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use holocron_protocol::{
    control::member::{Effect, Event, Identity, Member, MemberSettings, SessionEnd, StopReason},
    epoch::{record::WEIGHT_DEFAULT, shards::DeclaredShards, versions::KindVersions},
    time::Time,
};

use crate::{
    traces,
    words::{
        address, epoch, host, join_word, kind, next_session, record, report, report_words, session,
        session_word,
    },
};

pub(crate) const SETTINGS: MemberSettings = MemberSettings {
    hint_every: Duration::from_secs(10),
    leader_silence_max: Duration::from_secs(1),
};

/// The time from tick to tick.
const TICK_MILLIS: usize = 50;

/// Steps a member through the lines of a trace.
pub(crate) fn play(input: &str) -> String {
    let mut told = Told::new();
    for line in traces::events(input) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [millis, event @ ..] = words.as_slice() else { panic!("no time in {line:?}") };
        let millis = millis.parse().unwrap();
        assert!(told.millis <= millis, "{line:?} is too late");
        told.millis = millis;
        writeln!(told.output, "{line}").unwrap();
        let length = told.output.len();
        told.happens(event);
        if told.output.len() == length {
            told.says("nothing");
        }
    }
    told.output
}

pub(crate) fn identity() -> Identity {
    let name = host("h2");
    Identity {
        address: address(&name),
        name,
        weight: WEIGHT_DEFAULT,
        zone: None,
        shards: DeclaredShards::new(),
        versions: KindVersions::default(),
    }
}

/// What the newest record makes of the current session.
fn state(member: &Member) -> &'static str {
    match (member.is_member(), member.is_unlisted()) {
        (true, false) => "is a member",
        (false, true) => "is not listed",
        (false, false) => "is not listed and could not act",
        (true, true) => unreachable!("a member is listed"),
    }
}

/// The member of a trace.
struct Told {
    millis: u64,
    member: Member,
    output: String,
}

impl Told {
    fn new() -> Self {
        let member = Member::new(identity(), SETTINGS, session("h2a"));
        Self { millis: 0, member, output: String::new() }
    }

    fn says(&mut self, what: &str) {
        writeln!(self.output, "  → {what}").unwrap();
    }

    fn happens(&mut self, event: &[&str]) {
        let event = match event {
            ["opened", name] => Event::Opened(session(name)),
            ["epoch", words @ ..] => Event::Epoch(Arc::new(record(words))),
            ["over", name] => Event::SessionOver(session(name)),
            ["heartbeat", number, "by", name] => Event::Heartbeat(epoch(number), session(name)),
            ["fact", words @ ..] => Event::Facts(vec![report(words)]),
            ["leave"] => Event::LeaveAsked,
            ["declares", word] => return self.declares(word),
            ["tick"] => Event::Tick,
            ["ticks", "to", end] => return self.ticks(end.parse().unwrap()),
            ["told"] => return self.facts(),
            _ => panic!("{event:?} never happens"),
        };
        self.step(event, "");
    }

    fn declares(&mut self, word: &str) {
        let identity = Identity { shards: [kind(word)].into(), ..identity() };
        self.member = Member::new(identity, SETTINGS, session("h2a"));
    }

    fn ticks(&mut self, end: u64) {
        for millis in (self.millis..=end).step_by(TICK_MILLIS) {
            self.millis = millis;
            self.step(Event::Tick, &format!("@{millis} "));
        }
    }

    fn facts(&mut self) {
        for report in self.member.facts() {
            self.says(&report_words(&report));
        }
    }

    fn step(&mut self, event: Event, at: &str) {
        let before = state(&self.member);
        let effects = self.member.step(Time::from_millis(self.millis), event);
        for effect in effects {
            let words = self.effect_words(&effect);
            self.says(&format!("{at}{words}"));
            if effect == Effect::OpenSession {
                let session = next_session(self.member.join_request().session);
                self.member.opens(session);
            }
        }
        let after = state(&self.member);
        if before != after {
            self.says(after);
        }
    }

    fn effect_words(&self, effect: &Effect) -> String {
        match effect {
            Effect::Apply => "acts on the record".into(),
            Effect::EndSession(SessionEnd::OverIn(epoch)) => {
                format!("ends its session: it is over in {epoch}")
            }
            Effect::EndSession(SessionEnd::Replaced) => "ends its session: it is replaced".into(),
            Effect::EndSession(SessionEnd::JournalEnded) => {
                "ends its session: the journal commits no more".into()
            }
            Effect::OpenSession => {
                let session = next_session(self.member.join_request().session);
                format!("opens {}", session_word(session))
            }
            Effect::ReadEpochLog => "reads the epoch log".into(),
            Effect::LeaderHeard(epoch) => format!("has heard the leader of {epoch}"),
            Effect::WatchLeader(leader) => format!("watches {}", session_word(leader.session)),
            Effect::WatchNoLeader => "watches no leader".into(),
            Effect::PutHint(counter) => format!("puts hint {counter}"),
            Effect::AskToJoin(leader) => {
                let request = join_word(&self.member.join_request());
                format!("asks {} to let {request} join", session_word(leader.session))
            }
            Effect::AskToLeave(session) => format!("asks to let {} leave", session_word(*session)),
            Effect::Stop(StopReason::Left) => "stops: it has left".into(),
            Effect::Stop(StopReason::LeaveTimedOut) => "stops: the leave timed out".into(),
            Effect::Stop(StopReason::Replaced) => "stops: it is replaced".into(),
            Effect::Stop(StopReason::Shards(why)) => format!("stops: {why}"),
        }
    }
}
