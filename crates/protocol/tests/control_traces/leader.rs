//! What a leader does. The host is h1, its session h1a until the trace says otherwise. An event is a line, its
//! milliseconds first:
//!
//! ```text
//! 0 log e3 by h1a | h1a h2a            h1 reads that record as the newest; if it is its own, h1 leads, otherwise it doesn't
//! 0 session h1b                        h1 has opened that session instead of the one before
//! 0 declares shard:4                   a kind of h1 has shards
//! 0 runs cart:2                        h1 has that version of a kind
//! 0 create                             h1 makes the next record and creates it
//! 0 create e4                          the same, as decided when e4 was the next
//! 0 create unclear                     h1 makes the next record; the create has no clear answer
//! 0 lands                              h1 reads the log and finds the record of that create
//! 50 tick                              time passes
//! 50 ticks to 900                      time passes, with a tick every 50 ms
//! 50 ticks to 900 hearing h2 h3        meanwhile these hosts say what they said last every 250 ms
//! 50 paused                            its own tick comes late
//! 50 store fails | works | slow | answers in 20      from now on; `slow`: probes stay without an answer
//! 50 awaits h2a                        the sessions whose Release its own slots wait for, from the next tick on
//! 50 health h2a e3 p7 waiting awaits h3a             h2 answers a heartbeat: knows e3, has committed p7, has work
//! 50 health h2a e3 copying             the same; it has states of slots that it got to copy; `silent`: and says no loads
//! 50 health h2a e3 fact #0 full h2a@3                the same, with a fact
//! 50 loads h2a #0 6000 #3 200          a host says what its slots cost; before that it has said that it knows of no load
//! 50 copying | copied                  whether h1 itself has states to copy, from the next tick on
//! 50 connected h2a | broken h2a | refused h2a        of the connection to a host
//! 50 hints h2a 7 h3a 9                 the hints were read, with their counters
//! 50 sealed h2a p9 | not sealed h2a | collected h2a
//! 50 not collected h2a                 a request kept the collection from ending
//! 50 scratch probe/1 probe/2           these objects of start-up probes exist
//! 50 join h2a | join h2a/50            a host asks to join, with that weight
//! 50 join h2a+index:4                  the same, with a kind that has shards
//! 50 join h2a~cart:2                   the same, with a version of a kind
//! 50 cleared h2a as of e3              its end mark was found absent
//! 50 leave h2a                         a host asks to leave
//! 50 seal h2                           an operator asks for a host to be sealed
//! 50 drain h2 | undrain h2             an operator asks for it to be drained, or given slots again
//! 50 move #0 #2 to h2                  an operator asks for slots to be moved
//! 50 fetched h2a from h1a              the host of h2a has fetched the journal of h1a
//! 50 fact #0 full h1a@3                what lets sources go was learned
//! 50 offer acme/7                      a host offers a domain and its store
//! 50 add acme                          an operator adds a domain, and says that its vnodes don't exist
//! 50 remove acme                       an operator removes it
//! 50 serve h2p as of e3                a host asks to serve acme with that session, which it found without an end mark
//! 50 health h2a e3 acme h2p fails      the same as above, and whether acme's store answers h2
//! 50 own acme h1p works                whether acme's store answers h1
//! ```
//!
//! Indented below: what it does, and the records that it makes. That the next epoch is to be written is said once a line.

mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    mem::replace,
    sync::Arc,
};

use holocron_protocol::{
    checkpoint::retain::Copying,
    control::{
        leader::{
            Base, Effect, Event, Founded, LeaderSettings, Leadership, Next, Own, StoreHealth,
            Writer, next_record,
        },
        load::LoadReport,
        member::Identity,
        report::Health,
        suspicion::SuspicionSettings,
    },
    epoch::{
        record::{EpochRecord, RecordDigest, WEIGHT_DEFAULT},
        versions::KindVersions,
    },
    format::cluster::Cluster,
    ids::{ClusterId, Epoch, HostName, Nonce, SessionId},
    time::Time,
};

use self::words::{effect_words, health, load_report};
use crate::{
    traces,
    words::{
        SLOT_COUNT, address, epoch, host, host_of, record, record_words, session, sessions,
        versions,
    },
};

/// The time from tick to tick.
const TICK_MILLIS: u64 = 50;
/// The time from heartbeat to heartbeat.
const HEARTBEAT_MILLIS: u64 = 250;

/// Steps a leader through the lines of a trace.
pub(crate) fn play(input: &str) -> String {
    let mut told = Told::new();
    for line in traces::events(input) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [millis, event @ ..] = words.as_slice() else { panic!("no time in {line:?}") };
        let millis = millis.parse().unwrap();
        assert!(told.millis <= millis, "{line:?} is too late");
        (told.millis, told.writes) = (millis, false);
        writeln!(told.output, "{line}").unwrap();
        let length = told.output.len();
        if !told.is_set(event) {
            told.happens(event);
            if told.output.len() == length {
                told.says("nothing");
            }
        }
    }
    told.output
}

pub(crate) fn settings() -> LeaderSettings {
    let suspicion = SuspicionSettings::default();
    LeaderSettings {
        suspicion,
        list_hints_every: core::time::Duration::from_secs(10),
        collect_again_after: core::time::Duration::ZERO,
    }
}

pub(crate) fn identity() -> Identity {
    let name = host("h1");
    let (weight, zone, shards) = (WEIGHT_DEFAULT, None, BTreeMap::new());
    let versions = KindVersions::default();
    Identity { address: address(&name), name, weight, zone, shards, versions }
}

pub(crate) fn cluster() -> Cluster {
    Cluster { slots: SLOT_COUNT, ..Cluster::new(ClusterId::new(1)) }
}

pub(crate) fn digest(record: &EpochRecord) -> RecordDigest {
    RecordDigest::of(&record.encode(Nonce::new(1)))
}

/// The leader of a trace.
struct Told {
    millis: u64,
    identity: Identity,
    session: SessionId,
    newest: Option<Arc<EpochRecord>>,
    leadership: Option<Leadership>,
    /// A record whose create had no clear answer.
    unclear: Option<Arc<EpochRecord>>,
    store: StoreHealth,
    /// After how many milliseconds the store answers probes; `None` if it doesn't.
    answers_in: Option<u64>,
    /// When the store will answer probes, and when they were sent.
    probes: BTreeSet<(u64, u64)>,
    /// The sessions whose Release its own slots wait for.
    awaits: Vec<SessionId>,
    /// Whether it has states to copy.
    copying: Copying,
    /// What each host said last.
    said: BTreeMap<HostName, Health>,
    /// Whether this line said that the next epoch is to be written.
    writes: bool,
    output: String,
}

impl Told {
    fn new() -> Self {
        Self {
            millis: 0,
            identity: identity(),
            session: session("h1a"),
            newest: None,
            leadership: None,
            unclear: None,
            store: StoreHealth::Working,
            answers_in: None,
            probes: BTreeSet::new(),
            awaits: Vec::new(),
            copying: Copying::Complete,
            said: BTreeMap::new(),
            writes: false,
            output: String::new(),
        }
    }

    fn says(&mut self, what: &str) {
        writeln!(self.output, "  → {what}").unwrap();
    }

    /// Takes a line that sets what holds from now on, if it is one.
    fn is_set(&mut self, words: &[&str]) -> bool {
        match words {
            ["declares", word] => {
                self.identity.shards.extend([crate::words::kind(word)]);
            }
            ["runs", words @ ..] => self.identity.versions = versions(words.iter().copied()),
            ["session", name] => {
                (self.session, self.leadership) = (session(name), None);
            }
            ["store", "fails"] => self.store = StoreHealth::Failing,
            ["store", "works"] => self.store = StoreHealth::Working,
            ["store", "slow"] => self.answers_in = None,
            ["store", "answers", "in", millis] => self.answers_in = Some(millis.parse().unwrap()),
            ["awaits", words @ ..] => self.awaits = sessions(words),
            ["copying"] => self.copying = Copying::Remaining,
            ["copied"] => self.copying = Copying::Complete,
            _ => return false,
        }
        true
    }

    fn happens(&mut self, event: &[&str]) {
        match event {
            ["log", words @ ..] => self.reads(record(words)),
            ["create"] => self.create(self.next_epoch()),
            ["create", "unclear"] => self.unclear = self.makes(self.next_epoch()),
            ["create", number] => self.create(epoch(number)),
            ["lands"] => self.lands(),
            ["ticks", "to", end] => self.ticks(end.parse().unwrap(), &[]),
            ["ticks", "to", end, "hearing", names @ ..] => self.ticks(end.parse().unwrap(), names),
            ["loads", name, words @ ..] => self.reports(session(name), load_report(words)),
            ["tick"] => self.step(self.tick(), ""),
            ["health", words @ ..] => {
                let health = health(words);
                self.said.insert(host_of(health.session), health.clone());
                self.step(Event::Health(host_of(health.session), health), "");
            }
            event => self.step(words::event(event), ""),
        }
    }

    /// A host says what its slots cost.
    fn reports(&mut self, of: SessionId, report: LoadReport) {
        if of == self.session {
            return self.step(Event::OwnLoads(report), "");
        }
        let mut health = self.said[&host_of(of)].clone();
        health.loads = Some(report);
        self.step(Event::Health(host_of(of), health), "");
    }

    fn tick(&self) -> Event {
        Event::Tick(Own { store: self.store, awaiting: self.awaits.clone(), copying: self.copying })
    }

    fn next_epoch(&self) -> Epoch {
        self.newest.as_ref().map_or(Epoch::new(1), |record| record.epoch.next())
    }

    fn reads(&mut self, record: EpochRecord) {
        let record = Arc::new(record);
        if record.leader.session == self.session {
            return self.leads(record, None);
        }
        self.newest = Some(record);
        if self.leadership.take().is_some() {
            self.says("leads no more");
        }
    }

    fn create(&mut self, epoch: Epoch) {
        if let Some(record) = self.makes(epoch) {
            let before = self.newest.clone();
            self.leads(record, before);
        }
    }

    fn lands(&mut self) {
        let record = self.unclear.take().expect("a create without a clear answer");
        self.leads(record, None);
    }

    /// A record of h1 is the newest.
    fn leads(&mut self, record: Arc<EpochRecord>, before: Option<Arc<EpochRecord>>) {
        self.newest = Some(Arc::clone(&record));
        let (digest, now) = (digest(&record), Time::from_millis(self.millis));
        if self.leadership.is_none() {
            let (own, read) = (self.identity.name.clone(), Arc::clone(&record));
            let mut leadership = Leadership::new(own, settings(), now, read, digest);
            // It serves nothing that it has measured.
            assert_eq!(leadership.step(now, Event::OwnLoads(LoadReport::default())), []);
            self.leadership = Some(leadership);
        }
        self.step(Event::Written(record, digest, before), "");
    }

    fn makes(&mut self, epoch: Epoch) -> Option<Arc<EpochRecord>> {
        let (cluster, newest) = (cluster(), self.newest.clone());
        let base = newest.as_ref().map_or(
            Base::Founding(Founded { cluster: &cluster, home: &[], domains: &[] }),
            |record| Base::After(record, digest(record)),
        );
        let writer = Writer {
            identity: &self.identity,
            session: self.session,
            now: Time::from_millis(self.millis),
            wall_ms: self.millis,
        };
        let record = match next_record(epoch, base, writer, self.leadership.as_mut()) {
            Next::Record(record) => record,
            Next::Stale => {
                self.says("makes nothing: a newer record was read");
                return None;
            }
            Next::NothingNew => {
                self.says("makes nothing: it would say nothing new");
                return None;
            }
            Next::Refused(refused) => {
                self.says(&format!("makes nothing: {refused}"));
                return None;
            }
        };
        record.check().unwrap();
        if let Some(before) = &newest {
            record.follows(before, digest(before)).unwrap();
        }
        writeln!(self.output, "  {}: {}", record.epoch, record.reason).unwrap();
        writeln!(self.output, "  {}", record_words(&record)).unwrap();
        Some(Arc::new(*record))
    }

    fn ticks(&mut self, end: u64, hearing: &[&str]) {
        let start = self.millis;
        for millis in (start..=end).step_by(usize::try_from(TICK_MILLIS).unwrap()) {
            self.answers_until(millis);
            self.millis = millis;
            let at = format!("@{millis} ");
            if (millis - start).is_multiple_of(HEARTBEAT_MILLIS) {
                for name in hearing {
                    let health = self.said[&host(name)].clone();
                    self.step(Event::Health(host(name), health), &at);
                }
            }
            self.step(self.tick(), &at);
        }
    }

    /// The store answers probes.
    fn answers_until(&mut self, end: u64) {
        while let Some(&(due, asked)) = self.probes.first().filter(|(due, _)| *due <= end) {
            self.probes.pop_first();
            self.millis = due;
            self.step(Event::StoreAnswered(Time::from_millis(asked)), &format!("@{due} "));
        }
    }

    fn step(&mut self, event: Event, at: &str) {
        let leadership = self.leadership.as_mut().expect("only a leader hears of this");
        let effects = leadership.step(Time::from_millis(self.millis), event);
        for effect in effects {
            // Said with every tick until there is a record; once is enough here.
            if effect == Effect::WriteEpoch && replace(&mut self.writes, true) {
                continue;
            }
            self.says(&format!("{at}{}", effect_words(&effect)));
            if let (Effect::ProbeStore, Some(answers_in)) = (effect, self.answers_in) {
                self.probes.insert((self.millis + answers_in, self.millis));
            }
        }
    }
}
