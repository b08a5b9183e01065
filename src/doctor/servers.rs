//! The servers that the gateway depends on: whether they can be reached, believe the gateway, and are set as the README asks.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use jiff::Timestamp;
use serde_json::Value;

use super::expiry::{End, end_of, end_of_metadata, finding};
use super::{Area, Finding, Level, clock, version};
use crate::audit;
use crate::catalog::rest::RestCatalog;
use crate::config::Config;
use crate::https::{Bounds, Client, shown_certificates};
use crate::state::{Backend, Key, Kind, Store};
use crate::telemetry::Ending;
use crate::upstream::{self, Authentication, Examined, Refusal, State, UpstreamError};

/// What one exchange may take.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), body: 4 << 20 };

/// The clusters.
pub(super) async fn trino(config: &Config) -> Vec<Finding> {
    if let Some(found) = key_to_come(&config.trino) {
        return vec![found];
    }
    let examined = match upstream::examine(&config.trino).await {
        Ok(examined) => examined,
        Err(error) => {
            let remedy = "mend the section [trino], or the file that it names";
            return vec![Finding::problem(Area::Trino, error.to_string(), remedy)];
        }
    };
    let mut found = Vec::new();
    for cluster in &examined {
        found.extend(of_cluster(cluster, config));
        found.extend(
            shown(&format!("Trino '{}'", cluster.name), &cluster.url, config.trino.ca_file.as_deref()).await,
        );
    }
    found
}

/// Making the key is for the gateway's start, under the gateway's own user.
fn key_to_come(config: &upstream::Config) -> Option<Finding> {
    let own = [(config.authentication, &config.key_file)];
    let of_clusters = config
        .clusters
        .iter()
        .map(|cluster| (cluster.authentication.unwrap_or(config.authentication), &cluster.key_file));
    let missing = |(authentication, path): (Authentication, &Option<std::path::PathBuf>)| {
        path.clone().filter(|path| authentication == Authentication::Jwt && !path.exists())
    };
    let path = own.into_iter().chain(of_clusters).find_map(missing)?;
    let says = format!("there is no key at {} yet, so that Trino is not asked anything", path.display());
    Some(Finding::warning(Area::Trino, says, "start the gateway once: it makes the key"))
}

fn of_cluster(cluster: &Examined, config: &Config) -> Vec<Finding> {
    let name = format!("Trino '{}'", cluster.name);
    let info = match &cluster.info {
        Ok(info) => info,
        Err(error) => {
            let says = format!("{name} at {}: {error}", cluster.url);
            if cluster.state == State::Inactive {
                return vec![Finding::good(
                    Area::Trino,
                    format!("{name} is set inactive, and does not answer"),
                )];
            }
            let remedy = match error {
                UpstreamError::Unreachable { detail, .. } if detail.contains("certificate") => {
                    "name the authority of Trino's certificate in trino.ca_file; the certificate must be for the host \
                     in trino.url"
                }
                UpstreamError::Unreachable { .. } => {
                    "see whether Trino runs, and whether security groups and routes let this machine reach that port"
                }
                _ => "see whether trino.url is that of a Trino coordinator, and its log",
            };
            return vec![Finding::problem(Area::Trino, says, remedy)];
        }
    };
    let mut found = vec![version(&name, &info.version)];
    if info.starting {
        found.push(Finding::warning(
            Area::Trino,
            format!("{name} is still starting"),
            "wait, and look again",
        ));
    }
    if let Some((date, came)) = &cluster.date {
        found.extend(clock(&name, Some(date), *came));
    }
    if !cluster.forwarded {
        found.push(Finding::problem(
            Area::Trino,
            format!("{name} refuses requests with X-Forwarded headers"),
            "set http-server.process-forwarded=true in Trino's config.properties",
        ));
    }
    found.push(door(&name, cluster));
    match &cluster.trial {
        Ok(()) => found.push(Finding::good(Area::Trino, format!("{name} runs statements of the gateway"))),
        Err(refusal) => {
            let says = format!(
                "{name} does not run a statement of the gateway's user '{}': {refusal}",
                config.trino.user
            );
            found.push(Finding::problem(Area::Trino, says, trial_remedy(cluster.authentication, refusal)));
            return found;
        }
    }
    match &cluster.impersonation {
        Ok(()) => found.push(Finding::good(Area::Trino, format!("{name} lets the gateway act for users"))),
        Err(refusal) => {
            let user = &config.trino.user;
            let says = format!("{name} does not let '{user}' act for others: {refusal}");
            let remedy = format!(
                "allow it in Trino's access control; with rules.json: {{\"impersonation\": [{{\"original_user\": \
                 \"{user}\", \"new_user\": \".*\"}}]}}"
            );
            found.push(Finding::problem(Area::Trino, says, remedy));
        }
    }
    for catalog in config.catalog.rest.keys() {
        if !cluster.catalogs.is_empty() && !cluster.catalogs.contains(catalog) {
            found.push(Finding::problem(
                Area::Catalog,
                format!(
                    "[catalog.rest.{catalog}]: {name} has no catalog of that name; it has {}",
                    cluster.catalogs.join(", ")
                ),
                "call the section as Trino calls the catalog: what it says holds for none else",
            ));
        }
    }
    found
}

/// Whether Trino lets in who proves nothing.
fn door(name: &str, cluster: &Examined) -> Finding {
    match (cluster.open, cluster.authentication) {
        (false, _) => {
            Finding::good(Area::Trino, format!("{name} does not run statements of those who prove nothing"))
        }
        (true, Authentication::None) => Finding::warning(
            Area::Trino,
            format!("{name} believes whoever reaches its port: they see everything, past all policies"),
            "set trino.authentication (README, \"How Northgate signs in to Trino\"), and let nobody but the gateway reach \
             the port",
        ),
        (true, _) => Finding::problem(
            Area::Trino,
            format!(
                "{name} runs statements of those who prove nothing: they see everything, past all policies"
            ),
            "set http-server.authentication.type in Trino's config.properties, and \
             http-server.authentication.allow-insecure-over-http=false",
        ),
    }
}

fn trial_remedy(authentication: Authentication, refusal: &Refusal) -> &'static str {
    let status = match refusal {
        Refusal::NotTaken(UpstreamError::SignIn { status, .. } | UpstreamError::Status { status, .. }) => {
            Some(*status)
        }
        _ => None,
    };
    match (status, authentication) {
        (Some(StatusCode::NOT_ACCEPTABLE), _) => {
            "set http-server.process-forwarded=true in Trino's config.properties"
        }
        (Some(StatusCode::UNAUTHORIZED), Authentication::Jwt) => {
            "Trino must read the key set of this gateway's admin listener, or have its public key in a file: \
             http-server.authentication.type=JWT and http-server.authentication.jwt.key-file. It reads them at its start and \
             each 15 minutes; clocks that differ by more than a minute also do this"
        }
        (Some(StatusCode::UNAUTHORIZED), Authentication::Password) => {
            "trino.user and trino.password_file must be in Trino's password file, with \
             http-server.authentication.type=PASSWORD"
        }
        (Some(StatusCode::UNAUTHORIZED), Authentication::Certificate) => {
            "Trino must trust the authority of trino.cert_file, and take the user from it \
             (http-server.authentication.certificate.user-mapping.pattern)"
        }
        (Some(StatusCode::UNAUTHORIZED), Authentication::None) => {
            "Trino wants a login: set trino.authentication (README, \"How Northgate signs in to Trino\")"
        }
        (Some(StatusCode::FORBIDDEN), _) => "let trino.user run queries in Trino's access control",
        _ => "see Trino's log at this time",
    }
}

/// Iceberg REST catalogs.
pub(super) async fn catalogs(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, rest) in &config.catalog.rest {
        let says = format!("the catalog '{name}' at {}", rest.uri);
        let address = format!("{}/v1/config", rest.uri.trim_end_matches('/'));
        match get(&address, rest.ca_file.as_deref()).await {
            Ok(answer) => found.extend(clock(&says, date(&answer), Timestamp::now())),
            Err(why) => {
                let remedy = "see whether the catalog runs and this machine may reach it; queries on its tables are refused \
                              while it cannot be asked";
                found.push(Finding::problem(
                    Area::Catalog,
                    format!("{says} cannot be reached: {why}"),
                    remedy,
                ));
                continue;
            }
        }
        let tried = match RestCatalog::new(name, rest.clone()) {
            Ok(catalog) => catalog.try_own_token().await,
            Err(why) => {
                found.push(Finding::problem(
                    Area::Catalog,
                    format!("{says}: {why}"),
                    "mend the section or the file",
                ));
                continue;
            }
        };
        found.push(match tried {
            Some(Ok(())) => Finding::good(Area::Catalog, format!("{says} takes the gateway's token")),
            None => Finding::good(Area::Catalog, format!("{says} answers; it is asked in the users' names")),
            Some(Err(error)) => Finding::problem(
                Area::Catalog,
                format!("{says}: {error}"),
                "see client_id, client_secret_file and token_file of the section, `warehouse`, and the roles that the \
                 gateway has in the catalog",
            ),
        });
        found.extend(shown(&says, &rest.uri, rest.ca_file.as_deref()).await);
    }
    found
}

/// Identity providers.
pub(super) async fn identity(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for issuer in &config.identity.jwt {
        if let Some(url) = &issuer.jwks_url {
            let says = format!("the issuer {}", issuer.issuer);
            found.extend(keys(&says, url, issuer.ca_file.as_deref()).await);
        }
    }
    for oidc in &config.identity.oidc {
        let says = format!("the OpenID provider '{}'", oidc.name);
        let place = format!("{}/.well-known/openid-configuration", oidc.issuer.trim_end_matches('/'));
        let read = read(&says, &place, oidc.ca_file.as_deref(), &mut found).await;
        let Some(metadata) = read.and_then(|body| serde_json::from_slice::<Value>(&body).ok()) else {
            continue;
        };
        if metadata["issuer"] != oidc.issuer {
            let says = format!("{says} calls itself {}, not {}", metadata["issuer"], oidc.issuer);
            found.push(Finding::problem(
                Area::Identity,
                says,
                "write identity.oidc.issuer to the letter as it does",
            ));
        }
        if let Some(url) = metadata["jwks_uri"].as_str() {
            found.extend(keys(&says, url, oidc.ca_file.as_deref()).await);
        }
    }
    for saml in &config.identity.saml {
        let Some(url) = &saml.metadata_url else { continue };
        let says = format!("the SAML identity provider '{}'", saml.name);
        let Some(body) = read(&says, url, saml.ca_file.as_deref(), &mut found).await else { continue };
        let end = End {
            of: Ending::SamlProvider,
            what: format!("the newest certificate of {says}"),
            at: end_of_metadata(&String::from_utf8_lossy(&body)),
        };
        found.push(finding(&end, Timestamp::now()));
    }
    found
}

/// A key set that must have keys.
async fn keys(says: &str, url: &str, ca_file: Option<&std::path::Path>) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(body) = read(&format!("the key set of {says}"), url, ca_file, &mut found).await {
        let set: Value = serde_json::from_slice(&body).unwrap_or_default();
        if set["keys"].as_array().is_none_or(Vec::is_empty) {
            let says = format!("{url} has no keys of {says}");
            found.push(Finding::problem(
                Area::Identity,
                says,
                "see whether the address is that of its key set (JWKS)",
            ));
        }
    }
    found.extend(shown(says, url, ca_file).await);
    found
}

/// The body of a 200 answer of an identity provider.
async fn read(
    says: &str,
    url: &str,
    ca_file: Option<&std::path::Path>,
    found: &mut Vec<Finding>,
) -> Option<Bytes> {
    let remedy = "see whether this machine may reach it, and whether the address is right; nobody new signs in by it \
                  meanwhile";
    match get(url, ca_file).await {
        Ok(answer) if answer.status() == StatusCode::OK => {
            found.push(Finding::good(Area::Identity, format!("{says} answers at {url}")));
            found.extend(clock(says, date(&answer), Timestamp::now()));
            Some(answer.into_body())
        }
        Ok(answer) => {
            let says = format!("{says} answers {} at {url}", answer.status());
            found.push(Finding::problem(Area::Identity, says, remedy));
            None
        }
        Err(why) => {
            found.push(Finding::problem(
                Area::Identity,
                format!("{says} cannot be reached at {url}: {why}"),
                remedy,
            ));
            None
        }
    }
}

/// Where sessions and counts are.
pub(super) async fn state(config: &Config) -> Vec<Finding> {
    let name = match config.state.backend {
        Backend::Memory => return Vec::new(),
        Backend::Redis => "Redis",
        Backend::Postgres => "PostgreSQL",
    };
    let asked = match Store::open(&config.state) {
        Ok(store) => store.find::<Value>(Key::new(Kind::Cluster, "northgate-doctor")).await.map(drop),
        Err(error) => Err(error),
    };
    vec![match asked {
        Ok(()) => Finding::good(Area::State, format!("{name} answers")),
        Err(error) => Finding::problem(
            Area::State,
            format!("{name} cannot be used: {error}"),
            "see state.url_file, state.ca_file, and whether this machine may reach it; sign-ins and other gateways' queries \
             fail meanwhile",
        ),
    }]
}

/// The bucket of the audit.
pub(super) async fn audit(config: &Config) -> Vec<Finding> {
    let Some(s3) = &config.audit.s3 else { return Vec::new() };
    let bucket = format!("the audit's bucket {}", s3.bucket);
    match audit::s3::locks(s3).await {
        Ok((locked, date)) => {
            let mut found = vec![if locked {
                Finding::good(Area::Audit, format!("{bucket} answers, and has Object Lock"))
            } else {
                let says =
                    format!("{bucket} has no Object Lock: what is copied there can be changed and removed");
                let remedy = "make a bucket with Object Lock (aws s3api create-bucket --object-lock-enabled-for-bucket), and \
                              name that";
                Finding::problem(Area::Audit, says, remedy)
            }];
            found.extend(clock("S3", date.as_deref(), Timestamp::now()));
            found
        }
        Err(error) => vec![Finding::problem(
            Area::Audit,
            format!("{bucket} cannot be used: {error}"),
            "see the bucket's name, region and endpoint, and that the gateway's role may s3:GetBucketObjectLockConfiguration, \
             s3:PutObject, s3:PutObjectRetention, s3:GetObject and s3:ListBucket",
        )],
    }
}

async fn get(url: &str, ca_file: Option<&std::path::Path>) -> Result<Response<Bytes>, String> {
    let client = Client::new(ca_file, url.starts_with("https"))?;
    let request = Request::get(url)
        .header(header::USER_AGENT, concat!("northgate/", env!("CARGO_PKG_VERSION")))
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    client.send(request, BOUNDS).await.map_err(|error| error.to_string())
}

fn date(answer: &Response<Bytes>) -> Option<&str> {
    answer.headers().get(header::DATE)?.to_str().ok()
}

/// What is to be said of a server's own certificate: something if it ends soon. That it cannot be had, others say.
async fn shown(says: &str, url: &str, ca_file: Option<&std::path::Path>) -> Option<Finding> {
    let uri: Uri = url.parse().ok().filter(|uri: &Uri| uri.scheme_str() == Some("https"))?;
    let shown = shown_certificates(&uri, ca_file, BOUNDS.time).await.ok()?;
    let end =
        End { of: Ending::Remote, what: format!("the certificate of {says}"), at: end_of(shown.first()?) };
    Some(finding(&end, Timestamp::now())).filter(|finding| finding.level != Level::Good)
}
