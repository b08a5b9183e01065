//! The JSON Schema of a record, for whoever reads the log with tools of their own.
//!
//! `x-ocsf` and `x-openlineage` beside a member are what the Open Cybersecurity Schema Framework (1.3: Datastore Activity,
//! Authentication, API Activity) and OpenLineage (2.0) call the same.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::record::{Event, Line, SCHEMA_VERSION};

/// The schema.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut variants = Vec::new();
    for schema in [
        settings.clone().into_generator().into_root_schema_for::<Line<'_>>(),
        settings.into_generator().into_root_schema_for::<Event>(),
    ] {
        if let Some(Value::Array(each)) = schema.to_value().get("oneOf") {
            variants.extend(each.iter().cloned());
        }
    }
    let mut members = Map::new();
    let mut member = |name: &str, schema: Value| _ = members.insert(name.to_owned(), schema);
    member(
        "v",
        json!({"const": SCHEMA_VERSION, "description": "The version of this schema.", "x-ocsf": "metadata.log_version"}),
    );
    member(
        "run",
        json!({"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "16 random bytes in hex, new at each start of the process."}),
    );
    member(
        "seq",
        json!({"type": "integer", "minimum": 1, "description": "The order of the records of one run, without gaps.", "x-ocsf": "metadata.sequence"}),
    );
    member(
        "time",
        json!({"type": "string", "format": "date-time", "description": "When it was made: UTC, with microseconds.", "x-ocsf": "time_dt", "x-openlineage": "eventTime"}),
    );
    member(
        "tick_us",
        json!({"type": "integer", "minimum": 1, "description": "Microseconds since the run began, by a clock that never goes back."}),
    );
    member(
        "type",
        json!({"type": "string", "description": "Which record it is.", "x-ocsf": "metadata.event_code"}),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A record of Northgate's audit",
        "description": "A line of the log. Members that do not apply are left out; a reader must not mind members that it does not know: the version rises when one changes its meaning, not when one is added.",
        "type": "object",
        "required": ["v", "run", "seq", "time", "tick_us", "type"],
        "properties": members,
        "anyOf": variants,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Whether a record is what the schema says, as far as names and required members go.
    pub(crate) fn holds(schema: &Value, record: &Value) -> Result<(), String> {
        let (head, variants) = (&schema["properties"], schema["anyOf"].as_array().expect("variants"));
        let of_type = variants.iter().filter(|one| one["properties"]["type"]["const"] == record["type"]);
        let mut problems = vec![format!("no variant for {record}")];
        for variant in of_type {
            let unknown = record.as_object().expect("an object").keys().find(|name| {
                head.get(name.as_str()).is_none() && variant["properties"].get(name.as_str()).is_none()
            });
            let required = [&schema["required"], &variant["required"]];
            let mut names = required.iter().filter_map(|names| names.as_array()).flatten();
            let missing = names.find(|name| record.get(name.as_str().expect("a name")).is_none());
            match (unknown, missing) {
                (None, None) => return Ok(()),
                problem => problems.push(format!("{problem:?} in {record}")),
            }
        }
        Err(problems.join("\n"))
    }

    /// `UPDATE_GOLDEN=1` writes what is so.
    #[test]
    fn the_published_schema_is_that_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/audit/record.schema.json");
        let text = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &text).expect("written");
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text, "UPDATE_GOLDEN=1 writes it anew");
        // Each member is described.
        for variant in schema()["anyOf"].as_array().expect("variants") {
            for (name, member) in variant["properties"].as_object().expect("members") {
                assert!(
                    name == "type" || member.get("description").is_some(),
                    "{name} is not described: {member}"
                );
            }
        }
        for kind in [
            "intent",
            "outcome",
            "gap",
            "denied",
            "refused",
            "login_failed",
            "token_created",
            "token_revoked",
            "sign_in",
            "administration",
            "start",
            "stop",
            "reload",
        ] {
            assert!(text.contains(&format!("\"const\": \"{kind}\"")), "{kind}");
        }
    }
}
