//! What a mixture is made of, and how likely it makes rows.

use std::f64::consts::PI;

use super::Covariance;
use super::sums::Sums;
use crate::simd::LANES;

/// Weights, means and covariances, and what densities are computed from.
pub(super) struct Model {
    pub k: usize,
    pub d: usize,
    pub oblique: bool,
    pub weights: Vec<f64>,
    /// `[k, d]`
    pub means: Vec<f64>,
    /// Of each component the lower triangle row by row where it is oblique, else the variances of the axes.
    covariances: Vec<f64>,
    /// In the same order the inverse of the covariance's Cholesky factor: it turns rows into ones of variance 1.
    factors: Vec<f64>,
    /// What a component adds to each log-density: its weight, and its volume.
    offsets: Vec<f64>,
}

/// The numbers of one component's covariance.
pub(super) fn size(d: usize, oblique: bool) -> usize {
    if oblique { d * (d + 1) / 2 } else { d }
}

impl Model {
    /// The most likely model where rows belong to components as `sums` says. None where a covariance, with `added` on each
    /// variance, has no inverse.
    pub fn new(sums: &Sums, shape: Covariance, added: f64) -> Option<Model> {
        let (k, d) = (sums.counts.len(), sums.d);
        let oblique = shape.oblique();
        let size = size(d, oblique);
        // As in scikit-learn, so that a component without rows divides by no 0.
        let counts: Vec<f64> = (sums.counts.iter())
            .map(|count| count + 10.0 * f64::EPSILON)
            .collect();
        let whole: f64 = counts.iter().sum();
        let mut means = sums.around.clone();
        let mut covariances = vec![0.0; k * size];
        for (i, &count) in counts.iter().enumerate() {
            let moved: Vec<f64> = (sums.first[i * d..(i + 1) * d].iter())
                .map(|sum| sum / count)
                .collect();
            let mean = &mut means[i * d..(i + 1) * d];
            mean.iter_mut().zip(&moved).for_each(|(x, t)| *x += t);
            // The sums are those around the mean before: what it moved by is taken off.
            let second = &sums.second[i * size..(i + 1) * size];
            let own = &mut covariances[i * size..(i + 1) * size];
            for (at, (a, b)) in entries(d, oblique).enumerate() {
                own[at] = second[at] / count - moved[a] * moved[b];
            }
        }
        match shape {
            Covariance::Full | Covariance::Diagonal => {}
            Covariance::Tied => {
                let mut shared = vec![0.0; size];
                for (own, count) in covariances.chunks(size).zip(&counts) {
                    let part = count / whole;
                    shared.iter_mut().zip(own).for_each(|(x, y)| *x += part * y);
                }
                covariances = shared.repeat(k);
            }
            Covariance::Spherical => {
                for own in covariances.chunks_mut(size) {
                    let mean = own.iter().sum::<f64>() / d as f64;
                    own.fill(mean);
                }
            }
        }
        for own in covariances.chunks_mut(size) {
            for (x, (a, b)) in own.iter_mut().zip(entries(d, oblique)) {
                *x += if a == b { added } else { 0.0 };
            }
        }
        let weights: Vec<f64> = counts.iter().map(|count| count / whole).collect();
        let (mut factors, mut offsets) = (Vec::with_capacity(k * size), Vec::new());
        for (own, weight) in covariances.chunks(size).zip(&weights) {
            let factor = match oblique {
                true => inverse_cholesky(own, d)?,
                false => inverse_roots(own)?,
            };
            let volume: f64 = (entries(d, oblique).zip(&factor))
                .filter(|((a, b), _)| a == b)
                .map(|(_, x)| libm::log(*x))
                .sum();
            offsets.push(libm::log(*weight) + volume - d as f64 / 2.0 * libm::log(2.0 * PI));
            factors.extend(factor);
        }
        Some(Model {
            k,
            d,
            oblique,
            weights,
            means,
            covariances,
            factors,
            offsets,
        })
    }

    /// The covariance of a component along two axes.
    pub fn covariance(&self, component: usize, a: usize, b: usize) -> f64 {
        let own = component * size(self.d, self.oblique);
        let (low, high) = (a.min(b), a.max(b));
        match self.oblique {
            true => self.covariances[own + high * (high + 1) / 2 + low],
            false if a == b => self.covariances[own + a],
            false => 0.0,
        }
    }

    /// The log of weight times density of a component at eight rows, whose coordinates lie axis by axis. `away` is room
    /// for their differences from the mean, which it leaves there.
    #[inline(always)]
    pub fn log_density(
        &self,
        component: usize,
        columns: &[[f64; LANES]],
        away: &mut [[f64; LANES]],
    ) -> [f64; LANES] {
        let (d, size) = (self.d, size(self.d, self.oblique));
        difference(columns, &self.means[component * d..][..d], away);
        let factor = &self.factors[component * size..][..size];
        let mut squares = [0.0; LANES];
        let mut at = 0;
        for axis in 0..d {
            let first = if self.oblique { 0 } else { axis };
            let mut turned = [0.0; LANES];
            for away in &away[first..=axis] {
                for (turned, x) in turned.iter_mut().zip(away) {
                    *turned += factor[at] * x;
                }
                at += 1;
            }
            for (square, x) in squares.iter_mut().zip(turned) {
                *square += x * x;
            }
        }
        squares.map(|square| self.offsets[component] - 0.5 * square)
    }
}

/// How far rows are from a mean, axis by axis.
#[inline(always)]
pub(super) fn difference(columns: &[[f64; LANES]], mean: &[f64], away: &mut [[f64; LANES]]) {
    for ((away, column), mean) in away.iter_mut().zip(columns).zip(mean) {
        for (away, x) in away.iter_mut().zip(column) {
            *away = x - mean;
        }
    }
}

/// The axes that the numbers of a covariance belong to, in their order.
fn entries(d: usize, oblique: bool) -> impl Iterator<Item = (usize, usize)> {
    (0..d).flat_map(move |a| (if oblique { 0 } else { a }..=a).map(move |b| (a, b)))
}

fn inverse_roots(variances: &[f64]) -> Option<Vec<f64>> {
    let root = |&x: &f64| (x > 0.0 && x.is_finite()).then(|| 1.0 / x.sqrt());
    variances.iter().map(root).collect()
}

/// The inverse of the Cholesky factor of a symmetric matrix `[d, d]`, both as lower triangles row by row. None where the
/// matrix is not positive definite.
fn inverse_cholesky(matrix: &[f64], d: usize) -> Option<Vec<f64>> {
    let at = |a: usize, b: usize| a * (a + 1) / 2 + b;
    let mut factor = matrix.to_vec();
    for a in 0..d {
        for b in 0..=a {
            let mut x = factor[at(a, b)];
            for c in 0..b {
                x -= factor[at(a, c)] * factor[at(b, c)];
            }
            factor[at(a, b)] = if b < a {
                x / factor[at(b, b)]
            } else if x > 0.0 && x.is_finite() {
                x.sqrt()
            } else {
                return None;
            };
        }
    }
    let mut inverse = vec![0.0; factor.len()];
    for b in 0..d {
        inverse[at(b, b)] = 1.0 / factor[at(b, b)];
        for a in b + 1..d {
            let sum: f64 = (b..a).map(|c| factor[at(a, c)] * inverse[at(c, b)]).sum();
            inverse[at(a, b)] = -sum / factor[at(a, a)];
        }
    }
    Some(inverse)
}
