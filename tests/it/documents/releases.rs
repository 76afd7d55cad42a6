//! A release of a program that is a line of text: what the documents say verifies it, and a changed byte does not pass.

use super::commands::typed;
use super::markdown::ROOT;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BINARY: &str = "leader-elector-0.6.0-linux-amd64";
const PROVENANCE: &str = "leader-elector-0.6.0-linux-amd64.provenance.json";
const LAYOUT: &str = "leader-elector-0.6.0-oci.tar";
const INDEX_SIGNATURE: &str = "leader-elector-0.6.0-oci-index.sig";

/// The commands of the documents, by what they verify.
const FILES: &str = "ssh-keygen";
const INDEX: &str = "skopeo";
const SUBJECT: &str = "jq";

/// A file, what stands before the byte in it that is changed, and which commands must fail then.
const CHANGES: [(&str, &[u8], &[&str]); 9] = [
    (BINARY, b"a prog", &[FILES, SUBJECT]),
    (PROVENANCE, b"\"sha256\": \"", &[FILES, SUBJECT]),
    ("leader-elector-0.6.0-linux-amd64.cdx.json", b"{", &[FILES]),
    ("SHA256SUMS", b"", &[FILES]),
    ("SHA256SUMS.sig", b"SIGNATURE-----\nU1NI", &[FILES]),
    (INDEX_SIGNATURE, b"SIGNATURE-----\nU1NI", &[FILES, INDEX]),
    // The top of the layout, the index of the images, and a layer: the only blob that is compressed.
    (LAYOUT, b"\"org.opencontainers.image.ref.name\":\"", &[FILES, INDEX]),
    (LAYOUT, b"\"platform\":{\"architecture\":\"", &[FILES, INDEX]),
    (LAYOUT, b"\x1f\x8b\x08", &[FILES]),
];

#[test]
fn a_changed_byte_of_a_release_is_noticed() {
    if !are_there(&["buildah", "jq", "skopeo", "ssh-keygen"]) {
        return;
    }
    let release = Release::made("changed", true);
    assert_eq!(release.failing(), BTreeSet::new(), "nothing is changed");
    for (file, before, expected) in CHANGES {
        let path = release.folder.join(file);
        let content = fs::read(&path).unwrap();
        let start = content.windows(before.len().max(1)).position(|part| part.starts_with(before));
        let mut changed = content.clone();
        changed[start.unwrap_or_else(|| panic!("{file} has no {}", before.escape_ascii())) + before.len()] ^= 1;
        fs::write(&path, changed).unwrap();
        let failing = release.failing();
        let expected = expected.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(failing, expected, "{file} behind {:?}", before.escape_ascii().to_string());
        fs::write(&path, content).unwrap();
    }
    let other = Release::made("other", true);
    for signature in ["SHA256SUMS.sig", INDEX_SIGNATURE] {
        fs::copy(other.folder.join(signature), release.folder.join(signature)).unwrap();
    }
    let expected = [FILES, INDEX].map(str::to_owned).into();
    assert_eq!(release.failing(), expected, "the signatures are those of another key");
}

#[test]
fn what_describes_an_image_is_attached_to_it() {
    if !are_there(&["buildah", "jq", "ssh-keygen"]) {
        return;
    }
    let release = Release::made("attached", true);
    let layout = release.unpacked();
    let provenance = json(&release.folder.join(PROVENANCE));
    let image = format!("sha256:{}", provenance["subject"][1]["digest"]["sha256"].as_str().unwrap());
    let index = layout.tagged("0.6.0").unwrap();
    assert_eq!(layout.blob(&index)["manifests"][0]["digest"], *image);
    let types = ["application/vnd.cyclonedx+json", "application/vnd.in-toto+json"];
    assert_eq!(layout.attached_to(&image), types);
    assert_eq!(layout.attached_to(&index), ["application/vnd.leader-elector.sshsig"]);

    let config = layout.blob(layout.blob(&image)["config"]["digest"].as_str().unwrap());
    let label = |name: &str| config["config"]["Labels"][format!("org.opencontainers.image.{name}")].clone();
    let commit = printed("git", &["rev-parse", "HEAD"]);
    assert_eq!((label("version"), label("source")), ("0.6.0".into(), "https://code.example.com/x".into()));
    assert!(label("revision").as_str().is_some_and(|it| it.starts_with(&commit)), "{}", label("revision"));
    assert_eq!(label("created"), config["created"], "both are the time of the commit");
    let definition = &provenance["predicate"]["buildDefinition"];
    assert_eq!(definition["resolvedDependencies"][0]["digest"]["gitCommit"], *commit);
    assert_eq!(provenance["predicate"]["runDetails"]["builder"]["id"], "https://code.example.com/builder");
}

#[test]
fn a_release_without_a_key_says_that_it_is_not_signed() {
    if !are_there(&["buildah", "jq"]) {
        return;
    }
    let release = Release::made("unsigned", false);
    let files = fs::read_dir(&release.folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.filter(|it| it.ends_with(".sig")).collect::<Vec<_>>(), [""; 0]);
    assert!(release.said.contains("THE RELEASE IS NOT SIGNED"), "{}", release.said);
    assert!(release.unpacked().tagged("0.6.0").is_some());
}

/// A release in a folder, which is removed when dropped, and what its making has printed.
struct Release {
    folder: PathBuf,
    said: String,
}

impl Release {
    fn made(name: &str, signed: bool) -> Release {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("release-{name}-{}", std::process::id()));
        let keys = folder.with_extension("keys");
        for it in [&folder, &keys] {
            fs::create_dir_all(it).unwrap();
        }
        fs::write(folder.join(BINARY), "a program").unwrap();
        let mut pack = Command::new(Path::new(ROOT).join(".ci/dist-pack"));
        pack.args(["0.6.0", folder.to_str().unwrap(), "amd64"]).env_remove("KEY");
        pack.env("SOURCE", "https://code.example.com/x").env("BUILDER", "https://code.example.com/builder");
        if signed {
            let key = keys.join("key");
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
            assert!(made.unwrap().success());
            pack.env("KEY", &key);
            let public = fs::read_to_string(key.with_extension("pub")).unwrap();
            let line = format!("leader-elector namespaces=\"file\" {public}");
            fs::write(keys.join("allowed_signers"), line).unwrap();
        }
        let Output { status, stderr, .. } = pack.output().unwrap();
        let said = String::from_utf8_lossy(&stderr).into_owned();
        assert!(status.success(), "{said}");
        Release { folder, said }
    }

    /// Which commands of the document fail, by their first words.
    fn failing(&self) -> BTreeSet<String> {
        let all = typed().into_iter().filter(|it| it.document == "docs/releasing.md").map(|it| it.command);
        let verifying: Vec<String> =
            all.filter(|it| [FILES, INDEX, SUBJECT].contains(&it.split(' ').next().unwrap())).collect();
        assert_eq!(verifying.len(), 3, "{verifying:?}");
        let failing = verifying.iter().filter(|command| {
            let registry = "docker://registry.example.com/leader-elector:0.6.0";
            let here = command.replace(registry, &format!("oci-archive:{LAYOUT}:0.6.0"));
            let keys = self.folder.with_extension("keys");
            let here = here.replace("allowed_signers", keys.join("allowed_signers").to_str().unwrap());
            !Command::new("bash").args(["-c", &here]).current_dir(&self.folder).output().unwrap().status.success()
        });
        failing.map(|command| command.split(' ').next().unwrap().to_owned()).collect()
    }

    fn unpacked(&self) -> Layout {
        let folder = self.folder.with_extension("layout");
        fs::create_dir_all(&folder).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("--extract").arg("--file").arg(self.folder.join(LAYOUT)).arg("--directory").arg(&folder);
        assert!(tar.status().unwrap().success());
        let names = "cd blobs/sha256 && for it in *; do echo \"$it  $it\"; done | sha256sum --check --quiet";
        let blobs = Command::new("bash").args(["-c", names]).current_dir(&folder).output().unwrap();
        assert!(blobs.status.success(), "a blob has another name than its digest: {blobs:?}");
        Layout(folder)
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        for extension in ["keys", "layout", ""] {
            let _ = fs::remove_dir_all(self.folder.with_extension(extension));
        }
    }
}

/// A folder with an OCI layout.
struct Layout(PathBuf);

impl Layout {
    /// The digest that has this tag.
    fn tagged(&self, tag: &str) -> Option<String> {
        let index = json(&self.0.join("index.json"));
        let name = |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"] == tag;
        let entry = index["manifests"].as_array().unwrap().iter().find(|it| name(it))?;
        entry["digest"].as_str().map(str::to_owned)
    }

    fn blob(&self, digest: &str) -> Value {
        json(&self.0.join("blobs").join(digest.replace(':', "/")))
    }

    /// The types of what the tag for an image lists, which must also say that it belongs to it.
    fn attached_to(&self, digest: &str) -> Vec<String> {
        let list = self.blob(&self.tagged(&digest.replace(':', "-")).expect("something is attached"));
        let types = list["manifests"].as_array().unwrap().iter().map(|entry| {
            let artifact = self.blob(entry["digest"].as_str().unwrap());
            assert_eq!(artifact["subject"]["digest"], digest);
            assert_eq!(artifact["artifactType"], entry["artifactType"]);
            entry["artifactType"].as_str().unwrap().to_owned()
        });
        types.collect()
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(ROOT).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether these programs are installed; says so if not.
fn are_there(programs: &[&str]) -> bool {
    programs.iter().all(|program| {
        let found = Command::new("bash").args(["-c", "command -v \"$0\"", program]).output();
        let is_there = found.is_ok_and(|it| it.status.success());
        if !is_there {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "SKIPPED: what needs {program}, which is not there");
        }
        is_there
    })
}
