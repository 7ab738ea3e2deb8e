//! The optimisers, as PyTorch defines them, with a state that can be saved, and the learning rate's schedule.
//!
//! Written here because libtorch's own optimiser, as `tch` offers it, keeps its state to itself, and a training that
//! was interrupted has to go on with the same bits.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

/// Which optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Stochastic gradient descent with momentum.
    #[default]
    Sgd,
    /// AdamW, Loshchilov and Hutter 2019, with beta 0.9 and 0.999 and epsilon 1e-8.
    Adamw,
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// An optimiser with its state.
pub struct Optimiser {
    method: Method,
    momentum: f64,
    weight_decay: f64,
    parameters: BTreeMap<String, Tensor>,
    /// The momentum buffers, or AdamW's two moments and its step count.
    state: BTreeMap<String, Tensor>,
}

impl Optimiser {
    /// An optimiser of `parameters` that has made no step yet.
    pub fn new(
        method: Method,
        momentum: f64,
        weight_decay: f64,
        parameters: BTreeMap<String, Tensor>,
    ) -> Self {
        let mut state = BTreeMap::new();
        for (name, tensor) in &parameters {
            let zeros = || tensor.detach().zeros_like();
            match method {
                Method::Sgd => {
                    state.insert(format!("momentum.{name}"), zeros());
                }
                Method::Adamw => {
                    state.insert(format!("first.{name}"), zeros());
                    state.insert(format!("second.{name}"), zeros());
                }
            }
        }
        if method == Method::Adamw {
            state.insert("steps".into(), Tensor::from_slice(&[0i64]));
        }
        Optimiser {
            method,
            momentum,
            weight_decay,
            parameters,
            state,
        }
    }

    /// The state, to be saved; it shares memory with the optimiser.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        self.state
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect()
    }

    /// Takes over a saved state.
    ///
    /// # Errors
    /// Where it is not the state of this optimiser.
    pub fn restore(&mut self, saved: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, tensor) in &mut self.state {
            match saved.get(name) {
                Some(saved) if saved.size() == tensor.size() => {
                    no_grad(|| tensor.copy_(saved));
                }
                _ => bail!("the optimiser's tensor `{name}` is missing or has another shape"),
            }
        }
        Ok(())
    }

    /// Computes the gradients of `loss` and makes one step with learning rate `rate`.
    pub fn step(&mut self, loss: &Tensor, rate: f64) {
        for tensor in self.parameters.values_mut() {
            tensor.zero_grad();
        }
        loss.backward();
        no_grad(|| match self.method {
            Method::Sgd => self.sgd(rate),
            Method::Adamw => self.adamw(rate),
        });
    }

    /// `v = momentum * v + g + weight_decay * p`, `p = p - rate * v`.
    ///
    /// Each sum with a product is one `addcmul`, which rounds once, as PyTorch's own optimiser does: the steps are
    /// then the same to the bit.
    fn sgd(&mut self, rate: f64) {
        for (name, parameter) in &mut self.parameters {
            let mut gradient = parameter.grad();
            if !gradient.defined() {
                continue;
            }
            let scalar = |value: f64| Tensor::from(value).to_kind(parameter.kind());
            if self.weight_decay != 0.0 {
                let _ = gradient.addcmul_(parameter, &scalar(self.weight_decay));
            }
            let step = scalar(-rate);
            if let Some(velocity) = self.state.get_mut(&format!("momentum.{name}")) {
                let _ = velocity.g_mul_scalar_(self.momentum);
                let _ = velocity.g_add_(&gradient);
                let _ = parameter.addcmul_(velocity, &step);
            }
        }
    }

    /// Algorithm 2 of the paper, with the learning rate on the decay as PyTorch has it.
    fn adamw(&mut self, rate: f64) {
        let steps = self.state["steps"].int64_value(&[0]) + 1;
        self.state
            .insert("steps".into(), Tensor::from_slice(&[steps]));
        let correction1 = 1.0 - BETA1.powi(steps as i32);
        let correction2 = (1.0 - BETA2.powi(steps as i32)).sqrt();
        for (name, parameter) in &mut self.parameters {
            let gradient = parameter.grad();
            if !gradient.defined() {
                continue;
            }
            let _ = parameter.g_mul_scalar_(1.0 - rate * self.weight_decay);
            let mut moment = |prefix: &str, beta: f64, value: Tensor| {
                let moment = self
                    .state
                    .get_mut(&format!("{prefix}.{name}"))
                    .expect("made with the optimiser");
                let _ = moment.g_mul_scalar_(beta);
                *moment += value * (1.0 - beta);
                moment.shallow_clone()
            };
            let first = moment("first", BETA1, gradient.shallow_clone());
            let second = moment("second", BETA2, gradient.square());
            let denominator = second.sqrt() / correction2 + EPSILON;
            *parameter -= first / denominator * (rate / correction1);
        }
    }
}

/// Cosine annealing with warm restarts (Loshchilov and Hutter 2017, eq. 5): the rate of `epoch` (0, 1, …).
pub fn warm_restarts(rate: f64, minimum: f64, period: u32, epoch: u32) -> f64 {
    let phase = f64::from(epoch % period) / f64::from(period);
    minimum + (rate - minimum) * (1.0 + (PI * phase).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    /// Minimises 0.5 * (a p)^2 for a = 1, 2 and gives the parameter after each of three steps.
    fn descend(method: Method) -> Vec<[f64; 2]> {
        let parameter = Tensor::from_slice(&[1.0f64, 1.0]).set_requires_grad(true);
        let parameters = BTreeMap::from([("p".to_owned(), parameter.shallow_clone())]);
        let mut optimiser = Optimiser::new(method, 0.9, 0.01, parameters);
        let scale = Tensor::from_slice(&[1.0f64, 2.0]);
        (0..3)
            .map(|_| {
                let loss = (&parameter * &scale).square().sum(Kind::Double) * 0.5;
                optimiser.step(&loss, 0.1);
                [parameter.double_value(&[0]), parameter.double_value(&[1])]
            })
            .collect()
    }

    /// The same in plain numbers.
    fn by_hand(method: Method) -> Vec<[f64; 2]> {
        let mut p = [1.0f64, 1.0];
        let (mut m, mut v) = ([0.0; 2], [0.0; 2]);
        (1..=3)
            .map(|t| {
                for i in 0..2 {
                    let g = p[i] * [1.0, 4.0][i];
                    match method {
                        Method::Sgd => {
                            m[i] = 0.9 * m[i] + g + 0.01 * p[i];
                            p[i] -= 0.1 * m[i];
                        }
                        Method::Adamw => {
                            p[i] -= 0.1 * 0.01 * p[i];
                            m[i] = 0.9 * m[i] + 0.1 * g;
                            v[i] = 0.999 * v[i] + 0.001 * g * g;
                            let (m, v) = (
                                m[i] / (1.0 - 0.9f64.powi(t)),
                                v[i] / (1.0 - 0.999f64.powi(t)),
                            );
                            p[i] -= 0.1 * m / (v.sqrt() + 1e-8);
                        }
                    }
                }
                p
            })
            .collect()
    }

    #[test]
    fn steps_are_those_of_the_formulas() {
        for method in [Method::Sgd, Method::Adamw] {
            for (found, expected) in descend(method).iter().zip(by_hand(method)) {
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 1e-12,
                        "{method:?}: {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_rate_falls_and_restarts() {
        let rate = |epoch| warm_restarts(0.1, 0.0, 10, epoch);
        assert_eq!(rate(0), 0.1);
        assert!((rate(5) - 0.05).abs() < 1e-12);
        assert!(rate(9) < 0.003 && rate(9) > 0.0);
        assert_eq!(rate(10), 0.1);
        assert_eq!(warm_restarts(0.1, 0.1, 10, 7), 0.1);
    }
}
