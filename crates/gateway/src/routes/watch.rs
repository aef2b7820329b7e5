//! Watching a vnode: server-sent events, each a committed answer to a query. An event's id is its commit number.

use core::{convert::Infallible, time::Duration};

use axum::{
    http::request::Parts,
    response::{
        IntoResponse as _,
        sse::{Event, KeepAlive, Sse},
    },
};
use bytes::Bytes;
use futures::{Stream, stream};
use holocron::{Body, CallError, CommitNumber, Format, Mode, WatchJson};
use holocron_protocol::ids::VnodeName;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::CancellationToken;

use super::Answered;
use crate::{
    gateway::{Gateway, text_of},
    problem::{Problem, ProblemKind},
    request::left,
};

/// The media type that asks for a watch.
pub(super) const MEDIA_TYPE: &str = "text/event-stream";
/// The pause after which a comment keeps the connection alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Answers with the events of a vnode, from its newest commit on, or from the first after `Last-Event-ID`.
pub(super) async fn watch(
    gateway: &Gateway,
    head: &Parts,
    (name, query): (VnodeName, Bytes),
    deadline: Instant,
) -> Answered {
    let after = match text_of(head, "last-event-id").transpose()? {
        None | Some("") => CommitNumber::ZERO,
        Some(id) => id.parse().map(CommitNumber::new).map_err(|_not_a_number| {
            ProblemKind::Malformed.with("Last-Event-ID is the id of an event: a commit number")
        })?,
    };
    let full =
        |_none_left| ProblemKind::TooManyWatchers.with("too many watches are open at this gateway");
    let permit = gateway.0.watchers.clone().try_acquire_owned().map_err(full)?;
    // The query is asked once before: what is wrong with it is then said by a status.
    let client = &gateway.0.client;
    let body = Body { format: Format::Json, bytes: query.clone() };
    client.call(&name, Mode::Local, body, left(deadline)).await?;
    let watching = Watching {
        watch: client.watch_json(&name, query).after(after),
        leaving: gateway.0.leaving.clone(),
        _permit: permit,
    };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(watching.events()).keep_alive(keep_alive).into_response())
}

struct Watching {
    watch: WatchJson,
    leaving: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Watching {
    /// Its events. It ends when the gateway does, or after an error that a retry doesn't help against: then with an event
    /// `problem`.
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(Some(self), |watching| async move {
            let mut watching = watching?;
            let leaving = watching.leaving.clone();
            loop {
                let news = tokio::select! {
                    biased;
                    () = leaving.cancelled() => return None,
                    news = watching.watch.next() => news,
                };
                match news {
                    Ok((commit, answer)) => {
                        let text = String::from_utf8_lossy(&answer);
                        let event = Event::default().id(commit.get().to_string()).data(text);
                        return Some((Ok(event), Some(watching)));
                    }
                    Err(error) if passes(&error) => {
                        tracing::debug!(%error, "a watch has no news; it goes on");
                    }
                    Err(error) => {
                        let problem = Problem::from(error).body();
                        return Some((Ok(Event::default().event("problem").data(problem)), None));
                    }
                }
            }
        })
    }
}

/// Whether a watch may go on after an error.
const fn passes(error: &CallError) -> bool {
    matches!(error, CallError::Busy | CallError::Unclear | CallError::Unavailable { .. })
}
