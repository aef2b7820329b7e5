//! A book: the vnode that keeps some of the idempotency keys, each with its request and what came of it.
//!
//! Invariants:
//!
//! * An entry is noted in the commit that asks its target, and is kept until what came of that is known, and `keep_ms` longer.
//! * Under one key, a target is asked again only if it is known that nothing has run and nothing will.
//! * Entries and bytes are bounded: a key for which there is no room is refused, and not run.

use core::time::Duration;
use std::collections::BTreeMap;

use holocron::{CallError, Context, Finished, Ran, Vnode};
use holocron_protocol::ids::VnodeName;
use serde::{Deserialize, Serialize};

use crate::problem::{Problem, ProblemKind};

/// Most entries of a book.
pub(crate) const ENTRIES_MAX: usize = 4_096;
/// Most bytes of a book's entries: with them it is below the largest state of a vnode, 1 MiB.
const LEN_MAX: usize = 960 << 10;
/// Most bytes of calls whose outcome isn't known: the hosts' limit for messages is 256 KiB.
const PENDING_LEN_MAX: usize = 192 << 10;
/// Longest reply that is kept.
pub(crate) const REPLY_LEN_MAX: usize = 16 << 10;
/// Longest detail of a failure that is kept.
const DETAIL_LEN_MAX: usize = 512;
/// Bytes counted for an entry without its reply.
const ENTRY_COST: usize = 64;
/// After which time a key may be tried again that finds too many calls without outcome.
const RETRY_PENDING: Duration = Duration::from_secs(1);
/// How often a book that can't be deleted yet looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(60 * 60);
/// The timer that forgets entries.
const PRUNE: &str = "prune";

/// The state of a book.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Book {
    entries: BTreeMap<u128, Entry>,
}

/// A key.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    fingerprint: u128,
    keep_ms: u64,
    progress: Progress,
}

#[derive(Debug, Serialize, Deserialize)]
enum Progress {
    /// The target was asked, with a call of so many bytes.
    Asked { len: u32 },
    /// What came of it, kept until then, in milliseconds since 1970.
    Over { until_ms: u64, ended: Ended },
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// Its reply, in JSON.
    Reply(Vec<u8>),
    /// It ran; its reply had so many bytes and isn't kept.
    ReplyNotKept(u64),
    /// It failed.
    Failed {
        /// The name of the problem, which says whether it ran.
        problem: String,
        /// The sentence for the caller.
        detail: String,
    },
}

/// What changes a book. Add variants at the end: gateways and hosts may be of different versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Runs a command under a key, if that wasn't done before.
    Post {
        /// The hash of principal and key.
        key: u128,
        /// The hash of the request.
        fingerprint: u128,
        /// The kind of the target.
        kind: String,
        /// The key of the target.
        vnode: String,
        /// The call, in JSON.
        call: Vec<u8>,
        /// How long its outcome is to be kept, in milliseconds.
        keep_ms: u64,
    },
    /// Forgets entries that are old enough.
    Prune,
}

/// What reads a book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// What came of the command under a key; none if that isn't known.
    Outcome {
        /// The hash of principal and key.
        key: u128,
    },
}

/// What a book says to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Posted {
    /// The target is asked, now or before: what comes of it is a later commit.
    Waits {
        /// Than this one; zero in the book's own reply.
        after: u64,
    },
    /// It is over since an earlier request.
    Over(Ended),
    /// The key stands for another request.
    OtherRequest,
    /// There is no room for another key; nothing was done.
    Full {
        /// When there may be.
        retry_after_ms: u64,
    },
}

impl Posted {
    /// With the commit of the reply.
    pub(super) fn at(mut self, commit: holocron::CommitNumber) -> Self {
        if let Self::Waits { after } = &mut self {
            *after = commit.get();
        }
        self
    }
}

impl Entry {
    /// Bytes counted for it. What isn't over counts with the longest reply, so what comes back always fits.
    fn len(&self) -> usize {
        let outcome = match &self.progress {
            Progress::Asked { .. } => REPLY_LEN_MAX,
            Progress::Over { ended: Ended::Reply(reply), .. } => reply.len(),
            Progress::Over { ended: Ended::Failed { problem, detail }, .. } => {
                problem.len() + detail.len()
            }
            Progress::Over { ended: Ended::ReplyNotKept(_), .. } => 0,
        };
        ENTRY_COST + outcome
    }

    /// Whether it is known that nothing has run, nor will: then the key may be tried again.
    fn is_undone(&self) -> bool {
        match &self.progress {
            Progress::Over { ended: Ended::Failed { problem, .. }, .. } => {
                ProblemKind::named(problem).is_some_and(|problem| problem.ran() == Ran::No)
            }
            Progress::Over { .. } | Progress::Asked { .. } => false,
        }
    }
}

impl Book {
    fn len(&self) -> usize {
        self.entries.values().map(Entry::len).sum()
    }

    fn pending_len(&self) -> usize {
        let pending = self.entries.values().map(|entry| match entry.progress {
            Progress::Asked { len } => usize::try_from(len).unwrap_or(usize::MAX),
            Progress::Over { .. } => 0,
        });
        pending.fold(0, usize::saturating_add)
    }

    /// When the first entry is old enough, if one is over.
    fn first_end(&self) -> Option<u64> {
        let ends = self.entries.values().filter_map(|entry| match entry.progress {
            Progress::Over { until_ms, .. } => Some(until_ms),
            Progress::Asked { .. } => None,
        });
        ends.min()
    }

    /// Forgets what is old enough.
    fn forget(&mut self, now_ms: u64) {
        self.entries.retain(|_, entry| match entry.progress {
            Progress::Over { until_ms, .. } => until_ms > now_ms,
            Progress::Asked { .. } => true,
        });
    }

    /// Why there is no room for another call.
    fn full(&self, call_len: usize, now_ms: u64) -> Option<Posted> {
        let full = |after: Duration| {
            let retry_after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            Some(Posted::Full { retry_after_ms })
        };
        if self.pending_len().saturating_add(call_len) > PENDING_LEN_MAX {
            return full(RETRY_PENDING);
        }
        let is_full = self.len() + ENTRY_COST + REPLY_LEN_MAX > LEN_MAX;
        if is_full || self.entries.len() >= ENTRIES_MAX {
            let first = self.first_end().unwrap_or(now_ms);
            return full(Duration::from_millis(first.saturating_sub(now_ms)).max(RETRY_PENDING));
        }
        None
    }

    fn prune(&mut self, context: &mut Context<'_, Self>) {
        let now_ms = context.now_ms();
        self.forget(now_ms);
        if self.entries.is_empty() {
            return context.delete();
        }
        let first = self.first_end().map(|end| Duration::from_millis(end.saturating_sub(now_ms)));
        context.after(
            PRUNE,
            first.map_or(LOOK_AGAIN, |first| first.max(RETRY_PENDING)),
            Command::Prune,
        );
    }

    /// Keeps what came of a command.
    fn end(&mut self, context: &mut Context<'_, Self>, key: u128, ended: Ended) {
        let now_ms = context.now_ms();
        // An entry without outcome is never forgotten.
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let until_ms = now_ms.saturating_add(entry.keep_ms);
        entry.progress = Progress::Over { until_ms, ended };
    }
}

/// What came of a message.
fn ended(outcome: Result<&[u8], CallError>) -> Ended {
    match outcome {
        Ok(reply) if reply.len() <= REPLY_LEN_MAX => Ended::Reply(reply.to_vec()),
        Ok(reply) => Ended::ReplyNotKept(reply.len() as u64),
        Err(error) => {
            let problem = Problem::from(error);
            let mut detail = problem.detail().to_owned();
            let end = (0..=DETAIL_LEN_MAX).rev().find(|end| detail.is_char_boundary(*end));
            detail.truncate(end.unwrap_or(0));
            Ended::Failed { problem: problem.kind().name().to_owned(), detail }
        }
    }
}

impl Vnode for Book {
    const KIND: &'static str = "holocron.requests";
    type Command = Command;
    type Reply = Posted;
    type Query = Query;
    type Answer = Option<Ended>;
    type Env = ();

    fn command(&mut self, context: &mut Context<'_, Self>, command: Command) -> Posted {
        let Command::Post { key, fingerprint, kind, vnode, call, keep_ms } = command else {
            self.prune(context);
            return Posted::OtherRequest;
        };
        let now_ms = context.now_ms();
        self.forget(now_ms);
        if let Some(entry) = self.entries.get(&key) {
            if entry.fingerprint != fingerprint {
                return Posted::OtherRequest;
            }
            match &entry.progress {
                Progress::Asked { .. } => return Posted::Waits { after: 0 },
                Progress::Over { ended, .. } if !entry.is_undone() => {
                    return Posted::Over(ended.clone());
                }
                Progress::Over { .. } => drop(self.entries.remove(&key)),
            }
        }
        if let Some(full) = self.full(call.len(), now_ms) {
            return full;
        }
        let target = match VnodeName::new(&kind, &vnode) {
            Ok(target) => target,
            Err(invalid) => {
                let problem = ProblemKind::Malformed.name().to_owned();
                return Posted::Over(Ended::Failed { problem, detail: invalid.0 });
            }
        };
        if self.entries.is_empty() {
            let keep = Duration::from_millis(keep_ms).max(RETRY_PENDING);
            context.after(PRUNE, keep, Command::Prune);
        }
        let len = u32::try_from(call.len()).unwrap_or(u32::MAX);
        self.entries.insert(key, Entry { fingerprint, keep_ms, progress: Progress::Asked { len } });
        context.ask_by_name(&target, call.into(), &format!("{key:032x}"));
        Posted::Waits { after: 0 }
    }

    fn query(&self, _: &Context<'_, Self>, Query::Outcome { key }: Query) -> Option<Ended> {
        match &self.entries.get(&key)?.progress {
            Progress::Asked { .. } => None,
            Progress::Over { ended, .. } => Some(ended.clone()),
        }
    }

    fn finished(&mut self, context: &mut Context<'_, Self>, finished: Finished<'_>) {
        if let Ok(key) = u128::from_str_radix(finished.tag(), 16) {
            self.end(context, key, ended(finished.json()));
        }
    }
}

#[cfg(test)]
mod tests {
    use holocron::testing::TestVnode;

    use super::*;

    fn post(key: u128, body: &str) -> Command {
        Command::Post {
            key,
            fingerprint: body.len() as u128,
            kind: "cart".to_owned(),
            vnode: "alice".to_owned(),
            call: body.as_bytes().to_vec(),
            keep_ms: 60_000,
        }
    }

    fn outcome(book: &mut TestVnode<Book>, key: u128) -> Option<Ended> {
        book.query(Query::Outcome { key })
    }

    /// The numbers of the messages that aren't answered.
    fn waiting(book: &TestVnode<Book>) -> Vec<u64> {
        book.sent_by_name().iter().map(|sent| sent.number).collect()
    }

    #[test]
    fn a_key_asks_once_and_keeps_what_came_of_it_for_a_time() {
        let mut book = TestVnode::<Book>::new("7");
        assert_eq!(book.command(post(1, "\"add\"")).unwrap(), Posted::Waits { after: 0 });
        assert_eq!(book.command(post(1, "\"add\"")).unwrap(), Posted::Waits { after: 0 });
        assert_eq!(book.command(post(1, "other body")).unwrap(), Posted::OtherRequest);
        assert_eq!(outcome(&mut book, 1), None);
        let asked = waiting(&book);
        assert_eq!(asked.len(), 1, "{asked:?}");
        book.answer_by_name(asked[0], Ok("5"));
        let reply = Ended::Reply(b"5".to_vec());
        assert_eq!(outcome(&mut book, 1), Some(reply.clone()));
        assert_eq!(book.command(post(1, "\"add\"")).unwrap(), Posted::Over(reply));
        assert_eq!(waiting(&book), [0; 0]);
        book.advance(Duration::from_secs(59));
        assert!(outcome(&mut book, 1).is_some());
        book.advance(Duration::from_secs(2));
        assert_eq!(outcome(&mut book, 1), None);
        assert!(!book.exists(), "an empty book is deleted");
    }

    #[test]
    fn what_has_not_run_may_be_tried_again_and_what_is_unclear_may_not() {
        let mut book = TestVnode::<Book>::new("7");
        for (error, again) in [(CallError::Panicked, true), (CallError::Unclear, false)] {
            let key = u128::from(again);
            book.command(post(key, "x")).unwrap();
            let number = *waiting(&book).last().unwrap();
            book.answer_by_name(number, Err(error));
            let posted = book.command(post(key, "x")).unwrap();
            assert_eq!(matches!(posted, Posted::Waits { .. }), again, "{posted:?}");
        }
    }

    #[test]
    fn a_key_is_not_forgotten_before_its_outcome_is_known() {
        let mut book = TestVnode::<Book>::new("7");
        book.command(post(1, "x")).unwrap();
        book.advance(Duration::from_secs(100 * 60 * 60));
        assert_eq!(book.command(post(1, "x")).unwrap(), Posted::Waits { after: 0 });
        assert_eq!(waiting(&book).len(), 1);
    }

    #[test]
    fn a_full_book_refuses_further_keys_and_says_when_there_is_room() {
        let mut book = TestVnode::<Book>::new("7");
        let long = "x".repeat(60 << 10);
        for key in 0..3 {
            assert_eq!(book.command(post(key, &long)).unwrap(), Posted::Waits { after: 0 });
        }
        assert_eq!(book.command(post(3, &long)).unwrap(), Posted::Full { retry_after_ms: 1_000 });
        for number in waiting(&book) {
            book.answer_by_name(number, Ok(&"1".repeat(REPLY_LEN_MAX + 1)));
        }
        assert!(matches!(outcome(&mut book, 0), Some(Ended::ReplyNotKept(_))));
        let mut kept = 0;
        let full = loop {
            let posted = book.command(post(100 + kept, "x")).unwrap();
            if posted != (Posted::Waits { after: 0 }) {
                break posted;
            }
            book.answer_by_name(waiting(&book)[0], Ok(&"1".repeat(REPLY_LEN_MAX)));
            kept += 1;
        };
        assert_eq!(kept, 59, "replies of 16 KiB in 960 KiB");
        assert!(matches!(full, Posted::Full { retry_after_ms: 50_000..=60_000 }), "{full:?}");
        book.advance(Duration::from_secs(61));
        assert_eq!(book.command(post(3, &long)).unwrap(), Posted::Waits { after: 0 });
    }
}
