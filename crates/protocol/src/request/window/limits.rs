//! The limits of a window.

/// Soft limit of answers: as many commands of one vnode as may wait for one commit.
pub(super) const ANSWERS_SOFT: usize = 256;
/// Soft limit of clients. A client is a process, so this many processes may use one vnode in turn.
pub(super) const CLIENTS_SOFT: usize = 32;
/// Soft limit of bytes in the envelope; counted slightly above the real size.
pub(super) const BYTES_SOFT: usize = 32 << 10;
/// Hard limit of answers.
pub(super) const ANSWERS_HARD: usize = 8_192;
/// Hard limit of clients: as many as may have a call in one vnode's mailbox.
pub(super) const CLIENTS_HARD: usize = 4_096;
/// Hard limit of bytes. The window is part of every commit of its vnode.
pub(super) const BYTES_HARD: usize = 256 << 10;

/// The size of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowSize {
    /// Number of answers.
    pub answers: usize,
    /// Number of clients.
    pub clients: usize,
    /// Bytes, about as in the envelope.
    pub bytes: usize,
}

/// How much a window keeps. Higher: clients may retry later. Lower: smaller envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowLimits {
    /// The limit without busy clients, and for a dormant vnode.
    pub soft: WindowSize,
    /// Never exceeded. Records beyond `soft` are kept only if busy clients would otherwise be rebased.
    pub hard: WindowSize,
}

impl WindowLimits {
    /// The same size as soft and hard limit.
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
