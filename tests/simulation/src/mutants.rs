//! Tests the simulation with deliberate bugs: each replaces one text in the program's source. Each bug is put into a
//! copy of the project, and a limited number of schedules, or a named test, must find it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Schedules within which each bug must be found.
pub const MOST_SCHEDULES: u64 = 10_000;

pub struct Mutant {
    pub name: &'static str,
    /// The file, from the root of the project.
    pub file: &'static str,
    /// A text that occurs there exactly once, and its replacement.
    pub find: &'static str,
    pub replace: &'static str,
    pub found_by: By,
}

/// What must find a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Schedules,
    /// A test, because the simulation cannot show the bug: its target (`lib` for unit tests) and its name.
    Test(&'static str, &'static str),
    /// The compiler, with this error: code with the bug does not compile.
    Compiler(&'static str),
}

mod list;
pub use list::MUTANTS;

/// The root of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

impl Mutant {
    /// The source with the bug; an error if the text to replace does not occur exactly once.
    pub fn applied(&self, source: &str) -> Result<String, String> {
        match source.matches(self.find).count() {
            1 => Ok(source.replacen(self.find, self.replace, 1)),
            n => Err(format!("{}: the text to replace is {n} times in {}", self.name, self.file)),
        }
    }
}

/// Tries to find all bugs, or the named ones, and prints a table. Returns `false` if one was not found.
pub fn find_all(names: &[String]) -> Result<bool, String> {
    let wanted = |mutant: &&Mutant| names.is_empty() || names.iter().any(|name| mutant.name.contains(name.as_str()));
    let copy = root().join("target/mutants/copy");
    copy_project(&root(), &copy).map_err(|error| format!("cannot copy the project: {error}"))?;
    let mut all_found = true;
    println!("| bug | found by | seed | schedules |\n|---|---|---|---|");
    for mutant in MUTANTS.iter().filter(wanted) {
        let path = copy.join(mutant.file);
        let source = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mutated = mutant.applied(&source)?;
        fs::write(&path, mutated).map_err(|error| format!("{}: {error}", path.display()))?;
        let outcome = match mutant.found_by {
            By::Schedules => find_by_schedules(&copy),
            By::Test(target, test) => find_by_test(&copy, target, test),
            By::Compiler(error) => find_by_compiler(&copy, error),
        };
        fs::write(&path, source).map_err(|error| format!("{}: {error}", path.display()))?;
        match outcome.map_err(|error| format!("{}: {error}", mutant.name))? {
            Some(found) => println!("| {} | {found} |", mutant.name),
            None => {
                all_found = false;
                println!("| {} | NOT FOUND | | |", mutant.name);
            }
        }
    }
    Ok(all_found)
}

/// Runs schedules with the bug. Returns what found it, as the rest of the row in the table.
fn find_by_schedules(copy: &Path) -> Result<Option<String>, String> {
    cargo(copy, "build", &["--package=simulation"])?;
    let ran = Command::new(target().join("mutants/simulate"))
        .args([format!("--schedules={MOST_SCHEDULES}"), "--from=0".into()])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run simulate: {error}"))?;
    if ran.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&ran.stdout);
    let between = |start: &str, end: &str| {
        let rest = text.split_once(start).map_or("", |(_, rest)| rest);
        rest.split(end).next().unwrap_or_default().trim().to_owned()
    };
    let line = text.lines().find(|line| line.contains(" schedules") && line.contains(" after ")).unwrap_or_default();
    let rule = line.split(" at ").next().unwrap_or_default();
    let seed = between("--seed=", " ");
    let seed = seed.lines().next().unwrap_or_default();
    let schedules = line.rsplit(" after ").next().unwrap_or_default().replace(" schedules", "");
    Ok(Some(format!("{rule} | {seed} | {schedules}")))
}

/// Runs one test with the bug. Returns the rest of the row in the table if the test fails.
fn find_by_test(copy: &Path, target: &str, test: &str) -> Result<Option<String>, String> {
    let target_flag = if target == "lib" { "--lib".to_owned() } else { format!("--test={target}") };
    // A build that fails finds no bug.
    let packages = if target == "lib" { "--package=leader-elector" } else { "--workspace" };
    cargo(copy, "test", &[packages, &target_flag, "--no-run"])?;
    let ran = cargo_command(copy, "test", &[packages, &target_flag, "--", "--exact", test])
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    let text = String::from_utf8_lossy(&ran.stdout);
    if !text.contains("running 1 test\n") {
        return Err(format!("there is no test {test} in {target}"));
    }
    Ok((!ran.status.success()).then(|| format!("`{target}::{test}` | | ")))
}

/// Compiles the program with the bug. Any error but the expected one is a mistake in the list of mutants.
fn find_by_compiler(copy: &Path, expected: &str) -> Result<Option<String>, String> {
    match cargo(copy, "build", &[]) {
        Ok(()) => Ok(None),
        Err(errors) if errors.contains(expected) && errors.matches("error[").count() == 1 => {
            Ok(Some("the compiler | | ".to_owned()))
        }
        Err(errors) => Err(errors),
    }
}

fn target() -> PathBuf {
    root().join("target/mutants/target")
}

fn cargo_command(copy: &Path, command: &str, args: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args([command, "--quiet", "--offline", "--profile=mutants"]).args(args);
    cargo.current_dir(copy).env("CARGO_TARGET_DIR", target());
    cargo
}

fn cargo(copy: &Path, command: &str, args: &[&str]) -> Result<(), String> {
    let ran = cargo_command(copy, command, args).output().map_err(|error| format!("cannot run cargo: {error}"))?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(format!("it cannot be built:\n{}", String::from_utf8_lossy(&ran.stderr))),
    }
}

/// Makes `to` a copy of `from`, without files that git does not track.
fn copy_project(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        match from.join(entry.file_name()).exists() {
            true => {}
            false if is_dir => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "target" || name == ".git" {
            continue;
        }
        let (path, copy) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            copy_project(&path, &copy)?;
        } else {
            let text = fs::read(&path)?;
            // A file that has not changed is not written, so that cargo does not build it again.
            if fs::read(&copy).ok().as_ref() != Some(&text) {
                fs::write(&copy, text)?;
            }
        }
    }
    Ok(())
}
