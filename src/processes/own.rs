//! The children that this process has started and waits for, and those that it has inherited.
//!
//! The first process of a container, and a child subreaper (`PR_SET_CHILD_SUBREAPER`), get the orphans among their
//! descendants as children, and have to take note of their end. Whoever waits for any child takes away the exit status of
//! the children that others wait for. So those are known here, and everybody starts them by [`spawn`].

use super::{Process, each_descendant};
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, getpid, waitid, waitpid};
use std::collections::BTreeSet;
use std::io;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Held for reading while a child is started and not yet known.
static STARTING: RwLock<()> = RwLock::new(());

/// The children that somebody waits for.
static KNOWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A child whose exit status is left alone until this is dropped: wait for it before.
#[derive(Debug)]
pub struct OwnChild(Child);

/// Starts a child that the caller waits for.
pub fn spawn(command: &mut Command) -> io::Result<OwnChild> {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let child = command.spawn()?;
    lock().insert(child.id().cast_signed());
    Ok(OwnChild(child))
}

/// The children that somebody waits for now.
pub fn known() -> BTreeSet<i32> {
    lock().clone()
}

/// Takes note of the end of each child that nobody waits for.
///
/// Does nothing while a child is being started, which may take long: try again later then. `false` says so.
pub fn reap_orphans() -> bool {
    let Ok(_alone) = STARTING.try_write() else { return false };
    let any = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
    if !matches!(any, Ok(Some(_))) {
        return true;
    }
    let me = getpid();
    let mut ended = Vec::new();
    let note = |process: Process| {
        if process.parent == me.as_raw_pid() && process.has_ended {
            ended.push(process.pid);
        }
    };
    let looked = each_descendant(me, &known(), note);
    for pid in ended {
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
    looked.is_ok()
}

fn lock() -> MutexGuard<'static, BTreeSet<i32>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Deref for OwnChild {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for OwnChild {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        lock().remove(&self.0.id().cast_signed());
    }
}
