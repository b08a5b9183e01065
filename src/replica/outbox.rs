//! Reports that wait to be sent: one for each query, whatever happened to it meanwhile.

use std::collections::HashMap;

use super::Report;

/// The most queries that are told of. Beyond it those are left out whose client was only seen.
const MOST: usize = 50_000;

#[derive(Default)]
pub(super) struct Outbox(HashMap<(u64, String), Report>);

impl Outbox {
    /// Adds what happened to a query of another gateway.
    pub(super) fn add(&mut self, origin: u64, report: Report) {
        let key = (origin, report.query.clone());
        if let Some(before) = self.0.get_mut(&key) {
            before.add(report);
        } else if self.0.len() < MOST {
            self.0.insert(key, report);
        } else if report.ending.is_some() {
            // An end is not left out; somebody who was only seen is, and comes again.
            self.0.retain(|_, other| other.ending.is_some() || !other.pages.is_empty());
            if self.0.len() < 2 * MOST {
                self.0.insert(key, report);
            }
        }
    }

    /// Puts back what could not be sent, before what was added since.
    pub(super) fn put_back(&mut self, reports: Vec<(u64, Report)>) {
        for (origin, mut report) in reports {
            if let Some(later) = self.0.remove(&(origin, report.query.clone())) {
                report.add(later);
            }
            self.add(origin, report);
        }
    }

    /// All reports, by the gateway that they are for.
    pub(super) fn take(&mut self) -> HashMap<u64, Vec<Report>> {
        let mut all: HashMap<u64, Vec<Report>> = HashMap::new();
        for ((origin, _), report) in self.0.drain() {
            all.entry(origin).or_default().push(report);
        }
        all
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Ending, Page};
    use super::*;

    fn page(query: &str, number: u64) -> Report {
        let next = Some(("c".to_owned(), format!("/{}", number + 1)));
        Report { pages: vec![Page { number, rows: 1, bytes: 2, sending: None }], next, ..Report::of(query) }
    }

    #[test]
    fn what_happens_to_a_query_is_one_report() {
        let mut outbox = Outbox::default();
        outbox.add(1, page("q", 1));
        outbox.add(1, Report::of("q"));
        outbox.add(2, page("q", 9));
        outbox.add(1, page("r", 1));
        let first = outbox.take();
        assert!(outbox.is_empty());
        assert_eq!((first[&1].len(), first[&2].len()), (2, 1));
        // It could not be sent, and more has happened.
        outbox.add(1, page("q", 2));
        outbox.add(1, Report { ending: Some(Ending::Finished), ..page("q", 3) });
        outbox.add(1, Report { ending: Some(Ending::Canceled), ..Report::of("q") });
        let failed =
            first.into_iter().flat_map(|(origin, all)| all.into_iter().map(move |one| (origin, one)));
        outbox.put_back(failed.collect());
        let mut again = outbox.take().remove(&1).expect("of the first");
        again.sort_by(|a, b| a.query.cmp(&b.query));
        let report = &again[0];
        assert_eq!(report.pages.iter().map(|page| page.number).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(report.next, Some(("c".to_owned(), "/4".to_owned())));
        assert_eq!(report.ending, Some(Ending::Finished), "the first to end it decides");
    }

    #[test]
    fn wishes_to_cancel_stand_beside_what_happened() {
        let mut outbox = Outbox::default();
        outbox.add(1, Report::cancel("q", "ann"));
        outbox.add(1, Report::cancel("q", "bob"));
        outbox.add(1, Report::cancel("q", "ann"));
        let report = outbox.take().remove(&1).expect("of the first").remove(0);
        assert_eq!(report.cancel_for, ["ann", "bob"]);
        assert!(!report.is_of_client(), "whoever knows an id keeps no query of another's alive");
        outbox.put_back(vec![(1, report)]);
        outbox.add(1, page("q", 1));
        let report = outbox.take().remove(&1).expect("of the first").remove(0);
        assert_eq!((report.cancel_for.len(), report.pages.len(), report.is_of_client()), (2, 1, true));
        assert!(Report::of("q").is_of_client());
    }

    #[test]
    fn it_is_bounded_and_ends_are_kept() {
        let mut outbox = Outbox::default();
        for number in 0..MOST + 10 {
            outbox.add(1, Report::of(&format!("q{number}")));
        }
        outbox.add(1, Report { ending: Some(Ending::Finished), ..Report::of("late") });
        let all = outbox.take().remove(&1).expect("some");
        assert!(all.iter().any(|report| report.query == "late") && all.len() <= MOST + 1, "{}", all.len());
    }
}
