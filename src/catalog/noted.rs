//! What a decision was made from, to be held against another engine before that one gets the query.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Catalog, CatalogError, Described, TableName};

/// What a catalog has said. Clones are the same.
#[derive(Clone, Default)]
pub struct Noted(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    /// In the order of their names.
    described: Vec<Arc<Described>>,
    definitions: BTreeMap<TableName, Arc<str>>,
    /// Something was said in two ways: nothing agrees with that.
    torn: Option<TableName>,
}

impl Noted {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn described(&self, all: &[Arc<Described>]) {
        let mut notes = self.notes();
        for one in all {
            match notes.described.binary_search_by(|other| other.name.cmp(&one.name)) {
                Ok(at) => {
                    let before = std::mem::replace(&mut notes.described[at], Arc::clone(one));
                    if before != *one {
                        notes.torn = Some(one.name.clone());
                    }
                }
                Err(at) => notes.described.insert(at, Arc::clone(one)),
            }
        }
    }

    pub(super) fn defined(&self, view: &TableName, text: &Arc<str>) {
        let mut notes = self.notes();
        let before = notes.definitions.insert(view.clone(), Arc::clone(text));
        if before.is_some_and(|before| before != *text) {
            notes.torn = Some(view.clone());
        }
    }
}

impl Catalog {
    /// The first of the relations that were noted at another engine of which this one says something else; `None` if it
    /// says the same of all.
    ///
    /// # Errors
    /// It has no answer.
    pub async fn disagreement(&self, noted: &Noted) -> Result<Option<TableName>, CatalogError> {
        let (described, definitions) = {
            let notes = noted.notes();
            if let Some(torn) = &notes.torn {
                return Ok(Some(torn.clone()));
            }
            (notes.described.clone(), notes.definitions.clone())
        };
        for there in &described {
            let name = &there.name;
            if !self.says(name, there, definitions.get(name)).await? {
                // What is remembered here may be older.
                self.forget(std::slice::from_ref(name));
                if !self.says(name, there, definitions.get(name)).await? {
                    return Ok(Some(name.clone()));
                }
            }
        }
        Ok(None)
    }

    async fn says(
        &self,
        name: &TableName,
        there: &Arc<Described>,
        definition: Option<&Arc<str>>,
    ) -> Result<bool, CatalogError> {
        let here = match self.describe(std::slice::from_ref(name)).await {
            Ok(here) => here,
            Err(CatalogError::NotFound(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        if here.first() != Some(there) {
            return Ok(false);
        }
        let Some(definition) = definition else { return Ok(true) };
        match self.definition(name).await {
            Ok(here) => Ok(here == *definition),
            Err(CatalogError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, RelationKind, Type};
    use super::*;

    fn relation(kind: RelationKind, ty: &str) -> Described {
        let columns = vec![Column { name: "id".to_owned(), ty: Type::parse(ty) }];
        Described { name: TableName::new("c", "s", "t").expect("a name"), kind, columns }
    }

    /// Whether one engine agrees with another.
    #[tokio::test]
    async fn what_was_decided_with_one_engine_holds_at_another_that_says_the_same() {
        async fn check(here: Vec<Described>, text: &str, expect: bool) {
            let name = TableName::new("c", "s", "t").expect("a name");
            let there = Catalog::of(
                vec![relation(RelationKind::View, "bigint")],
                vec![(name.clone(), "SELECT 1".to_owned())],
            );
            let (noting, noted) = there.noting();
            noting.describe(std::slice::from_ref(&name)).await.expect("known");
            noting.definition(&name).await.expect("known");
            let what = format!("{here:?} {text}");
            let here = Catalog::of(here, vec![(name.clone(), text.to_owned())]);
            let disagreement = here.disagreement(&noted).await.expect("an answer");
            assert_eq!(disagreement, (!expect).then_some(name), "{what}");
        }
        check(vec![relation(RelationKind::View, "bigint")], "SELECT 1", true).await;
        check(vec![relation(RelationKind::View, "bigint")], "SELECT 2", false).await;
        check(vec![relation(RelationKind::View, "integer")], "SELECT 1", false).await;
        check(vec![relation(RelationKind::Table, "bigint")], "SELECT 1", false).await;
        check(vec![], "SELECT 1", false).await;
    }

    #[tokio::test]
    async fn what_changed_while_it_was_decided_agrees_with_nothing() {
        let table = Arc::new(relation(RelationKind::Table, "bigint"));
        let noted = Noted::default();
        noted.described(&[Arc::clone(&table)]);
        let here = Catalog::of(vec![(*table).clone()], Vec::new());
        assert_eq!(here.disagreement(&noted).await, Ok(None));
        noted.described(&[Arc::new(relation(RelationKind::Table, "integer"))]);
        noted.described(&[Arc::clone(&table)]);
        assert_eq!(here.disagreement(&noted).await, Ok(Some(table.name.clone())));
    }
}
