//! Watching a vnode's commits.

use core::{fmt, marker::PhantomData, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use holocron_protocol::{
    format::codec,
    ids::{CommitNumber, VnodeName},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    CallError, Client, VnodeRef,
    request_driver::{Ask, RequestDriver},
};
use crate::api::{
    call::{Body, Format, Mode},
    vnode::Vnode,
    watch::{WatchRequest, read_news},
};

/// How long a host may let a watcher wait before it says that there was nothing new.
pub(super) const HOLD: Duration = Duration::from_secs(20);
/// Watchers of one client that wait at a time; further ones wait for their turn.
pub(super) const WATCHERS_MAX: usize = 4_096;

impl<V: Vnode> VnodeRef<V> {
    /// Follows the vnode: the answer to a query at each commit. Begins with the newest commit, or with the first if there is
    /// none yet.
    ///
    /// Whoever is slow gets the newest commit, not all. What is shown is committed, and each commit is newer than the one
    /// before, also across failovers and moves. The first is not older than what was acknowledged before it was asked for.
    ///
    /// ```no_run
    /// # async fn watch<V>(room: holocron::VnodeRef<V>) -> Result<(), holocron::CallError>
    /// # where V: holocron::Vnode<Query = (), Answer = Vec<String>> {
    /// let mut watch = room.watch(());
    /// loop {
    ///     let (commit, messages) = watch.next().await?;
    ///     println!("{commit:?}: {messages:?}");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn watch(&self, query: V::Query) -> Watch<V::Answer>
    where
        V::Answer: DeserializeOwned,
    {
        self.watch_as(query)
    }

    /// Like [`VnodeRef::watch`], for a caller that knows the type of this query's answer. Unlike other calls a watch isn't
    /// sent by name: its query needs the same arguments and result in the host's version of the kind.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "queries are given away, as to a call")]
    pub fn watch_as<R: DeserializeOwned>(&self, query: V::Query) -> Watch<R> {
        let mut body = Vec::new();
        let encoded = codec::try_to_bincode(&query, &mut body);
        let query = encoded.map(|()| Some(Bytes::from(body)));
        Watch { commits: self.watcher(query), answer: PhantomData }
    }

    /// Follows the vnode's commit numbers only; see [`VnodeRef::watch`].
    #[must_use]
    pub fn watch_commits(&self) -> WatchCommits {
        self.watcher(Ok(None))
    }

    fn watcher(&self, query: Result<Option<Bytes>, String>) -> WatchCommits {
        let name = self.valid_name().cloned();
        let rejected = |why| CallError::Rejected { why };
        let what = name.and_then(|name| Ok((name, query.map_err(rejected)?)));
        let (client, after) = (self.client.clone(), CommitNumber::ZERO);
        WatchCommits { client, what, format: Format::Bincode, after }
    }
}

impl Client {
    /// Follows the commit numbers of a vnode of any kind; see [`VnodeRef::watch`].
    #[must_use]
    pub fn watch_commits(&self, name: &VnodeName) -> WatchCommits {
        let (what, after) = (Ok((name.clone(), None)), CommitNumber::ZERO);
        WatchCommits { client: self.clone(), what, format: Format::Bincode, after }
    }

    /// Follows a vnode of any kind through a query in JSON, as for [`Client::call`]; see [`VnodeRef::watch`].
    #[must_use]
    pub fn watch_json(&self, name: &VnodeName, query: Bytes) -> WatchJson {
        let (what, after) = (Ok((name.clone(), Some(query))), CommitNumber::ZERO);
        WatchJson(WatchCommits { client: self.clone(), what, format: Format::Json, after })
    }
}

/// Follows a vnode through a query in JSON; see [`Client::watch_json`].
#[derive(Debug)]
pub struct WatchJson(WatchCommits);

impl WatchJson {
    /// The same, from the first commit after this one.
    #[must_use]
    pub fn after(self, commit: CommitNumber) -> Self {
        Self(self.0.after(commit))
    }

    /// Waits, as long as it takes, for a commit that is newer than the last one, and for the query's answer at it, in JSON.
    /// Dropping the future loses nothing. After an error it may be called again.
    ///
    /// # Errors
    ///
    /// [`CallError`], never [`CallError::Unclear`]: [`CallError::Unavailable`] when the vnode can't be reached until the
    /// client's deadline.
    pub async fn next(&mut self) -> Result<(CommitNumber, Bytes), CallError> {
        self.0.news().await
    }
}

/// Follows a vnode's commit numbers; see [`VnodeRef::watch_commits`].
#[derive(Debug)]
pub struct WatchCommits {
    client: Client,
    /// The vnode, and the query that is asked at each commit.
    what: Result<(VnodeName, Option<Bytes>), CallError>,
    /// How the query is encoded, and its answer.
    format: Format,
    after: CommitNumber,
}

impl WatchCommits {
    /// The same, from the first commit after this one.
    #[must_use]
    pub const fn after(mut self, commit: CommitNumber) -> Self {
        self.after = commit;
        self
    }

    /// Waits, as long as it takes, for a commit that is newer than the last one. Dropping the future loses nothing. After an
    /// error it may be called again.
    ///
    /// # Errors
    ///
    /// [`CallError`], never [`CallError::Unclear`]: [`CallError::Unavailable`] when the vnode can't be reached until the
    /// client's deadline.
    pub async fn next(&mut self) -> Result<CommitNumber, CallError> {
        self.news().await.map(|(commit, _)| commit)
    }

    async fn news(&mut self) -> Result<(CommitNumber, Bytes), CallError> {
        let (name, query) = self.what.as_ref().map_err(CallError::clone)?;
        loop {
            let hold_ms = u32::try_from(HOLD.as_millis()).expect("a hold is short");
            let request = WatchRequest { after: self.after, hold_ms, query: query.clone() };
            let body = Body { format: self.format, bytes: request.encode() };
            let reply = self.client.wait_for_news(name, body).await?;
            let news = read_news(&reply).map_err(|why| CallError::Unreadable { why })?;
            if let Some((commit, answer)) = news
                && commit > self.after
            {
                self.after = commit;
                return Ok((commit, answer));
            }
        }
    }
}

/// Follows a vnode through a query; see [`VnodeRef::watch`].
pub struct Watch<R> {
    commits: WatchCommits,
    answer: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Watch<R> {
    /// The same, from the first commit after this one: to go on where an earlier watch has ended.
    #[must_use]
    pub fn after(self, commit: CommitNumber) -> Self {
        Self { commits: self.commits.after(commit), ..self }
    }

    /// Waits, as long as it takes, for a commit that is newer than the last one, and for the query's answer at it. Dropping the
    /// future loses nothing. After an error it may be called again.
    ///
    /// # Errors
    ///
    /// [`CallError`], never [`CallError::Unclear`]: [`CallError::Unavailable`] when the vnode can't be reached until the
    /// client's deadline.
    pub async fn next(&mut self) -> Result<(CommitNumber, R), CallError> {
        let (commit, answer) = self.commits.news().await?;
        let answer = codec::from_bincode("answer", &answer)
            .map_err(|malformed| CallError::Unreadable { why: malformed.why })?;
        Ok((commit, answer))
    }

    /// All of them, without end. After an error it goes on.
    pub fn into_stream(self) -> impl Stream<Item = Result<(CommitNumber, R), CallError>> + Send {
        stream::unfold(self, |mut watch| async move { Some((watch.next().await, watch)) })
    }
}

impl<R> fmt::Debug for Watch<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.commits).finish()
    }
}

impl Client {
    /// Sends a watcher, which may wait for [`HOLD`] beyond the client's deadline.
    async fn wait_for_news(&self, name: &VnodeName, body: Body) -> Result<Bytes, CallError> {
        let deadline = Instant::now() + HOLD + self.deadline;
        let _permit = self.shared.admit_watcher(deadline).await?;
        let ask = Ask { shared: &self.shared, name, mode: Mode::Watch, body };
        RequestDriver::new(ask).run(deadline).await.map(|replied| replied.content)
    }
}
