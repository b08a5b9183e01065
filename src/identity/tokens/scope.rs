//! What a token may be used for.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Most catalogs, and most networks, of one scope.
const MOST: usize = 100;

/// What a token may be used for. The default is all that its owner may do with queries, but not to be somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// Whether statements that change anything are refused.
    pub read_only: bool,
    /// The only catalogs whose tables there are for the token; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalogs: Option<Arc<BTreeSet<String>>>,
    /// The only networks that it may be used from; none: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Network>,
    /// Whether its bearer may run queries as those users whom the owner may be.
    pub impersonate: bool,
    /// Whether its bearer may read the audit, where the owner may.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub audit: bool,
}

impl Scope {
    /// Whether it may be used from an address.
    pub fn covers(&self, address: IpAddr) -> bool {
        self.addresses.is_empty() || self.addresses.iter().any(|network| network.contains(address))
    }

    /// The same with catalogs in lower case, as Trino has them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn checked(mut self) -> Result<Self, String> {
        if self.addresses.len() > MOST {
            return Err(format!("more than {MOST} networks"));
        }
        if let Some(catalogs) = &self.catalogs {
            if catalogs.is_empty() {
                return Err("an empty list of catalogs; leave it out to allow all".to_owned());
            }
            if catalogs.len() > MOST {
                return Err(format!("more than {MOST} catalogs"));
            }
            let sound = |name: &String| {
                (1..=256).contains(&name.len()) && name.trim() == name && !name.contains(char::is_control)
            };
            if let Some(name) = catalogs.iter().find(|name| !sound(name)) {
                return Err(format!("'{}' is not the name of a catalog", name.escape_debug()));
            }
            self.catalogs = Some(Arc::new(catalogs.iter().map(|name| name.to_lowercase()).collect()));
        }
        Ok(self)
    }
}

/// Addresses that begin with the same bits, in CIDR notation: `10.1.0.0/16`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether an address is one of it. IPv4 within IPv6 is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                differ.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                differ.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("'{}' is not a network such as 10.1.0.0/16: {why}", text.escape_debug());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong("no address"))?;
        if address.to_canonical() != address {
            return Err(wrong("write an IPv4 address as one"));
        }
        let (most, value) = match address {
            IpAddr::V4(v4) => (32, u128::from(u32::from(v4)) << 96),
            IpAddr::V6(v6) => (128, u128::from(v6)),
        };
        let bits = match bits {
            None => most,
            Some(bits) if bits.len() <= 3 && bits.bytes().all(|digit| digit.is_ascii_digit()) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= most)
                .ok_or_else(|| wrong(&format!("at most {most} bits")))?,
            Some(_) => return Err(wrong("no number of bits")),
        };
        // Somebody who writes 10.1.2.3/8 means another network than the one that it would be.
        if value.checked_shl(u32::from(bits)).unwrap_or(0) != 0 {
            return Err(wrong("the address has more bits than that"));
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let check = |network: &str, address: &str, expect: bool| {
            let network: Network = network.parse().expect(network);
            let address: IpAddr = address.parse().expect(address);
            assert_eq!(network.contains(address), expect, "{network} {address}");
        };
        check("10.1.0.0/16", "10.1.255.255", true);
        check("10.1.0.0/16", "10.2.0.0", false);
        check("10.1.0.0/16", "::ffff:10.1.2.3", true);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.2", false);
        check("0.0.0.0/0", "255.0.0.1", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "2001:db8::1", true);
        check("::/0", "10.0.0.1", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("10.0.0.128/25", "10.0.0.127", false);
    }

    #[test]
    fn what_is_no_network() {
        for text in [
            "",
            "/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.1.2.3/8",
            "::1/64",
            "::/129",
            "::ffff:10.0.0.0/104",
            "localhost",
            "10.0.0/8",
            "10.0.0.0/8/8",
            "0.0.0.1/0",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn scopes_are_checked() {
        let of = |names: &[&str]| Scope {
            catalogs: Some(Arc::new(names.iter().map(ToString::to_string).collect())),
            ..Scope::default()
        };
        assert_eq!(of(&["Bank"]).checked(), Ok(of(&["bank"])));
        for wrong in [&[][..], &[""], &[" a"], &["a\n"]] {
            assert!(of(wrong).checked().is_err(), "{wrong:?}");
        }
        let text = serde_json::to_string(&of(&["a"])).expect("JSON");
        assert_eq!(serde_json::from_str::<Scope>(&text).expect(&text), of(&["a"]));
        // A scope of a later version may forbid what this one does not know of.
        assert!(serde_json::from_str::<Scope>("{\"schemas\":[\"a\"]}").is_err());
    }
}
