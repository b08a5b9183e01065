//! The sections: each is the `Config` of the module that it is for. A new one is a field of
//! [`super::Config`] and a line here.

use std::path::PathBuf;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::secret::{self, Secret};
use crate::{
    admin, admission, audit, cache, catalog, identity, lineage, query, server, state, telemetry, upstream,
};

/// What this module has to know of a section.
pub(super) trait Section {
    /// The paths in it, which may be relative to the file's folder.
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        Vec::new()
    }

    /// What is wrong with it that its types do not show.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

impl Section for admin::Config {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        vec![&mut self.key_file]
    }
}

impl Section for telemetry::Config {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let emf = self.emf.iter_mut().filter_map(|emf| emf.file.as_mut());
        self.traces.iter_mut().filter_map(|traces| traces.ca_file.as_mut()).chain(emf).collect()
    }

    fn check(&self) -> Result<(), String> {
        let traces = self.traces.as_ref().map_or(Ok(()), telemetry::TracesConfig::check);
        traces.map_err(|why| format!("telemetry.traces.{why}"))?;
        let emf = self.emf.as_ref().map_or(Ok(()), telemetry::EmfConfig::check);
        emf.map_err(|why| format!("telemetry.emf.{why}"))
    }
}

impl Section for lineage::Config {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        lineage::Config::paths(self).collect()
    }

    fn check(&self) -> Result<(), String> {
        lineage::Config::check(self).map_err(|why| format!("lineage.{why}"))
    }
}

impl Section for admission::Config {}

impl Section for state::Config {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        state::Config::paths(self).collect()
    }
}

impl Section for catalog::Config {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        self.rest.values_mut().flat_map(catalog::rest::Config::paths).collect()
    }

    fn check(&self) -> Result<(), String> {
        for (name, rest) in &self.rest {
            rest.check().map_err(|why| format!("catalog.rest.{name}.{why}"))?;
        }
        Ok(())
    }
}

impl Section for Option<cache::Config> {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        self.iter_mut().flat_map(cache::Config::paths).collect()
    }

    fn check(&self) -> Result<(), String> {
        self.as_ref().map_or(Ok(()), cache::Config::check)
    }
}

impl Section for query::Config {
    fn check(&self) -> Result<(), String> {
        query::Config::check(self)
    }
}

impl Section for upstream::Config {
    fn check(&self) -> Result<(), String> {
        self.problem().map_or(Ok(()), |problem| Err(format!("trino.{problem}")))
    }

    fn paths(&mut self) -> Vec<&mut PathBuf> {
        upstream::Config::paths(self).collect()
    }
}

impl Section for upstream::RoutingConfig {}

impl Section for audit::Config {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let s3 = self.s3.iter_mut().flat_map(|s3| {
            let key = s3.secret_access_key_file.as_mut().and_then(secret::Source::file_mut);
            s3.ca_file.as_mut().into_iter().chain(key)
        });
        let keys = self.key_file.as_mut().and_then(secret::Source::file_mut);
        let keys = keys.into_iter().chain(self.text_keys.as_mut());
        let witnesses = self.witness.iter_mut().filter_map(|witness| witness.ca_file.as_mut());
        [&mut self.folder].into_iter().chain(keys).chain(s3).chain(witnesses).collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.text_keys.as_ref().is_some_and(|keys| keys.starts_with(&self.folder)) {
            return Err(
                "audit.text_keys: not within audit.folder, whose copies must not have them".to_owned()
            );
        }
        let problem = self.s3.as_ref().and_then(audit::s3::Config::problem);
        if let Some(problem) = problem {
            return Err(format!("audit.s3.{problem}"));
        }
        if self.witnesses_needed.is_some_and(|needed| needed == 0 || needed > self.witness.len()) {
            return Err("audit.witnesses_needed: from 1 to the number of witnesses".to_owned());
        }
        let problem = self.witness.iter().find_map(audit::witness::Config::problem);
        problem.map_or(Ok(()), |problem| Err(format!("audit.witness.{problem}")))
    }
}

impl Section for server::Config {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let given = [
            self.certificate.as_mut(),
            self.key.as_mut(),
            self.client_ca_file.as_mut(),
            self.client_crl_file.as_mut(),
        ];
        given.into_iter().flatten().chain([&mut self.development_certificates]).collect()
    }

    fn check(&self) -> Result<(), String> {
        server::Config::check(self)
    }
}

fn saml_paths(config: &mut identity::saml::Config) -> impl Iterator<Item = &mut PathBuf> {
    let given = [&mut config.metadata_file, &mut config.ca_file].into_iter().flatten();
    let own = config.key_file.file_mut().into_iter().chain([&mut config.certificate_file]);
    given.chain(own).chain(&mut config.pinned_certificates)
}

impl Section for identity::Config {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let issuers = self.jwt.iter_mut().flat_map(|issuer| [&mut issuer.jwks_file, &mut issuer.ca_file]);
        let tokens = self.tokens.iter_mut().map(|tokens| &mut tokens.file);
        let alb = self.alb.iter_mut().map(|alb| &mut alb.ca_file);
        let own = issuers.chain(alb).flatten().chain([&mut self.users_file]);
        let saml = self.saml.iter_mut().flat_map(saml_paths);
        let oidc = self.oidc.iter_mut().flat_map(|oidc| {
            let secret = oidc.client_secret_file.as_mut().and_then(secret::Source::file_mut);
            secret.into_iter().chain(&mut oidc.ca_file)
        });
        own.chain(tokens).chain(saml).chain(oidc).collect()
    }
}

/// The `[policies]` section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    /// The folder with the documents, `*.yaml`.
    pub folder: PathBuf,
    /// The environment that the gateway stands in, such as `production`, for policies that are for some only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

impl Default for Policies {
    fn default() -> Self {
        Self { folder: PathBuf::from("policies"), environment: None }
    }
}

impl Section for Policies {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        vec![&mut self.folder]
    }
}

/// The `[links]` section: the keys that seal the links which clients poll.
///
/// Without a key one is made at start: links end with the process, and replicas cannot open each other's.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Links {
    /// The file with the key: 32 random bytes in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<secret::Source>,
    /// Files with keys of before, by which links are still opened.
    pub previous_key_files: Vec<secret::Source>,
    /// The key itself, in base64. From the environment only: `NORTHGATE__LINKS__KEY`.
    #[serde(skip)]
    pub key: Option<Secret<String>>,
}

impl Section for Links {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        self.previous_key_files
            .iter_mut()
            .chain(&mut self.key_file)
            .filter_map(secret::Source::file_mut)
            .collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.key.is_some() && self.key_file.is_some() {
            return Err("links.key_file: the environment has a key too; which is meant?".to_owned());
        }
        Ok(())
    }
}

/// Shows a section whose module does not: all its fields by name, so that one which is not listed is noticed.
macro_rules! shown {
    ($ty:path: $($field:ident),+) => {
        impl Serialize for $ty {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let Self { $($field),+ } = self;
                let mut out = serializer.serialize_struct("Config", [$(stringify!($field)),+].len())?;
                $(out.serialize_field(stringify!($field), $field)?;)+
                out.end()
            }
        }
    };
}

shown!(
    audit::Config: folder, file_size, timeout, in_flight, kept, record_size, origin, key_file, checkpoint_every, folder_size, immutable, text_keys, auditors, s3, witness, witnesses_needed
);
shown!(telemetry::Config: format, filter, traces, emf);

impl Serialize for telemetry::Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}
