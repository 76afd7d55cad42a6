//! Reads what the commands have written, and finds overlaps and gaps between their terms.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// When the command of a term wrote its first and its last line, as time since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub fencing_token: u64,
    pub first: Duration,
    pub last: Duration,
}

/// The terms in the order of their tokens.
pub fn terms(file: &str) -> Vec<Term> {
    let mut terms: BTreeMap<u64, Term> = BTreeMap::new();
    for line in file.lines() {
        let mut words = line.split(' ').map(str::parse::<u64>);
        let (Some(Ok(nanos)), Some(Ok(fencing_token))) = (words.next(), words.next()) else { panic!("{line:?}") };
        let at = Duration::from_nanos(nanos);
        let term = terms.entry(fencing_token).or_insert(Term { fencing_token, first: at, last: at });
        term.first = term.first.min(at);
        term.last = term.last.max(at);
    }
    terms.into_values().collect()
}

pub struct Summary {
    /// From the last line of a term to the first line of the next.
    pub gaps: Vec<Duration>,
    /// Pairs of terms that overlap, the older one first.
    pub overlaps: Vec<(Term, Term)>,
}

impl Summary {
    pub fn of(terms: &[Term]) -> Summary {
        let mut summary = Summary { gaps: Vec::new(), overlaps: Vec::new() };
        let mut older: Option<Term> = None;
        for term in terms {
            if let Some(older) = older {
                match term.first.checked_sub(older.last) {
                    Some(gap) if !gap.is_zero() => summary.gaps.push(gap),
                    _ => summary.overlaps.push((older, *term)),
                }
            }
            // The one that ran for longest.
            older = older.filter(|older| older.last > term.last).or(Some(*term));
        }
        summary.gaps.sort_unstable();
        summary
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9} {:>8}  ", self.gaps.len() + self.overlaps.len(), self.overlaps.len())?;
        let Some(last) = self.gaps.len().checked_sub(1) else { return Ok(()) };
        for percent in [0, 50, 99, 100] {
            let gap = self.gaps[last * percent / 100];
            write!(f, " {:>8.1}", gap.as_secs_f64() * 1000.0)?;
        }
        Ok(())
    }
}

#[test]
fn an_overlap_is_found() {
    let summary = |file: &str| Summary::of(&terms(file));
    let fine = summary("1000 7 ends\n3000 7 orphan\n4000 9 ends\n2000 7 ends\n");
    assert_eq!((fine.gaps.len(), fine.overlaps.len()), (1, 0));
    assert_eq!(summary("1000 7 ends\n4000 9 ends\n4001 7 orphan\n").overlaps.len(), 1);
    // Also with the term after the next one.
    assert_eq!(summary("1000 7 a\n2000 8 a\n3000 9 a\n4000 7 a\n").overlaps.len(), 2);
}
