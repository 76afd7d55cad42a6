//! The directory `deploy/`: its manifests, and kustomizations of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

pub const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");

/// The content of one of its files.
pub fn text(file: &str) -> String {
    fs::read_to_string(Path::new(DEPLOY).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The YAML blocks in a document.
pub fn yaml_in(document: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("{}/{document}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let blocks = text.split("\n```yaml\n").skip(1);
    blocks.map(|block| block.split_once("```").expect("a block ends").0.to_owned()).collect()
}

/// The manifests that can be applied one by one.
pub fn manifests() -> Vec<String> {
    names(|path| path.extension().is_some_and(|it| it == "yaml") && !path.ends_with("kustomization.yaml"))
}

/// The components for a kustomization.
pub fn components() -> Vec<String> {
    names(Path::is_dir)
}

fn names(is_wanted: impl Fn(&Path) -> bool) -> Vec<String> {
    let paths = fs::read_dir(DEPLOY).unwrap().map(|entry| entry.unwrap().path()).filter(|path| is_wanted(path));
    let mut names: Vec<String> = paths.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// A user's own kustomization over that of `deploy/`; removed when dropped.
pub struct Overlay(PathBuf);

impl Overlay {
    /// With these components and further fields.
    pub fn of(components: &[&str], fields: &str) -> Overlay {
        Overlay::over(Path::new(DEPLOY), components, fields)
    }

    /// The same for a copy of `deploy/` with one change, such as the comments in it suggest.
    pub fn of_changed(file: &str, from: &str, to: &str, fields: &str) -> Overlay {
        let overlay = Overlay::over(Path::new(DEPLOY), &[], fields);
        let copy = overlay.0.join("deploy");
        fs::create_dir_all(&copy).unwrap();
        for entry in fs::read_dir(DEPLOY).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            fs::copy(&entry, copy.join(entry.file_name().unwrap())).unwrap();
        }
        let (before, file) = (text(file), copy.join(file));
        assert!(before.contains(from), "{from:?} is not in {}", file.display());
        fs::write(file, before.replace(from, to)).unwrap();
        fs::write(overlay.0.join("kustomization.yaml"), format!("resources:\n  - deploy\n{fields}")).unwrap();
        overlay
    }

    fn over(deploy: &Path, components: &[&str], fields: &str) -> Overlay {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("overlay-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        // kustomize accepts no absolute paths.
        let up = "../".repeat(fs::canonicalize(&folder).unwrap().components().count() - 1);
        let deploy = format!("{up}{}", fs::canonicalize(deploy).unwrap().to_str().unwrap().trim_start_matches('/'));
        let components: String = components.iter().map(|name| format!("  - {deploy}/{name}\n")).collect();
        let kustomization = format!("resources:\n  - {deploy}\ncomponents:\n{components}{fields}");
        fs::write(folder.join("kustomization.yaml"), kustomization).unwrap();
        Overlay(folder)
    }

    pub fn folder(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether this program is installed. If not, prints that the test is skipped, even if the test harness captures
/// output.
pub fn is_there(program: &str, argument: &str) -> bool {
    let is_there = Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success());
    if !is_there {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "SKIPPED: what needs {program}, which is not there");
    }
    is_there
}
