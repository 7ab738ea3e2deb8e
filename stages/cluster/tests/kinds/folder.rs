//! A folder in which stage kinds run as the engine runs them: the real binary, a request on stdin, files.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use flow_stage::array::{read, write};
use flow_stage::dataset::{Dataset, Meta, Rows, Split};
use flow_stage::protocol::{PROTOCOL, Request};
use flow_stage::view::{Coordinates, Item, Points, View};
use ndarray::{Array1, Array2, Array4};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a data set of two coarse classes, whose fine classes are clear clusters of `embedding.npy`.
///
/// 240 training rows: class `round` has fine classes 0 and 1, class `flat` has 2, 3 and 4; then 10 test rows.
pub struct Folder(TempDir);

pub const TRAIN: usize = 240;
pub const ROWS: usize = 250;

pub fn fine(row: usize) -> i32 {
    [0, 2, 1, 3, 0, 4][row % 6]
}

impl Folder {
    pub fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        let fine: Array1<i32> = (0..ROWS).map(fine).collect();
        let data = Dataset {
            meta: Meta {
                name: "clumps".into(),
                coarse_names: vec!["round".into(), "flat".into()],
                fine_names: (0..5).map(|i| format!("fine {i}")).collect(),
                mean: vec![0.5],
                std: vec![0.5],
            },
            images: Array4::zeros((ROWS, 1, 1, 1)),
            rows: Rows {
                coarse: Some(fine.mapv(|fine| i32::from(fine >= 2))),
                fine: Some(fine.clone()),
                split: (0..ROWS)
                    .map(|row| {
                        if row < TRAIN {
                            Split::Train
                        } else {
                            Split::Test
                        }
                    })
                    .collect(),
            },
        };
        data.write(&folder.path("data")).unwrap();
        let embedding = Array2::from_shape_fn((ROWS, 2), |(row, axis)| {
            // Denser in the middle of a clump.
            let draw = |i: usize| {
                ((i as f32 * 12.9898 + 78.233).sin() * 43758.547)
                    .fract()
                    .abs()
            };
            let jitter = draw(row * 4 + axis) + draw(row * 4 + axis + 2);
            jitter
                + if axis == 0 {
                    5.0 * fine[row] as f32
                } else {
                    0.0
                }
        });
        write(&folder.path("embedding.npy"), &embedding).unwrap();
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a stage; `Ok` holds the warnings, `Err` the error.
    pub fn run(
        &self,
        kind: &str,
        parameters: Value,
        inputs: &[(&str, &str)],
        outputs: &[&str],
    ) -> Result<Vec<String>, String> {
        self.run_on(2, kind, parameters, inputs, outputs)
    }

    pub fn run_on(
        &self,
        threads: u32,
        kind: &str,
        parameters: Value,
        inputs: &[(&str, &str)],
        outputs: &[&str],
    ) -> Result<Vec<String>, String> {
        let paths =
            |names: &mut dyn Iterator<Item = (String, String)>| -> BTreeMap<String, PathBuf> {
                names.map(|(role, name)| (role, self.path(&name))).collect()
            };
        let request = Request {
            protocol: PROTOCOL,
            kind: kind.into(),
            stage: "tested".into(),
            parameters: parameters.as_object().unwrap().clone(),
            inputs: paths(
                &mut inputs
                    .iter()
                    .map(|&(role, name)| (role.into(), name.into())),
            ),
            // Nearly every kind has metrics and a view, and the others ignore what they don't know.
            outputs: paths(
                &mut outputs
                    .iter()
                    .chain(&["metrics", "view"])
                    .map(|&role| (role.into(), format!("{role}.out"))),
            ),
            earlier: BTreeMap::new(),
            work: self.path("work"),
            seed: 42,
            threads,
            device: "cpu".into(),
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_flow-stages-cluster"))
            .args(["run", kind])
            .env("RAYON_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let text = serde_json::to_string(&request).unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let events: Vec<Value> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let of = |kind: &str| {
            (events.iter().filter(|event| event["event"] == kind))
                .map(|event| event["message"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        if output.status.success() {
            Ok(of("warning"))
        } else {
            Err(of("error").join("\n"))
        }
    }

    pub fn metrics(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("metrics.out")).unwrap()).unwrap()
    }

    pub fn labels(&self, name: &str) -> Array1<i32> {
        read(&self.path(name)).unwrap()
    }

    /// The view of the last stage; its files are there.
    pub fn view(&self) -> View {
        let view = View::parse(&self.bytes("view.out/view.json")).unwrap();
        for file in view.files() {
            assert!(self.path("view.out").join(file).is_file(), "{file}");
        }
        view
    }

    /// The points of a class in the view of the last stage, by the name of their colour.
    pub fn points(&self, class: &str) -> (Points, Coordinates) {
        let view = self.view();
        let item = view.items.iter().find_map(|item| match item {
            Item::Points(points) if points.class.as_deref() == Some(class) => Some(points),
            _ => None,
        });
        let item = item.unwrap().clone();
        let points = Coordinates::parse(&self.bytes(&format!("view.out/{}", item.file))).unwrap();
        (item, points)
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}

/// A stage to run: kind, parameters, inputs by role, outputs.
pub type Case<'a> = (&'a str, Value, &'a [(&'a str, &'a str)], &'a [&'a str]);

pub const HDBSCAN: [&str; 7] = [
    "labels",
    "hard_labels",
    "probabilities",
    "membership",
    "outlier_scores",
    "clusters",
    "metrics",
];
