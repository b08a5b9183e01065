import com.sun.source.tree.BinaryTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.ExpressionTree;
import com.sun.source.tree.IdentifierTree;
import com.sun.source.tree.LiteralTree;
import com.sun.source.tree.MemberSelectTree;
import com.sun.source.tree.MethodInvocationTree;
import com.sun.source.tree.ParenthesizedTree;
import com.sun.source.tree.Tree;
import com.sun.source.tree.VariableTree;
import com.sun.source.util.JavacTask;
import com.sun.source.util.TreeScanner;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.zip.ZipFile;
import javax.tools.JavaCompiler;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;

/**
 * Makes the corpus: every string in the Java sources of some jars that Trino's parser takes for a statement (or for
 * an expression, where a test parses expressions), and every .sql file.
 *
 * <p>Arguments: the file to write, then the jars. A line of it is what {@link Judge} says of a statement, and its text.
 */
public final class Corpus {
    /** Stands for a part of a string that is not known before the program runs. */
    private static final char HOLE = '\u0001';

    /** What is tried for such a part. */
    private static final List<String> FILLERS = List.of(
            "hole", "1", "'x'", "", "varchar", "SELECT 1 x", "hole1 = 1", "bigint", "TRUE", "ARRAY[1]", "(1, 2)",
            "a bigint", "+", "=", "JOIN", "TABLE", "COUNT(*)");

    private static final Set<String> EXPRESSION_METHODS =
            Set.of("expression", "assertExpression", "createExpression", "assertExpressionIsInvalid");

    private static final int LONGEST = 60_000;

    private final Set<String> candidates = new LinkedHashSet<>();

    public static void main(String[] arguments) throws IOException {
        Corpus corpus = new Corpus();
        for (int i = 1; i < arguments.length; i++) {
            corpus.readJar(Path.of(arguments[i]));
        }
        List<String> lines = corpus.candidates.parallelStream().map(Corpus::judge).filter(Objects::nonNull).distinct().toList();
        Files.write(Path.of(arguments[0]), lines, StandardCharsets.UTF_8);
    }

    private static String judge(String candidate) {
        boolean filled = candidate.indexOf(HOLE) >= 0;
        for (String filler : filled ? FILLERS : List.of("")) {
            String sql = candidate.replace(String.valueOf(HOLE), filler).strip();
            while (sql.endsWith(";")) {
                sql = sql.substring(0, sql.length() - 1).strip();
            }
            if (sql.length() > LONGEST) {
                return null;
            }
            String verdict = Judge.judge(sql);
            if (verdict.startsWith("{\"ok\":true")) {
                return verdict.substring(0, verdict.length() - 1) + ",\"sql\":" + Judge.quote(sql) + "}";
            }
        }
        return null;
    }

    private void readJar(Path jar) throws IOException {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        try (ZipFile zip = new ZipFile(jar.toFile())) {
            for (var entry : zip.stream().toList()) {
                String name = entry.getName();
                if (!name.endsWith(".java") && !name.endsWith(".sql")) {
                    continue;
                }
                String text = new String(zip.getInputStream(entry).readAllBytes(), StandardCharsets.UTF_8);
                if (name.endsWith(".sql")) {
                    candidates.add(text);
                    continue;
                }
                SimpleJavaFileObject source = new SimpleJavaFileObject(URI.create("string:///" + name), SimpleJavaFileObject.Kind.SOURCE) {
                    @Override
                    public CharSequence getCharContent(boolean ignoreEncodingErrors) {
                        return text;
                    }
                };
                JavacTask task = (JavacTask) compiler.getTask(null, null, diagnostic -> {}, List.of("-proc:none"), null, List.of(source));
                for (CompilationUnitTree unit : task.parse()) {
                    readSource(unit);
                }
            }
        }
    }

    private void readSource(CompilationUnitTree unit) {
        Map<String, String> constants = new HashMap<>();
        // Constants are made of constants: three rounds are enough.
        for (int round = 0; round < 3; round++) {
            new TreeScanner<Void, Void>() {
                @Override
                public Void visitVariable(VariableTree variable, Void unused) {
                    if (variable.getInitializer() != null) {
                        String value = evaluate(variable.getInitializer(), constants);
                        if (value != null && value.indexOf(HOLE) < 0) {
                            constants.putIfAbsent(variable.getName().toString(), value);
                        }
                    }
                    return super.visitVariable(variable, unused);
                }
            }.scan(unit, null);
        }
        new TreeScanner<Void, String>() {
            @Override
            public Void scan(Tree tree, String method) {
                if (tree instanceof ExpressionTree expression && isText(expression)) {
                    String value = evaluate(expression, constants);
                    if (value != null && value.trim().length() > 2) {
                        boolean scalar = method != null && EXPRESSION_METHODS.contains(method);
                        if (!scalar) {
                            candidates.add(value);
                        }
                        // The arguments of functions and the values of bindings are expressions, too.
                        if (scalar || value.matches("(?s).*[('\\[+*=<>|].*")) {
                            candidates.add("SELECT " + value);
                        }
                    }
                    if (expression instanceof MethodInvocationTree call) {
                        call.getArguments().forEach(argument -> scan(argument, null));
                    }
                    return null;
                }
                return super.scan(tree, method);
            }

            @Override
            public Void visitMethodInvocation(MethodInvocationTree call, String method) {
                scan(call.getMethodSelect(), null);
                call.getArguments().forEach(argument -> scan(argument, name(call.getMethodSelect())));
                return null;
            }
        }.scan(unit, null);
    }

    private static String name(ExpressionTree expression) {
        return switch (expression) {
            case MemberSelectTree member -> member.getIdentifier().toString();
            case IdentifierTree identifier -> identifier.getName().toString();
            default -> "";
        };
    }

    private static boolean isText(ExpressionTree expression) {
        return switch (expression) {
            case LiteralTree literal -> literal.getValue() instanceof String;
            case ParenthesizedTree inner -> isText(inner.getExpression());
            case BinaryTree binary -> binary.getKind() == Tree.Kind.PLUS
                    && (isText(binary.getLeftOperand()) || isText(binary.getRightOperand()));
            case MethodInvocationTree call -> {
                if (name(call.getMethodSelect()).equals("format")) {
                    yield !call.getArguments().isEmpty() && isText(call.getArguments().getFirst());
                }
                yield Set.of("formatted", "stripIndent", "replace", "repeat", "trim").contains(name(call.getMethodSelect()))
                        && call.getMethodSelect() instanceof MemberSelectTree member && isText(member.getExpression());
            }
            default -> false;
        };
    }

    /** The value of an expression, with holes for what is not known; null if nothing is. */
    private static String evaluate(ExpressionTree expression, Map<String, String> constants) {
        return switch (expression) {
            case LiteralTree literal -> literal.getValue() == null ? null : String.valueOf(literal.getValue());
            case ParenthesizedTree inner -> evaluate(inner.getExpression(), constants);
            case IdentifierTree identifier -> constants.get(identifier.getName().toString());
            case BinaryTree binary when binary.getKind() == Tree.Kind.PLUS -> {
                String left = evaluate(binary.getLeftOperand(), constants);
                String right = evaluate(binary.getRightOperand(), constants);
                yield left == null && right == null ? null : orHole(left) + orHole(right);
            }
            case MethodInvocationTree call -> evaluateCall(call, constants);
            default -> null;
        };
    }

    private static String evaluateCall(MethodInvocationTree call, Map<String, String> constants) {
        List<? extends ExpressionTree> arguments = call.getArguments();
        String method = name(call.getMethodSelect());
        if (call.getMethodSelect() instanceof MemberSelectTree member && isText(member.getExpression())) {
            String text = evaluate(member.getExpression(), constants);
            switch (method) {
                case "formatted":
                    return format(text, arguments, constants);
                case "stripIndent", "trim", "repeat":
                    return text;
                case "replace":
                    if (text != null && arguments.size() == 2) {
                        String from = evaluate(arguments.get(0), constants);
                        boolean known = from != null && !from.isEmpty();
                        return known ? text.replace(from, orHole(evaluate(arguments.get(1), constants))) : text;
                    }
                    break;
                default:
            }
        }
        if (method.equals("format") && !arguments.isEmpty() && isText(arguments.getFirst())) {
            return format(evaluate(arguments.getFirst(), constants), arguments.subList(1, arguments.size()), constants);
        }
        return null;
    }

    private static String format(String format, List<? extends ExpressionTree> arguments, Map<String, String> constants) {
        if (format == null) {
            return null;
        }
        var matcher = java.util.regex.Pattern.compile("%(?:(%)|(n)|(?:(\\d+)\\$)?[-+0-9.,]*[sdfxSb])").matcher(format);
        StringBuilder result = new StringBuilder();
        int next = 0;
        while (matcher.find()) {
            String value;
            if (matcher.group(1) != null) {
                value = "%";
            }
            else if (matcher.group(2) != null) {
                value = "\n";
            }
            else {
                int index = matcher.group(3) == null ? next++ : Integer.parseInt(matcher.group(3)) - 1;
                value = index < arguments.size() ? orHole(evaluate(arguments.get(index), constants)) : String.valueOf(HOLE);
            }
            matcher.appendReplacement(result, java.util.regex.Matcher.quoteReplacement(value));
        }
        return matcher.appendTail(result).toString();
    }

    private static String orHole(String value) {
        return value == null ? String.valueOf(HOLE) : value;
    }

    private Corpus() {}
}
