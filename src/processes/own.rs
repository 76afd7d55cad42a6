//! The children that this process has started and waits for, and those that it has inherited.
//!
//! The first process of a container, and a child subreaper (`PR_SET_CHILD_SUBREAPER`), inherit the orphans among their
//! descendants, and must reap them. Code that waits for any child would also take the exit status of children that
//! other code waits for. So this module knows those, and all code must start its children with [`spawn`].

use super::{Process, each_descendant};
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, getpid, waitid, waitpid};
use std::collections::BTreeSet;
use std::io;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// Read-locked while a child is started and not registered yet, and while orphans are kept.
static STARTING: RwLock<()> = RwLock::new(());

/// The children that other code waits for.
static KNOWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A child that is not reaped by others until this is dropped: wait for it before.
#[derive(Debug)]
pub struct OwnChild(Child);

/// Starts a child that the caller waits for.
pub fn spawn(command: &mut Command) -> io::Result<OwnChild> {
    let _starting = keep_orphans();
    let child = command.spawn()?;
    lock().insert(child.id().cast_signed());
    Ok(OwnChild(child))
}

/// The children that other code waits for now.
pub fn known() -> BTreeSet<i32> {
    lock().clone()
}

/// Keeps [`reap_orphans`] from reaping until this is dropped.
pub fn keep_orphans() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Reaps all children that no other code waits for.
///
/// While a child is being started, which may take long, or orphans are kept, it does nothing and returns `false`: try
/// again later.
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
