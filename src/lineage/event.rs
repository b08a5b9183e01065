//! Runs as OpenLineage has them (<https://openlineage.io/spec/2-0-2/OpenLineage.json>).

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::units::hex;

const PRODUCER: &str = concat!("urn:northgate:", env!("CARGO_PKG_VERSION"));
const EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const FACETS: &str = "https://openlineage.io/spec/facets";
/// Facets that are our own have a schema that says no more than that.
const OWN: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet";
const OWN_OF_INPUTS: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/InputDatasetFacet";

/// A table that is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// `catalog.schema.table`
    pub name: String,
    /// The columns that can be read.
    pub columns: Vec<String>,
    /// Tags by column.
    pub tags: BTreeMap<String, Vec<String>>,
    /// Columns that were masked.
    pub masked: Vec<String>,
    /// How many row filters were applied.
    pub filters: usize,
}

/// A query that is sent to Trino.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The gateway's id of it.
    pub query: String,
    /// What kind of statement it is.
    pub kind: String,
    /// What the client says that it is; it names the job.
    pub source: Option<String>,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// What it writes.
    pub outputs: Vec<String>,
    /// The revision of the policies that decided.
    pub policy_revision: String,
    /// What was decided: `allowed`, or `restricted`.
    pub decision: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'e> {
    /// With all its rows.
    Complete,
    /// It failed, with an error of this name.
    Fail(&'e str),
    /// It was cancelled, or given up.
    Abort,
}

impl End<'_> {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Complete => "COMPLETE",
            Self::Fail(_) => "FAIL",
            Self::Abort => "ABORT",
        }
    }
}

impl Run {
    pub(super) fn event(&self, kind: &str, namespace: &str, at: Timestamp, end: Option<&End<'_>>) -> Value {
        let Self { query, inputs, outputs, policy_revision, decision, .. } = self;
        let mut facets = json!({
            "northgate_query": {
                "_producer": PRODUCER, "_schemaURL": OWN,
                "query": query, "policyRevision": policy_revision, "decision": decision,
            },
        });
        if let Some(End::Fail(error)) = end {
            facets["errorMessage"] = json!({
                "_producer": PRODUCER, "_schemaURL": schema("1-0-1", "ErrorMessageRunFacet"),
                "message": error, "programmingLanguage": "SQL",
            });
        }
        let job_type = json!({
            "_producer": PRODUCER, "_schemaURL": schema("2-0-4", "JobTypeJobFacet"),
            "processingType": "BATCH", "integration": "TRINO", "jobType": self.kind,
        });
        json!({
            "eventType": kind,
            "eventTime": at.to_string(),
            "producer": PRODUCER,
            "schemaURL": EVENT,
            "run": { "runId": run_id(query), "facets": facets },
            "job": { "namespace": namespace, "name": self.job(), "facets": { "jobType": job_type } },
            "inputs": inputs.iter().map(|input| input.dataset(namespace)).collect::<Vec<_>>(),
            "outputs": outputs.iter().map(|name| json!({ "namespace": namespace, "name": name })).collect::<Vec<_>>(),
        })
    }

    /// What is the same from run to run: the program, the kind of statement, and what it reads and writes.
    fn job(&self) -> String {
        let source = self.source.as_deref().filter(|source| !source.is_empty()).unwrap_or("sql");
        let names: Vec<&str> = self.inputs.iter().map(|input| input.name.as_str()).collect();
        let same = format!("{source}\0{}\0{}\0{}", self.kind, names.join("\0"), self.outputs.join("\0"));
        let hash = hex(digest(&SHA256, same.as_bytes()).as_ref());
        format!("{source}.{}.{}", self.kind, &hash[..12])
    }
}

impl Input {
    fn dataset(&self, namespace: &str) -> Value {
        let Self { name, columns, tags, masked, filters } = self;
        let fields: Vec<Value> = columns.iter().map(|name| json!({ "name": name })).collect();
        let tagged = tags.iter().flat_map(|(column, tags)| {
            tags.iter().map(
                move |tag| json!({ "key": tag, "value": "true", "source": "NORTHGATE", "field": column }),
            )
        });
        json!({
            "namespace": namespace,
            "name": name,
            "facets": {
                "schema": { "_producer": PRODUCER, "_schemaURL": schema("1-2-0", "SchemaDatasetFacet"), "fields": fields },
                "tags": {
                    "_producer": PRODUCER, "_schemaURL": schema("1-0-0", "TagsDatasetFacet"),
                    "tags": tagged.collect::<Vec<_>>(),
                },
            },
            "inputFacets": {
                "northgate_access": {
                    "_producer": PRODUCER, "_schemaURL": OWN_OF_INPUTS,
                    "maskedColumns": masked, "rowFilters": filters,
                },
            },
        })
    }
}

/// By which version of its schema a facet of the specification is made.
fn schema(version: &str, facet: &str) -> String {
    format!("{FACETS}/{version}/{facet}.json#/$defs/{facet}")
}

/// A UUID (version 8, RFC 9562) that is the same for the same query.
fn run_id(query: &str) -> String {
    let hash = digest(&SHA256, query.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            query: "20261130_120000_00001_abcde".to_owned(),
            kind: "INSERT".to_owned(),
            source: Some("airflow".to_owned()),
            inputs: vec![Input {
                name: "lake.silver.customers".to_owned(),
                columns: vec!["id".to_owned(), "ssn".to_owned()],
                tags: [("ssn".to_owned(), vec!["pii".to_owned()])].into(),
                masked: vec!["ssn".to_owned()],
                filters: 1,
            }],
            outputs: vec!["lake.gold.report".to_owned()],
            policy_revision: "r1".to_owned(),
            decision: "restricted".to_owned(),
        }
    }

    #[test]
    fn events_have_what_the_specification_asks_for() {
        let event = run().event("START", "bank", Timestamp::UNIX_EPOCH, None);
        for required in ["eventTime", "producer", "schemaURL", "run", "job"] {
            assert!(!event[required].is_null(), "{required}: {event}");
        }
        assert_eq!(event["eventTime"], "1970-01-01T00:00:00Z");
        assert_eq!(event["inputs"][0]["name"], "lake.silver.customers");
        assert_eq!(event["inputs"][0]["facets"]["schema"]["fields"][1]["name"], "ssn");
        assert_eq!(event["inputs"][0]["facets"]["tags"]["tags"][0]["field"], "ssn");
        assert_eq!(event["inputs"][0]["inputFacets"]["northgate_access"]["maskedColumns"][0], "ssn");
        assert_eq!(event["outputs"][0]["name"], "lake.gold.report");
        let id = event["run"]["runId"].as_str().expect("text");
        assert_eq!((id.len(), &id[14..15]), (36, "8"), "{id}");
        // Each facet says who made it, and by which schema.
        for facet in ["/run/facets/northgate_query", "/job/facets/jobType", "/inputs/0/facets/schema"] {
            let facet = event.pointer(facet).expect("it is there");
            assert!(facet["_producer"].is_string() && facet["_schemaURL"].is_string(), "{facet}");
        }
        for (facet, schema) in [
            ("/inputs/0/facets/schema", "1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet"),
            ("/job/facets/jobType", "2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet"),
        ] {
            let named = event.pointer(facet).expect("it is there")["_schemaURL"].as_str().expect("text");
            assert_eq!(named, format!("https://openlineage.io/spec/facets/{schema}"));
        }
    }

    #[test]
    fn a_run_keeps_its_id_and_a_job_its_name() {
        let (first, mut second) = (run(), run());
        let end = first.event("FAIL", "bank", Timestamp::UNIX_EPOCH, Some(&End::Fail("DIVISION_BY_ZERO")));
        assert_eq!(
            end["run"]["runId"],
            first.event("START", "bank", Timestamp::UNIX_EPOCH, None)["run"]["runId"]
        );
        assert_eq!(end["run"]["facets"]["errorMessage"]["message"], "DIVISION_BY_ZERO");
        second.query = "another".to_owned();
        assert_eq!(first.job(), second.job());
        assert_ne!(run_id(&first.query), run_id(&second.query));
        second.outputs.clear();
        assert_ne!(first.job(), second.job());
    }
}
