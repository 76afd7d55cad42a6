//! A file that somebody else replaces now and then, and the last good value read from it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::CredentialsError;

/// No token and no CA bundle comes near this; `/dev/zero` does.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The value in a file, read again when the file changed.
///
/// A projected volume replaces all its files at once, by pointing its `..data` symlink at a new
/// directory. So a token that rotates gives `ca.crt` a new inode and a new time stamp as well; the
/// value is parsed anew only where the bytes differ.
pub(super) struct Followed<T> {
    path: PathBuf,
    parse: fn(&Path, &[u8]) -> Result<T, CredentialsError>,
    state: Mutex<State<T>>,
}

struct State<T> {
    /// What the file looked like before it was last read; `None` where it could not be asked.
    stamp: Option<Stamp>,
    bytes: Vec<u8>,
    value: T,
    /// The last reading failed, and the log says so already.
    failing: bool,
}

impl<T: Clone> Followed<T> {
    /// Reads the file for the first time, when there is no older value to fall back on.
    pub(super) fn open(
        path: PathBuf,
        parse: fn(&Path, &[u8]) -> Result<T, CredentialsError>,
    ) -> Result<Followed<T>, CredentialsError> {
        let stamp = Stamp::of(&path);
        let bytes = read(&path)?;
        let value = parse(&path, &bytes)?;
        Ok(Followed { path, parse, state: Mutex::new(State { stamp, bytes, value, failing: false }) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The value as the file has it now, at the price of one `stat`. A file that cannot be used
    /// leaves the value before it in force, and is logged once until it can be used again.
    pub(super) fn current(&self) -> T {
        let stamp = Stamp::of(&self.path);
        let mut state = self.lock();
        if stamp.is_none() || stamp != state.stamp {
            self.read_into(&mut state, stamp);
        }
        state.value.clone()
    }

    /// As [`Followed::current`], but read whatever `stat` says: for when the value did not work.
    pub(super) fn reread(&self) -> T {
        let stamp = Stamp::of(&self.path);
        let mut state = self.lock();
        self.read_into(&mut state, stamp);
        state.value.clone()
    }

    /// `stamp` is from before the reading, so that a change in between is seen the next time.
    fn read_into(&self, state: &mut State<T>, stamp: Option<Stamp>) {
        let outcome = read(&self.path).and_then(|bytes| {
            if bytes == state.bytes {
                return Ok(None);
            }
            (self.parse)(&self.path, &bytes).map(|value| Some((bytes, value)))
        });
        state.stamp = stamp;
        match outcome {
            Ok(changed) => {
                if let Some((bytes, value)) = changed {
                    state.bytes = bytes;
                    state.value = value;
                }
                state.failing = false;
            }
            Err(error) => {
                if !state.failing {
                    log::warn!("{error}; going on with what it held before");
                }
                state.failing = true;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tells one version of a file from the next, symlinks followed.
#[derive(PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = fs::metadata(path).ok()?;
        Some(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let fail = |error: io::Error| CredentialsError::new(format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    File::open(path).map_err(fail)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(CredentialsError::new(format!(
            "cannot use {}: it is larger than {MAX_FILE_BYTES} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}
