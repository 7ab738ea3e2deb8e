//! Random generators by seed, purpose and sample index, so that no draw depends on threads, batches or order.

pub use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The generator for one sample (or epoch, or start) of one purpose.
///
/// Two calls with the same arguments give the same numbers; any other argument gives independent ones.
pub fn generator(seed: u64, purpose: &str, index: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("flow stage random generator 1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::Rng;

    #[test]
    fn each_argument_changes_the_draw_and_nothing_else_does() {
        let draw = |seed, purpose, index| generator(seed, purpose, index).next_u64();
        assert_eq!(draw(1, "shuffle", 2), draw(1, "shuffle", 2));
        assert_ne!(draw(1, "shuffle", 2), draw(2, "shuffle", 2));
        assert_ne!(draw(1, "shuffle", 2), draw(1, "flip", 2));
        assert_ne!(draw(1, "shuffle", 2), draw(1, "shuffle", 3));
    }
}
