//! `kv`: a small map of text to text, with compare-and-set.
//!
//! The whole map is one state: it is loaded, changed and committed as one. So it suits maps of some kilobytes, such as
//! the settings of a device or the members of a room; a host's `state_len_max` bounds it. For more data use more
//! vnodes: an idle vnode costs nothing.

use std::collections::BTreeMap;

use holocron::{Context, Vnode};
use serde::{Deserialize, Serialize};

/// A map from field to value.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Kv {
    fields: BTreeMap<String, String>,
}

/// What changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Sets a field.
    Put {
        /// Which.
        field: String,
        /// To what.
        value: String,
    },
    /// Removes a field.
    Delete {
        /// Which.
        field: String,
    },
    /// Sets or removes a field if it is as expected.
    CompareAndSet {
        /// Which.
        field: String,
        /// What it must be now; `None`: absent.
        expected: Option<String>,
        /// What it becomes; `None`: absent.
        value: Option<String>,
    },
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whether the command was applied. Only a compare-and-set can fail.
    pub done: bool,
    /// What the field was before, and still is if nothing was done.
    pub before: Option<String>,
}

/// What reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Query {
    /// One field.
    Get {
        /// Which.
        field: String,
    },
    /// All fields.
    All,
}

/// What a query answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The value of the field, if there is one.
    Value(Option<String>),
    /// All fields, in order.
    Fields(BTreeMap<String, String>),
}

impl Vnode for Kv {
    const KIND: &'static str = "kv";
    type Command = Command;
    type Reply = Change;
    type Query = Query;
    type Answer = Answer;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, command: Command) -> Change {
        match command {
            Command::Put { field, value } => {
                Change { done: true, before: self.fields.insert(field, value) }
            }
            Command::Delete { field } => Change { done: true, before: self.fields.remove(&field) },
            Command::CompareAndSet { field, expected, value } => {
                let before = self.fields.get(&field).cloned();
                if before != expected {
                    return Change { done: false, before };
                }
                match value {
                    Some(value) => drop(self.fields.insert(field, value)),
                    None => drop(self.fields.remove(&field)),
                }
                Change { done: true, before }
            }
        }
    }

    fn query(&self, _: &Context<'_, Self>, query: Query) -> Answer {
        match query {
            Query::Get { field } => Answer::Value(self.fields.get(&field).cloned()),
            Query::All => Answer::Fields(self.fields.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare_and_set(expected: Option<&str>, value: Option<&str>) -> Command {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Command::CompareAndSet { field: "a".into(), expected: owned(expected), value: owned(value) }
    }

    // A handler needs a context only the runtime can make, so the map is tested through a host in `tests/`; what can be
    // tested here is that the words on the wire stay what they are.
    #[test]
    fn the_words_of_the_shell_are_the_variants_in_kebab_case() {
        let said = serde_json::to_value(compare_and_set(None, Some("b"))).unwrap();
        let expected = serde_json::json!({
            "compare-and-set": { "field": "a", "expected": null, "value": "b" }
        });
        assert_eq!(said, expected);
    }
}
