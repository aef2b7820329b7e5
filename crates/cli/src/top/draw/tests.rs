//! Draws samples on a terminal in memory.

use std::{collections::BTreeMap, sync::Arc};

use holocron::Progress;
use holocron_protocol::{
    control::leader::{LeaderStatus, PlannedMove},
    epoch::{
        draft::Draft,
        record::{EpochRecord, HostEntry, Leader},
        versions::KindVersions,
    },
    format::cluster::Cluster,
    ids::{ClusterId, DomainId, Epoch, SessionId},
};
use ratatui::{Terminal, backend::TestBackend};
use tokio::time::Instant;

use super::*;

fn host(number: u128) -> (HostName, HostEntry) {
    let entry = HostEntry {
        address: format!("127.0.0.1:{number}"),
        sessions: BTreeMap::from([(DomainId::HOME, SessionId::new(number))]),
        state: HostState::Active,
        weight: 100,
        zone: None,
        versions: KindVersions::default(),
    };
    (HostName::new(&format!("h{number}")).unwrap(), entry)
}

fn record() -> Arc<EpochRecord> {
    let mut draft = Draft::first(&Cluster { slots: 64, ..Cluster::new(ClusterId::new(1)) });
    for number in 1..=3 {
        let (name, entry) = host(number);
        draft.join(&name, entry).unwrap();
    }
    let leader = Leader { host: host(1).0, session: SessionId::new(1), address: String::new() };
    Arc::new(draft.finish(leader, "h1 founds the cluster", 0))
}

fn status(number: u128, load: u64, commands: u64) -> HostStatus {
    HostStatus {
        name: host(number).0,
        session: SessionId::new(number),
        epoch: Epoch::new(1),
        leads: number == 1,
        progress: Progress::default(),
        slots_serving: 21,
        slots_waiting: 0,
        vnodes_active: 12,
        vnodes_known: 1_234,
        commands,
        repeats: 0,
        queries: 7,
        slow_handlers: 0,
        packs: 1,
        in_flight: 0,
        requests: 100,
        slots_going: 0,
        copying: Copying::Complete,
        load,
        leading: None,
        shards: holocron::ShardsStatus::default(),
        evictions: 0,
        domains: Vec::new(),
    }
}

fn sample(at: Instant, commands: u64) -> Sample {
    let mut first = status(1, 900, commands);
    let (from, to) = (host(1).0, host(2).0);
    let planned = vec![PlannedMove { from, to, slots: 3 }];
    first.leading = Some(LeaderStatus { planned, ..LeaderStatus::default() });
    let mut second = status(2, 300, commands);
    (second.slots_waiting, second.copying) = (5, Copying::Remaining);
    let lost = Err("127.0.0.1:3: connection refused".to_owned());
    Sample {
        at,
        record: record(),
        answers: BTreeMap::from([
            (host(1).0, Ok(first)),
            (host(2).0, Ok(second)),
            (host(3).0, lost),
        ]),
        epochs: vec![(Epoch::new(1), "h1 founds the cluster".to_owned())],
    }
}

fn drawn(screen: &Screen) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(130, 18)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let cells = buffer.content().chunks(130);
    cells
        .map(|row| {
            row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
        })
        .collect()
}

/// The words of the line that begins so.
fn words(lines: &[String], begin: &str) -> Vec<String> {
    let line = lines.iter().find(|line| line.starts_with(begin));
    let line = line.unwrap_or_else(|| panic!("no line begins with {begin:?}: {lines:#?}"));
    line.split_whitespace().map(ToOwned::to_owned).collect()
}

#[test]
fn rates_shares_moves_and_lost_hosts_are_shown() {
    let (mut screen, now) = (Screen::default(), Instant::now());
    assert!(drawn(&screen)[0].starts_with("asking the hosts"));
    screen.sampled(sample(now, 1_000));
    assert_eq!(words(&drawn(&screen), "h1")[7], "-", "no rate before there are two samples");
    screen.sampled(sample(now + Duration::from_secs(2), 5_000));
    let lines = drawn(&screen);
    assert!(lines[0].contains("h1 leads; 3 hosts, 64 slots"), "{}", lines[0]);
    assert_eq!(words(&lines, "host"), HEADER);
    let first = ["h1", "leads", "22", "0", "0", "900", "225%", "2,000", "0", "12", "1,234", "0"];
    assert_eq!(words(&lines, "h1"), first);
    assert_eq!(words(&lines, "h2")[..4], ["h2", "active", "21", "5"]);
    assert_eq!(words(&lines, "h3 ")[..4], ["h3", "no", "answer", "21"]);
    for note in [
        "3 slots are about to move from h1 to h2",
        "h2 copies the states of slots that it got",
        "h3 did not answer: 127.0.0.1:3: connection refused",
    ] {
        assert!(lines.iter().any(|line| line == note), "{note}: {lines:#?}");
    }
    assert!(lines.iter().any(|line| line.contains("1  h1 founds the cluster")), "{lines:#?}");
}

#[test]
fn hosts_scroll_within_bounds() {
    let mut screen = Screen::default();
    screen.sampled(sample(Instant::now(), 0));
    screen.scroll(10);
    assert!(words(&drawn(&screen), "h3").len() > 2);
    assert!(!drawn(&screen).iter().any(|line| line.starts_with("h1 ")));
    screen.scroll(-10);
    assert!(drawn(&screen).iter().any(|line| line.starts_with("h1 ")));
}

#[test]
fn a_small_terminal_is_no_error() {
    let mut screen = Screen::default();
    screen.sampled(sample(Instant::now(), 0));
    let mut terminal = Terminal::new(TestBackend::new(20, 4)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
}
