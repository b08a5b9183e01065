//! Questions that are asked before anybody does: those of dashboards, after a commit of their tables.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use http::{Method, Request, header};
use serde::{Deserialize, Serialize};

use crate::wire::{self, Call, Limits, Peer, Session};

/// The longest name, in bytes.
const LONGEST_NAME: usize = 40;

/// One of `[[cache.warming]]`: a query, as whom it is asked, and the session that the dashboard's own query has. An answer is
/// found by those alone whose session is the same.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Warming {
    /// What the log and the audit call it.
    pub name: String,
    /// As whom it is asked: names in the users file, which says what groups they are in.
    pub users: Vec<String>,
    /// The query, as the dashboard sends it.
    pub sql: String,
    /// The session's catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
    /// The session's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// What the dashboard's client says that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Its language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Its tags.
    #[serde(default)]
    pub client_tags: Vec<String>,
    /// What it understands.
    #[serde(default)]
    pub client_capabilities: Vec<String>,
    /// Its session properties. They are sent in the order of their names.
    #[serde(default)]
    pub session_properties: BTreeMap<String, String>,
}

impl Warming {
    /// The request that the dashboard's client would send for a user. It is read as any is.
    ///
    /// # Errors
    /// A value that no client could send.
    pub fn call(&self, user: &str, limits: &Limits) -> Result<Call, String> {
        let mut session = Session::default();
        session.user = Some(user.to_owned());
        session.catalog.clone_from(&self.catalog);
        session.schema.clone_from(&self.schema);
        session.source.clone_from(&self.source);
        session.time_zone.clone_from(&self.time_zone);
        session.language.clone_from(&self.language);
        session.client_tags.clone_from(&self.client_tags);
        session.client_capabilities.clone_from(&self.client_capabilities);
        session.properties = self.session_properties.clone().into_iter().collect();
        let headers = wire::upstream_headers(&session, user, None).map_err(|error| error.to_string())?;
        let request = Request::builder().method(Method::POST).uri("/v1/statement");
        let request =
            request.header(header::HOST, "localhost").body(()).map_err(|error| error.to_string())?;
        let (mut parts, ()) = request.into_parts();
        parts.headers.extend(headers);
        // It is from nowhere.
        let peer = Peer::new(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), None);
        let call =
            Call::read(parts, self.sql.clone().into(), peer, limits).map_err(|error| error.to_string())?;
        // A comma in a tag would make two of it.
        if *call.session() == session {
            Ok(call)
        } else {
            Err("a value cannot be sent to Trino as it is".to_owned())
        }
    }

    /// Whether it can be used; if not, why.
    pub(super) fn check(&self) -> Result<(), String> {
        let named = !self.name.is_empty()
            && self.name.len() <= LONGEST_NAME
            && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !named {
            return Err(format!("name: 1 to {LONGEST_NAME} small letters, digits and hyphens"));
        }
        if self.users.is_empty() {
            return Err("users: names nobody".to_owned());
        }
        let of = |user: &String| self.call(user, &Limits::default()).map(drop);
        self.users.iter().try_for_each(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_asked_as_the_dashboard_would() {
        let text = "
            name = 'sales'
            users = ['bi']
            sql = 'SELECT 1'
            catalog = 'lake'
            schema = 'gold'
            source = 'Apache Superset'
            time_zone = 'Europe/Berlin'
            client_tags = ['bi', 'night']
            client_capabilities = ['PATH']
            session_properties = { task_concurrency = '2', query_max_run_time = '1m, or so' }
        ";
        let warming: Warming = toml::from_str(text).expect("TOML");
        assert_eq!(warming.check(), Ok(()));
        let call = warming.call("bi", &Limits::default()).expect("a call");
        let session = call.session();
        assert_eq!((call.body(), session.user.as_deref()), ("SELECT 1", Some("bi")));
        assert_eq!((session.catalog.as_deref(), session.schema.as_deref()), (Some("lake"), Some("gold")));
        assert_eq!((session.source.as_deref(), &session.language), (Some("Apache Superset"), &None));
        assert_eq!(session.time_zone.as_deref(), Some("Europe/Berlin"));
        assert_eq!(
            (&*session.client_tags, &*session.client_capabilities),
            (&["bi".to_owned(), "night".to_owned()][..], &["PATH".to_owned()][..])
        );
        assert_eq!(session.properties[0], ("query_max_run_time".to_owned(), "1m, or so".to_owned()));
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        let check = |change: fn(&mut Warming), expect: &str| {
            let mut warming = Warming {
                name: "sales".to_owned(),
                users: vec!["bi".to_owned()],
                sql: "SELECT 1".to_owned(),
                ..Warming::default()
            };
            change(&mut warming);
            let why = warming.check().err().unwrap_or_default();
            assert!(why.contains(expect) && why.is_empty() == expect.is_empty(), "{why}");
        };
        check(|_| {}, "");
        check(|warming| warming.name = "Sales".to_owned(), "name");
        check(|warming| warming.users.clear(), "users");
        check(|warming| warming.sql = " ".to_owned(), "body");
        check(|warming| warming.schema = Some("gold".to_owned()), "schema");
        check(|warming| warming.time_zone = Some("Europe/Berlin\r\nx-y: z".to_owned()), "time-zone");
        check(|warming| warming.client_tags = vec!["a,b".to_owned()], "as it is");
    }
}
