//! The seeded, stratified draw of rows: which are test rows, which are kept under a limit, which validate.

use std::collections::BTreeMap;

use flow_stage::random;
use rand_chacha::rand_core::Rng;

/// Draws `count` of `rows` (all of them where there are fewer), each class in its proportion, and returns them in
/// their order.
///
/// A class of `n_c` of the `n` rows gets `count * n_c / n` rows; what rounding down leaves goes to the classes with
/// the largest remainders. Inside a class the rows with the smallest random keys are taken, and a row's key depends on
/// the seed, the purpose and its index alone: so a larger count keeps what a smaller one drew, but for the rounding.
pub fn stratified(
    labels: &[i32],
    rows: &[usize],
    count: usize,
    seed: u64,
    purpose: &str,
) -> Vec<usize> {
    if count >= rows.len() {
        return rows.to_vec();
    }
    let mut classes: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for &row in rows {
        classes.entry(labels[row]).or_default().push(row);
    }
    let share = |class: &[usize]| count as u128 * class.len() as u128;
    let total = rows.len() as u128;
    let mut quotas: Vec<(usize, u128)> = classes
        .values()
        .map(|class| ((share(class) / total) as usize, share(class) % total))
        .collect();
    let missing = count - quotas.iter().map(|q| q.0).sum::<usize>();
    let mut by_remainder: Vec<usize> = (0..quotas.len()).collect();
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(quotas[class].1));
    for &class in &by_remainder[..missing] {
        quotas[class].0 += 1;
    }
    let mut drawn = Vec::with_capacity(count);
    for (class, (quota, _)) in classes.into_values().zip(quotas) {
        let mut keyed: Vec<(u64, usize)> = class
            .into_iter()
            .map(|row| (random::generator(seed, purpose, row as u64).next_u64(), row))
            .collect();
        keyed.sort_unstable();
        drawn.extend(keyed[..quota].iter().map(|&(_, row)| row));
    }
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_keep_their_proportions_and_rounding_goes_to_the_largest_remainder() {
        // 6, 3 and 1 rows; of 5 they are due 3.0, 1.5 and 0.5: the tie goes to the class of the lower label.
        let labels = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2];
        let rows: Vec<usize> = (0..10).collect();
        let drawn = stratified(&labels, &rows, 5, 42, "test");
        let of = |class| drawn.iter().filter(|&&r| labels[r] == class).count();
        assert_eq!((of(0), of(1), of(2)), (3, 2, 0));
    }

    #[test]
    fn another_seed_or_purpose_draws_other_rows() {
        let labels = [0; 100];
        let rows: Vec<usize> = (0..100).collect();
        let drawn = stratified(&labels, &rows, 20, 1, "a");
        assert_eq!(drawn, stratified(&labels, &rows, 20, 1, "a"));
        assert_ne!(drawn, stratified(&labels, &rows, 20, 2, "a"));
        assert_ne!(drawn, stratified(&labels, &rows, 20, 1, "b"));
    }

    proptest! {
        #[test]
        fn a_draw_has_its_size_its_order_and_every_class_within_one_row_of_its_share(
            labels in prop::collection::vec(0..5i32, 1..200),
            part in 0.0..1.2f64,
            seed: u64,
        ) {
            let rows: Vec<usize> = (0..labels.len()).step_by(2).collect();
            let count = (part * rows.len() as f64) as usize;
            let drawn = stratified(&labels, &rows, count, seed, "test");
            prop_assert_eq!(drawn.len(), count.min(rows.len()));
            prop_assert!(drawn.is_sorted_by(|a, b| a < b));
            prop_assert!(drawn.iter().all(|row| rows.contains(row)));
            for class in 0..5 {
                let of = |rows: &[usize]| rows.iter().filter(|&&r| labels[r] == class).count() as f64;
                let due = of(&rows) * drawn.len() as f64 / rows.len() as f64;
                prop_assert!((of(&drawn) - due).abs() < 1.0);
            }
        }
    }
}
