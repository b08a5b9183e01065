//! Which answers may be given again: a list of what may. All else is asked anew, with the reason.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::catalog::{RelationKind, TableName, Type};
use crate::policy::{Lists, Permit, Scoped};
use crate::rewrite::{self, Names};
use crate::sql::{Kind, Repeat, Statement};
use crate::units::Span;

/// What an answer that may be given again depends on besides the text and the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nature {
    /// On who asks.
    pub user: bool,
    /// On the day.
    pub date: bool,
    /// On the states of these tables.
    pub tables: BTreeMap<TableName, Table>,
}

impl fmt::Display for Nature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.user { "to the same user" } else { "to whoever is sent the same text" })?;
        f.write_str(if self.date { ", on the same day" } else { "" })?;
        for (name, table) in &self.tables {
            match table.cached_for {
                Some(life) if !table.versioned => write!(f, ", for {} since {name} was read", Span(life))?,
                _ => write!(f, ", while {name} is as it was")?,
            }
        }
        Ok(())
    }
}

/// A table that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Whether only policies read it: then it is read in the gateway's name.
    pub by_policy: bool,
    /// Whether its catalog tells its state.
    pub versioned: bool,
    /// For how long answers may be given again where it does not.
    pub cached_for: Option<Duration>,
}

/// Why an answer is not one that may be given again, or is not looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Another kind of statement than a query.
    Kind(&'static str),
    /// It is part of a transaction.
    Transaction,
    /// It depends on a clock, on chance, or on what is not known to be the same again.
    Volatile(String),
    /// Functions or session properties of the statement's own.
    OwnDefinitions,
    /// It lists what there is.
    Listing,
    /// A relation that is no table of a catalog: a system table, a view that is read as it is.
    Relation(TableName),
    /// A column of a type that may depend on the day.
    Type(TableName),
    /// An expression of a policy depends on a clock, on chance, or on what is not known.
    Policy(String),
    /// A mask hashes with a salt that is the query's own.
    Salted,
    /// No catalog tells the state of a table, and no policy says for how long answers may be given again.
    NoVersion(TableName),
    /// The catalog has no answer now.
    CatalogSilent,
    /// `current_date` where it is not sure which day Trino has: no time zone, or around midnight.
    Day,
    /// The version of Trino is not known.
    Cluster,
    /// Several gateways serve the same clients, and do not share answers.
    Several,
    /// The state that gateways share does not answer.
    StateSilent,
    /// The user wishes so.
    Wish,
    /// The answer was too large a while ago.
    TooLarge,
    /// Trino would be told something that the key does not have.
    Session,
}

impl Reason {
    /// A word or two for clients and the audit. Of policies it does not tell.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Kind(_) => "not a query",
            Self::Transaction => "transaction",
            Self::Volatile(_) => "volatile",
            Self::OwnDefinitions => "own functions or properties",
            Self::Listing => "listing",
            Self::Relation(_) => "relation",
            Self::Type(_) => "type",
            Self::Policy(_) | Self::Salted => "policy",
            Self::NoVersion(_) => "no version",
            Self::CatalogSilent => "catalog does not answer",
            Self::Day => "current_date",
            Self::Cluster => "cluster",
            Self::Several => "several gateways",
            Self::StateSilent => "state does not answer",
            Self::Wish => "client",
            Self::TooLarge => "too large",
            Self::Session => "session",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "{kind} is no query"),
            Self::Transaction => f.write_str("it is part of a transaction"),
            Self::Volatile(what) => write!(f, "{what} may give another answer next time"),
            Self::OwnDefinitions => f.write_str("it has functions or session properties of its own"),
            Self::Listing => f.write_str("it lists what there is"),
            Self::Relation(name) => write!(f, "{name} is no table, or a view that is read as it is"),
            Self::Type(name) => {
                write!(f, "{name} has a column of the type time, which may become one of today")
            }
            Self::Policy(what) => write!(f, "a policy uses {what}, which may give another answer next time"),
            Self::Salted => f.write_str("a mask hashes with a salt of the query's own"),
            Self::NoVersion(name) => write!(
                f,
                "no Iceberg REST catalog tells the state of {name}, and no policy says for how long answers about it hold \
                 (cache: {{time_to_live}})"
            ),
            Self::CatalogSilent => f.write_str("a catalog does not answer"),
            Self::Day => {
                f.write_str("the day is not sure: current_date without a time zone, or around midnight")
            }
            Self::Cluster => f.write_str("the version of Trino is not known"),
            Self::Several => f.write_str("several gateways share no answers (cache.redis)"),
            Self::StateSilent => f.write_str("the state that gateways share does not answer"),
            Self::Wish => f.write_str("the user wishes so"),
            Self::TooLarge => f.write_str("the answer was too large a while ago"),
            Self::Session => f.write_str("Trino is told something that answers are not told apart by"),
        }
    }
}

/// Whether the answer of a statement may be given again, and what it depends on then. `statements` are the statement, and
/// what was prepared if it executes that; `permit` is what it was rewritten with. `versioned` says of a catalog whether it
/// tells the states of its tables.
///
/// # Errors
/// Why not.
pub fn judge(
    statements: &[&Statement],
    names: &Names<'_>,
    permit: &Permit,
    versioned: impl Fn(&str) -> bool,
) -> Result<Nature, Reason> {
    let query = statements.last().filter(|statement| matches!(statement.kind(), Kind::Query));
    let Some(_) = query.filter(|_| !permit.writes()) else {
        return Err(Reason::Kind(statements.last().map_or("nothing", |statement| statement.kind().name())));
    };
    let mut all = Repeat::default();
    for statement in statements {
        all.and(&own(statement)?);
        // What there is to be listed is told by nobody's version.
        let lists = rewrite::lists(statement, names) != Ok(Lists::Nothing);
        if lists && matches!(statement.kind(), Kind::Query) {
            return Err(Reason::Listing);
        }
    }
    for view in permit.tables().filter_map(Scoped::view) {
        all.and(&own(&view.statement)?);
    }
    if let Some(what) = all.never {
        return Err(Reason::Volatile(what.to_string()));
    }
    if permit.is_salted() {
        return Err(Reason::Salted);
    }
    let mut nature = Nature { user: all.user, date: all.date, tables: BTreeMap::new() };
    let mut below = permit.tables().filter_map(Scoped::view).flat_map(|view| view.reads.iter());
    if let Some(name) = below.find(|name| permit.scoped(name).is_none()) {
        return Err(Reason::Relation(name.clone()));
    }
    if permit.tables().filter_map(Scoped::view).any(|view| view.lists != Lists::Nothing) {
        return Err(Reason::Listing);
    }
    let mut found = Ok(());
    for scoped in permit.tables() {
        found = found.and_then(|()| table(&mut nature, scoped, false));
        scoped.each_read(&mut |read| {
            found = std::mem::replace(&mut found, Ok(())).and_then(|()| table(&mut nature, read, true));
        });
    }
    found?;
    nature.tables.iter_mut().for_each(|(name, table)| table.versioned = versioned(&name.catalog));
    let unknown = nature.tables.iter().find(|(_, table)| !table.versioned && table.cached_for.is_none());
    match unknown {
        Some((name, _)) => Err(Reason::NoVersion(name.clone())),
        None => Ok(nature),
    }
}

/// What a statement of the user's, or of a view, depends on.
fn own(statement: &Statement) -> Result<Repeat, Reason> {
    if statement.has_inline_functions() || !statement.session_properties().is_empty() {
        return Err(Reason::OwnDefinitions);
    }
    let moving =
        |relation: &&crate::sql::Relation| relation.version.is_some() && !relation.version_is_literal;
    if statement.relations().iter().any(|relation| moving(&relation)) {
        return Err(Reason::Volatile("a computed version".to_owned()));
    }
    Ok(statement.repeat())
}

/// Adds one relation that is read.
fn table(nature: &mut Nature, scoped: &Scoped, by_policy: bool) -> Result<(), Reason> {
    let described = scoped.described();
    let name = &described.name;
    let is_table = described.kind == RelationKind::Table;
    if name.is_metadata()
        || name.catalog == "system"
        || matches!(name.schema.as_str(), "information_schema" | "system")
        || !(is_table || scoped.view().is_some())
    {
        return Err(Reason::Relation(name.clone()));
    }
    if described.columns.iter().any(|column| depends_on_day(&column.ty)) {
        return Err(Reason::Type(name.clone()));
    }
    let repeat = scoped.repeat();
    if let Some(what) = repeat.never {
        return Err(Reason::Policy(what.to_string()));
    }
    nature.date |= repeat.date;
    nature.user |= repeat.user;
    if is_table {
        let entry = nature.tables.entry(name.clone()).or_insert(Table {
            by_policy,
            versioned: false,
            cached_for: scoped.cached_for(),
        });
        entry.by_policy &= by_policy;
        entry.cached_for = entry.cached_for.min(scoped.cached_for());
    }
    Ok(())
}

/// Whether a value may become one of today when it is cast: a time of day. Types that are not understood may be that.
fn depends_on_day(ty: &Type) -> bool {
    match ty {
        Type::Time { .. } => true,
        Type::Other(text) => text.to_lowercase().contains("time"),
        Type::Array(element) => depends_on_day(element),
        Type::Map(key, value) => depends_on_day(key) || depends_on_day(value),
        Type::Row(fields) => fields.iter().any(|field| depends_on_day(&field.ty)),
        Type::Boolean
        | Type::Tinyint
        | Type::Smallint
        | Type::Integer
        | Type::Bigint
        | Type::Real
        | Type::Double
        | Type::Decimal { .. }
        | Type::Varchar(_)
        | Type::Char(_)
        | Type::Varbinary
        | Type::Date
        | Type::Timestamp { .. }
        | Type::Uuid
        | Type::Json => false,
    }
}
