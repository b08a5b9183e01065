//! Sensitive-data findings of Amazon Macie (its API reference, "Findings", and "Schema for reporting the location of sensitive
//! data" of its user guide), as GetFindings gives them, as EventBridge brings them, or one to a line, as they and the
//! detailed discovery results are kept in S3.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::column::Column;
use super::findings::{Findings, Place};
use super::types::Types;

/// How deep findings may lie in lists and in what wraps them.
const DEEPEST: usize = 4;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    id: Option<String>,
    category: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    archived: Option<bool>,
    sample: Option<bool>,
    classification_details: Option<Details>,
    resources_affected: Option<Affected>,
}

#[derive(Deserialize)]
struct Details {
    result: Option<Outcome>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    additional_occurrences: Option<bool>,
    custom_data_identifiers: Option<Custom>,
    sensitive_data: Option<Vec<Group>>,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    code: Option<String>,
}

#[derive(Deserialize)]
struct Custom {
    detections: Option<Vec<Detection>>,
}

#[derive(Deserialize)]
struct Group {
    category: Option<String>,
    detections: Option<Vec<Detection>>,
}

#[derive(Deserialize)]
struct Detection {
    /// Of a managed identifier.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Of a custom one.
    name: Option<String>,
    count: Option<u64>,
    occurrences: Option<Occurrences>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Occurrences {
    cells: Option<Vec<Cell>>,
    records: Option<Vec<Record>>,
    line_ranges: Option<Vec<Value>>,
    offset_ranges: Option<Vec<Value>>,
    pages: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cell {
    column_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    json_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Affected {
    s3_bucket: Option<Bucket>,
    s3_object: Option<Object>,
}

#[derive(Deserialize)]
struct Bucket {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Object {
    key: Option<String>,
    /// The bucket, a slash, and the key.
    path: Option<String>,
}

/// Findings that are left out, by why.
#[derive(Default)]
struct LeftOut {
    archived: usize,
    samples: usize,
    of_policies: usize,
}

/// Reads findings.
///
/// # Errors
/// It is not JSON.
pub(super) fn read(text: &str, types: &Types) -> Result<Findings, String> {
    let mut findings = Findings { families: Some(types.families()), ..Findings::default() };
    let mut left_out = LeftOut::default();
    let mut number = 0;
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let value =
            value.map_err(|error| format!("it is not JSON, nor one JSON value to a line: {error}"))?;
        unwrap(value, DEEPEST, &mut |value| {
            number += 1;
            match value.and_then(finding) {
                Ok(finding) => {
                    let source = finding
                        .id
                        .as_ref()
                        .map_or_else(|| format!("finding {number}"), |id| format!("finding {id}"));
                    take(finding, &source, types, &mut findings, &mut left_out);
                }
                Err(why) => findings.lose(None, &format!("entry {number}"), &why),
            }
        });
    }
    let LeftOut { archived, samples, of_policies } = left_out;
    let why = [
        (archived, "that are archived"),
        (samples, "that are samples"),
        (of_policies, "about the settings of buckets"),
    ];
    for (count, why) in why.into_iter().filter(|(count, _)| *count > 0) {
        findings.notes.push(format!("findings {why} are left out: {count}"));
    }
    Ok(findings)
}

/// Gives each finding in a value, whatever it comes in.
fn unwrap(value: Value, depth: usize, give: &mut impl FnMut(Result<Value, String>)) {
    if depth == 0 {
        return give(Err("lists lie within lists".to_owned()));
    }
    match value {
        Value::Array(values) => values.into_iter().for_each(|value| unwrap(value, depth - 1, give)),
        Value::Object(mut object) => {
            if let Some(values @ Value::Array(_)) = object.get_mut("findings").map(Value::take) {
                unwrap(values, depth - 1, give);
            } else if let Some(detail @ Value::Object(_)) = object.get_mut("detail").map(Value::take) {
                unwrap(detail, depth - 1, give);
            } else {
                give(Ok(Value::Object(object)));
            }
        }
        _ => give(Err("it is no JSON object".to_owned())),
    }
}

fn finding(value: Value) -> Result<Finding, String> {
    if value.get("ProductArn").is_some() {
        return Err(
            "it is a finding as Security Hub has it; give it as Macie has it, from GetFindings".to_owned()
        );
    }
    let is_known = ["classificationDetails", "resourcesAffected", "category"];
    if !is_known.iter().any(|key| value.get(key).is_some()) {
        return Err("it is no finding of Macie's".to_owned());
    }
    serde_json::from_value(value).map_err(|error| format!("it is not as Macie's findings are: {error}"))
}

fn take(finding: Finding, source: &str, types: &Types, findings: &mut Findings, left_out: &mut LeftOut) {
    if finding.sample == Some(true) {
        left_out.samples += 1;
        return;
    }
    let is_policy = |text: &Option<String>, of: &str| text.as_ref().is_some_and(|text| text.starts_with(of));
    if is_policy(&finding.category, "POLICY") || is_policy(&finding.kind, "Policy:") {
        left_out.of_policies += 1;
        return;
    }
    let Some(place) = finding.resources_affected.and_then(place) else {
        return findings.lose(None, source, "it names no object");
    };
    if finding.archived == Some(true) {
        left_out.archived += 1;
        findings.incomplete.insert(place);
        return;
    }
    let Some(outcome) = finding.classification_details.and_then(|details| details.result) else {
        return findings.lose(Some(&place), source, "it does not say what was found");
    };
    let code = outcome.status.and_then(|status| status.code);
    if outcome.additional_occurrences == Some(true) || code.is_some_and(|code| code != "COMPLETE") {
        findings.incomplete.insert(place.clone());
    }
    let mut seen = false;
    for group in outcome.sensitive_data.into_iter().flatten() {
        let category = group.category.unwrap_or_default();
        for detection in group.detections.into_iter().flatten() {
            seen = true;
            let kind = detection.kind.clone().unwrap_or_default();
            detected(&place, &kind, &types.managed(&category, &kind), detection, source, findings);
        }
    }
    let custom = outcome.custom_data_identifiers.and_then(|custom| custom.detections);
    for detection in custom.into_iter().flatten() {
        seen = true;
        let name = detection.name.clone().unwrap_or_default();
        detected(&place, &name, &types.custom(&name), detection, source, findings);
    }
    if !seen {
        findings.lose(Some(&place), source, "it does not say what was found");
    }
}

fn place(affected: Affected) -> Option<Place> {
    let Object { key, path } = affected.s3_object?;
    let bucket = affected.s3_bucket.and_then(|bucket| bucket.name);
    let path = match (bucket, key) {
        (Some(bucket), Some(key)) => format!("{bucket}/{key}"),
        _ => path?,
    };
    Some(Place::Object(format!("s3://{path}")))
}

/// Takes what one identifier found in one object.
fn detected(
    place: &Place,
    kind: &str,
    tags: &BTreeSet<String>,
    detection: Detection,
    source: &str,
    findings: &mut Findings,
) {
    let Occurrences { cells, records, line_ranges, offset_ranges, pages } =
        detection.occurrences.unwrap_or_default();
    let (mut columns, mut problems, mut listed) = (BTreeSet::new(), BTreeSet::new(), 0);
    let cells = cells.into_iter().flatten().map(|cell| match cell.column_name {
        Some(name) if !name.is_empty() => Column::named(&name),
        _ => Err("a cell is given without the name of its column".to_owned()),
    });
    // Macie leaves the path out where a name in it is sensitive.
    let records = records.into_iter().flatten().map(|record| match record.json_path {
        Some(path) if !path.is_empty() => Column::json_path(&path).map_err(|why| format!("{path}: {why}")),
        _ => Err("a record is given without the path in it".to_owned()),
    });
    for column in cells.chain(records) {
        listed += 1;
        match column {
            Ok(column) => drop(columns.insert(column)),
            Err(why) => drop(problems.insert(why)),
        }
    }
    for places in
        [line_ranges, offset_ranges, pages].into_iter().flatten().filter(|places| !places.is_empty())
    {
        listed += u64::try_from(places.len()).unwrap_or(u64::MAX);
        problems.insert("it is in text that has no columns".to_owned());
    }
    if columns.is_empty() && problems.is_empty() {
        problems.insert("which column it is in is not said".to_owned());
    }
    if detection.count.is_some_and(|count| count > listed) {
        findings.incomplete.insert(place.clone());
    }
    for problem in problems {
        findings.lose(Some(place), source, &format!("{kind}: {problem}"));
    }
    for column in columns {
        findings.add(place.clone(), column, tags.clone(), source);
    }
}
