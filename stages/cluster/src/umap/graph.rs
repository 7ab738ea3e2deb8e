//! The fuzzy neighbourhood graph (McInnes, Healy, Melville 2018, sections 2 and 3).

use rayon::prelude::*;

use crate::knn::Neighbours;

/// A symmetric weighted graph in compressed rows; columns ascend within a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Graph {
    /// Where each row begins, and the end.
    pub start: Vec<usize>,
    pub column: Vec<u32>,
    pub weight: Vec<f32>,
}

impl Graph {
    /// The fuzzy union of the rows' neighbourhoods: w + wᵀ - w∘wᵀ.
    pub fn new(neighbours: &Neighbours) -> Self {
        let k = neighbours.k;
        let n = neighbours.index.len() / k;
        let mean = neighbours.distance.iter().sum::<f64>() / (n * (k + 1)) as f64;
        let weight: Vec<f32> = (neighbours.distance.par_chunks(k))
            .flat_map_iter(|distances| {
                let (rho, sigma) = smooth(distances, mean);
                distances.iter().map(move |&distance| {
                    let beyond = (distance - rho).max(0.0);
                    if beyond == 0.0 || sigma == 0.0 {
                        1.0
                    } else {
                        libm::exp(-beyond / sigma) as f32
                    }
                })
            })
            .collect();
        // Each directed edge as (row, column, weight there, weight back): the two directions meet in a sort.
        let mut start = vec![0usize; n + 1];
        for (i, &j) in neighbours.index.iter().enumerate() {
            start[i / k + 1] += 1;
            start[j as usize + 1] += 1;
        }
        for i in 0..n {
            start[i + 1] += start[i];
        }
        let mut at = start.clone();
        let mut slots = vec![(0u32, false, 0f32); 2 * n * k];
        for (i, (&j, &weight)) in neighbours.index.iter().zip(&weight).enumerate() {
            let (row, other) = (i / k, j as usize);
            slots[at[row]] = (j, false, weight);
            at[row] += 1;
            slots[at[other]] = (row as u32, true, weight);
            at[other] += 1;
        }
        let mut graph = Graph {
            start: vec![0],
            column: Vec::with_capacity(n * k),
            weight: Vec::with_capacity(n * k),
        };
        for row in 0..n {
            let slots = &mut slots[start[row]..start[row + 1]];
            slots.sort_unstable_by_key(|slot| (slot.0, slot.1));
            for same in slots.chunk_by(|a, b| a.0 == b.0) {
                let weight = match same {
                    // The same formula from both ends, whatever the order: the graph is symmetric to the bit.
                    [a, b] => (a.2 + b.2) - a.2 * b.2,
                    one => one[0].2,
                };
                graph.column.push(same[0].0);
                graph.weight.push(weight);
            }
            graph.start.push(graph.column.len());
        }
        graph
    }

    /// Number of vertices.
    pub fn len(&self) -> usize {
        self.start.len() - 1
    }

    /// Neighbours and weights of a row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let range = self.start[row]..self.start[row + 1];
        (self.column[range.clone()].iter().zip(&self.weight[range])).map(|(&j, &w)| (j as usize, w))
    }

    /// The largest weight; 0 where there are no edges.
    pub fn heaviest(&self) -> f32 {
        self.weight.iter().copied().fold(0.0, f32::max)
    }

    /// Drops the edges lighter than `least`, and those of weight 0.
    pub fn prune(&mut self, least: f32) {
        let old = std::mem::replace(
            self,
            Graph {
                start: vec![0],
                column: Vec::new(),
                weight: Vec::new(),
            },
        );
        for row in 0..old.len() {
            for (j, weight) in old
                .row(row)
                .filter(|&(_, weight)| weight >= least && weight > 0.0)
            {
                self.column.push(j as u32);
                self.weight.push(weight);
            }
            self.start.push(self.column.len());
        }
    }

    /// The connected components, each as its vertices in ascending order, ordered by their first vertex.
    pub fn components(&self) -> Vec<Vec<usize>> {
        let mut seen = vec![false; self.len()];
        let mut components = Vec::new();
        for first in 0..self.len() {
            if std::mem::replace(&mut seen[first], true) {
                continue;
            }
            let mut found = vec![first];
            let mut next = 0;
            while next < found.len() {
                for (j, _) in self.row(found[next]) {
                    if !std::mem::replace(&mut seen[j], true) {
                        found.push(j);
                    }
                }
                next += 1;
            }
            found.sort_unstable();
            components.push(found);
        }
        components
    }

    /// The graph among some vertices (ascending, closed under edges), numbered anew in their order.
    pub fn part(&self, vertices: &[usize]) -> Graph {
        let mut number = vec![u32::MAX; self.len()];
        for (i, &vertex) in vertices.iter().enumerate() {
            number[vertex] = i as u32;
        }
        let mut part = Graph {
            start: vec![0],
            column: Vec::new(),
            weight: Vec::new(),
        };
        for &vertex in vertices {
            for (j, weight) in self.row(vertex) {
                part.column.push(number[j]);
                part.weight.push(weight);
            }
            part.start.push(part.column.len());
        }
        part
    }
}

/// The distance `rho` to the nearest neighbour that is not at distance 0, and the `sigma` for which the memberships
/// exp(-(d - rho) / sigma) sum to log2 of the neighbourhood's size (the point itself counts).
fn smooth(distances: &[f64], mean: f64) -> (f64, f64) {
    let rho = distances.iter().copied().find(|&d| d > 0.0).unwrap_or(0.0);
    let sigma = width(distances, rho);
    // The point itself counts into the mean, at distance 0.
    let own_mean = distances.iter().sum::<f64>() / (distances.len() + 1) as f64;
    (
        rho,
        sigma.max(1e-3 * if rho > 0.0 { own_mean } else { mean }),
    )
}

/// The weights of the edges from a new point to its neighbours, at these distances, nearest first and above 0. As the reference
/// has it, with `rho` 0; and the nearest does not count for the sum, whose place the point itself has among training points.
pub(super) fn weights_of_new(distances: &[f64]) -> Vec<f32> {
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    let sigma = width(&distances[1..], 0.0).max(1e-3 * mean);
    (distances.iter())
        .map(|distance| libm::exp(-distance / sigma) as f32)
        .collect()
}

/// The `sigma` for which the memberships exp(-(d - rho) / sigma) sum to log2 of their number and one.
fn width(distances: &[f64], rho: f64) -> f64 {
    let target = libm::log2((distances.len() + 1) as f64);
    let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..64 {
        let sum: f64 = (distances.iter())
            .map(|&d| {
                if d > rho {
                    libm::exp(-(d - rho) / sigma)
                } else {
                    1.0
                }
            })
            .sum();
        if (sum - target).abs() < 1e-5 {
            break;
        }
        if sum > target {
            high = sigma;
            sigma = (low + high) / 2.0;
        } else {
            low = sigma;
            sigma = if high == f64::INFINITY {
                sigma * 2.0
            } else {
                (low + high) / 2.0
            };
        }
    }
    sigma
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_sum_to_the_logarithm_of_the_neighbourhood() {
        let distances: Vec<f64> = (1..30).map(|i| 1.0 + 0.1 * f64::from(i)).collect();
        let (rho, sigma) = smooth(&distances, 2.0);
        let sum: f64 = distances
            .iter()
            .map(|d| (-(d - rho).max(0.0) / sigma).exp())
            .sum();
        assert_eq!(rho, 1.1);
        assert!((sum - 30f64.log2()).abs() < 1e-5);
    }

    #[test]
    fn the_union_is_symmetric_and_of_probabilities() {
        let neighbours = Neighbours {
            k: 2,
            index: vec![1, 2, 0, 2, 0, 1, 2, 0],
            distance: vec![1.0, 2.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0],
        };
        let graph = Graph::new(&neighbours);
        for i in 0..graph.len() {
            for (j, weight) in graph.row(i) {
                assert!((0.0..=1.0).contains(&weight));
                assert!(graph.row(j).any(|back| back == (i, weight)));
            }
        }
        assert_eq!(graph.components(), vec![vec![0, 1, 2, 3]]);
    }
}
