//! Makes the parser's messages ones that tell what to do.

/// Keys of former versions, and what to write in their place.
const FORMER: [(&str, &str); 1] = [("identity.state", "this section is called [state] now")];

/// The name of the key that a message says is not known.
pub(super) fn unknown(found: &str) -> Option<&str> {
    found.strip_prefix("unknown field `")?.split('`').next()
}

/// The message for a key. `path` is the key that an error was found at, perhaps empty.
pub(super) fn message(found: &str, path: &str, secrets: &[&str]) -> String {
    let quoted = |from: &str| from.split('`').nth(1).unwrap_or_default().to_owned();
    let found = found.trim_end();
    if let Some(name) = unknown(found) {
        let key = if path.rsplit('.').next() == Some(name) { path.to_owned() } else { join(path, name) };
        let known: Vec<String> = found.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        if secrets.contains(&key.as_str()) {
            return format!(
                "{key}: a secret does not belong in this file; put it in a file of its own and name that by \
                 `{name}_file`, or set {}{}",
                super::document::PREFIX,
                key.replace('.', "__").to_uppercase()
            );
        }
        if let Some((_, now)) = FORMER.iter().find(|(former, _)| *former == key) {
            return format!("{key}: {now}");
        }
        if known.contains(&format!("{name}_file")) {
            return format!(
                "{key}: unknown key; its value goes into a file of its own, which `{name}_file` names"
            );
        }
        return match nearest(name, &known) {
            Some(near) => format!("{key}: unknown key; did you mean `{near}`?"),
            None if known.is_empty() => format!("{key}: unknown key; there are none here"),
            None => format!("{key}: unknown key; there are {}", known.join(", ")),
        };
    }
    if found.starts_with("missing field") {
        return format!("{}: missing, and has no default", join(path, &quoted(found)));
    }
    if found.starts_with("unknown variant") {
        let known: Vec<String> = found.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        return format!("{path}: unknown value `{}`; there are {}", quoted(found), known.join(", "));
    }
    if path.is_empty() { found.to_owned() } else { format!("{path}: {found}") }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The known name that differs least, if that is by a slip or two.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let most = 1 + name.chars().count() / 4;
    let near = known.iter().map(|known| (distance(name, known), known.as_str()));
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, known)| known)
}

/// The number of characters to change, add or leave out to get from one to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let check = |from, to, expect| assert_eq!(distance(from, to), expect, "{from} {to}");
        check("listen", "listen", 0);
        check("listn", "listen", 1);
        check("lsiten", "listen", 2);
        check("", "abc", 3);
        check("abc", "", 3);
    }

    #[test]
    fn messages() {
        let check = |found: &str, path: &str, expect: &str| {
            assert_eq!(message(found, path, &["links.key"]), expect, "{found} at {path}");
        };
        let unknown = "unknown field `listn`, expected one of `listen`, `key`";
        check(unknown, "server.listn", "server.listn: unknown key; did you mean `listen`?");
        check(unknown, "", "listn: unknown key; did you mean `listen`?");
        let far = "unknown field `x`, expected `listen` or `key`";
        check(far, "server.x", "server.x: unknown key; there are listen, key");
        check("unknown field `x`, there are no fields", "a.x", "a.x: unknown key; there are none here");
        check("missing field `url`", "trino", "trino.url: missing, and has no default");
        check(
            "unknown variant `x`, expected `a` or `b`",
            "trino.authentication",
            "trino.authentication: unknown value `x`; there are a, b",
        );
        check(
            "unknown field `key`, expected `key_file`",
            "links.key",
            "links.key: a secret does not belong in this file; put it in a file of its own and name that by \
             `key_file`, or set NORTHGATE__LINKS__KEY",
        );
        check(
            "unknown field `password`, expected one of `url`, `password_file`",
            "trino.password",
            "trino.password: unknown key; its value goes into a file of its own, which `password_file` names",
        );
        check("invalid type: integer", "a.b", "a.b: invalid type: integer");
    }
}
