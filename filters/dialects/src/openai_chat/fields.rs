//! Reading single fields of a request with OpenAI's errors. `null` always means absent: SDKs write it.

use weir_wire::json::{Kind, Value};

use crate::hub::{Invalid, Number};

/// A truth value, false where null.
pub(crate) fn bool(value: Value<'_, '_>, param: &str) -> Result<bool, Invalid> {
    match value.as_bool() {
        Some(it) => Ok(it),
        None if value.is_null() => Ok(false),
        None => Err(Invalid::value(param, format!("'{param}' must be true or false"))),
    }
}

/// A number of things.
pub(crate) fn count(value: Value<'_, '_>, param: &str) -> Result<Option<u64>, Invalid> {
    match value.as_u64() {
        Some(it) => Ok(Some(it)),
        None if value.is_null() => Ok(None),
        None => Err(Invalid::value(param, format!("'{param}' must be a non-negative integer"))),
    }
}

/// A number.
pub(crate) fn number(value: Value<'_, '_>, param: &str) -> Result<Option<Number>, Invalid> {
    match value.as_f64() {
        Some(it) => Ok(Some(Number { value: it, text: raw(value) })),
        None if value.is_null() => Ok(None),
        None => Err(Invalid::value(param, format!("'{param}' must be a number"))),
    }
}

/// A string.
pub(crate) fn text(value: Value<'_, '_>, param: &str) -> Result<Option<String>, Invalid> {
    match value.as_str() {
        Some(it) => Ok(Some(it.into_owned())),
        None if value.is_null() => Ok(None),
        None => Err(Invalid::value(param, format!("'{param}' must be a string"))),
    }
}

/// A member that is a string, escapes resolved; none where it is absent or something else.
pub(crate) fn member(value: Value<'_, '_>, key: &str) -> Option<String> {
    value.get(key).and_then(|value| value.as_str()).map(|text| text.into_owned())
}

/// The raw text of a value: all documents are UTF-8.
pub(crate) fn raw(value: Value<'_, '_>) -> String {
    String::from_utf8_lossy(value.raw()).into_owned()
}

/// `cache_control: {"type": "ephemeral", "ttl"?}` on a part or a tool: some for a cache point, with its time to live.
pub(crate) fn cache_control(holder: Value<'_, '_>) -> Option<Option<String>> {
    let control = holder.get("cache_control").filter(|control| control.kind() == Kind::Object)?;
    control.get("type").filter(|kind| kind.is_str("ephemeral"))?;
    Some(member(control, "ttl"))
}

/// The path of a member.
#[inline(never)]
pub(crate) fn sub(path: &str, key: &str) -> String {
    [path, ".", key].concat()
}

/// The path of an item.
#[inline(never)]
pub(crate) fn item(path: &str, at: usize) -> String {
    format!("{path}[{at}]")
}
