//! From a text to what is done with it: stages 4 to 7.

use super::view::Reader;
use super::{Gateway, StatementError, target};
use crate::catalog::TableName;
use crate::identity::Authenticated;
use crate::policy::Permit;
use crate::rewrite::{self, Context, Names, RewriteError, ScopedSql};
use crate::sql::{Kind, Statement};
use crate::telemetry::{Stage, StatementKind};
use crate::wire::Session;

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
}

/// A statement that is ready to be sent.
pub(super) struct Planned {
    pub(super) sql: ScopedSql,
    pub(super) relations: Vec<TableName>,
    pub(super) permit: Permit,
}

/// What is known of a statement, for the audit and the metrics, also where it is denied.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) kind: Option<&'static str>,
    pub(super) label: Option<StatementKind>,
    pub(super) relations: Vec<TableName>,
}

impl Gateway {
    pub(super) async fn plan(&self, caller: &Authenticated, seen: &mut Seen) -> Result<Plan, StatementError> {
        let session = caller.call().session();
        self.check_properties(session)?;
        let statement = Statement::parse(caller.call().body(), &self.limits)?;
        seen.kind = Some(statement.kind().name());
        seen.label = Some(label(statement.kind()));
        match statement.kind() {
            Kind::Prepare { name, inner } => {
                rewrite::check_prepared(inner)?;
                let sql = inner.print(&crate::sql::Edits::default()).text;
                Ok(Plan::Local(Local::Prepare { name: name.value.clone(), sql }))
            }
            Kind::Deallocate { name } if session.has_prepared(&name.value) => {
                Ok(Plan::Local(Local::Deallocate { name: name.value.clone() }))
            }
            Kind::Deallocate { name } => Err(StatementError::NotPrepared(name.value.clone())),
            Kind::Execute { name, arguments } => {
                let prepared = self.prepared(session, &name.value)?;
                let (relations, permit) = self.permit(caller, &prepared, seen).await?;
                let context = self.context(session, &permit);
                let sql = rewrite::execute(&statement, arguments.clone(), &prepared, &context)?;
                Ok(submit(sql, relations, permit))
            }
            Kind::ExecuteImmediate { text, arguments } => {
                let prepared = Statement::parse(text, &self.limits)?;
                let (relations, permit) = self.permit(caller, &prepared, seen).await?;
                let context = self.context(session, &permit);
                let sql = rewrite::execute(&statement, arguments.clone(), &prepared, &context)?;
                Ok(submit(sql, relations, permit))
            }
            Kind::DescribeInput { name } | Kind::DescribeOutput { name } => {
                let prepared = self.prepared(session, &name.value)?;
                let (relations, permit) = self.permit(caller, &prepared, seen).await?;
                let context = self.context(session, &permit);
                let sql = rewrite::describe(&statement, &name.value, &prepared, &context)?;
                Ok(submit(sql, relations, permit))
            }
            // What is denied by its kind is denied before anything is asked about its relations.
            Kind::Other(other) => Err(RewriteError::Kind(other.name()).into()),
            _ => {
                let (relations, permit) = self.permit(caller, &statement, seen).await?;
                let timer = self.metrics.time(Stage::Rewrite);
                let sql = rewrite::rewrite(&statement, &self.context(session, &permit))?;
                drop(timer);
                Ok(submit(sql, relations, permit))
            }
        }
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
        seen: &mut Seen,
    ) -> Result<(Vec<TableName>, Permit), StatementError> {
        let names = names(caller.call().session());
        let mut relations = rewrite::resolve(statement, &names)?;
        seen.relations.clone_from(&relations);
        let policies = self.policies.load_full();
        let principal = caller.principal();
        // What is being changed is asked for anew each time: when it happens, only Trino knows.
        self.catalog.forget(&self.registry.being_changed());
        let timer = self.metrics.time(Stage::Describe);
        let token = caller.token();
        let lists = rewrite::lists(rewrite::subject(statement), &names)?;
        let reader = Reader {
            principal,
            token,
            lists,
            catalog: &self.catalog,
            policies: &policies,
            limits: &self.limits,
        };
        let mut permit = reader.decide(&relations).await?;
        drop(timer);
        // What views read is read, too.
        relations = permit.tables().map(|scoped| scoped.described().name.clone()).collect();
        let of_policies = permit.read_by_policies().iter().filter(|name| permit.scoped(name).is_none());
        relations.extend(of_policies.cloned());
        seen.relations.clone_from(&relations);
        let targets = target::permit(statement, &names, &reader, &mut permit).await?;
        seen.relations.extend(targets.iter().cloned());
        relations.extend(targets);
        Ok((relations, permit))
    }

    fn context<'a>(&'a self, session: &'a Session, permit: &'a Permit) -> Context<'a> {
        Context {
            names: names(session),
            permit,
            properties: &self.config.session_properties,
            limits: &self.limits,
        }
    }
}

fn submit(sql: ScopedSql, relations: Vec<TableName>, permit: Permit) -> Plan {
    Plan::Submit(Box::new(Planned { sql, relations, permit }))
}

fn names(session: &Session) -> Names<'_> {
    Names { catalog: session.catalog.as_deref(), schema: session.schema.as_deref() }
}

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
