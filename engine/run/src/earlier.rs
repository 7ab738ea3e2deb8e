//! What an earlier action made, where a stage only has to go on from it: a longer training after a shorter one.
//!
//! A kind declares which of its parameters say no more than how long to go on (`continues`), and promises the same
//! result with an earlier one and without. So none of this is in the key.

use anyhow::Result;
use flow_cache::{Lookup, Record, Store};
use serde_json::Value;

use crate::record::key::Manifest;

/// The record that `now` continues, and what differs in it (`epochs.max = 10`): the same manifest but for smaller
/// numbers at the pointers of `continues`. Of several, the one that comes nearest, by the first pointer first. It was
/// made with as many threads, since on some machines the last bits depend on their number.
///
/// # Errors
/// Where the store can't be read.
pub(super) fn find(
    store: &Store,
    continues: &[String],
    now: &Manifest,
    threads: u32,
) -> Result<Option<(Record, String)>> {
    // As a record gives it back, which has its numbers from text.
    let now: Manifest = serde_json::from_slice(&serde_json::to_vec(now)?)?;
    let Some((rest, wanted)) = apart(now, continues) else {
        return Ok(None);
    };
    let mut found: Vec<(Vec<f64>, Record)> = Vec::new();
    for record in store.records()?.flatten() {
        if record.provenance["threads"] == threads
            && let Ok(then) = serde_json::from_value(record.manifest.clone())
            && let Some((others, numbers)) = apart(then, continues)
            && others == rest
            && numbers != wanted
            && numbers.iter().zip(&wanted).all(|(then, now)| then <= now)
        {
            found.push((numbers, record));
        }
    }
    found.sort_by(|(a, _), (b, _)| b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal));
    for (numbers, record) in found {
        if let Lookup::Hit(record) = store.lookup(&record.key)? {
            let differs = continues.iter().zip(numbers.iter().zip(&wanted));
            let differs: Vec<String> = differs
                .filter(|(_, (then, now))| then != now)
                .map(|(pointer, (then, _))| {
                    let name = pointer.trim_start_matches('/').replace('/', ".");
                    format!("{name} = {then}")
                })
                .collect();
            return Ok(Some((record, differs.join(", "))));
        }
    }
    Ok(None)
}

/// A manifest without the numbers at the pointers, and the numbers; `None` where one of them is no number.
fn apart(mut manifest: Manifest, pointers: &[String]) -> Option<(Manifest, Vec<f64>)> {
    let mut parameters = Value::Object(std::mem::take(&mut manifest.parameters));
    let numbers = pointers
        .iter()
        .map(|pointer| parameters.pointer_mut(pointer)?.take().as_f64())
        .collect::<Option<_>>()?;
    if let Value::Object(rest) = parameters {
        manifest.parameters = rest;
    }
    Some((manifest, numbers))
}
