//! Parses what a request asks for: path, query, verb and the form of the answer.

use crate::access::Attributes;
use crate::http::Request;
use crate::resource::Resource;

/// The target of a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Route {
    Object {
        resource: Resource,
        namespace: String,
        name: String,
    },
    /// All objects of a namespace, or of all namespaces.
    Collection {
        resource: Resource,
        namespace: Option<String>,
    },
    /// Anything else: discovery, health, or nothing at all.
    Other(String),
}

/// A parsed request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) route: Route,
    pub(crate) query: Query,
    pub(crate) attributes: Attributes,
}

impl Call {
    pub(crate) fn of(request: &Request) -> Call {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let (route, query) = (route(path), Query::parse(query));
        let attributes = attributes(&request.method, &route, &query);
        Call { route, query, attributes }
    }
}

fn route(path: &str) -> Route {
    let parts: Vec<String> = path.trim_matches('/').split('/').map(|part| decode(part, false)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group @ ("coordination.k8s.io" | "discovery.k8s.io"), "v1", rest @ ..] => (*group, rest),
        _ => return Route::Other(path.to_owned()),
    };
    let resource = |plural: &str| Resource::named(plural).filter(|r| r.group() == group);
    let (resource, namespace, name) = match *rest {
        ["namespaces", namespace, plural] => (resource(plural), Some(namespace), None),
        ["namespaces", namespace, plural, name] => (resource(plural), Some(namespace), Some(name)),
        [plural] => (resource(plural), None, None),
        _ => return Route::Other(path.to_owned()),
    };
    match (resource, namespace.map(str::to_owned), name.map(str::to_owned)) {
        (Some(resource), Some(namespace), Some(name)) => Route::Object { resource, namespace, name },
        (Some(resource), namespace, None) => Route::Collection { resource, namespace },
        _ => Route::Other(path.to_owned()),
    }
}

fn attributes(method: &str, route: &Route, query: &Query) -> Attributes {
    let (resource, namespace, name) = match route {
        Route::Object { resource, namespace, name } => (resource, namespace.clone(), name.clone()),
        Route::Collection { resource, namespace } => {
            // A list or a watch of one name is a request for that name.
            let name = query.field("metadata.name").filter(|_| method == "GET");
            let name = name.unwrap_or_default();
            (resource, namespace.clone().unwrap_or_default(), name)
        }
        Route::Other(_) => {
            return Attributes { verb: lowercase(method), ..Attributes::default() };
        }
    };
    let named = matches!(route, Route::Object { .. });
    let verb = match method {
        "GET" if named => "get",
        "GET" if query.is_on("watch") => "watch",
        "GET" => "list",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" if named => "delete",
        "DELETE" => "deletecollection",
        _ => "",
    };
    Attributes { verb, resource: resource.plural(), namespace, name }
}

fn lowercase(method: &str) -> &'static str {
    match method {
        "GET" => "get",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// The decoded query parameters.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Query {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        };
        Query(query.split('&').filter(|p| !p.is_empty()).map(pair).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value, "" | "1" | "t" | "T" | "true" | "True"))
    }

    /// The value that the field selector demands of a field.
    pub(crate) fn field(&self, field: &str) -> Option<String> {
        let found = self.fields().find(|(known, _)| *known == Some(field));
        found.map(|(_, value)| value.to_owned())
    }

    /// The part of the field selector that cannot be served, if there is one.
    pub(crate) fn unknown_field(&self) -> Option<&str> {
        let known = |field: Option<&str>| matches!(field, Some("metadata.name" | "metadata.namespace"));
        self.fields().find(|(field, _)| !known(*field)).map(|(field, value)| field.unwrap_or(value))
    }

    /// The terms of the field selector: field and value, or no field and a term of another form.
    fn fields(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let selector = self.get("fieldSelector").unwrap_or_default();
        selector.split(',').filter(|term| !term.is_empty()).map(|term| {
            match term.split_once("==").or_else(|| term.split_once('=')) {
                Some((field, value)) if !field.ends_with('!') => (Some(field), value),
                _ => (None, term),
            }
        })
    }
}

/// Decodes percent-encoding, and in a query `+` for a space. Invalid encodings are kept.
fn decode(text: &str, in_query: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let encoded = after.get(..2).filter(|_| byte == b'%').and_then(hex);
        rest = if encoded.is_some() { &after[2..] } else { after };
        bytes.push(encoded.unwrap_or(if byte == b'+' && in_query { b' ' } else { byte }));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
}

/// The form in which the client wants objects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    Json,
    /// What kubectl prints.
    Table,
}

/// The first form in an `Accept` header that this server has; none if there is none.
pub(crate) fn accepted_form(accept: Option<&str>) -> Option<Form> {
    let accept = accept.map(str::trim).filter(|accept| !accept.is_empty()).unwrap_or("*/*");
    accept.split(',').find_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        if !matches!(media, "application/json" | "application/*" | "*/*") {
            return None;
        }
        match parts.find_map(|parameter| parameter.strip_prefix("as=")) {
            None => Some(Form::Json),
            Some("Table") => Some(Form::Table),
            Some(_) => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_read_from_an_encoded_query() {
        let query = Query::parse("watch=1&fieldSelector=metadata.name%3Dmy+app&x=%zz");
        assert_eq!(query.field("metadata.name").as_deref(), Some("my app"));
        assert_eq!(query.unknown_field(), None);
        assert_eq!(query.get("x"), Some("%zz"));
    }

    #[test]
    fn inequality_cannot_be_served() {
        let query = Query::parse("fieldSelector=metadata.name!%3Dx");
        assert_eq!(query.unknown_field(), Some("metadata.name!=x"));
    }

    #[test]
    fn the_first_form_known_is_taken() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(accepted_form(Some(kubectl)), Some(Form::Table));
        let mixed = "application/vnd.kubernetes.protobuf, application/json";
        assert_eq!(accepted_form(Some(mixed)), Some(Form::Json));
        assert_eq!(accepted_form(Some("application/vnd.kubernetes.protobuf")), None);
    }
}
