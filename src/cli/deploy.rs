//! `northgate deploy`: what it takes to run the gateway in a place, as files to begin with.

use clap::ValueEnum;

use super::Said;

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Place {
    /// A unit for systemd, with hardening.
    Systemd,
    /// A container file.
    Container,
    /// Terraform for AWS: load balancer with sign-in, security groups, roles, keys, and the locked bucket.
    Terraform,
    /// A bootstrap action for EMR.
    Emr,
    /// A Helm chart for Kubernetes, as an archive: `northgate deploy helm | tar x`.
    Helm,
    /// The configuration of a JupyterHub whose notebooks query in their users' names, without a password.
    Jupyterhub,
    /// What the kernels of its notebooks start with.
    JupyterKernel,
}

/// The files of the chart.
const CHART: [(&str, &str); 3] = [
    ("northgate/Chart.yaml", include_str!("deploy/helm/Chart.yaml")),
    ("northgate/values.yaml", include_str!("deploy/helm/values.yaml")),
    ("northgate/templates/northgate.yaml", include_str!("deploy/helm/templates/northgate.yaml")),
];

/// The file for a place.
///
/// # Errors
/// The archive cannot be made, in words.
pub fn deploy(place: Place) -> Result<Said, String> {
    let text = match place {
        Place::Systemd => include_str!("deploy/northgate.service"),
        Place::Container => include_str!("deploy/Containerfile"),
        Place::Terraform => include_str!("deploy/aws.tf"),
        Place::Emr => include_str!("deploy/emr-bootstrap.sh"),
        Place::Helm => &chart().map_err(|error| error.to_string())?,
        Place::Jupyterhub => include_str!("deploy/jupyterhub_config.py"),
        Place::JupyterKernel => include_str!("deploy/jupyter-kernel.py"),
    };
    Ok(Said { out: text.to_owned(), ..Said::default() })
}

/// The chart. An archive of text is text.
fn chart() -> std::io::Result<String> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, text) in CHART {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, text.as_bytes())?;
    }
    String::from_utf8(archive.into_inner()?).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::path::Path;

    use regex::{Captures, Regex};
    use serde_json::Value;

    use super::*;
    use crate::config::Config;

    /// The chart as it comes out of its archive.
    fn unpacked() -> Vec<(String, String)> {
        let said = deploy(Place::Helm).expect("it can be made");
        let mut archive = tar::Archive::new(said.out.as_bytes());
        let entries = archive.entries().expect("an archive");
        let read = entries.map(|entry| {
            let mut entry = entry.expect("a file");
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            (entry.path().expect("a path").display().to_string(), text)
        });
        read.collect()
    }

    /// What Helm makes of a template of ours: it has values, and the functions that are named here, and nothing else.
    fn rendered(template: &str, values: &Value) -> String {
        let expression = Regex::new(r"\{\{ (\S+)((?: \| \w+)*) \}\}").expect("a pattern");
        let filled = expression.replace_all(template, |found: &Captures<'_>| {
            let value = match &found[1] {
                ".Release.Name" => Value::from("northgate"),
                name => values[name.strip_prefix(".Values.").expect("a value")].clone(),
            };
            assert!(!value.is_null(), "{} has no value", &found[0]);
            match &found[2] {
                "" => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
                " | quote" => {
                    format!("{:?}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                }
                " | toJson" => value.to_string(),
                " | sha256sum | quote" => "\"0123\"".to_owned(),
                other => panic!("no function {other}"),
            }
        });
        assert!(!filled.contains("{{"), "{filled}");
        filled.into_owned()
    }

    #[test]
    fn the_chart_is_what_kubernetes_reads_and_its_configuration_ours() {
        let files = unpacked();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, CHART.map(|(name, _)| name));
        let values: Value = serde_saphyr::from_str(&files[1].1).expect("values");
        let text = values["configuration"].as_str().expect("a configuration");
        let variables = [("NORTHGATE__ADMISSION__REPLICAS".to_owned(), "2".to_owned())];
        Config::read("northgate.toml", text, variables, Path::new("/etc/northgate")).expect("it can be read");
        let template = rendered(&files[2].1, &values);
        let documents: Vec<Value> = template
            .split("\n---\n")
            .map(|document| {
                serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}:\n{document}"))
            })
            .collect();
        let kinds: Vec<&str> = documents.iter().filter_map(|document| document["kind"].as_str()).collect();
        let expect = [
            "ServiceAccount",
            "ConfigMap",
            "Service",
            "Service",
            "PodDisruptionBudget",
            "StatefulSet",
            "NetworkPolicy",
            "NetworkPolicy",
        ];
        assert_eq!(kinds, expect);
        assert_eq!(documents[1]["data"]["northgate.toml"], text);
        let pod = &documents[5]["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        // What is mounted is there, and each variable is a key of ours.
        let volumes = pod["volumes"].as_array().expect("volumes").iter().map(|volume| &volume["name"]);
        let claims = &documents[5]["spec"]["volumeClaimTemplates"][0]["metadata"]["name"];
        let volumes: Vec<&Value> = volumes.chain([claims]).collect();
        for mount in container["volumeMounts"].as_array().expect("mounts") {
            assert!(volumes.contains(&&mount["name"]), "{mount}");
        }
        let given = container["env"].as_array().expect("variables").iter().filter_map(|variable| {
            let (name, value) = (variable["name"].as_str()?, variable["value"].as_str()?);
            Some((name.to_owned(), value.to_owned()))
        });
        let config =
            Config::read("northgate.toml", text, given, Path::new("/etc/northgate")).expect("variables");
        assert_eq!(config.audit.origin, "sql.bank.example/$(POD)");
    }
}
