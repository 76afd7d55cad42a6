//! Handles a request: checks access, carries out the verb, and composes the answer.

use serde_json::{Value, json};

use crate::access::{Attributes, User};
use crate::call::{Call, Form, Route, accepted_form};
use crate::discovery;
use crate::history::Selector;
use crate::http::{Answer, Request};
use crate::object::{check, decode, parse_version, text};
use crate::patch::merge;
use crate::resource::Resource;
use crate::server::Shared;
use crate::status::{Refusal, deleted};
use crate::store::Key;
use crate::table::table;
use crate::watch::Plan;

/// The result of a request.
pub(crate) enum Reply {
    Answer(Answer),
    Watch(Plan),
}

/// A request and its context.
pub(crate) struct Context<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) request: &'a Request,
    pub(crate) call: &'a Call,
    /// None if the token is unknown, or the certificate not trusted.
    pub(crate) user: Option<&'a User>,
}

/// Carries out a request.
pub(crate) fn act(context: &Context<'_>) -> Reply {
    decide(context).unwrap_or_else(|refusal| Reply::Answer(Answer::refusal(&refusal)))
}

fn decide(context: &Context<'_>) -> Result<Reply, Refusal> {
    let user = context.user.ok_or_else(Refusal::unauthorized)?;
    let resource = match &context.call.route {
        Route::Other(path) => return plain(context, path).map(Reply::Answer),
        Route::Object { resource, .. } | Route::Collection { resource, .. } => *resource,
    };
    authorize(context.shared, user, resource, &context.call.attributes)?;
    let reply = resource_reply(context, user);
    let reply = reply.unwrap_or_else(|refusal| Reply::Answer(Answer::refusal(&refusal)));
    Ok(match (reply, resource.warning()) {
        (Reply::Answer(answer), Some(warning)) => Reply::Answer(answer.with("Warning", warning)),
        (reply, _) => reply,
    })
}

fn plain(context: &Context<'_>, path: &str) -> Result<Answer, Refusal> {
    let answer = discovery::answer(path, context.shared.addr).ok_or_else(Refusal::no_such_path)?;
    if context.request.method == "GET" { Ok(answer) } else { Err(Refusal::method_not_allowed()) }
}

fn authorize(shared: &Shared, user: &User, resource: Resource, wish: &Attributes) -> Result<(), Refusal> {
    if shared.access.allows(user, wish) {
        return Ok(());
    }
    Err(Refusal::forbidden(&user.name, wish.verb, resource, &wish.namespace, &wish.name))
}

fn resource_reply(context: &Context<'_>, user: &User) -> Result<Reply, Refusal> {
    let query = &context.call.query;
    if let Some(field) = query.unknown_field() {
        return Err(Refusal::bad_request(format!("field label not supported: {field}")));
    }
    for parameter in ["labelSelector", "dryRun"] {
        if query.get(parameter).is_some_and(|value| !value.is_empty()) {
            return Err(Refusal::bad_request(format!("{parameter} is not supported here")));
        }
    }
    let form = accepted_form(context.request.header("accept")).ok_or_else(Refusal::not_acceptable)?;
    let view = View { form, include: query.get("includeObject").map(str::to_owned) };
    let verb = context.call.attributes.verb;
    match &context.call.route {
        Route::Object { resource, namespace, name } => {
            let (resource, namespace, name) = (*resource, namespace.clone(), name.clone());
            let key = Key { resource, namespace, name };
            match verb {
                "get" => get(context, &key, &view),
                "update" => update(context, user, key, &view),
                "patch" => patch(context, user, &key, &view),
                "delete" => delete(context, &key),
                _ => Err(Refusal::method_not_allowed()),
            }
        }
        Route::Collection { resource, namespace } => {
            let selector = selector(context, *resource, namespace.as_deref());
            match (verb, namespace) {
                ("list", _) => list(context, &selector, &view),
                ("watch", _) => return Plan::new(selector, view, query).map(Reply::Watch),
                ("create", Some(namespace)) => create(context, *resource, namespace, &view),
                _ => Err(Refusal::method_not_allowed()),
            }
        }
        Route::Other(_) => Err(Refusal::no_such_path()),
    }
    .map(Reply::Answer)
}

/// How the client wants to see objects.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) form: Form,
    /// What a table's rows carry beside their cells.
    pub(crate) include: Option<String>,
}

impl View {
    fn object(&self, resource: Resource, object: &Value) -> Value {
        match self.form {
            Form::Json => object.clone(),
            Form::Table => {
                let version = text(object, "resourceVersion");
                table(resource, [object], version, self.include.as_deref(), true)
            }
        }
    }
}

fn selector(context: &Context<'_>, resource: Resource, namespace: Option<&str>) -> Selector {
    let query = &context.call.query;
    let namespace = namespace.map(str::to_owned).or_else(|| query.field("metadata.namespace"));
    Selector { resource, namespace, name: query.field("metadata.name") }
}

fn get(context: &Context<'_>, key: &Key, view: &View) -> Result<Answer, Refusal> {
    check_reached(context)?;
    let object = context.shared.store.get(key);
    let object = object.ok_or_else(|| Refusal::not_found(key.resource, &key.name))?;
    Ok(Answer::json(200, &view.object(key.resource, &object)))
}

fn list(context: &Context<'_>, selector: &Selector, view: &View) -> Result<Answer, Refusal> {
    check_reached(context)?;
    let resource = selector.resource;
    let (objects, version) = context.shared.store.list(selector);
    let version = version.to_string();
    if view.form == Form::Table {
        let objects = objects.iter().map(AsRef::as_ref);
        let table = table(resource, objects, &version, view.include.as_deref(), true);
        return Ok(Answer::json(200, &table));
    }
    let items: Vec<Value> = objects.iter().map(|object| item(object)).collect();
    let list = json!({
        "kind": format!("{}List", resource.kind()), "apiVersion": resource.api_version(),
        "metadata": {"resourceVersion": version}, "items": items,
    });
    Ok(Answer::json(200, &list))
}

/// In a list, objects go without their type.
fn item(object: &Value) -> Value {
    let mut item = object.clone();
    if let Some(fields) = item.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    item
}

/// A read may demand a resourceVersion, which must not be in the future.
fn check_reached(context: &Context<'_>) -> Result<(), Refusal> {
    let asked = version_asked(context.call.query.get("resourceVersion"))?;
    let current = context.shared.store.with_history(|history| history.version());
    if asked > current {
        return Err(Refusal::version_from_the_future(asked, current));
    }
    Ok(())
}

/// Reads the parameter `resourceVersion`; 0 if it is absent or empty.
pub(crate) fn version_asked(parameter: Option<&str>) -> Result<u64, Refusal> {
    let asked = parameter.unwrap_or_default();
    parse_version(asked).map_err(|why| Refusal::internal(format!("resourceVersion: Invalid value: \"{asked}\": {why}")))
}

fn create(context: &Context<'_>, resource: Resource, namespace: &str, view: &View) -> Result<Answer, Refusal> {
    check_media_type(context.request, &["application/json"])?;
    let object = decode(resource, &context.request.body)?;
    if !matches!(text(&object, "namespace"), given if given.is_empty() || given == namespace) {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(why));
    }
    check_namespace(context, namespace)?;
    let object = context.shared.store.create(resource, namespace, object, &manager(context))?;
    Ok(Answer::json(201, &view.object(resource, &object)))
}

fn update(context: &Context<'_>, user: &User, key: Key, view: &View) -> Result<Answer, Refusal> {
    check_media_type(context.request, &["application/json"])?;
    let object = decode(key.resource, &context.request.body)?;
    check_same_name(&key, &object)?;
    check_namespace(context, &key.namespace)?;
    let resource = key.resource;
    // An update that creates needs the right to create too.
    let wish = Attributes { verb: "create", ..context.call.attributes.clone() };
    let may_create = || authorize(context.shared, user, resource, &wish);
    let (object, created) = context.shared.store.update(key, object, &manager(context), may_create)?;
    Ok(Answer::json(if created { 201 } else { 200 }, &view.object(resource, &object)))
}

fn patch(context: &Context<'_>, user: &User, key: &Key, view: &View) -> Result<Answer, Refusal> {
    let kinds = ["application/merge-patch+json", "application/strategic-merge-patch+json"];
    check_media_type(context.request, &kinds)?;
    check_namespace(context, &key.namespace)?;
    let patch: Value = serde_json::from_slice(&context.request.body)
        .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
    let pinned = !text(&patch, "resourceVersion").is_empty();
    loop {
        let current = context.shared.store.get(key);
        let current = current.ok_or_else(|| Refusal::not_found(key.resource, &key.name))?;
        let mut object = Value::clone(&current);
        merge(&mut object, &patch);
        let object = check(key.resource, object)?;
        check_same_name(key, &object)?;
        let wish = &context.call.attributes;
        let may_create = || Err(Refusal::forbidden(&user.name, "create", key.resource, &wish.namespace, &wish.name));
        match context.shared.store.update(key.clone(), object, &manager(context), may_create) {
            // The object has changed in between. A patch without a resourceVersion is applied to the new version.
            Err(refusal) if refusal.code == 409 && !pinned => {}
            outcome => {
                let (object, _) = outcome?;
                return Ok(Answer::json(200, &view.object(key.resource, &object)));
            }
        }
    }
}

fn delete(context: &Context<'_>, key: &Key) -> Result<Answer, Refusal> {
    let body = &context.request.body;
    let options: Value = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(body)
            .map_err(|error| Refusal::bad_request(format!("cannot read DeleteOptions: {error}")))?,
    };
    let preconditions = &options["preconditions"];
    let uid = preconditions["uid"].as_str();
    let at = preconditions["resourceVersion"].as_str().map(parse_version).transpose();
    let object = context.shared.store.delete(key, uid, at.map_err(Refusal::internal)?)?;
    Ok(Answer::json(200, &deleted(key.resource, &key.name, text(&object, "uid"))))
}

fn check_media_type(request: &Request, accepted: &[&str]) -> Result<(), Refusal> {
    let given = request.header("content-type").unwrap_or(accepted[0]);
    let media = given.split(';').next().unwrap_or_default().trim();
    if accepted.contains(&media) {
        return Ok(());
    }
    Err(Refusal::unsupported_media_type(&accepted.join(", ")))
}

fn check_same_name(key: &Key, object: &Value) -> Result<(), Refusal> {
    let (name, namespace) = (text(object, "name"), text(object, "namespace"));
    if name != key.name {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    if !namespace.is_empty() && namespace != key.namespace {
        return Err(Refusal::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the request ({})",
            key.namespace
        )));
    }
    Ok(())
}

fn check_namespace(context: &Context<'_>, namespace: &str) -> Result<(), Refusal> {
    if context.shared.missing_namespaces.iter().any(|missing| missing == namespace) {
        return Err(Refusal::namespace_not_found(namespace));
    }
    Ok(())
}

/// The client program, as `managedFields` names it.
fn manager(context: &Context<'_>) -> String {
    let agent = context.request.header("user-agent").unwrap_or_default();
    let program = agent.split('/').next().unwrap_or_default();
    let manager = context.call.query.get("fieldManager").unwrap_or(program);
    if manager.is_empty() { "unknown".to_owned() } else { manager.to_owned() }
}
