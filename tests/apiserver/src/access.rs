//! Who a request comes from, and what that user may do.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::Rule;

/// The user of requests without a token and a certificate.
const ANONYMOUS: &str = "system:anonymous";

/// A user and its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

impl User {
    fn named(name: &str) -> User {
        User { name: name.to_owned(), groups: Vec::new() }
    }
}

/// The attributes of a request that rules match.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) verb: &'static str,
    /// Empty if the path has none; likewise the namespace and the name.
    pub(crate) resource: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// The present tokens and rules.
pub(crate) struct Access(RwLock<State>);

struct State {
    tokens: Vec<(String, String)>,
    rules: Vec<Rule>,
    /// False until there is a token or a rule; then everybody may do everything.
    enforced: bool,
}

impl Access {
    pub(crate) fn new(tokens: Vec<(String, String)>, rules: Vec<Rule>) -> Access {
        let enforced = !tokens.is_empty() || !rules.is_empty();
        Access(RwLock::new(State { tokens, rules, enforced }))
    }

    /// The user behind an `Authorization` header; none if its token is unknown.
    pub(crate) fn user(&self, authorization: Option<&str>) -> Option<User> {
        let state = self.read();
        let Some(token) = authorization.and_then(bearer) else {
            return Some(User::named(ANONYMOUS));
        };
        match state.tokens.iter().find(|(known, _)| known == token) {
            Some((_, user)) => Some(User::named(user)),
            None if state.enforced => None,
            None => Some(User::named(ANONYMOUS)),
        }
    }

    pub(crate) fn allows(&self, user: &User, wish: &Attributes) -> bool {
        let state = self.read();
        !state.enforced || state.rules.iter().any(|rule| rule.grants(user, wish))
    }

    pub(crate) fn set_tokens(&self, tokens: Vec<(String, String)>) {
        let mut state = self.write();
        state.tokens = tokens;
        state.enforced = true;
    }

    pub(crate) fn set_rules(&self, rules: Vec<Rule>) {
        let mut state = self.write();
        state.rules = rules;
        state.enforced = true;
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

impl Rule {
    fn grants(&self, user: &User, wish: &Attributes) -> bool {
        (covers(&self.user, &user.name) || user.groups.contains(&self.user))
            && self.verbs.iter().any(|verb| covers(verb, wish.verb))
            && covers(&self.resource, wish.resource)
            && (self.names.is_empty() || self.names.contains(&wish.name))
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == wish.namespace)
    }
}

fn covers(granted: &str, wanted: &str) -> bool {
    granted == "*" || granted == wanted
}
