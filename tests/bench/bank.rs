//! The bank that the bench asks about: five tables of twelve columns, and the statements sent about them.

/// A table of `lake.gold`.
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Names and Trino types of its columns, in order.
    pub(crate) columns: [(&'static str, &'static str); 12],
}

/// The catalog of every table here.
pub(crate) const CATALOG: &str = "lake";
/// The schema of every table here.
pub(crate) const SCHEMA: &str = "gold";

/// The five tables, sixty columns.
pub(crate) const TABLES: [Table; 5] = [
    Table {
        name: "customers",
        columns: [
            ("customer_id", "bigint"),
            ("name", "varchar"),
            ("email", "varchar"),
            ("ssn", "varchar(11)"),
            ("phone", "varchar"),
            ("region", "varchar(8)"),
            ("country", "char(2)"),
            ("segment", "varchar"),
            ("date_of_birth", "date"),
            ("balance", "decimal(18,2)"),
            ("risk_rating", "integer"),
            ("opened_on", "date"),
        ],
    },
    Table {
        name: "accounts",
        columns: [
            ("account_id", "bigint"),
            ("customer_id", "bigint"),
            ("branch_id", "bigint"),
            ("kind", "varchar"),
            ("currency", "varchar(3)"),
            ("condition", "varchar"),
            ("opened_on", "date"),
            ("closed_on", "date"),
            ("balance", "decimal(18,2)"),
            ("credit_limit", "decimal(18,2)"),
            ("iban", "varchar"),
            ("interest_rate", "double"),
        ],
    },
    Table {
        name: "payments",
        columns: [
            ("payment_id", "bigint"),
            ("account_id", "bigint"),
            ("product_id", "bigint"),
            ("amount", "decimal(18,2)"),
            ("currency", "varchar(3)"),
            ("paid_at", "timestamp(6) with time zone"),
            ("card_number", "varchar(19)"),
            ("merchant", "varchar"),
            ("memo", "varchar"),
            ("channel", "varchar"),
            ("is_refund", "boolean"),
            ("fee", "decimal(18,2)"),
        ],
    },
    Table {
        name: "branches",
        columns: [
            ("branch_id", "bigint"),
            ("name", "varchar"),
            ("city", "varchar"),
            ("country", "char(2)"),
            ("region", "varchar(8)"),
            ("manager", "varchar"),
            ("street", "varchar"),
            ("postcode", "varchar"),
            ("opened_on", "date"),
            ("latitude", "double"),
            ("longitude", "double"),
            ("staff", "integer"),
        ],
    },
    Table {
        name: "products",
        columns: [
            ("product_id", "bigint"),
            ("name", "varchar"),
            ("category", "varchar"),
            ("subcategory", "varchar"),
            ("list_price", "decimal(18,2)"),
            ("currency", "varchar(3)"),
            ("launched_on", "date"),
            ("retired_on", "date"),
            ("is_active", "boolean"),
            ("supplier", "varchar"),
            ("weight_grams", "integer"),
            ("description", "varchar"),
        ],
    },
];

/// What the stub is to answer to a statement. The word is looked for in the text, in a literal, since a gateway may
/// rewrite all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Pages of a query that runs for ever, without rows.
    Poll,
    /// One such page, and then the end.
    Submit,
    /// A gigabyte of rows.
    Stream,
}

impl Mode {
    /// The mark in the statement.
    const fn mark(self) -> &'static str {
        match self {
            Self::Poll => "mode:poll",
            Self::Submit => "mode:submit",
            Self::Stream => "mode:stream",
        }
    }

    /// The letter that the slug of a link begins with.
    pub(crate) const fn letter(self) -> char {
        match self {
            Self::Poll => 'p',
            Self::Submit => 's',
            Self::Stream => 't',
        }
    }

    /// The mode that a slug begins with.
    pub(crate) fn of_slug(slug: &str) -> Option<Self> {
        [Self::Poll, Self::Submit, Self::Stream].into_iter().find(|mode| slug.starts_with(mode.letter()))
    }

    /// The mode of a statement.
    pub(crate) fn of_statement(text: &str) -> Option<Self> {
        [Self::Poll, Self::Submit, Self::Stream].into_iter().find(|mode| text.contains(mode.mark()))
    }

    /// A statement of this mode.
    pub(crate) fn statement(self) -> String {
        match self {
            Self::Submit => BI_QUERY.to_owned(),
            Self::Poll => format!(
                "SELECT c.region, count(*) AS payments, sum(p.amount) AS amount, max(p.paid_at) AS latest \
                 {JOINED} WHERE p.memo <> '{}' GROUP BY c.region",
                self.mark()
            ),
            Self::Stream => format!(
                "SELECT p.payment_id, c.name, c.email, p.amount, p.currency, p.paid_at, p.card_number, p.memo, \
                 p.is_refund, c.region {JOINED} WHERE p.memo <> '{}'",
                self.mark()
            ),
        }
    }

    /// Names and types of the columns of the answer.
    pub(crate) const fn columns(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Poll => &[
                ("region", "varchar(8)"),
                ("payments", "bigint"),
                ("amount", "decimal(38,2)"),
                ("latest", "timestamp(6) with time zone"),
            ],
            Self::Submit => &[
                ("region", "varchar(8)"),
                ("segment", "varchar"),
                ("category", "varchar"),
                ("branch_city", "varchar"),
                ("month", "timestamp(6) with time zone"),
                ("payments", "bigint"),
                ("customers", "bigint"),
                ("amount", "decimal(38,2)"),
                ("fees", "decimal(38,2)"),
                ("average", "decimal(18,2)"),
                ("largest balance", "decimal(18,2)"),
                ("refunds", "decimal(38,2)"),
            ],
            Self::Stream => &[
                ("payment_id", "bigint"),
                ("name", "varchar"),
                ("email", "varchar"),
                ("amount", "decimal(18,2)"),
                ("currency", "varchar(3)"),
                ("paid_at", "timestamp(6) with time zone"),
                ("card_number", "varchar(19)"),
                ("memo", "varchar"),
                ("is_refund", "boolean"),
                ("region", "varchar(8)"),
            ],
        }
    }
}

const JOINED: &str = "FROM lake.gold.payments p JOIN lake.gold.accounts a ON a.account_id = p.account_id \
                      JOIN lake.gold.customers c ON c.customer_id = a.customer_id";

/// The typical BI query of the numbers: 5 relations, 60 columns.
pub(crate) const BI_QUERY: &str = include_str!("bi_query.sql");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_of_its_mode() {
        for mode in [Mode::Poll, Mode::Submit, Mode::Stream] {
            assert_eq!(Mode::of_statement(&mode.statement()), Some(mode));
            assert_eq!(Mode::of_slug(&format!("{}0", mode.letter())), Some(mode));
        }
        assert_eq!(Mode::of_statement("select 1"), None);
    }
}
