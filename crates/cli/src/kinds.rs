//! The kinds of vnode that `holocron host` runs. Each is written with the public API only and is an example of it.
//!
//! In the shell a call is a word and a JSON argument: `add 5`, `put {"field": …}`. The words are the variants of the
//! kind's own enums, so they are defined once.

mod counter;
mod kv;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use self::{
    counter::{Command as CounterCommand, Counter, Query as CounterQuery},
    kv::{Answer as KvAnswer, Change, Command as KvCommand, Kv, Query as KvQuery},
};
use holocron::{HostBuilder, Vnode};

/// A command or query of a kind, for the shell's help and messages.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// An example argument as JSON; empty if it takes none.
    pub argument: &'static str,
    /// What it does, in a few words.
    pub does: &'static str,
}

/// A kind that can be called from the shell.
pub trait ShellKind: Vnode<Command: DeserializeOwned, Query: DeserializeOwned> {
    /// The words that are commands.
    const COMMANDS: &'static [Word];
    /// The words that are queries.
    const QUERIES: &'static [Word];
}

/// A parsed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShellCall<C, Q> {
    /// A command.
    Command(C),
    /// A query.
    Query(Q),
}

/// Parses a word and its argument.
///
/// # Errors
///
/// A sentence that says what would be valid.
pub fn parse<V: ShellKind>(
    word: &str,
    argument: &Value,
) -> Result<ShellCall<V::Command, V::Query>, String> {
    if let Some(known) = V::COMMANDS.iter().find(|known| known.word == word) {
        return read(known, argument).map(ShellCall::Command);
    }
    if let Some(known) = V::QUERIES.iter().find(|known| known.word == word) {
        return read(known, argument).map(ShellCall::Query);
    }
    let words: Vec<&str> = V::COMMANDS.iter().chain(V::QUERIES).map(|known| known.word).collect();
    Err(format!("{} has no command or query {word:?}; it has: {}", V::KIND, words.join(", ")))
}

fn read<T: DeserializeOwned>(known: &Word, argument: &Value) -> Result<T, String> {
    serde_json::from_value(json!({ known.word: argument })).map_err(|error| {
        let usage = if known.argument.is_empty() { "no argument" } else { known.argument };
        format!("{}: {error}; it takes {usage}", known.word)
    })
}

/// The words of every built-in kind, one line each, for help.
#[must_use]
pub fn describe() -> String {
    fn lines<V: ShellKind>(out: &mut String) {
        for known in V::COMMANDS.iter().chain(V::QUERIES) {
            let Word { word, argument, does } = known;
            out.push_str(&format!("  {:<8} {word:<17} {argument:<52} {does}\n", V::KIND));
        }
    }
    let mut out = String::new();
    lines::<Counter>(&mut out);
    lines::<Kv>(&mut out);
    out
}

/// Registers the built-in kinds with a host.
pub fn register(host: HostBuilder) -> HostBuilder {
    host.vnode::<Counter>().vnode::<Kv>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every word in the help can be parsed with the argument shown there.
    fn parses_every_word<V: ShellKind>() {
        for (words, commands) in [(V::COMMANDS, true), (V::QUERIES, false)] {
            for known in words {
                let argument = match known.argument {
                    "" => Value::Null,
                    example => serde_json::from_str(example).unwrap(),
                };
                match parse::<V>(known.word, &argument) {
                    Ok(ShellCall::Command(_)) => assert!(commands, "{}", known.word),
                    Ok(ShellCall::Query(_)) => assert!(!commands, "{}", known.word),
                    Err(why) => panic!("{why}"),
                }
            }
        }
    }

    #[test]
    fn every_word_in_the_help_can_be_parsed() {
        parses_every_word::<Counter>();
        parses_every_word::<Kv>();
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        let why = parse::<Counter>("subtract", &Value::Null).unwrap_err();
        assert!(why.contains("add, value"), "{why}");
    }

    #[test]
    fn an_argument_that_does_not_fit_is_answered_with_one_that_does() {
        let why = parse::<Counter>("add", &json!("five")).unwrap_err();
        assert!(why.contains("it takes 5"), "{why}");
        let why = parse::<Kv>("put", &json!({ "field": "a" })).unwrap_err();
        assert!(why.contains("missing field `value`"), "{why}");
    }
}
