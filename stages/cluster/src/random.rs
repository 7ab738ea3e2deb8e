//! Small fast random streams by key, for inner loops.

/// A SplitMix64 stream (Steele, Lea, Flood 2014). Streams of different keys are independent for our purposes.
pub(crate) struct Stream(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Stream {
    /// The stream of `key` under `seed`.
    pub fn new(seed: u64, key: u64) -> Self {
        let mut stream = Stream(seed);
        let mixed = stream.next();
        stream.0 = mixed ^ key.wrapping_mul(GOLDEN);
        // Hashed once more: streams of neighbouring keys would else be shifted copies of each other.
        stream.0 = stream.next();
        stream
    }

    #[inline(always)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in 0..bound.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Normal with mean 0 and deviation 1 (Box, Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(1.0 - self.unit())).sqrt();
        radius * libm::cos(2.0 * std::f64::consts::PI * self.unit())
    }
}
