//! How much of the torture suite is done, and with which seed.
//!
//! Without a word it is small enough for every test run. `FLOW_TORTURE=full` does what the suite's promises state,
//! `FLOW_TORTURE=20` as much as that; `FLOW_TEST_SEED` repeats the draws that an earlier call printed.

use std::time::{SystemTime, UNIX_EPOCH};

/// How often a thing is done: `small` by default, `full` if everything is wanted, else what `FLOW_TORTURE` says.
///
/// # Panics
/// Where `FLOW_TORTURE` is neither `full` nor a number.
pub fn count(small: u64, full: u64) -> u64 {
    match std::env::var("FLOW_TORTURE").as_deref() {
        Err(_) => small,
        Ok("full") => full,
        Ok(number) => number.parse().expect("FLOW_TORTURE is `full` or a number"),
    }
}

/// Random draws from a seed that is printed, so that they can be had again.
#[derive(Debug)]
pub struct Draws(u64);

impl Draws {
    /// From `FLOW_TEST_SEED`, else from the clock.
    ///
    /// # Panics
    /// Where `FLOW_TEST_SEED` is no number.
    pub fn new() -> Draws {
        let seed = match std::env::var("FLOW_TEST_SEED") {
            Ok(seed) => seed.parse().expect("FLOW_TEST_SEED is a number"),
            Err(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs(),
        };
        eprintln!("FLOW_TEST_SEED={seed}");
        Draws(seed)
    }

    /// The next 64 bits (SplitMix64).
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.bits() % limit.max(1) as u64) as usize
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Default for Draws {
    fn default() -> Self {
        Draws::new()
    }
}
