//! 100,000 devices, each a vnode: what they cost in memory while they are active, and while they aren't.
//!
//! ```text
//! devices [DEVICES]
//! ```

#![expect(clippy::print_stdout, reason = "an example prints")]

use core::time::Duration;

use holocron::{Host, Settings};
use serde::{Deserialize, Serialize};

const DEVICES_DEFAULT: usize = 100_000;
const REPORTERS: usize = 64;
const IDLE_AFTER: Duration = Duration::from_secs(3);

/// The newest readings of a device.
#[derive(Default, Serialize, Deserialize)]
struct Device {
    readings: Vec<(u64, i16)>,
}

#[holocron::vnode(kind = "device")]
impl Device {
    /// Adds a reading, in tenths of a degree; returns how many the device has.
    #[command]
    fn report(&mut self, at_ms: u64, tenths: i16) -> u64 {
        if self.readings.len() >= 8 {
            self.readings.remove(0);
        }
        self.readings.push((at_ms, tenths));
        self.readings.len() as u64
    }

    /// The newest reading.
    #[query]
    fn newest(&self) -> Option<(u64, i16)> {
        self.readings.last().copied()
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}

async fn report_all(host: &Host, devices: usize, round: u64) -> Result<(), holocron::CallError> {
    let reporters: Vec<_> = (0..REPORTERS)
        .map(|reporter| {
            let client = host.client();
            tokio::spawn(async move {
                for device in (reporter..devices).step_by(REPORTERS) {
                    let device = client.get::<Device>(&format!("d{device}"));
                    device.report(round, 215).await?;
                }
                Ok(())
            })
        })
        .collect();
    for reporter in reporters {
        reporter.await.expect("a reporter doesn't panic")?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let devices = std::env::args().nth(1).map_or(Ok(DEVICES_DEFAULT), |count| count.parse())?;
    let folder = tempfile::tempdir()?;
    let store = format!("file://{}", folder.path().display());
    let settings = Settings {
        idle_after: IDLE_AFTER,
        vnodes_active_max: 2 * devices as u64,
        ..Settings::default()
    };
    let host = Host::builder(&store).settings(settings.clone()).vnode::<Device>().start().await?;
    let before = resident();
    report_all(&host, devices, 1).await?;
    let active = host.status().vnodes_active;
    let each = (resident() - before) / devices as u64;
    println!("{active} of {devices} devices are active: {each} bytes of memory each");

    // Who doesn't report leaves memory; only the place of its state is kept.
    while host.status().vnodes_active > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("none is active any more; the host knows {}", host.status().vnodes_known);
    host.leave().await;

    // A fresh process would begin like this one: what it has to know of devices is read from the store.
    let before = resident();
    let host = Host::builder(&store).settings(settings).vnode::<Device>().start().await?;
    let newest = host.client().get::<Device>("d7").newest().await?;
    assert_eq!(newest, Some((1, 215)), "a dormant device answers");
    let known = host.status().vnodes_known;
    let grown = resident().saturating_sub(before) / devices as u64;
    println!("after a restart: {known} devices are known, {grown} more bytes of memory each");
    host.leave().await;
    Ok(())
}
