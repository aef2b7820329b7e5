//! Random numbers from a seed: the same seed and the same calls give the same numbers.

use std::time::Duration;

/// A splitmix64 generator: small, and good enough for fault injection.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below 1.
    pub(super) fn fraction(&mut self) -> f64 {
        // 32 bits are a whole number in a float.
        f64::from((self.next() >> 32) as u32) / 4_294_967_296.0
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// A number from 0 to below `end`, which must be above 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "no number is below 0");
        self.next() % end
    }

    /// From `min` to `max`.
    pub(super) fn duration(&mut self, min: Duration, max: Duration) -> Duration {
        min + max.saturating_sub(min).mul_f64(self.fraction())
    }

    /// A number from 1 to `max`; each power of two is equally likely as its order of magnitude.
    pub(super) fn magnitude(&mut self, max: u32) -> u64 {
        let orders = 32 - max.max(1).leading_zeros();
        let order = self.below(u64::from(orders));
        ((1 << order) + self.below(1 << order)).min(u64::from(max.max(1)))
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (2..=items.len()).rev() {
            let place = usize::try_from(self.below(end as u64)).expect("below a length");
            items.swap(end - 1, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let roll = |seed| {
            (0..10).scan(Dice::new(seed), |dice, _| Some(dice.below(100))).collect::<Vec<_>>()
        };
        assert_eq!(roll(7), roll(7));
        assert_ne!(roll(7), roll(8));
    }

    #[test]
    fn magnitudes_cover_the_small_and_the_large_within_bounds() {
        let mut dice = Dice::new(1);
        let rolls: Vec<_> = (0..1_000).map(|_| dice.magnitude(1_000)).collect();
        assert!(rolls.iter().all(|&roll| (1..=1_000).contains(&roll)));
        assert!(rolls.iter().filter(|&&roll| roll < 10).count() > 200);
        assert!(rolls.iter().filter(|&&roll| roll > 500).count() > 50);
        assert!((0..10).all(|_| dice.magnitude(1) == 1 && dice.magnitude(0) == 1));
    }
}
