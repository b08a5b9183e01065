//! What would be done with a statement, and why: for an administrator whom a user asks. Nothing is run.

use std::fmt::{self, Write as _};

use super::estimate::{asked, question};
use super::plan::{ran, spends};
use super::view::Reader;
use super::{StatementError, target};
use crate::admission::{AdmissionError, Budgets, Classes, Classified, Facts, Spent};
use crate::cache::{self, Nature, Reason};
use crate::catalog::{Catalog, TableName};
use crate::error::Failure;
use crate::identity::Principal;
use crate::policy::{Denial, Lists, Scoped, Set, Source};
use crate::rewrite::{self, Context, Names, ScopedSql};
use crate::secret::Secret;
use crate::sql::{Kind, Limits, Statement};
use crate::upstream::Cluster;
use crate::wire::{self, Estimate, Session};

/// Who would ask, in which session, and what decides.
pub struct Question<'a> {
    /// Who would ask.
    pub principal: &'a Principal,
    /// A token of theirs, for catalogs that are asked in their name.
    pub token: Option<&'a Secret<String>>,
    /// The session's catalog and schema.
    pub names: Names<'a>,
    /// What relations are.
    pub catalog: &'a Catalog,
    /// Who may see what.
    pub policies: &'a Set,
    /// The session properties that may be set.
    pub properties: &'a [String],
    /// The limits of statements.
    pub limits: &'a Limits,
    /// How it would be admitted, if that is asked.
    pub admitting: Option<Admitting<'a>>,
    /// Whether answers may be given again.
    pub caches: bool,
}

/// What says how a statement would be admitted.
#[derive(Clone, Copy)]
pub struct Admitting<'a> {
    /// The classes.
    pub classes: &'a Classes,
    /// What the client would say of itself.
    pub claims: Claims<'a>,
    /// What may be used in a day, if it is known here what was.
    pub budgets: Option<&'a Budgets>,
    /// Where it is asked what the statement would read, if a rule goes by that.
    pub cluster: &'a Cluster,
}

/// What a client says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claims<'a> {
    /// Its source.
    pub source: Option<&'a str>,
    /// Its tags.
    pub tags: &'a [String],
}

/// The answer, in text. It holds expressions of policies and is not for users.
#[derive(Debug)]
pub struct Explanation {
    who: String,
    kind: &'static str,
    class: Option<Classified>,
    /// What it is expected to read, if a rule of classes goes by that and it is known.
    estimate: Option<Estimate>,
    /// What is used today of the budgets that it would be paid from, and which of them is used up.
    spent: Vec<Spent>,
    over: Option<AdmissionError>,
    relations: Vec<(TableName, Result<Seen, StatementError>)>,
    sent: Result<(String, bool), StatementError>,
    /// Whether the answer may be given again; none where none is.
    cached: Option<Result<Nature, Reason>>,
}

/// What the principal would see of one relation.
#[derive(Debug)]
struct Seen {
    sources: Vec<Source>,
    scoped: Scoped,
}

impl Explanation {
    /// Nothing is known but why.
    pub(super) fn failed(principal: &Principal, error: StatementError) -> Self {
        let groups: Vec<&str> = principal.groups().iter().map(String::as_str).collect();
        Self {
            who: format!("{} (groups: {})", principal.name(), groups.join(", ")),
            kind: "unreadable",
            class: None,
            estimate: None,
            spent: Vec::new(),
            over: None,
            relations: Vec::new(),
            sent: Err(error),
            cached: None,
        }
    }
}

impl Question<'_> {
    /// Explains a statement: its relations, what policy says of each, and what Trino would be sent.
    pub async fn explain(&self, sql: &str) -> Explanation {
        let mut explanation = Explanation::failed(self.principal, StatementError::Canceled);
        explanation.sent = self.sent(sql, &mut explanation).await;
        explanation
    }

    async fn sent(&self, sql: &str, to: &mut Explanation) -> Result<(String, bool), StatementError> {
        let mut statement = Statement::parse(sql, self.limits)?;
        to.kind = statement.kind().name();
        let run = match statement.kind() {
            Kind::ExecuteImmediate { text, .. } => ran(&Statement::parse(text, self.limits)?),
            _ => ran(&statement),
        };
        let facts = self.admitting.map(|Admitting { claims: Claims { source, tags }, .. }| {
            let (principal, now) = (self.principal, jiff::Timestamp::now());
            Facts { principal, source, tags, kind: run, now, estimate: None }
        });
        let admitting = self.admitting.zip(facts);
        to.class = admitting.map(|(admitting, facts)| admitting.classes.classify(&facts));
        // What is executed or prepared is what policy is about.
        while let Some(inner) = match statement.kind() {
            Kind::Prepare { inner, .. } => Some((**inner).clone()),
            Kind::ExecuteImmediate { text, .. } => Some(Statement::parse(text, self.limits)?),
            _ => None,
        } {
            rewrite::check_prepared(&inner)?;
            statement = inner;
        }
        if let Kind::Other(other) = statement.kind() {
            return Err(rewrite::RewriteError::Kind(other.name()).into());
        }
        let names = rewrite::resolve(&statement, &self.names)?;
        let reader = self.reader(rewrite::lists(rewrite::subject(&statement), &self.names)?);
        for name in &names {
            let seen = self.seen(name).await;
            to.relations.push((name.clone(), seen));
        }
        let mut permit = reader.decide(&names).await?;
        target::permit(&statement, &self.names, &reader, &mut permit).await?;
        let rewritten = |class: Option<&Classified>| {
            let told = self.admitting.zip(class).map(|(admitting, class)| admitting.classes.told(class));
            rewrite::rewrite(
                &statement,
                &Context {
                    names: self.names,
                    permit: &permit,
                    properties: self.properties,
                    fixed: told.map_or(&[], |told| &told.properties),
                    limits: self.limits,
                },
            )
        };
        let mut scoped = rewritten(to.class.as_ref())?;
        if let Some((admitting, facts)) = admitting {
            to.estimate = self.estimate(&admitting, &facts, &scoped).await;
            if to.estimate.is_some() {
                to.class = Some(admitting.classes.classify(&Facts { estimate: to.estimate, ..facts }));
                scoped = rewritten(to.class.as_ref())?;
            }
            if let (Some(class), true) = (&to.class, spends(run)) {
                (to.spent, to.over) = self.paid(&admitting, class).await;
            }
        }
        if self.caches {
            let versioned = |catalog: &str| self.catalog.tells_versions(catalog);
            to.cached = Some(cache::judge(&[&statement], &self.names, &permit, versioned));
        }
        Ok((scoped.text().to_owned(), scoped.restricted()))
    }

    async fn estimate(
        &self,
        admitting: &Admitting<'_>,
        facts: &Facts<'_>,
        scoped: &ScopedSql,
    ) -> Option<Estimate> {
        let question = question(admitting.classes, facts, scoped)?;
        let headers = wire::upstream_headers(&Session::default(), self.principal.name(), None).ok()?;
        asked(admitting.cluster, &question, headers).await
    }

    /// What is used today of the budgets that a statement of a class would be paid from, and which of them is used up.
    async fn paid(
        &self,
        admitting: &Admitting<'_>,
        class: &Classified,
    ) -> (Vec<Spent>, Option<AdmissionError>) {
        let account = admitting
            .budgets
            .and_then(|budgets| budgets.account(admitting.classes, self.principal, class, false));
        let Some(account) = account else { return (Vec::new(), None) };
        let over = account.check().await.err();
        (account.spent(), over)
    }

    fn reader(&self, lists: Lists) -> Reader<'_> {
        let Self { principal, token, catalog, policies, limits, .. } = *self;
        Reader { principal, token, lists, catalog, policies, limits }
    }

    async fn seen(&self, name: &TableName) -> Result<Seen, StatementError> {
        let permit = self.reader(Lists::Nothing).decide(std::slice::from_ref(name)).await?;
        let scoped = permit.scoped(name).cloned().ok_or_else(|| Denial::NotAllowed(name.clone()))?;
        Ok(Seen { sources: permit.sources().cloned().collect(), scoped })
    }
}

impl super::Gateway {
    /// Explains a statement of somebody's, with what is in force now. Catalogs that are asked in their name are asked with
    /// the token.
    pub async fn explain(
        &self,
        principal: &Principal,
        token: Option<&Secret<String>>,
        names: Names<'_>,
        claims: Claims<'_>,
        sql: &str,
    ) -> Explanation {
        let policies = self.policies.load_full();
        let place = match self.place_for(principal, None, "") {
            Ok(place) => place,
            Err(error) => return Explanation::failed(principal, error),
        };
        let question = Question {
            principal,
            token,
            names,
            catalog: place.catalog(),
            policies: &policies,
            properties: &self.config.session_properties,
            limits: &self.limits,
            admitting: Some(Admitting {
                classes: self.slots.classes(),
                claims,
                budgets: Some(&self.budgets),
                cluster: &place,
            }),
            caches: self.cache.is_some(),
        };
        question.explain(sql).await
    }
}

impl Explanation {
    /// What the principal would see of each relation that the statement names; none where they may not read it.
    pub fn relations(&self) -> impl Iterator<Item = (&TableName, Option<&Scoped>)> {
        self.relations.iter().map(|(name, seen)| (name, seen.as_ref().ok().map(|seen| &seen.scoped)))
    }

    /// What Trino would be sent, or why it would be sent nothing.
    ///
    /// # Errors
    /// The statement would be refused.
    pub fn sent(&self) -> Result<&str, &StatementError> {
        self.sent.as_ref().map(|(text, _)| text.as_str())
    }

    /// Whether the statement would be run.
    pub fn is_allowed(&self) -> bool {
        self.sent.is_ok()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, asked by {}", self.kind, self.who)?;
        if let Some(class) = &self.class {
            writeln!(f, "Class {}, by {}", class.name, class.rule)?;
        }
        if let Some(estimate) = &self.estimate {
            writeln!(f, "Expected to read: {estimate}")?;
        }
        for spent in &self.spent {
            writeln!(f, "Budget of {spent}")?;
        }
        if let Some(over) = &self.over {
            writeln!(f, "Not run today: {}", over.client_message())?;
        }
        for (name, seen) in &self.relations {
            writeln!(f, "\n{name}")?;
            match seen {
                Ok(seen) => write!(f, "{seen}")?,
                Err(error) => match error.lacks_token_for() {
                    Some(catalog) => writeln!(f, "  not known: the catalog {catalog} says who may read it")?,
                    None => writeln!(f, "  not to be read: {error}")?,
                },
            }
        }
        match &self.sent {
            Ok((text, true)) => writeln!(f, "\nAllowed, with restrictions. Trino would be sent:\n{text}"),
            Ok((text, false)) => writeln!(f, "\nAllowed as it is. Trino would be sent:\n{text}"),
            Err(error) if let Some(catalog) = error.lacks_token_for() => writeln!(
                f,
                "\nNot known: the catalog {catalog} decides (access = \"delegated\") and is asked with the token that the \
                 user signs in with. There is none here.\nGive one (northgate explain --token-file), or let the user run the \
                 statement: the audit says what was decided. Who signs in with a password is refused."
            ),
            Err(error) => {
                let message = error.client_message();
                writeln!(f, "\nRefused: {error}\nThe user would be told: {}: {message}", error.code().name)
            }
        }?;
        match &self.cached {
            None => Ok(()),
            Some(Ok(nature)) => writeln!(f, "\nThe answer may be given again: {nature}."),
            Some(Err(reason)) => writeln!(f, "\nThe answer is not given again: {reason}."),
        }
    }
}

fn shown_by_name(scoped: &Scoped, _: &str) -> String {
    format!("TABLE {}", scoped.described().name)
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for source in &self.sources {
            writeln!(f, "  by      {source}")?;
        }
        if self.sources.is_empty() {
            writeln!(f, "  by      the default of the catalog")?;
        }
        if let Some(view) = self.scoped.view() {
            let reads: Vec<String> = view.reads.iter().map(ToString::to_string).collect();
            writeln!(f, "  view    read through: {}", reads.join(", "))?;
        }
        for filter in self.scoped.filters() {
            writeln!(f, "  rows    where {}", filter.render("table", shown_by_name))?;
        }
        let shown: Vec<&str> = self.scoped.columns().map(|column| column.name.as_str()).collect();
        let mut line = String::new();
        for column in &self.scoped.described().columns {
            let name = column.name.as_str();
            if !shown.contains(&name) {
                writeln!(f, "  hidden  {name}")?;
            } else if let Some(mask) = self.scoped.mask(name) {
                writeln!(f, "  masked  {name}: {}", mask.render("table", shown_by_name))?;
            } else {
                let comma = if line.is_empty() { "" } else { ", " };
                let _ = write!(line, "{comma}{name}");
            }
        }
        if line.is_empty() { Ok(()) } else { writeln!(f, "  as is   {line}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CatalogError;
    use crate::catalog::rest::RestError;

    #[test]
    fn what_only_a_users_token_tells() {
        let check = |error: RestError, expect: &str| {
            let error = || CatalogError::Rest { catalog: "lake".to_owned(), error: error.clone() }.into();
            let name = TableName::new("lake", "crm", "customers").expect("a name");
            let who = "ann (groups: )".to_owned();
            let explanation = Explanation {
                who,
                kind: "query",
                class: None,
                estimate: None,
                spent: Vec::new(),
                over: None,
                relations: vec![(name, Err(error()))],
                sent: Err(error()),
                cached: None,
            };
            assert_eq!(explanation.to_string(), expect);
        };
        check(
            RestError::NoUserToken("ann".to_owned()),
            "query, asked by ann (groups: )\n\nlake.crm.customers\n  not known: the catalog lake says who may read it\n\n\
             Not known: the catalog lake decides (access = \"delegated\") and is asked with the token that the user signs in \
             with. There is none here.\nGive one (northgate explain --token-file), or let the user run the statement: the \
             audit says what was decided. Who signs in with a password is refused.\n",
        );
        check(
            RestError::Resting,
            "query, asked by ann (groups: )\n\nlake.crm.customers\n  not to be read: the REST catalog lake has no answer: it \
             is not asked for a moment, as it has not answered\n\nRefused: the REST catalog lake has no answer: it is not \
             asked for a moment, as it has not answered\nThe user would be told: REMOTE_HOST_GONE: The catalog lake can't be \
             asked what you may see, so the query was not run. Try again later.\n",
        );
    }
}
