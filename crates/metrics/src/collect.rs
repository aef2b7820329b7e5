//! The metrics of a host, family by family.

use core::fmt::Error;

use holocron::{CallCounts, HostStatus, Meter, Metrics};
use holocron_store::Tally;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use crate::{
    encode::{Families, Unit},
    prices::Prices,
};

/// No label.
const NONE: Option<[(&str, &str); 1]> = None;

#[derive(Debug)]
pub(crate) struct HostCollector {
    pub(crate) meter: Meter,
    pub(crate) prices: Prices,
}

impl Collector for HostCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some(metrics) = self.meter.read() else { return Ok(()) };
        let mut families = Families(encoder);
        calls(&mut families, &metrics)?;
        commits(&mut families, &metrics)?;
        store(&mut families, &metrics, self.prices)?;
        slots(&mut families, &metrics.status)?;
        counters(&mut families, &metrics)
    }
}

fn calls(families: &mut Families<'_>, metrics: &Metrics) -> Result<(), Error> {
    let kind = |of: &CallCounts| if of.kind.is_empty() { "unknown" } else { of.kind };
    let outcomes = metrics.calls.iter().flat_map(|of| {
        of.outcomes.iter().map(move |&(outcome, count)| {
            (Some([("kind", kind(of)), ("mode", of.mode), ("outcome", outcome)]), count as f64)
        })
    });
    families.counter("holocron_calls", "Calls that were answered", outcomes)?;
    let durations = metrics.calls.iter();
    let durations =
        durations.map(|of| (Some([("kind", kind(of)), ("mode", of.mode)]), &of.durations));
    families.histogram(
        ("holocron_call_duration_seconds", Unit::Time),
        "From the arrival of a call at this host to its answer",
        durations,
    )?;
    let in_flight = metrics.status.in_flight as f64;
    families.gauge(
        "holocron_calls_in_flight",
        "Calls that wait for their answer",
        [(NONE, in_flight)],
    )
}

fn commits(families: &mut Families<'_>, metrics: &Metrics) -> Result<(), Error> {
    families.histogram(
        ("holocron_commit_duration_seconds", Unit::Time),
        "From the closing of a batch until it was committed",
        [(NONE, &metrics.commits)],
    )?;
    families.histogram(
        ("holocron_batch_size_bytes", Unit::Size),
        "Sizes of committed batches",
        [(NONE, &metrics.batch_bytes)],
    )?;
    families.histogram(
        ("holocron_batch_answers", Unit::Size),
        "Answers that waited for a batch",
        [(NONE, &metrics.batch_answers)],
    )?;
    families.histogram(
        ("holocron_takeover_duration_seconds", Unit::Time),
        "Taking slots over: seal (by the leader), fetch (of one journal), recover (all slots that an epoch gave)",
        metrics.takeovers.iter().map(|(phase, took)| (Some([("phase", *phase)]), took)),
    )?;
    families.histogram(
        ("holocron_checkpoint_duration_seconds", Unit::Time),
        "From the plan of a checkpoint until its garbage was deleted",
        [(NONE, &metrics.checkpoints)],
    )
}

fn store(families: &mut Families<'_>, metrics: &Metrics, prices: Prices) -> Result<(), Error> {
    let each = |value: fn(&Tally) -> f64| {
        metrics.requests.iter().map(move |(verb, purpose, tally)| {
            (Some([("verb", verb.to_string()), ("purpose", purpose.to_owned())]), value(&tally))
        })
    };
    let requests = each(|tally| tally.requests as f64);
    families.counter("holocron_store_requests", "Requests to the home domain's store", requests)?;
    let errors = each(|tally| tally.errors as f64);
    let help = "Requests to the store answered with an error; a create that finds an object is one";
    families.counter("holocron_store_request_errors", help, errors)?;
    let bytes = each(|tally| tally.bytes as f64);
    families.counter("holocron_store_io_bytes", "Bytes of bodies sent and received", bytes)?;
    let seconds = each(|tally| tally.took.as_secs_f64());
    let help = "How long the answered requests took, in total";
    families.counter("holocron_store_request_seconds", help, seconds)?;
    families.counter(
        "holocron_store_cost_dollars",
        "What the requests to the store have cost, by the price table; no storage, no traffic",
        [(NONE, prices.of(&metrics.requests))],
    )
}

fn slots(families: &mut Families<'_>, status: &HostStatus) -> Result<(), Error> {
    let epoch = [(NONE, status.epoch.get() as f64)];
    families.gauge("holocron_epoch", "The newest epoch that this host knows", epoch)?;
    let leads = [(NONE, f64::from(u8::from(status.leads)))];
    families.gauge("holocron_leader", "1 if this host leads", leads)?;
    families.gauge(
        "holocron_slots",
        "Slots of the home domain: serving, waiting (given and not yet recovered), going (given away and not yet released)",
        [
            (Some([("state", "serving")]), f64::from(status.slots_serving)),
            (Some([("state", "waiting")]), f64::from(status.slots_waiting)),
            (Some([("state", "going")]), f64::from(status.slots_going)),
        ],
    )?;
    families.gauge(
        "holocron_vnodes",
        "Vnodes: active (in memory), known (in the indexes, active or not)",
        [
            (Some([("state", "active")]), status.vnodes_active as f64),
            (Some([("state", "known")]), status.vnodes_known as f64),
        ],
    )?;
    let open = status.shards.serving.saturating_sub(status.shards.open);
    let help = "Shards in the served slots that aren't open";
    families.gauge("holocron_shards_not_open", help, [(NONE, f64::from(open))])?;
    let packs = [(NONE, f64::from(status.packs))];
    families.gauge("holocron_packs", "Packs that the newest checkpoint names", packs)?;
    let help = "The measured load of the slots, as commands per second";
    families.gauge("holocron_load", help, [(NONE, status.load as f64)])?;
    let tail = status.progress.committed.get().saturating_sub(status.progress.low_water.get());
    let help = "Committed batches that no checkpoint covers yet: a takeover reads them";
    families.gauge("holocron_journal_tail_batches", help, [(NONE, tail as f64)])
}

fn counters(families: &mut Families<'_>, metrics: &Metrics) -> Result<(), Error> {
    let status = &metrics.status;
    let help = "Commands that had run before: answered from the record of requests";
    families.counter("holocron_command_repeats", help, [(NONE, status.repeats as f64)])?;
    let help = "Vnodes that left memory because they were not used";
    families.counter("holocron_vnode_evictions", help, [(NONE, status.evictions as f64)])?;
    let help = "Handlers that blocked their thread for longer than the limit";
    families.counter("holocron_slow_handlers", help, [(NONE, status.slow_handlers as f64)])?;
    let memory = metrics.resident_bytes.map(|bytes| (NONE, bytes as f64));
    families.gauge("process_resident_memory_bytes", "Resident memory of the process", memory)
}
