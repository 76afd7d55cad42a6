//! What a plugin is, and one run of it from beginning to end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use super::process::run;
use super::{Issued, Version};
use crate::credentials::CredentialsError;

/// A plugin that has said nothing by then never will. Those that ask a cloud need a few seconds.
const LONGEST_RUN: Duration = Duration::from_secs(30);

/// What runs, and how.
pub(in crate::credentials) struct PluginCommand {
    /// As the kubeconfig has it, relative paths resolved: a path, or a name to be looked for in `$PATH`.
    pub(in crate::credentials) program: PathBuf,
    pub(in crate::credentials) args: Vec<String>,
    /// On top of this process's own.
    pub(in crate::credentials) env: Vec<(String, String)>,
    pub(in crate::credentials) version: Version,
    /// What to tell whoever has not installed the program.
    pub(in crate::credentials) install_hint: Option<String>,
    /// The cluster, for a plugin that is to be told.
    pub(in crate::credentials) cluster: Option<serde_json::Value>,
    /// The field of the kubeconfig that says all this.
    pub(in crate::credentials) origin: String,
}

/// Why a run came to nothing.
pub(super) struct PluginFailure {
    pub(super) error: CredentialsError,
    /// Another run is not likely to come to more: it cannot be started, or prints what is of no use.
    pub(super) for_good: bool,
}

impl PluginCommand {
    /// One run, from beginning to end.
    pub(super) fn run(&self, stop: &AtomicBool) -> Result<Issued, PluginFailure> {
        let program = self.find().map_err(|error| PluginFailure { error, for_good: false })?;
        let info = ("KUBERNETES_EXEC_INFO".to_owned(), self.version.request(self.cluster.as_ref()));
        let env = self.env.iter().chain([&info]);
        let printed = run(&program, &self.args, env, LONGEST_RUN, stop)
            .map_err(|failed| PluginFailure { error: self.fail(&failed.why), for_good: failed.for_good })?;
        // Whoever prints what is of no use may have said on stderr why.
        self.read(&printed.output)
            .map_err(|why| PluginFailure { error: self.fail(&(why + &printed.complaint)), for_good: true })
    }

    fn read(&self, output: &[u8]) -> Result<Issued, String> {
        let issued = self.version.read(output)?;
        match issued.expires {
            Some(expires) if expires <= SystemTime::now() => {
                Err("what it handed out has expired already; log in anew, or set the clock right".into())
            }
            _ => Ok(issued),
        }
    }

    /// The file to run.
    pub(super) fn find(&self) -> Result<PathBuf, CredentialsError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        find(&self.program, &path).ok_or_else(|| {
            let hint = self.install_hint.as_deref().map(|hint| format!("; {}", hint.trim())).unwrap_or_default();
            let place = match is_path(&self.program) {
                true if self.program.is_file() => "it may not be executed; chmod +x, or another mode of its volume",
                true => "there is no such file to run",
                false => "it is not in $PATH",
            };
            self.fail(&format!("{place}{}", crate::logging::escape::escaped(hint.as_bytes())))
        })
    }

    pub(super) fn fail(&self, why: &str) -> CredentialsError {
        CredentialsError::of_config(format!(
            "the exec plugin {:?} gives no credentials: {why} ({})",
            self.program.display().to_string(),
            self.origin
        ))
    }
}

fn is_path(program: &Path) -> bool {
    program.components().count() > 1 || program.is_absolute()
}

/// Where a program is, looked for in the directories of this list.
fn find(program: &Path, path: &OsString) -> Option<PathBuf> {
    let runs = |file: &PathBuf| {
        use std::os::unix::fs::PermissionsExt;
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if is_path(program) {
        return Some(program.to_owned()).filter(runs);
    }
    // An empty entry means the current directory to a shell; there nobody expects a program that hands out credentials.
    let dirs = std::env::split_paths(path).filter(|dir| !dir.as_os_str().is_empty());
    dirs.map(|dir| dir.join(program)).find(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let dir = std::env::temp_dir().join(format!("leader-elector-path-{}", std::process::id()));
        fs::create_dir_all(dir.join("a-directory")).unwrap();
        fs::write(dir.join("a-text"), "").unwrap();
        fs::write(dir.join("sh"), "").unwrap();
        let path = OsString::from(format!("/nonexistent:{}:/bin", dir.display()));
        assert_eq!(find(Path::new("sh"), &path), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find(Path::new("/bin/sh"), &path), Some(PathBuf::from("/bin/sh")));
        // There, and not to be run.
        for name in ["a-text", "a-directory", &dir.join("a-text").display().to_string(), "no-such-program"] {
            assert_eq!(find(Path::new(name), &path), None, "{name}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
