//! What makes two questions the same: typed parts, each with its length, hashed with SHA-256. Two different questions
//! cannot meet, whatever is in their parts.

use aws_lc_rs::digest::{Context, SHA256};

use crate::catalog::{TableName, Version};

/// A question, with the states of all that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub(super) [u8; 32]);

impl Key {
    /// The bytes that name the question.
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// The question of that name.
    pub fn of_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Everything that a question is made of but the states of its tables and the day.
///
/// Not here, as Trino is never told of them: roles, paths, encodings of the rows, credentials. Not here, as no answer depends
/// on them: the trace token and the client's info.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The text that Trino would be sent: without comments, white space as we print it, with parameters.
    pub text: &'a str,
    /// The kind of the statement.
    pub kind: &'a str,
    /// Whether warnings and figures are withheld.
    pub restricted: bool,
    /// The session's catalog.
    pub catalog: Option<&'a str>,
    /// The session's schema.
    pub schema: Option<&'a str>,
    /// The time zone that Trino would be told.
    pub time_zone: Option<&'a [u8]>,
    /// The language that Trino would be told.
    pub language: Option<&'a [u8]>,
    /// What the client says it is: Trino may have properties for its sessions.
    pub source: Option<&'a [u8]>,
    /// The tags that Trino would be told, sorted and each once, but for those that are about the cache. The same is true of
    /// them.
    pub tags: &'a [&'a [u8]],
    /// The session properties, as they would be sent, in order.
    pub properties: &'a [&'a [u8]],
    /// What the client understands, in order and each once.
    pub capabilities: &'a [&'a str],
    /// The cluster, or the group of clusters that are alike.
    pub cluster: &'a str,
    /// The version of its Trino.
    pub trino: &'a str,
    /// The policies that decided.
    pub revision: &'a str,
    /// Who asks, where the answer depends on it.
    pub user: Option<&'a str>,
}

/// What is known of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Its state.
    At(Version),
    /// Nothing: a policy lets answers about it be given again for a time.
    Unknown,
}

/// What the parts are told apart by.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Tag {
    Format,
    Text,
    Kind,
    Restricted,
    Catalog,
    Schema,
    TimeZone,
    Language,
    Source,
    Label,
    Property,
    Capability,
    Cluster,
    Trino,
    Revision,
    User,
    Date,
    Table,
    Uuid,
    Snapshot,
    NumberOfSchema,
    Metadata,
    Unversioned,
}

/// The parts of a question that stay; [`Stem::key`] adds the rest.
#[derive(Clone)]
pub struct Stem(Context);

impl Parts<'_> {
    /// Takes in all parts.
    pub fn stem(&self) -> Stem {
        let mut context = Context::new(&SHA256);
        put(&mut context, Tag::Format, b"northgate cache 1");
        put(&mut context, Tag::Text, self.text.as_bytes());
        put(&mut context, Tag::Kind, self.kind.as_bytes());
        put(&mut context, Tag::Restricted, &[u8::from(self.restricted)]);
        let given = [
            (Tag::Catalog, self.catalog.map(str::as_bytes)),
            (Tag::Schema, self.schema.map(str::as_bytes)),
            (Tag::TimeZone, self.time_zone),
            (Tag::Language, self.language),
            (Tag::Source, self.source),
            (Tag::User, self.user.map(str::as_bytes)),
        ];
        for (tag, value) in given {
            if let Some(value) = value {
                put(&mut context, tag, value);
            }
        }
        self.tags.iter().for_each(|tag| put(&mut context, Tag::Label, tag));
        self.properties.iter().for_each(|property| put(&mut context, Tag::Property, property));
        self.capabilities.iter().for_each(|one| put(&mut context, Tag::Capability, one.as_bytes()));
        put(&mut context, Tag::Cluster, self.cluster.as_bytes());
        put(&mut context, Tag::Trino, self.trino.as_bytes());
        put(&mut context, Tag::Revision, self.revision.as_bytes());
        Stem(context)
    }
}

impl Stem {
    /// The key of the question on a day, where the answer depends on it, with each table that it reads.
    pub fn key<'t>(
        &self,
        date: Option<&str>,
        tables: impl IntoIterator<Item = (&'t TableName, &'t Stand)>,
    ) -> Key {
        let mut context = self.0.clone();
        if let Some(date) = date {
            put(&mut context, Tag::Date, date.as_bytes());
        }
        for (name, stand) in tables {
            for part in [&name.catalog, &name.schema, &name.table] {
                put(&mut context, Tag::Table, part.as_bytes());
            }
            match stand {
                Stand::Unknown => put(&mut context, Tag::Unversioned, &[]),
                // The time is in the metadata.
                Stand::At(Version { uuid, snapshot, schema, metadata, updated: _ }) => {
                    put(&mut context, Tag::Uuid, uuid.as_bytes());
                    for (tag, number) in [(Tag::Snapshot, snapshot), (Tag::NumberOfSchema, schema)] {
                        if let Some(number) = number {
                            put(&mut context, tag, &number.to_be_bytes());
                        }
                    }
                    put(&mut context, Tag::Metadata, metadata.as_bytes());
                }
            }
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Key(key)
    }
}

fn put(context: &mut Context, tag: Tag, value: &[u8]) {
    context.update(&[tag as u8]);
    context.update(&(value.len() as u64).to_be_bytes());
    context.update(value);
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use super::*;

    pub(in crate::cache) fn any_key(number: u64) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        Key(key)
    }

    const PARTS: Parts<'static> = Parts {
        text: "SELECT 1",
        kind: "SELECT",
        restricted: false,
        catalog: Some("lake"),
        schema: Some("gold"),
        time_zone: Some(b"Europe/Berlin"),
        language: Some(b"de"),
        source: Some(b"superset"),
        tags: &[b"bi"],
        properties: &[b"a=1", b"b=2"],
        capabilities: &["PARAMETRIC_DATETIME", "PATH"],
        cluster: "trino",
        trino: "476",
        revision: "r1",
        user: Some("ann"),
    };

    fn name(table: &str) -> TableName {
        TableName::new("lake", "gold", table).expect("a name")
    }

    fn version() -> Version {
        Version {
            uuid: "u".to_owned(),
            snapshot: Some(1),
            schema: Some(0),
            metadata: "s3://m/1".to_owned(),
            updated: 1,
        }
    }

    fn key(parts: Parts<'_>) -> Key {
        parts.stem().key(Some("2026-11-30"), [(&name("t"), &Stand::At(version()))])
    }

    /// A part that is left out makes two of these the same.
    #[test]
    fn each_part_counts() {
        let others = [
            ("text", Parts { text: "SELECT 2", ..PARTS }),
            ("kind", Parts { kind: "EXECUTE", ..PARTS }),
            ("restricted", Parts { restricted: true, ..PARTS }),
            ("catalog", Parts { catalog: Some("lakes"), ..PARTS }),
            ("no catalog", Parts { catalog: None, ..PARTS }),
            ("schema", Parts { schema: Some("silver"), ..PARTS }),
            ("time zone", Parts { time_zone: Some(b"UTC"), ..PARTS }),
            ("no time zone", Parts { time_zone: None, ..PARTS }),
            ("language", Parts { language: Some(b"en"), ..PARTS }),
            ("no language", Parts { language: None, ..PARTS }),
            ("source", Parts { source: Some(b"dbt"), ..PARTS }),
            ("no source", Parts { source: None, ..PARTS }),
            ("tag", Parts { tags: &[b"etl"], ..PARTS }),
            ("more tags", Parts { tags: &[b"bi", b"etl"], ..PARTS }),
            ("property", Parts { properties: &[b"a=1", b"b=3"], ..PARTS }),
            ("order of properties", Parts { properties: &[b"b=2", b"a=1"], ..PARTS }),
            ("fewer properties", Parts { properties: &[b"a=1"], ..PARTS }),
            ("joined properties", Parts { properties: &[b"a=1b=2"], ..PARTS }),
            ("capability", Parts { capabilities: &["PATH"], ..PARTS }),
            ("cluster", Parts { cluster: "other", ..PARTS }),
            ("Trino", Parts { trino: "477", ..PARTS }),
            ("revision", Parts { revision: "r2", ..PARTS }),
            ("user", Parts { user: Some("bob"), ..PARTS }),
            ("no user", Parts { user: None, ..PARTS }),
            // What moves from one part to the next.
            ("moved", Parts { catalog: Some("lakeg"), schema: Some("old"), ..PARTS }),
            ("swapped", Parts { catalog: Some("gold"), schema: Some("lake"), ..PARTS }),
            ("zone as language", Parts { time_zone: None, language: Some(b"Europe/Berlin"), ..PARTS }),
        ];
        let mut seen = HashSet::from([key(PARTS)]);
        for (what, parts) in others {
            assert!(seen.insert(key(parts)), "{what} does not count");
        }
        assert_eq!(key(PARTS), key(PARTS));
    }

    #[test]
    fn each_state_counts() {
        let stem = PARTS.stem();
        let at = |change: fn(&mut Version)| {
            let mut version = version();
            change(&mut version);
            Stand::At(version)
        };
        let (t, u) = (name("t"), name("u"));
        let (stand, other) = (at(|_| {}), at(|version| version.snapshot = Some(2)));
        let keys = [
            stem.key(None, []),
            stem.key(None, [(&t, &stand)]),
            stem.key(Some("2026-11-30"), [(&t, &stand)]),
            stem.key(Some("2026-12-01"), [(&t, &stand)]),
            stem.key(None, [(&u, &stand)]),
            stem.key(
                None,
                [(&TableName { catalog: "lakeg".to_owned(), schema: "old".to_owned(), ..name("t") }, &stand)],
            ),
            stem.key(None, [(&t, &Stand::Unknown)]),
            stem.key(None, [(&t, &at(|version| version.uuid = "v".to_owned()))]),
            stem.key(None, [(&t, &other)]),
            stem.key(None, [(&t, &at(|version| version.snapshot = None))]),
            stem.key(None, [(&t, &at(|version| version.schema = Some(1)))]),
            stem.key(None, [(&t, &at(|version| version.schema = None))]),
            stem.key(None, [(&t, &at(|version| (version.snapshot, version.schema) = (Some(0), Some(1))))]),
            stem.key(None, [(&t, &at(|version| version.metadata = "s3://m/2".to_owned()))]),
            stem.key(None, [(&t, &stand), (&u, &stand)]),
            stem.key(None, [(&t, &stand), (&u, &other)]),
            stem.key(None, [(&t, &other), (&u, &stand)]),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    }
}
