import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The real JDBC driver against the bank: {@code Clients URL USER PASSWORD-OR-EMPTY TRUST-STORE-OR-EMPTY CASE...}.
 * Prints {@code ok CASE} or {@code FAILED CASE: why} for each case, and ends with status 1 if one failed.
 * The case {@code rows:SQL} prints the rows of a query, tab-separated, for comparing two servers; {@code slowly:SECONDS:SQL}
 * waits behind the first row, and prints how many there are; {@code sleep:SECONDS} waits between two connections.
 */
public final class Clients {
    private interface Case {
        void run(Connection connection) throws Exception;
    }

    private static String url;
    private static final Properties SIGN_IN = new Properties();

    private Clients() {}

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        if (!arguments[1].isEmpty()) {
            SIGN_IN.setProperty("user", arguments[1]);
        }
        if (arguments[2].equals("external")) {
            // The user signs in with a browser, which the driver would open: here it prints where.
            SIGN_IN.setProperty("externalAuthentication", "true");
            SIGN_IN.setProperty("externalAuthenticationRedirectHandlers", "PRINT");
            SIGN_IN.setProperty("externalAuthenticationTokenCache", "MEMORY");
            SIGN_IN.setProperty("SSL", "true");
        }
        else if (!arguments[2].isEmpty()) {
            SIGN_IN.setProperty("password", arguments[2]);
            SIGN_IN.setProperty("SSL", "true");
        }
        if (!arguments[3].isEmpty()) {
            SIGN_IN.setProperty("SSLTrustStorePath", arguments[3]);
        }
        Map<String, Case> cases = new LinkedHashMap<>();
        cases.put("metadata", Clients::metadata);
        cases.put("prepared", Clients::prepared);
        cases.put("prepared-immediate", connection -> preparedImmediate());
        cases.put("types", Clients::types);
        cases.put("failing", Clients::failing);
        cases.put("big-result", Clients::bigResult);
        cases.put("cancel", Clients::cancel);
        cases.put("close-early", Clients::closeEarly);
        cases.put("transaction", Clients::transaction);
        cases.put("session", Clients::session);
        cases.put("validate", connection -> validate());
        cases.put("heartbeat", connection -> heartbeat());
        cases.put("everything", connection -> {
            Everything.session(connection);
            Everything.metadata(connection);
            Everything.values(connection);
            for (String explicit : List.of("true", "false")) {
                try (Connection other = open(Map.of("explicitPrepare", explicit, "assumeLiteralNamesInMetadataCallsForNonConformingClients", explicit))) {
                    Everything.metadata(other);
                    Everything.values(other);
                }
            }
        });
        cases.put("load", connection -> load());

        boolean failed = false;
        for (int i = 4; i < arguments.length; i++) {
            String name = arguments[i];
            try (Connection connection = open(Map.of())) {
                if (name.startsWith("sleep:")) {
                    TimeUnit.SECONDS.sleep(Long.parseLong(name.substring(6)));
                    continue;
                }
                if (name.startsWith("slowly:")) {
                    String[] parts = name.split(":", 3);
                    System.out.println(slowly(connection, Long.parseLong(parts[1]), parts[2]));
                    continue;
                }
                if (name.startsWith("rows:")) {
                    rows(connection, name.substring(5)).forEach(System.out::println);
                    continue;
                }
                Case chosen = cases.get(name);
                check(chosen != null, "no such case; there are " + cases.keySet());
                chosen.run(connection);
                System.out.println("ok " + name);
            }
            catch (Exception | AssertionError e) {
                failed = true;
                System.out.println("FAILED " + name + ": " + e);
                e.printStackTrace();
            }
        }
        System.exit(failed ? 1 : 0);
    }

    private static Connection open(Map<String, String> more) throws SQLException {
        Properties properties = new Properties();
        properties.putAll(SIGN_IN);
        properties.putAll(more);
        return DriverManager.getConnection(url, properties);
    }

    private static void metadata(Connection connection) throws SQLException {
        var metadata = connection.getMetaData();
        equal("Trino", metadata.getDatabaseProductName());
        check(column(metadata.getCatalogs(), "TABLE_CAT").contains("lake"), "getCatalogs has no lake");
        check(column(metadata.getSchemas("lake", "silv%"), "TABLE_SCHEM").equals(List.of("silver")), "getSchemas");
        equal(List.of("card_payments", "customers", "orders"), column(metadata.getTables("lake", "silver", "%", null), "TABLE_NAME"));
        equal(List.of("customers"), column(metadata.getTables("lake", "silver", "cust%", new String[] {"TABLE"}), "TABLE_NAME"));
        equal(List.of("id", "name", "email", "ssn", "region", "balance", "date_of_birth"),
                column(metadata.getColumns("lake", "silver", "customers", "%"), "COLUMN_NAME"));
        equal(List.of("bigint", "varchar", "varchar", "varchar", "varchar", "decimal(12,2)", "date"),
                column(metadata.getColumns("lake", "silver", "customers", "%"), "TYPE_NAME"));
        equal(List.of("balance"), column(metadata.getColumns("lake", "silver", "customers", "bal%"), "COLUMN_NAME"));
        check(!column(metadata.getTableTypes(), "TABLE_TYPE").isEmpty(), "getTableTypes is empty");
        check(!column(metadata.getTypeInfo(), "TYPE_NAME").isEmpty(), "getTypeInfo is empty");
        check(!metadata.getDatabaseProductVersion().isEmpty(), "no version");
    }

    private static void prepared(Connection connection) throws SQLException {
        String sql = "SELECT id, name, balance, ? AS echo FROM lake.silver.customers WHERE id = ? AND region = ? AND date_of_birth < ?";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            equal(4, statement.getParameterMetaData().getParameterCount());
            ResultSetMetaData described = statement.getMetaData();
            equal(4, described.getColumnCount());
            equal("name", described.getColumnLabel(2));
            for (long id : new long[] {1, 10}) {
                statement.setString(1, "O'Brien; -- \"ü\" \u2028 \\");
                statement.setLong(2, id);
                statement.setString(3, "EU");
                statement.setDate(4, Date.valueOf("2020-01-01"));
                try (ResultSet rows = statement.executeQuery()) {
                    check(rows.next(), "no row for " + id);
                    equal(id, rows.getLong("id"));
                    equal("O'Brien; -- \"ü\" \u2028 \\", rows.getString("echo"));
                    equal(2, rows.getBigDecimal("balance").scale());
                    check(!rows.next(), "a second row for " + id);
                }
            }
        }
        // The text of a prepared statement that is never run must not hurt those that are.
        try (PreparedStatement first = connection.prepareStatement("SELECT ? + 1"); PreparedStatement second = connection.prepareStatement("SELECT ? || 'x'")) {
            first.setLong(1, 41);
            second.setString(1, "a");
            equal("42", only(first.executeQuery()));
            equal("ax", only(second.executeQuery()));
        }
    }

    private static void preparedImmediate() throws SQLException {
        try (Connection connection = open(Map.of("explicitPrepare", "false"));
                PreparedStatement statement = connection.prepareStatement(
                        "SELECT count(*) FROM lake.silver.orders WHERE region = ? AND amount > ? AND ordered_at >= ?")) {
            statement.setString(1, "EU");
            statement.setBigDecimal(2, new BigDecimal("100.00"));
            statement.setTimestamp(3, Timestamp.valueOf("2025-02-01 00:00:00"));
            long parameters = Long.parseLong(only(statement.executeQuery()));
            try (Statement literal = connection.createStatement()) {
                equal(parameters, Long.parseLong(only(literal.executeQuery("SELECT count(*) FROM lake.silver.orders "
                        + "WHERE region = 'EU' AND amount > DECIMAL '100.00' AND ordered_at >= TIMESTAMP '2025-02-01 00:00:00'"))));
            }
            check(parameters > 0, "nothing matched");
        }
    }

    private static void types(Connection connection) throws SQLException {
        String sql = "SELECT true, TINYINT '-1', SMALLINT '2', 3, BIGINT '9223372036854775807', REAL '1.5', 2.5e0, DECIMAL '12345678901234567890.12', "
                + "'grüße 漢字 🦀', X'00ff', DATE '2024-02-29', TIME '01:02:03.456', TIMESTAMP '2024-02-29 01:02:03.456789', "
                + "TIMESTAMP '2024-02-29 01:02:03.456 Europe/Berlin', UUID '12151fd2-7586-11e9-8f9e-2a86e4085a59', ARRAY[1, NULL, 3], "
                + "MAP(ARRAY['a'], ARRAY[1]), CAST(ROW(1, 'x') AS ROW(n integer, s varchar)), JSON '{\"a\": [1]}', NULL, "
                + "INTERVAL '2' DAY, INTERVAL '3' MONTH, IPADDRESS '10.0.0.1', nan(), infinity()";
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            check(rows.next(), "no row");
            equal(true, rows.getBoolean(1));
            equal(Long.MAX_VALUE, rows.getLong(5));
            equal(new BigDecimal("12345678901234567890.12"), rows.getBigDecimal(8));
            equal("grüße 漢字 🦀", rows.getString(9));
            equal(2, rows.getBytes(10).length);
            equal("2024-02-29", rows.getDate(11).toString());
            equal("2024-02-29 01:02:03.456789", rows.getTimestamp(13).toString());
            equal("[1, null, 3]", java.util.Arrays.toString((Object[]) rows.getArray(16).getArray()));
            equal("{a=1}", rows.getObject(17).toString());
            check(rows.getObject(20) == null && rows.wasNull(), "NULL is not null");
            equal(Types.DECIMAL, rows.getMetaData().getColumnType(8));
        }
    }

    private static void failing(Connection connection) throws SQLException {
        expectError(connection, "SELECT 1 / 0", "DIVISION_BY_ZERO", 8);
        expectError(connection, "SELECT nope FROM lake.silver.customers", "COLUMN_NOT_FOUND", 47);
        expectError(connection, "SELECT * FROM lake.silver.no_such_table", "TABLE_NOT_FOUND", 46);
        expectError(connection, "SELEC 1", "SYNTAX_ERROR", 1);
        // A connection is good for more after an error.
        try (Statement statement = connection.createStatement()) {
            equal("7", only(statement.executeQuery("SELECT 7")));
        }
    }

    private static void expectError(Connection connection, String sql, String name, int code) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            while (rows.next()) {
                rows.getObject(1);
            }
        }
        catch (SQLException e) {
            equal(name + " " + code, name + " " + e.getErrorCode());
            check(e.getMessage() != null && e.getMessage().contains("Query failed"), "odd message: " + e.getMessage());
            return;
        }
        throw new AssertionError("no error from: " + sql);
    }

    private static void bigResult(Connection connection) throws SQLException {
        long expected;
        try (Statement statement = connection.createStatement()) {
            expected = Long.parseLong(only(statement.executeQuery("SELECT sum(orderkey) FROM tpch.sf1.orders WHERE orderkey <= 1200000")));
        }
        long sum = 0;
        long count = 0;
        long characters = 0;
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT orderkey, custkey, orderstatus, totalprice, orderdate, clerk, comment FROM tpch.sf1.orders WHERE orderkey <= 1200000")) {
            while (rows.next()) {
                sum += rows.getLong(1);
                characters += rows.getString(7).length();
                count++;
            }
        }
        equal(300_000L, count);
        equal(expected, sum);
        check(characters > 10_000_000, "comments are missing");
    }

    private static void cancel(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            CompletableFuture<String> outcome = CompletableFuture.supplyAsync(() -> {
                try (ResultSet rows = statement.executeQuery("SELECT count(*) FROM tpch.sf100.lineitem a CROSS JOIN tpch.sf100.lineitem b WHERE a.comment < b.comment /* to be cancelled */")) {
                    return rows.next() ? "a row" : "no row";
                }
                catch (SQLException e) {
                    return "error: " + e.getMessage() + " / " + e.getCause();
                }
            });
            // Cancelling is only of use once the driver has its first page.
            TimeUnit.SECONDS.sleep(3);
            check(!outcome.isDone(), "ended by itself: " + outcome.getNow(null));
            statement.cancel();
            try {
                String text = outcome.get(30, TimeUnit.SECONDS);
                check(text.startsWith("error") && text.toLowerCase(java.util.Locale.ROOT).contains("cancel"), text);
            }
            catch (ExecutionException e) {
                throw new AssertionError(e.getCause());
            }
        }
        try (Statement statement = connection.createStatement()) {
            equal("1", only(statement.executeQuery("SELECT 1")));
        }
    }

    private static void closeEarly(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT * FROM tpch.sf10.lineitem")) {
            for (int i = 0; i < 10; i++) {
                check(rows.next(), "too few rows");
            }
        }
        try (Statement statement = connection.createStatement()) {
            statement.setMaxRows(3);
            try (ResultSet rows = statement.executeQuery("SELECT * FROM lake.silver.orders")) {
                int count = 0;
                while (rows.next()) {
                    count++;
                }
                equal(3, count);
            }
        }
    }

    private static void transaction(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            String first = only(statement.executeQuery("SELECT count(*) FROM lake.silver.orders"));
            equal(first, only(statement.executeQuery("SELECT count(*) FROM lake.silver.orders")));
        }
        connection.commit();
        try (Statement statement = connection.createStatement()) {
            equal("25", only(statement.executeQuery("SELECT count(*) FROM tpch.tiny.nation")));
        }
        connection.rollback();
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement()) {
            equal("5", only(statement.executeQuery("SELECT count(*) FROM tpch.tiny.region")));
        }
    }

    private static void session(Connection connection) throws SQLException {
        connection.setCatalog("lake");
        connection.setSchema("silver");
        try (Statement statement = connection.createStatement()) {
            equal("240", only(statement.executeQuery("SELECT count(*) FROM customers")));
            statement.execute("USE tpch.tiny");
            equal("tpch", connection.getCatalog());
            equal("tiny", connection.getSchema());
            equal("25", only(statement.executeQuery("SELECT count(*) FROM nation")));
            statement.execute("SET SESSION query_max_run_time = '10m'");
            equal("1", only(statement.executeQuery("SELECT 1")));
            statement.execute("RESET SESSION query_max_run_time");
        }
        connection.setClientInfo("ApplicationName", "northgate-test");
        connection.setClientInfo("ClientInfo", "a client, of some kind");
        connection.setClientInfo("ClientTags", "one,two");
        try (Statement statement = connection.createStatement()) {
            equal("1", only(statement.executeQuery("SELECT 1")));
        }
        try (Connection berlin = open(Map.of("timezone", "Europe/Berlin")); Statement statement = berlin.createStatement()) {
            equal("Europe/Berlin", only(statement.executeQuery("SELECT current_timezone()")));
        }
    }

    private static void validate() throws SQLException {
        try (Connection connection = open(Map.of("validateConnection", "true"))) {
            check(connection.isValid(10), "isValid says no");
        }
    }

    /**
     * The driver sends HEAD to the next page's link when its reader is slow: with the first row that is taken half a
     * minute after the last page came. Nobody takes one, and none is sent.
     */
    private static long slowly(Connection connection, long seconds, String sql) throws Exception {
        long count = 0;
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            while (rows.next()) {
                if (count++ == 0) {
                    TimeUnit.SECONDS.sleep(seconds);
                }
            }
        }
        return count;
    }

    /** Runs queries on threads until the input ends; prints how many. */
    private static void load() throws Exception {
        AtomicBoolean stop = new AtomicBoolean();
        AtomicInteger count = new AtomicInteger();
        List<CompletableFuture<Void>> workers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            workers.add(CompletableFuture.runAsync(() -> {
                while (!stop.get()) {
                    try (Connection connection = open(Map.of());
                            Statement statement = connection.createStatement();
                            ResultSet rows = statement.executeQuery("SELECT * FROM tpch.tiny.orders")) {
                        int seen = 0;
                        while (rows.next()) {
                            seen++;
                        }
                        equal(15_000, seen);
                        count.incrementAndGet();
                    }
                    catch (SQLException e) {
                        stop.set(true);
                        throw new IllegalStateException(e);
                    }
                }
            }));
        }
        System.in.readAllBytes();
        stop.set(true);
        for (CompletableFuture<Void> worker : workers) {
            worker.get();
        }
        System.out.println("queries " + count.get());
    }

    private static void heartbeat() throws Exception {
        PrintStream before = System.err;
        ByteArrayOutputStream log = new ByteArrayOutputStream();
        System.setErr(new PrintStream(log, true, StandardCharsets.UTF_8));
        try (Connection connection = open(Map.of("httpLoggingLevel", "BASIC"));
                Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT * FROM tpch.sf10.lineitem LIMIT 2000000")) {
            // Pages are fetched ahead until 50,000 rows wait, which on a busy machine takes its time.
            for (int waited = 0; waited < 240 && heartbeats(log).isEmpty(); waited++) {
                check(rows.next(), "too few rows");
                TimeUnit.SECONDS.sleep(1);
            }
            for (int i = 0; i < 50_000; i++) {
                check(rows.next(), "too few rows");
            }
        }
        finally {
            System.setErr(before);
        }
        List<String> heads = heartbeats(log);
        check(!heads.isEmpty(), "no heartbeat was answered: " + log.toString(StandardCharsets.UTF_8));
        check(heads.stream().allMatch(line -> line.contains("<-- 200")), "heartbeats were answered with " + heads);
    }

    /** The answers to heartbeats. */
    private static List<String> heartbeats(ByteArrayOutputStream log) {
        List<String> heads = new ArrayList<>();
        List<String> lines = log.toString(StandardCharsets.UTF_8).lines().toList();
        for (int i = 0; i < lines.size(); i++) {
            if (lines.get(i).contains("--> HEAD ")) {
                String link = lines.get(i).replaceAll(".*--> HEAD (\\S+).*", "$1");
                // One that the driver itself breaks off, since it goes on, has no answer: what comes next is that of
                // its GET or DELETE of the same link.
                lines.stream().skip(i + 1).filter(line -> line.contains(link)).findFirst()
                        .filter(line -> line.contains("<-- ") && !line.contains("InterruptedIOException"))
                        .ifPresent(heads::add);
            }
        }
        return heads;
    }

    private static List<String> rows(Connection connection, String sql) throws SQLException {
        List<String> lines = new ArrayList<>();
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            while (rows.next()) {
                List<String> values = new ArrayList<>();
                for (int i = 1; i <= rows.getMetaData().getColumnCount(); i++) {
                    values.add(String.valueOf(rows.getObject(i)));
                }
                lines.add(String.join("\t", values));
            }
        }
        return lines;
    }

    private static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        try (rows) {
            while (rows.next()) {
                values.add(rows.getString(name));
            }
        }
        return values;
    }

    private static String only(ResultSet rows) throws SQLException {
        try (rows) {
            check(rows.next(), "no row");
            String value = rows.getString(1);
            check(!rows.next(), "more than one row");
            return value;
        }
    }

    private static void equal(Object expected, Object actual) {
        check(expected.equals(actual), "expected <" + expected + "> but got <" + actual + ">");
    }

    private static void check(boolean holds, String message) {
        if (!holds) {
            throw new AssertionError(message);
        }
    }
}
