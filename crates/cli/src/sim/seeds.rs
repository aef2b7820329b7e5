//! A range of seeds, written `A..B`, without `B`.

use core::{ops::Range, str::FromStr};

/// Largest number of seeds in one run. A larger range is a typing error.
const SEEDS_MAX: u64 = 100_000_000;

/// A range of seeds, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seeds(pub(super) Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("write two numbers, as in 1..1000, at most {SEEDS_MAX} apart");
        let (first, end) = text.split_once("..").ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_error| wrong());
        let seeds = number(first)?..number(end)?;
        if seeds.is_empty() || seeds.end - seeds.start > SEEDS_MAX {
            return Err(wrong());
        }
        Ok(Self(seeds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_and_a_slip_is_refused() {
        assert_eq!("1..1000".parse(), Ok(Seeds(1..1_000)));
        for slip in ["1", "1..1", "2..1", "a..b", "1..=3", "0..18446744073709551615"] {
            assert!(slip.parse::<Seeds>().is_err(), "{slip}");
        }
    }
}
