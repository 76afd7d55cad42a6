//! Files that somebody else replaces now and then, and the last good value read from them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::CredentialsError;

/// No token, key or CA bundle comes near this; `/dev/zero` does.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The value in a file, or in several that belong together, read again when one of them changed.
///
/// A projected volume replaces all its files at once, by pointing its `..data` symlink at a new
/// directory. So a token that rotates gives `ca.crt` a new inode and a new time stamp as well; the
/// value is parsed anew only where the bytes differ.
pub(super) struct ReloadingFile<T> {
    paths: Vec<PathBuf>,
    parse: Parse<T>,
    state: Mutex<State<T>>,
}

/// Makes a value of the content of each file.
type Parse<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, CredentialsError> + Send + Sync>;

struct State<T> {
    /// What the files looked like before they were last read; `None` where that could not be asked.
    stamps: Option<Vec<Stamp>>,
    contents: Vec<Vec<u8>>,
    value: T,
    /// The last reading failed, and the log says so already.
    failing: bool,
}

impl<T: Clone + 'static> ReloadingFile<T> {
    /// Reads a file for the first time, when there is no older value to fall back on.
    pub(super) fn open(
        path: PathBuf,
        parse: fn(&Path, &[u8]) -> Result<T, CredentialsError>,
    ) -> Result<ReloadingFile<T>, CredentialsError> {
        let own = path.clone();
        ReloadingFile::open_all(vec![path], move |contents| parse(&own, &contents[0]))
    }

    /// The same with several files; `parse` gets their contents in the same order.
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

    /// The file, the first if there are several.
    pub(super) fn path(&self) -> &Path {
        self.paths.first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// The value as the files have it now, at the price of one `stat` each. Files that cannot be used
    /// leave the value before in force, and are logged once until they can be used again.
    pub(super) fn current(&self) -> T {
        let stamps = stamps(&self.paths);
        let mut state = self.lock();
        if stamps.is_none() || stamps != state.stamps {
            self.read_into(&mut state, stamps);
        }
        state.value.clone()
    }

    /// As [`ReloadingFile::current`], but read whatever `stat` says: for when the value did not work.
    pub(super) fn reread(&self) -> T {
        let stamps = stamps(&self.paths);
        let mut state = self.lock();
        self.read_into(&mut state, stamps);
        state.value.clone()
    }

    /// `stamps` are from before the reading, so that a change in between is seen the next time.
    fn read_into(&self, state: &mut State<T>, stamps: Option<Vec<Stamp>>) {
        let outcome = read_all(&self.paths).and_then(|contents| {
            if contents == state.contents {
                return Ok(None);
            }
            (self.parse)(&contents).map(|value| Some((contents, value)))
        });
        state.stamps = stamps;
        match outcome {
            Ok(changed) => {
                if let Some((contents, value)) = changed {
                    state.contents = contents;
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

fn stamps(paths: &[PathBuf]) -> Option<Vec<Stamp>> {
    paths.iter().map(|path| Stamp::of(path)).collect()
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, CredentialsError> {
    paths.iter().map(|path| read(path)).collect()
}

/// The content of a file of a sensible size.
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

/// The content of a file; `None` if there are more bytes in it than so many.
pub(super) fn read_bounded(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}
