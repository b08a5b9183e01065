//! Which group of clusters a query goes to: the first rule that matches, else the default group.
//!
//! Users, groups and classes are what the gateway knows. Sources, tags and the header `X-Trino-Routing-Group` are what a
//! client says of itself: a rule that goes by them lets clients choose.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::config::DEFAULT_GROUP;

/// The most rules.
const MOST_RULES: usize = 1_000;

/// The `[routing]` section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutingConfig {
    /// Where queries go that no rule matches.
    pub default_group: String,
    /// The rules; the first that matches counts.
    #[serde(rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

impl Default for RoutingConfig {
    fn default() -> Self {
        Self { default_group: DEFAULT_GROUP.to_owned(), rules: Vec::new() }
    }
}

/// `[[routing.rule]]`: matches where all conditions that it has hold. A condition is a list, of which one must fit; a
/// `*` at the end of an entry stands for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Where it sends queries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// In the place of `group`: those among which the client's header may choose. Without the header, or with another group in
    /// it, the rule does not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choose: Option<Vec<String>>,
    /// Classes of admission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Whom the query runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Groups that the user is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_groups: Option<Vec<String>>,
    /// Programs, by what they call themselves; upper and lower case are alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<String>>,
    /// Client tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_tags: Option<Vec<String>>,
}

/// What rules go by.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The class of the query.
    pub class: &'a str,
    /// Whom it runs as.
    pub user: &'a str,
    /// Their groups.
    pub groups: &'a BTreeSet<String>,
    /// What the program calls itself.
    pub source: Option<&'a str>,
    /// Its tags.
    pub tags: &'a [String],
    /// The group that the client would like.
    pub wish: Option<&'a str>,
}

impl RoutingConfig {
    /// What is wrong with the section, if anything is, where there are these groups of clusters and these classes.
    pub fn problem<'a>(
        &self,
        groups: &BTreeSet<&str>,
        active: &BTreeSet<&str>,
        classes: impl IntoIterator<Item = &'a str>,
    ) -> Option<String> {
        let known = |group: &str| {
            if !groups.contains(group) {
                let list: Vec<&str> = groups.iter().copied().collect();
                return Some(format!(
                    "there is no cluster in the group '{group}'; there are {}",
                    list.join(", ")
                ));
            }
            (!active.contains(group)).then(|| format!("no cluster of the group '{group}' is active"))
        };
        if let Some(why) = known(&self.default_group) {
            return Some(format!("routing.default_group: {why}"));
        }
        if self.rules.len() > MOST_RULES {
            return Some(format!("routing.rule: there are more than {MOST_RULES}"));
        }
        let classes: BTreeSet<&str> = classes.into_iter().collect();
        let mut all = None;
        for (number, rule) in (1..).zip(&self.rules) {
            let of_rule = |why: String| Some(format!("routing.rule {number}: {why}"));
            if let Some(before) = all {
                return of_rule(format!(
                    "matches nothing, for rule {before} has no condition and matches all"
                ));
            }
            let chosen = match (&rule.group, &rule.choose) {
                (Some(group), None) => std::slice::from_ref(group),
                (None, Some(groups)) => groups,
                _ => return of_rule("needs one of group and choose".to_owned()),
            };
            if let Some(why) = chosen.iter().find_map(|group| known(group)) {
                return of_rule(why);
            }
            let lists = [
                ("choose", &rule.choose),
                ("classes", &rule.classes),
                ("users", &rule.users),
                ("user_groups", &rule.user_groups),
                ("sources", &rule.sources),
                ("client_tags", &rule.client_tags),
            ];
            for (name, list) in lists {
                if list.as_ref().is_some_and(Vec::is_empty) {
                    return of_rule(format!("matches nothing, for {name} is empty"));
                }
                if list.iter().flatten().any(|entry| entry.trim_end_matches('*').contains('*')) {
                    return of_rule(format!("{name}: a * stands at the end only"));
                }
                if list.iter().flatten().any(String::is_empty) {
                    return of_rule(format!("{name}: an entry is empty"));
                }
            }
            let fits = |entry: &String| classes.iter().any(|class| matches(entry, class));
            if let Some(class) = rule.classes.iter().flatten().find(|class| !fits(class)) {
                return of_rule(format!("matches nothing, for there is no class '{class}'"));
            }
            if rule.choose.is_none() && lists[1..].iter().all(|(_, list)| list.is_none()) {
                all = Some(number);
            }
        }
        None
    }

    /// The group that a query goes to.
    pub fn group<'a>(&'a self, sender: &Sender<'_>) -> &'a str {
        self.rules.iter().find_map(|rule| rule.group_for(sender)).unwrap_or(&self.default_group)
    }
}

impl Rule {
    fn group_for<'a>(&'a self, sender: &Sender<'_>) -> Option<&'a str> {
        let one = |list: &Option<Vec<String>>, value: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|entry| matches(entry, value)))
        };
        let any = |list: &Option<Vec<String>>, values: &[&str]| {
            list.is_none() || values.iter().any(|value| one(list, value))
        };
        let groups: Vec<&str> = sender.groups.iter().map(String::as_str).collect();
        let tags: Vec<&str> = sender.tags.iter().map(String::as_str).collect();
        let source = sender.source.unwrap_or_default().to_lowercase();
        let from = self.sources.as_ref().is_none_or(|list| {
            sender.source.is_some() && list.iter().any(|entry| matches(&entry.to_lowercase(), &source))
        });
        let holds = from
            && one(&self.classes, sender.class)
            && one(&self.users, sender.user)
            && any(&self.user_groups, &groups)
            && any(&self.client_tags, &tags);
        match (&self.group, &self.choose) {
            (Some(group), _) => holds.then_some(group),
            (None, Some(groups)) if holds => {
                groups.iter().find(|group| sender.wish == Some(group)).map(String::as_str)
            }
            _ => None,
        }
    }
}

/// Whether an entry of a list fits.
fn matches(entry: &str, value: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(beginning) => value.starts_with(beginning.trim_end_matches('*')),
        None => entry == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "default_group = 'adhoc'\n\
        [[rule]]\nusers = ['svc-*']\ngroup = 'etl'\n\
        [[rule]]\nclasses = ['batch']\nsources = ['Airflow*', 'dbt']\ngroup = 'etl'\n\
        [[rule]]\nuser_groups = ['engineers']\nchoose = ['etl', 'adhoc']\n\
        [[rule]]\nclient_tags = ['heavy']\ngroup = 'big'\n";

    fn rules(text: &str) -> RoutingConfig {
        toml::from_str(text).expect("TOML")
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = rules(RULES);
        let check = |sender: &str, expect: &str| {
            let part = |name: &str| {
                sender
                    .split(' ')
                    .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
                    .map(str::to_owned)
            };
            let groups: BTreeSet<String> = part("groups").into_iter().collect();
            let tags: Vec<String> = part("tag").into_iter().collect();
            let (class, user) = (part("class").unwrap_or_default(), part("user").unwrap_or_default());
            let (source, wish) = (part("source"), part("wish"));
            let sender_is = Sender {
                class: &class,
                user: &user,
                groups: &groups,
                source: source.as_deref(),
                tags: &tags,
                wish: wish.as_deref(),
            };
            assert_eq!(rules.group(&sender_is), expect, "{sender}");
        };
        check("user=ann", "adhoc");
        check("user=svc-load", "etl");
        check("user=svc-load tag=heavy wish=adhoc groups=engineers", "etl");
        check("user=ann source=airflow-3 class=batch", "etl");
        check("user=ann source=airflow-3 class=interactive", "adhoc");
        check("user=ann class=batch", "adhoc");
        check("user=ann source=DBT class=batch", "etl");
        check("user=ann groups=engineers wish=etl", "etl");
        check("user=ann groups=engineers", "adhoc");
        // Nobody gets to a group that no rule lets them choose.
        check("user=ann groups=engineers wish=big", "adhoc");
        check("user=ann wish=etl", "adhoc");
        check("user=ann groups=engineers wish=big tag=heavy", "big");
    }

    #[test]
    fn rules_that_cannot_be() {
        let groups = BTreeSet::from(["adhoc", "etl", "big", "idle"]);
        let active = BTreeSet::from(["adhoc", "etl", "big"]);
        let check = |text: &str, expect: Option<&str>| {
            let got = rules(text).problem(&groups, &active, ["batch", "interactive"]);
            match (expect, &got) {
                (None, None) => {}
                (Some(expect), Some(got)) if got.contains(expect) => {}
                _ => panic!("{text}: {got:?}, not {expect:?}"),
            }
        };
        check(RULES, None);
        check(
            "",
            Some("routing.default_group: there is no cluster in the group 'default'; there are adhoc, big"),
        );
        let with = |rule: &str| format!("default_group = 'adhoc'\n[[rule]]\n{rule}\n");
        check(&with("group = 'etl'"), None);
        check(&with("group = 'elt'"), Some("routing.rule 1: there is no cluster in the group 'elt'"));
        check(&with("group = 'idle'"), Some("no cluster of the group 'idle' is active"));
        check(&with("choose = ['etl', 'x']"), Some("no cluster in the group 'x'"));
        check(&with("users = ['a']"), Some("needs one of group and choose"));
        check(&with("group = 'etl'\nchoose = ['etl']"), Some("needs one of group and choose"));
        check(&with("group = 'etl'\nusers = []"), Some("matches nothing, for users is empty"));
        check(&with("group = 'etl'\nusers = ['']"), Some("users: an entry is empty"));
        check(&with("group = 'etl'\nsources = ['*x']"), Some("at the end only"));
        check(&with("group = 'etl'\nclasses = ['bach']"), Some("no class 'bach'"));
        check(&with("group = 'etl'\nclasses = ['b*']"), None);
        check(
            &(with("group = 'etl'") + "[[rule]]\nusers = ['a']\ngroup = 'etl'"),
            Some("rule 2: matches nothing"),
        );
        check(
            &("default_group = 'adhoc'\n".to_owned() + &"[[rule]]\nchoose = ['etl']\n".repeat(1001)),
            Some("more than"),
        );
        assert!(toml::from_str::<RoutingConfig>("[[rule]]\nuser = ['a']").is_err());
    }
}
