//! What Trino expects a statement to read: its answer to `EXPLAIN (TYPE IO, FORMAT JSON)`.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// What a statement is expected to read from its tables. Tables that Trino has no statistics of are not counted; where it has
/// them of none, nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Bytes.
    pub bytes: Option<f64>,
    /// Rows.
    pub rows: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    input_table_column_infos: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    estimate: Figures,
}

/// Numbers, or `"NaN"` for what is not known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    output_size_in_bytes: Value,
    output_row_count: Value,
}

impl Estimate {
    /// Reads the plan.
    ///
    /// # Errors
    /// It is none.
    pub fn read(plan: &str) -> Result<Self, serde_json::Error> {
        let plan: Plan = serde_json::from_str(plan)?;
        let sum = |of: fn(&Figures) -> &Value| {
            let known = plan.input_table_column_infos.iter().filter_map(|input| of(&input.estimate).as_f64());
            known.reduce(|sum, figure| sum + figure)
        };
        Ok(Self { bytes: sum(|of| &of.output_size_in_bytes), rows: sum(|of| &of.output_row_count) })
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure =
            |figure: Option<f64>| figure.map_or_else(|| "unknown".to_owned(), |of| format!("{of:.0}"));
        write!(f, "bytes: {}, rows: {}", figure(self.bytes), figure(self.rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_counted() {
        let check = |inputs: &[(&str, &str)], expect: Option<(Option<f64>, Option<f64>)>| {
            let table = |(bytes, rows): &(&str, &str)| {
                format!(
                    r#"{{"table": {{"catalog": "c"}}, "estimate": {{"outputRowCount": {rows}, "outputSizeInBytes": {bytes}, "cpuCost": 1.0}}}}"#
                )
            };
            let inputs: Vec<String> = inputs.iter().map(table).collect();
            let plan = format!(
                r#"{{"inputTableColumnInfos": [{}], "estimate": {{"outputRowCount": 1.0}}}}"#,
                inputs.join(",")
            );
            let read = Estimate::read(&plan).ok().map(|Estimate { bytes, rows }| (bytes, rows));
            assert_eq!(read, expect, "{plan}");
        };
        check(&[], Some((None, None)));
        check(&[("10.5", "2.0"), ("1E3", "0.0")], Some((Some(1010.5), Some(2.0))));
        check(&[("\"NaN\"", "\"NaN\"")], Some((None, None)));
        check(&[("\"NaN\"", "7.0"), ("3.0", "\"Infinity\"")], Some((Some(3.0), Some(7.0))));
        assert!(Estimate::read("[]").is_err());
        assert!(Estimate::read("{}").is_err());
        let some = Estimate { bytes: Some(1_234.5), rows: None };
        assert_eq!(some.to_string(), "bytes: 1234, rows: unknown");
    }
}
