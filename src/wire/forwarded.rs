//! What proxies say of the client whose request they pass on. Only those that are trusted are asked.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;
use ipnet::IpNet;

use super::call::{Peer, is_host};
use super::malformed::{HeaderFault, Malformed};

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const PORT: &str = "x-forwarded-port";
const HOST: &str = "x-forwarded-host";
/// The most addresses of a chain of proxies that are looked at.
const LONGEST: usize = 32;
/// The most bytes of it that are kept for the record.
const CHAIN: usize = 1000;

/// The proxy that a request came by, and what it says of how the client called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// Whom it says that the request was passed on by, as it came, for the record: at most the last 1,000 bytes.
    pub forwarded: Option<String>,
    /// Whether the client called by `https`, if the proxy says it.
    pub(super) https: Option<bool>,
    /// The host that the client named, and the port if it named one.
    pub(super) host: Option<String>,
    /// The port that the client called.
    pub(super) port: Option<u16>,
}

/// The networks of the proxies that are trusted.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Trusts whoever connects from these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether it is one of them.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client that a request is from: the other end of the connection, or whom a trusted proxy names.
    ///
    /// # Errors
    ///
    /// [`Malformed::Header`] where a trusted proxy passes on headers that contradict each other.
    pub fn client(&self, headers: &HeaderMap, mut peer: Peer) -> Result<Peer, Malformed> {
        if !self.trusts(peer.address.ip()) {
            return Ok(peer);
        }
        let proxy = Proxy {
            address: peer.address,
            forwarded: chain(headers),
            https: single(headers, PROTO)?.map(scheme).transpose()?,
            host: single(headers, HOST)?.map(host).transpose()?,
            port: single(headers, PORT)?.map(port).transpose()?,
        };
        peer.address = self.origin(headers, peer.address);
        // A certificate of the connection is the proxy's own, and nobody's who is behind it.
        peer.certificate = None;
        peer.proxy = Some(Arc::new(proxy));
        Ok(peer)
    }

    /// The address furthest from us for which somebody trusted vouches. Each proxy adds the one that it was called from
    /// at the right; what the client wrote itself is left of that.
    fn origin(&self, headers: &HeaderMap, connection: SocketAddr) -> SocketAddr {
        let mut origin = connection;
        let lines = headers.get_all(FOR).iter().rev();
        let entries = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        for entry in entries.take(LONGEST) {
            let Some(address) = address(entry.trim()) else { break };
            origin = address;
            if !self.trusts(address.ip()) {
                break;
            }
        }
        origin
    }
}

/// All that there is of the chain. What is no ASCII of it is `?`.
fn chain(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(FOR).iter().map(|line| {
        let plain = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '?' };
        line.as_bytes().iter().map(plain).collect::<String>()
    });
    let all = lines.collect::<Vec<_>>().join(", ");
    // The right end is what proxies wrote.
    let from = all.len().saturating_sub(CHAIN);
    all.get(from..).filter(|chain| !chain.is_empty()).map(str::to_owned)
}

/// An address, with a port where the proxy gives one.
fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address);
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 0))
}

fn single<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<Option<(&'static str, &'a str)>, Malformed> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Malformed::Header { name, why: HeaderFault::Repeated });
    }
    value.to_str().map(|value| Some((name, value.trim()))).map_err(|_| form(name))
}

fn scheme((name, value): (&'static str, &str)) -> Result<bool, Malformed> {
    match value.to_ascii_lowercase().as_str() {
        "https" => Ok(true),
        "http" => Ok(false),
        _ => Err(form(name)),
    }
}

fn host((name, value): (&'static str, &str)) -> Result<String, Malformed> {
    is_host(value).then(|| value.to_ascii_lowercase()).ok_or(form(name))
}

fn port((name, value): (&'static str, &str)) -> Result<u16, Malformed> {
    value.parse().ok().filter(|port| *port > 0).ok_or(form(name))
}

const fn form(name: &'static str) -> Malformed {
    Malformed::Header { name, why: HeaderFault::Form }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn read(from: &str, lines: &[(&'static str, &str)]) -> Result<Peer, Malformed> {
        let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
        }
        let mut peer = Peer::new(from.parse().expect("an address"), None);
        peer.certificate = Some(Arc::default());
        Proxies::new(networks.into()).client(&headers, peer)
    }

    #[test]
    fn the_client_is_whom_the_last_trusted_proxy_names() {
        let check = |from: &str, lines: &[&str], expect: &str| {
            let lines: Vec<_> = lines.iter().map(|line| (FOR, *line)).collect();
            let peer = read(from, &lines).expect("readable");
            assert_eq!(peer.origin(), expect, "{from} {lines:?}");
        };
        check("203.0.113.9:7", &[], "203.0.113.9:7");
        check("203.0.113.9:7", &["198.51.100.1"], "203.0.113.9:7");
        check("10.0.0.1:7", &[], "10.0.0.1:7");
        check("10.0.0.1:7", &["198.51.100.1"], "198.51.100.1");
        check("[::ffff:10.0.0.1]:7", &["198.51.100.1"], "198.51.100.1");
        check("[2001:db8::1]:7", &["2001:db9::5"], "2001:db9::5");
        check("10.0.0.1:7", &["198.51.100.1:4711"], "198.51.100.1:4711");
        check("10.0.0.1:7", &["[2001:db9::5]:4711"], "[2001:db9::5]:4711");
        check("10.0.0.1:7", &["[2001:db9::5]"], "2001:db9::5");
        // Left of the one that the proxy added is the client's own invention.
        check("10.0.0.1:7", &["192.0.2.1, 198.51.100.1"], "198.51.100.1");
        check("10.0.0.1:7", &["192.0.2.1", "198.51.100.1"], "198.51.100.1");
        check("10.0.0.1:7", &["198.51.100.1, 10.2.0.1,10.3.0.1"], "198.51.100.1");
        check("10.0.0.1:7", &["198.51.100.1, 10.2.0.1", "10.3.0.1"], "198.51.100.1");
        check("10.0.0.1:7", &["10.4.0.1, 10.2.0.1"], "10.4.0.1");
        // What is no address ends the search.
        check("10.0.0.1:7", &["198.51.100.1, unknown"], "10.0.0.1:7");
        check("10.0.0.1:7", &["198.51.100.1, garbage, 10.3.0.1"], "10.3.0.1");
        check("10.0.0.1:7", &["198.51.100.1, "], "10.0.0.1:7");
        let long = "10.2.0.1, ".repeat(100) + "10.3.0.1";
        check("10.0.0.1:7", &[&format!("198.51.100.1, {long}")], "10.2.0.1");
    }

    #[test]
    fn all_of_the_chain_is_kept_as_far_as_it_is_vouched_for() {
        let check = |from: &str, lines: &[&str], expect: Option<&str>| {
            let lines: Vec<_> = lines.iter().map(|line| (FOR, *line)).collect();
            let peer = read(from, &lines).expect("readable");
            let kept = peer.proxy.as_deref().and_then(|proxy| proxy.forwarded.as_deref());
            assert_eq!(kept, expect, "{from} {lines:?}");
        };
        check("203.0.113.9:7", &["198.51.100.1"], None);
        check("10.0.0.1:7", &[], None);
        check("10.0.0.1:7", &["192.0.2.1, é", "10.2.0.1"], Some("192.0.2.1, ??, 10.2.0.1"));
        check("10.0.0.1:7", &[&"1".repeat(3000), &"2".repeat(CHAIN)], Some(&"2".repeat(CHAIN)));
    }

    #[test]
    fn what_else_a_proxy_says() {
        let proxied = |lines: &[(&'static str, &str)]| {
            read("10.0.0.1:7", lines).map(|peer| {
                assert_eq!(peer.certificate, None);
                let proxy = peer.proxy.expect("it is trusted");
                (proxy.https, proxy.host.clone(), proxy.port)
            })
        };
        let good = [(PROTO, "HTTPS"), (HOST, "GW.example:8443"), (PORT, "443")];
        assert_eq!(proxied(&good), Ok((Some(true), Some("gw.example:8443".to_owned()), Some(443))));
        assert_eq!(proxied(&[(PROTO, "http")]), Ok((Some(false), None, None)));
        for (name, value) in [
            (PROTO, "ws"),
            (PROTO, "https,http"),
            (HOST, "a b"),
            (HOST, "a/b"),
            (HOST, ""),
            (PORT, "0"),
            (PORT, "70000"),
            (PORT, "x"),
        ] {
            assert_eq!(proxied(&[(name, value)]), Err(form(name)), "{name}: {value}");
            let stranger = read("203.0.113.9:7", &[(name, value)]).expect("not looked at");
            assert!(stranger.proxy.is_none() && stranger.certificate.is_some());
        }
        for (name, value) in good {
            let repeated = Malformed::Header { name, why: HeaderFault::Repeated };
            assert_eq!(proxied(&[(name, value), (name, value)]), Err(repeated));
        }
    }
}
