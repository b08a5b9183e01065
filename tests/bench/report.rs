//! The figures: a table for people, `target/bench.json` for machines.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::fault::{Result, Trying, unusable};

/// One line of `bench.json`.
#[derive(Serialize)]
pub(crate) struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    bound: &'static str,
    /// nginx's value in the same run.
    baseline: Option<f64>,
    /// `value` by `baseline`.
    ratio: Option<f64>,
    #[serde(skip)]
    note: String,
}

impl Figure {
    /// A figure whose bound is on the value.
    pub(crate) fn alone(name: &'static str, value: f64, unit: &'static str, bound: &'static str) -> Self {
        Self { name, value: rounded(value), unit, bound, baseline: None, ratio: None, note: String::new() }
    }

    /// A figure whose bound is on its ratio to the baseline.
    pub(crate) fn against(baseline: f64, figure: Self) -> Result<Self> {
        if baseline <= 0.0 || !baseline.is_finite() {
            return Err(unusable(format!("{}: the baseline is {baseline}", figure.name)));
        }
        let ratio = Some(rounded(figure.value / baseline));
        Ok(Self { baseline: Some(rounded(baseline)), ratio, ..figure })
    }

    /// Its name.
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// Adds what the table says beside the figure.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Whether the bound holds.
    fn holds(&self) -> Result<bool> {
        let figure = self.ratio.unwrap_or(self.value);
        let limit = |text: &str| {
            text.trim()
                .parse::<f64>()
                .map_err(|_| unusable(format!("{}: bad bound {}", self.name, self.bound)))
        };
        if let Some(most) = self.bound.strip_prefix("<=") {
            Ok(figure <= limit(most)?)
        } else if let Some(least) = self.bound.strip_prefix(">=") {
            Ok(figure >= limit(least)?)
        } else {
            Err(unusable(format!("{}: bad bound {}", self.name, self.bound)))
        }
    }
}

/// Four significant digits are more than a run repeats.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powf((3.0 - value.abs().log10().floor()).max(0.0));
    (value * scale).round() / scale
}

/// The table. Says MISS where a bound does not hold.
pub(crate) fn table(figures: &[Figure]) -> Result<String> {
    let mut lines = vec![["name", "value", "nginx", "ratio", "bound", "", "beside it"].map(str::to_owned)];
    for figure in figures {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        lines.push([
            figure.name.to_owned(),
            format!("{} {}", figure.value, figure.unit),
            number(figure.baseline),
            number(figure.ratio),
            figure.bound.to_owned(),
            if figure.holds()? { "ok" } else { "MISS" }.to_owned(),
            figure.note.clone(),
        ]);
    }
    let mut widths = [0; 7];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (width, cell) in widths.iter().zip(line) {
            let _ = write!(row, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
    Ok(text)
}

/// Writes the list.
pub(crate) fn write(figures: &[Figure], file: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(figures).map_err(|error| unusable(error.to_string()))?;
    fs::write(file, text + "\n").trying(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: f64, baseline: Option<f64>, bound: &'static str, holds: Option<bool>) {
        let figure = Figure::alone("x", value, "us", bound);
        let figure =
            baseline.map_or(Ok(Figure::alone("x", value, "us", bound)), |base| Figure::against(base, figure));
        assert_eq!(figure.and_then(|figure| figure.holds()).ok(), holds);
    }

    #[test]
    fn bounds() {
        check(2.0, None, "<= 2", Some(true));
        check(2.1, None, "<= 2", Some(false));
        check(2.0, Some(2.0), ">= 1.5", Some(false));
        check(4.0, Some(2.0), ">= 1.5", Some(true));
        check(4.0, Some(0.0), ">= 1.5", None);
        check(4.0, None, "about 3", None);
        check(4.0, None, "<= three", None);
    }

    #[test]
    fn digits() {
        for (value, expect) in
            [(123.456_78, 123.5), (98765.4, 98765.0), (0.001_234_56, 0.001_235), (0.0, 0.0)]
        {
            assert_eq!(rounded(value).to_bits(), f64::to_bits(expect));
        }
    }
}
