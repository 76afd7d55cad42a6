//! Files that may be replaced at any time, and the last valid value read from them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::CredentialsError;

/// Larger than any token, key or CA bundle, but smaller than `/dev/zero`.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The value of a file, or of several files that belong together. It is read again when one of them changes.
///
/// A projected volume replaces all its files at once by changing its `..data` symlink. So a rotated token also changes
/// the inode and the time stamp of `ca.crt`. The value is parsed again only if the bytes differ.
pub(super) struct ReloadingFile<T> {
    paths: Vec<PathBuf>,
    parse: Parse<T>,
    state: Mutex<State<T>>,
}

/// Parses the contents of the files.
type Parse<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, CredentialsError> + Send + Sync>;

struct State<T> {
    /// The stamps of the files before the last read; `None` if they could not be read.
    stamps: Option<Vec<Stamp>>,
    contents: Vec<Vec<u8>>,
    value: T,
    /// Whether the last read failed; that was logged.
    failing: bool,
}

impl<T: Clone + 'static> ReloadingFile<T> {
    /// Reads a file for the first time. A failure is an error, since there is no older value.
    pub(super) fn open(
        path: PathBuf,
        parse: fn(&Path, &[u8]) -> Result<T, CredentialsError>,
    ) -> Result<ReloadingFile<T>, CredentialsError> {
        let own = path.clone();
        ReloadingFile::open_all(vec![path], move |contents| parse(&own, &contents[0]))
    }

    /// The same for several files; `parse` gets their contents in the same order.
    pub(super) fn open_all(
        paths: Vec<PathBuf>,
        parse: impl Fn(&[Vec<u8>]) -> Result<T, CredentialsError> + Send + Sync + 'static,
    ) -> Result<ReloadingFile<T>, CredentialsError> {
        let stamps = stamps(&paths);
        let contents = read_all(&paths)?;
        let value = parse(&contents)?;
        let state = Mutex::new(State { stamps, contents, value, failing: false });
        Ok(ReloadingFile { paths, parse: Box::new(parse), state })
    }

    /// The path of the first file.
    pub(super) fn path(&self) -> &Path {
        self.paths.first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// The current value; costs one `stat` per file. If a file becomes unusable, the last value remains in use, and the
    /// problem is logged once until it is solved.
    pub(super) fn current(&self) -> T {
        let stamps = stamps(&self.paths);
        let mut state = self.lock();
        if stamps.is_none() || stamps != state.stamps {
            self.read_into(&mut state, stamps);
        }
        state.value.clone()
    }

    /// As [`ReloadingFile::current`], but reads the files even if `stat` shows no change, because the value did not
    /// work.
    pub(super) fn reread(&self) -> T {
        let stamps = stamps(&self.paths);
        let mut state = self.lock();
        self.read_into(&mut state, stamps);
        state.value.clone()
    }

    /// `stamps` are from before the read, so that the next call notices a change during the read.
    fn read_into(&self, state: &mut State<T>, stamps: Option<Vec<Stamp>>) {
        let outcome = read_all(&self.paths).and_then(|contents| {
            if contents == state.contents {
                return Ok(None);
            }
            (self.parse)(&contents).map(|value| Some((contents, value)))
        });
        match outcome {
            Ok(changed) => {
                state.stamps = stamps;
                if let Some((contents, value)) = changed {
                    state.contents = contents;
                    state.value = value;
                }
                state.failing = false;
            }
            Err(error) => {
                if !state.failing {
                    log::warn!("{error}; using the previous content");
                }
                state.failing = true;
                state.stamps = None; // the next call tries again
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Distinguishes versions of a file; symlinks are followed.
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

fn stamps(paths: &[PathBuf]) -> Option<Vec<Stamp>> {
    paths.iter().map(|path| Stamp::of(path)).collect()
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, CredentialsError> {
    paths.iter().map(|path| read(path)).collect()
}

/// The content of a file of limited size.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    match read_bounded(path, MAX_FILE_BYTES) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(CredentialsError::new(format!(
            "cannot use {}: it is larger than {MAX_FILE_BYTES} bytes",
            path.display()
        ))),
        Err(error) => Err(CredentialsError::new(format!("cannot read {}: {error}", path.display()))),
    }
}

/// The content of a file; `None` if it is longer than `most` bytes.
pub(super) fn read_bounded(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn files_that_could_not_be_read_are_read_again() {
        static WORKS: AtomicBool = AtomicBool::new(true);
        let path = std::env::temp_dir().join(format!("leader-elector-reloading-{}", std::process::id()));
        fs::write(&path, "old").unwrap();
        let file = ReloadingFile::open(path.clone(), |_, bytes| match WORKS.load(Ordering::SeqCst) {
            true => Ok(bytes.to_vec()),
            false => Err(CredentialsError::new("it cannot be read just now".to_owned())),
        })
        .unwrap();
        WORKS.store(false, Ordering::SeqCst);
        fs::write(&path, "new content").unwrap();
        assert_eq!(file.current(), b"old");
        WORKS.store(true, Ordering::SeqCst);
        assert_eq!(file.current(), b"new content");
        fs::remove_file(&path).unwrap();
    }
}
