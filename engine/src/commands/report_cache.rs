//! A page as an artifact in the store, under a key over all that it shows: made once, and found again by who has only the file.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Context, Result};
use flow_cache::{Acquired, Digest, Draft, DraftOutput, Lookup, Output, Record, Store};
use flow_report::document::Form;
use flow_report::{Document, page};
use flow_run::record::journal;
use flow_run::record::key::{FORMAT, Manifest};
use serde_json::{Map, Value, json};

/// The output that is the page.
const ROLE: &str = "page";
/// The kind that stands in its record.
const KIND: &str = "report";

/// The page of a document that [`flow_report::complete`] has not seen yet; and whether it was there already.
///
/// # Errors
/// Where the store can't be read.
pub fn page(mut document: Document, store: &Store) -> Result<(Vec<u8>, bool)> {
    let manifest = manifest(&document);
    let key = manifest.key();
    if let Lookup::Hit(record) = store.lookup(&key)? {
        return Ok((content(store, &record)?, true));
    }
    let provenance = provenance(&document);
    let began = Instant::now();
    flow_report::complete(&mut document, store);
    let made = page::file(&document).into_bytes();
    let seconds = began.elapsed().as_secs_f64();
    // A store that can't be written keeps no page, and the caller gets it all the same.
    let draft = Draft {
        manifest: serde_json::to_value(&manifest)?,
        outputs: BTreeMap::new(),
        provenance,
        metrics: Map::new(),
        seconds,
    };
    let _ = keep(store, &manifest, draft, &made);
    Ok((made, false))
}

fn content(store: &Store, record: &Record) -> Result<Vec<u8>> {
    let output = record
        .outputs
        .get(ROLE)
        .context("the record of the report has no page")?;
    Ok(store.read(output)?)
}

fn keep(store: &Store, manifest: &Manifest, mut draft: Draft, made: &[u8]) -> Result<()> {
    let mut wait = |_: &flow_cache::Holder| ControlFlow::Break(());
    let Acquired::Lease(lease) = store.acquire(&manifest.key(), false, &mut wait)? else {
        // Someone makes the same page, or has made it meanwhile.
        return Ok(());
    };
    lease.clear_work()?;
    let path = lease.work().join("report.html");
    fs::write(&path, made).with_context(|| format!("{} can't be written", path.display()))?;
    let artifact = "file".to_string();
    draft.outputs.insert(
        ROLE.into(),
        DraftOutput {
            path,
            artifact,
            known: Default::default(),
        },
    );
    lease.commit(draft)?;
    Ok(())
}

/// What decides a page: what makes it, what it says, and the content of what stages publish.
fn manifest(document: &Document) -> Manifest {
    let facts = Digest::of_bytes(page::escaped(document).as_bytes());
    let mut parameters = Map::from_iter([("facts".to_string(), json!(facts))]);
    let plots: Vec<_> = document
        .published
        .iter()
        .filter_map(|published| match &published.form {
            Form::View => None,
            Form::Plots(plots, dvclive) => Some(json!([published.stage, plots, dvclive])),
        })
        .collect();
    if !plots.is_empty() {
        parameters.insert("plots".into(), plots.into());
    }
    Manifest {
        format: FORMAT,
        kind: KIND.into(),
        version: page::version().to_string(),
        parameters,
        seed: None,
        inputs: read(document)
            .map(|(stage, role, output)| (name(document, stage, role), output.digest))
            .collect(),
        env: BTreeMap::new(),
        outputs: BTreeMap::from([(ROLE.into(), "report.html".into())]),
        surroundings: BTreeMap::new(),
    }
}

/// The outputs that the page is made of, with their stages and roles.
fn read(document: &Document) -> impl Iterator<Item = (usize, &String, &Output)> {
    document.published.iter().flat_map(|published| {
        let outputs = published.outputs.iter();
        outputs.map(|(role, _, output)| (published.stage, role, output))
    })
}

fn name(document: &Document, stage: usize, role: &str) -> String {
    format!("{}.{role}", document.stages[stage].label)
}

/// As in the records of stages, so that `flow show report.html` leads on to what the page shows.
fn provenance(document: &Document) -> Value {
    let inputs = read(document).map(|(stage, role, output)| {
        let made = &document.stages[stage];
        let from = json!([{"stage": made.label, "output": role, "key": made.key, "digest": output.digest}]);
        (name(document, stage, role), from)
    });
    let label = match &document.run {
        Some(run) => format!("report of run {}", run.id),
        None => format!("report of {}", document.workflow),
    };
    json!({
        "label": label,
        "inputs": Map::from_iter(inputs),
        "host": journal::host(),
        "flow": env!("CARGO_PKG_VERSION"),
    })
}
