//! How much a window keeps.

/// Answers a window keeps when nothing else matters. As many commands of one vnode as may wait for one commit.
pub(super) const ANSWERS_SOFT: usize = 256;
/// Clients it keeps when nothing else matters. A client is a process, so this many may use one vnode in turn.
pub(super) const CLIENTS_SOFT: usize = 32;
/// Bytes it takes in its envelope when nothing else matters; close to, and rather above, what it takes.
pub(super) const BYTES_SOFT: usize = 32 << 10;
/// Answers it keeps at most.
pub(super) const ANSWERS_HARD: usize = 8_192;
/// Clients it keeps at most: as many as may have a call in one vnode's mailbox.
pub(super) const CLIENTS_HARD: usize = 4_096;
/// Bytes it takes at most. It is part of every commit of its vnode.
pub(super) const BYTES_HARD: usize = 256 << 10;

/// A size of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowSize {
    /// Answers.
    pub answers: usize,
    /// Clients.
    pub clients: usize,
    /// Bytes, about as they are in the envelope.
    pub bytes: usize,
}

/// How much a window remembers. More lets a client retry later; less makes envelopes smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowLimits {
    /// What is kept when nothing else matters, and by a vnode at rest.
    pub soft: WindowSize,
    /// What is never exceeded. What is kept beyond `soft` is what clients that call all the time would otherwise be
    /// sent back for.
    pub hard: WindowSize,
}

impl WindowLimits {
    /// That size, whatever the clients do.
    #[must_use]
    pub const fn exactly(size: WindowSize) -> Self {
        Self { soft: size, hard: size }
    }
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self {
            soft: WindowSize { answers: ANSWERS_SOFT, clients: CLIENTS_SOFT, bytes: BYTES_SOFT },
            hard: WindowSize { answers: ANSWERS_HARD, clients: CLIENTS_HARD, bytes: BYTES_HARD },
        }
    }
}
