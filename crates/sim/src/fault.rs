//! The kinds of faults in a scenario, by name.

use core::{fmt, str::FromStr};
use std::collections::BTreeSet;

use crate::chance::Chance;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A host's process crashes and is restarted a while later.
    Crash,
    /// A host's process is paused, shortly or for long, and wakes.
    Pause,
    /// Two nodes are partitioned, in one direction or both, for a while.
    Partition,
    /// Connections between two nodes break.
    Reset,
    /// A host's clock runs fast or slow.
    Clock,
    /// Requests to the store fail, get wrong answers, land late, or land twice.
    Store,
    /// The store doesn't answer for a while.
    Outage,
    /// One host's requests to the store are slow.
    Slow,
    /// A healthy host is sealed on request.
    Alarm,
    /// An operator drains a host or moves slots.
    Order,
    /// Hosts leave with a handoff, and join.
    JoinLeave,
    /// A second process runs under a host's name.
    Namesake,
    /// The store is lost and replaced by another one: empty, or another cluster's. Then the scenario ends.
    Lost,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Crash,
        Self::Pause,
        Self::Partition,
        Self::Reset,
        Self::Clock,
        Self::Store,
        Self::Outage,
        Self::Slow,
        Self::Alarm,
        Self::Order,
        Self::JoinLeave,
        Self::Namesake,
        Self::Lost,
    ];

    /// Its name, as it is printed and parsed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::Reset => "reset",
            Self::Clock => "clock",
            Self::Store => "store",
            Self::Outage => "outage",
            Self::Slow => "slow",
            Self::Alarm => "alarm",
            Self::Order => "order",
            Self::JoinLeave => "join-leave",
            Self::Namesake => "namesake",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No fault has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFault(String);

impl fmt::Display for UnknownFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no fault is named {:?}; use ", self.0)?;
        for fault in Fault::ALL {
            write!(f, "{fault}, ")?;
        }
        f.write_str("all and none")
    }
}

impl core::error::Error for UnknownFault {}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == name);
        found.ok_or_else(|| UnknownFault(name.to_owned()))
    }
}

/// The kinds of faults of one scenario. Printed and parsed as names separated by commas, `all` or `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(BTreeSet<Fault>);

impl Faults {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// All kinds of faults.
    #[must_use]
    pub fn all() -> Self {
        Fault::ALL.into_iter().collect()
    }

    /// The kinds that a seed chooses: in a quarter of the seeds each, one kind, a few kinds, half of them, or all.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let chance = Chance::new(seed ^ 0xfa17);
        let few = match chance.below(4) {
            0 => 1,
            1 => 2 + chance.below(2),
            2 => 6,
            _ => return Self::all(),
        };
        let mut faults = BTreeSet::new();
        while (faults.len() as u64) < few {
            let at = usize::try_from(chance.below(Fault::ALL.len() as u64)).expect("there are few");
            faults.insert(Fault::ALL[at]);
        }
        Self(faults)
    }

    /// Whether that kind is among them.
    #[must_use]
    pub fn contains(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// Each kind.
    pub fn iter(&self) -> impl Iterator<Item = Fault> {
        self.0.iter().copied()
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        Self(faults.into_iter().collect())
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        if self.0.len() == Fault::ALL.len() {
            return f.write_str("all");
        }
        for (at, fault) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{fault}")?;
        }
        Ok(())
    }
}

impl FromStr for Faults {
    type Err = UnknownFault;

    fn from_str(names: &str) -> Result<Self, UnknownFault> {
        match names {
            "all" => Ok(Self::all()),
            "none" => Ok(Self::none()),
            names => names.split(',').map(|name| name.trim().parse()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_printed_as_they_are_parsed() {
        for text in ["all", "none", "crash", "crash,store,join-leave"] {
            assert_eq!(text.parse::<Faults>().unwrap().to_string(), text);
        }
        let error = "crush".parse::<Faults>().unwrap_err().to_string();
        assert!(error.contains("\"crush\"") && error.contains("crash"), "{error}");
    }

    #[test]
    fn seeds_draw_few_faults_and_many() {
        let drawn: Vec<usize> = (0..40).map(|seed| Faults::drawn(seed).iter().count()).collect();
        assert!(drawn.contains(&1) && drawn.contains(&Fault::ALL.len()), "{drawn:?}");
        assert_eq!(Faults::drawn(7), Faults::drawn(7));
    }
}
