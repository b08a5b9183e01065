//! What is used of budgets. The tests with a real Redis are not run without being asked for: `cargo test --lib admission:: -- --ignored`.

use super::*;
use crate::admission::{Facts, Slots};
use crate::error::Failure as _;
use crate::identity::Method;
use crate::state::tests::{KEY, Server};
use crate::state::{Backend, Store};
use crate::telemetry::StatementKind;

struct World {
    slots: Slots,
    budgets: Budgets,
}

fn world(text: &str, scripts: Option<Scripts>) -> Result<World, AdmissionError> {
    let config: Config = toml::from_str(text).expect("a section");
    let slots = Slots::new(&config)?;
    let budgets = Budgets::new(&config, slots.classes(), scripts)?;
    Ok(World { slots, budgets })
}

impl World {
    fn account(&self, name: &str, group: &str, source: Option<&str>, restricted: bool) -> Option<Account> {
        let principal = Principal::new(name, Method::Password).with_groups([group]);
        let class = self.slots.classes().classify(&Facts {
            principal: &principal,
            source,
            tags: &[],
            kind: StatementKind::Query,
            now: jiff::Timestamp::UNIX_EPOCH,
            estimate: None,
        });
        self.budgets.account(self.slots.classes(), &principal, &class, restricted)
    }

    /// Whether somebody's query would be run, or what its client is told.
    async fn told(&self, name: &str, group: &str, source: Option<&str>) -> String {
        let Some(account) = self.account(name, group, source, false) else { return "runs".to_owned() };
        account.check().await.map_or_else(|error| error.client_message(), |()| "runs".to_owned())
    }

    fn pays(&self, name: &str, rows: u64) {
        self.account(name, "", None, false).expect("a budget").pay(Used { rows, ..Used::default() });
    }
}

#[tokio::test]
async fn who_has_used_a_budget_up_runs_nothing_more_that_day() {
    let text = "
        time_zone = 'Europe/Amsterdam'
        budget = { cpu = '10s' }
        budget_per_principal = { rows = 100 }
        [[class]]
        name = 'batch'
        budget = { scanned = '1kB' }
        [[group]]
        name = 'interns'
        budget = { rows = 30 }
    ";
    let world = world(text, None).expect("sound");
    let ann = world.account("ann", "eu", None, false).expect("a budget");
    ann.pay(Used { rows: 60, ..Used::default() });
    // What a page says is of the whole query: what is said twice is paid once, and what goes back is no gain.
    ann.pay(Used { rows: 60, ..Used::default() });
    ann.pay(Used { rows: 10, ..Used::default() });
    assert_eq!(world.told("ann", "eu", None).await, "runs");
    ann.pay(Used { rows: 99, ..Used::default() });
    assert_eq!(world.told("ann", "eu", None).await, "runs");
    let second = world.account("ann", "eu", None, false).expect("a budget");
    second.pay(Used { rows: 1, ..Used::default() });
    let used_up = |budget: &str| {
        format!("{budget} is used up for today. It is whole again at midnight (Europe/Amsterdam).")
    };
    assert_eq!(world.told("ann", "eu", None).await, used_up("Your budget of rows read"));
    let error = ann.check().await.expect_err("it is used up");
    assert_eq!((error.kind(), error.code().name), ("admission_spent", "EXCEEDED_SCAN_LIMIT"));
    assert_eq!(world.told("bob", "eu", None).await, "runs");
    // Of a group's members together, of a class, of all.
    world.account("eva", "interns", None, false).expect("a budget").pay(Used { rows: 30, ..Used::default() });
    let of_group = used_up("The budget of the group 'interns' of rows read");
    assert_eq!(world.told("otto", "interns", None).await, of_group);
    let airflow = Some("airflow");
    let job = world.account("etl", "eu", airflow, false).expect("a budget");
    job.pay(Used { scanned: 1_000, ..Used::default() });
    assert_eq!(
        world.told("bob", "eu", airflow).await,
        used_up("The budget of the class 'batch' of bytes read")
    );
    assert_eq!(world.told("bob", "eu", None).await, "runs");
    job.pay(Used { scanned: 1_000, cpu_ms: 10_000, ..Used::default() });
    assert_eq!(world.told("bob", "eu", None).await, used_up("The budget of all together of CPU time"));
    let listed: Vec<(&str, String, u64)> =
        world.budgets.spent(1).into_iter().map(|spent| (spent.of, spent.name, spent.used.rows)).collect();
    let expect =
        [("all", "", 130), ("group", "interns", 30), ("class", "batch", 0), ("principal", "ann", 100)];
    assert_eq!(listed, expect.map(|(of, name, rows)| (of, name.to_owned(), rows)));
    let own = world.budgets.own("ann").await.map(|spent| spent.to_string());
    assert_eq!(own.as_deref(), Some("principal ann, used today: 100 of 100 rows read"));
    let paid = world.account("ann", "eu", airflow, false).expect("a budget").spent();
    let paid: Vec<(&str, u64)> = paid.iter().map(|spent| (spent.of, spent.used.cpu_ms)).collect();
    assert_eq!(paid, [("all", 10_000), ("class", 10_000), ("principal", 0)]);
    // The next day all is whole.
    world.budgets.0.day.lock().expect("no panic").date = Date::constant(2026, 1, 1);
    assert_eq!(world.told("ann", "eu", None).await, "runs");
    assert!(world.budgets.spent(9).is_empty());
    assert_eq!(world.budgets.own("ann").await.map(|spent| spent.used), Some(Used::default()));
}

#[tokio::test]
async fn small_tables_that_are_restricted_cost_the_same_and_large_ones_in_steps() {
    let world = world("budget_per_principal = { rows = 9000000 }", None).expect("sound");
    let paid = |rows: u64| {
        let account = world.account("ann", "", None, true).expect("a budget");
        account.pay(Used { rows, ..Used::default() });
        account.paid.lock().expect("no panic").rows
    };
    for rows in [0, 1, 17, 100_000, 650_000] {
        assert_eq!(paid(rows), 1 << 20, "{rows}");
    }
    let seen: std::collections::BTreeSet<u64> = (0..2_000).map(|_| paid(4_000_000)).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1 << 21, 1 << 22, 1 << 23]);
}

#[tokio::test]
async fn without_budgets_nobody_has_an_account() {
    let of_nobody = world("", None).expect("sound");
    assert!(of_nobody.account("ann", "eu", None, false).is_none());
    assert_eq!(of_nobody.budgets.own("ann").await, None);
    let nought = world("budget_per_principal = { rows = 0 }", None).err();
    let why = "budget_per_principal: with a budget of 0 nothing is ever read";
    assert_eq!(nought, Some(AdmissionError::Config(why.to_owned())));
    assert!(toml::from_str::<Config>("budget = { bytes = 1 }").is_err());
}

#[tokio::test]
#[ignore = "starts a Redis"]
async fn gateways_share_budgets_and_a_restart_keeps_them() {
    let mut server = Server::start("redis", false);
    let text = "replicas = 2\nbudget_per_principal = { rows = 100 }";
    let start = || {
        let state = crate::state::Config {
            timeout: crate::units::Span(Duration::from_millis(500)),
            ..server.config(Backend::Redis, KEY)
        };
        let store = Store::open(&state).expect("opened");
        world(text, store.scripts()).expect("sound")
    };
    let (one, two) = (start(), start());
    let over = async |world: &World, name: &str| world.told(name, "", None).await != "runs";
    let owner = [Owner::Principal(Arc::from("ann"))];
    let deadline = Instant::now() + Duration::from_mins(1);
    while one.budgets.told(&owner).await.is_err() {
        assert!(Instant::now() < deadline, "Redis does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    one.pays("ann", 60);
    one.budgets.told(&owner).await.expect("Redis");
    two.pays("ann", 40);
    two.budgets.told(&owner).await.expect("Redis");
    assert!(over(&two, "ann").await, "both together");
    one.budgets.told(&owner).await.expect("Redis");
    assert!(over(&one, "ann").await);
    let again = start();
    // What it has not heard of it asks for.
    assert_eq!(again.budgets.own("ann").await.map(|spent| spent.used.rows), Some(100));
    assert!(over(&again, "ann").await, "after a restart");
    assert!(!over(&again, "bob").await);
    // Redis is lost: what is known counts on, and of the rest each has its part.
    again.pays("bob", 49);
    server.stop();
    assert!(over(&again, "ann").await);
    // What has been heard a moment ago is believed.
    tokio::time::sleep(BELIEVED).await;
    assert!(!over(&again, "bob").await);
    again.pays("bob", 1);
    assert!(over(&again, "bob").await, "half of it");
    // It is told when Redis is there again.
    server.again();
    let bob = [Owner::Principal(Arc::from("bob"))];
    while again.budgets.told(&bob).await.is_err() {
        assert!(Instant::now() < deadline, "Redis does not start again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!over(&again, "bob").await, "there is the other half");
    let spent = again.budgets.spent(9);
    assert!(spent.iter().any(|spent| spent.name == "bob" && spent.used.rows == 50), "{spent:?}");
}
