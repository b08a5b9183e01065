//! Files of findings, and what they say.

mod plans;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

/// A finding as GetFindings gives it, about an object of the table `crm.customers`.
fn finding(detections: &Value) -> Value {
    json!({
        "accountId": "111122223333", "archived": false, "category": "CLASSIFICATION", "count": 1,
        "id": "f1", "partition": "aws", "region": "eu-west-1", "sample": false, "schemaVersion": "1.0",
        "severity": {"description": "High", "score": 3}, "type": "SensitiveData:S3Object/Personal",
        "classificationDetails": {
            "jobId": "j", "originType": "SENSITIVE_DATA_DISCOVERY_JOB",
            "result": {
                "additionalOccurrences": false,
                "customDataIdentifiers": {"detections": [], "totalCount": 0},
                "mimeType": "application/vnd.apache.parquet",
                "sensitiveData": [{"category": "PERSONAL_INFORMATION", "detections": detections, "totalCount": 1}],
                "sizeClassified": 3000,
                "status": {"code": "COMPLETE", "reason": null}
            }
        },
        "resourcesAffected": {
            "s3Bucket": {"arn": "arn:aws:s3:::lake", "name": "lake", "owner": {"displayName": "x", "id": "1"}},
            "s3Object": {
                "bucketArn": "arn:aws:s3:::lake", "eTag": "x", "extension": "parquet",
                "key": "wh/crm/customers/data/0 1.parquet", "path": "lake/wh/crm/customers/data/0 1.parquet",
                "size": 3000, "storageClass": "STANDARD"
            }
        }
    })
}

/// What one identifier found in fields of records.
fn records(kind: &str, paths: &[&str]) -> Value {
    let records: Vec<Value> = paths.iter().map(|path| json!({"jsonPath": path, "recordIndex": 1})).collect();
    json!([{"type": kind, "count": paths.len(), "occurrences": {
        "cells": null, "lineRanges": null, "offsetRanges": null, "pages": null, "records": records}}])
}

/// What a file says, in lines.
fn lines(findings: &Findings) -> Vec<String> {
    let found = findings.found.iter().map(|((place, column), tags)| {
        let tags: Vec<String> = tags.iter().map(|(tag, source)| format!("{tag} by {source}")).collect();
        format!("{place} {}: {}", column.text, tags.join(", "))
    });
    let lost = findings.lost.iter().map(|lost| {
        let place = lost.place.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
        format!("LOST {place}: {}: {}", lost.source, lost.why)
    });
    let notes = findings.notes.iter().map(|note| format!("NOTE {note}"));
    let incomplete = findings.incomplete.iter().map(|place| format!("INCOMPLETE {place}"));
    found.chain(lost).chain(notes).chain(incomplete).collect()
}

fn said_by(text: &str) -> Vec<String> {
    match Findings::read(text, &Types::default()) {
        Ok(findings) => lines(&findings),
        Err(why) => vec![format!("ERROR {why}")],
    }
}

#[test]
fn findings_in_what_they_come_in() {
    let email = finding(&records("EMAIL_ADDRESS", &["$.email"]));
    let check = |what: &str, text: String| {
        let expect = ["s3://lake/wh/crm/customers/data/0 1.parquet $.email: pii.email by finding f1"];
        assert_eq!(said_by(&text), expect, "{what}");
    };
    check("one", email.to_string());
    check("one, on several lines", format!("{email:#}"));
    check("a list", json!([email]).to_string());
    check("GetFindings", json!({"findings": [email]}).to_string());
    check(
        "several answers of GetFindings",
        format!("{:#}\n{:#}", json!({"findings": []}), json!({"findings": [email]})),
    );
    let event = json!({"version": "0", "id": "e", "detail-type": "Macie Finding", "source": "aws.macie", "detail": email});
    check("an event", event.to_string());
    check("events", format!("{event}\n{event}\n"));
    check("a list of events", json!([event]).to_string());
    check("lines, with a mark in front", format!("\u{feff}{email}\n{email}"));
    let mut detailed = email.clone();
    // A detailed discovery result has no category.
    detailed.as_object_mut().expect("an object").remove("category");
    check("a detailed result", detailed.to_string());
    let mut without_key = email.clone();
    without_key["resourcesAffected"]["s3Object"]["key"] = Value::Null;
    check("by its path", without_key.to_string());
}

#[test]
fn what_findings_say() {
    let check = |change: &dyn Fn(&mut Value), expect: &[&str]| {
        let mut finding = finding(&records("EMAIL_ADDRESS", &["$.email"]));
        change(&mut finding);
        let place = "s3://lake/wh/crm/customers/data/0 1.parquet";
        let said: Vec<String> =
            said_by(&finding.to_string()).iter().map(|line| line.replace(place, "O")).collect();
        assert_eq!(said, expect, "{finding}");
    };
    let result = |pointer: &'static str, value: Value| {
        move |finding: &mut Value| {
            let pointer = format!("/classificationDetails/result{pointer}");
            *finding.pointer_mut(&pointer).expect("it is there") = value.clone();
        }
    };
    let occurrences = "/sensitiveData/0/detections/0/occurrences";
    let email = "O $.email: pii.email by finding f1";
    check(&|_| (), &[email]);
    // Where it may be: cells, records, and text.
    let cells = json!({"cells": [{"cellReference": null, "column": 3, "columnName": "e.mail", "row": 2}]});
    check(&result(occurrences, cells), &["O e.mail: pii.email by finding f1"]);
    let no_name = "LOST O: finding f1: EMAIL_ADDRESS: a cell is given without the name of its column";
    check(&result(occurrences, json!({"cells": [{"column": 3, "columnName": null, "row": 2}]})), &[no_name]);
    let no_path = "LOST O: finding f1: EMAIL_ADDRESS: a record is given without the path in it";
    check(&result(occurrences, json!({"records": [{"recordIndex": 3}, {"recordIndex": 4}]})), &[no_path]);
    let cut = json!({"records": [{"jsonPath": "long.name", "recordIndex": 3}, {"jsonPath": "$.email"}]});
    let cut_off =
        "LOST O: finding f1: EMAIL_ADDRESS: long.name: the path does not begin with $: it was cut off";
    check(&result(occurrences, cut), &[email, cut_off]);
    let text = "LOST O: finding f1: EMAIL_ADDRESS: it is in text that has no columns";
    check(&result(occurrences, json!({"lineRanges": [{"start": 1, "end": 1, "startColumn": 4}]})), &[text]);
    check(&result(occurrences, json!({"pages": [{"pageNumber": 1}], "records": []})), &[text]);
    let nowhere = "LOST O: finding f1: EMAIL_ADDRESS: which column it is in is not said";
    check(&result(occurrences, json!(null)), &[nowhere, "INCOMPLETE O"]);
    // What is not all of it.
    check(&result("/sensitiveData/0/detections/0/count", json!(400)), &[email, "INCOMPLETE O"]);
    check(&result("/additionalOccurrences", json!(true)), &[email, "INCOMPLETE O"]);
    check(&result("/status/code", json!("PARTIAL")), &[email, "INCOMPLETE O"]);
    // Custom identifiers.
    let custom = json!({"totalCount": 1, "detections": [{"arn": "a", "name": "Customer Number!", "count": 1,
        "occurrences": {"records": [{"jsonPath": "$.id"}]}}]});
    check(
        &result("/customDataIdentifiers", custom),
        &[email, "O $.id: custom.customer_number_ by finding f1"],
    );
    // What is no finding in an object.
    let top = |key: &'static str, value: Value| move |finding: &mut Value| finding[key] = value.clone();
    check(
        &top("archived", json!(true)),
        &["NOTE findings that are archived are left out: 1", "INCOMPLETE O"],
    );
    check(&top("sample", json!(true)), &["NOTE findings that are samples are left out: 1"]);
    let settings = "NOTE findings about the settings of buckets are left out: 1";
    check(&top("category", json!("POLICY")), &[settings]);
    check(&top("resourcesAffected", json!({})), &["LOST ?: finding f1: it names no object"]);
    check(&top("classificationDetails", json!({})), &["LOST O: finding f1: it does not say what was found"]);
    check(&result("/sensitiveData", json!([])), &["LOST O: finding f1: it does not say what was found"]);
    let shape =
        "LOST ?: entry 1: it is not as Macie's findings are: invalid type: integer `7`, expected a string";
    check(&top("id", json!(7)), &[shape]);
    check(
        &top("ProductArn", json!("arn")),
        &[
            "LOST ?: entry 1: it is a finding as Security Hub has it; give it as Macie has it, from GetFindings",
        ],
    );
}

#[test]
fn what_is_no_file_of_findings() {
    let check = |text: &str, expect: &[&str]| assert_eq!(said_by(text), expect, "{text}");
    check("", &["ERROR the file is empty"]);
    check(
        "{\"a\": ",
        &["ERROR it is not JSON, nor one JSON value to a line: EOF while parsing a value at line 1 column 6"],
    );
    check("[1]", &["LOST ?: entry 1: it is no JSON object"]);
    check("[[[[[{}]]]]]", &["LOST ?: entry 1: lists lie within lists"]);
    check("{\"x\": 1}", &["LOST ?: entry 1: it is no finding of Macie's"]);
    check("{\"findings\": []}", &[]);
    check("name,email\na,b", &["ERROR the first line names no column 'table' or 'object'"]);
    check("hello", &["ERROR the first line names no column 'table' or 'object'"]);
}

#[test]
fn findings_in_csv() {
    let check = |text: &str, expect: &[&str]| assert_eq!(said_by(text), expect, "{text}");
    check("table,column,tags\ncrm.t,a,pii.name\n", &["crm.t a: pii.name by line 2"]);
    // In any order, with more columns, and with what CSV allows.
    check(
        "\u{feff}Tags, note ,COLUMN,Table\r\n\"pii.a, PII.b;c\nd\",x,\"a\"\"b\", crm.t \r\n\r\npii,,address.city,crm.t",
        &[
            "crm.t a\"b: c by line 2, d by line 2, pii.a by line 2, pii.b by line 2",
            "crm.t address.city: pii by line 5",
        ],
    );
    check("object,column,tags\nS3A://lake/x/1.csv,a,pii", &["s3://lake/x/1.csv a: pii by line 2"]);
    check(
        "object,column,tags\nlake/x,a,pii\n,a,pii",
        &[
            "LOST lake/x: line 2: lake/x is no address such as s3://bucket/key",
            "LOST : line 3: it names no object",
        ],
    );
    check(
        "table,column,tags\nt,a\nt,a, ,\nt,,pii\nt,a,p*",
        &[
            "LOST ?: line 2: it has too few columns",
            "LOST t: line 3: it names no tags",
            "LOST t: line 4: it names no column",
            "LOST t: line 5: 'p*' is no tag: it is too long, or has one of * $ in it",
        ],
    );
    check("table,column,tags\nt,\"a,pii", &["ERROR line 2: a quotation mark is not closed"]);
    check("table,column,tags\nt,\"a\"b,pii", &["ERROR line 2: text behind a closing quotation mark"]);
    check(
        "table,object,column,tags\nt,o,a,pii",
        &["ERROR the first line names more than one of: table, object"],
    );
}

#[test]
fn tags_of_types() {
    let check = |category: &str, kind: &str, expect: &str| {
        let tags: Vec<String> = Types::default().managed(category, kind).into_iter().collect();
        assert_eq!(tags, [expect], "{kind}");
    };
    let (pii, money, keys) = ("PERSONAL_INFORMATION", "FINANCIAL_INFORMATION", "CREDENTIALS");
    check(pii, "NAME", "pii.name");
    check(pii, "USA_SOCIAL_SECURITY_NUMBER", "pii.ssn");
    check(pii, "SPAIN_SOCIAL_SECURITY_NUMBER", "pii.national_id");
    check(pii, "PHONE_NUMBER", "pii.phone");
    check(pii, "UK_PHONE_NUMBER", "pii.phone");
    check(pii, "GERMANY_DRIVERS_LICENSE", "pii.driver_license");
    check(pii, "SAXOPHONE_NUMBERS", "pii.saxophone_numbers");
    check(pii, "XPHONE_NUMBER", "pii.xphone_number");
    check(pii, "BRAZIL_CEP_CODE", "pii.brazil_cep_code");
    check(money, "CREDIT_CARD_NUMBER_(NO_KEYWORD)", "financial.card");
    check(money, "BANK_ACCOUNT_NUMBER", "financial.bank_account");
    check(money, "FRANCE_BANK_ACCOUNT_NUMBER", "financial.bank_account");
    check(keys, "OPENSSH_PRIVATE_KEY", "credentials.private_key");
    check("SOMETHING NEW", "A*B", "something_new.a_b");
    check("", "", "sensitive.other");
    let own = "type,tags\nname,pii.person;gdpr\ncustomer number,pii.customer\n";
    let own = Types::read(own).expect("types");
    assert_eq!(own.managed(pii, "NAME"), BTreeSet::from(["gdpr".to_owned(), "pii.person".to_owned()]));
    assert_eq!(own.custom("Customer Number"), BTreeSet::from(["pii.customer".to_owned()]));
    assert_eq!(own.custom("Other"), BTreeSet::from(["custom.other".to_owned()]));
    assert!(own.families().contains("gdpr") && own.families().contains("credentials"));
    let wrong = |text: &str| Types::read(text).expect_err("wrong");
    assert_eq!(wrong("type,tags\na,b\nA,c\n"), "line 3: A is there twice");
    assert_eq!(wrong("type,tags\na,\n"), "line 2: it names no tags");
    assert_eq!(wrong("type,tags\na\n"), "line 2: it has too few columns");
}
