//! Latencies of requests.

use core::time::Duration;
use std::collections::BTreeMap;

use super::request::Verb;
use crate::chance::Chance;

/// How one node's requests are slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Every request takes this much longer.
    Requests(Duration),
    /// Every upload takes this much longer: the request, so that it lands late, or the answer. Other requests aren't
    /// slow.
    Uploads(Duration),
}

/// The latency of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// The time until it is carried out.
    pub(super) there: Duration,
    /// The time from then until it is answered.
    pub(super) back: Duration,
}

/// The slow nodes.
#[derive(Debug, Default)]
pub(super) struct Paces(BTreeMap<String, Slow>);

impl Paces {
    pub(super) fn set(&mut self, node: &str, slow: Option<Slow>) {
        match slow {
            Some(slow) => drop(self.0.insert(node.to_owned(), slow)),
            None => drop(self.0.remove(node)),
        }
    }

    /// The latency of a node's request.
    pub(super) fn of(&self, node: &str, verb: &Verb, usual: Duration, chance: &Chance) -> Pace {
        let mut pace = Pace { there: chance.latency(usual), back: Duration::ZERO };
        match self.0.get(node) {
            Some(&Slow::Requests(extra)) => pace.there += extra,
            Some(&Slow::Uploads(extra)) if verb.writes() => {
                let held_up = if chance.happens(0.5) { &mut pace.there } else { &mut pace.back };
                *held_up += extra;
            }
            Some(Slow::Uploads(_)) | None => {}
        }
        pace
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn only_uploads_are_slow_and_only_in_one_direction() {
        let (usual, extra) = (Duration::from_millis(5), Duration::from_secs(600));
        let (chance, mut paces) = (Chance::new(1), Paces::default());
        paces.set("a", Some(Slow::Uploads(extra)));
        let upload = Verb::Create("k".into(), Bytes::new());
        let held_up = |node| {
            let paces = (0..40).map(|_| paces.of(node, &upload, usual, &chance));
            paces.map(|pace| (pace.there >= extra, pace.back >= extra)).collect::<Vec<_>>()
        };
        let slow = held_up("a");
        assert!(slow.iter().all(|(there, back)| there != back), "{slow:?}");
        assert!(slow.contains(&(true, false)) && slow.contains(&(false, true)), "{slow:?}");
        assert!(!held_up("b").iter().any(|&(there, back)| there || back));
        assert!(paces.of("a", &Verb::Get("k".into()), usual, &chance).there < extra);
    }
}
