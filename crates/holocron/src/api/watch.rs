//! What a watcher sends and gets: the body of a call of [`crate::Mode::Watch`], and of its answer.

use core::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use holocron_protocol::{format::codec, ids::CommitNumber};
use serde::{Deserialize, Serialize};

/// The body of a call: what the watcher has seen, and what it wants to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WatchRequest {
    /// It has seen the commits up to this one.
    pub(crate) after: CommitNumber,
    /// How long the host may let it wait.
    pub(crate) hold_ms: u32,
    /// The query that is asked at each commit; none for commit numbers only.
    pub(crate) query: Option<Bytes>,
}

impl WatchRequest {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        codec::to_bincode(self, &mut out);
        out.into()
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, String> {
        codec::from_bincode("watch", body).map_err(|malformed| malformed.why)
    }

    pub(crate) fn hold(&self) -> Duration {
        Duration::from_millis(self.hold_ms.into())
    }
}

/// The body of an answer: a commit and the query's answer at it. That there is nothing new has no bytes.
pub(crate) fn news(commit: CommitNumber, answer: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + answer.len());
    out.put_u64_le(commit.get());
    out.put_slice(answer);
    out.freeze()
}

/// What an answer says; `None` if there was nothing new.
pub(crate) fn read_news(body: &Bytes) -> Result<Option<(CommitNumber, Bytes)>, String> {
    if body.is_empty() {
        return Ok(None);
    }
    let Some((number, _)) = body.split_first_chunk::<8>() else {
        return Err(format!("an answer to a watcher has {} bytes", body.len()));
    };
    Ok(Some((CommitNumber::new(u64::from_le_bytes(*number)), body.slice(8..))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read() {
        let query = Some(Bytes::from_static(b"q"));
        let request = WatchRequest { after: CommitNumber::new(7), hold_ms: 20_000, query };
        assert_eq!(WatchRequest::decode(&request.encode()), Ok(request));
        assert!(WatchRequest::decode(b"\xff").is_err());
        let commit = CommitNumber::new(1 << 40);
        assert_eq!(read_news(&news(commit, b"a")), Ok(Some((commit, Bytes::from_static(b"a")))));
        assert_eq!(read_news(&news(commit, b"")), Ok(Some((commit, Bytes::new()))));
        assert_eq!(read_news(&Bytes::new()), Ok(None));
        assert!(read_news(&Bytes::from_static(b"short")).is_err());
    }
}
