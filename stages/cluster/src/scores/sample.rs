//! Means over a sample of the rows.

use crate::random::Stream;

/// A mean over rows, and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean over the drawn rows.
    pub mean: f64,
    /// The standard error of the mean for the sampling of rows; 0 where all rows count.
    pub standard_error: f64,
    /// Rows that were drawn.
    pub rows: usize,
}

impl Estimate {
    /// The mean of the drawn rows' values, of `n` rows.
    pub(super) fn of(values: &[f64], n: usize) -> Self {
        let m = values.len() as f64;
        let mean = values.iter().sum::<f64>() / m;
        let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
        // A sample without repeats misses less the larger a part it is of the whole.
        let missed = 1.0 - m / n as f64;
        Estimate {
            mean,
            standard_error: (squares / (m - 1.0) / m * missed).sqrt(),
            rows: values.len(),
        }
    }
}

/// `rows` of `n` rows, drawn without repeats, ascending; all where there are no more than that.
pub(super) fn draw(n: usize, rows: usize, random: &mut Stream) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..n).collect();
    if rows < n {
        for i in 0..rows {
            chosen.swap(i, i + random.below(n - i));
        }
        chosen.truncate(rows);
        chosen.sort_unstable();
    }
    chosen
}
