//! How long requests take.

use core::time::Duration;
use std::collections::BTreeMap;

use super::request::Verb;
use crate::chance::Chance;

/// What is slow about one node's way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Every request takes this much longer.
    Requests(Duration),
    /// Every upload takes this much longer: on its way there, so that it lands late, or its answer on its way back. All
    /// else is as quick as ever.
    Uploads(Duration),
}

/// How long one request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Until it is carried out.
    pub(super) there: Duration,
    /// From then on until it is answered.
    pub(super) back: Duration,
}

/// The nodes that are slow.
#[derive(Debug, Default)]
pub(super) struct Paces(BTreeMap<String, Slow>);

impl Paces {
    pub(super) fn set(&mut self, node: &str, slow: Option<Slow>) {
        match slow {
            Some(slow) => drop(self.0.insert(node.to_owned(), slow)),
            None => drop(self.0.remove(node)),
        }
    }

    /// How long a request of a node takes.
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
    fn slow_uploads_are_held_up_on_one_way_and_nothing_else_is() {
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
