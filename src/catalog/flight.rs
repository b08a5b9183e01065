//! What is being asked for: whoever wants the same waits for the same answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{CatalogError, Described, EngineError, TableName};

pub(super) type Answer = Result<Arc<Described>, CatalogError>;

type Slot = watch::Receiver<Option<Answer>>;

#[derive(Default)]
struct Board {
    /// Of each relation that is being asked for, the number of its flight and where the answer will be.
    under_way: BTreeMap<TableName, (u64, Slot)>,
    last: u64,
}

/// All flights. Their number is bounded by the callers, each of which waits.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<Board>>);

/// The duty to answer for one relation. Dropped, it tells the waiting that there is no answer.
pub(super) struct Flight {
    flights: Flights,
    name: TableName,
    number: u64,
    answer: watch::Sender<Option<Answer>>,
}

/// The right to one answer.
pub(super) struct Waiter(Slot);

impl Flights {
    fn board_of(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the flight for a relation. The first to come gets the flight itself as well.
    pub(super) fn board(&self, name: &TableName) -> (Waiter, Option<Flight>) {
        let mut board = self.board_of();
        if let Some((_, slot)) = board.under_way.get(name) {
            return (Waiter(slot.clone()), None);
        }
        let (answer, slot) = watch::channel(None);
        board.last += 1;
        let number = board.last;
        board.under_way.insert(name.clone(), (number, slot.clone()));
        let flight = Flight { flights: self.clone(), name: name.clone(), number, answer };
        (Waiter(slot), Some(flight))
    }

    /// Lets nobody else join, and the answer be used only by those who wait.
    pub(super) fn cancel(&self, name: &TableName) {
        self.board_of().under_way.remove(name);
    }
}

impl Flight {
    pub(super) fn name(&self) -> &TableName {
        &self.name
    }

    /// Answers all who wait; `keep` is called if the answer is good, and not outdated by a cancel.
    pub(super) fn land(self, answer: Answer, keep: impl FnOnce(TableName, Arc<Described>)) {
        {
            // Under the board's lock, so that a cancel is either before this, or forgets what is kept here.
            let board = self.flights.board_of();
            let current = board.under_way.get(&self.name).is_some_and(|(number, _)| *number == self.number);
            if let (true, Ok(described)) = (current, &answer) {
                keep(self.name.clone(), Arc::clone(described));
            }
        }
        self.answer.send_replace(Some(answer));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut board = self.flights.board_of();
        if board.under_way.get(&self.name).is_some_and(|(number, _)| *number == self.number) {
            board.under_way.remove(&self.name);
        }
    }
}

impl Waiter {
    /// Waits for the answer.
    pub(super) async fn answer(mut self) -> Answer {
        let given = self.0.wait_for(Option::is_some).await.ok().and_then(|given| (*given).clone());
        given.unwrap_or_else(|| {
            Err(CatalogError::Engine(EngineError::Unavailable("the question was given up".to_owned())))
        })
    }
}
