//! Northgate, a SQL gateway for Trino and Apache Polaris.
//!
//! It stands in front of Trino. For every query it authenticates the caller, decides what the caller may
//! see, rewrites the statement so that row filters and column masks hold whatever the statement does to
//! get round them, admits it, streams the answer, and writes an audit record that is on disk before Trino
//! sees the query.
//!
//! # One query is a row of values
//!
//! Each stage takes the value of the one before it and gives the next. The fields are private and only the
//! named module can make its type, so that the compiler makes sure that nothing reaches Trino that was not
//! rewritten, and nothing is rewritten that was not decided for a principal. That a query is metered, recorded and
//! has a slot before it is sent is the order of one function, `Gateway::begin`.
//!
//! | stage | takes | gives |
//! |---|---|---|
//! | `wire` reads the request | head, body, limits | `wire::Call` |
//! | `identity` authenticates | `Call` | `identity::Authenticated` |
//! | `admission` meters, before any parsing | `Authenticated` | `admission::Metered` |
//! | `sql` parses | text | `sql::Statement` |
//! | `admission` classifies, before the cluster is chosen | principal, claims, kind of statement | `admission::Classified`; where a rule goes by what Trino expects it to read, once more when that is known (`query::estimate`) |
//! | `catalog` describes the relations | names | `catalog::Described`, and what an Iceberg catalog says of them: `catalog::rest::Ruling` |
//! | `policy` decides, without IO | principal, `Described` | `policy::Permit` |
//! | `rewrite` applies the permit | `Statement`, `Permit` | `rewrite::ScopedSql` |
//! | `cache` looks for an answer, if there is a cache | `ScopedSql` and what it depends on | one, or a reason to ask Trino |
//! | `audit` makes the intent durable | what was decided | `audit::Guard` |
//! | `admission` grants a slot | principal, `Classified` | `admission::Slot` |
//! | `upstream` submits, `wire` rebuilds the pages | `ScopedSql`, `Slot` | pages for the client |
//!
//! Only `query` knows this order. Polls and cancels open a sealed link, which is bound to the login that
//! submitted the query and to its cluster, and do the last step alone. A cancel by a query's id goes to whichever gateway has
//! it, and ends it only for the login that submitted it.
//!
//! # Ranks
//!
//! A module imports only modules of a lower rank; two of one rank never import each other. `tests/tidy.rs`
//! reads this table and checks it.
//!
//! | rank | modules |
//! |---|---|
//! | 0 | error, https, shares, units |
//! | 1 | aws |
//! | 2 | secret |
//! | 3 | lineage, wire, sql, state, status, telemetry |
//! | 4 | identity |
//! | 5 | catalog |
//! | 6 | policy |
//! | 7 | rewrite |
//! | 8 | admission, cache, upstream, audit, replica |
//! | 9 | query |
//! | 10 | server, admin, web |
//! | 11 | config |
//! | 12 | doctor |
//! | 13 | app |
//! | 14 | cli |
//! | 15 | main |
//!
//! # Invariants
//!
//! - **Fail closed.** A statement that is not understood in full, a relation that cannot be resolved, a
//!   policy that cannot be applied, an audit record that cannot be written: the user gets an error that
//!   says so, and Trino gets nothing. All lists are lists of what is allowed.
//! - **Trino never sees the client's bytes.** What it gets is printed, token by token, from our own tree,
//!   in UTF-8, under headers that we built. Every relation is printed with its resolved three-part name.
//! - **What is printed is read again** by our parser, and must mention only relations of the permit. (Of EXPLAIN and
//!   EXECUTE the statement that they carry is.)
//! - **A POST is sent to Trino once.** Where it is not known whether Trino took it, the query fails.
//! - **A decision is good for the cluster that described its tables.** Another cluster gets the query only if it says the same
//!   of all that was looked at (`catalog::Noted`), and only if none can have taken it.
//! - **The intent is on disk before Trino sees the query**; every intent gets an outcome, and a guard that is
//!   dropped writes `abandoned`. (Trino may have been asked before what the decided statement would read, which runs nothing.)
//! - **A kept answer is served only where Trino would give it now.** The states of its tables are asked for at each lookup;
//!   whoever may not read, or is not sent the same text, does not get there. In doubt Trino is asked.
//! - **Row data passes as bytes**; everything else of a page is rebuilt: links, statistics, warnings, errors.
//! - **A link that is not yours does not exist.** Forged, changed or foreign, it is "not found". To cancel a query by its id is
//!   answered the same for a foreign one as for none.
//! - `sql`, `wire`, `policy` and `rewrite` know nothing of tokio, hyper or tracing.
//!
//! # Threads
//!
//! Each processor has a thread that serves connections, with a runtime of its own: a poll is served where its
//! connection lives, over a connection to Trino that the same thread holds, and wakes no other thread
//! (`server::lanes`). Statements are read, rewritten and submitted on the threads of a second runtime, as that may
//! take long; so is all that is not a connection's. The audit is written by a thread of its own, and passwords are
//! checked on threads for what blocks.
//!
//! # Answers that are given again
//!
//! What `cache` keeps is reached by a key of all that an answer depends on, and the decision comes first each time: there is
//! nothing to invalidate for it to be right, and what is purged is purged to be gone. The states of tables are read before
//! Trino is asked and again when the answer is there (`query::cached`); it is kept if they are equal. Pages are copied as
//! they pass (`query::collector`), so that the client's pace stays its own. Of many who ask the same at once
//! one is sent to Trino, and the others wait for that answer (`cache::flight`). `sql::repeat` is the list of functions.
//!
//! Several gateways keep answers in Redis (`cache::tier`), which is asked at each lookup; memory saves fetching them. A page of an
//! answer is served by any gateway, as its link has the name of the answer (`query::kept`). Of an answer that is collected, pages
//! that another gateway has served are put there for the query's own, which puts it together at the end.
//!
//! A gateway alone may have a disk below its memory, sealed with a key that ends with it.
//!
//! What the gateway asks by itself after a commit (`query::warming`) goes the way of any query, as a caller that only the configuration
//! makes (`Identity::in_place_of`): its rows go nowhere, and the cache keeps them like any others.
//!
//! # Sign-in with a browser
//!
//! `web` has the pages, and knows of HTTP; `identity::login` has what lasts: sign-ins under way (sealed, in a cookie of
//! the browser), sessions and the tokens of drivers (in `state`), and which identity provider says what
//! (`identity::oidc`, `identity::saml`, which store nothing). A cookie never signs a query in: drivers get tokens that lead
//! to a session. Everything that is not below `/v1/` is a page.
//!
//! # Operation
//!
//! `doctor` looks at files and asks servers before the gateway starts; `app::condition` looks at the same files now and then
//! while it runs. What they find are `status::Finding`s; `status::Status` is all that operators are told, for the admin
//! listener, the terminal and the page. Whatever is logged while a query is served names it (`telemetry::About`). What CloudWatch gets
//! (`telemetry::emf`) is made of the text of our own metrics.
//!
//! # Several gateways
//!
//! Gateways that share their state (`state`) stand behind one balancer without sticky sessions. A query belongs to the one
//! that took it, which owes the audit its outcome and holds its slot; its links name that one. Any gateway serves any poll
//! by the link alone, also while the state is lost, and reports to the query's own (`replica`, `query::elsewhere`). What
//! gets lost on the way is asked of Trino, before anything is given up. That a long page is on its way is told when it begins: the
//! outcome waits for it, and says so where its end was not heard of.
//!
//! With Redis they count their limits together (`admission::together`), by a script that is one turn, and what is used
//! of budgets (`admission::Budgets`). These counts, the leases beside them and the names of classes are all in the
//! shared state that is not sealed; principals and groups
//! stand there under a hash with the key of the state. Nothing of statements is among them. (Answers are sealed; their sizes,
//! times and the ids of their queries are not.)
//!
//! # Absent on purpose
//!
//! - No store of what catalogs say: grants, tags and restrictions are asked for when they are needed, for whom they are
//!   needed, and believed for seconds (`catalog::rest`). What they restrict becomes rules beside those of the documents
//!   (`policy::ruling`), so that there is one engine for both.
//! - No rendering of expressions from an abstract tree: what is not a relation keeps its tokens.
//! - No sub-queries of other shapes in policies than one SELECT over tables that are named in full: what a column
//!   means must not depend on what tables get later.
//! - No reading of a materialized view's storage, unless a policy trusts the view: what was stored under its name
//!   is not known.
//! - No views that name tables by less than catalog, schema and table: Trino completes those with what was the
//!   session's when the view was made, and does not say what that was.
//! - No stored functions, grants, roles, paths and calls of procedures: they are read and denied (`sql::Other`).
//! - No spooled results: the client's offer of an encoding is dropped, so that all rows pass here.
//! - No store of Trino's sessions: session properties, prepared statements and transactions live in the client, as its
//!   protocol has it, and are checked with each request. (`state` keeps sessions of people and tokens.)

pub mod admin;
pub mod admission;
pub mod app;
pub mod audit;
pub mod aws;
pub mod cache;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod error;
pub mod https;
pub mod identity;
pub mod lineage;
pub mod policy;
pub mod query;
pub mod replica;
pub mod rewrite;
pub mod secret;
pub mod server;
pub mod shares;
pub mod sql;
pub mod state;
pub mod status;
pub mod telemetry;
pub mod units;
pub mod upstream;
pub mod web;
pub mod wire;

/// Statements are many small allocations, made on one thread and often freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
