//! The same rows of many, whoever chooses.

/// Of many rows those of smallest [`splitmix64`], ascending: the same rows whoever chooses, so that each point that is shown
/// has its thumbnail.
pub fn sample(rows: impl IntoIterator<Item = usize>, most: usize) -> Vec<usize> {
    let mut rows: Vec<usize> = rows.into_iter().collect();
    if rows.len() > most {
        rows.sort_unstable_by_key(|&row| splitmix64(row as u64));
        rows.truncate(most);
        rows.sort_unstable();
    }
    rows
}

/// The first output of Steele, Lea and Flood's SplitMix64 (2014) with this seed: an order of row numbers that looks like chance.
pub fn splitmix64(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_sample_lies_in_a_larger_one() {
        // The first output for seed 0 of the generator's reference implementation.
        assert_eq!(splitmix64(0), 0xe220_a839_7b1d_cdaf);
        let large = sample(0..1000, 100);
        let small = sample((0..1000).filter(|row| row % 3 > 0), 20);
        assert_eq!((large.len(), small.len()), (100, 20));
        assert!(large.is_sorted() && small.iter().all(|row| large.contains(row)));
        assert_eq!(sample(0..5, 100), [0, 1, 2, 3, 4]);
    }
}
