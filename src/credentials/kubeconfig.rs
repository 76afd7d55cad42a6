//! Kubeconfig files: merges them, and selects a cluster and a user.
//!
//! The rules are kubectl's: the first file with an entry of a name defines that entry, and the first file with a
//! current context defines that. The kubeconfig files are read once. The files they name are read again when they
//! change.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::CredentialsError;
use super::field::Field;
use super::reloading_file;
use super::yaml::{self, Node, Value};

/// Enough for hundreds of clusters with certificates, but not for `/dev/zero`.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// The maximum number of names listed in a message.
const MOST_NAMES: usize = 10;

/// Where kubectl looks for kubeconfig files without a flag.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// `$KUBECONFIG`: files, separated by colons.
    pub(super) kubeconfig: Option<OsString>,
    /// `$HOME`, which may contain `.kube/config`.
    pub(super) home: Option<OsString>,
}

/// The parsed files.
pub(super) struct Kubeconfig {
    files: Vec<File>,
    /// The files that were looked for, for messages.
    looked_for: String,
}

struct File {
    path: PathBuf,
    root: Node,
}

/// The selected context.
pub(super) struct Choice<'a> {
    pub(super) context: String,
    /// The file of the context.
    pub(super) path: &'a Path,
    pub(super) cluster: Field<'a>,
    /// `None` for a context without a user.
    pub(super) user: Option<Field<'a>>,
}

impl Kubeconfig {
    /// The file of a flag, which must exist.
    pub(super) fn of(path: &Path) -> Result<Kubeconfig, CredentialsError> {
        let looked_for = path.display().to_string();
        match File::read(path) {
            Ok(file) => Ok(Kubeconfig { files: vec![file?], looked_for }),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// The files of `$KUBECONFIG`, or else `~/.kube/config`. Missing files are skipped.
    pub(super) fn find(places: &Places) -> Result<Kubeconfig, CredentialsError> {
        let listed = places.kubeconfig.as_deref().filter(|list| !list.is_empty());
        let paths: Vec<PathBuf> = match (listed, &places.home) {
            (Some(list), _) => std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect(),
            (None, Some(home)) if !home.is_empty() => vec![Path::new(home).join(".kube/config")],
            (None, _) => Vec::new(),
        };
        let looked_for: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let looked_for = match looked_for.is_empty() {
            true => "(neither $KUBECONFIG nor $HOME is set)".to_owned(),
            false => looked_for.join(", "),
        };
        let mut files = Vec::new();
        for path in &paths {
            match File::read(path) {
                Ok(file) => files.push(file?),
                Err(error) if is_missing(&error) => {}
                // Not readable, such as /root/.kube/config for other users. Nobody asked for it, so it is skipped.
                Err(error) if listed.is_none() && error.kind() == io::ErrorKind::PermissionDenied => {
                    log::warn!("skipping {}: {error}", path.display());
                }
                Err(error) => return Err(unreadable(path, &error)),
            }
        }
        if listed.is_some() && files.is_empty() {
            log::warn!("no file of $KUBECONFIG exists: {looked_for}");
        }
        Ok(Kubeconfig { files, looked_for })
    }

    /// Whether any file exists.
    pub(super) fn is_there(&self) -> bool {
        !self.files.is_empty()
    }

    /// The files that were looked for, for error messages.
    pub(super) fn looked_for(&self) -> &str {
        &self.looked_for
    }

    /// The cluster and the user of a context, by default the current one; `None` if no context is selected.
    pub(super) fn choose(&self, context: Option<&str>) -> Result<Option<Choice<'_>>, CredentialsError> {
        let (name, said_by) = match context {
            Some(name) => (name.to_owned(), "--context".to_owned()),
            None => match self.current_context()? {
                Some((name, origin)) => (name, origin),
                None => return Ok(None),
            },
        };
        let Some((file, context)) = self.entry("contexts", "context", &name)? else {
            return Err(self.missing("context", "contexts", &name, &said_by));
        };
        let named = |kind: &str, list: &str| {
            let field = context.get(kind)?;
            let Some(wanted) = field.text()? else { return Ok(None) };
            match self.entry(list, kind, wanted)? {
                Some((_, entry)) => Ok(Some(entry)),
                None => Err(self.missing(kind, list, wanted, &field.origin())),
            }
        };
        let user = named("user", "users")?;
        let Some(cluster) = named("cluster", "clusters")? else {
            return Err(context.get("cluster")?.fail("it is missing; name one of the clusters"));
        };
        Ok(Some(Choice { context: name, path: &file.path, cluster, user }))
    }

    fn current_context(&self) -> Result<Option<(String, String)>, CredentialsError> {
        for file in &self.files {
            let field = file.field().get("current-context")?;
            if let Some(name) = field.text()? {
                return Ok(Some((name.to_owned(), field.origin())));
            }
        }
        Ok(None)
    }

    /// The first entry with this name.
    fn entry(&self, list: &str, kind: &str, name: &str) -> Result<Option<(&File, Field<'_>)>, CredentialsError> {
        for file in &self.files {
            let mut found: Option<Field> = None;
            for entry in file.field().get(list)?.list()? {
                if entry.get("name")?.text()? != Some(name) {
                    continue;
                }
                if found.is_some() {
                    return Err(entry.get("name")?.fail(&format!("{name:?} occurs twice in this list")));
                }
                found = Some(entry.get(kind)?.named(&format!("{list}[{name:?}].{kind}")));
            }
            if let Some(found) = found {
                return Ok(Some((file, found)));
            }
        }
        Ok(None)
    }

    fn missing(&self, kind: &str, list: &str, name: &str, said_by: &str) -> CredentialsError {
        let mut names = Vec::new();
        for file in &self.files {
            let entries = file.field().get(list).and_then(|list| list.list()).unwrap_or_default();
            names.extend(entries.iter().filter_map(|entry| Some(entry.get("name").ok()?.text().ok()??.to_owned())));
        }
        let known = match names.is_empty() {
            true => format!("there are no {list}"),
            false if names.len() > MOST_NAMES => {
                format!("there are {:?} and {} more", &names[..MOST_NAMES], names.len() - MOST_NAMES)
            }
            false => format!("there are {names:?}"),
        };
        CredentialsError::of_config(format!(
            "{said_by} names the {kind} {name:?}, which is not in {}; {known}",
            self.looked_for
        ))
    }
}

impl File {
    /// The outer error is an I/O error; the inner one says what is wrong with the content.
    fn read(path: &Path) -> io::Result<Result<File, CredentialsError>> {
        let Some(bytes) = reloading_file::read_bounded(path, MOST_BYTES)? else {
            return Ok(Err(refuse(path, "it is larger than 4 MiB")));
        };
        Ok(File::parse(path, &bytes))
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<File, CredentialsError> {
        let text = str::from_utf8(bytes).map_err(|_| refuse(path, "it is not text in UTF-8"))?;
        let root = yaml::parse(text).map_err(|fault| refuse(path, &fault.to_string()))?;
        if !matches!(root.value, Value::Null | Value::Map(_)) {
            return Err(refuse(path, "it is not a map with clusters, users and contexts"));
        }
        let file = File { path: path.to_owned(), root };
        for (field, expected) in [("kind", "Config"), ("apiVersion", "v1")] {
            let field = file.field().get(field)?;
            if let Some(other) = field.text()?.filter(|text| *text != expected) {
                return Err(field.fail(&format!("it is {other:?}, and in a kubeconfig {expected:?}")));
            }
        }
        Ok(file)
    }

    fn field(&self) -> Field<'_> {
        Field::root(&self.path, &self.root)
    }
}

/// The file, or a directory in its path, does not exist.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unreadable(path: &Path, error: &io::Error) -> CredentialsError {
    CredentialsError::of_config(format!("cannot read the kubeconfig {}: {error}", path.display()))
}

fn refuse(path: &Path, why: &str) -> CredentialsError {
    CredentialsError::of_config(format!("cannot use the kubeconfig {}: {why}", path.display()))
}

/// A path in a kubeconfig, relative to the directory of that file.
pub(super) fn beside(file: &Path, path: &str) -> PathBuf {
    match file.parent() {
        Some(dir) if dir != OsStr::new("") => dir.join(path),
        _ => PathBuf::from(path),
    }
}
