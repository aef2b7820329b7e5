//! Settings, and what each trades. Values that should not be changed are constants next to their use.

use core::time::Duration;
use holocron_protocol::{
    checkpoint::plan::COPY_LEN_DEFAULT,
    epoch::log::Retention,
    format::cluster::EPOCH_SEGMENT_LEN_DEFAULT,
    state::checkpoint::{TAIL_LEN_MAX, TAIL_POSITIONS_MAX},
};

use holocron_protocol::{
    deferred::limits::Limits as DeferredLimits, request::window::WindowLimits,
};

/// The settings of a host. The defaults suit a directory or a bucket in the same region.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a batch waits for more changes before it is written. Higher: fewer requests. Lower: faster
    /// acknowledgements; at zero a batch is written whenever no create is in flight.
    pub linger: Duration,
    /// Largest state of one vnode, in bytes. Higher: larger batches, which delay the acknowledgements of all vnodes.
    /// A command that leaves a larger state is rolled back and answered `Rejected`.
    pub state_len_max: usize,
    /// Largest command or query, in bytes; a larger one is answered with an error at once.
    pub call_len_max: usize,
    /// Calls in flight at one vnode; further ones are answered `Busy`.
    pub vnode_calls_max: u32,
    /// What a vnode remembers of its clients' requests; stored in each of its envelopes. A higher hard limit lets
    /// more clients call one vnode continuously without a `Rebase`, and adds about 35 bytes per client to each
    /// commit. A higher soft limit does the same for vnodes at rest.
    pub window: WindowLimits,
    /// Calls in flight at the host; further ones are answered `Busy`. Higher: more memory under overload.
    pub host_calls_max: u64,
    /// Vnodes in memory, each at about 8 KB plus its state. Above this number the longest unused are evicted; their
    /// next call loads them with one ranged read. Shards count and stay: set it well above their number.
    pub vnodes_active_max: u64,
    /// How long a vnode stays in memory without a call; eviction may take up to twice as long.
    pub idle_after: Duration,
    /// How long a vnode's [`crate::Lifecycle::open`] may take before the attempt is dropped and counts as failed. Calls of
    /// the vnode wait meanwhile.
    pub open_timeout: Duration,
    /// How long a vnode's [`crate::Lifecycle::close`] may take before it is dropped. A slot that moves to another host
    /// waits for it. Keep it below [`Settings::handoff_timeout`], after which the leader seals the whole session.
    pub close_timeout: Duration,
    /// How much deferred work (timers, messages, effects) a vnode may have. Higher: larger envelopes, each time the vnode
    /// changes. A command that asks for more is rolled back and answered `Rejected`.
    pub deferred: DeferredLimits,
    /// How long one attempt of an effect ([`crate::Vnode::effect`]) may take before it is dropped and tried again.
    pub effect_timeout: Duration,
    /// How long a handler may run before it is named in a warning and counted: while it runs it holds a thread of the host.
    pub handler_warn_after: Duration,
    /// Batches above the last checkpoint at which the next is due. Higher: longer recovery, fewer packs.
    pub checkpoint_batches: u64,
    /// Bytes of batches above the last checkpoint at which the next is due.
    pub checkpoint_len: u64,
    /// The least time between two checkpoints that are due only for copying; limits the rate of copying after a
    /// takeover.
    pub copy_pause: Duration,
    /// Bytes copied per checkpoint after a takeover. Higher: the former owner's data is released sooner. Lower: less
    /// interference with commands.
    pub copy_len: u64,
    /// How often the leader sends each host a heartbeat. Shorter: silent hosts are noticed sooner, and more messages
    /// are sent.
    pub heartbeat: Duration,
    /// Missed heartbeats before a host is suspected. Lower: faster suspicion, but more often wrong; a wrong one costs
    /// one host one session.
    pub heartbeats_missed_max: u32,
    /// How long a journal may make no progress while work waits, before its host counts as hung.
    pub standstill_max: Duration,
    /// How long a host may take to release slots before its session is sealed.
    pub handoff_timeout: Duration,
    /// How often the leader's hint is written. Hosts that get no message from the leader wait for it.
    pub leader_hint_every: Duration,
    /// How often a host writes its own hint, and the leader lists those of all hosts.
    pub host_hint_every: Duration,
    /// How long after objects were deleted they are looked for again: those of a dead session before the epoch records
    /// forget it, and those of the own one. Higher: objects of requests that land very late are deleted too. Lower: shorter
    /// records.
    pub collect_again_after: Duration,
    /// How long one try of a store request may take before the next try.
    pub store_try_timeout: Duration,
    /// How long the store may take to answer at start before the host gives up.
    pub store_start_timeout: Duration,
    /// Panics of one vnode in a row after which it is quarantined: its callers are refused for a while.
    pub panics_max: u32,
    /// How long a vnode is quarantined after [`Settings::panics_max`] panics; doubles with each further one, up to a
    /// minute.
    pub rest: Duration,
    /// How many of the newest epochs are kept as history, and how young an epoch must be to be kept anyway. More: `history`
    /// reaches further back, and a few kilobytes of storage per epoch. Less: less storage. The leader deletes by its own
    /// setting, so give all hosts of a cluster the same; where they differ, only history is lost, never a vnode's state.
    pub history: Retention,
    /// Slots of a cluster that this host creates; fixed permanently then. Higher: more even load, longer epoch
    /// records.
    pub slots: u16,
    /// Positions of a journal that are trimmed as one, in a cluster that this host creates; fixed permanently then.
    /// Lower: fewer untrimmed positions, more marks.
    pub segment_len: u32,
    /// Epochs that are deleted as one, in a cluster that this host creates; fixed permanently then. Lower: history is cut
    /// more precisely, and leaves more marks.
    pub epoch_segment_len: u32,
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
            open_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(3),
            deferred: DeferredLimits::default(),
            effect_timeout: Duration::from_secs(60),
            handler_warn_after: Duration::from_millis(100),
            checkpoint_batches: TAIL_POSITIONS_MAX,
            checkpoint_len: TAIL_LEN_MAX,
            copy_pause: Duration::from_millis(200),
            copy_len: COPY_LEN_DEFAULT,
            heartbeat: Duration::from_millis(250),
            heartbeats_missed_max: 4,
            standstill_max: Duration::from_secs(5),
            handoff_timeout: Duration::from_secs(5),
            leader_hint_every: Duration::from_secs(8),
            host_hint_every: Duration::from_secs(10),
            collect_again_after: Duration::from_secs(5 * 60),
            store_try_timeout: Duration::from_secs(5),
            store_start_timeout: Duration::from_secs(10),
            panics_max: 5,
            rest: Duration::from_secs(1),
            history: Retention::default(),
            slots: holocron_protocol::ids::SLOTS_DEFAULT,
            segment_len: 256,
            epoch_segment_len: EPOCH_SEGMENT_LEN_DEFAULT,
        }
    }
}
