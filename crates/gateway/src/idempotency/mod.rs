//! Idempotency keys: a command that is sent again under the same key, to any gateway, takes effect once.
//!
//! A key is an entry in a [`book`], a vnode. The book notes the key and asks the target by a message, in one commit; the
//! message runs at the target once, whatever crashes, and what came of it is a later commit of the book. The gateway waits for
//! that commit, and so does any other gateway that is sent the same key. So there is nothing to keep in a gateway, and no rule
//! of safety here: what a book has committed is what happened.

pub mod book;
mod keyed;

use core::time::Duration;

use axum::http::HeaderValue;
use bytes::Bytes;
use holocron::{Body, CallError, Client, Format, HostBuilder, Mode, VnodeRef};
use holocron_protocol::{format::codec, ids::VnodeName};
use tokio::time::{Instant, timeout_at};

use self::book::{Book, Command, Ended, Posted, Query};
pub(crate) use self::keyed::Keyed;
use crate::{
    gateway::Gateway,
    problem::{Problem, ProblemKind},
    request::left,
    settings::KEEP_KEYS_MAX,
};

/// The books of a cluster. Fixed: another number would look for keys in other books.
pub const BOOKS: u32 = 16_384;
/// The request's header with the key.
pub(crate) const HEADER: &str = "idempotency-key";
/// The answer's header that says whether the outcome was known before.
pub(crate) const REPLAYED: &str = "idempotency-replayed";
/// Longest call that is sent under a key, in bytes: it is kept in the book until its target has answered.
pub(crate) const KEYED_LEN_MAX: usize = 64 << 10;

/// Registers the kind of the books. Every host of a cluster that has a gateway needs it.
pub fn register(builder: HostBuilder) -> HostBuilder {
    builder.vnode::<Book>()
}

/// Whether an outcome was known before the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// The request is a retry.
    Yes,
    /// It is the first, or the first one still runs.
    No,
}

impl Earlier {
    pub(crate) const fn text(self) -> HeaderValue {
        match self {
            Self::Yes => HeaderValue::from_static("true"),
            Self::No => HeaderValue::from_static("false"),
        }
    }
}

/// Runs a command under a key, or finds what came of it before.
pub(crate) async fn run(
    gateway: &Gateway,
    keyed: Keyed,
    (to, call): (VnodeName, Bytes),
    deadline: Instant,
) -> Result<(Bytes, Earlier), Problem> {
    if call.len() > KEYED_LEN_MAX {
        let why = format!("under an idempotency key a call may have {KEYED_LEN_MAX} bytes");
        return Err(ProblemKind::BodyTooLarge.with(why));
    }
    let keep = gateway.0.settings.keep_keys.min(KEEP_KEYS_MAX);
    let command = Command::Post {
        key: keyed.key,
        fingerprint: keyed.fingerprint,
        kind: to.kind().to_owned(),
        vnode: to.key().to_owned(),
        call: call.to_vec(),
        keep_ms: u64::try_from(keep.as_millis()).expect("a week is short"),
    };
    let book = Shelf { client: &gateway.0.client, name: keyed.book(), deadline };
    match book.post(&command).await? {
        Posted::Over(ended) => outcome(ended).map(|reply| (reply, Earlier::Yes)),
        Posted::Waits { after } => {
            let ended = book.wait(keyed.key, after).await?;
            outcome(ended).map(|reply| (reply, Earlier::No))
        }
        Posted::OtherRequest => {
            let why = "the key was used for another method, path or body";
            Err(ProblemKind::KeyReused.with(why))
        }
        Posted::Full { retry_after_ms } => {
            let after = Duration::from_millis(retry_after_ms);
            let why = "the book of this key has no room for another one";
            Err(ProblemKind::KeysFull.with(why).retry_after(after))
        }
    }
}

/// What a caller is told of an outcome.
fn outcome(ended: Ended) -> Result<Bytes, Problem> {
    match ended {
        Ended::Reply(reply) => Ok(reply.into()),
        Ended::ReplyNotKept(length) => Err(ProblemKind::ReplyUnreadable.with(format!(
            "it ran, and its reply of {length} bytes was too long to be kept; read the vnode"
        ))),
        Ended::Failed { problem, detail } => {
            let kind = ProblemKind::named(&problem).unwrap_or(ProblemKind::Unclear);
            Err(kind.with(detail))
        }
    }
}

/// A book, as a gateway calls it.
struct Shelf<'a> {
    client: &'a Client,
    name: VnodeName,
    deadline: Instant,
}

impl Shelf<'_> {
    async fn post(&self, command: &Command) -> Result<Posted, Problem> {
        let mut bytes = Vec::new();
        codec::to_bincode(command, &mut bytes);
        let body = Body { format: Format::Bincode, bytes: bytes.into() };
        let posted =
            self.client.call_with_commit(&self.name, Mode::Command, body, left(self.deadline));
        match posted.await {
            Ok((reply, commit)) => {
                let posted = codec::from_bincode(self.name.kind(), &reply);
                let posted: Posted = posted.map_err(|malformed| {
                    ProblemKind::OutcomePending.with(malformed.to_string())
                })?;
                Ok(posted.at(commit))
            }
            // It may be noted, or may yet be: then a retry finds it.
            Err(CallError::Unclear) => Err(pending()),
            // The hosts' limits are lower than the book's own.
            Err(CallError::Rejected { why }) => Err(ProblemKind::KeysFull.with(why)),
            Err(CallError::UnknownKind) => Err(ProblemKind::KeysFull.with(
                "the host of the key's book has no idempotency keys: register the gateway's kind there",
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the outcome of an entry that was there at a commit.
    async fn wait(&self, key: u128, after: u64) -> Result<Ended, Problem> {
        let book: VnodeRef<Book> = self.client.get(self.name.key());
        let mut watch =
            book.watch(Query::Outcome { key }).after(holocron::CommitNumber::new(after));
        let waiting = async {
            loop {
                match watch.next().await {
                    Ok((_, Some(ended))) => return ended,
                    Ok((_, None)) => {}
                    // The entry is committed: whatever is wrong now, its outcome comes.
                    Err(error) => tracing::debug!(book = %self.name, %error, "no news of a key"),
                }
            }
        };
        timeout_at(self.deadline, waiting).await.map_err(|_elapsed| pending())
    }
}

fn pending() -> Problem {
    ProblemKind::OutcomePending.with(
        "the outcome was not known in time; send the same request with the same key, to any gateway, to learn it",
    )
}
