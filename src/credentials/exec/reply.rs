//! The request to a plugin, and its output: an `ExecCredential` in JSON.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::Issued;
use crate::credentials::{Token, identity};
use crate::rfc3339;

/// The zero time of Go, which means no time.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The protocol version in a kubeconfig.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::credentials) enum ApiVersion {
    V1,
    V1Beta1,
}

impl ApiVersion {
    pub(in crate::credentials) const ALL: [ApiVersion; 2] = [ApiVersion::V1, ApiVersion::V1Beta1];

    pub(in crate::credentials) fn name(self) -> &'static str {
        match self {
            ApiVersion::V1 => "client.authentication.k8s.io/v1",
            ApiVersion::V1Beta1 => "client.authentication.k8s.io/v1beta1",
        }
    }

    /// The value of `KUBERNETES_EXEC_INFO`. There is no interactive input.
    pub(super) fn request(self, cluster: Option<&Value>) -> String {
        let mut spec = json!({"interactive": false});
        if let Some(cluster) = cluster {
            spec["cluster"] = cluster.clone();
        }
        json!({"kind": "ExecCredential", "apiVersion": self.name(), "spec": spec}).to_string()
    }

    /// Parses the output. An error never repeats it, since it may contain a token.
    pub(super) fn read(self, printed: &[u8]) -> Result<Issued, String> {
        let value: Value = serde_json::from_slice(printed).map_err(|error| match printed.trim_ascii() {
            b"" => "it printed nothing".to_owned(),
            _ => format!("what it printed is not JSON, at line {} column {}", error.line(), error.column()),
        })?;
        // client-go also accepts a missing kind.
        let no_kind = value["kind"].is_null() && !value["apiVersion"].is_null();
        if !no_kind && value["kind"] != "ExecCredential" {
            return Err("what it printed is not an ExecCredential".into());
        }
        if value["apiVersion"].as_str() != Some(self.name()) {
            return Err(format!("what it printed is not of the apiVersion {}, as the kubeconfig has it", self.name()));
        }
        let status = &value["status"];
        let text = |name: &str| match &status[name] {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            _ => Err(format!("its status.{name} is not a string")),
        };
        let token = text("token")?
            .map(|token| Token::of(token.as_bytes()))
            .transpose()
            .map_err(|why| format!("its status.token cannot be used: {why}"))?;
        let identity = match (text("clientCertificateData")?, text("clientKeyData")?) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(
                identity::certified(certificate.as_bytes(), key.as_bytes())
                    .map_err(|why| format!("its client certificate cannot be used: {why}"))?,
            ),
            _ => return Err("it printed one of clientCertificateData and clientKeyData without the other".into()),
        };
        if token.is_none() && identity.is_none() {
            return Err("what it printed contains neither a token nor a client certificate".into());
        }
        let expires = text("expirationTimestamp")?.filter(|it| *it != NO_TIME).map(moment).transpose()?;
        Ok(Issued { token, identity, expires })
    }
}

fn moment(text: &str) -> Result<SystemTime, String> {
    let micros = rfc3339::parse(&to_micros(text))
        .ok_or("its status.expirationTimestamp is not a time such as 2026-01-01T00:00:00Z")?;
    let since = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(since).ok_or_else(|| "its status.expirationTimestamp is too far away".into())
}

/// Truncates a fraction to six digits, because some programs write nine.
fn to_micros(text: &str) -> String {
    let Some((before, fraction)) = text.split_once('.') else { return text.to_owned() };
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    format!("{before}.{}{}", &fraction[..digits.min(6)], &fraction[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: &str) -> Result<Issued, String> {
        let printed =
            format!(r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{status}}}"#);
        ApiVersion::V1.read(printed.as_bytes())
    }

    fn error(printed: &str) -> String {
        ApiVersion::V1.read(printed.as_bytes()).map(|_| ()).unwrap_err()
    }

    #[test]
    fn a_token_lasts_until_the_time_that_goes_with_it() {
        let expires = |timestamp: &str| {
            let status = format!(r#"{{"token":"t","expirationTimestamp":{timestamp}}}"#);
            read(&status).map(|issued| issued.expires)
        };
        let moment = |millis| Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)));
        assert_eq!(expires("null"), Ok(None));
        assert_eq!(expires(r#""0001-01-01T00:00:00Z""#), Ok(None));
        assert_eq!(expires(r#""2026-01-01T00:00:00Z""#), moment(1_767_225_600_000));
        assert_eq!(expires(r#""2026-01-01T01:00:00.125000999+01:00""#), moment(1_767_225_600_125));
        assert!(expires(r#""tomorrow""#).unwrap_err().contains("expirationTimestamp"));
        assert!(expires("7").unwrap_err().contains("expirationTimestamp is not a string"));
    }

    #[test]
    fn what_was_printed_is_never_repeated() {
        let version = r#""kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1""#;
        for (printed, expected) in [
            ("", "it printed nothing"),
            ("hunter2", "what it printed is not JSON, at line 1 column 1"),
            (r#"{"token":"hunter2"}"#, "what it printed is not an ExecCredential"),
            (
                r#"{"kind":"ExecCredential","apiVersion":"hunter2"}"#,
                "what it printed is not of the apiVersion client.authentication.k8s.io/v1, as the kubeconfig has it",
            ),
            (&format!("{{{version}}}"), "what it printed contains neither a token nor a client certificate"),
            (
                &format!(r#"{{{version},"status":["hunter2"]}}"#),
                "what it printed contains neither a token nor a client certificate",
            ),
            (&format!(r#"{{{version},"status":{{"token":["hunter2"]}}}}"#), "its status.token is not a string"),
            (
                &format!(r#"{{{version},"status":{{"token":"hunter2 hunter2"}}}}"#),
                "its status.token cannot be used: it contains white space or bytes that are not allowed in an HTTP header",
            ),
            (
                &format!(r#"{{{version},"status":{{"clientKeyData":"hunter2"}}}}"#),
                "it printed one of clientCertificateData and clientKeyData without the other",
            ),
            (
                &format!(r#"{{{version},"status":{{"clientCertificateData":"hunter2","clientKeyData":"hunter2"}}}}"#),
                "its client certificate cannot be used: the certificate is not PEM: no line begins with -----BEGIN",
            ),
        ] {
            assert_eq!(error(printed), expected);
        }
    }

    #[test]
    fn a_plugin_gets_the_protocol_and_the_cluster() {
        assert_eq!(
            ApiVersion::V1Beta1.request(None),
            r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","spec":{"interactive":false}}"#
        );
        assert!(ApiVersion::V1.request(Some(&json!({"server": "s"}))).contains(r#""cluster":{"server":"s"}"#));
    }
}
