//! Sign-in by client certificate: what was verified in the handshake names a user.

use super::config::{CertificateName, ClientCertificates};
use super::error::{Cause, Refused};
use super::jwt::now;
use super::principal::{Method, Principal};
use super::users::{Users, check_name};
use crate::wire::ClientCertificate;

/// The principal that a certificate names.
pub(super) fn principal(
    config: &ClientCertificates,
    certificate: &ClientCertificate,
) -> Result<Principal, Refused> {
    // A connection may be older than the end of the certificate that it began with.
    if u64::try_from(certificate.expires()).map_or(true, |expires| expires < now()) {
        return Err(Refused::BadCredentials(Cause::Certificate("has expired")));
    }
    let name = name(config.user_from, certificate).map_err(Refused::BadCredentials)?;
    Ok(Principal::new(name, Method::Certificate))
}

/// The same with what the users file has for this user: a certificate says nothing of groups and attributes.
pub(super) fn in_groups(principal: Principal, users: &Users) -> Principal {
    let Some(known) = users.find(principal.name()) else { return principal };
    let groups: Vec<_> = principal.groups().union(known.principal.groups()).cloned().collect();
    principal.with_groups(groups).with_attributes(known.principal.attributes().clone())
}

fn name(from: CertificateName, certificate: &ClientCertificate) -> Result<&str, Cause> {
    let names = match from {
        CertificateName::Email => certificate.emails(),
        CertificateName::Dns => certificate.dns_names(),
        CertificateName::Uri => certificate.uris(),
        CertificateName::CommonName => certificate.common_names(),
    };
    match names {
        [name] if check_name(name).is_ok() => Ok(name),
        [_] => Err(Cause::Certificate("names what cannot be a user")),
        [] => Err(Cause::Certificate("does not name a user")),
        // Which of them is meant is not for us to guess.
        _ => Err(Cause::Certificate("names several users")),
    }
}

#[cfg(test)]
mod tests {
    use super::CertificateName::{CommonName, Dns, Email, Uri};
    use super::*;

    const LATE: i64 = 4_000_000_000;

    #[test]
    fn which_name_is_the_users() {
        let check =
            |from, email: &str, common_names: &[&str], expires, expect: Result<&str, &'static str>| {
                let certificate = ClientCertificate::of(email, common_names, expires);
                let config = ClientCertificates { user_from: from };
                let got = principal(&config, &certificate);
                let expect =
                    expect.map(str::to_owned).map_err(|why| Refused::BadCredentials(Cause::Certificate(why)));
                assert_eq!(got.map(|got| got.name().to_owned()), expect, "{email} {common_names:?}");
            };
        check(Email, "ann@example.com", &["x"], LATE, Ok("ann@example.com"));
        check(CommonName, "ann@example.com", &["ann"], LATE, Ok("ann"));
        check(CommonName, "ann@example.com", &[], LATE, Err("does not name a user"));
        check(CommonName, "ann@example.com", &["ann", "bob"], LATE, Err("names several users"));
        check(CommonName, "", &["a\0b"], LATE, Err("names what cannot be a user"));
        check(CommonName, "", &[" ann"], LATE, Err("names what cannot be a user"));
        check(Email, "", &["x"], LATE, Err("names what cannot be a user"));
        check(Dns, "ann@example.com", &["ann"], LATE, Err("does not name a user"));
        check(Uri, "ann@example.com", &["ann"], LATE, Err("does not name a user"));
        check(CommonName, "", &["ann"], 1_000_000_000, Err("has expired"));
        check(CommonName, "", &["ann"], -1, Err("has expired"));
    }
}
