//! Tells epochs one after the other: what each changed since the last one that could be read.

use std::sync::Arc;

use holocron::inspect::Entry;
use holocron_protocol::{
    epoch::{
        changes::{Change, changes},
        record::EpochRecord,
    },
    format::{codec::Malformed, keys},
    ids::Epoch,
};
use serde_json::{Value, json};

use super::at::{state_as_json, state_as_text};
use crate::{
    exit::Fail,
    output::print,
    table::thousands,
    times::{rfc3339, shown},
};

/// How the output looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Text,
    /// A JSON object per line.
    Json,
}

/// What the next epoch is compared with.
#[derive(Debug)]
enum Basis {
    /// Nothing: it is the first.
    Nothing,
    /// This record, the newest before that could be read.
    Record(Arc<EpochRecord>),
    /// No earlier record can be read, so what changed isn't known.
    Unknown,
}

/// Tells epochs, oldest first.
#[derive(Debug)]
pub(super) struct Teller {
    form: Form,
    basis: Basis,
    /// Whether something was told before.
    told: u64,
}

impl Teller {
    /// A teller that begins with epoch 1.
    pub(super) fn new(form: Form) -> Self {
        Self { form, basis: Basis::Nothing, told: 0 }
    }

    /// Begins with this epoch, compared with an earlier record.
    pub(super) fn begin_with(&mut self, first: u64, before: Option<Arc<EpochRecord>>) {
        self.basis = match before {
            Some(record) => Basis::Record(record),
            None if first == 1 => Basis::Nothing,
            None => Basis::Unknown,
        };
    }

    /// Says that all epochs up to this one are deleted.
    pub(super) fn tell_deleted(&mut self, last: Epoch) -> Result<(), Fail> {
        self.say(&match self.form {
            Form::Text => format!(
                "Epochs 1 to {} are no longer kept (hosts keep what --history-epochs and --history-age say).\n",
                thousands(last.get())
            ),
            Form::Json => format!("{}\n", json!({ "deleted_through": last.get() })),
        })
    }

    /// Tells an epoch.
    pub(super) fn tell(&mut self, epoch: Epoch, entry: Entry) -> Result<(), Fail> {
        match entry {
            Entry::Record(record) => {
                let told = match self.form {
                    Form::Text => self.as_text(&record),
                    Form::Json => format!("{}\n", self.as_json(&record)),
                };
                self.basis = Basis::Record(record);
                self.say(&told)
            }
            Entry::Undecodable(malformed) => self.tell_gap(epoch, &malformed),
            // It was kept when the log was listed.
            Entry::Deleted => Ok(()),
            Entry::Absent => {
                let key = keys::epoch(epoch);
                self.tell_gap(epoch, &Malformed::new(&key, "it is missing: deleted from outside"))
            }
        }
    }

    /// Tells that an epoch has no readable record.
    fn tell_gap(&mut self, epoch: Epoch, malformed: &Malformed) -> Result<(), Fail> {
        if let Basis::Nothing = self.basis {
            self.basis = Basis::Unknown;
        }
        self.say(&match self.form {
            Form::Text => format!(
                "epoch {}  can't be read\n  {malformed}\n  The next epoch that can be read tells the changes of this one too.\n",
                thousands(epoch.get()),
            ),
            Form::Json => {
                let (key, error) = (&malformed.what, &malformed.why);
                format!("{}\n", json!({ "epoch": epoch.get(), "key": key, "error": error }))
            }
        })
    }

    fn as_text(&self, record: &EpochRecord) -> String {
        let mut out = format!(
            "epoch {}  {}  leader {}\n  why: {}\n",
            thousands(record.epoch.get()),
            shown(record.wall_ms),
            record.leader.host,
            record.reason
        );
        let before = match &self.basis {
            Basis::Nothing => None,
            Basis::Record(before) => Some(before),
            Basis::Unknown => {
                out.push_str("  The epochs before can't be read. The cluster in this one:\n");
                for line in state_as_text(record).lines() {
                    out.push_str(&format!("    {line}\n"));
                }
                return out;
            }
        };
        if let Some(before) = before.filter(|before| before.epoch.next() != record.epoch) {
            out.push_str(&format!("  since epoch {}:\n", thousands(before.epoch.get())));
        }
        out.push_str(&listed(&changes(before.map(|before| &**before), record)));
        out
    }

    fn as_json(&self, record: &EpochRecord) -> Value {
        let mut told = json!({
            "epoch": record.epoch.get(),
            "time": rfc3339(record.wall_ms),
            "wall_ms": record.wall_ms,
            "leader": record.leader.host.as_str(),
            "reason": record.reason,
        });
        match &self.basis {
            Basis::Nothing => told["changes"] = json!(changes(None, record)),
            Basis::Record(before) => {
                told["since"] = json!(before.epoch.get());
                told["changes"] = json!(changes(Some(before), record));
            }
            Basis::Unknown => told["state"] = state_as_json(record),
        }
        told
    }

    /// Prints a block, with an empty line before it if it isn't the first.
    fn say(&mut self, block: &str) -> Result<(), Fail> {
        let separator = if self.form == Form::Text && self.told > 0 { "\n" } else { "" };
        self.told += 1;
        print(&format!("{separator}{block}"))
    }
}

/// Changes as a list, a line each.
pub(super) fn listed(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "  - nothing but the number\n".to_owned();
    }
    changes.iter().map(|change| format!("  - {change}\n")).collect()
}
