//! The program, as users start it.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apiserver"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn url(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn help_is_on_stdout() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("--allow=USER:VERB"));
}

#[test]
fn a_wrong_argument_is_a_usage_error() {
    for arguments in [
        &["--nonsense"][..],
        &["--tls=1"],
        &["--token=x"],
        &["--allow=a:get"],
        &["--ca-out=/x"],
        &["--client=a=/x"],
        &["--tls", "--client=a"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}

#[test]
fn an_address_in_use_is_an_error() {
    let taken = common::server();
    let output = run(&[&format!("--listen={}", taken.addr())]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn it_prints_its_address_and_ends_with_its_stdin() {
    let mut child = program(&["--listen=127.0.0.1:0", "--with-stdin"]).spawn().unwrap();
    let url = url(&mut child);
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn tokens_and_rules_come_from_the_command_line() {
    let mut child = program(&[
        "--listen=127.0.0.1:0",
        "--with-stdin",
        "--token=system:serviceaccount:ns:app=secret",
        "--allow=system:serviceaccount:ns:app:get,list:leases::default",
    ])
    .spawn()
    .unwrap();
    let url = url(&mut child);
    let status = |path: &str| {
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer secret\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    };
    assert_eq!(status(common::LEASES), "200");
    assert_eq!(status(common::ENDPOINTS), "403");
    drop(child.stdin.take());
    child.wait().unwrap();
}
