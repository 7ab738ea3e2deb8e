//! Times the library on `.npy` files, for `bench/clustering`: `measure umap POINTS SEED EMBEDDING`, or
//! `measure cluster EMBEDDING LABELS`. Prints seconds by step, and clusters, as one line of JSON.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use flow_stage::array::{read_matrix, write};
use flow_stages_cluster::hdbscan::soft_labels;
use flow_stages_cluster::{Hdbscan, Umap, scores};
use serde_json::json;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["umap", points, seed, embedding] => {
            let points = read_matrix(Path::new(points))?;
            let start = Instant::now();
            let found = Umap::new().seed(seed.parse()?).fit(points.view())?;
            let seconds = start.elapsed().as_secs_f64();
            write(Path::new(embedding), &found.points)?;
            println!("{}", json!({"umap": seconds, "warnings": found.warnings}));
        }
        ["cluster", embedding, labels] => {
            let points = read_matrix(Path::new(embedding))?.mapv(f64::from);
            let start = Instant::now();
            let found = Hdbscan::new().fit(points.view())?;
            let fit = start.elapsed().as_secs_f64();
            let start = Instant::now();
            let membership = found.membership(points.view())?;
            let soft = start.elapsed().as_secs_f64();
            let chosen = soft_labels(membership.view());
            let start = Instant::now();
            let silhouette = scores::silhouette(points.view(), chosen.view())?;
            let score = start.elapsed().as_secs_f64();
            write(Path::new(labels), &chosen)?;
            println!(
                "{}",
                json!({"hdbscan": fit, "membership": soft, "silhouette": score, "value": silhouette, "clusters": found.clusters()})
            );
        }
        _ => bail!("measure umap POINTS SEED EMBEDDING | measure cluster EMBEDDING LABELS"),
    }
    Ok(())
}
