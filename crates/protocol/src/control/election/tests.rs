//! Elections among three hosts with random failures of store and network, then a recovery.

use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::epoch::log::MarkState;

const HOSTS: usize = 3;

/// The epoch log: the writer of each epoch, from 1 on; and creates without an answer that may still land.
#[derive(Default)]
struct Log {
    writers: Vec<usize>,
    unanswered: Vec<(Epoch, usize)>,
}

impl Log {
    fn newest(&self) -> Epoch {
        Epoch::new(self.writers.len() as u64)
    }

    /// Whether this create won. Nothing is ever deleted here, so only the epoch after the newest is free.
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

/// The next event of a host.
#[derive(Clone, Copy, Debug)]
enum Fault {
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

fn fault() -> impl Strategy<Value = Fault> {
    use Fault::*;
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
                    assert_eq!(self.log.writers[at], number, "{epoch} has another writer");
                    continue;
                }
                Effect::PutHint(_) | Effect::Follow(_) => continue,
            };
            assert_eq!(slot.replace(epoch), None, "{effect:?} while one is in flight");
        }
        let newest = host.election.newest();
        assert!(before <= newest, "epochs went down");
        assert!(newest <= self.log.newest(), "{newest} doesn't exist");
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

    fn apply(&mut self, number: usize, fault: Fault) {
        match fault {
            Fault::Pass(millis) => {
                self.now += Duration::from_millis(millis);
                (0..HOSTS).for_each(|host| self.step(host, Event::Tick));
            }
            Fault::ReadAnswers => self.answer_read(number),
            Fault::ReadFails => {
                if self.hosts[number].reading.take().is_some() {
                    self.step(number, Event::Read(ReadOutcome::Unknown));
                }
            }
            Fault::CreateAnswers => self.answer_create(number),
            Fault::CreateIsLost | Fault::CreateDrifts => {
                if let Some(epoch) = self.hosts[number].creating.take() {
                    if matches!(fault, Fault::CreateIsLost) {
                        self.log.create(epoch, number);
                    } else {
                        self.log.unanswered.push((epoch, number));
                    }
                    self.step(number, Event::Created(CreateOutcome::Unknown));
                }
            }
            Fault::Lands => {
                if let Some((epoch, host)) = self.log.unanswered.pop() {
                    self.log.create(epoch, host);
                }
            }
            Fault::MarkAnswers => self.answer_mark(number),
            Fault::MarkFails => {
                if self.hosts[number].checking.take().is_some() {
                    self.step(number, Event::Marked(MarkOutcome::Unknown));
                }
            }
            Fault::Suspected => {
                let leader = self.log.writers.last().copied().unwrap_or_default();
                let leader = SessionId::new(leader as u128);
                self.step(number, Event::LeaderSuspected { leader });
            }
            Fault::Paused => self.step(number, Event::Paused),
            Fault::StoreFails => self.step(number, Event::StoreFailing),
            Fault::StoreWorks => self.step(number, Event::StoreWorking),
            Fault::Heartbeats => (0..HOSTS).for_each(|from| self.heartbeat(from, number)),
            Fault::ChangeWanted => self.step(number, Event::ChangeWanted),
        }
    }

    /// For one minute, all requests are answered and all hosts hear each other.
    fn recover(&mut self) {
        while let Some((epoch, host)) = self.log.unanswered.pop() {
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
    fn each_epoch_has_one_leader_and_after_the_faults_one_host_leads(events in proptest::collection::vec((0..HOSTS, fault()), 0..200)) {
        let mut cluster = Cluster::new();
        for (host, fault) in events {
            cluster.apply(host, fault);
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
