//! From values to pixels, and the ticks of axes.

/// How a channel's values become places.
#[derive(Debug, Clone, PartialEq)]
pub enum Scale {
    /// Numbers in proportion.
    Linear {
        /// The values at both ends.
        domain: [f64; 2],
    },
    /// Numbers by their logarithm.
    Log {
        /// The values at both ends, above 0.
        domain: [f64; 2],
    },
    /// Names, each with a band of its own.
    Band {
        /// The names in order.
        names: Vec<String>,
    },
}

/// A value on an axis, and its text.
pub type Tick = (f64, String);

impl Scale {
    /// A scale of numbers from `least` to `most`, with ends at round numbers where `nice`.
    pub fn numbers(least: f64, most: f64, log: bool, nice: bool) -> Scale {
        if log {
            // A logarithm needs numbers above 0.
            let most = if most > 0.0 { most } else { 1.0 };
            let least = if least > 0.0 {
                least.min(most)
            } else {
                most / 1000.0
            };
            let domain = match nice || least == most {
                true => [
                    10f64.powf(least.log10().floor()),
                    10f64.powf(most.log10().ceil()),
                ],
                false => [least, most],
            };
            return match domain[0] < domain[1] {
                true => Scale::Log { domain },
                false => Scale::Log {
                    domain: [domain[0] / 10.0, domain[0] * 10.0],
                },
            };
        }
        let (least, most) = match least < most {
            true => (least, most),
            // One value lies in the middle.
            false => (
                least - 0.5 * least.abs().max(1.0),
                most + 0.5 * most.abs().max(1.0),
            ),
        };
        let domain = match nice {
            true => {
                let step = step((most - least) / 5.0);
                [
                    (least / step + 1e-9).floor() * step,
                    (most / step - 1e-9).ceil() * step,
                ]
            }
            false => [least, most],
        };
        Scale::Linear { domain }
    }

    /// Where a number lies: 0 at one end of the scale, 1 at the other.
    pub fn part(&self, value: f64) -> Option<f64> {
        match self {
            Scale::Linear { domain: [a, b] } => Some((value - a) / (b - a)),
            Scale::Log { domain: [a, b] } => (value > 0.0).then(|| (value / a).ln() / (b / a).ln()),
            Scale::Band { .. } => None,
        }
        .filter(|part| part.is_finite())
    }

    /// Ticks, about as many as wanted. `whole`: at whole numbers alone.
    pub fn ticks(&self, wanted: usize, whole: bool, format: Option<&str>) -> Vec<Tick> {
        match self {
            Scale::Linear { domain: [a, b] } => {
                let mut step = step((b - a) / wanted.max(1) as f64);
                if whole {
                    step = step.max(1.0);
                }
                let first = (a / step - 1e-6).ceil() as i64;
                let last = (b / step + 1e-6).floor() as i64;
                let ticks = (first..=last.min(first + 1000)).map(|place| place as f64 * step);
                ticks
                    .map(|value| (value, text(value, step, format)))
                    .collect()
            }
            Scale::Log { domain: [a, b] } => {
                let powers = (a.log10().floor() as i32)..=(b.log10().ceil() as i32);
                let decades = (b / a).log10();
                let factors: &[f64] = if decades < 2.0 {
                    &[1.0, 2.0, 5.0]
                } else {
                    &[1.0]
                };
                // Not every power of a long axis.
                let every = ((decades / wanted.max(1) as f64).ceil() as i32).max(1);
                let ticks = powers
                    .filter(|power| power % every == 0)
                    .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
                let within = ticks.filter(|&value| value >= a * 0.999 && value <= b * 1.001);
                within
                    .map(|value| (value, text(value, value / 10.0, format)))
                    .collect()
            }
            Scale::Band { .. } => Vec::new(),
        }
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below a length.
fn step(length: f64) -> f64 {
    let power = 10f64.powf(length.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|&step| step >= length * 0.999_999)
        .unwrap_or(length)
}

/// A number as an axis shows it, whose neighbours are `step` away. Of formats those that flow's own charts ask for are known:
/// `d` and percent.
fn text(value: f64, step: f64, format: Option<&str>) -> String {
    if format.is_some_and(|format| format.ends_with('%')) {
        return text(value * 100.0, step * 100.0, None) + "%";
    }
    let largest = value.abs();
    if value == 0.0 {
        return "0".into();
    }
    if !(1e-4..1e6).contains(&largest) {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e");
    }
    let decimals = (-step.log10()).ceil().clamp(0.0, 6.0) as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(scale: &Scale, wanted: usize) -> Vec<String> {
        scale
            .ticks(wanted, false, None)
            .into_iter()
            .map(|(_, text)| text)
            .collect()
    }

    #[test]
    fn ends_and_ticks_are_round() {
        let scale = Scale::numbers(0.13, 0.97, false, true);
        assert_eq!(scale, Scale::Linear { domain: [0.0, 1.0] });
        assert_eq!(shown(&scale, 5), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(scale.part(0.25), Some(0.25));
        let scale = Scale::numbers(-3.0, 1200.0, false, true);
        assert_eq!(shown(&scale, 4), ["-500", "0", "500", "1000", "1500"]);
        let one = Scale::numbers(7.0, 7.0, false, true);
        assert!(
            one.part(7.0).is_some_and(|part| part > 0.2 && part < 0.8),
            "{one:?}"
        );
        let percent = Scale::Linear { domain: [0.0, 1.0] }.ticks(2, false, Some(".0%"));
        assert_eq!(percent.last().unwrap().1, "100%");
        let epochs = Scale::Linear { domain: [1.0, 3.0] }.ticks(8, true, None);
        assert_eq!(epochs.len(), 3);
    }

    #[test]
    fn a_logarithm_has_powers_of_ten() {
        let scale = Scale::numbers(0.7, 1300.0, true, false);
        assert_eq!(shown(&scale, 4), ["1", "10", "100", "1000"]);
        assert_eq!(scale.part(0.0), None);
        assert_eq!(
            shown(&Scale::numbers(0.7, 6.0, true, false), 4),
            ["1", "2", "5"]
        );
        assert!(
            matches!(Scale::numbers(0.0, 0.0, true, true), Scale::Log { domain } if domain[0] > 0.0)
        );
        assert_eq!(
            shown(&Scale::numbers(1e-6, 1e-5, true, false), 4)[0],
            "1e-6"
        );
    }
}
