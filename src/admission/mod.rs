//! Stages 3 and 9: how fast a principal may ask, and how many queries run at once.
//!
//! Statements above the rate are refused, since nothing is lost by it; polls are held back. A statement is of a class
//! ([`Classes`]); a query that finds no slot waits ([`Slots`]), and is refused only where the queue is full. Who is next is
//! decided by `scheduler`, which is pure. What may be used in a day has bounds, too ([`Budgets`]). One gateway has the limits alone; several count together in Redis (`together`).

mod budget;
mod classes;
mod config;
mod error;
mod rate;
mod rule;
mod scheduler;
mod slots;
#[cfg(test)]
mod tests;
mod together;

pub use budget::{Account, Budgets, Limits as SpentLimits, Spent, Used};
pub use classes::{Classes, Classified, Facts, Told};
pub use config::{
    Budget as BudgetConfig, Class as ClassConfig, Config, Group as GroupConfig, Rule as RuleConfig,
};
pub use error::{AdmissionError, Whose};
pub use rate::{Metered, Rate};
pub use scheduler::{Reason, Standing};
pub use slots::{Load, Queued, Sharing, Slot, Slots, Ticket};
pub use together::Together;
