//! Long statements, each long in another way, for what takes more than linear time often does so for one way only.

/// A way for a statement to be long.
pub(crate) struct Shape {
    /// What repeats.
    pub(crate) name: &'static str,
    head: &'static str,
    /// One more of what repeats, by its number.
    part: fn(usize) -> String,
    tail: &'static str,
}

impl Shape {
    /// A statement of this shape of `bytes` bytes, or a little less.
    pub(crate) fn statement(&self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes);
        text.push_str(self.head);
        for number in 0.. {
            let part = (self.part)(number);
            if text.len() + part.len() + self.tail.len() > bytes {
                break;
            }
            text.push_str(&part);
        }
        text.push_str(self.tail);
        text
    }
}

/// All shapes.
pub(crate) const SHAPES: [Shape; 10] = [
    Shape {
        name: "values in a list",
        head: "SELECT p.amount FROM lake.gold.payments p WHERE p.payment_id IN (0",
        part: |number| format!(", {number}"),
        tail: ")",
    },
    Shape {
        name: "columns",
        head: "SELECT p.payment_id",
        part: |number| format!(", p.amount * {number} + p.fee AS c{number}"),
        tail: " FROM lake.gold.payments p",
    },
    Shape {
        name: "conditions",
        head: "SELECT count(*) FROM lake.gold.payments p WHERE p.is_refund",
        part: |number| format!(" AND (p.memo <> 'm{number}' OR NOT p.amount > {number})"),
        tail: "",
    },
    Shape {
        name: "unions",
        head: "SELECT name FROM lake.gold.products",
        part: |number| format!(" UNION ALL SELECT t{number}.name FROM lake.gold.customers t{number}"),
        tail: "",
    },
    Shape {
        name: "joins",
        head: "SELECT count(*) FROM lake.gold.customers c",
        part: |number| format!(" JOIN lake.gold.accounts a{number} ON a{number}.customer_id = c.customer_id"),
        tail: "",
    },
    Shape {
        name: "tables",
        head: "SELECT count(*) FROM lake.gold.customers",
        part: |number| format!(", t{number}"),
        tail: "",
    },
    Shape {
        name: "named queries",
        head: "WITH q AS (SELECT customer_id FROM lake.gold.customers)",
        part: |number| format!(", q{number} AS (SELECT q.customer_id FROM q WHERE q.customer_id > {number})"),
        tail: " SELECT * FROM q0",
    },
    Shape {
        name: "subqueries",
        head: "SELECT 1",
        part: |number| {
            format!(", (SELECT max(b.staff) FROM lake.gold.branches b WHERE b.branch_id = {number})")
        },
        tail: "",
    },
    Shape {
        name: "one literal",
        head: "SELECT p.amount FROM lake.gold.payments p WHERE p.memo = '",
        part: |_| "it''s ".to_owned(),
        tail: "'",
    },
    Shape {
        name: "comments",
        head: "SELECT p.amount FROM lake.gold.payments p ",
        part: |number| format!("/* {number} ' \" */ -- {number}\n"),
        tail: "",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_its_length() {
        for shape in &SHAPES {
            for bytes in [10_000, 100_000] {
                let length = shape.statement(bytes).len();
                assert!((bytes - 200..=bytes).contains(&length), "{}: {length}", shape.name);
            }
        }
    }
}
