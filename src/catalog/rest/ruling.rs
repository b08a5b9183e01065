//! What one catalog says of one table for one principal, remembered for a short while.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future;
use tokio::sync::Semaphore;

use super::attached::{self, Attached};
use super::client::{Client, Loaded, Loading};
use super::error::RestError;
use super::facts::{self, Facts, Tags};
use super::fresh::{Found, Fresh};
use super::grants::{Extent, Grants, Object, Right};
use super::{Access, Caller, Config, Fingerprint, PrincipalRoles};
use crate::catalog::{Described, ReadRestrictions, RelationKind, TableName, Version};
use crate::identity::Principal;
use crate::secret::Secret;

/// How many questions one catalog is asked at once.
const AT_ONCE: usize = 32;
/// Roles and grants that are remembered, of each kind.
const MOST_ROLES: u64 = 100_000;
/// How many tables and views of a catalog are listed in a user's name: each is loaded once, to know whether they may read
/// it.
const MOST_LISTED: usize = 1_000;
/// The same in the gateway's own name: these are loaded for everybody.
const MOST_LISTED_FOR_ALL: usize = 10_000;
/// The most namespaces of a catalog that are looked through.
const MOST_LEVELS: usize = 1_000;
/// Lists that are remembered.
const MOST_LISTS: u64 = 2_000;
/// Namespaces that are remembered.
const MOST_NAMESPACES: u64 = 20_000;

/// For how long it is remembered how new a table was.
const MOMENT: Duration = Duration::from_mins(1);

/// Somebody for whom a catalog is asked.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// The token that they signed in with themselves, if it was one.
    pub token: Option<&'a Secret<String>>,
    /// Whether a policy reads in their place (`run_as`): the gateway then asks in its own name where a user's token would
    /// be needed.
    pub is_run_as: bool,
}

/// What a catalog says of a relation for somebody.
#[derive(Clone, Debug)]
pub struct Ruling {
    /// What Trino calls the catalog.
    pub catalog: Arc<str>,
    /// Whether its word on who may read holds; else only its tags do.
    pub decides: bool,
    /// Whether it lets them read.
    pub read: bool,
    /// What the relation is; none where nothing may be known of it.
    pub facts: Option<Arc<Facts>>,
    /// The tags of the namespaces that it is in.
    pub inherited: Vec<Arc<Vec<String>>>,
    /// What of it they may not see.
    pub restrictions: Option<Arc<ReadRestrictions>>,
    /// What policies that are attached to it restrict.
    pub attached: Arc<Vec<Attached>>,
    /// The strength of the masks among these.
    pub mask_strength: i32,
}

impl Ruling {
    /// The tags of the relation and of what is in it.
    pub fn tags(&self) -> Tags {
        let mut tags = self.facts.as_ref().map(|facts| facts.tags.clone()).unwrap_or_default();
        tags.whole.extend(self.inherited.iter().flat_map(|words| words.iter().cloned()));
        tags
    }
}

/// What the grants of Polaris give to somebody.
#[derive(Clone, Debug)]
pub struct Granted {
    grants: Vec<Arc<Grants>>,
    /// Whether schemas may be nested namespaces.
    nested: bool,
}

impl Granted {
    /// Whether they give a right to a schema, or to something in it.
    pub fn give(&self, right: Right, schema: &str, name: Option<&str>) -> bool {
        let namespace = namespace(schema, self.nested);
        self.grants.iter().any(|grants| grants.give(right, Object { namespace: &namespace, name }))
    }

    /// All that they give a right to.
    pub fn extents(&self, right: Right) -> impl Iterator<Item = Extent> {
        self.grants.iter().flat_map(move |grants| grants.extents(right))
    }
}

/// What a catalog says of the columns of a relation, for listings of them.
#[derive(Clone, Debug)]
pub struct Outline {
    /// Which relation.
    pub name: TableName,
    /// Its tags, with those that it inherits.
    pub tags: Tags,
    /// The only columns that are shown, one set for each policy that is attached and names some.
    pub shown: Vec<BTreeSet<String>>,
}

/// The levels of the namespace that Trino calls a schema.
fn namespace(schema: &str, nested: bool) -> Vec<&str> {
    if nested { schema.split('.').collect() } else { vec![schema] }
}

/// A relation as a catalog told it to somebody.
#[derive(Debug)]
enum Told {
    /// It is theirs to know.
    Shown { etag: Option<String>, facts: Arc<Facts>, restrictions: Option<Arc<ReadRestrictions>> },
    /// They may not read it, or there is none.
    Closed,
}

impl Told {
    fn is_unrestricted(&self) -> bool {
        matches!(self, Self::Shown { restrictions: None, .. })
    }
}

/// Who was asked for, as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Gateway,
    User(Fingerprint),
}

/// One catalog, with what it said lately.
pub struct RestCatalog {
    name: Arc<str>,
    config: Config,
    client: Client,
    tables: Fresh<(Who, Loading, TableName), Told>,
    namespaces: Fresh<(Who, Vec<String>), Vec<String>>,
    assigned: Fresh<String, Vec<String>>,
    held: Fresh<String, Vec<String>>,
    grants: Fresh<String, Grants>,
    lists: Fresh<Who, Vec<(Loading, TableName)>>,
    attached: Fresh<(Who, TableName), Vec<Attached>>,
    /// The same facts are held once, whoever they were told to.
    facts: moka::sync::Cache<(TableName, String), Arc<Facts>>,
    /// When the newest states came to be that it told of a moment ago.
    newest: moka::sync::Cache<TableName, i64>,
    /// Whether it was seen to give one tag to different answers: then it is asked for all of them anew.
    tags_lie: AtomicBool,
    turns: Semaphore,
}

impl std::fmt::Debug for RestCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestCatalog").field("name", &self.name).finish_non_exhaustive()
    }
}

impl RestCatalog {
    /// A catalog by the name that Trino has for it. It is not asked anything yet.
    ///
    /// # Errors
    /// The configuration is not in order, or a file cannot be read.
    pub fn new(name: &str, config: Config) -> Result<Self, String> {
        config.check()?;
        let (life, grace) = (config.life.0, config.grace.0);
        Ok(Self {
            name: Arc::from(name),
            client: Client::new(&config)?,
            tables: Fresh::new(config.remembered, life, grace),
            namespaces: Fresh::new(MOST_NAMESPACES, life, grace),
            assigned: Fresh::new(MOST_ROLES, life, grace),
            held: Fresh::new(MOST_ROLES, life, grace),
            grants: Fresh::new(MOST_ROLES, life, grace),
            lists: Fresh::new(MOST_LISTS, life, grace),
            attached: Fresh::new(config.remembered, life, grace),
            facts: moka::sync::Cache::builder()
                .max_capacity(config.remembered)
                .time_to_idle(life * 20)
                .build(),
            newest: moka::sync::Cache::builder().max_capacity(config.remembered).time_to_live(MOMENT).build(),
            tags_lie: AtomicBool::new(false),
            turns: Semaphore::new(AT_ONCE),
            config,
        })
    }

    /// Whether the catalog takes the gateway's own token. `None`: it has none.
    ///
    /// # Errors
    /// It does not, or cannot be asked.
    pub async fn try_own_token(&self) -> Option<Result<(), RestError>> {
        if self.client.has_own_token() { Some(self.client.configured().await) } else { None }
    }

    /// Whether its word on who may read holds.
    pub fn decides(&self) -> bool {
        self.config.decides()
    }

    /// What it says of a relation that Trino describes.
    ///
    /// # Errors
    /// It has no answer. That somebody may not read is an answer.
    pub async fn ruling(&self, subject: &Subject<'_>, described: &Described) -> Result<Ruling, RestError> {
        let name = &described.name;
        let is_view = described.kind != RelationKind::Table;
        let loading = if is_view { Loading::View } else { self.loading() };
        let caller = self.caller(subject)?;
        let (granted, told, inherited, attached) = future::try_join4(
            self.granted(subject),
            self.told(&caller, loading, name),
            self.inherited(&caller, name),
            self.attached(&caller, name, is_view),
        )
        .await?;
        let right = if is_view { Right::ReadView } else { Right::ReadTable };
        let may = granted.is_none_or(|granted| granted.give(right, &name.schema, Some(&name.table)));
        let closed = Ruling {
            catalog: Arc::clone(&self.name),
            decides: self.decides(),
            read: false,
            facts: None,
            inherited,
            restrictions: None,
            attached: Arc::default(),
            mask_strength: self.config.mask_strength,
        };
        let Some(attached) = attached else { return Ok(closed) };
        match (&*told, self.config.access) {
            (Told::Closed, _) => Ok(closed),
            (Told::Shown { .. }, Access::Grants) if !attached.is_empty() && !subject.is_run_as => {
                Err(RestError::Garbage(
                    "an attached policy restricts reading: only access = \"delegated\" tells what it means for a user"
                        .to_owned(),
                ))
            }
            // They hold for the gateway, and nobody knows what would hold for the user.
            (Told::Shown { restrictions: Some(_), .. }, Access::Documents | Access::Grants)
                if matches!(caller, Caller::Gateway) && !subject.is_run_as =>
            {
                Err(RestError::Garbage(
                    "it restricts what the gateway may read: only access = \"delegated\" tells what a user may"
                        .to_owned(),
                ))
            }
            (Told::Shown { facts, restrictions, .. }, _) => Ok(Ruling {
                read: may,
                facts: Some(Arc::clone(facts)),
                restrictions: restrictions.clone(),
                attached,
                ..closed
            }),
        }
    }

    /// Forgets what it said of a relation to somebody, since Trino does not agree with it.
    pub async fn forget(&self, subject: &Subject<'_>, name: &TableName) {
        if let Ok(caller) = self.caller(subject) {
            for loading in [Loading::Table, Loading::TableData, Loading::View] {
                self.tables.forget(&(who(&caller), loading, name.clone())).await;
            }
            self.attached.forget(&(who(&caller), name.clone())).await;
        }
    }

    /// As what tables are loaded.
    fn loading(&self) -> Loading {
        match self.config.access {
            Access::Delegated => Loading::TableData,
            Access::Documents | Access::Grants => Loading::Table,
        }
    }

    /// The state of a table now, or at most `freshness` ago; none where the catalog does not tell it to the subject.
    ///
    /// # Errors
    /// It has no answer, or one that is older than what it told a moment ago, as of a copy that lags behind. (A table that takes
    /// the name of a newer one looks the same.)
    pub async fn version(
        &self,
        subject: &Subject<'_>,
        name: &TableName,
        freshness: Duration,
    ) -> Result<Option<Version>, RestError> {
        let caller = self.caller(subject)?;
        let loading = self.loading();
        let key = (who(&caller), loading, name.clone());
        let ask = async |last: Option<Arc<Told>>| self.load(&caller, loading, name, last).await;
        let told = self.tables.answer_within(&key, freshness, |_| false, ask).await?;
        let Told::Shown { facts, .. } = &*told else { return Ok(None) };
        let Some(version) = &facts.version else { return Ok(None) };
        let newest = self.newest.entry_by_ref(name).and_upsert_with(|known| {
            known.map_or(version.updated, |known| version.updated.max(known.into_value()))
        });
        if newest.into_value() > version.updated && freshness.is_zero() {
            return Err(RestError::Garbage(
                "what it says is older than what it said a moment ago".to_owned(),
            ));
        }
        Ok(Some(version.clone()))
    }

    fn caller(&self, subject: &Subject<'_>) -> Result<Caller, RestError> {
        if self.config.access != Access::Delegated || subject.is_run_as {
            return Ok(Caller::Gateway);
        }
        let token =
            subject.token.ok_or_else(|| RestError::NoUserToken(subject.principal.name().to_owned()))?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.expose().as_bytes());
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest.as_ref());
        Ok(Caller::User { token: token.clone(), fingerprint })
    }

    async fn told(
        &self,
        caller: &Caller,
        loading: Loading,
        name: &TableName,
    ) -> Result<Arc<Told>, RestError> {
        let key = (who(caller), loading, name.clone());
        let ask = async |last: Option<Arc<Told>>| self.load(caller, loading, name, last).await;
        self.tables.answer(&key, Told::is_unrestricted, ask).await
    }

    async fn load(
        &self,
        caller: &Caller,
        loading: Loading,
        name: &TableName,
        last: Option<Arc<Told>>,
    ) -> Result<Found<Told>, RestError> {
        let _turn = self.turns.acquire().await;
        let namespace = namespace(&name.schema, self.config.nested_namespaces);
        let etag = match last.as_deref() {
            Some(Told::Shown { etag, .. }) => {
                etag.as_deref().filter(|_| !self.tags_lie.load(Ordering::Relaxed))
            }
            Some(Told::Closed) | None => None,
        };
        match self.client.load(caller, loading, &namespace, &name.table, etag).await {
            Ok(Loaded::Unchanged) => Ok(Found::Same),
            Ok(Loaded::Changed { etag, body }) => {
                let (facts, restrictions) = facts::read(&body, loading == Loading::View)?;
                let facts = match &etag {
                    Some(tag) => {
                        let key = (name.clone(), tag.clone());
                        let known = self.facts.get_with(key, || Arc::new(facts.clone()));
                        // Of two answers with one tag, one is wrong; it is not for the cache to say which.
                        if *known == facts {
                            known
                        } else {
                            self.tags_lie.store(true, Ordering::Relaxed);
                            Arc::new(facts)
                        }
                    }
                    None => Arc::new(facts),
                };
                let restrictions = restrictions.map(Arc::new);
                Ok(Found::New(Told::Shown { etag, facts, restrictions }))
            }
            Err(RestError::Forbidden(_) | RestError::NotFound(_)) => Ok(Found::New(Told::Closed)),
            Err(error) => Err(error),
        }
    }

    /// Whether policies may be attached to its tables that restrict reading.
    ///
    /// # Errors
    /// The catalog has no answer.
    pub async fn attaches(&self, subject: &Subject<'_>) -> Result<bool, RestError> {
        if !self.decides() {
            return Ok(false);
        }
        self.client.has_policies(&self.caller(subject)?).await
    }

    /// What policies that are attached to a table restrict; none if they are not theirs to know.
    async fn attached(
        &self,
        caller: &Caller,
        name: &TableName,
        is_view: bool,
    ) -> Result<Option<Arc<Vec<Attached>>>, RestError> {
        if is_view || !self.decides() || !self.client.has_policies(caller).await? {
            return Ok(Some(Arc::default()));
        }
        let ask = async |_| {
            let _turn = self.turns.acquire().await;
            let namespace = namespace(&name.schema, self.config.nested_namespaces);
            let policies = self.client.policies(caller, &namespace, &name.table).await?;
            attached::read(&policies).map(Found::New)
        };
        match self.attached.answer(&(who(caller), name.clone()), Vec::is_empty, ask).await {
            Ok(attached) => Ok(Some(attached)),
            Err(RestError::Forbidden(_) | RestError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The tags of the namespaces that a table is in: of each level.
    async fn inherited(&self, caller: &Caller, name: &TableName) -> Result<Vec<Arc<Vec<String>>>, RestError> {
        if !self.config.inherited_tags {
            return Ok(Vec::new());
        }
        // Users need no right to namespaces.
        let caller = if self.client.has_own_token() { &Caller::Gateway } else { caller };
        let levels = namespace(&name.schema, self.config.nested_namespaces);
        let all = (1..=levels.len()).map(|depth| {
            let levels = &levels[..depth];
            let key = (who(caller), levels.iter().map(|level| (*level).to_owned()).collect());
            async move {
                let ask = async |_| {
                    let _turn = self.turns.acquire().await;
                    let words = match self.client.namespace(caller, levels).await {
                        Ok(properties) => facts::whole(&properties)?,
                        Err(RestError::NotFound(_)) => Vec::new(),
                        Err(error) => return Err(error),
                    };
                    Ok(Found::New(words))
                };
                self.namespaces.answer(&key, Vec::is_empty, ask).await
            }
        });
        future::try_join_all(all).await
    }

    /// All that somebody may read, if that is for the catalog to say.
    ///
    /// # Errors
    /// The catalog has no answer, or too many tables to look at.
    pub async fn readable(&self, subject: &Subject<'_>) -> Result<Vec<Extent>, RestError> {
        if let Some(granted) = self.granted(subject).await? {
            let views = granted.extents(Right::ReadView);
            return Ok(granted.extents(Right::ReadTable).chain(views).collect());
        }
        let caller = self.caller(subject)?;
        let names = self.relations(&caller).await?;
        let told = names.iter().map(async |(loading, name)| {
            let told = self.told(&caller, *loading, name).await?;
            Ok(matches!(*told, Told::Shown { .. }).then(|| {
                let levels = namespace(&name.schema, self.config.nested_namespaces);
                Extent::One(levels.iter().map(|level| (*level).to_owned()).collect(), name.table.clone())
            }))
        });
        Ok(future::try_join_all(told).await?.into_iter().flatten().collect())
    }

    /// What it says of the columns of all that it tells somebody of.
    ///
    /// # Errors
    /// The catalog has no answer, or too many tables to look at.
    pub async fn outlines(&self, subject: &Subject<'_>) -> Result<Vec<Outline>, RestError> {
        let caller = self.caller(subject)?;
        let relations = self.relations(&caller).await?;
        let outlines = relations.iter().map(async |(loading, name)| {
            let told = self.told(&caller, *loading, name).await?;
            let Told::Shown { facts, .. } = &*told else { return Ok(None) };
            let mut tags = facts.tags.clone();
            let inherited = self.inherited(&caller, name).await?;
            tags.whole.extend(inherited.iter().flat_map(|words| words.iter().cloned()));
            let attached = self.attached(&caller, name, *loading == Loading::View).await?;
            let Some(attached) = attached else { return Ok(None) };
            let shown = attached.iter().filter_map(|one| one.columns.clone()).collect();
            Ok(Some(Outline { name: name.clone(), tags, shown }))
        });
        Ok(future::try_join_all(outlines).await?.into_iter().flatten().collect())
    }

    /// The tables and views that the catalog lists for somebody. It need not let them read all of these.
    async fn relations(&self, caller: &Caller) -> Result<Arc<Vec<(Loading, TableName)>>, RestError> {
        let ask = async |_| self.list(caller).await.map(Found::New);
        self.lists.answer(&who(caller), |_| false, ask).await
    }

    async fn list(&self, caller: &Caller) -> Result<Vec<(Loading, TableName)>, RestError> {
        let most = match caller {
            Caller::Gateway => MOST_LISTED_FOR_ALL,
            Caller::User { .. } => MOST_LISTED,
        };
        // Whoever may read a table need not be able to list namespaces.
        let lister = if self.client.has_own_token() { &Caller::Gateway } else { caller };
        let mut namespaces: Vec<Vec<String>> = Vec::new();
        let mut open = vec![Vec::new()];
        while let Some(parent) = open.pop() {
            let levels: Vec<&str> = parent.iter().map(String::as_str).collect();
            let found = unless_closed(self.client.namespaces(lister, &levels).await)?;
            if self.config.nested_namespaces {
                open.extend(found.iter().cloned());
            }
            namespaces.extend(found);
            if namespaces.len() > MOST_LEVELS {
                return Err(RestError::Garbage(format!(
                    "more than {MOST_LEVELS} namespaces to look through"
                )));
            }
        }
        let mut names = Vec::new();
        for namespace in namespaces {
            let levels: Vec<&str> = namespace.iter().map(String::as_str).collect();
            // A dot in a level would make another schema of it.
            let schema = namespace.join(".");
            for loading in [self.loading(), Loading::View] {
                for name in unless_closed(self.client.names(caller, loading, &levels).await)? {
                    names.extend(TableName::new(&self.name, &schema, &name).map(|name| (loading, name)));
                }
            }
            if names.len() > most {
                return Err(RestError::Garbage(format!("more than {most} tables to look at")));
            }
        }
        Ok(names)
    }

    /// What Polaris's grants give to somebody; none where grants don't decide.
    ///
    /// # Errors
    /// The catalog has no answer.
    pub async fn granted(&self, subject: &Subject<'_>) -> Result<Option<Granted>, RestError> {
        if self.config.access != Access::Grants {
            return Ok(None);
        }
        let principal = subject.principal;
        let principal_roles = match self.config.principal_roles {
            PrincipalRoles::Groups => Arc::new(principal.groups().iter().cloned().collect::<Vec<_>>()),
            PrincipalRoles::Assigned => {
                let name = principal.catalog_name().to_owned();
                let ask = async |_| self.client.principal_roles(&name).await.map(Found::New);
                self.assigned.answer(&name, |_| false, ask).await?
            }
        };
        let held = future::try_join_all(principal_roles.iter().map(|role| async move {
            let ask = async |_| self.client.catalog_roles(role).await.map(Found::New);
            self.held.answer(role, |_| false, ask).await
        }))
        .await?;
        let mut roles: Vec<&String> = held.iter().flat_map(|roles| roles.iter()).collect();
        roles.sort();
        roles.dedup();
        let grants = future::try_join_all(roles.into_iter().map(|role| async move {
            let ask = async |_| self.client.grants(role).await.map(Found::New);
            self.grants.answer(role, |_| false, ask).await
        }))
        .await?;
        Ok(Some(Granted { grants, nested: self.config.nested_namespaces }))
    }
}

/// Nothing where nothing may be known.
fn unless_closed<T>(found: Result<Vec<T>, RestError>) -> Result<Vec<T>, RestError> {
    match found {
        Err(RestError::Forbidden(_) | RestError::NotFound(_)) => Ok(Vec::new()),
        found => found,
    }
}

fn who(caller: &Caller) -> Who {
    match caller {
        Caller::Gateway => Who::Gateway,
        Caller::User { fingerprint, .. } => Who::User(*fingerprint),
    }
}
