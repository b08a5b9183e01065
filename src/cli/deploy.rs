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
}

/// The file for a place.
pub fn deploy(place: Place) -> Said {
    let text = match place {
        Place::Systemd => include_str!("deploy/northgate.service"),
        Place::Container => include_str!("deploy/Containerfile"),
        Place::Terraform => include_str!("deploy/aws.tf"),
        Place::Emr => include_str!("deploy/emr-bootstrap.sh"),
    };
    Said { out: text.to_owned(), ..Said::default() }
}
