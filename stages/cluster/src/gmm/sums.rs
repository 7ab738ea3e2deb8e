//! One pass over the rows: how much each belongs to each component, and the sums that the next model is made of.

use ndarray::{Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;

use super::Covariance;
use super::model::{Model, difference, size};
use crate::simd::{LANES, lanes, vectorize};

/// Blocks of [`LANES`] rows that one task handles; fixed, so that sums do not depend on the number of threads.
const BLOCKS: usize = 128;
/// Tasks whose sums are kept at once.
pub(super) const TASKS: usize = 16;

/// Points, axis by axis for each [`LANES`] rows.
pub(super) struct Lanes {
    pub rows: usize,
    pub d: usize,
    columns: Vec<[f64; LANES]>,
}

impl Lanes {
    pub fn new(points: ArrayView2<f64>) -> Self {
        let (rows, d) = points.dim();
        let points = points.as_standard_layout();
        Lanes {
            rows,
            d,
            columns: lanes(points.as_slice().expect("standard layout"), d),
        }
    }
}

/// Sums over rows, weighted by how much they belong to each component, of their differences from a point of its own.
pub(super) struct Sums {
    pub d: usize,
    /// Those points `[k, d]`: the means so far. Differences from them are small, so that little is lost to rounding.
    pub around: Vec<f64>,
    /// `[k]`
    pub counts: Vec<f64>,
    /// Of the differences `[k, d]`.
    pub first: Vec<f64>,
    /// Of their products, each component's in the order of a covariance.
    pub second: Vec<f64>,
    pub log_likelihood: f64,
}

impl Sums {
    /// The sums where each row belongs to its label alone.
    pub fn of_labels(lanes: &Lanes, labels: ArrayView1<i32>, k: usize, shape: Covariance) -> Sums {
        let share = |row: usize, component: usize| f64::from(labels[row] == component as i32);
        let pass = |around: Vec<f64>| {
            over(lanes, k, around, shape.oblique(), |first, _, shares, _| {
                for (component, shares) in shares.iter_mut().enumerate() {
                    for (lane, into) in shares.iter_mut().enumerate() {
                        let row = first + lane;
                        *into = if row < lanes.rows {
                            share(row, component)
                        } else {
                            0.0
                        };
                    }
                }
                0.0
            })
        };
        // Once for the means, and once around them.
        let rough = pass(vec![0.0; k * lanes.d]);
        let means = (0..k * lanes.d).map(|i| rough.first[i] / rough.counts[i / lanes.d].max(1.0));
        pass(means.collect())
    }

    /// The sums where rows belong to components as a model finds it probable.
    pub fn of_model(lanes: &Lanes, model: &Model) -> Sums {
        let find = |first: usize,
                    columns: &[[f64; LANES]],
                    shares: &mut [[f64; LANES]],
                    room: &mut [[f64; LANES]]| {
            probabilities(
                model,
                lanes.rows.saturating_sub(first),
                columns,
                shares,
                room,
            )
        };
        over(lanes, model.k, model.means.clone(), model.oblique, find)
    }

    fn new(k: usize, around: Vec<f64>, d: usize, oblique: bool) -> Sums {
        Sums {
            d,
            around,
            counts: vec![0.0; k],
            first: vec![0.0; k * d],
            second: vec![0.0; k * size(d, oblique)],
            log_likelihood: 0.0,
        }
    }
}

/// How probable each component of a model is for each row `[n, k]`, and the log-likelihood of all rows.
pub(super) fn membership(lanes: &Lanes, model: &Model) -> (Array2<f64>, f64) {
    let k = model.k;
    let mut found = Array2::zeros((lanes.rows, k));
    let into = found.as_slice_mut().expect("standard layout");
    let parts: Vec<f64> = (into.par_chunks_mut(BLOCKS * LANES * k))
        .zip(lanes.columns.par_chunks(BLOCKS * lanes.d))
        .map(|(into, columns)| {
            let (mut shares, mut room) = (vec![[0.0; LANES]; k], vec![[0.0; LANES]; lanes.d]);
            let mut sum = 0.0;
            vectorize(
                #[inline(always)]
                || {
                    for (into, columns) in into
                        .chunks_mut(LANES * k)
                        .zip(columns.chunks_exact(lanes.d))
                    {
                        sum +=
                            probabilities(model, into.len() / k, columns, &mut shares, &mut room);
                        for (lane, into) in into.chunks_exact_mut(k).enumerate() {
                            into.iter_mut()
                                .zip(&shares)
                                .for_each(|(into, shares)| *into = shares[lane]);
                        }
                    }
                },
            );
            sum
        })
        .collect();
    (found, parts.into_iter().sum())
}

/// How probable each component is for up to eight rows, of which `rows` are there; 0 for what is not. Returns the rows'
/// log-likelihood.
#[inline(always)]
fn probabilities(
    model: &Model,
    rows: usize,
    columns: &[[f64; LANES]],
    shares: &mut [[f64; LANES]],
    room: &mut [[f64; LANES]],
) -> f64 {
    let mut most = [f64::NEG_INFINITY; LANES];
    for (component, into) in shares.iter_mut().enumerate() {
        *into = model.log_density(component, columns, room);
        for (most, &x) in most.iter_mut().zip(into.iter()) {
            *most = most.max(x);
        }
    }
    let mut log_likelihood = 0.0;
    for lane in 0..LANES {
        if lane >= rows {
            shares.iter_mut().for_each(|shares| shares[lane] = 0.0);
            continue;
        }
        let mut sum = 0.0;
        for shares in shares.iter_mut() {
            shares[lane] = libm::exp(shares[lane] - most[lane]);
            sum += shares[lane];
        }
        shares.iter_mut().for_each(|shares| shares[lane] /= sum);
        log_likelihood += most[lane] + libm::log(sum);
    }
    log_likelihood
}

/// Sums over all rows. `find` gets the first of eight rows and their columns, fills in how much they belong to each
/// component, and returns their log-likelihood.
fn over(
    lanes: &Lanes,
    k: usize,
    around: Vec<f64>,
    oblique: bool,
    find: impl Fn(usize, &[[f64; LANES]], &mut [[f64; LANES]], &mut [[f64; LANES]]) -> f64 + Sync,
) -> Sums {
    let d = lanes.d;
    let mut all = Sums::new(k, around, d, oblique);
    for (window, columns) in lanes.columns.chunks(TASKS * BLOCKS * d).enumerate() {
        let around = &all.around;
        let parts: Vec<Sums> = (columns.par_chunks(BLOCKS * d).enumerate())
            .map(|(task, columns)| {
                let first = (window * TASKS + task) * BLOCKS * LANES;
                part(first, columns, d, around, oblique, k, &find)
            })
            .collect();
        for part in parts {
            let add = |into: &mut [f64], part: &[f64]| {
                into.iter_mut().zip(part).for_each(|(x, y)| *x += y);
            };
            add(&mut all.counts, &part.counts);
            add(&mut all.first, &part.first);
            add(&mut all.second, &part.second);
            all.log_likelihood += part.log_likelihood;
        }
    }
    all
}

/// The sums of one task.
fn part(
    first: usize,
    columns: &[[f64; LANES]],
    d: usize,
    around: &[f64],
    oblique: bool,
    k: usize,
    find: &impl Fn(usize, &[[f64; LANES]], &mut [[f64; LANES]], &mut [[f64; LANES]]) -> f64,
) -> Sums {
    let size = size(d, oblique);
    let zero = [0.0; LANES];
    let (mut shares, mut away) = (vec![zero; k], vec![zero; d]);
    // In lanes until the end, where each is summed up in one order.
    let (mut counts, mut firsts) = (vec![zero; k], vec![zero; k * d]);
    let mut seconds = vec![zero; k * size];
    let mut log_likelihood = 0.0;
    vectorize(
        #[inline(always)]
        || {
            for (block, columns) in columns.chunks_exact(d).enumerate() {
                log_likelihood += find(first + block * LANES, columns, &mut shares, &mut away);
                for (component, shares) in shares.iter().enumerate() {
                    // Most rows are all but surely of one component.
                    if shares.iter().all(|&share| share == 0.0) {
                        continue;
                    }
                    difference(columns, &around[component * d..][..d], &mut away);
                    let seconds = &mut seconds[component * size..][..size];
                    let mut at = 0;
                    for axis in 0..d {
                        let mut weighted = away[axis];
                        weighted.iter_mut().zip(shares).for_each(|(x, r)| *x *= r);
                        add(&mut firsts[component * d + axis], &weighted);
                        for other in &away[if oblique { 0 } else { axis }..=axis] {
                            for lane in 0..LANES {
                                seconds[at][lane] += weighted[lane] * other[lane];
                            }
                            at += 1;
                        }
                    }
                    add(&mut counts[component], shares);
                }
            }
        },
    );
    let flat = |lanes: Vec<[f64; LANES]>| lanes.iter().map(|lanes| lanes.iter().sum()).collect();
    Sums {
        d,
        around: Vec::new(),
        counts: flat(counts),
        first: flat(firsts),
        second: flat(seconds),
        log_likelihood,
    }
}

#[inline(always)]
fn add(into: &mut [f64; LANES], more: &[f64; LANES]) {
    into.iter_mut().zip(more).for_each(|(x, y)| *x += y);
}
