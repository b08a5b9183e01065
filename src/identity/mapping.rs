//! Which user an identity of a provider is: rules by regular expression, the first that matches.
//!
//! A provider knows people by names of its own, such as an e-mail address or a SPIFFE identity. Where there are rules
//! for a way to sign in, whom none of them matches has no user; where there are none, the name stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Captures, Regex, RegexBuilder};

use super::config;
use super::error::{Refused, SetupError};
use super::principal::{Method, Principal};
use super::users::check_name;

/// The largest compiled expression, in bytes.
const MAX_SIZE: usize = 1 << 20;
/// The longest expression, in bytes.
const MAX_PATTERN: usize = 1024;
/// The longest identity that is matched, in bytes; a user's name is shorter.
const MAX_IDENTITY: usize = 1024;
/// Most rules.
const MAX_RULES: usize = 1000;

/// The rules.
#[derive(Debug, Default)]
pub(super) struct Mapper {
    /// By the way to sign in that they are for.
    rules: BTreeMap<String, Vec<Rule>>,
    /// The ways to sign in that are set up.
    known: BTreeSet<String>,
}

#[derive(Debug)]
struct Rule {
    pattern: Regex,
    user: Template,
    catalog_user: Option<Template>,
    lower: bool,
    groups: BTreeSet<String>,
    groups_prefix: String,
}

impl Mapper {
    /// Checks the rules, and that they do what their tests say. `known` are the ways to sign in that are set up: a rule
    /// for another would be one that is never looked at.
    pub(super) fn new(configs: &[config::Mapping], known: &BTreeSet<String>) -> Result<Self, SetupError> {
        if configs.len() > MAX_RULES {
            return Err(SetupError::Value(format!("mapping: more than {MAX_RULES} rules")));
        }
        let mut rules = BTreeMap::<_, Vec<_>>::new();
        for (index, config) in configs.iter().enumerate() {
            let wrong = |what: String| SetupError::Value(format!("mapping, rule {}: {what}", index + 1));
            if !known.contains(&config.from) {
                let known = known.iter().map(String::as_str).collect::<Vec<_>>().join("', '");
                return Err(wrong(format!(
                    "from: nobody signs in by '{}'; the ways that can be mapped here: '{known}'",
                    config.from
                )));
            }
            rules.entry(config.from.clone()).or_default().push(Rule::new(config).map_err(wrong)?);
        }
        let mapper = Self { rules, known: known.clone() };
        for (index, config) in configs.iter().enumerate() {
            for test in &config.tests {
                mapper.try_out(&config.from, test).map_err(|what| {
                    SetupError::Value(format!("mapping, rule {}, test '{}': {what}", index + 1, test.input))
                })?;
            }
        }
        Ok(mapper)
    }

    fn try_out(&self, from: &str, test: &config::MappingTest) -> Result<(), String> {
        let got = self.find(from, &test.input).map(|found| found.user);
        match (&test.user, test.refused, got) {
            (Some(expected), false, Some(got)) if *expected == got => Ok(()),
            (None, true, None) => Ok(()),
            (Some(_), false, Some(got)) => Err(format!("is the user '{got}'")),
            (Some(_), false, None) => Err("is refused".to_owned()),
            (None, true, Some(got)) => Err(format!("is not refused, but the user '{got}'")),
            _ => Err("say either `user` or `refused = true`".to_owned()),
        }
    }

    /// The principal as the rules have it.
    pub(super) fn apply(&self, principal: Principal) -> Result<Principal, Refused> {
        match source(principal.method()) {
            Some(from) => self.apply_from(&from, principal),
            None => Ok(principal),
        }
    }

    /// The same of somebody who has signed in by this way before. Nobody has, if it is set up no longer.
    pub(super) fn apply_again(&self, from: &str, principal: Principal) -> Result<Principal, Refused> {
        if self.known.contains(from) {
            return self.apply_from(from, principal);
        }
        Err(Refused::Unmapped { identity: principal.name().to_owned() })
    }

    fn apply_from(&self, from: &str, principal: Principal) -> Result<Principal, Refused> {
        if !self.rules.contains_key(from) {
            return Ok(principal);
        }
        let Some(Found { rule, user, catalog_user }) = self.find(from, principal.name()) else {
            return Err(Refused::Unmapped { identity: principal.name().to_owned() });
        };
        let groups = principal.groups().iter().map(|group| format!("{}{group}", rule.groups_prefix));
        let groups: Vec<_> = groups.chain(rule.groups.iter().cloned()).collect();
        Ok(principal.with_groups(groups).known_here_as(user).known_to_catalogs_as(catalog_user))
    }

    /// The first rule that matches, and whom it makes; none if that is no name.
    fn find(&self, from: &str, identity: &str) -> Option<Found<'_>> {
        if identity.len() > MAX_IDENTITY {
            return None;
        }
        let rules = self.rules.get(from)?;
        let (rule, captures) =
            rules.iter().find_map(|rule| Some((rule, rule.pattern.captures(identity)?)))?;
        let mut user = rule.user.expand(&captures)?;
        if rule.lower {
            // Of other letters some become ASCII, such as the Kelvin sign a `k`, and so another's name.
            user.make_ascii_lowercase();
        }
        check_name(&user).ok()?;
        let catalog_user = match &rule.catalog_user {
            Some(template) => Some(template.expand(&captures).filter(|name| check_name(name).is_ok())?),
            None => None,
        };
        Some(Found { rule, user, catalog_user })
    }
}

/// Whom a rule makes of an identity.
struct Found<'a> {
    rule: &'a Rule,
    user: String,
    catalog_user: Option<String>,
}

/// What rules call the way that a principal has signed in; none for passwords and personal access tokens, whose names are
/// our own.
pub(super) fn source(method: &Method) -> Option<String> {
    match method {
        Method::Password | Method::Token { .. } | Method::Warming => None,
        Method::Jwt { issuer } => Some(format!("jwt:{issuer}")),
        Method::Certificate | Method::Alb => Some(method.as_str().to_owned()),
        Method::Oidc { provider } => Some(format!("oidc:{provider}")),
        Method::Saml { provider } => Some(format!("saml:{provider}")),
    }
}

impl Rule {
    fn new(config: &config::Mapping) -> Result<Self, String> {
        if config.pattern.len() > MAX_PATTERN {
            return Err(format!("match: longer than {MAX_PATTERN} bytes"));
        }
        let compile = |text: &str| {
            RegexBuilder::new(text)
                .size_limit(MAX_SIZE)
                .build()
                .map_err(|error| format!("match: {}", error.to_string().replace('\n', " ")))
        };
        // By itself first: what is no expression alone, such as `a)|(b`, would end the anchors' group early.
        compile(&config.pattern)?;
        let pattern = compile(&format!(r"\A(?:{})\z", config.pattern))?;
        let user = Template::read(&config.user, &pattern).map_err(|why| format!("user: {why}"))?;
        let catalog_user =
            config.catalog_user.as_ref().map(|text| Template::read(text, &pattern)).transpose();
        let catalog_user = catalog_user.map_err(|why| format!("catalog_user: {why}"))?;
        if config.groups.iter().any(String::is_empty) {
            return Err("groups: one is empty".to_owned());
        }
        Ok(Self {
            pattern,
            user,
            catalog_user,
            lower: config.lower,
            groups: config.groups.clone(),
            groups_prefix: config.groups_prefix.clone(),
        })
    }
}

/// A text with places for what groups of an expression have matched.
#[derive(Debug, PartialEq, Eq)]
struct Template(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
}

impl Template {
    /// Reads `$1`, `${1}`, `${name}` and, for a dollar, `$$`.
    fn read(text: &str, pattern: &Regex) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            pieces.push(Piece::Text(before.to_owned()));
            if let Some(after) = after.strip_prefix('$') {
                pieces.push(Piece::Text("$".to_owned()));
                rest = after;
                continue;
            }
            let (name, after) = if let Some(after) = after.strip_prefix('{') {
                after.split_once('}').ok_or("a '${' without its '}'")?
            } else {
                after.split_at(after.bytes().take_while(u8::is_ascii_digit).count())
            };
            let group = match name.parse::<usize>() {
                Ok(number) => (number < pattern.captures_len()).then_some(number),
                Err(_) => pattern.capture_names().position(|other| other == Some(name)),
            };
            let group = group.ok_or_else(|| format!("the expression has no group '{name}'"))?;
            pieces.push(Piece::Group(group));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        if pieces.is_empty() {
            return Err("is empty".to_owned());
        }
        Ok(Self(pieces))
    }

    /// The text; none if a group has matched nothing, as part of an alternative that was not taken.
    fn expand(&self, captures: &Captures<'_>) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            text.push_str(match piece {
                Piece::Text(piece) => piece,
                Piece::Group(group) => captures.get(*group)?.as_str(),
            });
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, user: &str) -> config::Mapping {
        config::Mapping {
            from: "certificate".to_owned(),
            pattern: pattern.to_owned(),
            user: user.to_owned(),
            catalog_user: None,
            lower: false,
            groups: BTreeSet::new(),
            groups_prefix: String::new(),
            tests: Vec::new(),
        }
    }

    fn mapper(rules: &[config::Mapping]) -> Result<Mapper, String> {
        let known = ["certificate", "alb", "jwt:https://i.example"].map(str::to_owned).into();
        Mapper::new(rules, &known).map_err(|error| error.to_string())
    }

    fn map(rules: &[config::Mapping], identity: &str) -> Option<String> {
        let mapper = mapper(rules).expect("rules");
        let mapped = mapper.apply(Principal::new(identity, Method::Certificate));
        mapped.map(|principal| principal.name().to_owned()).ok()
    }

    #[test]
    fn the_first_rule_that_matches_the_whole() {
        let mail = rule(r"(?<name>[a-z.]+)@example\.com", "${name}");
        let service = rule(r"spiffe://bank/(\w+)/(\w+)", "svc-$2.$1");
        let admin = rule(r"root@example\.com", "never");
        let rules = [mail, service, admin];
        let check = |identity: &str, expect: Option<&str>| {
            assert_eq!(map(&rules, identity).as_deref(), expect, "{identity}");
        };
        check("ann.b@example.com", Some("ann.b"));
        check("spiffe://bank/etl/nightly", Some("svc-nightly.etl"));
        check("root@example.com", Some("root"));
        check("ann@example.com.evil.example", None);
        check("evil@x ann@example.com", None);
        check("ann@example.com\n", None);
        check("ann@exampleXcom", None);
        check("Ann@example.com", None);
        check("", None);
        check(&format!("{}@example.com", "a".repeat(300)), None);
        check(&format!("{}@example.com", "a".repeat(3000)), None);
    }

    #[test]
    fn what_rules_do() {
        let lower = config::Mapping { lower: true, ..rule(r"(.+)@x", "$1") };
        assert_eq!(map(std::slice::from_ref(&lower), "Ann@x").as_deref(), Some("ann"));
        // The Kelvin sign is no K, and must not become mike's.
        assert_eq!(map(std::slice::from_ref(&lower), "mi\u{212a}e@x").as_deref(), Some("mi\u{212a}e"));
        assert_eq!(map(&[rule("a(b)?", "x$1")], "ab").as_deref(), Some("xb"));
        assert_eq!(map(&[rule("a(b)?", "x$1")], "a"), None, "a group that has matched nothing");
        assert_eq!(map(&[rule("(a)b", "$$$1$$")], "ab").as_deref(), Some("$a$"));
        assert_eq!(map(&[rule("a|b", "c")], "ax"), None, "the alternatives are anchored together");
        assert_eq!(map(&[rule("(?m)^a$", "c")], "a\nb"), None);
        assert_eq!(map(&[rule("(?s)(.*)", "$1")], "a\nb"), None, "no name comes out of it");
        assert_eq!(map(&[rule("(.*)x", "$1")], "a x"), None, "a name that ends with a space");
        let grouped = config::Mapping {
            groups: BTreeSet::from(["staff".to_owned()]),
            groups_prefix: "idp/".to_owned(),
            catalog_user: Some("polaris-$1".to_owned()),
            ..rule("(.*)@x", "$1")
        };
        let principal = Principal::new("ann@x", Method::Certificate).with_groups(["a"]);
        let mapped = mapper(&[grouped]).expect("rules").apply(principal).expect("mapped");
        let names = (mapped.name(), mapped.identity(), mapped.catalog_name());
        assert_eq!(names, ("ann", "ann@x", "polaris-ann"));
        assert_eq!(mapped.groups().iter().collect::<Vec<_>>(), ["idp/a", "staff"]);
    }

    #[test]
    fn rules_are_for_their_own_way_to_sign_in() {
        let jwt = config::Mapping { from: "jwt:https://i.example".to_owned(), ..rule("x", "mapped") };
        let mapper = mapper(&[jwt]).expect("rules");
        let check = |identity: &str, method: Method, expect: Option<&str>| {
            let mapped = mapper.apply(Principal::new(identity, method)).ok();
            assert_eq!(mapped.as_ref().map(Principal::name), expect, "{identity}");
        };
        let issuer = |issuer: &str| Method::Jwt { issuer: issuer.to_owned() };
        check("x", issuer("https://i.example"), Some("mapped"));
        check("y", issuer("https://i.example"), None);
        check("x", issuer("https://j.example"), Some("x"));
        check("y", Method::Alb, Some("y"));
        check("y", Method::Password, Some("y"));
    }

    #[test]
    fn rules_that_are_refused() {
        let check = |rule: config::Mapping, expect: &str| {
            let error = mapper(std::slice::from_ref(&rule)).expect_err(expect);
            assert!(error.contains(expect), "{rule:?}: {error}");
        };
        check(rule("(", "x"), "identity: mapping, rule 1: match: regex parse error");
        check(rule("a)|(b", "x"), "match: ");
        check(rule(r"\w{1000}{1000}", "x"), "match: ");
        check(rule(&"a".repeat(2000), "x"), "longer than 1024");
        check(rule("a", ""), "user: is empty");
        check(rule("a", "$1"), "the expression has no group '1'");
        check(rule("(a)", "$1_x$2"), "no group '2'");
        check(rule("(a)", "$name"), "no group ''");
        check(rule("(a)", "${name}"), "no group 'name'");
        let catalog = config::Mapping { catalog_user: Some("$2".to_owned()), ..rule("(a)", "$1") };
        check(catalog, "catalog_user: the expression has no group '2'");
        check(rule("(a)", "${1"), "without its '}'");
        check(
            config::Mapping { from: "jwt:https://other.example".to_owned(), ..rule("a", "a") },
            "from: nobody signs in by 'jwt:https://other.example'; the ways that can be mapped here: 'alb', ",
        );
        let tested = |input: &str, user: Option<&str>, refused: bool| config::Mapping {
            tests: vec![config::MappingTest {
                input: input.to_owned(),
                user: user.map(str::to_owned),
                refused,
            }],
            ..rule("(a+)@x", "$1")
        };
        assert!(mapper(&[tested("aa@x", Some("aa"), false)]).is_ok());
        assert!(mapper(&[tested("b@x", None, true)]).is_ok());
        check(tested("aa@x", Some("a"), false), "mapping, rule 1, test 'aa@x': is the user 'aa'");
        check(tested("b@x", Some("b"), false), "is refused");
        check(tested("aa@x", None, true), "is not refused, but the user 'aa'");
        check(tested("aa@x", None, false), "say either");
        check(tested("aa@x", Some("aa"), true), "say either");
        // A test is of all rules together: an earlier one counts.
        let error = mapper(&[rule(".*", "all"), tested("aa@x", Some("aa"), false)]).expect_err("shadowed");
        assert!(error.contains("rule 2, test 'aa@x': is the user 'all'"), "{error}");
    }
}
