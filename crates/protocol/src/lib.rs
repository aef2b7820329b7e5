//! The rules of Holocron: this crate decides and never acts.
//!
//! Hosts run virtual nodes (*vnodes*): actors with a stable name and durable state. The state lives in an object store,
//! and the store is the only thing that hosts must share. This page tells the whole protocol in the order in which
//! things happen. Each rule has one home, a module; the table at the end says which. The words are also in the glossary
//! of `ARCHITECTURE.md`.
//!
//! The crate is `no_std`: no clock, no I/O, no random numbers of its own. Events, the time and random bits come in as
//! arguments, effects go out as values, and other crates carry the effects out.
//!
//! # What is promised
//!
//! * An acknowledged command is never lost, and a request takes effect at most once.
//! * A vnode has one owner at a time for everything that counts: two hosts may both believe that they own it, but only
//!   one of them can commit.
//! * A query is linearizable, unless its caller asks for a `local` one. No answer shows a change that isn't committed.
//! * No call that comes after the store was lost is answered from memory. An emptied or foreign store is noticed by the
//!   first look, an older copy by the second. `local` queries are exempt until their host has noticed.
//! * After faults stop, the cluster has one leader and every slot is served.
//!
//! # What may fail
//!
//! Hosts crash. Hosts hang, or their machine sleeps, and after any time they wake up and go on as if nothing had
//! happened. Connections break, messages are late or lost, two hosts can't reach each other but both reach the store. A
//! live host may be suspected. The clocks of two machines may differ by any amount. None of this can break a promise of
//! safety.
//!
//! The store must be linearizable: a get or a list that starts after a create returned sees the object, and an object
//! stays until it is deleted. It must have *create-if-absent*: of all creates of one name, one succeeds. No other
//! condition is used. A request may fail or stay without an answer and land later all the same. So a create has three
//! outcomes: *won*, *lost* and *unknown*, and unknown is never taken for one of the others. Every object carries a
//! checksum and a random nonce. One that can't be decoded never counts as absent.
//!
//! A store may also be *lost*: emptied, replaced by another cluster's, or restored from an older copy. Such a store
//! answers every request correctly, so an answer waits for a look at an object that must be there ([`control::loss`]).
//! A copy that was taken within the last few batches isn't noticed. A host that finds remains of an earlier cluster
//! founds no new one above them unless an operator says so, and never above an epoch log ([`control::founding`]).
//!
//! # The objects in the store
//!
//! ```text
//! cluster                           created  the cluster's id, number of slots, lengths of segments; never changes
//! epochs/<n>                        created  the record of an epoch
//! epoch-marks/<segment>             created  "the epochs of this segment may be gone"
//! sessions/<id>/journal/<n>         created  at 0 the opening, then batches, at the end of a dead session its seal
//! sessions/<id>/trims/<segment>     created  "the positions of this segment may be gone"
//! sessions/<id>/trims/end           created  "all of this session except its seal and marks may be gone"
//! sessions/<id>/packs/<n>           put      copies of vnode records and their index; a number is never used again
//! kinds/<kind>/<version>            created  the shape of the states of a version of a kind
//! hints/leader, hints/hosts/<name>  put      signs of life; may be wrong or missing without harm
//! ```
//!
//! The next number always follows from keys, never from a decoded body: one damaged object can't stop the cluster.
//!
//! # Life of a session
//!
//! A session is one life of a host in one storage domain: a random 128-bit id, used once, that owns one journal.
//!
//! 1. **Open.** The host draws an id and creates position 0. Batch 1 leaves only after that create was won.
//! 2. **Batches.** The records of many vnodes, and of slots, are collected in one open batch. The batch gets the next
//!    position and a header, and from then on its bytes are frozen: the same bytes are sent until they are won or lost
//!    or the host stops, however long the store is away. The protocol allows up to 64 batches in flight; the runtime
//!    uses one. The header says which position was known committed, what the newest checkpoint covers (*low water*),
//!    and where that checkpoint stands.
//! 3. **Commit.** Position n is committed when 1..=n are all won by this session. The answers of a batch leave after
//!    that, not before ([`journal::writer`]).
//! 4. **Seal.** To take over, a host ends the session by one create ([`journal::sealing`]): a *seal* at the first gap
//!    of the journal. The first gap, not behind the last batch, because with several batches in flight a hole may still
//!    be filled. If a batch won that position, the next gap is tried. If a seal stands there, that is the seal. The
//!    seal repeats the low water and the place of the checkpoint from the header before it, so that every reader knows
//!    which objects must exist.
//! 5. **Mark check.** A position may be free because its batch was deleted. So after a seal was won or found, the trim
//!    mark of its segment and the end mark are read. Both absent: the session ended there.
//! 6. **Over.** The seal keeps its position, positions commit in order, so nothing at or above it is ever committed.
//!    The loser needs no lease and no clock to be held off: its next create is lost, or the get of its next barrier
//!    finds the seal. Then its actors are dropped, pending commands are answered `Unclear`, and the host opens a new
//!    session and joins again. It takes nothing over from the memory of the old one. It exits instead if another
//!    process has its name by now.
//!
//! # Life of an epoch
//!
//! Leadership, membership and ownership stand in one log, one record per epoch. The newest record counts. Its writer
//! leads, unless that record says that it leaves or ends its session.
//!
//! 1. **Draft.** A host joins, fails, drains or leaves; slots move; seals and checkpoints become known. The leader
//!    (`control/leader`) keeps each change until a record says it. [`epoch::draft`] makes the next record from the
//!    newest one and all changes, and checks it.
//! 2. **Create.** First a look shows that the store isn't lost. Then `epochs/<e+1>` is created. Lost: another record
//!    stands there, and the log is read. Unknown: the log is read until that epoch has a record, which may turn out to
//!    be this create's.
//! 3. **Mark check.** Old epochs are deleted, so a name may be free because it is long past. After a create was won the
//!    mark of its segment is read. Absent: this is the epoch, and its writer leads it. Present: the writer is far
//!    behind, and its create counts as lost. Readers of the log check the same mark after everything else
//!    ([`epoch::log`]).
//! 4. **Push.** The leader sends the record to every host, and hosts send it to clients. A push only saves time: every
//!    host can read the log. `control/member` says what an epoch means for a host. The leader starts to seal a failed
//!    session as soon as it acts on the suspicion, and seals what else the record wants sealed.
//!
//! Who tries e+1 is a matter of speed ([`control::election`]): hosts that hear the leader stay quiet, else the first in
//! rank tries at once, the others a little later. A leader that was overruled is harmless until it learns of it: its
//! creates are lost, its seals only force live hosts to open new sessions, and it deletes only what is permanently
//! garbage.
//!
//! # Life of a slot
//!
//! A vnode's name hashes to a slot; the cluster has a fixed number of them. A *tenure* is a session's hold of a slot:
//! the session and the epoch that gave it, written `A@3`. The record lists for each slot its owner's tenure and its
//! *sources*: the earlier tenures whose records are still needed, newest first. Naming sessions alone would not do: a
//! slot that goes from A to B and back to A would lose data or get two owners.
//!
//! 1. **Given.** A change of owner puts the old owner's tenure in front of the sources. An owner that stays keeps its
//!    tenure. [`slot::tenure`] says what each session owes the slot now, `slot/residency` what it does with it.
//! 2. **Wanted.** The new owner must itself see the end of each source, newest first, down to the first that is `full`.
//!    A seal ends all tenures of its session; if the record lists a session as sealed, the new owner seals it itself
//!    unless that was done. A committed Release ends the tenures of its session that were given before the epoch it
//!    names, for a reader whose own tenure isn't older than that epoch. The new owner's own earlier tenures are ended
//!    by the order of its own journal. A source that was never adopted isn't skipped unseen either.
//! 3. **Recovered.** What must be read is decided after the end was seen: the newest checkpoint and every batch above
//!    its low water, up to the end. One reading shows the end together with the content ([`slot::replay`]). Bytes
//!    fetched earlier may be used, because they never change. An object that is missing was trimmed meanwhile, and the
//!    journal is read again: missing is never read as empty. Records carry whole states, so of each vnode the newest
//!    record counts ([`slot::fold`]). [`slot::recovery`] says what to fetch next and when again.
//! 4. **Adopt.** The owner appends an `Adopt` of its tenure to its journal. Commands may run at once: they stand behind
//!    the Adopt in the same journal, so they are acknowledged after it or never.
//! 5. **Serving.** The slot is copied into packs of the owner, in the background. A checkpoint's entry of a tenure is
//!    `part` (what changed under it) or `full` (all that the slot holds), and it turns `full` only while the tenure is
//!    open. Once a `full` checkpoint of a tenure is committed, all older tenures are void, and the leader drops them
//!    from the sources. It also drops a tenure that ended with neither Adopt nor checkpoint entry.
//! 6. **Draining.** An epoch gives the slot away. Its vnodes in memory hand over what they did and close what they hold
//!    outside their states ([`slot::lifecycle`]), and no other vnode of it is activated.
//! 7. **Release.** The owner submits a `Release` that names the epoch that gave the slot away, never the newest one it
//!    knows. In the same step the session stops appending for the slot: nothing of that tenure can stand behind the
//!    Release. What is cached of the slot is dropped, and if the slot comes back it is recovered like any other. A
//!    session that never adopted the slot but is listed as a source owes a Release too. A slot that comes back *before*
//!    its Release was submitted goes on under its old tenure, and nothing is written. The leader seals a session as a
//!    whole if it doesn't release in time, and the store has answered the leader at once for a while.
//!
//! A **checkpoint** copies committed records into packs: all live ones from files that are going (batches up to its low
//! water, packs that are merged), and within a budget those that were found in older tenures ([`checkpoint::plan`]).
//! Its record in the journal is its commit point, so one seal fences checkpoints too. The batch that carries it is
//! alone in flight and names itself in its header: a seal right behind it then names objects that exist.
//!
//! A session that is known to be sealed, and is owner or source of no slot, is **detached**. It is never given anything
//! again. When only its seal and marks are left the record forgets it. From then on the end mark is the memory: before
//! a session that the record doesn't list is taken in, its end mark must be found absent.
//!
//! # Life of a request
//!
//! 1. **Number.** A client draws its id at its start and numbers its commands. A command may be sent many times, each
//!    time as a new *attempt* with the same number. An attempt also carries the lowest number that the client still
//!    waits for, and a *base*: a commit number of the vnode that was known committed before the first attempt
//!    ([`request::attempts`]).
//! 2. **Window.** The vnode remembers numbers and answers in its *window*, which is committed together with its state.
//!    A number below the lowest is ignored. A recorded one gets its recorded answer. Any other runs only if its base is
//!    at or above the window's *mark*, which is at or above the commit number of every answer that was forgotten while
//!    its client may still wait for it ([`request::window`]). Otherwise it doesn't run and is answered `Rebase`. The
//!    client takes the new base only if every earlier attempt is known not to have run; if one was lost without an
//!    answer, the request ends `Unclear`.
//! 3. **Pending.** The command runs and changes the state in memory. Its answer waits. When the mailbox is drained, one
//!    envelope (state and window) goes into the open batch, and the pending answers with it.
//! 4. **Commit.** The batch is created. Beside the create, a *witness* is looked for: an object known to be committed
//!    that stands in no other store. It counts only if the look began after the batch was submitted.
//! 5. **Answer.** Won, and the witness is there: the answers leave. Lost: the host answers `Unclear`, and the client
//!    sends the request again, under the same number, to the new owner.
//!
//! A **query** has no number and may run any number of times. Its answer waits until every change that it has seen is
//! committed, and for a *barrier*: a get of the position behind the last batch in flight, issued after the query
//! arrived, that finds nothing, with all batches before it committed. A batch that was submitted after the query
//! arrived shows the same once it commits. A get or a batch that was under way already shows nothing
//! ([`journal::read_barrier`]). The barrier too has a look at a witness beside it. A `local` query skips the barrier.
//!
//! # What is deleted, and when
//!
//! A deletion can't be told from an object that never landed. So before a position or an epoch is deleted, a mark is
//! created that stays. Unknown names are never deleted.
//!
//! | what goes | when | first |
//! | --- | --- | --- |
//! | a segment of a journal | all of it is at or below the low water of a *committed* checkpoint | its trim mark |
//! | a pack | the committed checkpoint doesn't name it, it can't belong to the next one, and the newest epoch read lists the session as a source of no slot | |
//! | all of a detached session except its seal and marks | the record that says so was read and is the newest | `trims/end` |
//! | the same, once more | a while after nothing was left, before the record forgets the session | |
//! | a hint of a host that is no member, an object of a probe | it was seen unchanged at two looks of one leader, minutes apart | |
//! | a segment of epochs | older than the newest 1,000 epochs (16 at the least, whatever is set) and than 7 days | its epoch mark |
//!
//! Seals and marks stay permanently; only a seal that landed in a trimmed segment proves nothing, and is garbage. What
//! once is garbage stays garbage, so a deleter that is late does no harm. The rules are in [`checkpoint::retain`] (what
//! may be forgotten or deleted), [`checkpoint::trim`], [`checkpoint::collect`], [`epoch::log`] and [`control::stale`].
//! Whether a store has what hosts need, and what becomes of each object, is judged from outside by [`audit`].
//!
//! # Time
//!
//! Timeouts decide who is suspected ([`control::suspicion`]), when something is tried again, and when a host stops
//! because its witness stays missing. They never decide what is committed or who owns a slot. A session that is
//! suspected wrongly is sealed like any other, and its host opens a new one. Each host measures with its own steady
//! clock ([`time::Time`]), which is never sent or compared. A host suspects no other while its own store requests fail;
//! after a pause of its own it starts afresh and reads the log first. Wall clocks stand in records for people, and
//! decide how long history is kept.
//!
//! # What is deliberately not done
//!
//! * No leases: a lease needs clocks that agree. The fence is the create itself.
//! * No conditional updates: a plain directory has none.
//! * No manifest beside the journal: two commit points could disagree.
//! * No replay through user code: recovery reads states and indexes, and runs no command again.
//!
//! # The invariants
//!
//! The numbers are those of `docs/guarantees.md`, which also says where each one is checked.
//!
//! 1. Acknowledged implies recovered, at every later time.
//! 2. One winner per position and per epoch; their bytes never change.
//! 3. An acknowledged position is below the seal.
//! 4. Nothing is deleted before the checkpoint that covers it is committed.
//! 5. A slot is served after the end of every earlier tenure was seen.
//! 6. Seals and marks are never deleted; marks are contiguous.
//! 7. Every pack that a needed checkpoint names exists.
//! 8. The epochs a host has seen never go down.
//! 9. Nothing is visible before it is committed.
//! 10. Linearizable per vnode; a request takes effect at most once.
//! 11. Requests don't grow with vnodes.
//! 12. After faults stop, one leader, and every slot is served.
//! 13. Same seed, same run.
//! 14. No call that comes after the store was lost is answered from memory.
//! 15. Of the members of an election used alone, at most one claims to lead at any time, if the rates of their clocks differ
//!     by less than a tenth. (The one promise that needs a clock. A cluster makes no such claim.)
//! 16. After faults stop, nothing is left that no host needs.
//! 17. A call runs only while what its vnode holds outside its state is open. Of one vnode, nothing is open twice under one
//!     token, and on a planned move it is closed before the slot is released.
//! 18. After faults stop, every shard of a kind is open at a host, and the hosts have their shares of them.
//! 19. Every message that a committed change asks for takes effect at its target once, after those that its sender sent there
//!     before; no other message does.
//! 20. Every timer takes effect once. Every effect is run at least once, and its result takes effect once.
//! 21. Stored states and calls are read as what they were written as, or refused; never as something else.
//! 27. A cut of a cluster is one moment of it: all that was committed then, and nothing else.
//!
//! # Where the rules are
//!
//! | folder | rules |
//! | --- | --- |
//! | [`ids`], [`time`] | the nouns that are numbers or names; the steady clock as a number |
//! | [`format`] | where objects live ([`format::keys`]), how they are wrapped ([`format::codec`]), what never changes ([`format::cluster`], [`format::segment`]) |
//! | [`journal`] | what a batch says ([`journal::batch`]), what is committed ([`journal::writer`]), when a query's answer may leave ([`journal::read_barrier`]), how a session is ended ([`journal::sealing`]) |
//! | [`epoch`] | the record ([`epoch::record`]), how the next is made ([`epoch::draft`], [`epoch::placement`]), how the log is read and trimmed ([`epoch::log`]) |
//! | [`slot`] | when a tenure has ended ([`slot::tenure`]), what a journal says of a slot ([`slot::log`], [`slot::replay`]), what a slot holds ([`slot::fold`]); what a session does with each slot ([`slot::residency`]); opening and closing what a vnode holds ([`slot::lifecycle`]); what is fetched, and when again ([`slot::recovery`]) |
//! | [`state`] | where a vnode's newest record stands ([`state::place`], [`state::index`]); packs ([`state::pack`]) and the record of a checkpoint ([`state::checkpoint`]) |
//! | [`checkpoint`] | what the next checkpoint copies ([`checkpoint::plan`], [`checkpoint::pack_writer`]); what may be forgotten or deleted, and in which order ([`checkpoint::retain`], [`checkpoint::trim`], [`checkpoint::collect`]) |
//! | [`control`] | who leads ([`control::election`]), who is suspected ([`control::suspicion`]), whether the store is lost ([`control::loss`]), when a cluster may be founded ([`control::founding`]), signs of life ([`control::hints`]); a member of an election used alone ([`control::candidate`]) and until when it may claim to lead ([`control::lease`]); what an epoch means for a host ([`control::member`]); joins, failures, handoffs, the next record ([`control::leader`], [`control::admission`]) |
//! | [`audit`] | what in a store is damaged, and what no host needs |
//! | [`backup`] | how a cut of a running cluster is taken ([`backup::taking`]), what belongs to it ([`backup::contents`]), and how its copy becomes a cluster ([`backup::ending`]) |
//! | [`schema`] | the shape of a type ([`schema::shape`]), how it is found ([`schema::trace`]), whether one type's bytes can be read as another ([`schema::compare`]), what is recorded of a kind ([`schema::record`]) |
//! | [`request`] | what is stored of a vnode ([`request::envelope`]), which requests it remembers ([`request::window`]), how a client numbers and repeats them ([`request::attempts`]) |
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod audit;
pub mod backup;
pub mod checkpoint;
pub mod control;
pub mod deferred;
pub mod epoch;
pub mod format;
pub mod ids;
pub mod journal;
mod planted;
pub mod request;
pub mod schema;
pub mod slot;
pub mod state;
pub mod time;
