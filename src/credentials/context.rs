//! Turns the cluster and the user of a context into credentials. An unsupported field is an error: without it, requests
//! would go out as another user or to another server.

use std::path::PathBuf;

use rustls::pki_types::ServerName;
use serde_json::json;

use super::ca::TrustedCa;
use super::exec::{ApiVersion, Plugin, PluginCommand};
use super::field::Field;
use super::identity::{self, Identity};
use super::kubeconfig::Choice;
use super::reloading_file::{self, ReloadingFile};
use super::tls::TlsMaker;
use super::{Bearer, Credentials, CredentialsError, ServerAddress, Token};

/// The unsupported fields of a user, and why or what to use instead.
const UNSUPPORTED_OF_USER: [(&str, &str); 7] = [
    ("username", "user names and passwords are not supported; Kubernetes removed them in 1.19"),
    ("password", "user names and passwords are not supported; Kubernetes takes none since 1.19"),
    ("auth-provider", "auth providers are not supported; kubectl removed them in 1.26; use an exec plugin"),
    ("as", "impersonation is not supported; give the user the rights it needs"),
    ("as-uid", "impersonation is not supported; give the user the rights it needs"),
    ("as-groups", "impersonation is not supported; give the user the rights it needs"),
    ("as-user-extra", "impersonation is not supported; give the user the rights it needs"),
];

const UNSUPPORTED_OF_CLUSTER: [(&str, &str); 1] =
    [("proxy-url", "proxies are not supported; connect to the API server directly")];

/// The credentials of a context.
pub(super) fn credentials(choice: &Choice) -> Result<Credentials, CredentialsError> {
    let Choice { cluster, user, .. } = choice;
    refuse(cluster, &UNSUPPORTED_OF_CLUSTER)?;
    let server = server(cluster)?;
    let tls = if server.https { Some(tls(cluster, &server)?) } else { None };
    let mut credentials = Credentials { tls, ..Credentials::new(server) };
    if let Some(user) = user {
        refuse(user, &UNSUPPORTED_OF_USER)?;
        credentials.bearer = bearer(user)?;
        credentials.identity = identity(user)?;
        credentials.plugin = plugin(user, cluster, &credentials)?;
    }
    log::info!("using the context {:?} of {}", choice.context, choice.path.display());
    if let Some(TlsMaker { trust: TrustedCa::Anybody, .. }) = credentials.tls {
        log::warn!(
            "insecure-skip-tls-verify: any server at {} is accepted as the API server, and receives the credentials; \
             give certificate-authority instead",
            credentials.server
        );
    }
    Ok(credentials)
}

fn refuse(field: &Field, unsupported: &[(&str, &str)]) -> Result<(), CredentialsError> {
    for (name, why) in unsupported {
        let field = field.get(name)?;
        if field.says_something() {
            return Err(field.fail(why));
        }
    }
    Ok(())
}

fn server(cluster: &Field) -> Result<ServerAddress, CredentialsError> {
    let field = cluster.get("server")?;
    match field.text()? {
        Some(url) => ServerAddress::parse(url, &field.origin()).map_err(CredentialsError::into_config),
        None => Err(field.fail("it is missing; write it like https://10.0.0.1:6443")),
    }
}

fn tls(cluster: &Field, server: &ServerAddress) -> Result<TlsMaker, CredentialsError> {
    let field = cluster.get("tls-server-name")?;
    let server_name = match field.text()? {
        Some(name) => ServerName::try_from(name.to_owned())
            .map_err(|_| field.fail(&format!("{name:?} is neither a DNS name nor an IP address")))?,
        // Checked when the address was parsed.
        None => server.name().ok_or_else(|| field.fail("the server's address names no host"))?,
    };
    Ok(TlsMaker::new(trust(cluster)?, server_name))
}

fn trust(cluster: &Field) -> Result<TrustedCa, CredentialsError> {
    let insecure = cluster.get("insecure-skip-tls-verify")?;
    let Either { data, file, field } = either(cluster, "certificate-authority")?;
    if insecure.yes()? {
        return match data.is_some() || file.is_some() {
            true => Err(insecure.fail("it excludes certificate-authority; leave out one of them")),
            false => Ok(TrustedCa::Anybody),
        };
    }
    let trust = match (data, file) {
        (Some(pem), _) => TrustedCa::fixed(field.origin(), &pem).map_err(CredentialsError::into_config),
        (None, Some(path)) => TrustedCa::file(path),
        (None, None) => TrustedCa::system().and_then(|system| {
            system.ok_or_else(|| {
                CredentialsError::new("it is missing, and this system has no CA certificates of its own".into())
            })
        }),
    };
    trust.map_err(|error| placed(&field, error))
}

/// Adds the field to an error about its file, unless the error names the field already.
fn placed(field: &Field, error: CredentialsError) -> CredentialsError {
    if error.is_of_config() { error } else { field.fail(&error.to_string()) }
}

/// A value given inline in base64, or in a file.
struct Either<'a> {
    data: Option<Vec<u8>>,
    file: Option<PathBuf>,
    /// The field in use; the file's field if there is no value.
    field: Field<'a>,
}

fn either<'a>(of: &Field<'a>, name: &str) -> Result<Either<'a>, CredentialsError> {
    let (in_file, inline) = (of.get(name)?, of.get(&format!("{name}-data"))?);
    let (file, data) = (in_file.path()?, inline.data()?);
    match (&file, &data) {
        (Some(_), Some(_)) => Err(inline.fail(&format!("{name} is given too; leave out one of them"))),
        (_, Some(_)) => Ok(Either { data, file, field: inline }),
        _ => Ok(Either { data, file, field: in_file }),
    }
}

/// As in kubectl, tokenFile overrides token.
fn bearer(user: &Field) -> Result<Option<Bearer>, CredentialsError> {
    let (file, inline) = (user.get("tokenFile")?, user.get("token")?);
    if let Some(path) = file.path()? {
        let file = ReloadingFile::open(path, Token::parse).map_err(|error| placed(&file, error))?;
        return Ok(Some(Bearer::File(file)));
    }
    let Some(token) = inline.text()? else { return Ok(None) };
    let token = Token::of(token.trim().as_bytes()).map_err(|why| inline.fail(&why))?;
    Ok(Some(Bearer::Fixed(token, inline.origin())))
}

fn identity(user: &Field) -> Result<Option<Identity>, CredentialsError> {
    let (certificate, key) = (either(user, "client-certificate")?, either(user, "client-key")?);
    let given = |either: &Either| either.data.is_some() || either.file.is_some();
    match (given(&certificate), given(&key)) {
        (false, false) => return Ok(None),
        (true, true) => {}
        (true, false) => return Err(key.field.fail("it is missing, and the client certificate needs its key")),
        (false, true) => return Err(certificate.field.fail("it is missing, and the client key needs its certificate")),
    }
    for it in [&certificate, &key] {
        // So that an error names the right file.
        it.file.as_deref().map(reloading_file::read).transpose().map_err(|error| placed(&it.field, error))?;
    }
    let files: Vec<PathBuf> = [&certificate.file, &key.file].into_iter().flatten().cloned().collect();
    let (field, origin) = (certificate.field, key.field.origin());
    let refuse = move |why: String, field: &str| {
        CredentialsError::of_config(format!("cannot use the client certificate of {field} with {origin}: {why}"))
    };
    let name = field.origin();
    // Values in files are passed in `contents`, the certificate first; inline values are captured.
    let read = move |contents: &[Vec<u8>]| {
        let mut contents = contents.iter();
        let certificate = certificate.data.as_ref().or_else(|| contents.next());
        let key = key.data.as_ref().or_else(|| contents.next());
        let (certificate, key) = certificate.zip(key).ok_or_else(|| refuse("it is missing".into(), &name))?;
        identity::certified(certificate, key).map_err(|why| refuse(why, &name))
    };
    if files.is_empty() {
        return read(&[]).map(|identity| Some(Identity::Fixed(identity)));
    }
    let file = ReloadingFile::open_all(files, read).map_err(|error| placed(&field, error))?;
    Ok(Some(Identity::Files(file)))
}

fn plugin(user: &Field, cluster: &Field, credentials: &Credentials) -> Result<Option<Plugin>, CredentialsError> {
    let exec = user.get("exec")?;
    // As in kubectl, a token overrides the plugin. Over plain HTTP a plugin's credentials could not be sent.
    if !exec.is_there() || credentials.bearer.is_some() || credentials.tls.is_none() {
        return Ok(None);
    }
    let command = PluginCommand {
        program: program(&exec.get("command")?)?,
        args: texts(&exec.get("args")?)?,
        env: variables(&exec.get("env")?)?,
        version: version(&exec.get("apiVersion")?)?,
        install_hint: exec.get("installHint")?.text()?.map(str::to_owned),
        cluster: match exec.get("provideClusterInfo")?.yes()? {
            true => Some(cluster_info(cluster)?),
            false => None,
        },
        origin: exec.origin(),
    };
    let mode = exec.get("interactiveMode")?;
    match mode.text()? {
        None | Some("Never" | "IfAvailable") => {}
        Some("Always") => return Err(mode.fail("the plugin needs interactive input, which is not available")),
        Some(other) => {
            return Err(mode.fail(&format!("{other:?} is not Never, IfAvailable or Always")));
        }
    }
    Plugin::new(command).map(Some)
}

fn program(command: &Field) -> Result<PathBuf, CredentialsError> {
    match command.text()? {
        Some(name) if !name.contains('/') => Ok(PathBuf::from(name)),
        Some(_) => Ok(command.path()?.unwrap_or_default()),
        None => Err(command.fail("it is missing; name the program to run")),
    }
}

fn version(field: &Field) -> Result<ApiVersion, CredentialsError> {
    let supported = ApiVersion::ALL.map(ApiVersion::name).join(" or ");
    let Some(name) = field.text()? else { return Err(field.fail(&format!("it is missing; write {supported}"))) };
    ApiVersion::ALL
        .into_iter()
        .find(|version| version.name() == name)
        .ok_or_else(|| field.fail(&format!("{name:?} is not supported, only {supported}")))
}

fn texts(list: &Field) -> Result<Vec<String>, CredentialsError> {
    list.list()?.iter().map(|entry| plain(entry).map(str::to_owned)).collect()
}

fn variables(list: &Field) -> Result<Vec<(String, String)>, CredentialsError> {
    let pair = |entry: &Field| {
        let name = entry.get("name")?;
        match name.text()? {
            Some(text) if !text.contains(['=', '\0']) => Ok((text.to_owned(), plain(&entry.get("value")?)?.to_owned())),
            _ => Err(name.fail("it must be the name of an environment variable")),
        }
    };
    list.list()?.iter().map(pair).collect()
}

/// A string that can be passed to a process; a missing one is empty.
fn plain<'a>(field: &Field<'a>) -> Result<&'a str, CredentialsError> {
    match field.text()?.unwrap_or_default() {
        text if text.contains('\0') => Err(field.fail("it contains a zero byte")),
        text => Ok(text),
    }
}

/// The cluster information for a plugin with `provideClusterInfo`.
fn cluster_info(cluster: &Field) -> Result<serde_json::Value, CredentialsError> {
    let mut info = json!({"server": cluster.get("server")?.text()?});
    if let Some(name) = cluster.get("tls-server-name")?.text()? {
        info["tls-server-name"] = name.into();
    }
    if cluster.get("insecure-skip-tls-verify")?.yes()? {
        info["insecure-skip-tls-verify"] = true.into();
    }
    let Either { data, file, field } = either(cluster, "certificate-authority")?;
    let pem = match file {
        Some(path) => Some(reloading_file::read(&path).map_err(|error| placed(&field, error))?),
        None => data,
    };
    if let Some(pem) = pem {
        info["certificate-authority-data"] = super::field::to_base64(&pem).into();
    }
    for extension in cluster.get("extensions")?.list()? {
        if extension.get("name")?.text()? == Some("client.authentication.k8s.io/exec") {
            info["config"] = extension.get("extension")?.json().unwrap_or_default();
        }
    }
    Ok(info)
}
