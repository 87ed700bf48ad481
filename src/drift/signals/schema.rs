//! JSON Schema: every state fits it.
//!
//! A state that does not is `drifting`, like one that breaks an invariant. References to other
//! documents are not followed: nothing is fetched, and a schema that needs one is refused.

use jsonschema::Validator;
use serde_json::Value;

use crate::drift::Error;

/// What does not fit is named up to so often.
const NAMED: usize = 5;

/// A schema, ready to be asked.
#[derive(Debug)]
pub(crate) struct Schema(Validator);

impl Schema {
    pub fn new(schema: &Value) -> Result<Self, Error> {
        let wrong = |why: String| Error::Option { key: "schema", why };
        jsonschema::validator_for(schema).map(Self).map_err(|error| wrong(error.to_string()))
    }

    /// What does not fit, in words.
    pub fn breaches(&self, state: &Value) -> Vec<String> {
        let errors = self.0.iter_errors(state).take(NAMED);
        errors.map(|error| format!("`{}`: {error}", error.instance_path())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        let schema = json!({"type": "object", "required": ["step"], "properties": {
            "step": {"type": "integer", "minimum": 1},
        }});
        let schema = Schema::new(&schema).unwrap();
        assert!(schema.breaches(&json!({"step": 3})).is_empty());
        let breaches = schema.breaches(&json!({"step": 0}));
        assert_eq!(breaches.len(), 1);
        assert!(breaches[0].starts_with("`/step`: 0 is less than"), "{breaches:?}");
    }

    #[test]
    fn what_is_no_schema_or_lies_elsewhere_is_refused() {
        for schema in [json!({"type": 5}), json!({"$ref": "https://example.com/other.json"})] {
            assert!(Schema::new(&schema).is_err(), "{schema}");
        }
    }
}
