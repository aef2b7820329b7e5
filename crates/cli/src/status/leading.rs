//! What the leader is about to do, and what it waits for, in words.

use holocron_protocol::control::leader::{LeaderStatus, PlannedMove, Waits};

use crate::table::thousands;

/// One sentence for each thing.
pub(crate) fn sentences(leading: &LeaderStatus) -> Vec<String> {
    let mut out: Vec<String> = leading.planned.iter().map(planned).collect();
    if leading.ordered > 0 {
        out.push(format!(
            "{} slots that an operator has ordered wait to move",
            thousands(leading.ordered.into())
        ));
    }
    for (host, millis) in &leading.waiting_for_share {
        out.push(format!(
            "{host} was sealed a moment ago: it gets its share of the slots in {} s",
            millis.div_ceil(1_000)
        ));
    }
    let uneven = leading
        .uneven_ms
        .map(|millis| format!("the load has been uneven for {} s", millis / 1_000));
    let waits = leading.balance_waits.map(|waits| match waits {
        Waits::Lasting => "slots move if it stays so",
        Waits::Copies => "slots move when hosts have copied the states of slots that they got",
        Waits::Reports => "slots move when every host has reported its load",
    });
    match (uneven, waits) {
        (Some(uneven), Some(waits)) => out.push(format!("{uneven}; {waits}")),
        (Some(uneven), None) => out.push(uneven),
        (None, Some(waits)) => out.push(format!("hosts are off their shares; {waits}")),
        (None, None) => {}
    }
    out
}

fn planned(moves: &PlannedMove) -> String {
    let PlannedMove { from, to, slots } = moves;
    format!("{} slots are about to move from {from} to {to}", thousands((*slots).into()))
}

#[cfg(test)]
mod tests {
    use holocron_protocol::ids::HostName;

    use super::*;

    #[test]
    fn each_thing_has_a_sentence() {
        let host = |name: &str| HostName::new(name).unwrap();
        let leading = LeaderStatus {
            planned: vec![PlannedMove { from: host("h1"), to: host("h2"), slots: 1_024 }],
            ordered: 7,
            waiting_for_share: vec![(host("h3"), 1_200)],
            uneven_ms: Some(4_900),
            balance_waits: Some(Waits::Lasting),
        };
        assert_eq!(
            sentences(&leading),
            [
                "1,024 slots are about to move from h1 to h2",
                "7 slots that an operator has ordered wait to move",
                "h3 was sealed a moment ago: it gets its share of the slots in 2 s",
                "the load has been uneven for 4 s; slots move if it stays so",
            ]
        );
        assert!(sentences(&LeaderStatus::default()).is_empty());
    }
}
