//! Times the library on `.npy` files, for `bench/clustering`: `measure umap POINTS SEED SEARCH EMBEDDING`, or
//! `measure cluster EMBEDDING LABELS`. Prints seconds and CPU seconds of each step as one line of JSON.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use flow_stage::array::{read_matrix, write};
use flow_stages_cluster::hdbscan::soft_labels;
use flow_stages_cluster::{Hdbscan, Search, Umap, scores};
use serde_json::{Value, json};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The threads are there before the first step is timed.
    rayon::broadcast(|_| ());
    match arguments[..] {
        ["umap", points, seed, search, embedding] => {
            let points = read_matrix(Path::new(points))?;
            let umap = Umap::new().seed(seed.parse()?).search(match search {
                "auto" => Search::Auto,
                "exact" => Search::Exact,
                _ => Search::Approximate,
            });
            let (found, umap) = timed(|| umap.fit(points.view()));
            let found = found?;
            write(Path::new(embedding), &found.points)?;
            println!(
                "{}",
                json!({"umap": umap, "warnings": found.warnings, "recall": found.recall})
            );
        }
        ["cluster", embedding, labels] => {
            let points = read_matrix(Path::new(embedding))?.mapv(f64::from);
            let (found, fit) = timed(|| Hdbscan::new().fit(points.view()));
            let found = found?;
            let (membership, soft) = timed(|| found.membership(points.view()));
            let chosen = soft_labels(membership?.view());
            write(Path::new(labels), &chosen)?;
            let mut result = json!({"hdbscan": fit, "membership": soft});
            // All pairs of points up to what the peer can take, a sample beyond.
            let rows = if points.nrows() <= 30_000 {
                usize::MAX
            } else {
                20_000
            };
            let (found, times) = timed(|| {
                scores::sampled_silhouette(points.view(), chosen.view(), rows, 0, &|_| {})
            });
            result["silhouette"] = times;
            if let Some(found) = found? {
                result["value"] = json!([found.mean, found.standard_error]);
            }
            println!("{result}");
        }
        _ => bail!("measure umap POINTS SEED SEARCH EMBEDDING | measure cluster EMBEDDING LABELS"),
    }
    Ok(())
}

/// A result, and how long it took as `[seconds, CPU seconds]`.
fn timed<T>(step: impl FnOnce() -> T) -> (T, Value) {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let result = step();
    (
        result,
        json!([start.elapsed().as_secs_f64(), cpu_seconds() - cpu]),
    )
}

/// What all threads of this process have run for, as Linux tells it; 0 elsewhere.
fn cpu_seconds() -> f64 {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return 0.0;
    };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<f64>().ok())
        .sum::<f64>()
        / 1e9
}
