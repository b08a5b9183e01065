import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Time;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.LocalDate;
import java.util.Arrays;
import java.util.List;

/** Makes the driver send each kind of statement that it makes up itself. What comes of them is not looked at here. */
final class Everything {
    private Everything() {}

    /** All that DatabaseMetaData asks the server, with no argument, names, patterns and odd characters. */
    static void metadata(Connection connection) throws Exception {
        DatabaseMetaData metadata = connection.getMetaData();
        List<String[]> names = List.of(
                new String[] {null, null, null, null},
                new String[] {"lake", "silver", "customers", "%"},
                new String[] {"lake", "silv%", "cust_mers", "b%"},
                new String[] {"", "", "", ""},
                new String[] {"lake", "o'brien\\_%", "it's\\%", "\"x\""});
        int asked = 0;
        for (Method method : DatabaseMetaData.class.getMethods()) {
            if (method.getReturnType() != ResultSet.class) {
                continue;
            }
            for (String[] of : names) {
                for (String[] types : new String[][] {null, {"TABLE"}, {"TABLE", "VIEW"}, {}}) {
                    asked += ask(metadata, method, of, types) ? 1 : 0;
                    if (!Arrays.asList(method.getParameterTypes()).contains(String[].class)) {
                        break;
                    }
                }
            }
        }
        if (asked < 40) {
            throw new AssertionError("only " + asked + " questions had an answer");
        }
    }

    private static boolean ask(DatabaseMetaData metadata, Method method, String[] names, String[] types) throws Exception {
        int name = 0;
        Object[] arguments = new Object[method.getParameterCount()];
        for (int i = 0; i < arguments.length; i++) {
            Class<?> type = method.getParameterTypes()[i];
            if (type == String.class) {
                arguments[i] = names[name++ % names.length];
            }
            else if (type == String[].class) {
                arguments[i] = types;
            }
            else if (type == int.class) {
                arguments[i] = 0;
            }
            else if (type == boolean.class) {
                arguments[i] = false;
            }
        }
        try (ResultSet rows = (ResultSet) method.invoke(metadata, arguments)) {
            return rows != null;
        }
        catch (InvocationTargetException e) {
            if (e.getCause() instanceof SQLException) {
                return false;
            }
            throw e;
        }
    }

    /** Values of each type as the driver writes them, in a prepared statement or in one that is executed at once. */
    static void values(Connection connection) throws SQLException {
        Timestamp moment = Timestamp.valueOf("2025-02-28 23:59:59.123456");
        Object[] values = {
            true, (byte) 1, (short) -2, 3, Long.MIN_VALUE, 1.5f, -2.5e300, Double.NaN, Double.POSITIVE_INFINITY, new BigDecimal("-12.50"),
            "it's \"ü\" 漢字 \u0000 \\ ?", "a\nb".getBytes(StandardCharsets.UTF_8), Date.valueOf("2024-02-29"), Time.valueOf("23:59:59"), moment,
            LocalDate.of(2024, 2, 29), java.time.LocalDateTime.of(2024, 2, 29, 1, 2, 3), java.time.OffsetDateTime.parse("2024-02-29T01:02:03+05:30"),
            java.util.UUID.fromString("12151fd2-7586-11e9-8f9e-2a86e4085a59"), null,
        };
        for (Object value : values) {
            try (PreparedStatement statement = connection.prepareStatement("SELECT ?, ? IS NULL -- ?\n, '?'")) {
                statement.setObject(1, value);
                statement.setObject(2, value);
                statement.executeQuery().close();
            }
            catch (SQLException e) {
                // The driver does not know the type, or the server not the value.
                continue;
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT id FROM lake.silver.customers WHERE id = ? AND name = ?")) {
            ParameterMetaData parameters = statement.getParameterMetaData();
            parameters.getParameterTypeName(1);
            statement.getMetaData().getColumnName(1);
            statement.setNull(1, Types.BIGINT);
            statement.setNull(2, Types.VARCHAR);
            statement.executeQuery().close();
            statement.clearParameters();
        }
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO lake.dbt.by_driver VALUES (?, ?)")) {
            for (int i = 0; i < 3; i++) {
                statement.setLong(1, i);
                statement.setString(2, "x" + i);
                statement.addBatch();
            }
            statement.executeBatch();
        }
        catch (SQLException e) {
            throw new AssertionError(e);
        }
    }

    /** The session, transactions and what a connection does by itself. */
    static void session(Connection connection) throws SQLException {
        connection.setCatalog("lake");
        connection.setSchema("silver");
        connection.isValid(5);
        for (int isolation : new int[] {
            Connection.TRANSACTION_READ_UNCOMMITTED, Connection.TRANSACTION_READ_COMMITTED, Connection.TRANSACTION_REPEATABLE_READ,
            Connection.TRANSACTION_SERIALIZABLE}) {
            for (boolean readOnly : new boolean[] {true, false}) {
                connection.setTransactionIsolation(isolation);
                connection.setReadOnly(readOnly);
                connection.setAutoCommit(false);
                try (Statement statement = connection.createStatement()) {
                    statement.executeQuery("SELECT 1").close();
                }
                connection.rollback();
                connection.setAutoCommit(true);
            }
        }
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE IF NOT EXISTS lake.dbt.by_driver (id bigint, name varchar)");
        }
    }
}
