//! The token is sent only to the API server over TLS, or within this machine.

use crate::common::Elector;
use crate::common::cluster::{
    ServiceAccount, elector, lines, on, owned, plain_server, tls_server, wait_for, wait_for_renewals,
};
use apiserver::{Fault, Options, Rule, Server};

const TOKEN: &str = "the-secret-token";

/// A server with plain HTTP that records the users of requests.
fn plain_server_at(listen: &str) -> Server {
    let rules = vec![Rule::new("*", &["*"], "*")];
    let options = Options { listen: listen.into(), tokens: owned(&[(TOKEN, "pod")]), rules, ..Options::default() };
    Server::start(options).unwrap()
}

#[test]
fn no_log_shows_the_token() {
    let server = tls_server("127.0.0.1:0", &[(TOKEN, "pod")]);
    for (flag, rust_log) in
        [("--log-level=debug", None), ("--ttl=1s", Some("trace")), ("--ttl=1s", Some("ureq_proto=trace"))]
    {
        let account = ServiceAccount::new(TOKEN, server.ca_pem().unwrap());
        let mut command = Elector::program();
        if let Some(rust_log) = rust_log {
            command.env("RUST_LOG", rust_log);
        }
        let url = format!("--server={}", server.url());
        let elector = Elector::start_as(command, "a", &["--ttl=1s", &url, flag, &account.flag()]);
        elector.wait_to_lead();
        server.fault(on(&["update"]), Some(1), Fault::Status { code: 403, retry_after: None });
        server.fault(on(&["update"]), Some(1), Fault::Redirect("http://127.0.0.1:1/".into()));
        server.fault(on(&["update"]), Some(1), Fault::HalfAnswer);
        let echo = format!("HTTP/1.1 502 Bad Gateway\r\n\r\nPUT /\nAuthorization: Bearer {TOKEN}\n");
        server.fault(on(&["update"]), Some(1), Fault::Raw(echo.into_bytes()));
        elector.wait_for_log("redirect");
        elector.wait_for_log("Authorization: Bearer [token]");
        server.cut_watches();
        server.set_tokens(owned(&[]));
        elector.wait_for_log("401 unauthorized");
        account.write("token", &format!("{TOKEN} {TOKEN}"));
        elector.wait_for_log("white space");
        server.set_tokens(owned(&[(TOKEN, "pod")]));
        assert!(rust_log == Some("ureq_proto=trace") || elector.log().contains(" DEBUG "), "{}", elector.log());
        let everything = elector.log() + &elector.printed();
        let leak = everything.lines().find(|line| line.contains(TOKEN));
        assert_eq!(leak, None);
        // The trace of the HTTP client shows what it sends, sixteen bytes per line: no line has the whole token.
        assert!(!everything.contains(" TRACE "), "{everything}");
    }
}

#[test]
fn no_redirect_is_followed() {
    let (server, elsewhere) = (plain_server_at("127.0.0.1:0"), plain_server_at("127.0.0.1:0"));
    let account = ServiceAccount::new(TOKEN, "");
    let target = format!("{}/api/v1/namespaces/default/endpoints/example", elsewhere.url());
    let fault = server.fault(|_| true, None, Fault::Redirect(target.clone()));
    let elector = elector(&server, "a", &[&account.flag()]);
    elector.wait_for_log(&format!("a redirect, to \"{target}\", is not followed; give the address of the API server"));
    wait_for(&server, "it tries again", |_| fault.hits() >= 6);
    assert!(elsewhere.requests().is_empty() && elsewhere.open_connections() == 0);
    fault.remove();
    elector.wait_to_lead();
}

#[test]
fn plain_http_carries_the_token_within_this_machine_only() {
    let account = ServiceAccount::new(TOKEN, "");
    let near = plain_server_at("127.0.0.1:0");
    elector(&near, "a", &[&account.flag()]).wait_to_lead();
    assert!(near.requests().iter().all(|request| request.user.as_deref() == Some("pod")));

    // An address of this machine that is not a loopback address.
    let far = plain_server_at("0.0.0.0:0");
    let elector = elector(&far, "b", &[&account.flag()]);
    elector.wait_to_lead();
    wait_for_renewals(&far, 2);
    assert!(far.requests().iter().all(|request| request.user.as_deref() == Some("system:anonymous")));
    assert_eq!(lines(&elector, "is not sent to 0.0.0.0"), 1, "{}", elector.log());
}

#[test]
fn no_proxy_of_the_environment_is_used() {
    let (server, proxy) = (plain_server(), plain_server());
    let mut command = Elector::program();
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, proxy.url());
    }
    let elector = Elector::start_as(command, "a", &["--ttl=1s", &format!("--server={}", server.url())]);
    elector.wait_to_lead();
    assert!(proxy.requests().is_empty());
}
