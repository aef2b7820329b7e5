//! Values in the encoder's terms.

use core::fmt::Error;

use holocron::Distribution;
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// What the numbers of a distribution are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    /// Nanoseconds, shown as seconds.
    Time,
    /// Bytes or things.
    Size,
}

impl Unit {
    fn shown(self, value: u64) -> f64 {
        match self {
            Self::Time => value as f64 / 1e9,
            Self::Size => value as f64,
        }
    }
}

/// Writes one family after the other.
pub(crate) struct Families<'a>(pub(crate) DescriptorEncoder<'a>);

impl Families<'_> {
    /// A counter; `_total` is added to its name.
    pub(crate) fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Option<L>, f64)>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            labelled(&mut family, &labels, |metric| {
                metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
            })?;
        }
        Ok(())
    }

    /// A gauge.
    pub(crate) fn gauge<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Option<L>, f64)>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            labelled(&mut family, &labels, |metric| metric.encode_gauge(&value))?;
        }
        Ok(())
    }

    /// A histogram.
    pub(crate) fn histogram<'d, L: EncodeLabelSet>(
        &mut self,
        (name, unit): (&str, Unit),
        help: &str,
        values: impl IntoIterator<Item = (Option<L>, &'d Distribution)>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, distribution) in values {
            let buckets: Vec<(f64, u64)> = distribution
                .buckets()
                // The encoder writes the largest number as infinity.
                .map(|(bound, count)| (bound.map_or(f64::MAX, |bound| unit.shown(bound)), count))
                .collect();
            let (sum, count) = (unit.shown(distribution.sum()), distribution.count());
            labelled(&mut family, &labels, |metric| {
                metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            })?;
        }
        Ok(())
    }
}

/// Writes a value with its labels, if it has any.
fn labelled<L: EncodeLabelSet>(
    family: &mut MetricEncoder<'_>,
    labels: &Option<L>,
    write: impl FnOnce(&mut MetricEncoder<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    match labels {
        Some(labels) => write(&mut family.encode_family(labels)?),
        None => write(family),
    }
}
