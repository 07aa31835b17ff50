//! Who asks, as rules see it: attributes under the names that oslo.context gives them.

use serde_json::{Map, Value};

use super::defaults::ScopeType;
use crate::Caller;

/// The attributes of a caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials(Map<String, Value>);

impl Credentials {
    /// Attributes as another program of OpenStack would hand them to oslo.policy. `system_scope`
    /// counts as `system`, too, as there.
    pub fn new(mut attributes: Map<String, Value>) -> Self {
        if let Some(scope) = attributes.get("system_scope").filter(|scope| is_true(scope)).cloned() {
            attributes.insert("system".to_owned(), scope);
        }
        Self(attributes)
    }

    /// The attributes.
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.0
    }

    /// What the token is scoped to.
    pub fn scope(&self) -> ScopeType {
        let has = |name| self.0.get(name).is_some_and(is_true);
        if has("system") {
            ScopeType::System
        } else if has("domain_id") {
            ScopeType::Domain
        } else {
            ScopeType::Project
        }
    }
}

impl From<&Caller> for Credentials {
    fn from(caller: &Caller) -> Self {
        Self::new(caller.policy_values())
    }
}

/// What Python takes for true.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}
