//! `--diff`: what changed from one epoch to another.

use core::time::Duration;

use holocron_protocol::{
    epoch::{changes::changes, record::EpochRecord},
    ids::Epoch,
};
use serde_json::json;

use super::{
    Source,
    teller::{Form, Teller, listed},
};
use crate::{
    exit::{Fail, Failure},
    output::print,
    table::thousands,
    times::{lasting, rfc3339, shown},
};

/// Shows the differences of two epochs, then the epochs in between, `limit` at most.
pub(super) async fn show(
    source: &Source,
    (before, after): (Epoch, Epoch),
    limit: Option<u64>,
    form: Form,
) -> Result<(), Fail> {
    if before >= after {
        let why = "--diff compares an epoch with a later one: write the smaller number first";
        return Err(Fail::new(Failure::Usage, why));
    }
    let (before, after) = (source.record(before).await?, source.record(after).await?);
    match form {
        Form::Text => print(&as_text(&before, &after))?,
        Form::Json => print(&format!(
            "{}\n",
            json!({ "from": ends(&before), "to": ends(&after), "changes": changes(Some(&before), &after) })
        ))?,
    }
    let (first, last) = (before.epoch.next().get(), after.epoch.get());
    // The last that is told.
    let end = (first - 1).saturating_add(limit.unwrap_or(u64::MAX)).min(last);
    if first == last || end < first {
        return Ok(());
    }
    if form == Form::Text {
        print("\nEpoch by epoch:\n\n")?;
    }
    let mut teller = Teller::new(form);
    teller.begin_with(first, Some(before));
    source.tell(first..=end, &mut teller).await?;
    if form == Form::Text && end < last {
        print(&format!("\n… and {} more\n", thousands(last - end)))?;
    }
    Ok(())
}

fn ends(record: &EpochRecord) -> serde_json::Value {
    json!({
        "epoch": record.epoch.get(),
        "time": rfc3339(record.wall_ms),
        "wall_ms": record.wall_ms,
        "leader": record.leader.host.as_str(),
    })
}

fn as_text(before: &EpochRecord, after: &EpochRecord) -> String {
    let took = lasting(Duration::from_millis(after.wall_ms.saturating_sub(before.wall_ms)));
    let side = |record: &EpochRecord| {
        format!("epoch {} ({})", thousands(record.epoch.get()), shown(record.wall_ms))
    };
    let why = if before.epoch.next() == after.epoch {
        format!("  why: {}\n", after.reason)
    } else {
        String::new()
    };
    format!(
        "From {} to {}, {took} later:\n{why}{}",
        side(before),
        side(after),
        listed(&changes(Some(before), after))
    )
}
