//! Approximate nearest neighbours: NN-descent (Dong, Moses, Li 2011) from a forest of random projections, as pynndescent
//! does, but with one result for every number of threads.
//!
//! A row's list holds the nearest of all that was ever offered to it, in the order (distance, row). So it does not matter
//! who offers first. What else could depend on the order of work does not occur: candidates are chosen between rounds,
//! by a hash, and a round ends when all its pairs are compared. Distances are summed up in f32 in fixed lanes, and those
//! of the result anew in f64.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use ndarray::Array2;
use rayon::prelude::*;

use super::{Neighbours, squared_distance};
use crate::random::Stream;
use crate::simd::vectorize;

/// Trees of the forest.
const TREES: usize = 6;
/// Rows in a leaf, at most, and at least twice the length of a list.
const LEAF: usize = 96;
/// Neighbours kept beyond those wanted.
const SPARE: usize = 6;
/// Candidates of each sort (new, old) that a row brings together in a round.
const CANDIDATES: usize = 30;
/// Rounds at most, and the part of new entries below which there are no more.
const ROUNDS: usize = 20;
const FEW: f64 = 0.002;

/// Below this number of rows the approximate search gains nothing: the search is exact.
pub(super) fn least_rows(k: usize) -> usize {
    4 * leaf_rows(k)
}

fn leaf_rows(k: usize) -> usize {
    LEAF.max(2 * (k + SPARE + 2))
}

/// Finds most of the `k` nearest others of each row of points `[n, d]`, with squared distances. `progress` is called with
/// each further part of the work that is done, all of it being 1.
pub(super) fn nearest(
    points: &Array2<f32>,
    k: usize,
    seed: u64,
    progress: &(dyn Fn(f64) + Sync),
) -> Neighbours {
    let (n, d) = points.dim();
    let points = points
        .as_slice()
        .expect("owned arrays are in standard layout");
    let rows = Rows { points, d };
    let lists = Lists::new(n, k + SPARE);
    (0..TREES).into_par_iter().for_each(|tree| {
        let all = (0..n as u32).collect();
        rows.split(
            all,
            leaf_rows(k),
            Stream::new(seed, 1000 + tree as u64),
            &lists,
        );
        progress(0.25 / TREES as f64);
    });
    let mut left = 0.75;
    for round in 0..ROUNDS {
        let candidates = lists.candidates(seed, round as u64);
        candidates
            .par_iter()
            .for_each(|candidates| rows.join(candidates, &lists));
        // The first rounds are the long ones.
        progress(left * 0.3);
        left *= 0.7;
        if lists.new_entries() as f64 <= FEW * (n * k) as f64 {
            break;
        }
    }
    progress(left);
    let mut result = Neighbours {
        k,
        index: vec![0; n * k],
        distance: vec![0.0; n * k],
    };
    (result.index.par_chunks_mut(k))
        .zip(result.distance.par_chunks_mut(k))
        .zip(lists.rows)
        .enumerate()
        .for_each(|(row, ((index, distance), list))| {
            let list = list.into_inner().unwrap_or_else(|e| e.into_inner());
            let mut found: Vec<(f64, u32)> = vectorize(
                #[inline(always)]
                || {
                    (list.iter())
                        .map(|entry| {
                            let other = rows.row(entry.row);
                            (squared_distance(rows.row(row as u32), other), entry.row)
                        })
                        .collect()
                },
            );
            found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (i, &(to, other)) in found[..k].iter().enumerate() {
                index[i] = other;
                distance[i] = to;
            }
        });
    result
}

struct Rows<'a> {
    points: &'a [f32],
    d: usize,
}

impl Rows<'_> {
    #[inline(always)]
    fn row(&self, row: u32) -> &[f32] {
        &self.points[row as usize * self.d..(row as usize + 1) * self.d]
    }

    /// One tree: halves the rows at the median along the line through two of them, down to leaves, in which all meet all.
    fn split(&self, mut rows: Vec<u32>, leaf: usize, mut random: Stream, lists: &Lists) {
        if rows.len() <= leaf {
            self.join(
                &Candidates {
                    new: rows,
                    old: Vec::new(),
                },
                lists,
            );
            return;
        }
        let a = self.row(rows[random.below(rows.len())]);
        let b = self.row(rows[random.below(rows.len())]);
        let line: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let mut along: Vec<(f32, u32)> = vectorize(
            #[inline(always)]
            || {
                (rows.iter())
                    .map(|&row| (sum_of(self.row(row), &line, |x, y| x * y), row))
                    .collect()
            },
        );
        let half = along.len() / 2;
        along.select_nth_unstable_by(half, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        rows.clear();
        let mut side = |part: &[(f32, u32)]| {
            // The order of rows decides the next draws: it must not be that which the selection leaves behind.
            let mut side: Vec<u32> = part.iter().map(|&(_, row)| row).collect();
            side.sort_unstable();
            (side, Stream::new(random.next(), 0))
        };
        let (left, right) = (side(&along[..half]), side(&along[half..]));
        drop(along);
        rayon::join(
            || self.split(left.0, leaf, left.1, lists),
            || self.split(right.0, leaf, right.1, lists),
        );
    }

    /// Compares candidates, the new with all, and offers them to each other.
    fn join(&self, candidates: &Candidates, lists: &Lists) {
        let mut distances = Vec::new();
        for (i, &row) in candidates.new.iter().enumerate() {
            let others = || candidates.new[i + 1..].iter().chain(&candidates.old);
            distances.clear();
            vectorize(
                #[inline(always)]
                || {
                    distances.extend(others().map(|&other| {
                        sum_of(self.row(row), self.row(other), |x, y| (x - y) * (x - y))
                    }));
                },
            );
            for (&other, &distance) in others().zip(&distances) {
                if other != row {
                    lists.offer(row, other, distance);
                    lists.offer(other, row, distance);
                }
            }
        }
    }
}

/// The sum of a term over two rows, in 32 lanes whose order of summation no machine changes.
#[inline(always)]
fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    const LANES: usize = 32;
    let mut lanes = [0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[lane] += term(a, b);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// One of a row's neighbours.
#[derive(Clone, Copy)]
struct Entry {
    distance: f32,
    row: u32,
    /// Not yet brought together with the others.
    new: bool,
}

/// The nearest of each row that were offered so far.
struct Lists {
    length: usize,
    rows: Vec<Mutex<Vec<Entry>>>,
    /// The distance of the last entry of each full list, as the bits of a non-negative f32.
    farthest: Vec<AtomicU32>,
}

/// Rows to bring together: the new with each other and with the old.
struct Candidates {
    new: Vec<u32>,
    old: Vec<u32>,
}

impl Lists {
    fn new(n: usize, length: usize) -> Self {
        Lists {
            length,
            rows: (0..n)
                .map(|_| Mutex::new(Vec::with_capacity(length + 1)))
                .collect(),
            farthest: (0..n)
                .map(|_| AtomicU32::new(f32::INFINITY.to_bits()))
                .collect(),
        }
    }

    fn lock(&self, row: usize) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.rows[row].lock().unwrap_or_else(|e| e.into_inner())
    }

    #[inline(always)]
    fn offer(&self, row: u32, other: u32, distance: f32) {
        let farthest = &self.farthest[row as usize];
        if distance > f32::from_bits(farthest.load(Ordering::Relaxed)) {
            return;
        }
        let mut list = self.lock(row as usize);
        let place = list.partition_point(|entry| {
            entry.distance < distance || (entry.distance == distance && entry.row < other)
        });
        if place == self.length || list.get(place).is_some_and(|entry| entry.row == other) {
            return;
        }
        let entry = Entry {
            distance,
            row: other,
            new: true,
        };
        list.insert(place, entry);
        list.truncate(self.length);
        if list.len() == self.length {
            farthest.store(list[self.length - 1].distance.to_bits(), Ordering::Relaxed);
        }
    }

    fn new_entries(&self) -> usize {
        (0..self.rows.len())
            .into_par_iter()
            .map(|row| self.lock(row).iter().filter(|entry| entry.new).count())
            .sum()
    }

    /// For each row some of those that it has as neighbours or that have it. Neighbours that are chosen as new are old
    /// from then on.
    fn candidates(&self, seed: u64, round: u64) -> Vec<Candidates> {
        let n = self.rows.len();
        // Who has a row among its neighbours, as compressed rows of (row, whether it is new there).
        let mut begin = vec![0usize; n + 1];
        for row in 0..n {
            for entry in self.lock(row).iter() {
                begin[entry.row as usize + 1] += 1;
            }
        }
        for row in 0..n {
            begin[row + 1] += begin[row];
        }
        let mut at = begin.clone();
        let mut back = vec![(0u32, false); begin[n]];
        for row in 0..n {
            for entry in self.lock(row).iter() {
                let at = &mut at[entry.row as usize];
                back[*at] = (row as u32, entry.new);
                *at += 1;
            }
        }
        (0..n)
            .into_par_iter()
            .map(|row| {
                let mut list = self.lock(row);
                let mut both: Vec<(u32, bool)> = (list.iter())
                    .map(|entry| (entry.row, entry.new))
                    .chain(back[begin[row]..begin[row + 1]].iter().copied())
                    .collect();
                // Of the two directions of one edge the new one comes first, and stays.
                both.sort_unstable_by_key(|&(other, new)| (other, !new));
                both.dedup_by_key(|edge| edge.0);
                let key = Stream::new(seed, round << 32 | row as u64).next();
                let choose = |wanted: bool| {
                    let mut chosen: Vec<(u64, u32)> = (both.iter())
                        .filter(|&&(_, new)| new == wanted)
                        .map(|&(other, _)| (Stream::new(key, u64::from(other)).next(), other))
                        .collect();
                    if chosen.len() > CANDIDATES {
                        chosen.select_nth_unstable(CANDIDATES);
                        chosen.truncate(CANDIDATES);
                    }
                    let mut chosen: Vec<u32> = chosen.into_iter().map(|one| one.1).collect();
                    chosen.sort_unstable();
                    chosen
                };
                let candidates = Candidates {
                    new: choose(true),
                    old: choose(false),
                };
                for entry in list.iter_mut().filter(|entry| entry.new) {
                    entry.new = candidates.new.binary_search(&entry.row).is_err();
                }
                candidates
            })
            .collect()
    }
}
