//! Which clusters of the condensed tree make the flat clustering, and what each point gets from it.

use super::tree::CondensedTree;
use super::{Hdbscan, Selection};

/// The selected clusters, ascending. None lies below another.
pub(super) fn select(tree: &CondensedTree, parameters: &Hdbscan) -> Vec<usize> {
    let root_counts = parameters.allow_single_cluster;
    let mut chosen = vec![false; tree.len()];
    match parameters.selection {
        Selection::ExcessOfMass => excess_of_mass(tree, parameters, &mut chosen),
        Selection::Leaf => {
            if tree.len() > 1 {
                tree.leaves_below(0, |leaf| chosen[leaf] = true);
            }
        }
    }
    let mut clusters: Vec<usize> = (0..tree.len()).filter(|&c| chosen[c]).collect();
    let only_root = clusters == [0];
    if parameters.epsilon > 0.0 && tree.len() > 1 && !only_root {
        clusters = clusters
            .into_iter()
            .map(|cluster| climb(tree, cluster, parameters.epsilon, root_counts))
            .collect();
        clusters.sort_unstable();
        clusters.dedup();
    }
    clusters
}

fn excess_of_mass(tree: &CondensedTree, parameters: &Hdbscan, chosen: &mut [bool]) {
    let mut stability = tree.stability.clone();
    let limit = match parameters.max_cluster_size {
        0 => usize::MAX,
        limit => limit,
    };
    let first = usize::from(!parameters.allow_single_cluster);
    for cluster in (first..tree.len()).rev() {
        // In f32, as the reference sums: it decides between nearly equal stabilities.
        let mut below = 0f32;
        let mut size = tree.size[cluster] as usize;
        if let Some(children) = tree.children[cluster] {
            for child in children {
                below = (f64::from(below) + stability[child as usize]) as f32;
            }
            if cluster == 0 {
                size = children
                    .iter()
                    .map(|&c| tree.size[c as usize] as usize)
                    .sum();
            }
        } else if cluster == 0 {
            // The reference counts as the root's size what its children hold.
            size = 0;
        }
        if f64::from(below) > stability[cluster] || size > limit {
            stability[cluster] = f64::from(below);
        } else {
            chosen[cluster] = true;
        }
    }
    // Under a chosen cluster nothing else is.
    let mut covered = vec![false; tree.len()];
    for cluster in 1..tree.len() {
        let parent = tree.parent[cluster] as usize;
        covered[cluster] = covered[parent] || chosen[parent];
        chosen[cluster] &= !covered[cluster];
    }
}

/// The first ancestor that appears at a distance above `epsilon`, for clusters that appear below it
/// (Malzer, Baum 2020).
fn climb(tree: &CondensedTree, cluster: usize, epsilon: f64, root_counts: bool) -> usize {
    let distance = |cluster: usize| 1.0 / tree.birth[cluster];
    if cluster == 0 || distance(cluster) >= epsilon {
        return cluster;
    }
    let mut at = cluster;
    loop {
        let parent = tree.parent[at] as usize;
        if parent == 0 {
            return if root_counts { 0 } else { at };
        }
        if distance(parent) > epsilon {
            return parent;
        }
        at = parent;
    }
}

/// For each node of the tree the position in `clusters` of the one that it is or lies below, or -1.
pub(super) fn label_of(tree: &CondensedTree, clusters: &[usize]) -> Vec<i32> {
    let mut label_of = vec![-1; tree.len()];
    for (label, &cluster) in clusters.iter().enumerate() {
        label_of[cluster] = label as i32;
    }
    for cluster in 1..tree.len() {
        if label_of[cluster] == -1 {
            label_of[cluster] = label_of[tree.parent[cluster] as usize];
        }
    }
    label_of
}

/// For each point the position of its cluster in `clusters`, or -1 for noise.
pub(super) fn label(tree: &CondensedTree, clusters: &[usize], parameters: &Hdbscan) -> Vec<i32> {
    let label_of = label_of(tree, clusters);
    // Where the root is the one cluster, it keeps what is dense enough and the rest is noise.
    let root_from = if clusters != [0] {
        f64::NEG_INFINITY
    } else if parameters.epsilon > 0.0 {
        1.0 / parameters.epsilon
    } else {
        tree.death[0]
    };
    (tree.point_parent.iter().zip(&tree.point_lambda))
        .map(|(&parent, &lambda)| {
            if clusters == [0] && lambda < root_from {
                -1
            } else {
                label_of[parent as usize]
            }
        })
        .collect()
}

/// min(lambda, death) / death of a point in its cluster; 0 for noise.
pub(super) fn probabilities(tree: &CondensedTree, clusters: &[usize], labels: &[i32]) -> Vec<f64> {
    (labels.iter().zip(&tree.point_lambda))
        .map(|(&label, &lambda)| {
            let Ok(label) = usize::try_from(label) else {
                return 0.0;
            };
            let death = tree.death[clusters[label]];
            if death == 0.0 || lambda >= death {
                1.0
            } else {
                lambda / death
            }
        })
        .collect()
}

/// GLOSH outlier scores (Campello et al. 2015): how much earlier a point leaves than the last of its cluster does.
pub(super) fn outlier_scores(tree: &CondensedTree) -> Vec<f64> {
    let mut death = tree.death.clone();
    for cluster in (1..tree.len()).rev() {
        let parent = tree.parent[cluster] as usize;
        death[parent] = death[parent].max(death[cluster]);
    }
    (tree.point_parent.iter().zip(&tree.point_lambda))
        .map(|(&parent, &lambda)| {
            let death = death[parent as usize];
            if death == 0.0 || lambda >= death {
                0.0
            } else if death == f64::INFINITY {
                1.0
            } else {
                (death - lambda) / death
            }
        })
        .collect()
}

/// Stability of each selected cluster as a share of what its size could reach: 0..1.
pub(super) fn persistence(tree: &CondensedTree, clusters: &[usize], labels: &[i32]) -> Vec<f64> {
    let densest = tree.death.iter().copied().fold(0.0, f64::max);
    let mut size = vec![0u32; clusters.len()];
    for &label in labels {
        if let Ok(label) = usize::try_from(label) {
            size[label] += 1;
        }
    }
    (clusters.iter().zip(size))
        .map(|(&cluster, size)| {
            if densest == 0.0 || densest == f64::INFINITY || size == 0 {
                1.0
            } else {
                // Above 1 where a single cluster keeps its densest points alone.
                (tree.stability[cluster] / (f64::from(size) * densest)).min(1.0)
            }
        })
        .collect()
}
