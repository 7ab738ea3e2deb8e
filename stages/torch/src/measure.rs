//! What is measured on the test rows: always the coarse task, whatever the network was trained on.

use anyhow::Result;
use flow_stage::dataset::Split;
use ndarray::{Array2, Axis};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor, no_grad};

use crate::data::{Data, first_maximum};
use crate::model::{Labels, Model};
use crate::scores::{self, OfClass};

/// A model's answers on some rows.
pub struct Answers {
    /// The rows.
    pub rows: Vec<usize>,
    /// The predicted coarse class of each.
    pub coarse: Vec<usize>,
    /// The probability `[rows, coarse classes]` of each coarse class.
    pub probabilities: Array2<f64>,
    /// The predicted fine class of each, where a head tells fine classes apart.
    pub fine: Option<Vec<usize>>,
}

impl Answers {
    /// The probability of each row's predicted class.
    pub fn confidence(&self) -> Vec<f64> {
        (self.coarse.iter().enumerate())
            .map(|(index, &class)| self.probabilities[[index, class]])
            .collect()
    }
}

/// Images that are looked at in one go where no gradient is needed.
pub const BATCH: usize = 500;

/// The model's answers on `rows`. `progress` is told how many are done.
///
/// A network of fine classes answers with the coarse class of its most probable fine class; the probability of a
/// coarse class is the sum of those of its fine classes.
pub fn answers(model: &Model, data: &Data, rows: Vec<usize>, progress: impl Fn(usize)) -> Answers {
    let mut heads: Vec<Array2<f64>> = model
        .meta
        .spec
        .heads
        .iter()
        .map(|head| Array2::zeros((rows.len(), head.classes as usize)))
        .collect();
    for (number, batch) in rows.chunks(BATCH).enumerate() {
        let begin = number * BATCH;
        let logits = no_grad(|| model.net.forward(&data.batch(&data.index(batch))));
        for (head, logits) in heads.iter_mut().zip(logits) {
            let probabilities = to_array(&logits.softmax(-1, Kind::Double));
            head.slice_mut(ndarray::s![begin..begin + batch.len(), ..])
                .assign(&probabilities);
        }
        progress(begin + batch.len());
    }
    let best = |probabilities: &Array2<f64>| -> Vec<usize> {
        probabilities
            .axis_iter(Axis(0))
            .map(|row| first_maximum(&row.to_vec()))
            .collect()
    };
    let to_coarse = &model.meta.fine_to_coarse;
    match model.meta.labels {
        Labels::Coarse => Answers {
            rows,
            coarse: best(&heads[0]),
            fine: heads.get(1).map(best),
            probabilities: heads.swap_remove(0),
        },
        Labels::Fine => {
            let fine = best(&heads[0]);
            Answers {
                rows,
                coarse: fine.iter().map(|&class| to_coarse[class]).collect(),
                fine: Some(fine),
                probabilities: collapse(&heads[0], to_coarse, model.meta.coarse_names.len()),
            }
        }
    }
}

/// Sums the probabilities `[n, fine]` of the fine classes of each coarse class: `[n, coarse]`.
pub fn collapse(fine: &Array2<f64>, to_coarse: &[usize], classes: usize) -> Array2<f64> {
    let mut coarse = Array2::zeros((fine.nrows(), classes));
    for (column, &class) in fine.columns().into_iter().zip(to_coarse) {
        let mut sum = coarse.column_mut(class);
        sum += &column;
    }
    coarse
}

/// A matrix of f64 on the CPU as an array.
pub fn to_array(matrix: &Tensor) -> Array2<f64> {
    let size = matrix.size();
    let mut values = vec![0f64; matrix.numel()];
    let matrix = matrix.to_device(tch::Device::Cpu).contiguous();
    matrix.copy_data(&mut values, matrix.numel());
    Array2::from_shape_vec((size[0] as usize, size[1] as usize), values)
        .expect("the tensor has that many values")
}

/// The metrics of the test rows, and the answers they come from.
///
/// # Errors
/// Where there are no test rows.
pub fn test(model: &Model, data: &Data, progress: impl Fn(usize)) -> Result<(Value, Answers)> {
    let answers = answers(model, data, data.of(Split::Test)?, progress);
    let metrics = metrics(model, data, &answers);
    Ok((metrics, answers))
}

fn metrics(model: &Model, data: &Data, answers: &Answers) -> Value {
    let truth: Vec<usize> = answers
        .rows
        .iter()
        .map(|&row| data.coarse()[row] as usize)
        .collect();
    let names = &data.meta.coarse_names;
    let confusion = scores::confusion(&truth, &answers.coarse, names.len());
    let of_classes = scores::of_classes(&confusion);
    let aurocs = scores::aurocs(&answers.probabilities, &truth);
    let mut loss = 0.0;
    for (index, &class) in truth.iter().enumerate() {
        // The smallest normal number stands for a probability that was rounded to none.
        loss -= answers.probabilities[[index, class]]
            .max(f64::MIN_POSITIVE)
            .ln();
    }
    let n = truth.len() as f64;
    let right: Vec<bool> = truth
        .iter()
        .zip(&answers.coarse)
        .map(|(a, b)| a == b)
        .collect();
    let mut metrics = Map::new();
    metrics.insert("test_accuracy".into(), json!(share(&right)));
    metrics.insert("test_loss".into(), json!(loss / n));
    let confidence = answers.confidence();
    // Means over the classes that have test rows, each class with one weight (macro).
    let there = || of_classes.iter().filter(|class| class.recall.is_some());
    for (name, value) in [
        ("test_auroc", scores::mean(aurocs.iter().copied())),
        (
            "test_precision",
            scores::mean(there().map(|class| Some(class.precision))),
        ),
        (
            "test_recall",
            scores::mean(there().map(|class| class.recall)),
        ),
        ("test_f1", scores::mean(there().map(|class| Some(class.f1)))),
        (
            "test_ece",
            Some(scores::calibration_error(&confidence, &right)),
        ),
    ] {
        metrics.insert(name.into(), json!(value));
    }
    let mut groups = Map::new();
    for (class, name) in names.iter().enumerate() {
        let of_class = pick(&right, |index| truth[index] == class);
        if !of_class.is_empty() {
            let OfClass {
                precision,
                recall,
                f1,
            } = of_classes[class];
            let numbers = json!({
                "test_accuracy": share(&of_class),
                "images": of_class.len(),
                "precision": precision,
                "recall": recall,
                "f1": f1,
                "auroc": aurocs[class],
            });
            groups.insert(name.clone(), numbers);
        }
    }
    if let Some(fine) = &data.rows.fine {
        let label = |index: usize| fine[answers.rows[index]] as usize;
        let mut subclasses = Map::new();
        let mut worst = f64::INFINITY;
        for (class, name) in data.meta.fine_names.iter().enumerate() {
            let of_class = pick(&right, |index| label(index) == class);
            if !of_class.is_empty() {
                worst = worst.min(share(&of_class));
                subclasses.insert(name.clone(), json!(share(&of_class)));
            }
        }
        // Coarse accuracy on the true fine class where it is lowest: Sohoni et al. 2020 ("No Subclass Left Behind").
        metrics.insert("worst_subclass_accuracy".into(), json!(worst));
        if let (true, Some(predicted)) = (model.meta.true_fine, &answers.fine) {
            let right = (0..predicted.len()).map(|i| predicted[i] == label(i));
            let right: Vec<bool> = right.collect();
            metrics.insert("test_fine_accuracy".into(), json!(share(&right)));
        }
        metrics.insert("subclass_accuracy".into(), subclasses.into());
    }
    metrics.insert("classes".into(), groups.into());
    // Rows are the true coarse classes, columns the predicted ones.
    metrics.insert("confusion".into(), json!(confusion));
    metrics.into()
}

fn pick(right: &[bool], wanted: impl Fn(usize) -> bool) -> Vec<bool> {
    (0..right.len())
        .filter(|&index| wanted(index))
        .map(|index| right[index])
        .collect()
}

fn share(right: &[bool]) -> f64 {
    right.iter().filter(|&&right| right).count() as f64 / right.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn probabilities_of_fine_classes_add_up() {
        let fine = array![[0.4, 0.35, 0.25], [0.1, 0.2, 0.7]];
        let coarse = collapse(&fine, &[0, 1, 1], 2);
        let expected = array![[0.4, 0.6], [0.1, 0.9]];
        assert!((coarse - expected).iter().all(|d: &f64| d.abs() < 1e-12));
    }
}
