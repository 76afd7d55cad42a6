//! Runs kubectl.

use super::scenarios::Skipped;
use rustix::process::Pid;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

/// Runs kubectl with these arguments; it must succeed. Returns its stdout and stderr.
pub fn run(mut kubectl: Command, arguments: &[&str]) -> (String, String) {
    let output = kubectl.args(arguments).stdin(Stdio::null()).output().expect("cannot run kubectl");
    must_succeed(&output, arguments)
}

/// The same with this text on its stdin.
pub fn run_with(mut kubectl: Command, arguments: &[&str], stdin: &str) -> (String, String) {
    kubectl.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = kubectl.spawn().expect("cannot run kubectl");
    let written = child.stdin.take().expect("it is piped").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("cannot wait for kubectl");
    written.unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"));
    must_succeed(&output, arguments)
}

fn must_succeed(output: &Output, arguments: &[&str]) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "kubectl {arguments:?}: {out}{err}");
    (out, err)
}

/// `kubectl proxy` on a free port; killed when dropped.
pub struct Proxy {
    child: Child,
    pub url: String,
}

impl Proxy {
    pub fn start(mut kubectl: Command) -> Result<Proxy, Skipped> {
        kubectl.args(["proxy", "--port=0"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = kubectl.spawn().map_err(|_| Skipped("kubectl is not installed"))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("kubectl proxy prints its address");
        let address = line.trim().rsplit(' ').next().unwrap_or_default();
        assert!(address.starts_with("127.0.0.1:"), "kubectl proxy printed {line:?}, which has no address");
        Ok(Proxy { child, url: format!("http://{address}") })
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
