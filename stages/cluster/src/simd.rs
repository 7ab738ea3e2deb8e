//! Code for the processor's vector unit, chosen when the program runs.

use rayon::prelude::*;

struct Work<F>(F);

impl<R, F: FnMut() -> R> pulp::WithSimd for Work<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(mut self, _: S) -> R {
        (self.0)()
    }
}

/// Runs a closure that is compiled for what the processor has. It has to be `#[inline(always)]`, as all that is hot in it.
/// The bits of the result stay the same: nothing is contracted or reordered.
///
/// A closure given to `pulp` itself is called by value, through a function that is only inlined when it is small: what is
/// not small ran without vectors.
#[inline(always)]
pub(crate) fn vectorize<R>(work: impl FnMut() -> R) -> R {
    pulp::Arch::new().dispatch(Work(work))
}

/// Rows that are computed with side by side.
pub(crate) const LANES: usize = 8;

/// The coordinates of rows `[n, d]`, axis by axis for each [`LANES`] rows: what is beyond the last row is 0.
pub(crate) fn lanes(values: &[f64], d: usize) -> Vec<[f64; LANES]> {
    (values.par_chunks(LANES * d))
        .flat_map_iter(|rows| {
            (0..d).map(move |axis| {
                let mut column = [0.0; LANES];
                for (into, row) in column.iter_mut().zip(rows.chunks_exact(d)) {
                    *into = row[axis];
                }
                column
            })
        })
        .collect()
}
