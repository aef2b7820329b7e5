//! Elections among three hosts that the store and the network treat badly, and then well again.

use proptest::prelude::*;

use super::*;
use crate::epoch::log::MarkState;

const HOSTS: usize = 3;

/// The epoch log: who wrote each epoch, from 1 on; and creates that were given up and may land yet.
#[derive(Default)]
struct Log {
    writers: Vec<usize>,
    adrift: Vec<(Epoch, usize)>,
}

impl Log {
    fn newest(&self) -> Epoch {
        Epoch::new(self.writers.len() as u64)
    }

    /// Whether this create won; nothing is ever deleted here, so an epoch is free only right after the newest.
    fn create(&mut self, epoch: Epoch, host: usize) -> bool {
        let is_free = epoch == self.newest().next();
        if is_free {
            self.writers.push(host);
        }
        is_free
    }

    fn news(&self, host: usize) -> Option<News> {
        let leader = *self.writers.last()?;
        let rank = (0..host).filter(|other| *other != leader).count();
        let session = SessionId::new(leader as u128);
        let writer = if leader == host { Writer::Us } else { Writer::Other(session) };
        Some(News { epoch: self.newest(), writer, rank: u32::try_from(rank).unwrap() })
    }
}

#[derive(Clone)]
struct Host {
    election: Election,
    reading: Option<Epoch>,
    creating: Option<Epoch>,
    checking: Option<Epoch>,
}

struct Cluster {
    now: Time,
    chance: u64,
    log: Log,
    hosts: Vec<Host>,
}

/// What happens next, to which host.
#[derive(Clone, Copy, Debug)]
enum Chaos {
    Pass(u64),
    ReadAnswers,
    ReadFails,
    CreateAnswers,
    CreateIsLost,
    CreateDrifts,
    Lands,
    MarkAnswers,
    MarkFails,
    Suspected,
    Paused,
    StoreFails,
    StoreWorks,
    Heartbeats,
    ChangeWanted,
}

fn chaos() -> impl Strategy<Value = Chaos> {
    use Chaos::*;
    prop_oneof![
        6 => (1..600u64).prop_map(Pass),
        6 => prop::sample::select(&[ReadAnswers, CreateAnswers, MarkAnswers][..]),
        3 => prop::sample::select(&[ReadFails, CreateIsLost, CreateDrifts, MarkFails, Lands][..]),
        3 => prop::sample::select(&[Suspected, Heartbeats, ChangeWanted][..]),
        1 => prop::sample::select(&[Paused, StoreFails, StoreWorks][..]),
    ]
}

impl Cluster {
    fn new() -> Self {
        let election = Election::new(ElectionSettings::default(), Time::ZERO, None);
        let host = Host { election, reading: None, creating: None, checking: None };
        Self {
            now: Time::ZERO,
            chance: 0,
            log: Log::default(),
            hosts: (0..HOSTS).map(|_| host.clone()).collect(),
        }
    }

    fn step(&mut self, number: usize, event: Event) {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let host = &mut self.hosts[number];
        let before = host.election.newest();
        for effect in host.election.step(self.now, self.chance >> 32, event) {
            let (slot, epoch) = match effect {
                Effect::Read(epoch) => (&mut host.reading, epoch),
                Effect::Create(epoch) => (&mut host.creating, epoch),
                Effect::CheckMark(epoch) => (&mut host.checking, epoch),
                Effect::Lead(epoch) => {
                    let at = usize::try_from(epoch.get()).unwrap() - 1;
                    assert_eq!(self.log.writers[at], number, "{epoch} is another's");
                    continue;
                }
                Effect::PutHint(_) | Effect::Follow(_) => continue,
            };
            assert_eq!(slot.replace(epoch), None, "{effect:?} while one is out");
        }
        let newest = host.election.newest();
        assert!(before <= newest, "epochs went down");
        assert!(newest <= self.log.newest(), "{newest} isn't there");
    }

    fn answer_read(&mut self, number: usize) {
        if let Some(known) = self.hosts[number].reading.take() {
            let news = self.log.news(number).filter(|news| news.epoch > known);
            let outcome = news.map_or(ReadOutcome::Nothing, ReadOutcome::Newest);
            self.step(number, Event::Read(outcome));
        }
    }

    fn answer_create(&mut self, number: usize) {
        if let Some(epoch) = self.hosts[number].creating.take() {
            let won = self.log.create(epoch, number);
            let outcome = if won { CreateOutcome::Won } else { CreateOutcome::Lost };
            self.step(number, Event::Created(outcome));
        }
    }

    fn answer_mark(&mut self, number: usize) {
        if self.hosts[number].checking.take().is_some() {
            self.step(number, Event::Marked(MarkOutcome::Seen(MarkState::Absent)));
        }
    }

    fn heartbeat(&mut self, from: usize, to: usize) {
        let election = &self.hosts[from].election;
        if from != to && election.is_leading() {
            let event = Event::HeardLeader { epoch: election.newest(), by: HeardBy::Connection };
            self.step(to, event);
        }
    }

    fn suffer(&mut self, number: usize, chaos: Chaos) {
        match chaos {
            Chaos::Pass(millis) => {
                self.now += Duration::from_millis(millis);
                (0..HOSTS).for_each(|host| self.step(host, Event::Tick));
            }
            Chaos::ReadAnswers => self.answer_read(number),
            Chaos::ReadFails => {
                if self.hosts[number].reading.take().is_some() {
                    self.step(number, Event::Read(ReadOutcome::Unknown));
                }
            }
            Chaos::CreateAnswers => self.answer_create(number),
            Chaos::CreateIsLost | Chaos::CreateDrifts => {
                if let Some(epoch) = self.hosts[number].creating.take() {
                    if matches!(chaos, Chaos::CreateIsLost) {
                        self.log.create(epoch, number);
                    } else {
                        self.log.adrift.push((epoch, number));
                    }
                    self.step(number, Event::Created(CreateOutcome::Unknown));
                }
            }
            Chaos::Lands => {
                if let Some((epoch, host)) = self.log.adrift.pop() {
                    self.log.create(epoch, host);
                }
            }
            Chaos::MarkAnswers => self.answer_mark(number),
            Chaos::MarkFails => {
                if self.hosts[number].checking.take().is_some() {
                    self.step(number, Event::Marked(MarkOutcome::Unknown));
                }
            }
            Chaos::Suspected => {
                let leader = self.log.writers.last().copied().unwrap_or_default();
                let leader = SessionId::new(leader as u128);
                self.step(number, Event::LeaderSuspected { leader });
            }
            Chaos::Paused => self.step(number, Event::Paused),
            Chaos::StoreFails => self.step(number, Event::StoreFailing),
            Chaos::StoreWorks => self.step(number, Event::StoreWorking),
            Chaos::Heartbeats => (0..HOSTS).for_each(|from| self.heartbeat(from, number)),
            Chaos::ChangeWanted => self.step(number, Event::ChangeWanted),
        }
    }

    /// Everything is answered and everybody hears everybody, for a minute.
    fn recover(&mut self) {
        while let Some((epoch, host)) = self.log.adrift.pop() {
            self.log.create(epoch, host);
        }
        (0..HOSTS).for_each(|host| self.step(host, Event::StoreWorking));
        for _ in 0..600 {
            self.now += Duration::from_millis(100);
            for host in 0..HOSTS {
                self.step(host, Event::Tick);
                self.answer_create(host);
                self.answer_mark(host);
                self.answer_read(host);
                (0..HOSTS).for_each(|from| self.heartbeat(from, host));
            }
        }
    }
}

proptest! {
    #[test]
    fn no_two_lead_one_epoch_and_after_the_chaos_one_leads(events in proptest::collection::vec((0..HOSTS, chaos()), 0..200)) {
        let mut cluster = Cluster::new();
        for (host, chaos) in events {
            cluster.suffer(host, chaos);
        }
        cluster.recover();
        let newest = cluster.log.newest();
        let leader = *cluster.log.writers.last().unwrap();
        for (number, host) in cluster.hosts.iter().enumerate() {
            prop_assert_eq!(host.election.newest(), newest);
            match host.election.role() {
                Role::Leading { .. } => prop_assert_eq!(number, leader),
                Role::Following { .. } => prop_assert_ne!(number, leader),
                role @ (Role::Waking | Role::Candidate { .. }) => {
                    prop_assert!(false, "host {} is still {:?}", number, role);
                }
            }
        }
        let epochs = cluster.log.writers.len();
        cluster.recover();
        prop_assert_eq!(cluster.log.writers.len(), epochs, "a healthy leader is challenged");
    }
}
