//! The layout: stochastic gradient descent with negative sampling, parallel and yet deterministic.
//!
//! A seeded permutation puts the vertices into a fixed number of blocks. Edges belong to the pair of blocks of their
//! head and tail. A round-robin tournament lets each task own two blocks: it moves its edges' ends in place, in a fixed
//! order, and takes negative samples from the tails' block, with a generator keyed by (seed, epoch, round, block). So the
//! result does not depend on the number of threads; and since no library function is called here, not on the machine either.
//!
//! Each edge is there in both directions, and an epoch that samples one samples the other. The tournament is held twice, once
//! for each direction: two close points that are pulled at twice in a row overshoot, and long clusters come out bent.
//! The blocks of the tails change from round to round, so that a vertex is pushed away by all others about evenly.

use std::sync::Mutex;

use rayon::prelude::*;

use super::graph::Graph;
use crate::random::Stream;
use crate::simd::vectorize;

/// Blocks of vertices. The number is part of the result: another one gives another layout.
const BLOCKS: usize = 16;
/// Below this many vertices a block would hold too few to draw negative samples from: there are fewer blocks then.
const LEAST_IN_BLOCK: usize = 32;
/// Negative samples for each sample of an edge.
pub(super) const NEGATIVES: usize = 5;
/// What a coordinate may move by in a step of learning rate 1.
pub(super) const CLIP: f32 = 4.0;

/// Moves the points `[n, dim]`, dim at most 64, for some epochs. `each` is called after every epoch.
pub(super) fn optimise(
    graph: &Graph,
    points: &mut [f32],
    dim: usize,
    epochs: usize,
    curve: (f64, f64),
    seed: u64,
    each: &(dyn Fn() + Sync),
) {
    // Columns of zeros beside the points' own stay zeros: only these widths need to be compiled.
    match dim {
        0..=2 => run::<2>(graph, points, dim, epochs, curve, seed, each),
        3..=4 => run::<4>(graph, points, dim, epochs, curve, seed, each),
        5..=8 => run::<8>(graph, points, dim, epochs, curve, seed, each),
        9..=16 => run::<16>(graph, points, dim, epochs, curve, seed, each),
        _ => run::<64>(graph, points, dim, epochs, curve, seed, each),
    }
}

fn run<const L: usize>(
    graph: &Graph,
    points: &mut [f32],
    dim: usize,
    epochs: usize,
    curve: (f64, f64),
    seed: u64,
    each: &(dyn Fn() + Sync),
) {
    let n = graph.len();
    let count = (n / LEAST_IN_BLOCK).clamp(1, BLOCKS);
    // Vertex -> block and place in it.
    let mut order: Vec<usize> = (0..n).collect();
    let mut random = Stream::new(seed, 1);
    for i in (1..n).rev() {
        order.swap(i, random.below(i + 1));
    }
    let begin = |block: usize| block * n / count;
    let mut home = vec![(0u32, 0u32); n];
    let mut blocks: Vec<Mutex<Vec<[f32; L]>>> = Vec::with_capacity(count);
    for block in 0..count {
        let members = &order[begin(block)..begin(block + 1)];
        let mut places = vec![[0f32; L]; members.len()];
        for (place, &vertex) in members.iter().enumerate() {
            home[vertex] = (block as u32, place as u32);
            places[place][..dim].copy_from_slice(&points[vertex * dim..(vertex + 1) * dim]);
        }
        blocks.push(Mutex::new(places));
    }
    let sizes: Vec<usize> = (0..count)
        .map(|block| begin(block + 1) - begin(block))
        .collect();
    let mut rounds = deal(graph, &home, &sizes, &order);
    let tables = Tables::new(curve);

    // Epoch 0 samples no edge.
    each();
    for epoch in 1..epochs {
        // As the reference does: full in epoch 1, and not quite 0 in the last.
        let rate = 1.0 - (epoch - 1) as f32 / epochs as f32;
        for (turn, round) in rounds.iter_mut().enumerate() {
            round.par_iter_mut().for_each_init(
                || (Vec::new(), Vec::new()),
                |(places, due), pair| {
                    let key = (epoch as u64) << 32 | (turn as u64) << 16 | u64::from(pair.a);
                    let mut random = Stream::new(seed, key);
                    let lock = |block: u32| {
                        blocks[block as usize]
                            .lock()
                            .unwrap_or_else(|e| e.into_inner())
                    };
                    // No one else wants these two in this round.
                    let (only, second) = (pair.a == pair.b, pair.b);
                    let mut a = lock(pair.a);
                    places.clear();
                    places.extend_from_slice(&a);
                    let mut step = |places: &mut [[f32; L]], tails: usize| {
                        vectorize(
                            #[inline(always)]
                            || {
                                let time = (epoch as f32, rate);
                                pair.step(places, tails, due, time, &tables, &mut random);
                            },
                        );
                    };
                    if only {
                        step(places, 0);
                        a.copy_from_slice(places);
                    } else {
                        let mut b = lock(second);
                        places.extend_from_slice(&b);
                        step(places, a.len());
                        let (left, right) = places.split_at(a.len());
                        a.copy_from_slice(left);
                        b.copy_from_slice(right);
                    }
                },
            );
        }
        each();
    }

    for (block, places) in blocks.into_iter().enumerate() {
        let places = places.into_inner().unwrap_or_else(|e| e.into_inner());
        for (place, &vertex) in places.iter().zip(&order[begin(block)..begin(block + 1)]) {
            points[vertex * dim..(vertex + 1) * dim].copy_from_slice(&place[..dim]);
        }
    }
}

/// The edges from one block to another (or within one, in one direction), and when each is sampled next.
struct Pair {
    /// The block of the heads.
    a: u32,
    /// The block of the tails.
    b: u32,
    /// Head and tail, as places in `a` followed by `b`.
    edges: Vec<(u32, u32)>,
    /// Epochs from one sample to the next.
    period: Vec<f32>,
    next: Vec<f32>,
}

impl Pair {
    fn new(a: usize, b: usize) -> Self {
        Pair {
            a: a as u32,
            b: b as u32,
            edges: Vec::new(),
            period: Vec::new(),
            next: Vec::new(),
        }
    }

    /// One epoch of these edges, at (epoch, learning rate). The places from `tails` on are the tails' block.
    #[inline(always)]
    fn step<const L: usize>(
        &mut self,
        places: &mut [[f32; L]],
        tails: usize,
        due: &mut Vec<u32>,
        (epoch, rate): (f32, f32),
        tables: &Tables,
        random: &mut Stream,
    ) {
        due.resize(self.edges.len(), 0);
        let mut count = 0;
        for (i, (next, period)) in self.next.iter_mut().zip(&self.period).enumerate() {
            due[count] = i as u32;
            let now = *next <= epoch;
            count += usize::from(now);
            *next += if now { *period } else { 0.0 };
        }
        let size = (places.len() - tails) as u64;
        for &i in &due[..count] {
            let (head, tail) = self.edges[i as usize];
            let (head, tail) = (head as usize, tail as usize);
            let (mut here, mut there) = (places[head], places[tail]);
            let (apart, distance) = difference(&here, &there);
            let pull = tables.pull.at(distance);
            for lane in 0..L {
                let step = (pull * apart[lane]).clamp(-CLIP, CLIP) * rate;
                here[lane] += step;
                there[lane] -= step;
            }
            places[tail] = there;
            places[head] = here;
            // One after the other, each from where the last one left the head: all from one place overshoots where points
            // lie close.
            let draws = [random.next(), random.next(), random.next()];
            for k in 0..NEGATIVES {
                let draw = (draws[k / 2] >> (32 * (k % 2))) & 0xffff_ffff;
                let other = tails + ((draw * size) >> 32) as usize;
                if other == head {
                    continue;
                }
                let (apart, distance) = difference(&here, &places[other]);
                let push = tables.push.at(distance);
                for lane in 0..L {
                    here[lane] += (push * apart[lane]).clamp(-CLIP, CLIP) * rate;
                }
            }
            places[head] = here;
        }
    }
}

/// The difference of two points and its squared length.
#[inline(always)]
pub(super) fn difference<const L: usize>(a: &[f32; L], b: &[f32; L]) -> ([f32; L], f32) {
    let mut apart = [0f32; L];
    let mut square = [0f32; L];
    for lane in 0..L {
        apart[lane] = a[lane] - b[lane];
        square[lane] = apart[lane] * apart[lane];
    }
    // Added up as a tree: a short chain, and one order on every machine.
    let mut width = L / 2;
    while width > 0 {
        for lane in 0..width {
            square[lane] += square[lane + width];
        }
        width /= 2;
    }
    (apart, square[0])
}

/// Who meets whom: rounds in which no block occurs twice. The first has each block with itself.
fn tournament(count: usize) -> Vec<Vec<(usize, usize)>> {
    let mut rounds = vec![(0..count).map(|block| (block, block)).collect::<Vec<_>>()];
    if count < 2 {
        return rounds;
    }
    // The circle method; with an odd number one block rests in each round.
    let seats = count + count % 2;
    for round in 0..seats - 1 {
        let seat = |i: usize| {
            if i == 0 {
                0
            } else {
                (i - 1 + round) % (seats - 1) + 1
            }
        };
        rounds.push(
            (0..seats / 2)
                .map(|i| (seat(i), seat(seats - 1 - i)))
                .filter(|&(a, b)| a < count && b < count)
                .map(|(a, b)| (a.min(b), a.max(b)))
                .collect(),
        );
    }
    rounds
}

/// Gives each edge to the pair of its blocks: first one edge of each vertex, then the next of each, and so on. Steps that
/// follow each other then move other vertices, and the processor can overlap them. The rounds are those of the tournament,
/// with the heads in the lower block (or place, within one), then again, with the heads in the higher one.
fn deal(graph: &Graph, home: &[(u32, u32)], sizes: &[usize], order: &[usize]) -> Vec<Vec<Pair>> {
    let count = sizes.len();
    let meetings = tournament(count);
    let mut rounds = Vec::with_capacity(2 * meetings.len());
    for back in [false, true] {
        rounds.extend(meetings.iter().map(|round| {
            (round.iter())
                .map(|&(a, b)| {
                    if back {
                        Pair::new(b, a)
                    } else {
                        Pair::new(a, b)
                    }
                })
                .collect::<Vec<_>>()
        }));
    }
    let mut place_of = vec![(0, 0); count * count];
    for (round, pairs) in meetings.iter().enumerate() {
        for (i, &(a, b)) in pairs.iter().enumerate() {
            place_of[a * count + b] = (round, i);
            place_of[b * count + a] = (round, i);
        }
    }
    let heaviest = graph.heaviest();
    let mut left = order.to_vec();
    for turn in 0.. {
        left.retain(|&vertex| graph.start[vertex] + turn < graph.start[vertex + 1]);
        if left.is_empty() {
            break;
        }
        for &vertex in &left {
            let edge = graph.start[vertex] + turn;
            let (head, tail) = (home[vertex], home[graph.column[edge] as usize]);
            let (round, i) = place_of[head.0 as usize * count + tail.0 as usize];
            let back = if head < tail { 0 } else { meetings.len() };
            let pair = &mut rounds[back + round][i];
            // Places of another block `b` follow those of `a`.
            let shift = if head.0 == tail.0 {
                0
            } else {
                sizes[head.0 as usize] as u32
            };
            pair.edges.push((head.1, tail.1 + shift));
            pair.period.push(heaviest / graph.weight[edge]);
            pair.next.push(heaviest / graph.weight[edge]);
        }
    }
    rounds
}

/// The gradient's factors by squared distance.
pub(super) struct Tables {
    /// -2ab d^(2b-2) / (1 + a d^2b): towards the other point.
    pub pull: Table,
    /// 2b / ((0.001 + d^2)(1 + a d^2b)): away from it.
    pub push: Table,
}

impl Tables {
    pub fn new((a, b): (f64, f64)) -> Self {
        let power = |square: f64| libm::pow(square, b);
        Tables {
            pull: Table::new(|square| {
                -2.0 * a * b * power(square) / square / (1.0 + a * power(square))
            }),
            push: Table::new(|square| 2.0 * b / ((0.001 + square) * (1.0 + a * power(square)))),
        }
    }
}

/// A function of a positive number, linear between 32 places in each octave from 2^-40 to 2^24; constant beyond.
pub(super) struct Table(Box<[(f32, f32); 2048]>);

const LOWEST: f32 = 1.0 / (1u64 << 40) as f32;
const HIGHEST: f32 = (1 << 24) as f32;

impl Table {
    fn new(function: impl Fn(f64) -> f64) -> Self {
        let mut table = Box::new([(0.0, 0.0); 2048]);
        for (i, entry) in table.iter_mut().enumerate() {
            let place = |i: usize| f32::from_bits(LOWEST.to_bits() + ((i as u32) << 18));
            let (left, right) = (
                function(f64::from(place(i))),
                function(f64::from(place(i + 1))),
            );
            *entry = (left as f32, (right - left) as f32);
        }
        Table(table)
    }

    #[inline(always)]
    pub fn at(&self, x: f32) -> f32 {
        let bits = x.clamp(LOWEST, HIGHEST.next_down()).to_bits() - LOWEST.to_bits();
        let (value, slope) = self.0[(bits >> 18) as usize & 2047];
        value + slope * ((bits & 0x3_ffff) as f32 * (1.0 / 262_144.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_blocks_meets_once_and_no_block_twice_in_a_round() {
        for count in [1, 2, 5, 16] {
            let mut met = vec![0; count * count];
            for round in tournament(count) {
                let mut busy = vec![false; count];
                for (a, b) in round {
                    met[a * count + b] += 1;
                    assert!(!std::mem::replace(&mut busy[a], true));
                    assert!(a == b || !std::mem::replace(&mut busy[b], true));
                }
            }
            for a in 0..count {
                for b in 0..count {
                    assert_eq!(met[a * count + b], usize::from(a <= b), "{count}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn the_table_is_close_to_the_function() {
        let table = Table::new(|x| 1.0 / (1.0 + x));
        for x in [1e-6f32, 0.01, 0.3, 1.0, 2.7, 900.0] {
            let wanted = 1.0 / (1.0 + x);
            assert!((table.at(x) - wanted).abs() < 3e-4 * wanted, "{x}");
        }
        assert!(table.at(0.0).is_finite() && table.at(f32::MAX).is_finite());
    }
}
