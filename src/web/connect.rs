//! How each tool connects, for the one who is signed in: addresses to copy, and files that the tools open. No secret is in any
//! of them.

use http::StatusCode;
use maud::{Markup, html};

use super::answer::Reply;
use super::pages::{Frame, Place};
use super::{Failed, Page, Result, to};
use crate::identity::Session;

/// Where tools connect to.
struct Target<'t> {
    /// `https://sql.bank.example`, or with a port.
    origin: &'t str,
    host: &'t str,
    port: u16,
}

impl<'t> Target<'t> {
    fn new(origin: &'t str) -> Self {
        let authority = origin.strip_prefix("https://").unwrap_or(origin);
        let (host, port) = match authority.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
            Some((host, Ok(port))) => (host, port),
            _ => (authority, 443),
        };
        Self { origin, host, port }
    }

    fn jdbc(&self, more: &str) -> String {
        format!("jdbc:trino://{}:{}?SSL=true{more}", self.host, self.port)
    }

    /// A data source of Power BI: its Trino drivers are ODBC drivers.
    fn pbids(&self) -> String {
        let options = serde_json::json!({
            "driver": "Trino ODBC Driver", "host": self.host, "port": self.port.to_string(), "ssl": "1",
        });
        let details = serde_json::json!({ "protocol": "odbc", "address": { "options": options } });
        let source = serde_json::json!({
            "version": "0.1",
            "connections": [{ "details": details, "options": {}, "mode": null }],
        });
        serde_json::to_string_pretty(&source).unwrap_or_default()
    }

    /// A data source of Tableau, by the JDBC driver.
    fn tds(&self, user: Option<&str>) -> String {
        let more = if user.is_some() { "" } else { "&externalAuthentication=true" };
        let document = html! {
            datasource formatted-name="northgate" inline="true" version="18.1" {
                connection class="federated" {
                    named-connections {
                        named-connection caption=(self.host) name="genericjdbc.northgate" {
                            connection class="genericjdbc" dialect="SQL92" jdbcproperties="" jdbcurl=(self.jdbc(more))
                                server=(self.host) port=(self.port) username=(user.unwrap_or_default()) {}
                        }
                    }
                }
            }
        };
        format!("<?xml version='1.0' encoding='utf-8'?>\n{}\n", document.into_string())
    }
}

impl Page<'_> {
    pub(super) async fn connect(&self) -> Result {
        let Some(session) = self.session().await? else { return to("/login") };
        let mut frame = self.frame("Connect", Some(&session));
        frame.place = Place::Connect;
        Ok(Reply::page(StatusCode::OK, shown(&frame, &session, &Target::new(&self.origin))))
    }

    /// A file for a tool.
    pub(super) async fn connect_file(&self, name: &str) -> Result {
        let target = Target::new(&self.origin);
        let Some(session) = self.session().await? else { return to("/login") };
        let (kind, text) = match name {
            "northgate.pbids" => ("application/json", target.pbids()),
            "northgate.tds" => ("application/xml", target.tds(None)),
            "northgate-token.tds" => ("application/xml", target.tds(Some(session.principal().name()))),
            _ => return Err(Failed::NotFound),
        };
        Ok(Reply::download(kind, name, text.into_bytes()))
    }
}

fn shown(frame: &Frame<'_>, session: &Session, target: &Target<'_>) -> Markup {
    let user = session.principal().name();
    let Target { origin, host, port } = target;
    let code = |text: &str| html! { pre { code { (text) } } };
    let token = if frame.tokens {
        html! { "an " a href="/tokens" { "access token" } " as the password" }
    } else {
        html! { "your password" }
    };
    frame.around(false, &html! {
        h1 { "Connect" }
        p { "With your own sign-in a tool opens a browser and signs in as you do here. Where a tool cannot do that, sign in as "
            code { (user) } " with " (token) "." }
        h2 #powerbi { "Power BI" }
        p { a.button href="/connect/northgate.pbids" download { "Data source (.pbids)" } }
        p.quiet { "Install an ODBC driver for Trino, and open the file. Choose “Basic”, your user name, and " (token) ". By hand: Get "
            "data, ODBC, with the connection string" }
        (code(&format!("Driver={{Trino ODBC Driver}};Host={host};Port={port};SSL=1")))
        p.quiet { "Drivers are called differently by those who make them: write the name that yours has in “ODBC Data Sources”." }
        h2 #tableau { "Tableau" }
        p {
            a.button href="/connect/northgate.tds" download { "Data source, with the browser (.tds)" } " "
            a.button.plain href="/connect/northgate-token.tds" download { "Data source, with a token (.tds)" }
        }
        p.quiet { "Put the JDBC driver of Trino (trino-jdbc) into Tableau's Drivers folder, and open the file. What is published on a "
            "server uses a token: nobody sits at a browser there." }
        h2 #jdbc { "DBeaver, DataGrip and other JDBC tools" }
        (code(&target.jdbc("&externalAuthentication=true")))
        p.quiet { "The driver is Trino's, io.trino:trino-jdbc. In DBeaver: New connection, Trino, and this as the URL. With a token leave "
            "out " code { "&externalAuthentication=true" } "." }
        h2 #cli { "Command line" }
        (code(&format!("trino --server {origin} --external-authentication")))
        h2 #python { "Python" }
        (code(&format!(
            "from trino.dbapi import connect\nfrom trino.auth import OAuth2Authentication\n\n\
             connection = connect(host=\"{origin}\", auth=OAuth2Authentication())"
        )))
        h2 #jupyter { "Jupyter" }
        (code(&format!(
            "%pip install jupysql \"trino[sqlalchemy]\"\n%load_ext sql\nfrom sqlalchemy import create_engine\n\
             from trino.auth import OAuth2Authentication\n\
             engine = create_engine(\"trino://{host}:{port}/\",\n    \
             connect_args={{\"http_scheme\": \"https\", \"auth\": OAuth2Authentication()}})\n%sql engine\n%sql SELECT current_user"
        )))
        p.quiet { "In a hub whose users sign in at the identity provider, give the connection the hub's token: "
            code { "JWTAuthentication(token)" } " in the place of " code { "OAuth2Authentication()" } "." }
        h2 #spark { "Spark" }
        (code(&format!(
            "spark.read.format(\"jdbc\").option(\"driver\", \"io.trino.jdbc.TrinoDriver\")\n    \
             .option(\"url\", \"{}\")\n    .option(\"user\", \"{user}\").option(\"password\", token)\n    \
             .option(\"dbtable\", \"lake.gold.customers\")\n    .option(\"partitionColumn\", \"id\").option(\"numPartitions\", 4)\n    \
             .option(\"lowerBound\", 0).option(\"upperBound\", 1000000)\n    .load()",
            target.jdbc("")
        )))
        h2 #airflow { "Airflow and dbt" }
        p { "Use a service account of the identity provider, or a token of one, not your own: what a program does is then on record as "
            "its own. Airflow's connection:" }
        (code(&format!(
            "airflow connections add trino --conn-type trino --conn-host {host} --conn-port {port} \\\n    \
             --conn-login etl --conn-password TOKEN \\\n    \
             --conn-extra '{{\"protocol\": \"https\", \"auth\": \"basic\"}}'"
        )))
        p { "In dbt's " code { "profiles.yml" } ":" }
        (code(&format!(
            "type: trino\nmethod: ldap\nhost: {host}\nport: {port}\nhttp_scheme: https\nuser: etl\npassword: TOKEN\n\
             database: lake\nschema: gold"
        )))
        h2 #superset { "Superset" }
        (code(&format!("trino://svc-superset:TOKEN@{host}:{port}/lake")))
        p.quiet { "With " code { "{\"connect_args\": {\"http_scheme\": \"https\"}}" } " as the engine's parameters. Let it impersonate its "
            "users, so that each sees what they may, which Northgate's operators have to allow, and set " code { "CACHE_IMPERSONATION" }
            ", so that nobody gets from its cache what another may see." }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |origin: &str, host: &str, port: u16| {
            let target = Target::new(origin);
            assert_eq!((target.host, target.port), (host, port), "{origin}");
        };
        check("https://sql.bank.example", "sql.bank.example", 443);
        check("https://sql.bank.example:8443", "sql.bank.example", 8443);
        check("https://[::1]:8443", "[::1]", 8443);
        check("https://[::1]", "[::1]", 443);
    }

    #[test]
    fn files_name_the_gateway_and_hold_no_secret() {
        let target = Target::new("https://sql.bank.example");
        let source: serde_json::Value = serde_json::from_str(&target.pbids()).expect("JSON");
        let address = &source["connections"][0]["details"]["address"]["options"];
        assert_eq!((&address["host"], &address["port"]), (&"sql.bank.example".into(), &"443".into()));
        let browser = target.tds(None);
        let url = "jdbc:trino://sql.bank.example:443?SSL=true&amp;externalAuthentication=true";
        assert!(browser.contains(&format!("jdbcurl=\"{url}\"")), "{browser}");
        assert!(browser.contains("username=\"\""), "{browser}");
        let token = target.tds(Some("ann\"<b"));
        assert!(token.contains("username=\"ann&quot;&lt;b\"") && !token.contains("externalAuth"), "{token}");
    }
}
