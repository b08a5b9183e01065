"""The real Python client, SQLAlchemy and pandas against the bank, as a user without restrictions."""

import datetime
import threading
import time
from decimal import Decimal

import pandas
import pytest
import sqlalchemy as sa
from trino.exceptions import TrinoQueryError, TrinoUserError
from trino.transaction import IsolationLevel


def rows(server, sql, parameters=None, **more):
    cursor = server.connect(**more).cursor()
    cursor.execute(sql, parameters)
    return cursor.fetchall()


def test_rows_come_in_order_and_typed(server):
    got = rows(server, "SELECT id, name, balance, date_of_birth, email FROM lake.silver.customers ORDER BY id LIMIT 2")
    assert got == [
        [1, "Bruno Costa", Decimal("-420.81"), datetime.date(1950, 4, 14), "bruno.costa1@example.com"],
        [2, "Chloe Dubois", Decimal("-341.62"), datetime.date(1950, 7, 12), "chloe.dubois2@example.com"],
    ]


@pytest.mark.parametrize("legacy", [True, False, None], ids=["prepare", "execute-immediate", "tried"])
def test_parameters(server, legacy):
    text = "O'Brien \"ü\" 漢字 🦀; -- \\ \u2028"
    when = datetime.datetime(2025, 2, 1, 12, 30, 0, 123456)
    got = rows(
        server,
        "SELECT ?, ?, ?, ?, ?, count(*) FROM lake.silver.orders WHERE region = ? AND amount > ?",
        (text, 7, None, when, [1, 2], "EU", Decimal("100.00")),
        legacy_prepared_statements=legacy,
    )
    assert got[0][:5] == [text, 7, None, when, [1, 2]]
    assert got[0][5] > 0


def test_executemany_and_description(server):
    cursor = server.connect().cursor()
    cursor.execute("SELECT id, name FROM lake.silver.customers WHERE id = ?", (3,))
    assert cursor.fetchall() == [[3, "Dmitri Eriksen"]]
    assert [c.name for c in cursor.description] == ["id", "name"]
    described = server.connect().cursor().describe("SELECT id, balance FROM lake.silver.customers")
    assert [(c.name, c.type) for c in described] == [("id", "bigint"), ("balance", "decimal(12,2)")]
    assert cursor.query_id and cursor.stats["state"] == "FINISHED"


@pytest.mark.parametrize(
    "sql, name",
    [
        ("SELECT 1 / 0", "DIVISION_BY_ZERO"),
        ("SELECT nope FROM lake.silver.customers", "COLUMN_NOT_FOUND"),
        ("SELECT * FROM lake.silver.no_such_table", "TABLE_NOT_FOUND"),
        ("SELEC 1", "SYNTAX_ERROR"),
    ],
)
def test_a_failing_statement_says_why(server, sql, name):
    with pytest.raises(TrinoUserError) as failure:
        rows(server, sql)
    assert failure.value.error_name == name
    assert failure.value.query_id


def test_many_rows(server):
    cursor = server.connect().cursor()
    cursor.execute("SELECT orderkey, comment FROM tpch.sf1.orders WHERE orderkey <= 400000")
    count = total = 0
    while batch := cursor.fetchmany(10_000):
        count += len(batch)
        total += sum(row[0] for row in batch)
    assert (count, total) == (100_000, rows(server, "SELECT sum(orderkey) FROM tpch.sf1.orders WHERE orderkey <= 400000")[0][0])


def test_cancel(server):
    cursor = server.connect().cursor()
    outcome = []

    def run():
        try:
            cursor.execute("SELECT count(*) FROM tpch.sf100.lineitem a CROSS JOIN tpch.sf100.lineitem b WHERE a.comment < b.comment")
            outcome.append(cursor.fetchall())
        except TrinoQueryError as error:
            outcome.append(error.error_name)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(3)
    cursor.cancel()
    thread.join(30)
    assert outcome == ["USER_CANCELED"]


def test_transaction(server):
    with server.connect(isolation_level=IsolationLevel.REPEATABLE_READ) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM lake.silver.customers")
        assert cursor.fetchall() == [[240]]
        cursor.execute("SELECT count(*) FROM tpch.tiny.nation")
        assert cursor.fetchall() == [[25]]
    with server.connect(isolation_level=IsolationLevel.REPEATABLE_READ) as connection:
        connection.cursor().execute("SELECT 1").fetchall()
        connection.rollback()


def test_session_state(server):
    cursor = server.connect(catalog="tpch", schema="tiny", timezone="Europe/Berlin").cursor()
    cursor.execute("SELECT count(*), current_timezone() FROM nation")
    assert cursor.fetchall() == [[25, "Europe/Berlin"]]
    cursor.execute("USE lake.silver")
    cursor.fetchall()
    cursor.execute("SELECT count(*) FROM customers")
    assert cursor.fetchall() == [[240]]


def test_session_properties_and_tags(server):
    more = {"session_properties": {"query_max_run_time": "10m"}, "client_tags": ["one", "two"], "source": "northgate-test"}
    assert rows(server, "SHOW SESSION LIKE 'query_max_run_time'", **more)[0][1] == "10m"


@pytest.mark.parametrize("encoding", [None, "json", "json+zstd", ["json+zstd", "json+lz4", "json"]])
def test_encodings_that_the_client_offers(server, encoding):
    assert rows(server, "SELECT count(*) FROM lake.silver.customers", encoding=encoding) == [[240]]


def test_sqlalchemy_reads_tables_and_columns(server):
    engine = server.engine()
    inspector = sa.inspect(engine)
    assert {"bronze", "silver", "gold"} <= set(inspector.get_schema_names())
    assert {"customers", "orders", "card_payments"} <= set(inspector.get_table_names(schema="silver"))
    assert "customer_directory" in inspector.get_view_names(schema="gold")
    assert inspector.has_table("customers", schema="silver")
    assert not inspector.has_table("no_such_table", schema="silver")
    assert [c["name"] for c in inspector.get_columns("customers", schema="silver")][:3] == ["id", "name", "email"]


@pytest.mark.filterwarnings("ignore:index key")  # of Iceberg's "$partitions" tables, which are none of SQLAlchemy's indexes
def test_sqlalchemy_core(server):
    engine = server.engine()
    customers = sa.Table("customers", sa.MetaData(), schema="silver", autoload_with=engine)
    orders = sa.Table("orders", sa.MetaData(), schema="silver", autoload_with=engine)
    assert sa.inspect(engine).get_table_comment("customers", schema="silver") == {"text": None}
    query = (
        sa.select(customers.c.region, sa.func.count().label("n"), sa.func.sum(orders.c.amount).label("amount"))
        .join(orders, orders.c.customer_id == customers.c.id)
        .where(customers.c.id <= sa.bindparam("top"))
        .group_by(customers.c.region)
        .order_by(customers.c.region)
    )
    with engine.connect() as connection:
        got = connection.execute(query, {"top": 240}).all()
    assert [row.region for row in got] == ["APAC", "EU", "US"]
    assert sum(row.n for row in got) == 900


def test_pandas(server):
    with server.engine().connect() as connection:
        frame = pandas.read_sql(
            sa.text("SELECT region, balance, date_of_birth FROM customers WHERE balance > :least"), connection, params={"least": 0}
        )
    assert list(frame.columns) == ["region", "balance", "date_of_birth"]
    assert set(frame["region"]) == {"EU", "US", "APAC"}
    with server.engine("tpch/sf1").connect() as connection:
        parts = list(pandas.read_sql(sa.text("SELECT orderkey FROM orders LIMIT 30000"), connection, chunksize=10_000))
    assert [len(part) for part in parts] == [10_000] * 3
