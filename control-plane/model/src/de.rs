//! serde over a marked tree: every error gets its place and the nearest known name.
//!
//! serde stops at the first error. To show all of them at once, [`read`] notes the error, marks its node as
//! broken and reads again: a broken node is left out of its map or list. What its absence then causes
//! ("missing field") is no error of its own; it only spreads the break to the parent, in silence.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use weir_config::policy::SCALAR;

use crate::node::{Entry, Id, Kind, Plain, Tree, plain};
use crate::problem::{Problem, nearest};

/// Most problems that are looked for in one document.
const MAX_PROBLEMS: usize = 100;

/// Reads the tree as a `T`, or says all that keeps it from being one.
pub fn read<T: for<'t> Deserialize<'t>>(tree: &Tree) -> Result<T, Vec<Problem>> {
    let mut problems = tree.problems.clone();
    let mut broken = BTreeSet::new();
    // Each round but the last breaks one more node, so this ends; the bound keeps it short.
    while problems.len() < MAX_PROBLEMS {
        let error = match T::deserialize(De { tree, broken: &broken, id: Tree::ROOT }) {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(error) => error,
        };
        let at = error.at.unwrap_or(Tree::ROOT);
        if let Some(problem) = error.problem(tree, at, &broken) {
            problems.push(problem);
        }
        if !broken.insert(at) || at == Tree::ROOT {
            break;
        }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(problems)
}

#[derive(Debug)]
struct Error {
    message: String,
    hint: Option<String>,
    /// The innermost node that the error was seen at.
    at: Option<Id>,
    /// Where to point, if not at the node's beginning.
    position: Option<(usize, usize)>,
    /// The field that is not there.
    missing: Option<&'static str>,
    /// The consequence of another error.
    silent: bool,
}

impl Error {
    fn new(message: String, hint: Option<String>) -> Error {
        Error { message, hint, at: None, position: None, missing: None, silent: false }
    }

    fn at(mut self, id: Id) -> Error {
        self.at = self.at.or(Some(id));
        self
    }

    fn problem(self, tree: &Tree, at: Id, broken: &BTreeSet<Id>) -> Option<Problem> {
        let node = tree.get(at);
        let follows = match (&node.kind, self.missing) {
            (Kind::Map(entries), Some(missing)) => {
                entries.iter().any(|entry| entry.key == missing && broken.contains(&entry.value))
            }
            _ => self.silent,
        };
        let (line, column) = self.position.unwrap_or((node.line, node.column));
        let problem =
            Problem { hint: self.hint, ..Problem::error(&node.path, self.message).at(line, column) };
        (!follows).then_some(problem)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// One of the known names, or the most like one, for what was written.
fn unknown(what: &str, name: &str, known: &'static [&'static str]) -> Error {
    let listed = || match known {
        [] => None,
        known => Some(format!("known: {}", quote(known))),
    };
    let near = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
    Error::new(format!("unknown {what} `{name}`"), near.or_else(listed))
}

fn quote(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Error {
        Error::new(message.to_string(), None)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Error {
        let expected = expected.to_string();
        let text_wanted = expected == "a string";
        let expected = match expected.as_str() {
            "a string" => "text",
            "a boolean" => "`true` or `false`",
            "a sequence" => "a list",
            "u32" | "u64" => "a whole number",
            "newtype variant" | "struct variant" | "unit variant" => "a map with one field",
            other if other.starts_with("struct ") => "a map of fields",
            other => other,
        };
        let scalar = match found {
            Unexpected::Str(text) => Some(format!("`{text}`")),
            Unexpected::Unsigned(number) => Some(format!("`{number}`")),
            Unexpected::Signed(number) => Some(format!("`{number}`")),
            Unexpected::Float(number) => Some(format!("`{number}`")),
            Unexpected::Bool(flag) => Some(format!("`{flag}`")),
            _ => None,
        };
        let hint = (text_wanted && scalar.is_some()).then(|| "put it in quotes".to_owned());
        let found = match found {
            Unexpected::Map => "a map".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
            _ => scalar.unwrap_or_else(|| "a bare name".to_owned()),
        };
        Error::new(format!("expected {expected}, found {found}"), hint)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Error {
        Error::invalid_type(found, expected)
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Error {
        unknown("value", name, known)
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Error {
        unknown("field", name, known)
    }

    fn missing_field(name: &'static str) -> Error {
        Error { missing: Some(name), ..Error::new(format!("missing field `{name}`"), None) }
    }
}

#[derive(Clone, Copy)]
struct De<'t> {
    tree: &'t Tree,
    broken: &'t BTreeSet<Id>,
    id: Id,
}

impl<'t> De<'t> {
    fn kind(self) -> &'t Kind {
        &self.tree.get(self.id).kind
    }

    fn child(self, id: Id) -> De<'t> {
        De { id, ..self }
    }

    fn is_null(self) -> bool {
        matches!(self.kind(), Kind::Scalar { text, quoted: false } if plain(text) == Plain::Null)
    }

    fn invalid(self, expected: &dyn Expected) -> Error {
        let found = match self.kind() {
            Kind::List(_) => Unexpected::Seq,
            Kind::Map(_) => Unexpected::Map,
            Kind::Scalar { .. } if self.is_null() => Unexpected::Unit,
            Kind::Scalar { text, .. } => Unexpected::Str(text),
        };
        <Error as de::Error>::invalid_type(found, expected).at(self.id)
    }
}

impl<'de, 't: 'de> Deserializer<'de> for De<'t> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = match self.kind() {
            Kind::Scalar { text, quoted: true } => visitor.visit_str(text),
            Kind::Scalar { text, quoted: false } => match plain(text) {
                Plain::Null => visitor.visit_unit(),
                Plain::Bool(flag) => visitor.visit_bool(flag),
                Plain::Unsigned(number) => visitor.visit_u64(number),
                Plain::Signed(number) => visitor.visit_i64(number),
                Plain::Float(number) => visitor.visit_f64(number),
                Plain::Text(text) => visitor.visit_str(text),
            },
            Kind::List(items) => visitor.visit_seq(Items { de: self, left: items.iter() }),
            Kind::Map(entries) => {
                visitor.visit_map(Entries { de: self, left: entries.iter(), current: None })
            }
        };
        value.map_err(|error| error.at(self.id))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name != SCALAR {
            return visitor.visit_newtype_struct(self);
        }
        match self.kind() {
            Kind::Scalar { text, .. } if !self.is_null() => {
                visitor.visit_str(text).map_err(|error: Error| error.at(self.id))
            }
            _ => Err(self.invalid(&visitor)),
        }
    }

    // serde would also read a struct from a list, by position; a policy has names.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.kind() {
            Kind::Map(_) => self.deserialize_any(visitor),
            _ => Err(self.invalid(&"a map of fields")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let value = match self.kind() {
            // What stands here may be a credential: it must not be shown.
            Kind::Scalar { .. } if name == "Secret" => Err(Error::new(
                "a credential is never written into a policy".to_owned(),
                Some("say where it is found: {env: NAME}, {file: PATH} or {secret: NAME}".to_owned()),
            )),
            Kind::Map(entries) => match entries.as_slice() {
                [entry] => visitor.visit_enum(Variant { de: self, entry }),
                _ => Err(Error::new(format!("expected one field of {}", quote(known)), None)),
            },
            Kind::Scalar { text, .. } if !self.is_null() => {
                let name: StrDeserializer<'_, Error> = text.as_str().into_deserializer();
                visitor.visit_enum(name)
            }
            _ => Err(self.invalid(&format!("one of {}", quote(known)).as_str())),
        };
        value.map_err(|error| error.at(self.id))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'t> {
    de: De<'t>,
    left: std::slice::Iter<'t, Id>,
}

impl<'de, 't: 'de> SeqAccess<'de> for Items<'t> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(id) = self.left.find(|id| !self.de.broken.contains(id)) else { return Ok(None) };
        seed.deserialize(self.de.child(*id)).map(Some).map_err(|error| error.at(*id))
    }
}

struct Entries<'t> {
    de: De<'t>,
    left: std::slice::Iter<'t, Entry>,
    current: Option<&'t Entry>,
}

impl<'de, 't: 'de> MapAccess<'de> for Entries<'t> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.left.find(|entry| !self.de.broken.contains(&entry.value));
        let Some(entry) = self.current else { return Ok(None) };
        let key: StrDeserializer<'_, Error> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| at_key(error, entry))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let id = self.current.map_or(self.de.id, |entry| entry.value);
        seed.deserialize(self.de.child(id)).map_err(|error| error.at(id))
    }
}

fn at_key(error: Error, entry: &Entry) -> Error {
    Error { position: Some((entry.line, entry.column)), ..error.at(entry.value) }
}

/// A map of one entry, as a choice with its content.
struct Variant<'t> {
    de: De<'t>,
    entry: &'t Entry,
}

impl<'de, 't: 'de> EnumAccess<'de> for Variant<'t> {
    type Error = Error;
    type Variant = De<'t>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, De<'t>), Error> {
        let Variant { de, entry } = self;
        if de.broken.contains(&entry.value) {
            return Err(Error { silent: true, ..Error::new(String::new(), None) });
        }
        let name: StrDeserializer<'_, Error> = entry.key.as_str().into_deserializer();
        let name = seed.deserialize(name).map_err(|error| at_key(error, entry))?;
        Ok((name, de.child(entry.value)))
    }
}

impl<'de, 't: 'de> VariantAccess<'de> for De<'t> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        if self.is_null() { Ok(()) } else { Err(self.invalid(&"nothing more")) }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self).map_err(|error| error.at(self.id))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_any(visitor)
    }
}
