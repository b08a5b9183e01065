"""Makes SQLAlchemy and the Python client send each kind of statement that they make up. What comes of them is not looked
at here, but for their number."""

import datetime
import decimal
import sys
import uuid
import warnings

import sqlalchemy as sa
from conftest import Server
from sqlalchemy import types
from trino.exceptions import TrinoConnectionError
from trino.sqlalchemy.datatype import JSON, MAP, ROW, TIME, TIMESTAMP
from trino.transaction import IsolationLevel

warnings.simplefilter("ignore")
SERVER = Server()
asked = failed = 0


def ask(what):
    """Asks, and goes on where the dialect does not know the question or the server the answer."""
    global asked, failed
    try:
        asked += 1
        return what()
    except TrinoConnectionError:
        raise
    except (sa.exc.SQLAlchemyError, NotImplementedError) as error:
        failed += 1
        print(f"no answer: {error}".splitlines()[0], file=sys.stderr)
        return None


def inspect(engine):
    inspector = sa.inspect(engine)
    for name in sorted(dir(inspector)):
        if name.startswith("get_") or name.startswith("has_") or name.startswith("reflect"):
            question = getattr(inspector, name)
            for schema, table in (("silver", "customers"), (None, 'it\'s "x"')):
                inspector.clear_cache()
                for arguments in ((), (table,), (table, "id")):
                    try:
                        ask(lambda: question(*arguments, schema=schema))
                    except (TypeError, KeyError):
                        continue
    dialect = engine.dialect
    with engine.connect() as connection:
        for name in dir(dialect):
            if name.startswith(("get_", "has_", "_get")):
                for arguments in ((), ("customers",)):
                    try:
                        ask(lambda: getattr(dialect, name)(connection, *arguments, schema="silver"))
                    except (TypeError, KeyError, AttributeError):
                        continue
        ask(lambda: dialect.get_catalog_names(connection))
        ask(lambda: dialect.has_schema(connection, "silver"))


def tables():
    metadata = sa.MetaData(schema="dbt")
    columns = [
        types.BigInteger, types.Integer, types.SmallInteger, types.Float, types.REAL, types.Double, types.Boolean, types.Date,
        types.Numeric(12, 2), types.DECIMAL(38, 0), types.String, types.String(10), types.Text, types.VARCHAR(5), types.LargeBinary,
        types.DateTime, types.TIMESTAMP, types.TIME, types.Uuid, TIMESTAMP(6), TIMESTAMP(6, timezone=True), TIME(6),
        types.ARRAY(types.Integer), MAP(types.String, types.Integer), ROW([("a", types.Integer), ("b", types.String)]),
    ]
    many = [sa.Column(f"column {number}", kind, comment="it's") for number, kind in enumerate(columns)]
    alone = [sa.Table(f"of_{number}", metadata, sa.Column("c", kind)) for number, kind in enumerate([*columns, JSON, types.CHAR(3)])]
    people = sa.Table(
        "by_alchemy", metadata, sa.Column("id", types.BigInteger, nullable=False), sa.Column("Full Name", types.String),
        sa.Column("since", types.Date), sa.Column("balance", types.Numeric(12, 2)), sa.Column("select", types.Boolean),
        comment="it's \"commented\"", trino_properties={"format": "PARQUET"},
    )
    return metadata, sa.Table("all types", metadata, *many), alone, people


def change(connection, people):
    name = people.c["Full Name"]
    rows = [
        {"id": 1, "Full Name": "O'Brien; --", "since": datetime.date(2024, 2, 29), "balance": decimal.Decimal("1.50"), "select": True},
        {"id": 2, "Full Name": None, "since": None, "balance": None, "select": None},
    ]
    statements = [
        sa.insert(people).values(rows[0]), sa.insert(people).values(rows), sa.insert(people).from_select(["id"], sa.select(people.c.id + 1)),
        sa.update(people).where(people.c.id == 1).values({"Full Name": name + "x", "balance": people.c.balance * 2}),
        sa.update(people).values(select=sa.case((people.c.id > 1, True), else_=sa.null())),
        sa.delete(people).where(people.c.id.in_([1, 2, 3]), name.is_(None)), sa.delete(people),
    ]
    for statement in statements:
        ask(lambda: connection.execute(statement))
    ask(lambda: connection.execute(sa.insert(people), rows))


def query(connection, people):
    customers = sa.table("customers", *[sa.column(name) for name in ("id", "name", "email", "region", "balance", "date_of_birth")], schema="silver")
    orders = sa.table("orders", *[sa.column(name) for name in ("id", "customer_id", "region", "amount", "ordered_at")], schema="silver")
    c, o = customers.alias("c"), orders.alias("o")
    few = sa.select(o.c.customer_id, sa.func.sum(o.c.amount).label("paid")).group_by(o.c.customer_id).having(sa.func.count() > 1)
    common = few.cte("few")
    tree = sa.select(sa.literal(1).label("n")).cte("tree", recursive=True)
    tree = tree.union_all(sa.select(tree.c.n + 1).where(tree.c.n < 5))
    window = sa.func.row_number().over(partition_by=c.c.region, order_by=[c.c.balance.desc().nulls_last(), c.c.id], rows=(None, 0))
    unnested = sa.func.unnest(sa.func.sequence(1, 3)).table_valued("n").alias("u")
    queries = [
        sa.select(c), sa.select(sa.func.count()).select_from(c), sa.select(c.c.id).limit(5).offset(2), sa.select(c.c.id).offset(1), sa.select(c.c.id).limit(0),
        sa.select(c.c.region).distinct(), sa.select(c, o).join(o, c.c.id == o.c.customer_id, isouter=True), sa.select(c).join(o, sa.true(), full=True),
        sa.select(common).where(common.c.paid > 10), sa.select(tree), sa.select(c.c.id, window.label("place")), sa.select(unnested.c.n),
        sa.select(c.c.id).where(sa.exists().where(o.c.customer_id == c.c.id)), sa.select(c.c.id).where(c.c.id.in_(sa.select(o.c.customer_id))),
        sa.select(c.c.id).where(c.c.id.in_([])), sa.select(c.c.id).where(c.c.id.not_in([1, 2])), sa.select(c.c.name.like("a%", escape="/"), c.c.name.ilike("A%")),
        sa.select(c.c.id).where(c.c.name.regexp_match("a+")), sa.select(c.c.name.concat("x"), sa.func.lower(c.c.name), sa.cast(c.c.id, types.String)),
        sa.select(c.c.id.between(1, 2), sa.not_(c.c.id == 1), c.c.id % 2, -c.c.id, c.c.balance / 3, c.c.balance // 3, c.c.id.is_distinct_from(1)),
        sa.select(sa.extract("year", c.c.date_of_birth), sa.func.current_timestamp(), sa.func.coalesce(c.c.email, "x"), sa.func.nullif(c.c.id, 1)),
        sa.select(c.c.id).union(sa.select(o.c.id)), sa.select(c.c.id).union_all(sa.select(o.c.id)).order_by("id").limit(3), sa.select(c.c.id).except_(sa.select(o.c.id)),
        sa.select(c.c.id).intersect(sa.select(o.c.id)), sa.select(sa.func.grouping_sets(c.c.region)), sa.select(c.c.region).group_by(sa.func.rollup(c.c.region)),
        sa.select(c.c.region).group_by(sa.func.cube(c.c.region)), sa.select(sa.func.count().filter(c.c.id > 1)), sa.select(sa.func.array_agg(c.c.id)),
        sa.select(sa.lateral(sa.select(o.c.id).where(o.c.customer_id == c.c.id)).c.id).select_from(c, sa.lateral(sa.select(o.c.id))),
        sa.select(c.c.id).tablesample(sa.func.bernoulli(50)) if hasattr(sa.select(c.c.id), "tablesample") else sa.select(sa.tablesample(people, sa.func.bernoulli(50)).c.id),
        sa.select(sa.values(sa.column("a", types.Integer), name="v").data([(1,), (2,)])), sa.select(sa.text("1")), sa.text("SELECT :x, ':y', '%'").bindparams(x="%"),
        sa.select(c.c.id).with_for_update(), sa.select(sa.literal("it's"), sa.literal(True), sa.null(), sa.literal(datetime.date(2024, 2, 29)), sa.literal(1.5)),
        sa.select(sa.literal(datetime.datetime(2024, 2, 29, 1, 2, 3, 456)), sa.literal(uuid.UUID(int=1)), sa.literal(decimal.Decimal("1.5")), sa.literal(b"x")),
        sa.select(sa.type_coerce(sa.literal('{"a": [1]}'), JSON)["a"][0], sa.func.json_extract(sa.literal("{}"), "$.a")), sa.select(c.c.id).prefix_with("ALL"),
    ]
    for statement in queries:
        ask(lambda: connection.execute(statement).fetchmany(3))
        ask(lambda: connection.exec_driver_sql(str(statement.compile(connection.engine, compile_kwargs={"literal_binds": True}))).fetchmany(3))


def client():
    values = [
        1, 1.5, True, None, "it's", b"x", decimal.Decimal("1.50"), datetime.date(2024, 2, 29), datetime.time(1, 2, 3, 4), datetime.datetime(2024, 2, 29, 1, 2, 3),
        datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc), [1, 2], {"a": 1}, (1, "x"), uuid.UUID(int=1), float("nan"), float("inf"), [],
    ]
    for legacy in (True, False, None):
        for value in values:
            try:
                SERVER.connect(legacy_prepared_statements=legacy).cursor().execute("SELECT ?", (value,)).fetchall()
            except Exception as error:  # noqa: BLE001  (a value that the client or the server does not know)
                print(f"no value: {value}: {error}", file=sys.stderr)
    for isolation in (IsolationLevel.READ_UNCOMMITTED, IsolationLevel.SERIALIZABLE):
        with SERVER.connect(isolation_level=isolation) as connection:
            connection.cursor().execute("SELECT 1").fetchall()
    cursor = SERVER.connect().cursor()
    cursor.describe("SELECT id FROM lake.silver.customers")
    cursor.executemany("INSERT INTO lake.dbt.by_driver VALUES (?, ?)", [(1, "a"), (2, "b")])


engine = SERVER.engine("lake/dbt")
metadata, wide, alone, people = tables()
with engine.connect() as connection:
    for name in ("dbt",):
        ask(lambda: connection.execute(sa.schema.CreateSchema(name, if_not_exists=True)))
    for table in (people, wide, *alone):
        ask(lambda: table.create(connection, checkfirst=True))
    for table in (people, wide):
        ask(lambda: connection.execute(sa.schema.SetTableComment(table)))
        ask(lambda: connection.execute(sa.schema.SetColumnComment(table.columns[0])))
        ask(lambda: connection.execute(sa.schema.DropTableComment(table)))
    change(connection, people)
    query(connection, people)
    inspect(engine)
    for table in (people, wide, *alone):
        ask(lambda: table.drop(connection, checkfirst=True))
    ask(lambda: connection.execute(sa.schema.DropSchema("o'brien", if_exists=True)))
with engine.begin() as connection:
    connection.execute(sa.text("SELECT 1"))
client()
print(f"{asked} questions, {failed} without an answer")
