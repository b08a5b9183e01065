//! The `[server]` section.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Span};
use crate::wire;

/// The listener for clients: its address, its certificate, and how much and how slow a client may be.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The certificate chain, PEM, the server's own first. Read again when the file changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM (PKCS#8, PKCS#1 or SEC1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The authorities whose certificates clients may sign in with (PEM). Without it, clients are not asked for any. Read
    /// again when the file changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca_file: Option<PathBuf>,
    /// The authorities' lists of withdrawn certificates (PEM CRLs), one for each authority of a chain. Read again when the
    /// file changes, and no certificate is taken by a list that is past its next update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_crl_file: Option<PathBuf>,
    /// Where certificates for development are made when `certificate` and `key` are not given.
    pub development_certificates: PathBuf,
    /// Speak plain HTTP. Passwords and rows are then readable on the network.
    pub plain_http: bool,
    /// The networks of the proxies whose `X-Forwarded-For`, `-Proto`, `-Port` and `-Host` are believed, and who may sign
    /// users in as `[identity.alb]` says. Name their own addresses only: whoever calls from there can be anywhere.
    pub trusted_proxies: Vec<IpNet>,
    /// The longest statement.
    pub max_statement: ByteSize,
    /// The most bytes of headers of a request: prepared statements travel there. 8 KiB to 16 MiB.
    pub max_header: ByteSize,
    /// The most header lines of a request.
    pub max_header_lines: u16,
    /// The most memory that statements in flight may take before they are read; more wait.
    pub max_statement_memory: ByteSize,
    /// The most connections; more wait to be accepted.
    pub max_connections: u32,
    /// The most requests at once on an HTTP/2 connection.
    pub max_streams: u32,
    /// The time for a TLS handshake.
    pub handshake_timeout: Span,
    /// The time from the first byte of a request to the end of its headers (HTTP/1.1).
    pub header_timeout: Span,
    /// The time for the body of a request.
    pub body_timeout: Span,
    /// How long a client may take nothing of an answer that is there for it.
    pub write_timeout: Span,
    /// How long a connection without requests stays open.
    pub idle_timeout: Span,
    /// How long running queries go on after SIGTERM.
    pub drain_timeout: Span,
    /// How long, after SIGTERM, queries are still taken while readiness says that there will be an end: as long as a balancer
    /// may take to notice. A part of `drain_timeout`.
    pub drain_delay: Span,
    /// Compress answers for clients that accept gzip.
    pub compress: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443),
            certificate: None,
            key: None,
            client_ca_file: None,
            client_crl_file: None,
            development_certificates: PathBuf::from("certs"),
            plain_http: false,
            trusted_proxies: Vec::new(),
            max_statement: ByteSize(1_000_000),
            max_header: ByteSize(1 << 20),
            max_header_lines: 1_000,
            max_statement_memory: ByteSize(256_000_000),
            max_connections: 4_096,
            max_streams: 100,
            handshake_timeout: Span(Duration::from_secs(10)),
            header_timeout: Span(Duration::from_secs(30)),
            body_timeout: Span(Duration::from_secs(30)),
            write_timeout: Span(Duration::from_mins(2)),
            idle_timeout: Span(Duration::from_mins(6)),
            drain_timeout: Span(Duration::from_mins(5)),
            drain_delay: Span(Duration::ZERO),
            compress: true,
        }
    }
}

impl Config {
    /// What serde cannot see: values out of bounds, and values that contradict each other.
    pub fn check(&self) -> Result<(), String> {
        let bounds = |name: &str, value: ByteSize, least: u64, most: u64| {
            if (least..=most).contains(&value.0) {
                return Ok(());
            }
            Err(format!("server.{name}: {value} is not within {} and {}", ByteSize(least), ByteSize(most)))
        };
        bounds("max_header", self.max_header, 8 << 10, 16 << 20)?;
        bounds("max_statement", self.max_statement, 1, 100_000_000)?;
        bounds("max_statement_memory", self.max_statement_memory, self.max_statement.0, 1 << 40)?;
        if self.certificate.is_some() != self.key.is_some() {
            return Err("server.certificate and server.key belong together: give both or neither".to_owned());
        }
        if self.plain_http && self.certificate.is_some() {
            return Err("server.plain_http: there is a certificate too; which is meant?".to_owned());
        }
        if self.plain_http && self.client_ca_file.is_some() {
            return Err("server.client_ca_file: there are no certificates in plain HTTP".to_owned());
        }
        if self.client_crl_file.is_some() && self.client_ca_file.is_none() {
            return Err("server.client_crl_file: means nothing without client_ca_file".to_owned());
        }
        if let Some(all) = self.trusted_proxies.iter().find(|network| network.prefix_len() == 0) {
            return Err(format!(
                "server.trusted_proxies: '{all}' is everybody; name the proxies' own networks"
            ));
        }
        if self.drain_delay.0 > self.drain_timeout.0 {
            return Err(
                "server.drain_delay is a part of server.drain_timeout: it cannot be longer".to_owned()
            );
        }
        let zero = [
            ("max_header_lines", self.max_header_lines == 0),
            ("max_connections", self.max_connections == 0),
            ("max_streams", self.max_streams == 0),
            ("handshake_timeout", self.handshake_timeout.0.is_zero()),
            ("header_timeout", self.header_timeout.0.is_zero()),
            ("body_timeout", self.body_timeout.0.is_zero()),
            ("write_timeout", self.write_timeout.0.is_zero()),
            ("idle_timeout", self.idle_timeout.0.is_zero()),
        ];
        match zero.iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(format!("server.{name}: cannot be 0")),
            None => Ok(()),
        }
    }

    /// The same limits, as stage 1 knows them.
    pub fn limits(&self) -> wire::Limits {
        wire::Limits {
            body: size(self.max_statement),
            headers: size(self.max_header),
            header_lines: usize::from(self.max_header_lines),
            ..wire::Limits::default()
        }
    }
}

/// A size in memory.
pub(super) fn size(size: ByteSize) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused() {
        let check = |text: &str, expect: &str| {
            let error = toml::from_str::<Config>(text).map_or_else(
                |error| error.message().to_owned(),
                |config| config.check().err().unwrap_or_default(),
            );
            assert!(error.contains(expect), "{text}: {error:?}");
        };
        assert_eq!(Config::default().check(), Ok(()));
        check("listn = '[::]:1'", "unknown field `listn`");
        check("max_header = '1kB'", "not within 8KiB and 16MiB");
        check("max_statement = '1GB'", "server.max_statement: 1GB is not within");
        check("max_statement = '100MB'\nmax_statement_memory = '1MB'", "max_statement_memory");
        check("certificate = 'a'", "belong together");
        check("plain_http = true\ncertificate = 'a'\nkey = 'b'", "plain_http");
        check("plain_http = true\nclient_ca_file = 'a'", "server.client_ca_file");
        check("client_crl_file = 'a'", "server.client_crl_file");
        check("trusted_proxies = ['0.0.0.0/0']", "'0.0.0.0/0' is everybody");
        check("trusted_proxies = ['::/0']", "'::/0' is everybody");
        check("trusted_proxies = ['10.0.0.0/33']", "invalid IP address syntax");
        check("idle_timeout = '0s'", "server.idle_timeout: cannot be 0");
        check("max_connections = 0", "server.max_connections: cannot be 0");
    }
}
