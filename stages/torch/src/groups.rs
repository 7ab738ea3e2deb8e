//! Group DRO: learning for the group that does worst (Sagawa, Koh, Hashimoto and Liang 2020, "Distributionally Robust
//! Neural Networks for Group Shifts", algorithm 1, with the group adjustment of their section 3.3).

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use tch::{Kind, Tensor, no_grad};

use crate::data::counts;

/// The weights of the groups as a file names them.
const WEIGHTS: &str = "weights";

/// The groups that a training's rows lie in.
pub struct Groups {
    /// The group i64 `[n]` of each row of the data set.
    labels: Tensor,
    /// The weight of a group is multiplied by `exp(step * loss)` at each batch.
    step: f64,
    /// What is added to the loss of each group, f64 `[groups]`: the adjustment over the root of its size.
    margin: Tensor,
}

impl Groups {
    /// Groups by label i64 `[n]`, of which `rows` are trained on.
    ///
    /// # Errors
    /// Where a row has none of the labels `0..count`, or a group has no row.
    pub fn new(
        labels: Tensor,
        count: usize,
        rows: &[usize],
        step: f64,
        adjustment: f64,
    ) -> Result<Groups> {
        let sizes = counts(&labels, count, rows)?;
        let empty = sizes.iter().position(|&size| size == 0);
        ensure!(
            empty.is_none(),
            "the fine label {} has no training image: number the labels of the input `labels` without gaps",
            empty.unwrap_or_default()
        );
        let margin = sizes.iter().map(|&size| adjustment / (size as f64).sqrt());
        let margin = Tensor::from_slice(&margin.collect::<Vec<f64>>());
        Ok(Groups {
            margin: margin.to_device(labels.device()),
            labels,
            step,
        })
    }

    /// The weights before the first batch: all the same.
    pub fn weights(&self) -> BTreeMap<String, Tensor> {
        let count = self.margin.numel() as i64;
        let even = Tensor::full(
            [count],
            1.0 / count as f64,
            (Kind::Double, self.labels.device()),
        );
        BTreeMap::from([(WEIGHTS.to_string(), even)])
    }

    /// The loss of a batch, from the loss `[b]` of each of its rows, which are `index` `[b]`: the mean loss of each group by
    /// the groups' weights. Groups that do badly get more weight first. A group that the batch has no row of has the loss
    /// 0.
    ///
    /// # Errors
    /// Where the weights are those of other groups.
    pub fn loss(
        &self,
        losses: &Tensor,
        index: &Tensor,
        weights: &mut BTreeMap<String, Tensor>,
    ) -> Result<Tensor> {
        let count = self.margin.numel() as i64;
        let old = weights.get(WEIGHTS).filter(|old| old.size() == [count]);
        let Some(old) = old else {
            bail!("the state holds no weights of {count} groups");
        };
        let groups = self.labels.index_select(0, index);
        let of_group = groups
            .unsqueeze(1)
            .eq_tensor(&Tensor::arange(count, (Kind::Int64, self.labels.device())))
            .to_kind(losses.kind());
        let sums = (&of_group * losses.unsqueeze(1)).sum_dim_intlist(0i64, false, losses.kind());
        let rows = of_group.sum_dim_intlist(0i64, false, losses.kind());
        let means = sums / rows.clamp_min(1.0);
        let new = no_grad(|| {
            let means = means.to_kind(Kind::Double) + &self.margin;
            // Relative to the largest, so that no power is beyond f64.
            let grown = old.log() + means * self.step;
            let grown = (&grown - grown.max()).exp();
            let sum = grown.sum(Kind::Double);
            grown / sum
        });
        let loss = (&means * new.to_kind(losses.kind())).sum(losses.kind());
        weights.insert(WEIGHTS.to_string(), new);
        Ok(loss)
    }

    /// The largest weight of a group.
    pub fn largest(weights: &BTreeMap<String, Tensor>) -> Option<f64> {
        Some(weights.get(WEIGHTS)?.max().double_value(&[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formulas of the paper in plain arithmetic.
    #[test]
    fn groups_that_do_badly_gain_weight() {
        let labels = Tensor::from_slice(&[0i64, 1, 1, 2, 0, 1, -1]);
        let (step, adjustment) = (0.5, 2.0);
        let groups = Groups::new(labels, 3, &[0, 1, 2, 3, 4, 5], step, adjustment).unwrap();
        let sizes = [2.0f64, 3.0, 1.0];
        let mut weights = groups.weights();
        let mut wanted = [1.0 / 3.0; 3];
        // In the second batch there is no row of group 2.
        for (rows, losses) in [
            (vec![0i64, 1, 2, 3], vec![1.0, 4.0, 2.0, 0.25]),
            (vec![4, 5, 1], vec![3.0, 0.5, 1.5]),
        ] {
            let group = |row: i64| [0, 1, 1, 2, 0, 1][row as usize];
            let mut means = [0.0; 3];
            for (g, mean) in means.iter_mut().enumerate() {
                let own = rows
                    .iter()
                    .zip(&losses)
                    .filter(|(row, _)| group(**row) == g);
                let own: Vec<f64> = own.map(|(_, loss)| *loss).collect();
                if !own.is_empty() {
                    *mean = own.iter().sum::<f64>() / own.len() as f64;
                }
            }
            for (g, weight) in wanted.iter_mut().enumerate() {
                *weight *= (step * (means[g] + adjustment / sizes[g].sqrt())).exp();
            }
            let sum: f64 = wanted.iter().sum();
            wanted.iter_mut().for_each(|weight| *weight /= sum);
            let expected: f64 = wanted
                .iter()
                .zip(means)
                .map(|(weight, mean)| weight * mean)
                .sum();
            let losses: Vec<f32> = losses.iter().map(|&loss| loss as f32).collect();
            let losses = Tensor::from_slice(&losses).set_requires_grad(true);
            let index = Tensor::from_slice(&rows);
            let loss = groups.loss(&losses, &index, &mut weights).unwrap();
            assert!((loss.double_value(&[]) - expected).abs() < 1e-6);
            let found = Vec::<f64>::try_from(&weights[WEIGHTS]).unwrap();
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
            }
            // Each row's loss counts by its group's weight, shared among the group's rows.
            loss.backward();
            let gradient = Vec::<f32>::try_from(losses.grad()).unwrap();
            for (i, &row) in rows.iter().enumerate() {
                let own = rows
                    .iter()
                    .filter(|&&other| group(other) == group(row))
                    .count();
                let wanted = wanted[group(row)] / own as f64;
                assert!((f64::from(gradient[i]) - wanted).abs() < 1e-6);
            }
        }
        // However bad a group is, weights are numbers.
        let losses = Tensor::from_slice(&[1e6f32, 0.0]);
        let index = Tensor::from_slice(&[0i64, 1]);
        let loss = groups.loss(&losses, &index, &mut weights).unwrap();
        assert_eq!(loss.double_value(&[]), 1e6);
    }

    #[test]
    fn a_gap_among_the_groups_is_an_error() {
        let labels = || Tensor::from_slice(&[0i64, 2, -1]);
        let error = |rows: &[usize]| Groups::new(labels(), 3, rows, 0.1, 0.0).err().unwrap();
        assert!(
            error(&[0, 1])
                .to_string()
                .contains("the fine label 1 has no training image")
        );
        assert!(error(&[2]).to_string().contains("the label of row 2 is -1"));
    }
}
