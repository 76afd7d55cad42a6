//! Credentials from a program: the exec plugins of a kubeconfig
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>).
//!
//! A plugin runs on a thread of its own, one run at a time, and is killed after a timeout. A request waits for a run
//! only if there are no valid credentials. They are renewed before they expire, and the old ones are used meanwhile, so
//! no renewal of a lease waits for a plugin.

mod command;
mod process;
mod reply;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::sign::CertifiedKey;

pub(super) use self::command::PluginCommand;
use self::command::PluginFailure;
pub(super) use self::reply::ApiVersion;
use super::{CredentialsError, Token};
use crate::clock;
use crate::threads;
use crate::time::{Time, backoff};

/// Credentials are renewed in the last fifth of their lifetime, at most this long before they expire.
const AHEAD_AT_MOST: Duration = Duration::from_secs(60);

/// The minimum pause between runs while the last credentials are valid.
const PAUSE_AHEAD: Duration = Duration::from_secs(10);

/// The minimum pause between runs, and the longest pause after failed runs.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long to wait for a run to end when the program stops.
const LAST_RUN: Duration = Duration::from_millis(100);

/// A plugin, and its last credentials.
pub(super) struct Plugin(Arc<Shared>);

struct Shared {
    command: PluginCommand,
    state: Mutex<State>,
    ended: Condvar,
    /// No run may start or continue.
    stop: AtomicBool,
}

/// The credentials from a plugin: a token, a client certificate, or both.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) token: Option<Token>,
    pub(super) identity: Option<Arc<CertifiedKey>>,
    expires: Option<SystemTime>,
}

#[derive(Default)]
struct State {
    issued: Option<Use>,
    running: bool,
    /// When the last run ended, on the boot-time clock, and the pause after it.
    ended: Time,
    pause: Duration,
    /// The failure of the last run, and the number of consecutive failures.
    failure: Option<PluginFailure>,
    failures: u32,
}

/// The current credentials.
struct Use {
    what: Issued,
    /// The number of the run that returned them, from 1.
    run: u64,
    /// When to renew them.
    renew: Option<SystemTime>,
    refused: bool,
}

impl Use {
    fn is_valid(&self, now: SystemTime) -> bool {
        !self.refused && self.what.expires.is_none_or(|expires| now < expires)
    }
}

impl Plugin {
    /// Does not run the plugin, but fails if the program does not exist.
    pub(super) fn new(command: PluginCommand) -> Result<Plugin, CredentialsError> {
        command.find()?;
        let (state, ended, stop) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        Ok(Plugin(Arc::new(Shared { command, state, ended, stop })))
    }

    /// The current credentials, and the number of their run. If there are none, blocks until the deadline for a run.
    pub(super) fn current(&self, deadline: Instant) -> Result<(Issued, u64), CredentialsError> {
        let shared = &self.0;
        let mut state = shared.lock();
        loop {
            let now = SystemTime::now();
            let rested = clock::now().since(state.ended);
            if let Some(valid) = state.issued.as_ref().filter(|issued| issued.is_valid(now)) {
                let served = (valid.what.clone(), valid.run);
                if !state.running
                    && valid.renew.is_some_and(|renew| now >= renew)
                    && rested >= state.pause.max(PAUSE_AHEAD)
                {
                    shared.start(&mut state);
                }
                return Ok(served);
            }
            if !state.running && rested >= state.pause {
                shared.start(&mut state);
            }
            if !state.running {
                // It ran a moment ago: use its credentials again, so that the server repeats what is wrong with them.
                return match (&state.failure, &state.issued) {
                    (None, Some(issued)) => Ok((issued.what.clone(), issued.run)),
                    (Some(failure), _) => Err(failure.error.clone()),
                    (None, None) => Err(shared.command.fail("it was asked just now")),
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(shared.command.fail("it is still running"));
            }
            state = shared.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the plugin has succeeded or failed once. An error means a permanent failure, such as a wrong
    /// configuration, which another run is unlikely to fix.
    pub(super) fn first_answer(&self) -> Result<(), CredentialsError> {
        let shared = &self.0;
        let mut state = shared.lock();
        let nothing_came = |state: &State| state.issued.is_none() && state.failure.is_none();
        if nothing_came(&state) && !state.running {
            shared.start(&mut state);
        }
        let waiting = |state: &mut State| state.running && nothing_came(state);
        let state = shared.ended.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner);
        match (&state.issued, &state.failure) {
            (None, Some(failure)) if failure.for_good => Err(failure.error.clone()),
            _ => Ok(()),
        }
    }

    /// Kills the current run with its process group, and prevents further runs.
    pub(super) fn stop(&self) {
        let shared = &self.0;
        shared.stop.store(true, Ordering::Relaxed);
        let running = |state: &mut State| state.running;
        drop(shared.ended.wait_timeout_while(shared.lock(), LAST_RUN, running));
    }

    /// The server refused the credentials of this run, so a request must wait for the next run.
    pub(super) fn refuse(&self, run: u64) {
        let mut state = self.0.lock();
        if let Some(issued) = state.issued.as_mut().filter(|issued| issued.run == run) {
            issued.refused = true;
        }
    }
}

impl Shared {
    /// Starts a run on a thread of its own.
    fn start(self: &Arc<Shared>, state: &mut State) {
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        state.running = true;
        let shared = Arc::clone(self);
        let spawned = threads::spawn("exec plugin", move || {
            let outcome = shared.command.run(&shared.stop);
            shared.end(&mut shared.lock(), outcome);
        });
        if let Err(error) = spawned {
            let error = self.command.fail(&format!("cannot start a thread for it: {error}"));
            self.end(state, Err(PluginFailure { error, for_good: false }));
        }
    }

    /// Records the outcome of a run.
    fn end(&self, state: &mut State, outcome: Result<Issued, PluginFailure>) {
        let now = SystemTime::now();
        state.running = false;
        state.ended = clock::now();
        match outcome {
            Ok(what) => {
                let run = state.issued.as_ref().map_or(0, |issued| issued.run) + 1;
                let life = what.expires.and_then(|expires| expires.duration_since(now).ok());
                let renew = life.and_then(|life| now.checked_add(life - (life / 5).min(AHEAD_AT_MOST)));
                state.pause = PAUSES.0;
                (state.failure, state.failures) = (None, 0);
                state.issued = Some(Use { what, run, renew, refused: false });
            }
            Err(failure) => {
                state.pause = backoff(PAUSES.0, state.failures.saturating_add(1), PAUSES.1);
                // Without valid credentials, the failing request reports the error.
                let serves = state.issued.as_ref().is_some_and(|issued| issued.is_valid(now));
                if state.failures == 0 && serves && !self.stop.load(Ordering::Relaxed) {
                    log::warn!("{}; using its previous credentials", failure.error);
                }
                state.failures = state.failures.saturating_add(1);
                state.failure = Some(failure);
            }
        }
        self.ended.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    const LONG: Duration = Duration::from_secs(30);

    /// A plugin of this script, which runs in a directory of its own.
    fn plugin(name: &str, script: &str) -> (Plugin, PathBuf) {
        let dir = std::env::temp_dir().join(format!("leader-elector-exec-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let script = format!("cd '{}' && {script}", dir.display());
        let command = PluginCommand {
            program: PathBuf::from("/bin/sh"),
            args: vec!["-c".into(), script],
            env: Vec::new(),
            version: ApiVersion::V1,
            install_hint: None,
            cluster: None,
            origin: "a test".into(),
        };
        (Plugin::new(command).unwrap(), dir)
    }

    /// Makes it have handed out a token an hour ago that lasts for so long from now.
    fn handed_out(plugin: &Plugin, token: &str, left: Duration, renew: Duration) {
        let now = SystemTime::now();
        let what =
            Issued { token: Some(Token::of(token.as_bytes()).unwrap()), identity: None, expires: Some(now + left) };
        plugin.0.lock().issued = Some(Use { what, run: 1, renew: Some(now + renew), refused: false });
    }

    fn current(plugin: &Plugin, patience: Duration) -> Result<(String, u64), String> {
        let current = plugin.current(Instant::now() + patience).map_err(|error| error.to_string());
        current.map(|(issued, run)| (issued.token.unwrap().header().to_str().unwrap().to_owned(), run))
    }

    /// Ends by itself after a minute, whatever became of the test.
    const PRINT_TWO: &str = r#"i=0; while [ ! -e go ] && [ $i -lt 3000 ]; do i=$((i+1)); sleep 0.02; done
        echo '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": "two"}}'"#;

    #[test]
    fn the_next_is_fetched_while_the_old_one_serves() {
        let (plugin, dir) = plugin("ahead", PRINT_TWO);
        handed_out(&plugin, "one", LONG * 2, LONG);
        assert_eq!(current(&plugin, Duration::ZERO), Ok(("Bearer one".into(), 1)));
        assert!(!plugin.0.lock().running, "it is early yet");

        handed_out(&plugin, "one", LONG * 2, Duration::ZERO);
        for _ in 0..3 {
            assert_eq!(current(&plugin, Duration::ZERO), Ok(("Bearer one".into(), 1)));
            assert!(plugin.0.lock().running);
        }
        fs::write(dir.join("go"), "").unwrap();
        let deadline = Instant::now() + LONG;
        while current(&plugin, Duration::ZERO) != Ok(("Bearer two".into(), 2)) {
            assert!(Instant::now() < deadline);
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_run_that_fails_leaves_what_serves_in_force_and_is_not_repeated_at_once() {
        let (plugin, dir) = plugin("failing", "echo run >> runs; exit 1");
        handed_out(&plugin, "one", LONG * 2, Duration::ZERO);
        let deadline = Instant::now() + LONG;
        while plugin.0.lock().failures == 0 {
            assert_eq!(current(&plugin, Duration::ZERO), Ok(("Bearer one".into(), 1)));
            assert!(Instant::now() < deadline);
        }
        for _ in 0..10 {
            assert_eq!(current(&plugin, Duration::ZERO), Ok(("Bearer one".into(), 1)));
            assert!(!plugin.0.lock().running);
        }
        assert_eq!(fs::read_to_string(dir.join("runs")).unwrap(), "run\n");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_has_expired_serves_nobody() {
        let (plugin, dir) = plugin("expired", PRINT_TWO);
        handed_out(&plugin, "one", Duration::ZERO, Duration::ZERO);
        let error = current(&plugin, Duration::from_millis(50)).unwrap_err();
        assert!(error.contains("it is still running"), "{error}");
        fs::write(dir.join("go"), "").unwrap();
        assert_eq!(current(&plugin, LONG), Ok(("Bearer two".into(), 2)));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_was_refused_is_replaced_and_another_is_not() {
        let (plugin, dir) = plugin("refused", PRINT_TWO);
        fs::write(dir.join("go"), "").unwrap();
        handed_out(&plugin, "one", LONG * 2, LONG);
        plugin.refuse(2);
        assert_eq!(current(&plugin, LONG), Ok(("Bearer one".into(), 1)));
        plugin.refuse(1);
        assert_eq!(current(&plugin, LONG), Ok(("Bearer two".into(), 2)));
        // So soon after it was asked, the server may say again what is wrong with it.
        plugin.refuse(2);
        assert_eq!(current(&plugin, LONG), Ok(("Bearer two".into(), 2)));
        fs::remove_dir_all(dir).unwrap();
    }
}
