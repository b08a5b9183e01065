use super::*;
use crate::units::ByteSize;

/// Reads a text to which the one thing that has no default is added.
fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let text = if text.contains("[trino]") {
        text.to_owned()
    } else {
        format!("{text}\n[trino]\nurl = \"http://127.0.0.1:8080\"\n")
    };
    read_whole(&text, variables)
}

fn read_whole(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::read("northgate.toml", text, variables, Path::new("/etc/northgate"))
}

#[test]
fn what_is_wrong_and_where() {
    let check = |text: &str, expect: &str| {
        let error = read(text, &[]).expect_err(text).to_string();
        assert_eq!(error, expect, "{text}");
    };
    check(
        "[server]\nlisten = \"[::]:1\"\n\n  listn = \"x\"",
        "northgate.toml:4:3: server.listn: unknown key; did you mean `listen`?",
    );
    check(
        "[identity.state]\nbackend = \"redis\"",
        "northgate.toml:1:11: identity.state: this section is called [state] now",
    );
    check("[sever]\nlisten = 1", "northgate.toml:1:2: sever: unknown key; did you mean `server`?");
    check("server.listn = 1", "northgate.toml:1:8: server.listn: unknown key; did you mean `listen`?");
    check("server = { listn = 1 }", "northgate.toml:1:12: server.listn: unknown key; did you mean `listen`?");
    check(
        "[server]\nmax_header = 5",
        "northgate.toml:2:14: server.max_header: invalid type: integer `5`, expected a string",
    );
    check(
        "[server]\nmax_header = \"5 MB/s\"",
        "northgate.toml:2:14: server.max_header: '5 MB/s' needs a unit: one of B, kB, MB, GB, KiB, MiB, GiB",
    );
    check("[server]\nlisten = \"8443\"", "northgate.toml:2:10: server.listen: invalid socket address syntax");
    check(
        "# \u{e4}\n[[identity.jwt]]\nissuer = \"x\"\naudiences = [\"a\"]\n\n[[identity.jwt]]\n\
         issuer = \"y\"\n\u{22}isuer\u{22} = \"x\"",
        "northgate.toml:8:1: identity.jwt[1].isuer: unknown key; did you mean `issuer`?",
    );
    check(
        "[[identity.jwt]]\nissuer = \"x\"",
        "northgate.toml:1:1: identity.jwt[0].audiences: missing, and has no default",
    );
    check(
        "[[identity.jwt]]\nissuer = \"x\"\naudiences = [\"a\"]\nalgorithms = [\"RS256\", \"none\"]",
        "northgate.toml:4:24: identity.jwt[0].algorithms[1]: unknown value `none`; there are RS256, RS384, RS512, \
         PS256, PS384, PS512, ES256, ES384, EdDSA",
    );
    check(
        "[server]\nlisten = \n",
        "northgate.toml:2:10: string values must be quoted, expected literal string",
    );
    check("[server]\n[server]", "northgate.toml:2:2: duplicate key");
    check("[server]\nidle_timeout = \"0s\"", "northgate.toml: server.idle_timeout: cannot be 0");
    check(
        "[server]\nclient_ca_file = \"x\"",
        "northgate.toml: server.client_ca_file: nobody is named by certificates without [identity.client_certificates]",
    );
    check(
        "[identity.client_certificates]\nuser_from = \"email\"",
        "northgate.toml: identity.client_certificates: clients are asked for certificates only with \
         server.client_ca_file",
    );
    check(
        "[links]\nkey = \"c2VjcmV0\"",
        "northgate.toml:2:1: links.key: a secret does not belong in this file; put it in a file of its own and \
         name that by `key_file`, or set NORTHGATE__LINKS__KEY",
    );
}

#[test]
fn the_url_of_trino_is_enough_and_needed() {
    let config = read_whole("[trino]\nurl = \"http://127.0.0.1:8080\"\n", &[]).expect("enough");
    assert_eq!(config.server.listen.port(), 8443);
    assert_eq!(config.audit.folder, Path::new("/etc/northgate/audit"));
    read_whole("", &[("NORTHGATE__TRINO__URL", "http://127.0.0.1:8080")]).expect("enough");
    let check = |text: &str, expect: &str| {
        assert_eq!(read_whole(text, &[]).expect_err(text).to_string(), expect);
    };
    check("", "northgate.toml: trino: missing, and has no default");
    check("[trino]\nuser = \"x\"", "northgate.toml: trino.url: missing, and has no default");
    check(
        "[trino]\nurl = \"x\"\npassword = \"hunter2\"",
        "northgate.toml:3:1: trino.password: unknown key; its value goes into a file of its own, which \
         `password_file` names",
    );
}

#[test]
fn clusters_and_rules_fit_together() {
    let clusters = "[trino]\nuser = \"gate\"\n[[trino.cluster]]\nname = \"blue\"\nurl = \"http://b\"\ngroups = [\"etl\"]\n\
        [[trino.cluster]]\nname = \"green\"\nurl = \"http://g\"\nca_file = \"green.pem\"\n";
    let rule = "[[routing.rule]]\nusers = [\"svc-*\"]\ngroup = ";
    let config = read_whole(&format!("{clusters}{rule}\"etl\""), &[]).expect("sound");
    assert_eq!(config.trino.clusters[1].ca_file.as_deref(), Some(Path::new("/etc/northgate/green.pem")));
    // What is shown can be read again.
    read_whole(&config.to_string(), &[]).expect("what is shown");
    let check = |text: &str, expect: &str| {
        let got = read_whole(text, &[]).expect_err(text).to_string();
        assert!(got.contains(expect), "{text}: {got}");
    };
    check(
        &format!("{clusters}{rule}\"elt\""),
        "routing.rule 1: there is no cluster in the group 'elt'; there are default, etl",
    );
    check(&clusters.replace("green\"\n", "blue\"\n"), "trino.cluster: two are called 'blue'");
    check(
        &format!("{clusters}groups = [\"adhoc\"]"),
        "routing.default_group: there is no cluster in the group 'default'",
    );
    check(&format!("{clusters}state = \"draining\""), "no cluster of the group 'default' is active");
    let all = clusters.replace("name =", "state = \"inactive\"\nname =");
    check(&all, "trino.cluster: none is active");
}

#[test]
fn the_environment_comes_on_top() {
    let text = "[server]\nmax_statement = \"2MB\"\nmax_connections = 7";
    let config = read(
        text,
        &[
            ("NORTHGATE__SERVER__MAX_STATEMENT", "3MB"),
            ("NORTHGATE__SERVER__PLAIN_HTTP", "true"),
            ("NORTHGATE__SERVER__LISTEN", "127.0.0.1:1234"),
            ("NORTHGATE__IDENTITY__ATTEMPTS__PER_NAME", "5"),
            ("NORTHGATE__IDENTITY__IMPERSONATION", "[{ principals = ['a'], users = ['b'] }]"),
            ("NORTHGATE__TELEMETRY__FILTER", "1"),
            ("NORTHGATE__POLICIES__FOLDER", "elsewhere"),
            ("NORTHGATE_LOG", "not ours"),
            ("PATH", "/bin"),
        ],
    )
    .expect("read");
    assert_eq!(config.server.max_statement, ByteSize(3_000_000));
    assert_eq!(config.server.max_connections, 7);
    assert!(config.server.plain_http);
    assert_eq!(config.server.listen.port(), 1234);
    assert_eq!(config.identity.attempts.per_name.get(), 5);
    assert_eq!(config.identity.impersonation[0].users, ["b"]);
    assert_eq!(config.telemetry.filter, "1", "a number, where text is wanted");
    assert_eq!(config.policies.folder, Path::new("/etc/northgate/elsewhere"));
}

#[test]
fn what_is_wrong_with_a_variable() {
    let check = |name: &str, value: &str, expect: &str| {
        let error = read("[server]\n", &[(name, value)]).expect_err(name).to_string();
        assert_eq!(error, format!("environment variable {name}: {expect}"));
    };
    check("NORTHGATE__SERVER__LISTN", "x", "server.listn: unknown key; did you mean `listen`?");
    check("NORTHGATE__SERVR__LISTEN", "x", "servr: unknown key; did you mean `server`?");
    check("NORTHGATE__SERVER__LISTEN", "x", "server.listen: invalid socket address syntax");
    check(
        "NORTHGATE__SERVER__MAX_CONNECTIONS",
        "many",
        "server.max_connections: invalid type: string \"many\", expected u32",
    );
    check(
        "NORTHGATE__SERVER__PLAIN_HTTP",
        "1",
        "server.plain_http: invalid type: string \"1\", expected a boolean",
    );
    check("NORTHGATE__SERVER", "x", "is not of the form NORTHGATE__SECTION__KEY");
    check("NORTHGATE__SERVER____X", "x", "is not of the form NORTHGATE__SECTION__KEY");
    check(
        "NORTHGATE__SERVER__LISTEN__PORT",
        "1",
        "server.listen.port: invalid type: map, expected socket address",
    );
    // A value cannot bring other keys along.
    check(
        "NORTHGATE__TELEMETRY__FORMAT",
        "\"json\"\nfilter = \"off\"",
        "telemetry.format: unknown value `\"json\"\nfilter = \"off\"`; there are text, json",
    );
}

#[test]
fn secrets_are_from_the_environment_and_are_not_shown() {
    let config = read("", &[("NORTHGATE__LINKS__KEY", "c2VjcmV0")]).expect("read");
    assert_eq!(config.links.key.as_ref().map(|key| key.expose().as_str()), Some("c2VjcmV0"));
    assert!(!format!("{config}{config:?}").contains("c2VjcmV0"));
    // Nor does what stands for all of it tell whether a guess is right.
    assert_eq!(config.revision(), read("", &[]).expect("read").revision());
    assert_ne!(config.revision(), read("[server]\ndrain_delay = \"7s\"", &[]).expect("read").revision());
    // A file's place may be taken by a variable, which is read when the secret is needed.
    let config = read("[links]\nkey_file = \"env:LINKS\"", &[]).expect("read");
    assert_eq!(config.links.key_file, Some(secret::Source::Variable("LINKS".to_owned())));
    let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:links-AbCdEf:key::";
    let config = read(&format!("[links]\nkey_file = \"{arn}\""), &[]).expect("read");
    assert_eq!(config.links.key_file.as_ref().map(ToString::to_string).as_deref(), Some(arn));
    assert!(config.to_string().contains(arn), "{config}");
    // What is no secret, or what Northgate makes itself, is a file.
    for text in ["[admin]\nkey_file = \"env:X\"", "[server]\nkey = \"env:X\"", "[audit]\nfolder = \"arn:x\""]
    {
        let error = read(text, &[]).expect_err(text).to_string();
        assert!(error.contains("a file is needed here"), "{error}");
    }
    let error = read("[links]\nkey_file = \"arn:aws:s3:::b\"", &[]).expect_err("a bucket").to_string();
    assert!(error.contains("not the ARN of a secret"), "{error}");
    let both = read("[links]\nkey_file = \"k\"", &[("NORTHGATE__LINKS__KEY", "c2VjcmV0")]);
    assert!(both.expect_err("two keys").to_string().contains("which is meant"));
}

#[test]
fn paths_are_relative_to_the_file() {
    let text = "[server]\ncertificate = \"tls/c.pem\"\nkey = \"/run/k.pem\"\n[[identity.jwt]]\nissuer = \"x\"\n\
                audiences = [\"a\"]\njwks_file = \"keys.json\"";
    let config = read(text, &[]).expect("read");
    let shown = |path: &Path| path.display().to_string();
    assert_eq!(config.server.certificate.as_deref().map(shown).as_deref(), Some("/etc/northgate/tls/c.pem"));
    assert_eq!(config.server.key.as_deref().map(shown).as_deref(), Some("/run/k.pem"));
    let keys = config.identity.jwt[0].jwks_file.as_deref();
    assert_eq!(keys.map(shown).as_deref(), Some("/etc/northgate/keys.json"));
    assert_eq!(shown(&config.identity.users_file), "/etc/northgate/users.toml");
    assert_eq!(shown(&config.policies.folder), "/etc/northgate/policies");
}

#[test]
fn what_is_printed_reads_as_the_same() {
    let text = "[[identity.jwt]]\nissuer = \"x\"\naudiences = [\"a\"]\nattributes = { region = \"r\" }";
    let printed = read(text, &[]).expect("read").to_string();
    assert!(printed.contains("max_statement = \"1MB\""), "{printed}");
    assert_eq!(read(&printed, &[]).expect(&printed).to_string(), printed);
}

#[test]
fn a_file_that_is_not_there() {
    let error = Config::load(Path::new("/no/such/northgate.toml")).expect_err("none").to_string();
    assert_eq!(error, "/no/such/northgate.toml: No such file or directory (os error 2)");
}
