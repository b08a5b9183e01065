//! Polaris's grants, and what they let their holders do.
//!
//! A grant on a catalog holds for all that is in it, one on a namespace for that and what is below it. Which privileges
//! stand for others was recorded from Polaris 1.7, one by one.

use serde::Deserialize;

/// What somebody may want to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read a table's rows.
    ReadTable,
    /// Write a table's rows.
    WriteTable,
    /// Change what a table is.
    AlterTable,
    /// Make a table in a namespace.
    CreateTable,
    /// Drop a table.
    DropTable,
    /// Read a view.
    ReadView,
    /// Change what a view is.
    AlterView,
    /// Make a view in a namespace.
    CreateView,
    /// Drop a view.
    DropView,
    /// Make a namespace.
    CreateNamespace,
    /// Drop a namespace.
    DropNamespace,
}

impl Right {
    /// The privileges of which one gives the right.
    const fn privileges(self) -> &'static [&'static str] {
        match self {
            Self::ReadTable => &["TABLE_READ_DATA", "TABLE_WRITE_DATA", "CATALOG_MANAGE_CONTENT"],
            Self::WriteTable => &["TABLE_WRITE_DATA", "CATALOG_MANAGE_CONTENT"],
            Self::AlterTable => &[
                "TABLE_WRITE_PROPERTIES",
                "TABLE_WRITE_DATA",
                "TABLE_FULL_METADATA",
                "CATALOG_MANAGE_METADATA",
                "CATALOG_MANAGE_CONTENT",
            ],
            Self::CreateTable => {
                &["TABLE_CREATE", "TABLE_FULL_METADATA", "CATALOG_MANAGE_METADATA", "CATALOG_MANAGE_CONTENT"]
            }
            Self::DropTable => {
                &["TABLE_DROP", "TABLE_FULL_METADATA", "CATALOG_MANAGE_METADATA", "CATALOG_MANAGE_CONTENT"]
            }
            Self::ReadView => &[
                "VIEW_READ_PROPERTIES",
                "VIEW_WRITE_PROPERTIES",
                "VIEW_FULL_METADATA",
                "CATALOG_MANAGE_METADATA",
                "CATALOG_MANAGE_CONTENT",
            ],
            Self::AlterView => &[
                "VIEW_WRITE_PROPERTIES",
                "VIEW_FULL_METADATA",
                "CATALOG_MANAGE_METADATA",
                "CATALOG_MANAGE_CONTENT",
            ],
            Self::CreateView => {
                &["VIEW_CREATE", "VIEW_FULL_METADATA", "CATALOG_MANAGE_METADATA", "CATALOG_MANAGE_CONTENT"]
            }
            Self::DropView => {
                &["VIEW_DROP", "VIEW_FULL_METADATA", "CATALOG_MANAGE_METADATA", "CATALOG_MANAGE_CONTENT"]
            }
            Self::CreateNamespace => &[
                "NAMESPACE_CREATE",
                "NAMESPACE_FULL_METADATA",
                "CATALOG_MANAGE_METADATA",
                "CATALOG_MANAGE_CONTENT",
            ],
            Self::DropNamespace => &[
                "NAMESPACE_DROP",
                "NAMESPACE_FULL_METADATA",
                "CATALOG_MANAGE_METADATA",
                "CATALOG_MANAGE_CONTENT",
            ],
        }
    }

    /// Whether it is about what is not there yet: a right in a namespace, or to make one.
    pub fn makes(self) -> bool {
        matches!(self, Self::CreateTable | Self::CreateView | Self::CreateNamespace)
    }

    fn is_about_views(self) -> bool {
        matches!(self, Self::ReadView | Self::AlterView | Self::CreateView | Self::DropView)
    }
}

/// The grants of one catalog role. Those on what is not known here give nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Grants {
    #[serde(default)]
    grants: Vec<Grant>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Grant {
    Catalog {
        privilege: String,
    },
    Namespace {
        namespace: Vec<String>,
        privilege: String,
    },
    Table {
        namespace: Vec<String>,
        #[serde(rename = "tableName")]
        table: String,
        privilege: String,
    },
    View {
        namespace: Vec<String>,
        #[serde(rename = "viewName")]
        view: String,
        privilege: String,
    },
    #[serde(other)]
    Other,
}

/// What a right is about: a namespace, or something in it.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// The namespace, level by level.
    pub namespace: &'a [&'a str],
    /// The table or the view in it; none where the namespace itself is meant.
    pub name: Option<&'a str>,
}

/// What a grant covers of all that there is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// The whole catalog.
    Catalog,
    /// A namespace and those below it.
    Namespace(Vec<String>),
    /// One table or view.
    One(Vec<String>, String),
}

impl Grants {
    /// Whether they give a right to something.
    pub fn give(&self, right: Right, to: Object<'_>) -> bool {
        self.extents(right).any(|extent| extent.covers(to))
    }

    /// All that they give a right to.
    pub fn extents(&self, right: Right) -> impl Iterator<Item = Extent> {
        let gives = move |privilege: &str| right.privileges().contains(&privilege);
        self.grants.iter().filter_map(move |grant| match grant {
            Grant::Catalog { privilege } => gives(privilege).then_some(Extent::Catalog),
            Grant::Namespace { namespace, privilege } => {
                gives(privilege).then(|| Extent::Namespace(namespace.clone()))
            }
            Grant::Table { namespace, table: name, privilege } if !right.is_about_views() => {
                gives(privilege).then(|| Extent::One(namespace.clone(), name.clone()))
            }
            Grant::View { namespace, view: name, privilege } if right.is_about_views() => {
                gives(privilege).then(|| Extent::One(namespace.clone(), name.clone()))
            }
            Grant::Table { .. } | Grant::View { .. } | Grant::Other => None,
        })
    }
}

impl Extent {
    fn covers(&self, object: Object<'_>) -> bool {
        match self {
            Self::Catalog => true,
            Self::Namespace(namespace) => {
                namespace.len() <= object.namespace.len()
                    && namespace.iter().zip(object.namespace).all(|(a, b)| a == b)
            }
            Self::One(namespace, name) => {
                object.name == Some(name)
                    && namespace.len() == object.namespace.len()
                    && namespace.iter().zip(object.namespace).all(|(a, b)| a == b)
            }
        }
    }
}
