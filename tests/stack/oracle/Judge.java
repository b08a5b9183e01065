import io.trino.sql.parser.ParsingException;
import io.trino.sql.parser.SqlParser;
import io.trino.sql.tree.LikeClause;
import io.trino.sql.tree.Node;
import io.trino.sql.tree.NodeLocation;
import io.trino.sql.tree.QualifiedName;
import io.trino.sql.tree.Query;
import io.trino.sql.tree.Statement;
import io.trino.sql.tree.Table;
import io.trino.sql.tree.With;
import io.trino.sql.tree.WithQuery;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * What Trino's own parser makes of statements: whether it takes them, which kind they are, and which tables they name,
 * where, and whether a table is one of a WITH.
 *
 * <p>Arguments: a file with one statement to a line, in base64, and the file to write: one JSON object to a line. Of a
 * second statement on a line, behind a blank, it is said whether it has the same tree.
 */
public final class Judge {
    private static final SqlParser PARSER = new SqlParser();
    private static final Map<Class<?>, List<Field>> FIELDS = new ConcurrentHashMap<>();

    public static void main(String[] arguments) throws IOException {
        List<String> verdicts = Files.readAllLines(Path.of(arguments[0])).parallelStream()
                .map(Judge::judgeLine)
                .toList();
        Files.write(Path.of(arguments[1]), verdicts, StandardCharsets.UTF_8);
    }

    /** A statement, and maybe another one that must be the same. */
    private static String judgeLine(String line) {
        String[] parts = line.split(" ");
        String sql = new String(Base64.getDecoder().decode(parts[0]), StandardCharsets.UTF_8);
        String verdict = judge(sql);
        if (parts.length == 1) {
            return verdict;
        }
        boolean same;
        try {
            String other = new String(Base64.getDecoder().decode(parts[1]), StandardCharsets.UTF_8);
            same = PARSER.createStatement(sql).equals(PARSER.createStatement(other));
        }
        catch (StackOverflowError | RuntimeException e) {
            same = false;
        }
        return verdict.substring(0, verdict.length() - 1) + ",\"same\":" + same + "}";
    }

    static String judge(String sql) {
        try {
            Statement statement = PARSER.createStatement(sql);
            List<String> tables = new ArrayList<>();
            walk(statement, new ArrayDeque<>(), tables);
            List<String> names = new ArrayList<>();
            names(statement, names);
            return "{\"ok\":true,\"kind\":" + quote(statement.getClass().getSimpleName())
                    + ",\"tables\":[" + String.join(",", tables) + "],\"names\":[" + String.join(",", names) + "]}";
        }
        catch (ParsingException e) {
            return "{\"ok\":false,\"error\":" + quote(e.getMessage()) + "}";
        }
        catch (StackOverflowError | RuntimeException e) {
            return "{\"ok\":false,\"error\":" + quote(e.toString()) + "}";
        }
    }

    /** Goes through all fields of all nodes: what getChildren() leaves out is seen, too. */
    private static void walk(Object value, Deque<Set<String>> scopes, List<String> tables) {
        switch (value) {
            case null -> {}
            case Optional<?> optional -> walk(optional.orElse(null), scopes, tables);
            case Collection<?> collection -> collection.forEach(item -> walk(item, scopes, tables));
            case Query query when query.getWith().isPresent() -> {
                Set<String> names = new HashSet<>();
                scopes.push(names);
                With with = query.getWith().get();
                for (WithQuery common : with.getQueries()) {
                    String name = common.getName().getValue().toLowerCase(Locale.ENGLISH);
                    if (with.isRecursive()) {
                        names.add(name);
                    }
                    walk(common.getQuery(), scopes, tables);
                    names.add(name);
                }
                fields(query, "with", scopes, tables);
                scopes.pop();
            }
            case Table table -> {
                List<String> parts = table.getName().getParts();
                boolean common = parts.size() == 1 && scopes.stream().anyMatch(scope -> scope.contains(parts.getFirst()));
                // The targets of some statements have no location.
                Optional<NodeLocation> location = table.getLocation();
                tables.add("{\"name\":[" + String.join(",", parts.stream().map(Judge::quote).toList())
                        + "],\"line\":" + location.map(NodeLocation::getLineNumber).orElse(0) + ",\"column\":" + location.map(NodeLocation::getColumnNumber).orElse(0)
                        + ",\"common\":" + common + "}");
                fields(table, "", scopes, tables);
            }
            case Node node -> fields(node, "", scopes, tables);
            default -> {
                // Some parts of nodes, such as the partitions of a table argument, are plain objects.
                if (value.getClass().getPackageName().equals("io.trino.sql.tree") && !(value instanceof Enum<?>)) {
                    fields(value, "", scopes, tables);
                }
            }
        }
    }

    /** The names that stand in a statement itself, or in what it is LIKE, and are no tables to the parser. */
    private static void names(Object value, List<String> names) {
        switch (value) {
            case null -> {}
            case Optional<?> optional -> names(optional.orElse(null), names);
            case Collection<?> collection -> collection.forEach(item -> names(item, names));
            case QualifiedName name -> names.add("[" + String.join(",", name.getParts().stream().map(Judge::quote).toList()) + "]");
            case LikeClause like -> names(like.getTableName(), names);
            case Statement statement -> {
                for (Field field : FIELDS.computeIfAbsent(statement.getClass(), Judge::fields)) {
                    try {
                        names(field.get(statement), names);
                    }
                    catch (IllegalAccessException e) {
                        throw new AssertionError(e);
                    }
                }
            }
            default -> {}
        }
    }

    private static void fields(Object node, String except, Deque<Set<String>> scopes, List<String> tables) {
        for (Field field : FIELDS.computeIfAbsent(node.getClass(), Judge::fields)) {
            if (!field.getName().equals(except)) {
                try {
                    walk(field.get(node), scopes, tables);
                }
                catch (IllegalAccessException e) {
                    throw new AssertionError(e);
                }
            }
        }
    }

    private static List<Field> fields(Class<?> type) {
        List<Field> fields = new ArrayList<>();
        for (Class<?> part = type; part != null && part != Object.class; part = part.getSuperclass()) {
            for (Field field : part.getDeclaredFields()) {
                if (!Modifier.isStatic(field.getModifiers())) {
                    field.setAccessible(true);
                    fields.add(field);
                }
            }
        }
        return fields;
    }

    static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            }
            else if (c < 0x20 || c > 0x7e) {
                quoted.append(String.format("\\u%04x", (int) c));
            }
            else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }

    private Judge() {}
}
