//! The real drivers, whose users sign in at a real provider.

use crate::harness::chromium::Chromium;
use crate::harness::sign_in::{Program, by_saml, cli, jdbc, keycloak, oidc, python};
use crate::harness::{Gateway, Settings};

const COUNT: &str = "SELECT count(*), count(DISTINCT substr(ssn, 1, 3)) FROM lake.silver.customers";
/// More rows than a driver fetches ahead.
const MANY: &str = "SELECT orderkey, comment FROM tpch.sf1.orders WHERE orderkey <= 800000";

/// With a catalog that has more rows than the bank.
fn with_many_rows(mut settings: Settings) -> Settings {
    let policy = "version: 1\npolicies:\n  - name: samples\n    who: { groups: [eu-analysts] }\n    \
                  tables: [\"tpch.*.*\"]\n    allow: true\n";
    settings.policies.push(("samples.yaml", policy.to_owned()));
    settings
}

/// Lets a program in, by somebody who is signed in or does so now.
fn let_in(browser: &Chromium, program: &mut Program, user: Option<&str>) {
    browser.go(&program.address());
    if let Some(user) = user {
        browser.sign_in_at_keycloak(user);
    }
    browser.reads("Let this program in?");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
}

/// One sign-in there serves all programs: each has its user's word, and none a password.
fn each_in_turn(gateway: &Gateway, method: &str) {
    let browser = Chromium::open();
    let mut program = cli(gateway, "eva", COUNT);
    let_in(&browser, &mut program, Some("eva"));
    assert!(program.end().contains("\"120\",\"1\""), "her policies hold");
    let mut program = python(gateway, &["SELECT current_user", COUNT]);
    let_in(&browser, &mut program, None);
    assert_eq!(program.end(), "eva\n120\t1");
    let mut program = jdbc(gateway, &["rows:SELECT current_user", &format!("rows:{COUNT}")]);
    let_in(&browser, &mut program, None);
    assert_eq!(program.end(), "eva\n120\t1");
    let records = gateway.audit();
    let signed_in: Vec<_> = records.iter().filter(|record| record["type"] == "sign_in").collect();
    let outcomes: Vec<_> = signed_in.iter().map(|record| &record["outcome"]).collect();
    assert_eq!(outcomes, ["accepted", "driver_accepted", "driver_accepted", "driver_accepted"]);
    for record in signed_in {
        assert_eq!(
            (&record["auth_method"], &record["principal"]),
            (&method.into(), &"eva".into()),
            "{record}"
        );
    }
}

#[test]
fn by_openid_connect() {
    each_in_turn(&Gateway::start(oidc(keycloak(), "")), "oidc");
}

#[test]
fn by_saml_2() {
    let (gateway, _files) = by_saml(keycloak());
    each_in_turn(&gateway, "saml");
}

/// A token lasts ten seconds here. The drivers get the next by themselves: between two connections, and amid a result.
#[test]
fn tokens_end_and_the_drivers_go_on() {
    let gateway = Gateway::start(with_many_rows(oidc(keycloak(), "")));
    let browser = Chromium::open();
    let slowly = format!("slowly:12:{MANY}");
    let mut program = jdbc(&gateway, &["rows:SELECT current_user", "sleep:12", "rows:SELECT 2", &slowly]);
    let_in(&browser, &mut program, Some("eva"));
    assert_eq!(program.end(), "eva\n2\n200000");
    let mut program = python(&gateway, &["SELECT current_user", "sleep:12", "SELECT 2", &slowly]);
    let_in(&browser, &mut program, None);
    assert_eq!(program.end(), "eva\n2\n200000");
    let records = gateway.audit();
    let renewed = records.iter().filter(|record| record["outcome"] == "driver_renewed").count();
    assert!(renewed >= 4, "{renewed}");
}
