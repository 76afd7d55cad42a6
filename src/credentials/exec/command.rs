//! A plugin's configuration, and one run of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use super::process::run;
use super::{ApiVersion, Issued};
use crate::credentials::CredentialsError;

/// A plugin is killed after this time. Plugins that ask a cloud need a few seconds.
const LONGEST_RUN: Duration = Duration::from_secs(30);

/// The program and its parameters.
pub(in crate::credentials) struct PluginCommand {
    /// From the kubeconfig, with relative paths resolved: a path, or a name to look up in `$PATH`.
    pub(in crate::credentials) program: PathBuf,
    pub(in crate::credentials) args: Vec<String>,
    /// In addition to the variables of this process.
    pub(in crate::credentials) env: Vec<(String, String)>,
    pub(in crate::credentials) version: ApiVersion,
    /// The message for users who have not installed the program.
    pub(in crate::credentials) install_hint: Option<String>,
    /// The cluster information, if the plugin wants it.
    pub(in crate::credentials) cluster: Option<serde_json::Value>,
    /// The field of the kubeconfig that configures it.
    pub(in crate::credentials) origin: String,
}

/// A failed run.
pub(super) struct PluginFailure {
    pub(super) error: CredentialsError,
    /// Another run is unlikely to succeed: the plugin cannot be started, or prints unusable output.
    pub(super) for_good: bool,
}

impl PluginCommand {
    /// Runs the plugin once.
    pub(super) fn run(&self, stop: &AtomicBool) -> Result<Issued, PluginFailure> {
        let program = self.find().map_err(|error| PluginFailure { error, for_good: false })?;
        let info = ("KUBERNETES_EXEC_INFO".to_owned(), self.version.request(self.cluster.as_ref()));
        let env = self.env.iter().chain([&info]);
        let printed = run(&program, &self.args, env, LONGEST_RUN, stop)
            .map_err(|failed| PluginFailure { error: self.fail(&failed.why), for_good: failed.for_good })?;
        // The plugin may have written the reason to stderr.
        self.read(&printed.output)
            .map_err(|why| PluginFailure { error: self.fail(&(why + &printed.complaint)), for_good: true })
    }

    fn read(&self, output: &[u8]) -> Result<Issued, String> {
        let issued = self.version.read(output)?;
        match issued.expires {
            Some(expires) if expires <= SystemTime::now() => {
                Err("its credentials have already expired; log in again, or correct the clock".into())
            }
            _ => Ok(issued),
        }
    }

    /// The executable file.
    pub(super) fn find(&self) -> Result<PathBuf, CredentialsError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        find(&self.program, &path).ok_or_else(|| {
            let hint = self.install_hint.as_deref().map(|hint| format!("; {}", hint.trim())).unwrap_or_default();
            let place = match is_path(&self.program) {
                true if self.program.is_file() => "it is not executable; set its mode, or that of its volume",
                true => "the file does not exist",
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

/// The path of a program, looked up in the directories of `path`.
fn find(program: &Path, path: &OsString) -> Option<PathBuf> {
    let runs = |file: &PathBuf| {
        use std::os::unix::fs::PermissionsExt;
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if is_path(program) {
        return Some(program.to_owned()).filter(runs);
    }
    // For a shell an empty entry is the current directory, where nobody expects a credential plugin.
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
        // Exists, but is not executable.
        for name in ["a-text", "a-directory", &dir.join("a-text").display().to_string(), "no-such-program"] {
            assert_eq!(find(Path::new(name), &path), None, "{name}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
