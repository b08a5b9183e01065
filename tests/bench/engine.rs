//! TPC-H and TPC-DS with a filter and masks on every table (`tests/stack/tpc.json`): how long their rewrite takes, and how
//! much longer a real Trino runs what was rewritten than what it restricts by itself, and how many more files it reads.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use northgate::catalog::{Column, Described, RelationKind, TableName, Type};
use serde_json::{Value, json};

use crate::fault::{Result, Trying, unusable};
use crate::library::{World, micros};
use crate::processes::{self, Running};
use crate::report::Figure;

/// The scale of TPC-H.
const SCALE: &str = "sf0.1";
/// How often each query is rewritten.
const TIMES: usize = 50;

/// Queries with a condition that few files can meet: of the partitions, or of what files say of their columns.
const SELECTIVE: [&str; 10] = [
    "SELECT count(*) FROM lake.tpch.lineitem WHERE shipdate >= DATE '1994-01-01' AND shipdate < DATE '1994-01-01' + \
     INTERVAL '1' MONTH",
    "SELECT count(*) FROM lake.tpch.lineitem WHERE shipdate = DATE '1995-03-15' OR shipdate = DATE '1996-03-15'",
    "SELECT count(*) FROM lake.tpch.lineitem WHERE DATE '1998-09-15' <= shipdate",
    "SELECT count(*) FROM lake.tpch.lineitem WHERE shipdate BETWEEN DATE '1998-01-01' AND DATE '1998-03-31'",
    "SELECT sum(extendedprice) FROM lake.tpch.lineitem WHERE shipdate >= DATE '1998-10-01' AND length(comment) > 10",
    "SELECT * FROM lake.tpch.lineitem WHERE shipdate IN (DATE '1995-03-15', DATE '1996-03-15') AND linenumber = 7",
    "SELECT returnflag, count(*) FROM lake.tpch.lineitem l WHERE l.receiptdate < DATE '1992-02-15' GROUP BY 1",
    "SELECT o.orderpriority, sum(l.quantity) FROM lake.tpch.lineitem l JOIN lake.tpch.orders o ON l.orderkey = o.orderkey \
     WHERE l.shipdate = DATE '1995-03-15' GROUP BY 1",
    "WITH recent AS (SELECT * FROM lake.tpch.lineitem WHERE shipdate > DATE '1998-09-15') SELECT count(*) FROM recent",
    "SELECT count(*) FROM lake.tpch.orders WHERE orderkey IN (SELECT orderkey FROM lake.tpch.lineitem WHERE shipdate < \
     DATE '1992-02-01')",
];

/// Runs a command of the test stack and gives what it prints.
fn stack(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stack/stack"));
    let output = command.args(arguments).stderr(Stdio::inherit()).output();
    let output = output.trying(|| format!("run the test stack: {}", arguments.join(" ")))?;
    if !output.status.success() {
        return Err(unusable(format!(
            "the test stack: {} ended with {}",
            arguments.join(" "),
            output.status
        )));
    }
    String::from_utf8(output.stdout).map_err(|error| unusable(error.to_string()))
}

/// A Trino with the test stack's settings.
pub(crate) struct Engine {
    http: String,
    folder: tempfile::TempDir,
    _trino: Running,
}

impl Engine {
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("northgate-bench-").tempdir()?;
        processes::remove_on_signal(folder.path());
        let ports = stack(&["ports", "2"])?;
        let [http, https] = ports.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(unusable("no free ports"));
        };
        let log = fs::File::create(folder.path().join("trino.log"))?;
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stack/stack"));
        command.arg("trino").arg(folder.path().join("trino")).args([http, https]);
        command.stdout(log.try_clone()?).stderr(log);
        let trino = Running::start("Trino", &mut command)?;
        stack(&["wait", http])?;
        Ok(Self { http: http.to_owned(), folder, _trino: trino })
    }

    /// Where it listens, in plain HTTP.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        let address = format!("127.0.0.1:{}", self.http).parse();
        address.map_err(|_| unusable("no address"))
    }

    fn run(&self, sql: &str) -> Result<String> {
        let server = format!("http://127.0.0.1:{}", self.http);
        stack(&["cli", "--server", &server, "--user", "admin", "--output-format", "TSV", "--execute", sql])
    }

    /// What a script says of queries of `lake.tpch`, as they are and as they were rewritten.
    fn compare(&self, script: &str, isolation: &str, queries: &[String]) -> Result<Value> {
        let world = world(isolation, self.tables("lake", "tpch")?)?;
        let mut pairs = Vec::new();
        for sql in queries {
            let rewritten = world.rewrite(sql).map_err(unusable)?;
            pairs.push(json!({"native": sql, "rewritten": rewritten}));
        }
        let file = self.folder.path().join("queries.json");
        fs::write(&file, Value::from(pairs).to_string())?;
        let script = format!("{}/tests/bench/{script}", env!("CARGO_MANIFEST_DIR"));
        let told = stack(&["python", &script, &self.http, &file.display().to_string()])?;
        serde_json::from_str(&told).map_err(|error| unusable(format!("{error}: {told}")))
    }

    /// The tables of a schema as Trino describes them.
    fn tables(&self, catalog: &str, schema: &str) -> Result<BTreeMap<TableName, Arc<Described>>> {
        let listed = self.run(&format!(
            "SELECT table_name, column_name, data_type FROM {catalog}.information_schema.columns WHERE table_schema = \
             '{schema}' ORDER BY table_name, ordinal_position"
        ))?;
        let mut columns: BTreeMap<&str, Vec<Column>> = BTreeMap::new();
        for line in listed.lines() {
            let [table, name, ty] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
            columns.entry(table).or_default().push(Column { name: name.to_owned(), ty: Type::parse(ty) });
        }
        let described = columns.into_iter().filter_map(|(table, columns)| {
            let name = TableName::new(catalog, schema, table)?;
            Some((name.clone(), Arc::new(Described { name, kind: RelationKind::Table, columns })))
        });
        Ok(described.collect())
    }
}

/// The queries of a benchmark, over the tables of a schema.
fn queries(benchmark: &str, catalog: &str, schema: &str) -> Result<Vec<String>> {
    let folder = PathBuf::from(stack(&["benchmarks"])?.trim()).join("sql/presto").join(benchmark);
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).trying(|| format!("read {}", folder.display()))? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut queries = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)?.replace("${database}", catalog).replace("${schema}", schema);
        let text = text.replace("${prefix}", "").replace("${scale}", "0.1");
        queries.extend(text.split(';').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned));
    }
    Ok(queries)
}

fn world(isolation: &str, tables: BTreeMap<TableName, Arc<Described>>) -> Result<World> {
    World::of(&stack(&["tpc-policies", isolation])?, "eu-analysts", tables)
}

/// `rewrite_tpcds_p50`.
pub(crate) fn tpcds() -> Result<Figure> {
    let engine = Engine::start()?;
    let world = world("strict", engine.tables("tpcds", "tiny")?)?;
    let mut medians = Vec::new();
    for sql in queries("tpcds", "tpcds", "tiny")? {
        world.rewrite(&sql).map_err(unusable)?;
        medians.push(micros(TIMES, || drop(black_box(world.rewrite(black_box(&sql))))).0);
    }
    medians.sort_by(f64::total_cmp);
    let note = format!(
        "{} queries, each the median of {TIMES}; from {:.0} to {:.0} us",
        medians.len(),
        medians.first().copied().unwrap_or_default(),
        medians.last().copied().unwrap_or_default()
    );
    let median = medians.get(medians.len() / 2).copied().ok_or_else(|| unusable("no queries"))?;
    Ok(Figure::alone("rewrite_tpcds_p50", median, "us", "<= 100").note(note))
}

/// `rewritten_vs_native_runtime`.
pub(crate) fn strict() -> Result<Figure> {
    runtime("rewritten_vs_native_runtime", "strict", "<= 1.3")
}

/// `rewritten_vs_native_runtime_standard`.
pub(crate) fn standard() -> Result<Figure> {
    runtime("rewritten_vs_native_runtime_standard", "standard", "<= 1.05")
}

fn runtime(name: &'static str, isolation: &str, bound: &'static str) -> Result<Figure> {
    let engine = Engine::start()?;
    let tables =
        ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"].map(|table| {
            format!("CREATE TABLE lake.tpch.{table} AS SELECT * FROM tpch_decimal.\"{SCALE}\".{table};")
        });
    engine.run(&format!("CREATE SCHEMA lake.tpch; {}", tables.concat()))?;
    let told = engine.compare("engine.py", isolation, &queries("tpch", "lake", "tpch")?)?;
    let note = format!(
        "median over {} queries of TPC-H {SCALE} on Iceberg, each the median of {}; from {} to {}; all in all {} x; CPU {} x",
        told["queries"], told["rounds"], told["least"], told["most"], told["total"], told["cpu"]
    );
    Ok(Figure::alone(name, number(&told, "median")?, "x", bound).note(note))
}

/// `strict_files_pruned`.
pub(crate) fn files() -> Result<Figure> {
    let engine = Engine::start()?;
    engine.run(&format!(
        "CREATE SCHEMA lake.tpch; CREATE TABLE lake.tpch.orders AS SELECT * FROM tpch_decimal.\"{SCALE}\".orders; \
         CREATE TABLE lake.tpch.lineitem WITH (partitioning = ARRAY['month(shipdate)']) AS SELECT * FROM \
         tpch_decimal.\"{SCALE}\".lineitem;"
    ))?;
    let told = engine.compare("files.py", "strict", &SELECTIVE.map(str::to_owned))?;
    let all = engine.run("SELECT count(*) FROM lake.tpch.\"lineitem$files\"")?;
    let note = format!(
        "worst of {} queries of a table of {} files; in all {} files, natively {}",
        told["queries"],
        all.trim(),
        told["rewritten"],
        told["native"]
    );
    Ok(Figure::alone("strict_files_pruned", number(&told, "worst")?, "x", "<= 1.0").note(note))
}

fn number(told: &Value, key: &str) -> Result<f64> {
    told[key].as_f64().ok_or_else(|| unusable(format!("no {key}: {told}")))
}
