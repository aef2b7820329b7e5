//! A caller that stays connected to one host, whatever the epoch log says.
//!
//! A client follows the log and stops calling a fenced host, so it would not notice if the host continued to
//! acknowledge. This caller does. It talks to the host without a client, keeps its connection while the host is silent,
//! and has commands waiting in a stopped host when that continues.
//!
//! Invariants:
//!
//! * No other caller uses its vnodes, and each has at most one command in flight; so their histories are exact.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use holocron::{
    Answer, Call, Client, Format, Mode, Outcome, Random, Vnode,
    frame::{self, Frame, FrameReader, Hello, Received, Versions},
    net::{Network as _, Stream, Tcp},
};
use holocron_kinds::{Counter, CounterClient as _, CounterCommand, CounterQuery};
use holocron_protocol::{
    epoch::record::EpochRecord,
    format::codec,
    ids::{ClientId, CommitNumber, Epoch, HostName, RequestNumber, VnodeName},
    request::window::{Request, RequestId},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    history::{CounterHistory, Ended, Faults, Look},
    load::{READS_MAX, owner},
};
use crate::exit::Fail;

/// Vnodes that are called continuously.
const BUSY_LEN: usize = 32;
/// Vnodes that are called only after the host was fenced.
const LATE_LEN: usize = 32;
/// How long to wait until the host has answered [`BUSY_LEN`] commands.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);
/// Keys tried to find enough vnodes of one host; the host owns at least a quarter of all.
const KEYS_TRIED_MAX: usize = 10_000;

/// The running caller.
#[derive(Debug)]
pub(super) struct PinnedCaller {
    orders: mpsc::UnboundedSender<Order>,
    calling: JoinHandle<Vec<Counted>>,
    client: Client,
    late: Vec<VnodeName>,
}

#[derive(Debug)]
enum Order {
    /// The new owner was sent an `add 1` for each late vnode; these are its replies. Send the fenced host a command and
    /// a query for each vnode with a reply; without a reply the `add 1` is unclear.
    Queue(Vec<Option<i64>>),
    /// Close the connection.
    Stop,
}

/// A counter and its history.
#[derive(Clone, Debug)]
struct Counted {
    name: VnodeName,
    history: CounterHistory,
}

impl PinnedCaller {
    /// Starts calling vnodes of a host, and waits until the host has answered for a while.
    pub(super) async fn start(
        client: &Client,
        run: &str,
        host: &HostName,
        record: &EpochRecord,
    ) -> Result<Self, Fail> {
        let named =
            |number| VnodeName::new(Counter::KIND, &format!("{run}-stay-{number}")).expect("short");
        let names: Vec<VnodeName> = (0..KEYS_TRIED_MAX)
            .map(named)
            .filter(|name| owner(record, name) == Some(host))
            .take(BUSY_LEN + LATE_LEN)
            .collect();
        if names.len() < BUSY_LEN + LATE_LEN {
            return Err(Fail::failed(format!("{host} owns too few vnodes")));
        }
        let late = names[BUSY_LEN..].to_vec();
        let address = &record.hosts.get(host).expect("it owns vnodes").address;
        let failed = |error: &dyn core::fmt::Display| Fail::failed(format!("{address}: {error}"));
        let Stream { reads, writes } =
            Tcp.connect(address).await.map_err(|error| failed(&error))?;
        let (orders, ordered) = mpsc::unbounded_channel();
        let (count, mut acknowledged) = watch::channel(0);
        let calling = Calling::new(names, record.epoch, count).run(reads, writes, ordered);
        let calling = tokio::spawn(calling);
        // If the host is too busy to get that far, the demo continues anyway.
        drop(
            timeout(
                ACKNOWLEDGED_WITHIN,
                acknowledged.wait_for(|&acknowledged| acknowledged >= BUSY_LEN),
            )
            .await,
        );
        Ok(Self { orders, calling, client: client.clone(), late })
    }

    /// Called when the host is stopped and fenced: lets the new owners acknowledge a command for each late vnode, then
    /// queues commands and queries for these vnodes at the old host.
    pub(super) async fn queue(&self) {
        let asked: Vec<_> = self
            .late
            .iter()
            .map(|name| {
                let counter = self.client.get::<Counter>(name.key());
                tokio::spawn(async move { counter.add(1).await })
            })
            .collect();
        let mut replies = Vec::with_capacity(asked.len());
        for asked in asked {
            let replied =
                asked.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            // A failed call, usual with an unreliable store, doesn't end the demo.
            replies.push(replied.ok());
        }
        // The task ends only on `Stop`, so the send succeeds.
        drop(self.orders.send(Order::Queue(replies)));
    }

    /// Closes the connection, reads every vnode and compares it with its history. Returns the faults, and how many
    /// vnodes could not be read.
    pub(super) async fn check(self) -> (Faults, usize) {
        let Self { orders, calling, client, late: _ } = self;
        drop(orders.send(Order::Stop));
        let counted =
            calling.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let (mut faults, mut unread) = (Faults::default(), 0);
        for Counted { name, mut history } in counted {
            match read(&client, &name).await {
                Some(value) => history.read(value, Look::AtLast),
                None => unread += 1,
            }
            if history.faults() != Faults::default() {
                eprintln!("{name}, called at a fenced host: {:?}", history.faults());
            }
            faults += history.faults();
        }
        (faults, unread)
    }
}

/// A counter's value at the end, if it can be read.
async fn read(client: &Client, name: &VnodeName) -> Option<i64> {
    let counter = client.get::<Counter>(name.key());
    for _ in 0..READS_MAX {
        if let Ok(value) = counter.value().await {
            return Some(value);
        }
    }
    None
}

/// The state of the calls.
struct Calling {
    counted: Vec<Counted>,
    client: ClientId,
    epoch: Epoch,
    last: RequestNumber,
    /// Commands and queries in flight, with the place of their vnode.
    waiting: BTreeMap<RequestNumber, (usize, Mode)>,
    /// Of these, the commands.
    commands: BTreeSet<RequestNumber>,
    /// Commands acknowledged.
    acknowledged: watch::Sender<usize>,
}

impl Calling {
    fn new(names: Vec<VnodeName>, epoch: Epoch, acknowledged: watch::Sender<usize>) -> Self {
        let counted = names
            .into_iter()
            .map(|name| Counted { name, history: CounterHistory::default() })
            .collect();
        Self {
            counted,
            client: ClientId::drawn(Random::from_system().bits()),
            epoch,
            last: RequestNumber::ZERO,
            waiting: BTreeMap::new(),
            commands: BTreeSet::new(),
            acknowledged,
        }
    }

    /// Calls until `Stop`. If the connection ends, commands in flight count as unclear.
    async fn run(
        mut self,
        reads: impl AsyncRead + Unpin,
        mut writes: impl AsyncWrite + Unpin,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) -> Vec<Counted> {
        let mut reader = FrameReader::new(reads);
        let hello = Hello { cluster: None, who: "a caller of the demo".to_owned() };
        let mut out = Vec::new();
        frame::put(&mut out, &Frame::Hello(Versions::spoken(), Some(hello))).expect("a hello fits");
        let mut connected = true;
        loop {
            if connected && !out.is_empty() {
                // A stopped host still accepts what fits into the socket buffers, and this fits.
                connected = writes.write_all(&out).await.is_ok();
                out.clear();
            }
            let order = tokio::select! {
                biased;
                order = orders.recv() => order.unwrap_or(Order::Stop),
                received = reader.next(), if connected => {
                    match received {
                        Ok(Some(Received::Frame(frame))) => {
                            if let Frame::Welcome(_) = frame {
                                reader.trust();
                            }
                            self.take(frame, &mut out);
                        }
                        Ok(Some(Received::Unusable { .. })) => {}
                        Ok(None) | Err(_) => connected = false,
                    }
                    continue;
                }
            };
            match order {
                Order::Queue(replies) => self.queue(&replies, &mut out),
                Order::Stop => break,
            }
        }
        for (place, mode) in self.waiting.into_values() {
            if mode == Mode::Command {
                self.counted[place].history.added(Ended::Unclear);
            }
        }
        self.counted
    }

    /// Records the replies of the new owners and queues a query and a command for each late vnode at the old host.
    fn queue(&mut self, replies: &[Option<i64>], out: &mut Vec<u8>) {
        for (place, &reply) in (BUSY_LEN..).zip(replies) {
            let Some(reply) = reply else {
                self.counted[place].history.added(Ended::Unclear);
                continue;
            };
            self.counted[place].history.added(Ended::Acknowledged(reply));
            self.query(place, out);
            self.command(place, out);
        }
    }

    fn take(&mut self, frame: Frame, out: &mut Vec<u8>) {
        match frame {
            Frame::Welcome(_) => (0..BUSY_LEN).for_each(|place| self.command(place, out)),
            Frame::Answer(id, answer) => self.answered(RequestNumber::new(id), &answer, out),
            Frame::Hello(..)
            | Frame::Refusal(_)
            | Frame::Call(..)
            | Frame::Peer(..)
            | Frame::PeerReply(..)
            | Frame::Epoch(..)
            | Frame::Ping
            | Frame::Pong => {}
        }
    }

    fn answered(&mut self, number: RequestNumber, answer: &Answer, out: &mut Vec<u8>) {
        let Some((place, mode)) = self.waiting.remove(&number) else { return };
        self.commands.remove(&number);
        let history = &mut self.counted[place].history;
        let ended = match &answer.outcome {
            Outcome::Reply(reply) => match codec::from_bincode("a counter's reply", reply) {
                Ok(value) => Ended::Acknowledged(value),
                Err(_) => Ended::Unclear,
            },
            Outcome::Unclear => Ended::Unclear,
            Outcome::Panicked
            | Outcome::Rejected(_)
            | Outcome::Rebase(_)
            | Outcome::NotOwner
            | Outcome::Busy
            | Outcome::Quarantined
            | Outcome::UnknownKind
            | Outcome::Undecodable(_)
            | Outcome::UnknownCommand(_)
            | Outcome::OtherArguments(_)
            | Outcome::Unreadable(_) => Ended::NotRun,
        };
        if mode.is_command() {
            history.added(ended);
        } else if let Ended::Acknowledged(value) = ended {
            history.read(value, Look::Meanwhile);
        }
        // The next command follows each acknowledged one.
        if mode == Mode::Command && matches!(ended, Ended::Acknowledged(_)) {
            self.acknowledged.send_modify(|acknowledged| *acknowledged += 1);
            self.command(place, out);
        }
    }

    fn command(&mut self, place: usize, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        codec::to_bincode(&CounterCommand::add(1), &mut body);
        self.send(place, Mode::Command, body, out);
    }

    fn query(&mut self, place: usize, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        codec::to_bincode(&CounterQuery::value(), &mut body);
        self.send(place, Mode::Query, body, out);
    }

    fn send(&mut self, place: usize, mode: Mode, body: Vec<u8>, out: &mut Vec<u8>) {
        self.last = self.last.next();
        let number = self.last;
        self.waiting.insert(number, (place, mode));
        if mode == Mode::Command {
            self.commands.insert(number);
        }
        let lowest = self.commands.first().copied().unwrap_or(number);
        let call = Call {
            name: self.counted[place].name.clone(),
            mode,
            request: Request {
                id: RequestId { client: self.client, number },
                // The lowest number in flight; a base of zero is always valid.
                lowest,
                base: CommitNumber::ZERO,
            },
            format: Format::Bincode,
            epoch: self.epoch,
            body: body.into(),
        };
        frame::put(out, &Frame::Call(number.get(), call)).expect("a counter's call fits");
    }
}
