//! What a host does in a domain besides the home domain. The host is h2, a member with h2a; the domain is acme, which its
//! configuration says takes the kind `order`. Its sessions there are h2p and so on. An event is a line, its milliseconds
//! first:
//!
//! ```text
//! 0 epoch e3 by h1a | h1a h2a | acme/7 h1p      a newer record was read, see [`crate::words`]
//! 0 found 7                        the store was looked at, and has that id
//! 0 unusable no such directory     it was looked at, and can't be used
//! 0 opened h2p                     the journal of that session was opened
//! 0 cleared h2p as of e3           its end mark was found absent
//! 0 marked h2p                     its end mark is there
//! 0 over h2p                       its journal is over
//! 0 lost h2p                       its store is lost
//! 0 refused too late               the leader refused what it was asked
//! 0 tick                           time passes
//! 0 ticks to 2000                  time passes, with a tick every 50 ms
//! ```
//!
//! Indented below: what it does.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use holocron_protocol::{
    control::domain_member::{Create, DomainMember, Effect, Event, Look},
    ids::{DomainId, SessionId, StoreId},
    time::Time,
};

use crate::{
    traces,
    words::{acme_rules, epoch, host, next_session, record, session, session_word},
};

/// The time from tick to tick.
const TICK_MILLIS: usize = 50;

/// Steps a host through the lines of a trace.
pub(crate) fn play(input: &str) -> String {
    let member = DomainMember::new("acme".into(), acme_rules(), Duration::from_secs(10));
    let mut told = Told { millis: 0, member, next: session("h2p"), output: String::new() };
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

/// The host of a trace.
struct Told {
    millis: u64,
    member: DomainMember,
    /// The session that it opens next.
    next: SessionId,
    output: String,
}

impl Told {
    fn says(&mut self, what: &str) {
        writeln!(self.output, "  → {what}").unwrap();
    }

    fn happens(&mut self, event: &[&str]) {
        let event = match event {
            ["epoch", words @ ..] => {
                let record = Arc::new(record(words));
                let entry = record.hosts.get(&host("h2"));
                let home = entry.map(|entry| entry.sessions[&DomainId::HOME]);
                Event::Epoch(record, home)
            }
            ["found", id] => Event::Looked(Look::Found(StoreId::new(id.parse().unwrap()))),
            ["unusable", words @ ..] => Event::Looked(Look::Unusable(words.join(" "))),
            ["opened", name] => Event::Opened(session(name)),
            ["cleared", name, "as", "of", number] => Event::Cleared(session(name), epoch(number)),
            ["marked", name] => Event::Marked(session(name)),
            ["over", name] => Event::SessionOver(session(name)),
            ["lost", name] => Event::StoreLost(session(name), "the store is lost".into()),
            ["refused", words @ ..] => Event::Refused(words.join(" ")),
            ["tick"] => Event::Tick,
            ["ticks", "to", end] => return self.ticks(end.parse().unwrap()),
            _ => panic!("{event:?} never happens"),
        };
        self.step(event, "");
    }

    fn ticks(&mut self, end: u64) {
        for millis in (self.millis..=end).step_by(TICK_MILLIS) {
            self.millis = millis;
            self.step(Event::Tick, &format!("@{millis} "));
        }
    }

    fn step(&mut self, event: Event, at: &str) {
        for effect in self.member.step(Time::from_millis(self.millis), event) {
            let words = match &effect {
                Effect::Look(Create::IfAbsent) => "looks at the store, or prepares it".into(),
                Effect::Look(Create::Never) => "looks at the store, which must be prepared".into(),
                Effect::Offer(leader, offer) => {
                    let store = offer.store.map(StoreId::get);
                    format!("offers acme with store {store:?} to {}", session_word(leader.session))
                }
                Effect::OpenSession => format!("opens {}", session_word(self.next)),
                Effect::CheckEndMark(session, as_of) => {
                    format!("gets the end mark of {}, as of {as_of}", session_word(*session))
                }
                Effect::AskToServe(leader, request) => {
                    let (leader, own) =
                        (session_word(leader.session), session_word(request.session));
                    format!("asks {leader} to let {own} serve, cleared as of {}", request.as_of)
                }
                Effect::Apply => "acts on the record".into(),
                Effect::EndSession(why) => format!("ends its session: {why}"),
                Effect::Probe => "probes the store".into(),
                Effect::Warn(why) => format!("warns: {why}"),
            };
            self.says(&format!("{at}{words}"));
            if effect == Effect::OpenSession {
                self.member.opens(self.next);
                self.next = next_session(self.next);
            }
        }
    }
}
