//! What can be set, and what each setting trades. Values nobody should change are constants beside their use.

use core::time::Duration;

use holocron_protocol::request::window::WindowLimits;

/// The settings of a host. The defaults suit a directory or a bucket in the same region.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a batch may wait for company. Longer means fewer requests and slower acknowledgements; zero flushes
    /// whenever no create is in flight.
    pub linger: Duration,
    /// Largest state of one vnode, in bytes. Larger means larger batches that everybody's acknowledgement waits for; a
    /// command that leaves more is rolled back and answered `Rejected`.
    pub state_len_max: usize,
    /// Largest command or query, in bytes; more is answered at once with an error.
    pub call_len_max: usize,
    /// Calls in flight at one vnode before its callers are answered `Busy`.
    pub vnode_calls_max: u32,
    /// What a vnode remembers of its clients' requests, in every envelope of it. A higher hard limit lets more clients
    /// call one vnode all the time without being sent back, and makes each commit of it larger, by about 35 bytes for
    /// each of them; a higher soft limit does so for vnodes at rest.
    pub window: WindowLimits,
    /// Calls in flight at the host before callers are answered `Busy`. More means more memory under overload.
    pub host_calls_max: u64,
    /// Vnodes kept in memory, each at about 8 KB and its state. Above it the longest unused go; they come back on use
    /// for one ranged read.
    pub vnodes_active_max: u64,
    /// After how long without a call a vnode leaves memory; it takes up to twice that.
    pub idle_after: Duration,
    /// Batches above the last checkpoint at which the next is due. More means longer recovery and fewer packs.
    pub checkpoint_batches: u64,
    /// Bytes of batches above the last checkpoint at which the next is due.
    pub checkpoint_len: u64,
    /// The least time between two checkpoints that nothing but copying asks for; paces the copying of adopted slots.
    pub copy_pause: Duration,
    /// Bytes of adopted states copied per checkpoint. More means sources go sooner and commands compete with copying.
    pub copy_len: u64,
    /// How often the leader asks each host how it is. Shorter notices a silent host sooner and costs messages.
    pub heartbeat: Duration,
    /// Heartbeats missed before a host is suspected. Fewer is quicker and is wrong more often; a wrong suspicion costs
    /// one host one session.
    pub heartbeats_missed_max: u32,
    /// How long a journal may stand still while work waits before its host counts as hung.
    pub standstill_max: Duration,
    /// How long a host may take to release slots before it is sealed as a whole.
    pub handoff_timeout: Duration,
    /// How often the leader's hint is written; what hosts that hear nothing else wait for.
    pub leader_hint_every: Duration,
    /// How often a host's own hint is written, and the leader lists all of them.
    pub host_hint_every: Duration,
    /// How long one try of a store request may take before it is tried again.
    pub store_try_timeout: Duration,
    /// How long the store may take to answer at start before the host gives up.
    pub store_start_timeout: Duration,
    /// Panics of one vnode in a row after which its callers are turned away for a while.
    pub panics_max: u32,
    /// How long a vnode rests after [`Settings::panics_max`] panics; doubles with each further one, up to a minute.
    pub rest: Duration,
    /// Slots of a cluster this host creates. Fixed for ever then: more slots spread load more evenly and make epoch
    /// records longer.
    pub slots: u16,
    /// Positions of a journal that are trimmed as one, in a cluster this host creates. Fixed for ever then: fewer
    /// keeps less behind and leaves more marks.
    pub segment_len: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            linger: Duration::ZERO,
            state_len_max: 1 << 20,
            call_len_max: 1 << 20,
            vnode_calls_max: 4_096,
            window: WindowLimits::default(),
            host_calls_max: 100_000,
            vnodes_active_max: 100_000,
            idle_after: Duration::from_secs(60),
            checkpoint_batches: 256,
            checkpoint_len: 8 << 20,
            copy_pause: Duration::from_millis(200),
            copy_len: 16 << 20,
            heartbeat: Duration::from_millis(250),
            heartbeats_missed_max: 4,
            standstill_max: Duration::from_secs(5),
            handoff_timeout: Duration::from_secs(5),
            leader_hint_every: Duration::from_secs(8),
            host_hint_every: Duration::from_secs(10),
            store_try_timeout: Duration::from_secs(5),
            store_start_timeout: Duration::from_secs(10),
            panics_max: 5,
            rest: Duration::from_secs(1),
            slots: holocron_protocol::ids::SLOTS_DEFAULT,
            segment_len: 256,
        }
    }
}
