//! Code for the processor's vector unit, chosen when the program runs.

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
