//! Statements from a seed: joins, subqueries, common tables, aggregation, windows, set operations, and the names of
//! columns and tables in all the ways that they can be written.

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Int,
    Text,
    Money,
    Date,
    Time,
}

use Type::{Date, Int, Money, Text, Time};

const TYPES: [Type; 5] = [Int, Text, Money, Date, Time];

#[derive(Clone)]
struct Column {
    name: String,
    kind: Type,
}

/// A relation in FROM, and how its columns can be qualified.
#[derive(Clone)]
struct Source {
    qualifiers: Vec<String>,
    columns: Vec<Column>,
}

/// The tables of the bank as the user sees them, with what can join them.
const TABLES: [(&str, &[(&str, Type)]); 3] = [
    (
        "customers",
        &[
            ("id", Int),
            ("name", Text),
            ("email", Text),
            ("ssn", Text),
            ("region", Text),
            ("balance", Money),
            ("date_of_birth", Date),
        ],
    ),
    (
        "orders",
        &[
            ("id", Int),
            ("customer_id", Int),
            ("region", Text),
            ("ordered_at", Time),
            ("amount", Money),
            ("status", Text),
        ],
    ),
    (
        "card_payments",
        &[("id", Int), ("customer_id", Int), ("region", Text), ("amount", Money), ("paid_at", Time)],
    ),
];

/// How deep queries are within queries.
const DEPTH: u32 = 2;

pub(crate) struct Generator {
    state: u64,
    aliases: u32,
    /// Whether there are no queries within the query. In which order several conditions are evaluated is not
    /// defined, and so what can fail stands in none of the others.
    shallow: bool,
    /// The common tables that are in sight.
    common: Vec<(String, Vec<Column>)>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut new = Self { state: mixed, aliases: 0, shallow: false, common: Vec::new() };
        for _ in 0..8 {
            new.next();
        }
        new
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).expect("31 bits") % bound
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        let name = self.pick(&["t", "customers_", "x", "ssn_", "northgate_t"]);
        format!("{name}{}", self.aliases)
    }

    /// A name, written in one of the ways that mean the same.
    fn written(&mut self, name: &str) -> String {
        match self.below(8) {
            0 => name.to_uppercase(),
            1 => format!("\"{name}\""),
            2 => format!("\"{}\"", name.to_uppercase()),
            _ => name.to_owned(),
        }
    }

    /// A whole statement. Its rows are the same whenever it runs.
    pub(crate) fn statement(&mut self) -> String {
        // Most are shallow: they run fast, and have all that can stand in one query.
        let depth = [0, 0, 1, 1, DEPTH][self.below(5)];
        self.shallow = depth == 0;
        let (sql, columns) = self.query(depth, None, &[]);
        if self.chance(20) {
            let all: Vec<String> = (1..=columns.len()).map(|place| place.to_string()).collect();
            return format!("{sql} ORDER BY {} LIMIT {}", all.join(", "), self.below(50));
        }
        sql
    }

    /// A query that can be ordered, with these types if they are given.
    fn query(&mut self, depth: u32, types: Option<&[Type]>, outer: &[Source]) -> (String, Vec<Column>) {
        match self.below(10) {
            0 | 1 if depth > 0 => {
                let wanted: Vec<Type> = match types {
                    Some(types) => types.to_vec(),
                    None => (0..=self.below(3)).map(|_| TYPES[self.below(TYPES.len())]).collect(),
                };
                let (left, columns) = self.select(depth - 1, Some(&wanted), outer);
                let (right, _) = self.select(depth - 1, Some(&wanted), outer);
                let operation = self.pick(&["UNION ALL", "UNION", "INTERSECT", "EXCEPT", "EXCEPT ALL"]);
                (format!("{left} {operation} {right}"), columns)
            }
            2 | 3 if depth > 0 => {
                // A common table may have the name of a table, which it then hides.
                let name = if self.chance(40) { "customers".to_owned() } else { self.alias() };
                let (inner, columns) = self.query(depth - 1, None, &[]);
                let columns: Vec<Column> = (0..)
                    .zip(columns)
                    .map(|(number, column)| Column { name: format!("c{number}"), kind: column.kind })
                    .collect();
                let list: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                let list = list.join(", ");
                self.common.push((name.clone(), columns));
                let (body, columns) = self.select(depth - 1, types, outer);
                self.common.pop();
                (format!("WITH {name} ({list}) AS ({inner}) {body}"), columns)
            }
            _ => self.select(depth, types, outer),
        }
    }

    fn select(&mut self, depth: u32, types: Option<&[Type]>, outer: &[Source]) -> (String, Vec<Column>) {
        let (from, sources) = self.from(depth, outer);
        let mut condition = String::new();
        if self.chance(60) {
            condition = format!(" WHERE {}", self.condition(depth, &sources, outer));
        }
        if types.is_none() && self.chance(20) {
            return self.star(&from, &condition, &sources);
        }
        if self.chance(30) {
            return self.grouped(depth, types, &from, &condition, &sources);
        }
        let mut items = Vec::new();
        let mut columns = Vec::new();
        let count = types.map_or_else(|| 1 + self.below(4), <[Type]>::len);
        for number in 0..count {
            let kind = types.map_or_else(|| TYPES[self.below(TYPES.len())], |types| types[number]);
            let windowed = self.chance(10);
            let value = if windowed && kind == Int {
                let by = self.column(Int, &sources);
                let order = self.column(Int, &sources);
                // Ranks of equal rows are equal.
                format!("rank() OVER (PARTITION BY {by} ORDER BY {order})")
            } else {
                self.value(kind, depth, &sources, outer)
            };
            let name = format!("o{number}");
            items.push(format!("{value} AS {name}"));
            columns.push(Column { name, kind });
        }
        let distinct = if self.chance(15) { "DISTINCT " } else { "" };
        (format!("SELECT {distinct}{} FROM {from}{condition}", items.join(", ")), columns)
    }

    /// `SELECT *` or a qualified star. The columns are named anew, as several relations may have the same names.
    fn star(&mut self, from: &str, condition: &str, sources: &[Source]) -> (String, Vec<Column>) {
        let source = &sources[self.below(sources.len())];
        let (star, columns) = if self.chance(50) || source.qualifiers.is_empty() {
            ("*".to_owned(), sources.iter().flat_map(|source| source.columns.clone()).collect())
        } else {
            let qualifier = source.qualifiers[self.below(source.qualifiers.len())].clone();
            (format!("{qualifier}.*"), source.columns.clone())
        };
        (format!("SELECT {star} FROM {from}{condition}"), columns)
    }

    fn grouped(
        &mut self,
        depth: u32,
        types: Option<&[Type]>,
        from: &str,
        condition: &str,
        sources: &[Source],
    ) -> (String, Vec<Column>) {
        let source = &sources[self.below(sources.len())];
        let by = source.columns[self.below(source.columns.len())].clone();
        let (key, key_kind) = (format!("{}.{}", source.qualifiers[0], by.name), by.kind);
        let count = types.map_or_else(|| 1 + self.below(3), <[Type]>::len);
        let mut items = Vec::new();
        let mut columns = Vec::new();
        for number in 0..count {
            let kind = types.map_or_else(|| TYPES[self.below(TYPES.len())], |types| types[number]);
            let of = self.value(kind, 0, sources, &[]);
            let filter = if self.chance(20) {
                format!(" FILTER (WHERE {})", self.condition(0, sources, &[]))
            } else {
                String::new()
            };
            let value = match (kind, self.below(4)) {
                (Int, 0) => format!("count(*){filter}"),
                (Int, 1) => format!("count(DISTINCT {of}){filter}"),
                (Int | Money, 2) => format!("sum({of}){filter}"),
                (Text, 0) => format!("listagg(DISTINCT {of}, ',') WITHIN GROUP (ORDER BY {of}){filter}"),
                (_, 3) if kind == key_kind => key.clone(),
                (_, 1) => format!("min({of}){filter}"),
                _ => format!("max({of}){filter}"),
            };
            // Sums of money have more digits than money has.
            let value = if kind == Money { format!("CAST({value} AS decimal(18, 2))") } else { value };
            let name = format!("g{number}");
            items.push(format!("{value} AS {name}"));
            columns.push(Column { name, kind });
        }
        let group = match self.below(4) {
            0 => format!("ROLLUP ({key})"),
            1 => format!("GROUPING SETS (({key}), ())"),
            _ => key,
        };
        let having = if self.chance(20) && depth > 0 { " HAVING count(*) > 1" } else { "" };
        (format!("SELECT {} FROM {from}{condition} GROUP BY {group}{having}", items.join(", ")), columns)
    }

    /// A FROM clause.
    fn from(&mut self, depth: u32, outer: &[Source]) -> (String, Vec<Source>) {
        let (mut sql, first) = self.relation(depth, outer, true);
        let mut sources = vec![first];
        let joins = [0, 0, 0, 1, 1, 2][self.below(6)];
        for _ in 0..joins {
            match self.below(8) {
                0 => {
                    let name = self.alias();
                    sql.push_str(&format!(" CROSS JOIN UNNEST(ARRAY[1, 2]) AS {name} (n)"));
                    let columns = vec![Column { name: "n".to_owned(), kind: Int }];
                    sources.push(Source { qualifiers: vec![name], columns });
                }
                1 if depth > 0 => {
                    let (inner, columns) = self.select(depth - 1, Some(&[Int, Text]), &sources);
                    let name = self.alias();
                    sql.push_str(&format!(" CROSS JOIN LATERAL ({inner} LIMIT 0) AS {name}"));
                    sources.push(Source { qualifiers: vec![name], columns });
                }
                _ => {
                    let (right, source) = self.relation(depth, outer, false);
                    // Without a key it would be a product, of all with all.
                    let has_key = |source: &Source| source.columns.iter().any(|column| column.kind == Int);
                    if !has_key(&source) || !sources.iter().any(has_key) {
                        continue;
                    }
                    let kind = self.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "INNER JOIN"]);
                    let (left_key, right_key) = (self.key(&sources), self.key(std::slice::from_ref(&source)));
                    sql.push_str(&format!(" {kind} {right} ON {left_key} = {right_key}"));
                    sources.push(source);
                }
            }
        }
        (sql, sources)
    }

    /// A number to join by, with its qualifier: it is looked for in all that is joined.
    fn key(&mut self, sources: &[Source]) -> String {
        self.key_of_outer(sources)
    }

    fn relation(&mut self, depth: u32, outer: &[Source], first: bool) -> (String, Source) {
        if depth > 0 && self.chance(25) {
            let (inner, columns) = self.query(depth - 1, Some(&[Int, Text, Money]), &[]);
            let name = self.alias();
            return (format!("({inner}) AS {name}"), Source { qualifiers: vec![name], columns });
        }
        if !self.common.is_empty() && self.chance(50) {
            let at = self.below(self.common.len());
            let (table, columns) = self.common[at].clone();
            let hides = self.common.iter().rev().find(|(name, _)| *name == table);
            let columns = hides.map_or(columns, |(_, columns)| columns.clone());
            let name = self.alias();
            return (format!("{table} {name}"), Source { qualifiers: vec![name], columns });
        }
        let (table, columns) = TABLES[self.below(TABLES.len())];
        let columns: Vec<Column> =
            columns.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: *kind }).collect();
        let hidden = self.common.iter().any(|(name, _)| name == table);
        let parts = if hidden { 2 + self.below(2) } else { 1 + self.below(3) };
        let path: Vec<&str> = ["lake", "silver", table][3 - parts..].to_vec();
        let written: Vec<String> = path.iter().map(|part| self.written(part)).collect();
        let written = written.join(".");
        // The second relation always has an alias: both could be the same table.
        if first && outer.is_empty() && self.chance(50) {
            let qualifiers = (0..path.len()).map(|from| path[from..].join(".")).collect();
            return (written, Source { qualifiers, columns });
        }
        let name = self.alias();
        // A column is hidden from its user: natively only a star leaves it out.
        let shape = if table == "card_payments" { 7 * self.below(2) } else { self.below(8) };
        match shape {
            0 => (format!("(SELECT * FROM {written}) AS {name}"), Source { qualifiers: vec![name], columns }),
            1 => (format!("(TABLE {written}) AS {name}"), Source { qualifiers: vec![name], columns }),
            2 => {
                let columns: Vec<Column> = (0..)
                    .zip(columns)
                    .map(|(number, column)| Column { name: format!("r{number}"), kind: column.kind })
                    .collect();
                let list: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                let text = format!("{written} AS {name} ({})", list.join(", "));
                (text, Source { qualifiers: vec![name], columns })
            }
            3 => {
                let kept = columns.iter().filter(|column| column.name != "region").cloned().collect();
                let text = format!(
                    "TABLE(exclude_columns(input => TABLE({written}), columns => DESCRIPTOR(region))) AS {name}"
                );
                (text, Source { qualifiers: vec![name], columns: kept })
            }
            _ => (format!("{written} AS {name}"), Source { qualifiers: vec![name], columns }),
        }
    }

    /// A column of this type, or a value if there is none.
    fn column(&mut self, kind: Type, sources: &[Source]) -> String {
        let of: Vec<(usize, usize)> = sources
            .iter()
            .enumerate()
            .flat_map(|(at, source)| (0..source.columns.len()).map(move |column| (at, column)))
            .filter(|(at, column)| sources[*at].columns[*column].kind == kind)
            .collect();
        if of.is_empty() {
            return Self::literal(kind, self.below(5));
        }
        let (at, column) = of[self.below(of.len())];
        let name = sources[at].columns[column].name.clone();
        let name = self.written(&name);
        let qualifiers = &sources[at].qualifiers;
        // Alone, a column needs no qualifier.
        if sources.len() == 1 && self.chance(40) {
            return name;
        }
        let qualifier = qualifiers[self.below(qualifiers.len())].clone();
        format!("{qualifier}.{name}")
    }

    fn literal(kind: Type, number: usize) -> String {
        match kind {
            Int => (number * 37).to_string(),
            Text => format!("'{}'", ["EU", "US", "a", "nnn", "paid"][number]),
            Money => format!("DECIMAL '{}.50'", number * 111),
            Date => format!("DATE '19{}0-01-15'", number + 5),
            Time => format!("TIMESTAMP '2025-0{}-01 00:00:00.000000'", number + 1),
        }
    }

    fn value(&mut self, kind: Type, depth: u32, sources: &[Source], outer: &[Source]) -> String {
        if depth > 0 && self.chance(8) {
            let seen: Vec<Source> = sources.iter().chain(outer).cloned().collect();
            let (inner, _) = self.subquery(kind, depth, &seen);
            return format!("(SELECT max(o0) FROM ({inner}))");
        }
        let column = self.column(kind, sources);
        let other = self.column(kind, sources);
        match (kind, self.below(10)) {
            (_, 0) => Self::literal(kind, self.below(5)),
            (_, 1) => format!("coalesce({column}, {other})"),
            (_, 2) => {
                let condition = self.condition(0, sources, outer);
                format!("CASE WHEN {condition} THEN {column} ELSE {other} END")
            }
            (Int, 3) => format!("length({})", self.column(Text, sources)),
            (Int, 4) => format!("({column} + {other})"),
            (Int, 5) => format!("year({})", self.column(Date, sources)),
            (Int, 6) => format!("reduce(ARRAY[{column}, 1], 0, (s, x) -> s + x, s -> s)"),
            (Text, 3) => format!("upper({column})"),
            (Text, 4) => format!("substr({column}, 2, 3)"),
            (Text, 5) => format!("({column} || {other})"),
            (Text, 6) => format!("CAST({} AS varchar)", self.column(Money, sources)),
            (Text, 7) => format!("regexp_replace({column}, '[0-9]', '#')"),
            (Money, 3) => format!("CAST(abs({column}) AS decimal(12, 2))"),
            (Date, 3) => format!("date_trunc('month', {column})"),
            _ => column,
        }
    }

    /// A query of one column of this type.
    fn subquery(&mut self, kind: Type, depth: u32, outer: &[Source]) -> (String, Vec<Column>) {
        let (from, sources) = self.from(depth - 1, outer);
        let value = self.value(kind, 0, &sources, &[]);
        // What Trino cannot decorrelate is an error there: only equality with the query around it.
        let condition = if outer.is_empty() || self.chance(50) {
            self.condition(0, &sources, &[])
        } else {
            format!("{} = {}", self.key(&sources), self.key_of_outer(outer))
        };
        (
            format!("SELECT {value} AS o0 FROM {from} WHERE {condition}"),
            vec![Column { name: "o0".to_owned(), kind }],
        )
    }

    /// A number of the query around this one, with its qualifier.
    fn key_of_outer(&mut self, outer: &[Source]) -> String {
        let with: Vec<&Source> =
            outer.iter().filter(|source| source.columns.iter().any(|column| column.kind == Int)).collect();
        if with.is_empty() {
            return "1".to_owned();
        }
        let source = with[self.below(with.len())];
        let numbers: Vec<&Column> = source.columns.iter().filter(|column| column.kind == Int).collect();
        let column = numbers[self.below(numbers.len())];
        format!("{}.{}", source.qualifiers[0], column.name)
    }

    fn condition(&mut self, depth: u32, sources: &[Source], outer: &[Source]) -> String {
        let kind = TYPES[self.below(TYPES.len())];
        let column = self.column(kind, sources);
        let seen: Vec<Source> = sources.iter().chain(outer).cloned().collect();
        match self.below(14) {
            0 => format!("{column} IS NOT NULL"),
            1 => format!("NOT ({column} = {})", Self::literal(kind, self.below(5))),
            2 => {
                let (left, right) = (self.condition(0, sources, outer), self.condition(0, sources, outer));
                let word = self.pick(&["AND", "OR"]);
                format!("({left} {word} {right})")
            }
            3 if depth > 0 => {
                let (inner, _) = self.subquery(kind, depth, &seen);
                let word = self.pick(&["IN", "NOT IN"]);
                format!("{column} {word} ({inner})")
            }
            4 if depth > 0 => {
                let (inner, _) = self.subquery(Int, depth, &seen);
                format!("EXISTS ({inner})")
            }
            5 => format!("{} LIKE '%{}%'", self.column(Text, sources), self.below(9)),
            6 => {
                let (low, high) = (Self::literal(kind, 0), Self::literal(kind, 4));
                format!("{column} BETWEEN {low} AND {high}")
            }
            7 => {
                let list: Vec<String> = (0..3).map(|number| Self::literal(kind, number)).collect();
                format!("{column} IN ({})", list.join(", "))
            }
            8 if self.shallow => format!("10 / ({} - {}) >= 0", self.column(Int, sources), self.below(240)),
            9 => format!("TRY(CAST({} AS integer)) IS NULL", self.column(Text, sources)),
            10 => format!("any_match(ARRAY[{column}], x -> x = {})", self.column(kind, sources)),
            _ => {
                let sign = self.pick(&["=", "<>", "<", ">=", "IS DISTINCT FROM"]);
                format!("{column} {sign} {}", Self::literal(kind, self.below(5)))
            }
        }
    }
}
