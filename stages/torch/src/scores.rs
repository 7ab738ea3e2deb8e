//! How good the answers of a classifier are, from probabilities and true classes.

use ndarray::{Array2, ArrayView1};

/// Rows are the true classes, columns the predicted ones.
pub fn confusion(truth: &[usize], predicted: &[usize], classes: usize) -> Vec<Vec<u64>> {
    let mut counts = vec![vec![0; classes]; classes];
    for (&truth, &predicted) in truth.iter().zip(predicted) {
        counts[truth][predicted] += 1;
    }
    counts
}

/// What the confusion matrix says of one class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OfClass {
    /// The share of the class's predictions that are right; 0 where there are none.
    pub precision: f64,
    /// The share of the class that is found; none where the class has no row.
    pub recall: Option<f64>,
    /// The harmonic mean of both; 0 where the class is neither there nor predicted.
    pub f1: f64,
}

/// Precision, recall and F1 of each class.
pub fn of_classes(confusion: &[Vec<u64>]) -> Vec<OfClass> {
    let share = |part: u64, whole: u64| match whole {
        0 => 0.0,
        _ => part as f64 / whole as f64,
    };
    (0..confusion.len())
        .map(|class| {
            let right = confusion[class][class];
            let there: u64 = confusion[class].iter().sum();
            let predicted: u64 = confusion.iter().map(|row| row[class]).sum();
            OfClass {
                precision: share(right, predicted),
                recall: (there > 0).then(|| share(right, there)),
                f1: share(2 * right, there + predicted),
            }
        })
        .collect()
}

/// The area under the receiver operating characteristic of one class against the rest: the probability that a row of the
/// class has a higher score than another row, where equal scores count one half (Hanley and McNeil 1982). None where all
/// rows are of the class, or none is.
pub fn auroc(scores: ArrayView1<f64>, is_class: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    // The sum of the ranks 1, 2, … of the class's rows; equal scores share the mean of their ranks.
    let (mut sum, mut before) = (0.0, 0);
    for equal in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let rank = before as f64 + (equal.len() as f64 + 1.0) / 2.0;
        let of_class = equal.iter().filter(|&&row| is_class[row]).count();
        sum += rank * of_class as f64;
        before += equal.len();
    }
    let positive = is_class.iter().filter(|&&is| is).count() as f64;
    let negative = is_class.len() as f64 - positive;
    (positive > 0.0 && negative > 0.0)
        .then(|| (sum - positive * (positive + 1.0) / 2.0) / (positive * negative))
}

/// The AUROC of each class against the rest, from probabilities `[n, classes]`.
pub fn aurocs(probabilities: &Array2<f64>, truth: &[usize]) -> Vec<Option<f64>> {
    (0..probabilities.ncols())
        .map(|class| {
            let is_class: Vec<bool> = truth.iter().map(|&t| t == class).collect();
            auroc(probabilities.column(class), &is_class)
        })
        .collect()
}

/// How many bins [`calibration`] has.
pub const BINS: usize = 15;

/// The rows whose confidence lies in one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bin {
    /// How many there are.
    pub rows: u64,
    /// The sum of their confidences.
    pub confidence: f64,
    /// How many of them are right.
    pub right: f64,
}

/// Rows by their confidence, the probability of the predicted class, in 15 bins of one width: `(0, 1/15], (1/15, 2/15], …`.
pub fn calibration(confidence: &[f64], right: &[bool]) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for (&confidence, &right) in confidence.iter().zip(right) {
        let place = (confidence * BINS as f64).ceil() as usize;
        let bin = &mut bins[place.clamp(1, BINS) - 1];
        bin.rows += 1;
        bin.confidence += confidence;
        bin.right += f64::from(u8::from(right));
    }
    bins
}

/// The expected calibration error (Guo et al. 2017, eq. 3): the mean over the rows of the gap between the mean confidence
/// of their bin of [`calibration`] and its accuracy.
pub fn calibration_error(confidence: &[f64], right: &[bool]) -> f64 {
    let gaps: f64 = calibration(confidence, right)
        .iter()
        .map(|bin| (bin.confidence - bin.right).abs())
        .sum();
    gaps / confidence.len() as f64
}

/// The mean of what is there; none where nothing is.
pub fn mean(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let there: Vec<f64> = values.into_iter().flatten().collect();
    (!there.is_empty()).then(|| there.iter().sum::<f64>() / there.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::first_maximum;
    use ndarray::array;
    use serde::Deserialize;

    /// What `tests/reference/scores.py` wrote with scikit-learn and torchmetrics.
    #[derive(Deserialize)]
    struct Reference {
        probabilities: Vec<Vec<f64>>,
        truth: Vec<usize>,
        auroc: f64,
        aurocs: Vec<f64>,
        confusion: Vec<Vec<u64>>,
        precision: Vec<f64>,
        recall: Vec<f64>,
        f1: Vec<f64>,
        calibration_error: f64,
    }

    #[test]
    fn scores_are_those_of_scikit_learn_and_torchmetrics() {
        let text = include_str!("../tests/reference/scores.json");
        let reference: Reference = serde_json::from_str(text).unwrap();
        let (truth, n) = (&reference.truth, reference.truth.len());
        let flat = reference.probabilities.concat();
        let probabilities = Array2::from_shape_vec((n, flat.len() / n), flat).unwrap();
        let close = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        };
        let aurocs = aurocs(&probabilities, truth);
        close(mean(aurocs.iter().copied()).unwrap(), reference.auroc);
        for (found, expected) in aurocs.iter().zip(&reference.aurocs) {
            close(found.unwrap(), *expected);
        }
        let predicted: Vec<usize> = probabilities
            .rows()
            .into_iter()
            .map(|row| first_maximum(&row.to_vec()))
            .collect();
        let confusion = confusion(truth, &predicted, probabilities.ncols());
        assert_eq!(confusion, reference.confusion);
        for (class, of_class) in of_classes(&confusion).into_iter().enumerate() {
            close(of_class.precision, reference.precision[class]);
            close(of_class.recall.unwrap(), reference.recall[class]);
            close(of_class.f1, reference.f1[class]);
        }
        let confidence: Vec<f64> = (0..n)
            .map(|row| probabilities[[row, predicted[row]]])
            .collect();
        let right: Vec<bool> = (0..n).map(|row| predicted[row] == truth[row]).collect();
        close(
            calibration_error(&confidence, &right),
            reference.calibration_error,
        );
    }

    #[test]
    fn a_ranking_is_judged_by_its_pairs() {
        let of = |scores: &[f64], class: &[bool]| auroc(ArrayView1::from(scores), class);
        assert_eq!(of(&[0.1, 0.2, 0.8], &[false, false, true]), Some(1.0));
        assert_eq!(of(&[0.9, 0.2, 0.1], &[false, false, true]), Some(0.0));
        assert_eq!(of(&[0.5, 0.5], &[false, true]), Some(0.5));
        assert_eq!(of(&[0.5, 0.5], &[true, true]), None);
        assert_eq!(of(&[], &[]), None);
    }

    #[test]
    fn a_class_that_is_not_there_has_no_recall_and_no_auroc() {
        let of_class = of_classes(&[vec![2, 1], vec![0, 0]]);
        assert_eq!((of_class[1].precision, of_class[1].recall), (0.0, None));
        assert_eq!(of_class[0].precision, 1.0);
        let probabilities = array![[1.0, 0.0], [0.5, 0.5]];
        assert_eq!(aurocs(&probabilities, &[0, 0]), [None, None]);
        assert_eq!(
            (mean([None, None]), mean([Some(1.0), None])),
            (None, Some(1.0))
        );
    }

    #[test]
    fn a_sure_and_wrong_network_is_not_calibrated() {
        assert_eq!(calibration_error(&[1.0, 1.0], &[false, false]), 1.0);
        assert_eq!(calibration_error(&[1.0, 1.0], &[true, true]), 0.0);
        assert_eq!(
            calibration_error(&[0.75; 4], &[true, true, true, false]),
            0.0
        );
    }
}
