//! From a text to what is done with it: stages 4 to 7.

use std::ops::Range;
use std::time::Duration;

use super::cached::CACHE_WISHES;
use super::placed::Placed;
use super::view::Reader;
use super::{Gateway, StatementError, target};
use crate::admission::{Classified, Facts};
use crate::audit::Read;
use crate::cache::{self, Nature, Reason};
use crate::catalog::rest::Subject;
use crate::catalog::{Catalog, Noted, TableName};
use crate::identity::Authenticated;
use crate::policy::Permit;
use crate::rewrite::{self, Context, Names, RewriteError, ScopedSql};
use crate::sql::{Edits, Ident, Kind, Statement, Symbol, TokenKind};
use crate::telemetry::{Stage, StatementKind};
use crate::wire::{CACHE_PROPERTY, Session};

/// What is done with a statement.
pub(super) enum Plan {
    /// It is answered here; Trino does not see it.
    Local(Local),
    /// It is sent to Trino.
    Submit(Box<Planned>),
}

/// A statement that only changes what the client remembers.
pub(super) enum Local {
    /// PREPARE.
    Prepare {
        /// The name.
        name: String,
        /// The text, as the client will send it back.
        sql: String,
    },
    /// DEALLOCATE PREPARE.
    Deallocate {
        /// The name.
        name: String,
    },
    /// SET SESSION northgate.cache, and RESET SESSION without a wish.
    Cache {
        /// What is wished of the cache.
        wish: Option<&'static str>,
    },
}

/// What is sent, what it reads, and whether its answer may be given again.
type Decided = (ScopedSql, Vec<TableName>, Permit, Option<Result<Nature, Reason>>);

/// A statement that is ready to be sent.
pub(super) struct Planned {
    pub(super) sql: ScopedSql,
    pub(super) relations: Vec<TableName>,
    pub(super) permit: Permit,
    /// Where it is to run: where its relations were described.
    pub(super) place: Placed,
    /// What was said of them there.
    pub(super) noted: Noted,
    /// Whether the answer may be given again; none of what is no query, and where there is no cache.
    pub(super) nature: Option<Result<Nature, Reason>>,
}

/// What is known of a statement, for the audit and the metrics, also where it is denied.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) kind: Option<&'static str>,
    pub(super) label: Option<StatementKind>,
    pub(super) relations: Vec<TableName>,
    /// What of them it changes.
    pub(super) targets: Vec<TableName>,
    /// Its class, once it is parsed.
    pub(super) class: Option<Classified>,
    /// Whether it reads data, which is paid for.
    pub(super) spends: bool,
    /// When it came, by the audit's clock.
    pub(super) received_us: u64,
    pub(super) tables: Vec<Read>,
    /// The text that was prepared.
    pub(super) prepared: Option<String>,
    /// The values of parameters, and the text before them.
    pub(super) values: Option<(Vec<String>, String)>,
    /// Whether no policy says that what is read is sensitive, and none masks it.
    pub(super) harmless: bool,
}

impl Gateway {
    /// Decides what is done with a statement. `tried` are clusters that had no answer; the one that is asked is added.
    pub(super) async fn plan(
        &self,
        caller: &Authenticated,
        seen: &mut Seen,
        tried: &mut Vec<String>,
    ) -> Result<Plan, StatementError> {
        let session = caller.call().session();
        self.check_properties(session)?;
        let statement = Statement::parse(caller.call().body(), &self.limits)?;
        seen.kind = Some(statement.kind().name());
        seen.label = Some(label(statement.kind()));
        let executed = self.executed(&statement, session)?;
        let kind = ran(executed.as_ref().unwrap_or(&statement));
        seen.spends = spends(kind);
        let facts = Facts {
            principal: caller.principal(),
            source: session.source.as_deref(),
            tags: &session.client_tags,
            kind,
            now: jiff::Timestamp::now(),
            estimate: None,
        };
        let class = self.slots.classes().classify(&facts);
        seen.class = Some(class.clone());
        if let Some(local) = local(&statement, session)? {
            return Ok(Plan::Local(local));
        }
        let planned = self.placed_plan(caller, &statement, executed.as_ref(), seen, tried).await?;
        let Some(estimate) = self.estimate(caller, &facts, &planned).await else {
            return Ok(Plan::Submit(Box::new(planned)));
        };
        let by_estimate = self.slots.classes().classify(&Facts { estimate: Some(estimate), ..facts });
        let is_same = by_estimate.name == class.name;
        seen.class = Some(by_estimate);
        if is_same {
            return Ok(Plan::Submit(Box::new(planned)));
        }
        // Where it runs, and what is set for it, goes by its class. The cluster that was asked has an answer.
        drop(planned);
        tried.pop();
        let planned = self.placed_plan(caller, &statement, executed.as_ref(), seen, tried).await?;
        Ok(Plan::Submit(Box::new(planned)))
    }

    /// Plans a statement that is sent, in the class that it is of so far.
    async fn placed_plan(
        &self,
        caller: &Authenticated,
        statement: &Statement,
        executed: Option<&Statement>,
        seen: &mut Seen,
        tried: &mut Vec<String>,
    ) -> Result<Planned, StatementError> {
        let class = seen.class.as_ref().ok_or(StatementError::Fault)?;
        // From here on one cluster is asked what the relations are, and it is the one that gets the query.
        let place = self.placed(caller, &class.name, tried)?;
        let (catalog, noted) = place.catalog().noting();
        let catalog = catalog.asked_by(caller.principal().name());
        let (sql, relations, permit, nature) =
            self.scoped(caller, statement, executed, &catalog, seen).await?;
        Ok(Planned { sql, relations, permit, place, noted, nature })
    }

    async fn scoped(
        &self,
        caller: &Authenticated,
        statement: &Statement,
        executed: Option<&Statement>,
        catalog: &Catalog,
        seen: &mut Seen,
    ) -> Result<Decided, StatementError> {
        let session = caller.call().session();
        match (statement.kind(), executed) {
            (
                kind @ (Kind::Execute { arguments, .. } | Kind::ExecuteImmediate { arguments, .. }),
                Some(prepared),
            ) => {
                seen.values = values(statement, arguments.as_ref());
                if let Kind::Execute { .. } = kind {
                    seen.prepared = Some(prepared.slice(prepared.whole()).to_owned());
                }
                let (relations, permit) = self.permit(caller, prepared, catalog, seen).await?;
                let context = self.context(session, &permit, seen)?;
                let sql = rewrite::execute(statement, arguments.clone(), prepared, &context)?;
                let nature = self.nature(&[statement, prepared], session, catalog, &permit);
                Ok((sql, relations, permit, nature))
            }
            (Kind::DescribeInput { name } | Kind::DescribeOutput { name }, _) => {
                let prepared = self.prepared(session, &name.value)?;
                let (relations, permit) = self.permit(caller, &prepared, catalog, seen).await?;
                let context = self.context(session, &permit, seen)?;
                let sql = rewrite::describe(statement, &name.value, &prepared, &context)?;
                Ok((sql, relations, permit, None))
            }
            _ => {
                let (relations, permit) = self.permit(caller, statement, catalog, seen).await?;
                let timer = self.metrics.time(Stage::Rewrite);
                let sql = rewrite::rewrite(statement, &self.context(session, &permit, seen)?)?;
                drop(timer);
                let nature = self.nature(&[statement], session, catalog, &permit);
                Ok((sql, relations, permit, nature))
            }
        }
    }

    /// Whether the answer may be given again; none where there is no cache.
    fn nature(
        &self,
        statements: &[&Statement],
        session: &Session,
        catalog: &Catalog,
        permit: &Permit,
    ) -> Option<Result<Nature, Reason>> {
        self.cache.as_ref()?;
        let versioned = |name: &str| catalog.tells_versions(name);
        Some(cache::judge(statements, &names(session), permit, versioned))
    }

    fn check_properties(&self, session: &Session) -> Result<(), StatementError> {
        let refused = session
            .properties
            .iter()
            .find(|(name, _)| !self.config.session_properties.contains(&name.to_lowercase()));
        match refused {
            Some((name, _)) => Err(RewriteError::SessionProperty(name.clone()).into()),
            None => Ok(()),
        }
    }

    /// What a statement executes, if it is an EXECUTE.
    fn executed(
        &self,
        statement: &Statement,
        session: &Session,
    ) -> Result<Option<Statement>, StatementError> {
        match statement.kind() {
            Kind::Execute { name, .. } => self.prepared(session, &name.value).map(Some),
            Kind::ExecuteImmediate { text, .. } => Ok(Some(Statement::parse(text, &self.limits)?)),
            _ => Ok(None),
        }
    }

    /// A prepared statement of the client: a text like any other, which the policy meets now.
    fn prepared(&self, session: &Session, name: &str) -> Result<Statement, StatementError> {
        let text = session
            .prepared(name, self.request.prepared)?
            .ok_or_else(|| StatementError::NotPrepared(name.to_owned()))?;
        Ok(Statement::parse(&text, &self.limits)?)
    }

    async fn permit(
        &self,
        caller: &Authenticated,
        statement: &Statement,
        catalog: &Catalog,
        seen: &mut Seen,
    ) -> Result<(Vec<TableName>, Permit), StatementError> {
        let kind = rewrite::subject(statement).kind();
        if caller.scope().is_some_and(|scope| scope.read_only) && !reads(kind) {
            return Err(StatementError::ReadOnly(kind.name()));
        }
        let names = names(caller.call().session());
        let mut relations = rewrite::resolve(statement, &names)?;
        seen.relations.clone_from(&relations);
        let policies = self.policies.load_full();
        let principal = caller.principal();
        // What is being changed is asked for anew each time: when it happens, only Trino knows.
        self.fleet.forget(&self.registry.being_changed());
        let timer = self.metrics.time(Stage::Describe);
        let token = caller.token();
        let direct = relations.clone();
        let lists = rewrite::lists(rewrite::subject(statement), &names)?;
        let reader = Reader { principal, token, lists, catalog, policies: &policies, limits: &self.limits };
        let mut permit = reader.decide(&relations).await?;
        drop(timer);
        if caller.call().session().transaction.is_some() && !permit.read_by_policies().is_empty() {
            // Trino would read what they read as it was when the transaction began: who is taken off a list would stay on it.
            let why =
                "what its policies look up is not looked up within a transaction: run it outside of one";
            return Err(RewriteError::NotAllowed(why.to_owned()).into());
        }
        // What views read is read, too.
        relations = permit.tables().map(|scoped| scoped.described().name.clone()).collect();
        let of_policies = permit.read_by_policies().iter().filter(|name| permit.scoped(name).is_none());
        relations.extend(of_policies.cloned());
        seen.relations.clone_from(&relations);
        seen.tables = super::record::read(statement, &direct, &permit);
        let subject = Subject { principal, token, is_run_as: false };
        snapshots(catalog, subject, &permit, &mut seen.tables).await;
        seen.harmless = !permit.is_sensitive() && seen.tables.iter().all(|table| table.masked.is_empty());
        let targets = target::permit(statement, &names, &reader, &mut permit).await?;
        seen.relations.extend(targets.iter().cloned());
        seen.targets.clone_from(&targets);
        relations.extend(targets);
        Ok((relations, permit))
    }

    fn context<'a>(
        &'a self,
        session: &'a Session,
        permit: &'a Permit,
        seen: &Seen,
    ) -> Result<Context<'a>, StatementError> {
        let class = seen.class.as_ref().ok_or(StatementError::Fault)?;
        Ok(Context {
            names: names(session),
            permit,
            properties: &self.config.session_properties,
            fixed: &self.slots.classes().told(class).properties,
            limits: &self.limits,
        })
    }
}

/// Whether a statement changes nothing but the session.
fn reads(kind: &Kind) -> bool {
    match kind {
        Kind::Query
        | Kind::ShowCatalogs { .. }
        | Kind::ShowSchemas { .. }
        | Kind::ShowTables { .. }
        | Kind::ShowColumns { .. }
        | Kind::ShowFunctions
        | Kind::ShowSession
        | Kind::ShowCreateTable
        | Kind::ShowStats
        | Kind::Use { .. }
        | Kind::SetSession { .. }
        | Kind::ResetSession { .. }
        | Kind::StartTransaction
        | Kind::Commit
        | Kind::Rollback => true,
        // These carry a statement, which is asked about by itself.
        Kind::Prepare { .. }
        | Kind::Deallocate { .. }
        | Kind::Execute { .. }
        | Kind::ExecuteImmediate { .. }
        | Kind::DescribeInput { .. }
        | Kind::DescribeOutput { .. }
        | Kind::Explain { .. }
        | Kind::Change(_)
        | Kind::Other(_) => false,
    }
}

/// What is answered here. What is denied by its kind is denied here, too, before anything is asked about its relations.
fn local(statement: &Statement, session: &Session) -> Result<Option<Local>, StatementError> {
    match statement.kind() {
        Kind::Prepare { name, inner } => {
            rewrite::check_prepared(inner)?;
            let sql = inner.print(&Edits::default()).text;
            Ok(Some(Local::Prepare { name: name.value.clone(), sql }))
        }
        Kind::Deallocate { name } if session.has_prepared(&name.value) => {
            Ok(Some(Local::Deallocate { name: name.value.clone() }))
        }
        Kind::Deallocate { name } => Err(StatementError::NotPrepared(name.value.clone())),
        Kind::Other(other) => Err(RewriteError::Kind(other.name()).into()),
        Kind::SetSession { name } if is_cache(name) => {
            // Behind `SET SESSION northgate.cache =`.
            let value = statement.slice(6..u32::try_from(statement.tokens().len()).unwrap_or(u32::MAX));
            let wish = CACHE_WISHES
                .into_iter()
                .find(|wish| value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) == Some(wish));
            let refused = || {
                let why = format!("{CACHE_PROPERTY} is one of '{}'", CACHE_WISHES.join("', '"));
                RewriteError::NotAllowed(why)
            };
            Ok(Some(Local::Cache { wish: Some(wish.ok_or_else(refused)?) }))
        }
        Kind::ResetSession { name } if is_cache(name) => Ok(Some(Local::Cache { wish: None })),
        _ => Ok(None),
    }
}

/// Whether a session property is that by which a client says what it wishes of the cache.
fn is_cache(name: &[Ident]) -> bool {
    let parts: Vec<&str> = name.iter().map(|part| part.value.as_str()).collect();
    parts.join(".").eq_ignore_ascii_case(CACHE_PROPERTY)
}

/// The values of parameters, one by one, and the text before them.
fn values(statement: &Statement, arguments: Option<&Range<u32>>) -> Option<(Vec<String>, String)> {
    let arguments = arguments?.clone();
    let before = statement.print_range(0..arguments.start, &Edits::default()).text;
    let (mut values, mut from, mut depth) = (Vec::new(), arguments.start, 0_u32);
    let mut end = |from: u32, to: u32| values.push(statement.slice(from..to).to_owned());
    for at in arguments.clone() {
        match statement.tokens().get(at as usize).map(|token| token.kind) {
            Some(TokenKind::Symbol(Symbol::Open | Symbol::BracketOpen)) => depth += 1,
            Some(TokenKind::Symbol(Symbol::Close | Symbol::BracketClose)) => depth = depth.saturating_sub(1),
            Some(TokenKind::Symbol(Symbol::Comma)) if depth == 0 => {
                end(from, at);
                from = at + 1;
            }
            _ => {}
        }
    }
    end(from, arguments.end);
    Some((values, before))
}

fn names(session: &Session) -> Names<'_> {
    Names { catalog: session.catalog.as_deref(), schema: session.schema.as_deref() }
}

/// What rules of classes call a statement: EXPLAIN ANALYZE runs what it explains.
pub(super) fn ran(statement: &Statement) -> StatementKind {
    match statement.kind() {
        Kind::Explain { analyze: true, inner, .. } => label(inner.kind()),
        kind => label(kind),
    }
}

/// Whether a statement of that kind reads data. What is of the session alone, or of what there is, goes on when a budget is
/// used up.
pub(super) fn spends(kind: StatementKind) -> bool {
    matches!(kind, StatementKind::Query | StatementKind::Write)
}

/// What the catalogs said last of the states of tables is as good for the record as what they said of who may read them.
const SAID: Duration = Duration::from_hours(1);

/// Notes which snapshots are read, where a catalog tells. `tables` are those of the permit, in its order.
async fn snapshots(catalog: &Catalog, subject: Subject<'_>, permit: &Permit, tables: &mut [Read]) {
    let told = permit.tables().zip(tables).filter(|(scoped, _)| {
        scoped.view().is_none() && catalog.tells_versions(&scoped.described().name.catalog)
    });
    let (names, reads): (Vec<_>, Vec<_>) =
        told.map(|(scoped, read)| ((scoped.described().name.clone(), subject), read)).unzip();
    // It was decided without this; whoever needs it asks again.
    let Ok(versions) = catalog.versions(&names, SAID).await else { return };
    for (read, version) in reads.into_iter().zip(versions) {
        read.snapshot = version.and_then(|version| version.snapshot);
    }
}

/// What metrics call a statement.
fn label(kind: &Kind) -> StatementKind {
    match kind {
        Kind::Query => StatementKind::Query,
        Kind::ShowCatalogs { .. }
        | Kind::ShowSchemas { .. }
        | Kind::ShowTables { .. }
        | Kind::ShowColumns { .. }
        | Kind::ShowFunctions
        | Kind::ShowSession
        | Kind::ShowCreateTable
        | Kind::ShowStats => StatementKind::Show,
        Kind::Use { .. } | Kind::SetSession { .. } | Kind::ResetSession { .. } => StatementKind::Session,
        Kind::Prepare { .. }
        | Kind::Deallocate { .. }
        | Kind::DescribeInput { .. }
        | Kind::DescribeOutput { .. } => StatementKind::Prepare,
        Kind::Execute { .. } | Kind::ExecuteImmediate { .. } => StatementKind::Execute,
        Kind::Explain { .. } => StatementKind::Explain,
        Kind::StartTransaction | Kind::Commit | Kind::Rollback => StatementKind::Transaction,
        Kind::Change(_) | Kind::Other(_) => StatementKind::Write,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Limits;

    #[test]
    fn classes_go_by_what_is_run() {
        let check = |sql: &str, expect: StatementKind| {
            let statement = Statement::parse(sql, &Limits::default()).expect("a statement");
            assert_eq!(ran(&statement), expect, "{sql}");
        };
        check("SELECT 1", StatementKind::Query);
        check("EXPLAIN SELECT 1", StatementKind::Explain);
        check("EXPLAIN ANALYZE SELECT 1", StatementKind::Query);
        check("EXPLAIN ANALYZE VERBOSE DELETE FROM lake.crm.customers", StatementKind::Write);
    }
}
