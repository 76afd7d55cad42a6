//! The client that must be answered during attacks: it requests `/` on a new connection every 20 ms.

use crate::attacks::{Attack, Target};
use crate::common::http::sample;
use crate::common::{self, Elector};
use std::thread;
use std::time::{Duration, Instant};

const PACE: Duration = Duration::from_millis(20);

/// The outcome of its requests.
#[derive(Debug, Default)]
pub struct Questions {
    /// How long each answer took, from the connect to the last byte.
    pub answered: Vec<Duration>,
    /// The outcome of the other requests.
    pub unanswered: Vec<String>,
}

impl Questions {
    /// Asks `elector`, which leads, during an attack, until `enough` returns true. Panics if the attack does not reach
    /// its path.
    pub fn during(attack: &Attack, elector: &Elector, enough: impl Fn(&Questions) -> bool) -> Questions {
        let target = Target::new(elector.address());
        thread::scope(|scope| {
            scope.spawn(|| attack.run(&target));
            // Stops the attack also if a condition is not reached; otherwise the scope would never end.
            let _end = StopOnDrop(&target);
            common::wait_until(attack.name, || target.has_started());
            let questions = Questions::ask(elector, enough);
            if let Some(path) = attack.path {
                let series = format!("leader_elector_http_requests_total{{path=\"{path}\",code=\"200\"}}");
                let answered = || elector.ask("/metrics").ok().and_then(|(_, page)| sample(&page, &series));
                common::wait_until(&series, || answered().is_some_and(|count| count > 100.0));
            }
            questions
        })
    }

    /// Asks until `enough` returns true.
    pub fn ask(elector: &Elector, enough: impl Fn(&Questions) -> bool) -> Questions {
        let expected = (200, format!("{{\"name\":\"{}\"}}", elector.id));
        let mut questions = Questions::default();
        while !enough(&questions) {
            let since = Instant::now();
            match common::ask(elector.address(), "/") {
                Ok(answer) if answer == expected => questions.answered.push(since.elapsed()),
                other => questions.unanswered.push(format!("{other:?}")),
            }
            thread::sleep(PACE.saturating_sub(since.elapsed()));
        }
        questions
    }

    pub fn asked(&self) -> usize {
        self.answered.len() + self.unanswered.len()
    }
}

struct StopOnDrop<'a>(&'a Target);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
