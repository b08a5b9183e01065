//! Our metadata, and the identity provider's.

use super::*;
use crate::identity::saml::keys::{Pins, TrustedKeys};
use crate::identity::saml::provider::Provider;
use crate::identity::saml::signature::signed;
use crate::identity::saml::xml::{Comments, Tree};

#[tokio::test]
async fn ours() {
    let service = service("require = \"both\"\nname_id_format = \"urn:f\"").await;
    insta::assert_snapshot!(
        sign_in::masked(service.metadata())
            .replace(&sign_in::between(service.metadata(), "ID=\"", "\""), "ID")
    );
}

#[test]
fn theirs() {
    let idp = pairs().idp.certificate();
    let good = idp_metadata(&[&idp]);
    let check = |text: &str, more: &str, expect: &str| match Provider::parse(
        text,
        &config(more),
        &Pins::None,
        noon(),
    ) {
        Ok(_) => assert_eq!(expect, "", "{text}"),
        Err(error) => assert!(!expect.is_empty() && error.to_string().contains(expect), "{error}: {text}"),
    };
    let entities = |inner: &str| {
        let namespace = "urn:oasis:names:tc:SAML:2.0:metadata";
        format!("<md:EntitiesDescriptor xmlns:md=\"{namespace}\">{inner}</md:EntitiesDescriptor>")
    };
    check(&good, "", "");
    check(&entities(&good), "", "");
    check(&entities(&format!("{good}{}", good.replace(IDP, "urn:other"))), "", "");
    check(&entities(&format!("{good}{good}")), "", "2 times");
    check(&good.replace(IDP, "urn:other"), "", "0 times");
    check("<html/>", "", "0 times");
    check(&format!("<!DOCTYPE a>{good}"), "", "not XML");
    check(
        &good.replace(PROTOCOL, "urn:oasis:names:tc:SAML:1.1:protocol"),
        "",
        "no identity provider for SAML 2.0",
    );
    check(&good.replace("use=\"signing\"", "use=\"encryption\""), "", "no certificate for signatures");
    check(&good.replace(" use=\"signing\"", ""), "", "");
    check(&idp_metadata(&[]), "", "no certificate for signatures");
    check(&idp_metadata(&[b"nonsense"]), "", "no certificate for signatures");
    check(&good.replace("https://idp.example/in\"", "http://idp.example/in\""), "", "must be https");
    check(
        &good.replace("https://idp.example/in\"", "http://idp.example/in\""),
        "allow_plain_http = true",
        "",
    );
    check(&good.replace("https://idp.example/in\"", "javascript:alert(1)\""), "", "SingleSignOnService");
    check(&good.replace("https://idp.example/answered", "http://x"), "", "SingleLogoutService");
    check(&good.replace("HTTP-POST", "SOAP"), "request_binding = \"post\"", "set request_binding");
    let until = |time: String| good.replace("entityID=", &format!("validUntil=\"{time}\" entityID="));
    check(&until(at(1)), "", "");
    check(&until(at(0)), "", "has expired");
    check(&until("tomorrow".to_owned()), "", "no time");
    check(&format!("{}{good}", " ".repeat(5 << 20)), "", "longer than");
}

/// The certificate of an RSA key of 1024 bits.
const SHORT: &str = "MIIB9jCCAV+gAwIBAgIUMz+hei4UqdGH0QRKNxCY49HdvrgwDQYJKoZIhvcNAQELBQAwDDEKMAgGA1UEAwwBeDAgFw0yNjExMjMy\
    MTMyMDJaGA8yMTI2MTAzMDIxMzIwMlowDDEKMAgGA1UEAwwBeDCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEAtXk7nz4Uns3l\
    fVsbwJ9aWotRITTEUduD2WnILjadU2T6uaxIWSCJ3MoBDyFQWHG7fmeCXhlV8nZZOx06DhfADf9/yq+sdLGxmSCBriWWCRBtDl+g\
    zzsp4bgleA15OdyxloNswUtfUiC+FSTOACEKcX6AYgGDqGF7F+kcl0Vq0RkCAwEAAaNTMFEwHQYDVR0OBBYEFF3/6VsmWezfkHiS\
    CpT/efDJrSZdMB8GA1UdIwQYMBaAFF3/6VsmWezfkHiSCpT/efDJrSZdMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQAD\
    gYEAcb8zDE4rjB7lsMzzS1TJVhYdsfbqFJ62EBgbQVjKjqvJQx5RsjoBbXDT/AryQ8jLQlSEDdHwEAmu210On/+NstlaRqar+SIR\
    hzKSpqCBSHhMpVbota54Lq6zzhSA2xOqO2V/1/nqtGoQMoiCKT70pmYNoLE0SkYJ63iAoNWcyHI=";

#[test]
fn a_key_too_short_does_not_count() {
    let short = STANDARD.decode(SHORT).expect("base64");
    assert!(TrustedKeys::new([&short[..]]).is_empty());
    assert_eq!(TrustedKeys::new([&short[..], &pairs().idp.certificate()]).len(), 1);
}

#[tokio::test]
async fn values_that_cannot_be_used() {
    let check = |more: &str, expect: &str| {
        let error = ServiceProvider::new(config(more), "https://gate.example").err().expect(more);
        assert!(error.to_string().contains(expect), "{more}: {error}");
    };
    check("max_clock_skew = \"6m\"", "at most 5m");
    check("keep_metadata = \"1m\"", "must not be shorter than refresh");
    check("refresh = \"30d\"\nkeep_metadata = \"30d\"", "at most 7d");
    check("metadata_url = \"http://idp.example/\"", "must be https");
    check("metadata_url = \"https://idp.example/\"\nmetadata_file = \"x\"", "one of metadata_url and");
    check("pinned_fingerprints = [\"12:34\"]", "64 hexadecimal digits");
    check("pinned_fingerprints = [\"12\"]\npinned_certificates = [\"x\"]", "one of pinned_certificates and");
    check("pinned_certificates = [\"/does/not/exist\"]", "/does/not/exist");
    let mut config = config("");
    config.certificate_file = pairs().other.certificate_file.clone();
    let error =
        ServiceProvider::new(config.clone(), "https://gate.example").err().expect("another's certificate");
    assert!(error.to_string().contains("is not the key of the certificate"), "{error}");
    let folder = &pairs().folder;
    let curve = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    for (name, pem, expect) in [
        ("none.key", "nothing".to_owned(), "not a private key in PEM form"),
        ("curve.key", curve.serialize_pem(), "must be an RSA private key"),
        ("public.key", curve.public_key_pem(), "must be an RSA private key"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).expect("written");
        config.key_file = path.into();
        let error = ServiceProvider::new(config.clone(), "https://gate.example").err().expect(name);
        assert!(error.to_string().contains(expect), "{error}");
    }
}

#[tokio::test]
async fn a_new_key_is_read_and_a_broken_file_keeps_the_old() {
    let file = pairs().folder.path().join("changing.xml");
    std::fs::write(&file, idp_metadata(&[&pairs().idp.certificate()])).expect("written");
    let service = service(&format!("metadata_file = {file:?}")).await;
    let other = Forge::new().with(|forge| forge.assertion = By::Other).xml();
    assert!(offer(&service, &Forge::new().xml()).is_ok());
    tokio::time::pause();
    std::fs::write(&file, idp_metadata(&[&pairs().other.certificate()])).expect("written");
    // An unknown key asks for the metadata to be read again.
    assert!(offer(&service, &other).is_err());
    until(|| offer(&service, &other).is_ok()).await;
    assert!(offer(&service, &Forge::new().xml()).is_err(), "the old key is gone");
    std::fs::write(&file, "<html>").expect("written");
    service.refresh();
    tokio::time::advance(Duration::from_mins(2)).await;
    assert!(offer(&service, &other).is_ok());
    tokio::time::advance(Duration::from_hours(24)).await;
    until(|| matches!(offer(&service, &other), Err(Refused::Unavailable(_)))).await;
}

/// Waits for what comes to pass soon, on a clock that goes by itself.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it did not come to pass");
}

#[tokio::test]
async fn our_metadata_is_signed() {
    let service = service("").await;
    let text = service.metadata();
    let tree = Tree::read(text, 1 << 20, Comments::Refused).expect("XML");
    let context = bergshamra::DsigContext::new(TrustedKeys::new([&pairs().ours.certificate()[..]]).manager());
    assert!(bergshamra::verify(&context, text).expect("a signature").is_valid());
    // It stands first there, as its schema has it, and so is none that a message could have.
    let root = tree.root().expect("a root");
    assert!(signed(&tree, text, [root], &TrustedKeys::new([])).is_err());
}
