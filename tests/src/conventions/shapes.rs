//! The conventions' JSON schemas of messages, as far as they use JSON Schema. A part whose type a schema names must be
//! of that schema: that any object with a type is some part would excuse every mistake.

use std::collections::BTreeMap;

use serde_json::Value;

/// Attributes that hold JSON, and the files of their schemas.
const FILES: [(&str, &str); 3] = [
    ("gen_ai.system_instructions", "gen-ai-system-instructions.json"),
    ("gen_ai.input.messages", "gen-ai-input-messages.json"),
    ("gen_ai.output.messages", "gen-ai-output-messages.json"),
];

/// Schemas by attribute.
#[derive(Default)]
pub struct Shapes(BTreeMap<&'static str, Value>);

impl Shapes {
    /// The published ones, in this folder.
    pub fn published(folder: &std::path::Path) -> Self {
        let read = |file: &str| {
            let text = std::fs::read_to_string(folder.join(file)).expect("a schema of the conventions");
            serde_json::from_str(&text).expect("JSON")
        };
        Self(FILES.into_iter().map(|(name, file)| (name, read(file))).collect())
    }

    /// What is wrong with the value of an attribute; nothing of one that is no JSON.
    pub fn fault(&self, name: &str, value: &Value) -> Option<String> {
        FILES.iter().find(|(known, _)| *known == name)?;
        let read = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let Some(read) = read.filter(Value::is_array) else {
            return Some(format!("{value} is no list in JSON"));
        };
        let schema = self.0.get(name)?;
        fits(schema, schema, &read).err()
    }
}

fn fits(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.strip_prefix("#/$defs/").expect("a reference within the schema");
        return fits(root, &root["$defs"][name], value);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let resolved =
            |choice: &Value| match choice["$ref"].as_str().and_then(|it| it.strip_prefix("#/$defs/")) {
                Some(name) => root["$defs"][name].clone(),
                None => choice.clone(),
            };
        let choices: Vec<Value> = choices.iter().map(resolved).collect();
        let kind = &value["type"];
        if let Some(named) =
            choices.iter().find(|one| kind.is_string() && one["properties"]["type"]["const"] == *kind)
        {
            return fits(root, named, value);
        }
        let mut tried = choices.iter().map(|choice| fits(root, choice, value));
        return if tried.any(|fits| fits.is_ok()) { Ok(()) } else { Err(format!("{value} fits nothing")) };
    }
    let of = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("null") => value.is_null(),
        Some(other) => panic!("the conventions have a `{other}` now"),
        None => true,
    };
    let constant = schema.get("const").is_none_or(|wanted| wanted == value);
    let member = schema["enum"].as_array().is_none_or(|members| members.contains(value));
    if !of || !constant || !member {
        return Err(format!("{value} is not {}", schema["title"]));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            return Err(format!("{value} has no `{name}`"));
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(member) = value.get(name) {
            fits(root, schema, member)?;
        }
    }
    value.as_array().into_iter().flatten().try_for_each(|item| fits(root, &schema["items"], item))
}
