//! The kinds as a workflow runs them, on a small made-up data set: [`trainings`], [`going_on`], [`uses`], [`refusals`]; and
//! on a large one: [`large`].

mod going_on;
mod large;
mod refusals;
mod trainings;
mod uses;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use flow_stage::dataset::{Dataset, Meta, Rows, Split};
use flow_stage::protocol::{PROTOCOL, Request};
use flow_stage::{ArtifactType, Context, Port, Stage, array, random};
use ndarray::{Array1, Array2, Array4, ArrayView1, s};
use rand::RngExt;
use serde_json::{Value, json};
use tch::Device;

use super::{Evaluate, Features, Finetune, Groupdro, Multihead, Train, Uncertainty};
use crate::data::Data;
use crate::model::Model;
use crate::tensors;

/// 4 fine classes in 2 coarse ones, 8x8 images: a bright quadrant tells the fine class, under noise.
/// Rows 0..160 train, 160..200 validation, 200..240 test; the fine class of a row is its number modulo 4.
fn dataset() -> Dataset {
    let n = 240;
    let mut images = Array4::zeros((n, 1, 8, 8));
    for ((row, _, y, x), pixel) in images.indexed_iter_mut() {
        let mut random = random::generator(1, "pixel", (row * 64 + y * 8 + x) as u64);
        let bright = (y / 4) * 2 + x / 4 == row % 4;
        *pixel = random.random_range(0..120) + if bright { 100 } else { 0u8 };
    }
    let fine: Array1<i32> = (0..n).map(|row| (row % 4) as i32).collect();
    Dataset {
        meta: Meta {
            name: "quadrants".into(),
            coarse_names: vec!["left".into(), "right".into()],
            fine_names: ["a", "b", "c", "d"].map(String::from).to_vec(),
            mean: vec![0.3],
            std: vec![0.2],
        },
        images,
        rows: Rows {
            coarse: Some(fine.mapv(|label| label % 2)),
            fine: Some(fine),
            split: (0..n)
                .map(|row| match row {
                    0..160 => Split::Train,
                    160..200 => Split::Val,
                    _ => Split::Test,
                })
                .collect(),
        },
    }
}

/// A folder with a data set, in which stages are run.
struct Place {
    folder: tempfile::TempDir,
    threads: u32,
}

/// Events, to be read after the run. At the one that holds `fatal`, the run breaks off.
#[derive(Clone, Default)]
struct Events {
    bytes: Arc<Mutex<Vec<u8>>>,
    fatal: Option<String>,
}

impl Write for Events {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(fatal) = &self.fatal
            && String::from_utf8_lossy(bytes).contains(fatal)
        {
            std::panic::resume_unwind(Box::new("interrupted"));
        }
        self.bytes.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Place {
    fn new() -> Self {
        Place::with(&dataset())
    }

    fn with(data: &Dataset) -> Self {
        let folder = tempfile::tempdir().unwrap();
        data.write(&folder.path().join("data")).unwrap();
        Place { folder, threads: 1 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn request(&self, name: &str, inputs: &[(&str, &str)], outputs: &[Port]) -> Request {
        let (out, work) = (self.path(name), self.path(&format!("{name}.work")));
        fs::create_dir_all(&out).unwrap();
        fs::create_dir_all(&work).unwrap();
        Request {
            protocol: PROTOCOL,
            kind: "test".into(),
            stage: name.into(),
            parameters: serde_json::Map::new(),
            inputs: inputs
                .iter()
                .map(|(role, path)| (role.to_string(), self.path(path)))
                .collect(),
            outputs: outputs
                .iter()
                .map(|port| (port.name.clone(), out.join(&port.name)))
                .collect(),
            earlier: BTreeMap::new(),
            work,
            seed: 42,
            threads: self.threads,
            device: "cpu".into(),
        }
    }

    /// Runs a stage with its output folder `name`; gives the events as text.
    fn run<S: Stage>(&self, name: &str, inputs: &[(&str, &str)], with: Value) -> Result<String> {
        let events = Events::default();
        let request = self.request(name, inputs, &S::outputs());
        let stage: S = serde_json::from_value(with)?;
        stage.run(&Context::new(request, events.clone()))?;
        let bytes = events.bytes.lock().unwrap().clone();
        Ok(String::from_utf8(bytes).unwrap())
    }

    /// As [`Place::run`], with what the run `shorter` made as a beginning.
    fn go_on<S: Stage>(
        &self,
        name: &str,
        inputs: &[(&str, &str)],
        with: Value,
        shorter: &str,
    ) -> Result<String> {
        let events = Events::default();
        let mut request = self.request(name, inputs, &S::outputs());
        request.earlier = S::outputs()
            .iter()
            .map(|port| (port.name.clone(), self.path(shorter).join(&port.name)))
            .collect();
        let stage: S = serde_json::from_value(with)?;
        stage.run(&Context::new(request, events.clone()))?;
        let bytes = events.bytes.lock().unwrap().clone();
        Ok(String::from_utf8(bytes).unwrap())
    }

    /// As [`Place::run`], but breaks off when `epoch` has been trained and is not in a checkpoint yet.
    fn interrupt<S: Stage>(&self, name: &str, inputs: &[(&str, &str)], with: Value, epoch: u32) {
        let events = Events {
            fatal: Some(format!(r#""step":{epoch}"#)),
            ..Events::default()
        };
        let request = self.request(name, inputs, &S::outputs());
        let stage: S = serde_json::from_value(with).unwrap();
        let context = Context::new(request, events);
        let run = std::panic::AssertUnwindSafe(|| stage.run(&context));
        assert!(std::panic::catch_unwind(run).is_err());
        assert!(!self.path(name).join("model").exists());
    }

    fn error<S: Stage>(&self, inputs: &[(&str, &str)], with: Value) -> String {
        format!("{:#}", self.run::<S>("wrong", inputs, with).unwrap_err())
    }

    fn metrics(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name).join("metrics")).unwrap()).unwrap()
    }

    fn labels(&self, labels: impl Fn(usize) -> i32) {
        let labels: Array1<i32> = (0..240).map(labels).collect();
        array::write(&self.path("labels.npy"), &labels).unwrap();
    }

    /// Every file of an output folder, and of the outputs that are folders.
    fn bytes(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(self.path(name)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !path.is_dir() {
                files.insert(name, fs::read(path).unwrap());
                continue;
            }
            for inner in fs::read_dir(path).unwrap() {
                let inner = inner.unwrap();
                let name = format!("{name}/{}", inner.file_name().to_string_lossy());
                files.insert(name, fs::read(inner.path()).unwrap());
            }
        }
        files
    }
}

const DATA: (&str, &str) = ("data", "data");
const LABELS: (&str, &str) = ("labels", "labels.npy");
const FEATURES: (&str, &str) = ("features", "features.npy");

/// A `cnn` of 4 channels that is trained for `epochs`, with what `more` adds.
fn small(epochs: u32, more: Value) -> Value {
    let mut with = json!({
        "arch": "cnn", "width": 4, "epochs": { "min": 1, "max": epochs }, "batch_size": 32, "lr": 0.05
    });
    merge(&mut with, more);
    with
}

/// The same without what belongs to a new network.
fn small_finetune(epochs: u32, more: Value) -> Value {
    let mut with = json!({ "epochs": { "min": 1, "max": epochs }, "batch_size": 32, "lr": 0.05 });
    merge(&mut with, more);
    with
}

fn merge(with: &mut Value, more: Value) {
    for (name, value) in more.as_object().unwrap() {
        with[name] = value.clone();
    }
}

#[test]
fn unknown_parameters_are_refused_by_the_schema() {
    for kind in crate::plugin().description().kinds {
        assert_eq!(
            kind.parameters["additionalProperties"],
            json!(false),
            "{}",
            kind.name
        );
        assert_eq!(kind.resources.cpus, 0, "{}", kind.name);
        for (name, parameter) in kind.parameters["properties"]
            .as_object()
            .into_iter()
            .flatten()
        {
            // It came later. With a default in the schema it would be in every key, and all features would be made again.
            let is_new = (kind.name.as_str(), name.as_str()) == ("features", "rows");
            assert_ne!(
                parameter.get("default").is_some(),
                is_new,
                "{}: {name}",
                kind.name
            );
            assert!(
                parameter.get("description").is_some(),
                "{}: {name}",
                kind.name
            );
        }
    }
}

/// What a run's last table shows of a kind, and `flow table` of a sweep.
#[test]
fn kinds_that_measure_something_have_a_headline() {
    for kind in crate::plugin().description().kinds {
        let mut outputs = kind.outputs.iter();
        let measures = outputs.any(|port| port.artifact == ArtifactType::Metrics);
        assert_eq!(measures, !kind.headline.is_empty(), "{}", kind.name);
    }
}

#[test]
fn someone_decided_about_every_change_of_the_kinds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    flow_stage::versions::check(root, &crate::plugin().description()).unwrap();
}
