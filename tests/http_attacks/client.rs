//! The client that must be answered during attacks: it requests `/` on a new connection every 20 ms.

use crate::attacks::{Attack, Target};
use crate::common::http::sample;
use crate::common::{self, Elector};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const PACE: Duration = Duration::from_millis(20);

/// A port that answers `/` with the name of the leader.
pub struct Port {
    pub address: SocketAddr,
    pub leader: String,
    /// Whether it counts the requests for each path on `/metrics`.
    pub has_metrics: bool,
}

impl From<&Elector> for Port {
    fn from(elector: &Elector) -> Port {
        Port { address: elector.address(), leader: elector.id.clone(), has_metrics: true }
    }
}

/// The outcome of its requests.
#[derive(Debug, Default)]
pub struct Questions {
    /// How long each answer took, from the connect to the last byte.
    pub answered: Vec<Duration>,
    /// The outcome of the other requests.
    pub unanswered: Vec<String>,
}

impl Questions {
    /// Asks the port of a leader during an attack, until `enough` returns true. Panics if the attack does not reach its
    /// path.
    pub fn during(attack: &Attack, port: &Port, enough: impl Fn(&Questions) -> bool) -> Questions {
        let target = Target::new(port.address);
        thread::scope(|scope| {
            scope.spawn(|| attack.run(&target));
            // Stops the attack also if a condition is not reached; otherwise the scope would never end.
            let _end = StopOnDrop(&target);
            common::wait_until(attack.name, || target.has_started());
            let questions = Questions::ask(port, enough);
            if let Some(path) = attack.path.filter(|_| port.has_metrics) {
                let series = format!("leader_elector_http_requests_total{{path=\"{path}\",code=\"200\"}}");
                let answered =
                    || common::ask(port.address, "/metrics").ok().and_then(|(_, page)| sample(&page, &series));
                common::wait_until(&series, || answered().is_some_and(|count| count > 100.0));
            }
            questions
        })
    }

    /// Asks until `enough` returns true.
    pub fn ask(port: &Port, enough: impl Fn(&Questions) -> bool) -> Questions {
        let expected = (200, format!("{{\"name\":\"{}\"}}", port.leader));
        let mut questions = Questions::default();
        while !enough(&questions) {
            let since = Instant::now();
            match common::ask(port.address, "/") {
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
