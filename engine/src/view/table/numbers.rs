//! Figures as text: one form for all of a column, so that its rows can be compared.

use flow_results::table::{Cell, Row};
use serde_json::Number;

/// How the figures of a column are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// Counts.
    Whole,
    /// With this number of digits after the point.
    Fixed(usize),
    /// `1.234e-5`.
    Scientific,
}

impl Form {
    /// The form of a column.
    pub fn of(rows: &[Row], metric: &str) -> Form {
        let cells = || rows.iter().filter_map(|row| row.cells.get(metric));
        let fractional = |cell: &Cell| {
            let mut numbers = cell.values.iter().filter_map(|value| value.value.as_ref());
            numbers.any(Number::is_f64)
        };
        if !cells().any(fractional) {
            let means = cells().filter_map(|cell| cell.mean);
            let mut numbers = means.chain(cells().filter_map(|cell| cell.half_width));
            return if numbers.all(|number| number.fract() == 0.0) {
                Form::Whole
            } else {
                // Means of counts.
                Form::Fixed(2)
            };
        }
        let means = cells().filter_map(|cell| cell.mean);
        let largest = means.map(f64::abs).fold(0.0, f64::max);
        if largest > 0.0 && !(1e-2..1e6).contains(&largest) {
            Form::Scientific
        } else {
            Form::Fixed(4)
        }
    }

    pub fn number(self, value: f64) -> String {
        // No -0.0000.
        let text = self.raw(value);
        let zero = text.chars().all(|c| matches!(c, '-' | '0' | '.'));
        text.strip_prefix('-')
            .filter(|_| zero)
            .map_or(text.clone(), String::from)
    }

    /// With a sign before it.
    pub fn difference(self, value: f64) -> String {
        let text = self.number(value);
        if text.starts_with('-') {
            text
        } else {
            format!("+{text}")
        }
    }

    fn raw(self, value: f64) -> String {
        match self {
            Form::Whole if value.fract() == 0.0 => format!("{value:.0}"),
            // A mean of differences over other seeds than the means.
            Form::Whole => format!("{value:.2}"),
            Form::Fixed(digits) => format!("{value:.digits$}"),
            Form::Scientific => format!("{value:.3e}"),
        }
    }
}

/// A p in words: `0.012`, `<0.001`.
pub(super) fn probability(p: f64) -> String {
    if p < 0.001 {
        "<0.001".into()
    } else {
        format!("{p:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_of_their_column() {
        assert_eq!(Form::Whole.number(14.0), "14");
        assert_eq!(Form::Fixed(4).number(0.93125), "0.9313");
        assert_eq!(Form::Scientific.number(0.000_012_345), "1.234e-5");
        assert_eq!(Form::Fixed(4).difference(0.01), "+0.0100");
        assert_eq!(Form::Fixed(4).difference(-0.01), "-0.0100");
        assert_eq!(Form::Fixed(4).difference(-0.000_001), "+0.0000");
        assert_eq!(Form::Whole.difference(-3.0), "-3");
        assert_eq!(probability(0.000_4), "<0.001");
        assert_eq!(probability(0.012_4), "0.012");
        assert_eq!(probability(1.0), "1.000");
    }
}
