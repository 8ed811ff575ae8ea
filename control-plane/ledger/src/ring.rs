//! What a rolling window has spent: sixty full buckets and the one that fills. A unit is charged when its use is
//! reported and counts until the window's length and a bucket have passed, so every interval of that length is covered.
//! What it is not: it knows neither grants nor processes; what is outstanding is counted beside it.

use std::collections::VecDeque;

/// Full buckets that count, besides the one that fills.
const BUCKETS: u64 = 60;

#[derive(Clone, Debug)]
pub(crate) struct Ring {
    window: u64,
    /// Length of a bucket in milliseconds.
    length: u64,
    /// The bucket that fills: the time divided by the length.
    now: u64,
    /// Buckets with something in them, oldest first.
    buckets: VecDeque<(u64, u64)>,
    sum: u128,
}

impl Ring {
    /// An empty ring for a window of so many milliseconds.
    pub fn new(window: u64) -> Ring {
        Ring { window, length: window.div_ceil(BUCKETS).max(1), now: 0, buckets: VecDeque::new(), sum: 0 }
    }

    /// Drops what no longer counts by now; never goes back.
    pub fn advance(&mut self, clock: u64) {
        self.now = self.now.max(clock / self.length);
        while let Some((bucket, units)) = self.buckets.front().copied()
            && bucket + BUCKETS < self.now
        {
            self.buckets.pop_front();
            self.sum -= u128::from(units);
        }
    }

    /// Charges units to the bucket that fills. The bucket and what is in it now.
    pub fn charge(&mut self, units: u64) -> (u64, u64) {
        match self.buckets.back_mut() {
            Some((bucket, sum)) if *bucket == self.now => *sum = sum.saturating_add(units),
            _ => self.buckets.push_back((self.now, units)),
        }
        self.sum = self.buckets.iter().map(|(_, units)| u128::from(*units)).sum();
        (self.now, self.buckets.back().map_or(0, |(_, units)| *units))
    }

    /// Takes units back out of the bucket that fills, as far as it has them: only for the mutant that charges grants.
    pub fn credit(&mut self, units: u64) {
        if let Some((_, sum)) = self.buckets.back_mut() {
            *sum = sum.saturating_sub(units);
        }
        self.sum = self.buckets.iter().map(|(_, units)| u128::from(*units)).sum();
    }

    /// A bucket as the log remembers it.
    pub fn restore(&mut self, bucket: u64, units: u64) {
        match self.buckets.iter_mut().find(|(at, _)| *at == bucket) {
            Some((_, sum)) => *sum = units.max(*sum),
            None => self.buckets.push_back((bucket, units)),
        }
        self.buckets.make_contiguous().sort_unstable();
        self.sum = self.buckets.iter().map(|(_, units)| u128::from(*units)).sum();
        self.advance(bucket * self.length);
    }

    /// The window's length in milliseconds.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// When the bucket that fills began.
    pub fn began(&self) -> u64 {
        self.now * self.length
    }

    /// All that counts.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The buckets with something in them.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets.iter().copied()
    }

    /// When the oldest units stop counting, from now, in milliseconds; a window's length when there are none.
    pub fn frees_in(&self, clock: u64) -> u64 {
        let oldest =
            self.buckets.iter().find(|(_, units)| *units > 0).map_or(self.now, |(bucket, _)| *bucket);
        ((oldest + BUCKETS + 1) * self.length).saturating_sub(clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_counts_for_at_least_the_window_and_at_most_two_buckets_more() {
        for window in [60, 60_000, 86_400_000, 100_000] {
            let bucket = u64::div_ceil(window, 60);
            for at in [0, 1, bucket - 1, 7 * bucket, 7 * bucket + bucket / 2] {
                let mut ring = Ring::new(window);
                ring.advance(at);
                ring.charge(5);
                ring.advance(at + window);
                assert_eq!(ring.sum(), 5, "window {window}, charged at {at}");
                assert!(ring.frees_in(at + window) <= 2 * bucket);
                ring.advance(at + window + 2 * bucket);
                assert_eq!(ring.sum(), 0, "window {window}, charged at {at}");
            }
        }
    }

    #[test]
    fn a_restored_ring_is_the_one_that_was_written_and_repeats_are_harmless() {
        let mut ring = Ring::new(60_000);
        let mut log = Vec::new();
        for at in (0..200_000).step_by(700) {
            ring.advance(at);
            log.push(ring.charge(at % 13));
        }
        let mut again = Ring::new(60_000);
        for (bucket, units) in log.iter().chain(&log) {
            again.restore(*bucket, *units);
        }
        assert_eq!((again.sum(), again.now), (ring.sum(), ring.now));
        assert_eq!(again.buckets, ring.buckets);
    }

    #[test]
    fn the_clock_never_goes_back() {
        let mut ring = Ring::new(60_000);
        ring.advance(500_000);
        ring.charge(1);
        ring.advance(10);
        ring.charge(1);
        assert_eq!(ring.buckets().collect::<Vec<_>>(), [(500, 2)]);
    }
}
