//! What a host measures, as text for Prometheus and everything that reads its format (`OpenMetrics`).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use holocron_metrics::{Exporter, Prices};
//!
//! let host = holocron::Host::builder("file:///tmp/h").start().await?;
//! let exporter = Exporter::new(host.meter(), Prices::S3_STANDARD);
//! println!("{}", exporter.text());
//! # Ok(())
//! # }
//! ```
//!
//! All names begin with `holocron_`, except those of the process. `docs/metrics.md` lists them. Labels take few values: a
//! kind is one that the host runs, or `unknown`.

mod collect;
mod encode;
mod prices;
#[cfg(test)]
mod tests;

use core::fmt;

use holocron::Meter;
use prometheus_client::{encoding::text, registry::Registry};

use self::collect::HostCollector;
pub use self::prices::Prices;

/// The media type of [`Exporter::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes what a host measures.
pub struct Exporter(Registry);

impl Exporter {
    /// For this host, with these prices of its store.
    #[must_use]
    pub fn new(meter: Meter, prices: Prices) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(HostCollector { meter, prices }));
        Self(registry)
    }

    /// What was measured so far. Of a host that is gone, nothing.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.0).expect("a string takes everything");
        out
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}
