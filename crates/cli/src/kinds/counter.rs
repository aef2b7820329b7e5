//! `counter`: a number to which commands add. The smallest useful vnode.

use holocron::{Context, Vnode};
use serde::{Deserialize, Serialize};

/// A number.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Counter {
    value: i64,
}

/// What changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Adds, and returns the new value. Stops at the largest and smallest `i64`.
    Add(i64),
}

/// What reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Query {
    /// The value.
    Value,
}

impl Vnode for Counter {
    const KIND: &'static str = "counter";
    type Command = Command;
    type Reply = i64;
    type Query = Query;
    type Answer = i64;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, Command::Add(amount): Command) -> i64 {
        self.value = self.value.saturating_add(amount);
        self.value
    }

    fn query(&self, _: &Context<'_, Self>, Query::Value: Query) -> i64 {
        self.value
    }
}
