//! Tools as OpenAI's models read them: a namespace of functions in a notation like TypeScript's. The JSON Schema that
//! a client sends never reaches the model; this text does, and it is what is billed.

use weir_sorted::trim;
use weir_wire::json::{Kind, Value};

/// Deeper schemas are `any`.
const DEPTH: usize = 32;

/// The namespace of a list of tools, and how many of them have a first parameter without a description.
pub fn namespace(tools: Value<'_, '_>) -> (String, u64) {
    let mut out = String::from("namespace functions {\n\n");
    let mut undescribed = 0;
    for tool in tools.items() {
        let function = tool.get("function").or(tool.get("custom")).unwrap_or(tool);
        let text = |key: &str| function.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        comment(&mut out, &text("description"));
        out.push_str("type ");
        out.push_str(&text("name"));
        let parameters = function.get("parameters");
        let properties = parameters.and_then(|schema| schema.get("properties"));
        match parameters.filter(|_| properties.is_some_and(|properties| !properties.is_empty())) {
            Some(schema) => {
                out.push_str(" = (_: {\n");
                object(&mut out, schema, 0);
                out.push_str("}) => any;\n\n");
                let first = properties.and_then(|properties| properties.members().next());
                undescribed += u64::from(first.is_none_or(|(_, first)| first.get("description").is_none()));
            }
            None => out.push_str(" = () => any;\n\n"),
        }
    }
    out.push_str("} // namespace functions");
    (out, undescribed)
}

fn comment(out: &mut String, text: &str) {
    let text = trim(text);
    if !text.is_empty() {
        out.push_str("// ");
        out.push_str(text);
        out.push('\n');
    }
}

/// The properties of an object, one a line.
fn object(out: &mut String, schema: Value<'_, '_>, depth: usize) {
    let required = schema.get("required");
    let indent = |out: &mut String| (0..depth).for_each(|_| out.push_str("  "));
    let Some(properties) = schema.get("properties") else { return };
    for (key, property) in properties.members() {
        if depth == 0
            && let Some(text) = property.get("description").and_then(|value| value.as_str())
        {
            comment(out, &text);
        }
        let name = key.as_str();
        indent(out);
        out.push_str(&name);
        // A long list of required names is read to its 256th: a hostile one must not make the work its square.
        let needed = required.is_some_and(|list| list.items().take(256).any(|item| item.is_str(&name)));
        out.push_str(if needed { ": " } else { "?: " });
        kind(out, property, depth);
        match property.get("default") {
            Some(default) => {
                out.push_str(", // default: ");
                literal(out, default, false);
                out.push('\n');
            }
            None => out.push_str(",\n"),
        }
    }
}

/// The type of a value.
fn kind(out: &mut String, schema: Value<'_, '_>, depth: usize) {
    if depth > DEPTH {
        out.push_str("any");
        return;
    }
    if let Some(values) = schema.get("enum") {
        return each(out, values, |out, value| literal(out, value, true));
    }
    if let Some(value) = schema.get("const") {
        return literal(out, value, true);
    }
    if let Some(choices) = schema.get("anyOf").or(schema.get("oneOf")) {
        return each(out, choices, |out, choice| kind(out, choice, depth + 1));
    }
    let Some(name) = schema.get("type") else { return out.push_str("any") };
    if name.kind() == Kind::Array {
        return each(out, name, |out, name| out.push_str(word(name)));
    }
    match word(name) {
        "array" => {
            match schema.get("items") {
                Some(items) => kind(out, items, depth + 1),
                None => out.push_str("any"),
            }
            out.push_str("[]");
        }
        "object" if schema.get("properties").is_some_and(|properties| !properties.is_empty()) => {
            out.push_str("{\n");
            object(out, schema, depth + 1);
            out.push('}');
        }
        word => out.push_str(word),
    }
}

fn each(out: &mut String, list: Value<'_, '_>, one: impl Fn(&mut String, Value<'_, '_>)) {
    for (at, value) in list.items().enumerate() {
        if at > 0 {
            out.push_str(" | ");
        }
        one(out, value);
    }
}

fn word(name: Value<'_, '_>) -> &'static str {
    const WORDS: &[&str] = &["string", "boolean", "null", "object", "array", "number"];
    if name.is_str("integer") {
        return "number";
    }
    WORDS.iter().find(|word| name.is_str(word)).unwrap_or(&"any")
}

/// A value as JSON, or a string without its quotes.
fn literal(out: &mut String, value: Value<'_, '_>, quoted: bool) {
    match value.str_raw().filter(|_| !quoted) {
        Some(text) => out.push_str(text),
        None => out.push_str(str::from_utf8(value.raw()).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::json::{Limits, parse};

    use super::*;

    #[test]
    fn schemas_become_types() {
        let cases = [
            (r#"[{"function":{"name":"f"}}]"#, "type f = () => any;\n\n", 0),
            (
                r#"[{"name":"f","description":" What it does.\n"}]"#,
                "// What it does.\ntype f = () => any;\n\n",
                0,
            ),
            (
                r#"[{"function":{"name":"f","parameters":{"properties":{"a":{"type":"integer","description":"How many"},"b":{"type":["string","null"],"default":"x"}},"required":["a"]}}}]"#,
                "type f = (_: {\n// How many\na: number,\nb?: string | null, // default: x\n}) => any;\n\n",
                0,
            ),
            (
                r#"[{"function":{"name":"f","parameters":{"properties":{"a":{"enum":["x","y",1]},"b":{"type":"array","items":{"anyOf":[{"type":"boolean"},{"$ref":"z"}]}},"c":{"type":"object","properties":{"d":{"const":2}}}}}}}]"#,
                "type f = (_: {\na?: \"x\" | \"y\" | 1,\nb?: boolean | any[],\nc?: {\n  d?: 2,\n},\n}) => any;\n\n",
                1,
            ),
        ];
        for (tools, text, undescribed) in cases {
            let doc = parse(tools.as_bytes(), &Limits::default()).unwrap();
            let whole = format!("namespace functions {{\n\n{text}}} // namespace functions");
            assert_eq!(namespace(doc.root()), (whole, undescribed));
        }
    }

    #[test]
    fn a_schema_of_any_depth_and_form_ends() {
        let nested = |open: &str, close: &str, n: usize| {
            let inner = format!("{}{{}}{}", open.repeat(n), close.repeat(n));
            format!(r#"[{{"name":"f","parameters":{{"properties":{{"a":{inner}}}}}}}]"#)
        };
        for tools in [
            nested(r#"{"type":"array","items":"#, "}", 40),
            nested(r#"{"type":["object","object"],"properties":{"a":"#, "}}", 20),
            nested(r#"{"anyOf":[{},{},"#, "]}", 20),
            r#"[1,null,{"function":[]},{"parameters":{"properties":[1]}},{"parameters":{"properties":{"a":3}}}]"#
                .to_owned(),
        ] {
            let doc = parse(tools.as_bytes(), &Limits::default()).unwrap();
            assert!(namespace(doc.root()).0.len() < 2 * tools.len() + 500, "{tools}");
        }
    }
}
