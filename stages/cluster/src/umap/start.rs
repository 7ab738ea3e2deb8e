//! Where the layout starts from: the spectral embedding of the graph, component by component.

use ndarray::{Array2, ArrayView2};

use super::eigen;
use super::graph::Graph;
use crate::pca::Pca;
use crate::random::Stream;

/// A start `[n, dim]` with each axis in 0..10, the number of connected components, and what the user should know.
pub(super) fn start(
    points: ArrayView2<f32>,
    graph: &Graph,
    dim: usize,
    seed: u64,
) -> (Vec<f32>, usize, Vec<String>) {
    let n = graph.len();
    let mut random = Stream::new(seed, 2);
    let mut warnings = Vec::new();
    let components = graph.components();
    let mut layout = vec![0f64; n * dim];
    let centres = if components.len() == 1 {
        vec![0.0; dim]
    } else {
        centres(points, &components, dim, &mut random, &mut warnings)
    };
    for (i, component) in components.iter().enumerate() {
        let centre = &centres[i * dim..(i + 1) * dim];
        let reach = reach(&centres, i, dim);
        let found = if is_small(component.len(), dim) {
            None
        } else if components.len() == 1 {
            spectral(points, graph, component, dim, &mut random, &mut warnings)
        } else {
            spectral(
                points,
                &graph.part(component),
                component,
                dim,
                &mut random,
                &mut warnings,
            )
        };
        match found {
            None => {
                for &vertex in component {
                    for (axis, &centre) in centre.iter().enumerate() {
                        layout[vertex * dim + axis] = centre + reach * (2.0 * random.unit() - 1.0);
                    }
                }
            }
            Some(found) => {
                let widest = found.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
                let scale = if widest > 0.0 { reach / widest } else { 0.0 };
                for (place, &vertex) in component.iter().enumerate() {
                    for (axis, &centre) in centre.iter().enumerate() {
                        layout[vertex * dim + axis] = centre + scale * found[place * dim + axis];
                    }
                }
            }
        }
    }
    // To 10, with a little noise against coincident points; then each axis to 0..10.
    let widest = layout.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let scale = if widest > 0.0 { 10.0 / widest } else { 1.0 };
    for x in &mut layout {
        *x = *x * scale + 1e-4 * random.normal();
    }
    let mut result = vec![0f32; n * dim];
    for axis in 0..dim {
        let values = || layout.iter().skip(axis).step_by(dim).copied();
        let (low, high) = (
            values().fold(f64::INFINITY, f64::min),
            values().fold(f64::NEG_INFINITY, f64::max),
        );
        let span = if high > low { high - low } else { 1.0 };
        for (into, x) in result.iter_mut().skip(axis).step_by(dim).zip(values()) {
            *into = (10.0 * (x - low) / span) as f32;
        }
    }
    (result, components.len(), warnings)
}

/// Whether a component of `n` points has too few for a spectral embedding in `dim` dimensions.
pub(super) fn is_small(n: usize, dim: usize) -> bool {
    n < 2 * dim || n <= dim + 1
}

/// The spectral embedding of one connected graph, or the first principal components of its points.
fn spectral(
    points: ArrayView2<f32>,
    graph: &Graph,
    vertices: &[usize],
    dim: usize,
    random: &mut Stream,
    warnings: &mut Vec<String>,
) -> Option<Vec<f64>> {
    if let Some(found) = eigen::laplacian(graph, dim, random) {
        return Some(found);
    }
    warnings.push(format!(
        "the spectral start of a component of {} points did not converge: it starts from principal components",
        vertices.len()
    ));
    principal(&points.select(ndarray::Axis(0), vertices), dim)
}

/// The first principal components; columns beyond the data's own are 0.
fn principal(points: &Array2<f32>, dim: usize) -> Option<Vec<f64>> {
    let (n, d) = points.dim();
    let scores = Pca::new(dim.min(n).min(d)).fit(points.view()).ok()?.scores;
    let mut padded = vec![0.0; n * dim];
    for ((row, column), &x) in scores.indexed_iter() {
        padded[row * dim + column] = f64::from(x);
    }
    Some(padded)
}

/// Where the components go `[components, dim]`: a few on the axes, more by the spectral embedding of their centroids.
fn centres(
    points: ArrayView2<f32>,
    components: &[Vec<usize>],
    dim: usize,
    random: &mut Stream,
    warnings: &mut Vec<String>,
) -> Vec<f64> {
    let count = components.len();
    let mut centres = vec![0.0; count * dim];
    if count <= 2 * dim {
        let half = count.div_ceil(2);
        for i in 0..count {
            let (axis, sign) = if i < half { (i, 1.0) } else { (i - half, -1.0) };
            centres[i * dim + axis] = sign;
        }
        return centres;
    }
    let d = points.ncols();
    let centroids = Array2::from_shape_fn((count, d), |(i, column)| {
        let sum: f64 = components[i]
            .iter()
            .map(|&row| f64::from(points[[row, column]]))
            .sum();
        (sum / components[i].len() as f64) as f32
    });
    // A dense graph of very many centroids costs more than it tells.
    let found = if count <= 1000 && count > dim + 1 {
        eigen::laplacian(&affinity(&centroids), dim, random)
    } else {
        None
    };
    let found = found.or_else(|| {
        warnings.push(format!(
            "{count} components are placed by the principal components of their centroids"
        ));
        principal(&centroids, dim)
    });
    if let Some(found) = found {
        let widest = found.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        for (into, x) in centres.iter_mut().zip(found) {
            *into = x / widest.max(f64::MIN_POSITIVE);
        }
    }
    centres
}

/// exp(-d²) of centroids, with d in units of their root mean square distance.
fn affinity(centroids: &Array2<f32>) -> Graph {
    let count = centroids.nrows();
    let square = |i: usize, j: usize| -> f64 {
        (centroids.row(i).iter().zip(centroids.row(j)))
            .map(|(&a, &b)| (f64::from(a) - f64::from(b)) * (f64::from(a) - f64::from(b)))
            .sum()
    };
    let squares: Vec<f64> = (0..count * count)
        .map(|at| square(at / count, at % count))
        .collect();
    let mean = (squares.iter().sum::<f64>() / squares.len() as f64).max(f64::MIN_POSITIVE);
    let mut graph = Graph {
        start: vec![0],
        column: Vec::new(),
        weight: Vec::new(),
    };
    for i in 0..count {
        for j in (0..count).filter(|&j| j != i) {
            graph.column.push(j as u32);
            graph
                .weight
                .push(libm::exp(-squares[i * count + j] / mean) as f32);
        }
        graph.start.push(graph.column.len());
    }
    graph
}

/// Half the distance from a component's centre to the nearest other one.
fn reach(centres: &[f64], i: usize, dim: usize) -> f64 {
    let place = |i: usize| &centres[i * dim..(i + 1) * dim];
    let nearest = (0..centres.len() / dim)
        .map(|j| {
            place(i)
                .iter()
                .zip(place(j))
                .map(|(a, b)| (a - b) * (a - b))
                .sum::<f64>()
        })
        .filter(|&square| square > 0.0)
        .fold(f64::INFINITY, f64::min);
    if nearest == f64::INFINITY {
        1.0
    } else {
        nearest.sqrt() / 2.0
    }
}
