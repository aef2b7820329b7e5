//! The events and effects of a leader, read and written.

use std::collections::BTreeMap;

use holocron_protocol::{
    checkpoint::{collect::Detached, retain::Copying},
    control::{
        admission::Cleared,
        hints::HostHint,
        leader::{Answer, DomainEvent, Effect, Event},
        load::{Coarse, LoadReport},
        report::{Access, DomainHealth, Health, Progress, ServeRequest},
    },
    epoch::{
        domain::{Names, Offer},
        versions::KindVersions,
    },
    ids::{DomainId, Epoch, HostName, Position, SessionId, Slot, StoreId},
    journal::sealing::Hint,
};

use crate::words::{
    ACME, acme_rules, address, epoch, host, host_of, join_request, join_word, number, position,
    report, session, session_word, session_words, sessions,
};

pub(super) fn event(words: &[&str]) -> Event {
    match words {
        ["paused"] => Event::Paused,
        ["connected", name] => Event::Connected(session(name)),
        ["broken", name] => Event::Broken(session(name)),
        ["refused", name] => Event::Refused(session(name)),
        ["hints", words @ ..] => Event::Hints(words.chunks(2).map(hint).collect()),
        ["sealed", name, at] => Event::Sealed(session(name), position(at)),
        ["scratch", keys @ ..] => Event::Scratch(keys.iter().map(ToString::to_string).collect()),
        ["not", "collected", name] => Event::NotCollected(session(name)),
        ["not", "sealed", name] => Event::NotSealed(session(name)),
        ["collected", name] => Event::Collected(session(name)),
        ["join", name] => Event::Join(join_request(name)),
        ["cleared", name, "as", "of", number] => {
            Event::Cleared(join_request(name), Cleared { as_of: epoch(number) })
        }
        ["leave", name] => Event::Leave(session(name)),
        ["seal", name] => Event::SealHost(host(name)),
        ["drain", name] => Event::Drain(host(name)),
        ["undrain", name] => Event::Undrain(host(name)),
        ["move", slots @ .., "to", name] => {
            let slots = slots.iter().map(|word| Slot(number('#', word).try_into().unwrap()));
            Event::Move(slots.collect(), host(name))
        }
        ["fetched", to, "from", from] => Event::Prefetched { to: session(to), from: session(from) },
        ["fact", words @ ..] => Event::Facts(vec![report(words)]),
        ["offer", name] => Event::Domain(DomainEvent::Offer(offer(name, Names::Unverified))),
        ["add", name] => Event::Domain(DomainEvent::Offer(offer(name, Names::New))),
        ["remove", name] => Event::Domain(DomainEvent::Remove((*name).into())),
        ["serve", name, "as", "of", number] => {
            Event::Domain(DomainEvent::Serve(serve_request(name, epoch(number))))
        }
        ["own", "acme", words @ ..] => Event::Domain(DomainEvent::Own(domain_healths(words))),
        _ => panic!("{words:?} never happens"),
    }
}

/// `acme/7`, or `acme` without a store.
fn offer(word: &str, names: Names) -> Offer {
    let (name, store) = word
        .split_once('/')
        .map_or((word, None), |(name, store)| (name, Some(StoreId::new(store.parse().unwrap()))));
    Offer { name: name.into(), rules: acme_rules(), store, names }
}

/// `h2p`, as the session that h2 serves acme with; its first session is its member.
fn serve_request(word: &str, as_of: Epoch) -> ServeRequest {
    let session = session(word);
    let home = self::session(&format!("{}a", host_of(session)));
    ServeRequest { home, domain: ACME, session, as_of }
}

/// `h2p works`, or `h2p p7 fails`.
fn domain_healths(words: &[&str]) -> Vec<DomainHealth> {
    let (name, at, access) = match words {
        [name, access] => (name, "p0", access),
        [name, at, access] => (name, *at, access),
        _ => panic!("{words:?} is no health in a domain"),
    };
    let access = match *access {
        "works" => Access::Working,
        "fails" => Access::Failing,
        _ => panic!("{access} is no access"),
    };
    let progress = Progress { committed: position(at), ..Progress::default() };
    vec![DomainHealth { session: session(name), progress, access }]
}

fn hint(words: &[&str]) -> (HostName, HostHint) {
    let [name, counter] = words else { panic!("{words:?} is no hint") };
    let session = session(name);
    let hint = HostHint {
        address: address(&host_of(session)),
        sessions: BTreeMap::from([(DomainId::HOME, session)]),
        load: 0,
        counter: counter.parse().unwrap(),
        shards: BTreeMap::new(),
        versions: KindVersions::default(),
    };
    (host_of(session), hint)
}

pub(super) fn health(words: &[&str]) -> Health {
    let [name, number, words @ ..] = words else { panic!("{words:?} is no health") };
    let mut health = Health {
        session: session(name),
        epoch: epoch(number),
        progress: Progress::default(),
        facts: Vec::new(),
        awaiting: Vec::new(),
        copying: Copying::Complete,
        loads: Some(LoadReport::default()),
        domains: Vec::new(),
    };
    let mut words = words;
    loop {
        words = match words {
            [] => return health,
            ["waiting", words @ ..] => {
                health.progress.waiting = true;
                words
            }
            ["copying", words @ ..] => {
                health.copying = Copying::Remaining;
                words
            }
            // Of an older release, or nothing new to say.
            ["silent", words @ ..] => {
                health.loads = None;
                words
            }
            ["awaits", words @ ..] => {
                health.awaiting = sessions(words);
                &[]
            }
            ["acme", words @ ..] => {
                health.domains = domain_healths(words);
                &[]
            }
            ["fact", words @ ..] => {
                health.facts.push(report(words));
                &[]
            }
            [at, words @ ..] => {
                health.progress.committed = position(at);
                words
            }
        };
    }
}

/// `#0 4000 #1 80`: what each slot costs.
pub(super) fn load_report(words: &[&str]) -> LoadReport {
    let slots = words.chunks(2).map(|chunk| {
        let [slot, load] = chunk else { panic!("{words:?} are no loads") };
        (Slot(number('#', slot).try_into().unwrap()), Coarse::of(load.parse().unwrap()))
    });
    LoadReport { number: 2, slots: slots.collect() }
}

pub(super) fn effect_words(effect: &Effect) -> String {
    let names = |hosts: &mut dyn Iterator<Item = &HostName>| {
        hosts.map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    match effect {
        Effect::Watch(hosts) if hosts.is_empty() => "watch no host".into(),
        Effect::Watch(hosts) => format!("watch {}", session_words(hosts.keys().copied())),
        Effect::WriteEpoch => "write the next epoch".into(),
        Effect::Failed(host, why) => format!("{host} failed: {why}"),
        Effect::AnnounceSeal(host, session, progress) => {
            let (session, at) = (session_word(*session), progress.committed);
            format!("tell all except {host} that {session} will be sealed, committed up to {at}")
        }
        Effect::Seal(session, hint) => seal_words(*session, *hint),
        Effect::AnnounceSealed(session, at) => {
            format!("tell all that {} is sealed at {at}", session_word(*session))
        }
        Effect::Collect(Detached { session, sealed_at }) => {
            format!("collect {}, which is sealed at {sealed_at}", session_word(*session))
        }
        Effect::TrimEpochLog(epoch) => format!("trim the log as of {epoch}"),
        Effect::ProbeStore => "probe the store".into(),
        Effect::ListHints(except) if except.is_empty() => "list the hints".into(),
        Effect::ListHints(except) => {
            format!("list the hints except those of {}", names(&mut except.iter()))
        }
        Effect::DeleteHints(hosts) => {
            format!("delete the hints of {}", names(&mut hosts.iter()))
        }
        Effect::ListScratch => "list the objects of probes".into(),
        Effect::DeleteScratch(keys) => format!("delete {}", keys.join(" ")),
        Effect::CheckEndMark(request) => format!("get the end mark of {}", join_word(request)),
        Effect::PushEpoch(address) => format!("send the record to {address}"),
        Effect::Answer(Answer::Noted) => "answer: noted".into(),
        Effect::Answer(Answer::Refused(why)) => format!("answer: refused, {why}"),
        Effect::EndOwnSession => "end its own session".into(),
        Effect::Prefetch { by, to, from, progress } => {
            let (to, from) = (session_word(*to), session_word(*from));
            let at = progress.committed;
            format!("have {by} fetch the journal of {from} for {to}, committed up to {at}")
        }
        Effect::PrefetchOwn(by, to) => {
            format!("have {by} fetch our own journal for {}", session_word(*to))
        }
    }
}

fn seal_words(session: SessionId, hint: Hint) -> String {
    let session = session_word(session);
    match hint {
        Hint::Nothing => format!("seal {session}"),
        Hint::Committed(Position::ZERO) => format!("seal {session}, of which nothing is committed"),
        Hint::Committed(at) => format!("seal {session}, committed up to {at}"),
        Hint::Sealed(_) | Hint::Fetched(_) => panic!("a leader knows no more than progress"),
    }
}
