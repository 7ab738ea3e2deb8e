//! Agreement of two labellings: ARI, NMI, AMI and cluster accuracy.

use ndarray::{Array2, ArrayView1};

use super::assignment::best_matching;
use crate::error::{Error, Result, check_length};

/// How often each pair of labels occurs, `[labels of a, labels of b]`, labels ascending.
fn contingency(a: ArrayView1<i32>, b: ArrayView1<i32>) -> Result<Array2<u64>> {
    check_length("the second labelling", b.len(), a.len())?;
    if a.is_empty() {
        return Err(Error::Empty {
            rows: 0,
            columns: 1,
        });
    }
    let names = |labels: ArrayView1<i32>| {
        let mut names = labels.to_vec();
        names.sort_unstable();
        names.dedup();
        names
    };
    let (of_a, of_b) = (names(a), names(b));
    let mut table = Array2::zeros((of_a.len(), of_b.len()));
    for (x, y) in a.iter().zip(b) {
        let place = |names: &[i32], label: &i32| {
            names
                .binary_search(label)
                .expect("each label is among the distinct ones")
        };
        table[[place(&of_a, x), place(&of_b, y)]] += 1;
    }
    Ok(table)
}

fn sums(table: &Array2<u64>) -> (Vec<u64>, Vec<u64>) {
    let rows = table.rows().into_iter().map(|row| row.sum()).collect();
    let columns = table
        .columns()
        .into_iter()
        .map(|column| column.sum())
        .collect();
    (rows, columns)
}

/// The Rand index adjusted for chance (Hubert, Arabie 1985): 1 for equal partitions, 0 on average for random ones.
///
/// # Errors
/// Where lengths differ or there are no rows.
pub fn adjusted_rand(a: ArrayView1<i32>, b: ArrayView1<i32>) -> Result<f64> {
    let table = contingency(a, b)?;
    let (rows, columns) = sums(&table);
    let pairs = |counts: &mut dyn Iterator<Item = u64>| -> f64 {
        counts.map(|c| c as f64 * (c as f64 - 1.0) / 2.0).sum()
    };
    let n = a.len() as f64;
    let all = n * (n - 1.0) / 2.0;
    let both = pairs(&mut table.iter().copied());
    let (of_a, of_b) = (
        pairs(&mut rows.into_iter()),
        pairs(&mut columns.into_iter()),
    );
    // No pair is apart in one and together in the other.
    if both == of_a && both == of_b {
        return Ok(1.0);
    }
    let expected = of_a * of_b / all;
    Ok((both - expected) / ((of_a + of_b) / 2.0 - expected))
}

fn entropy(counts: &[u64], n: f64) -> f64 {
    if counts.len() <= 1 {
        return 0.0;
    }
    -counts
        .iter()
        .map(|&c| c as f64 / n)
        .map(|p| p * libm::log(p))
        .sum::<f64>()
}

fn mutual_information(table: &Array2<u64>, rows: &[u64], columns: &[u64], n: f64) -> f64 {
    let mut sum = 0.0;
    for ((i, j), &count) in table.indexed_iter() {
        if count > 0 {
            let c = count as f64;
            sum += c / n * libm::log(c * n / (rows[i] as f64 * columns[j] as f64));
        }
    }
    sum.max(0.0)
}

/// Mutual information over the mean of the two entropies: 0..1.
///
/// # Errors
/// Where lengths differ or there are no rows.
pub fn normalized_mutual_info(a: ArrayView1<i32>, b: ArrayView1<i32>) -> Result<f64> {
    let table = contingency(a, b)?;
    let (rows, columns) = sums(&table);
    let n = a.len() as f64;
    if rows.len() == 1 && columns.len() == 1 {
        return Ok(1.0);
    }
    let shared = mutual_information(&table, &rows, &columns, n);
    let mean = (entropy(&rows, n) + entropy(&columns, n)) / 2.0;
    Ok(if shared <= f64::EPSILON {
        0.0
    } else {
        shared / mean
    })
}

/// Mutual information adjusted for chance (Vinh, Epps, Bailey 2010), over the mean of the two entropies.
///
/// # Errors
/// Where lengths differ or there are no rows.
pub fn adjusted_mutual_info(a: ArrayView1<i32>, b: ArrayView1<i32>) -> Result<f64> {
    let table = contingency(a, b)?;
    let (rows, columns) = sums(&table);
    let n = a.len() as f64;
    if rows.len() == columns.len() && (rows.len() == 1 || rows.len() == a.len()) {
        return Ok(1.0);
    }
    let shared = mutual_information(&table, &rows, &columns, n);
    let expected = expected_information(&rows, &columns, a.len() as u64);
    let mean = (entropy(&rows, n) + entropy(&columns, n)) / 2.0;
    let mut room = mean - expected;
    // Rounding must not turn the sign, nor divide by 0.
    room = if room < 0.0 {
        room.min(-f64::EPSILON)
    } else {
        room.max(f64::EPSILON)
    };
    Ok((shared - expected) / room)
}

/// The mutual information that random labellings with these counts have on average.
fn expected_information(rows: &[u64], columns: &[u64], n: u64) -> f64 {
    let mut log_factorial = vec![0.0; n as usize + 1];
    for i in 1..=n as usize {
        log_factorial[i] = log_factorial[i - 1] + libm::log(i as f64);
    }
    let log = |x: u64| log_factorial[x as usize];
    let mut sum = 0.0;
    for &r in rows {
        for &c in columns {
            let fixed = log(r) + log(c) + log(n - r) + log(n - c) - log(n);
            for both in (r + c).saturating_sub(n).max(1)..=r.min(c) {
                let chance =
                    fixed - log(both) - log(r - both) - log(c - both) - log(n + both - r - c);
                let x = both as f64;
                let information = libm::log(n as f64 * x / (r as f64 * c as f64));
                sum += x / n as f64 * information * libm::exp(chance);
            }
        }
    }
    sum
}

/// The part of rows that are right where clusters are matched to classes, one to one, as well as possible: 0..1.
///
/// # Errors
/// Where lengths differ or there are no rows.
pub fn accuracy(classes: ArrayView1<i32>, clusters: ArrayView1<i32>) -> Result<f64> {
    let table = contingency(classes, clusters)?;
    let size = table.nrows().max(table.ncols());
    let most = table.iter().copied().max().unwrap_or(0) as i64;
    let cost = |i: usize, j: usize| most - table.get((i, j)).map_or(0, |&count| count as i64);
    let right: u64 = best_matching(size, cost)
        .into_iter()
        .enumerate()
        .map(|(i, j)| table.get((i, j)).copied().unwrap_or(0))
        .sum();
    Ok(right as f64 / classes.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, array};

    #[test]
    fn equal_partitions_agree_whatever_their_numbers() {
        let (a, b) = (array![0, 0, 1, 1, 2], array![7, 7, -1, -1, 3]);
        for score in [
            adjusted_rand,
            normalized_mutual_info,
            adjusted_mutual_info,
            accuracy,
        ] {
            assert!((score(a.view(), b.view()).unwrap() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn one_cluster_says_nothing() {
        let (a, b) = (array![0, 0, 1, 1], Array1::zeros(4));
        assert_eq!(adjusted_rand(a.view(), b.view()).unwrap(), 0.0);
        assert_eq!(normalized_mutual_info(a.view(), b.view()).unwrap(), 0.0);
        assert!(adjusted_mutual_info(a.view(), b.view()).unwrap().abs() < 1e-12);
        assert_eq!(accuracy(a.view(), b.view()).unwrap(), 0.5);
    }

    #[test]
    fn labellings_of_other_length_or_none_are_refused() {
        assert!(adjusted_rand(array![0].view(), array![0, 1].view()).is_err());
        assert!(accuracy(Array1::zeros(0).view(), Array1::zeros(0).view()).is_err());
    }
}
