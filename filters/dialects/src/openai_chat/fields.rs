//! Reading single fields of a request, with OpenAI's errors. `null` always means absent: SDKs write it.
//!
//! All dialects read their fields here, in hundreds of places. So nothing is generic and nothing is inlined: what is
//! found is put where it belongs, and a place pays for a call.

use std::ops::Range;

use weir_sorted::Gather;
use weir_wire::json::{self, Doc, Kind, Limits, Value};

use crate::hub::{Chat, Failure, Invalid, Loss, Number, ResponseFormat, Role, Tool, ToolChoice};

/// A truth value, false where null.
#[inline(never)]
pub(crate) fn bool(value: Value<'_, '_>, param: &str) -> Result<bool, Invalid> {
    match value.as_bool() {
        Some(it) => Ok(it),
        None if value.is_null() => Ok(false),
        None => Err(wrong(param, "true or false")),
    }
}

/// A number of things.
#[inline(never)]
pub(crate) fn count(value: Value<'_, '_>, param: &str) -> Result<Option<u64>, Invalid> {
    match value.as_u64() {
        Some(it) => Ok(Some(it)),
        None if value.is_null() => Ok(None),
        None => Err(wrong(param, "a non-negative integer")),
    }
}

/// Whether a number of things can be one.
#[inline(never)]
pub(crate) fn countable(value: Value<'_, '_>, param: &str) -> Result<(), Invalid> {
    count(value, param).map(drop)
}

/// A number.
#[inline(never)]
pub(crate) fn number(value: Value<'_, '_>, param: &str, into: &mut Option<Number>) -> Result<(), Invalid> {
    *into = value.as_f64().map(|it| Number { value: it, text: raw(value) });
    if into.is_none() && !value.is_null() { Err(wrong(param, "a number")) } else { Ok(()) }
}

/// A string.
#[inline(never)]
pub(crate) fn text(value: Value<'_, '_>, param: &str, into: &mut Option<String>) -> Result<(), Invalid> {
    *into = owned(value);
    if into.is_none() && !value.is_null() { Err(wrong(param, "a string")) } else { Ok(()) }
}

fn wrong(param: &str, wanted: &str) -> Invalid {
    Invalid::value(param, &["'", param, "' must be ", wanted].concat())
}

/// A setting that several dialects have by OpenAI's name. Others are left alone.
#[inline(never)]
pub(crate) fn setting(key: &str, value: Value<'_, '_>, chat: &mut Chat) -> Result<(), Invalid> {
    by_name!(key => {
        "temperature" => number(value, key, &mut chat.temperature)?,
        "top_p" => number(value, key, &mut chat.top_p)?,
        "frequency_penalty" => number(value, key, &mut chat.frequency_penalty)?,
        "presence_penalty" => number(value, key, &mut chat.presence_penalty)?,
        "top_k" => chat.top_k = count(value, key)?,
        "n" => chat.n = count(value, key)?,
        "max_completion_tokens" => chat.max_output = count(value, key)?,
        "logprobs" => chat.logprobs = bool(value, key)?,
        "parallel_tool_calls" => chat.parallel_tool_calls = Some(bool(value, key)?),
        "reasoning_effort" => text(value, key, &mut chat.effort)?,
        "service_tier" => text(value, key, &mut chat.service_tier)?,
        "user" => text(value, key, &mut chat.user)?,
        _ => {},
    });
    Ok(())
}

/// A string, escapes resolved; none where it is something else.
#[inline(never)]
pub(crate) fn owned(value: Value<'_, '_>) -> Option<String> {
    value.as_str().map(|text| text.into_owned())
}

/// A member that is a string, escapes resolved; none where it is absent or something else.
#[inline(never)]
pub(crate) fn member(value: Value<'_, '_>, key: &str) -> Option<String> {
    value.get(key).and_then(owned)
}

/// A member that is a string; empty where there is none.
#[inline(never)]
pub(crate) fn or_empty(value: Value<'_, '_>, key: &str) -> String {
    member(value, key).unwrap_or_default()
}

/// A member that is a string with something in it.
#[inline(never)]
pub(crate) fn said(value: Value<'_, '_>, key: &str) -> Option<String> {
    member(value, key).filter(|text| !text.is_empty())
}

/// A member that must be a string.
#[inline(never)]
pub(crate) fn needed(holder: Value<'_, '_>, key: &str, path: &str) -> Result<String, Invalid> {
    member(holder, key).ok_or_else(|| missing(path, key))
}

/// A member that must be a string with something in it.
#[inline(never)]
pub(crate) fn filled(holder: Value<'_, '_>, key: &str, path: &str) -> Result<String, Invalid> {
    said(holder, key).ok_or_else(|| missing(path, key))
}

/// That a member is missing.
#[inline(never)]
pub(crate) fn missing(path: &str, key: &str) -> Invalid {
    Invalid::missing(&sub(path, key))
}

/// A member that is an object.
#[inline(never)]
pub(crate) fn object<'d, 'a>(holder: Value<'d, 'a>, key: &str) -> Option<Value<'d, 'a>> {
    holder.get(key).filter(|value| value.kind() == Kind::Object)
}

/// A member that is there and not null.
#[inline(never)]
pub(crate) fn some<'d, 'a>(holder: Value<'d, 'a>, key: &str) -> Option<Value<'d, 'a>> {
    holder.get(key).filter(|value| !value.is_null())
}

/// A number of things, at the end of a path of members.
#[inline(never)]
pub(crate) fn tokens(holder: Value<'_, '_>, path: &[&str]) -> Option<u64> {
    dig(holder, path).and_then(Value::as_u64)
}

/// What stands at the end of a path of members.
#[inline(never)]
pub(crate) fn dig<'d, 'a>(holder: Value<'d, 'a>, path: &[&str]) -> Option<Value<'d, 'a>> {
    path.iter().try_fold(holder, |holder, key| holder.get(key))
}

/// A provider's answer; that it cannot be read is the provider's failure.
#[inline(never)]
pub(crate) fn parsed(body: &[u8]) -> Result<Doc<'_>, Failure> {
    json::parse(body, &Limits::default())
        .map_err(|error| Failure::unreadable(&format!("the provider's answer cannot be read: {error}")))
}

/// An event of a provider's stream; that it cannot be read is the provider's failure.
#[inline(never)]
pub(crate) fn parsed_event(payload: &[u8]) -> Result<Doc<'_>, Failure> {
    json::parse(payload, &Limits::default()).map_err(|error| {
        Failure::unreadable(&format!("an event of the provider's stream cannot be read: {error}"))
    })
}

/// Where a member stands that is a string, with its quotes.
#[inline(never)]
pub(crate) fn span(holder: Value<'_, '_>, key: &str) -> Option<Range<usize>> {
    holder.get(key).filter(|value| value.kind() == Kind::String).map(Value::range)
}

/// A member that counts something that there are few of; 0 where it is absent or too large.
#[inline(never)]
pub(crate) fn index(holder: Value<'_, '_>, key: &str) -> u32 {
    holder.get(key).and_then(Value::as_u64).and_then(|index| u32::try_from(index).ok()).unwrap_or(0)
}

/// A member that is true or false.
#[inline(never)]
pub(crate) fn truth(holder: Value<'_, '_>, key: &str) -> Option<bool> {
    holder.get(key).and_then(Value::as_bool)
}

/// Whether a member is this word.
#[inline(never)]
pub(crate) fn is(holder: Value<'_, '_>, key: &str, word: &str) -> bool {
    holder.get(key).is_some_and(|value| value.is_str(word))
}

/// Whether a value says nothing: SDKs send back what answers had, `annotations: []` and `audio: null`.
#[inline(never)]
pub(crate) fn is_nothing(value: Value<'_, '_>) -> bool {
    value.is_null() || value.kind() == Kind::Array && value.is_empty()
}

/// The strings among an array's items.
#[inline(never)]
pub(crate) fn strings(list: Value<'_, '_>) -> Vec<String> {
    list.items().filter_map(owned).gather()
}

/// The raw text of a value: all documents are UTF-8.
#[inline(never)]
pub(crate) fn raw(value: Value<'_, '_>) -> String {
    str::from_utf8(value.raw()).unwrap_or_default().to_owned()
}

/// The arguments of a call where they are an object, as the model wrote them.
#[inline(never)]
pub(crate) fn arguments(call: Value<'_, '_>) -> String {
    call.get("input").map_or_else(|| "{}".to_owned(), raw)
}

/// Whether a text is a JSON object.
#[inline(never)]
pub(crate) fn is_object(text: &str) -> bool {
    json::parse(text.as_bytes(), &Limits::default()).is_ok_and(|doc| doc.root().kind() == Kind::Object)
}

/// `cache_control: {"type": "ephemeral", "ttl"?}` on a part or a tool: some for a cache point, with its time to live.
#[inline(never)]
pub(crate) fn cache_control(holder: Value<'_, '_>) -> Option<Option<String>> {
    let control = object(holder, "cache_control").filter(|control| is(*control, "type", "ephemeral"))?;
    Some(member(control, "ttl"))
}

/// Who speaks in a message; none for words that no dialect has.
#[inline(never)]
pub(crate) fn role(message: Value<'_, '_>) -> Option<Role> {
    by_name!(message.get("role") => {
        "system" => Some(Role::System),
        "developer" => Some(Role::Developer),
        "user" => Some(Role::User),
        "assistant" => Some(Role::Assistant),
        "tool" => Some(Role::Tool),
        _ => None,
    })
}

/// A function on offer, whose members stand at `path`.
#[inline(never)]
pub(crate) fn function(
    function: Value<'_, '_>,
    path: &str,
    cache: Option<Option<String>>,
    tools: &mut Vec<Tool>,
) -> Result<(), Invalid> {
    let name = filled(function, "name", path)?;
    let parameters = some(function, "parameters");
    if parameters.is_some_and(|schema| schema.kind() != Kind::Object) {
        return Err(Invalid::value(&sub(path, "parameters"), "parameters must be a JSON Schema object"));
    }
    tools.push(Tool {
        name,
        description: member(function, "description"),
        parameters: parameters.map(raw),
        strict: truth(function, "strict"),
        cache,
    });
    Ok(())
}

/// The choice among tools that a word stands for, or the tool of this name.
#[inline(never)]
pub(crate) fn choice(value: Value<'_, '_>, named: Option<String>) -> Option<ToolChoice> {
    by_name!(value => {
        "auto" => Some(ToolChoice::Auto),
        "none" => Some(ToolChoice::None),
        "required" => Some(ToolChoice::Required),
        _ => named.map(ToolChoice::Named),
    })
}

/// The form of the answer. Its type stands at `kind` in the request, and the schema of `holder` at `schema`.
#[inline(never)]
pub(crate) fn format(
    format: Value<'_, '_>,
    holder: Value<'_, '_>,
    [kind, schema]: [&str; 2],
    chat: &mut Chat,
) -> Result<(), Invalid> {
    chat.response_format = by_name!(format.get("type") => {
        "text" => ResponseFormat::Text,
        "json_object" => ResponseFormat::JsonObject,
        "json_schema" => ResponseFormat::JsonSchema {
            schema: object(holder, "schema").map(raw).ok_or_else(|| Invalid::missing(schema))?,
            name: member(holder, "name"),
            description: member(holder, "description"),
            strict: truth(holder, "strict"),
        },
        _ => return Err(Invalid::value(kind, "must be text, json_object or json_schema")),
    });
    Ok(())
}

/// What reads an item that stands at a path.
type Reader<'r, 'd, 'a> = &'r mut dyn FnMut(Value<'d, 'a>, &str) -> Result<(), Invalid>;

/// Reads each item of an array that stands at `path`.
#[inline(never)]
pub(crate) fn each<'d, 'a>(list: Value<'d, 'a>, path: &str, read: Reader<'_, 'd, 'a>) -> Result<(), Invalid> {
    for (at, value) in list.items().enumerate() {
        read(value, &item(path, at))?;
    }
    Ok(())
}

/// Notes what is left behind.
#[inline(never)]
pub(crate) fn lose(losses: &mut Vec<Loss>, path: &str, reason: &'static str) {
    losses.push(Loss { path: path.to_owned(), reason });
}

/// Notes that a member is left behind.
#[inline(never)]
pub(crate) fn lose_in(losses: &mut Vec<Loss>, path: &str, key: &str, reason: &'static str) {
    losses.push(Loss { path: sub(path, key), reason });
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
