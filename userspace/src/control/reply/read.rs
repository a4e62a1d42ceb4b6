//! Reading what another process wrote: every field that is expected must be there, and no other.
//!
//! serde takes a field that is not there for `None`, and leaves one that it does not know. Here both are errors: a
//! field that was renamed is not to become a silent nothing.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What can be written and read again.
pub trait Readable: Serialize + DeserializeOwned {}

impl<T: Serialize + DeserializeOwned> Readable for T {}

/// Reads a value; the error names the field that is missing, unknown or wrong.
pub fn from_value<T: Readable>(value: Value) -> Result<T, String> {
    let read: T = T::deserialize(&value).map_err(|error| error.to_string())?;
    let again = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    match difference(&value, &again, "") {
        None => Ok(read),
        Some(difference) => Err(difference),
    }
}

/// Reads what a command printed with `--json`, which says in `schema` that it is of this version.
pub fn printed<T: Readable>(text: &str) -> Result<T, String> {
    let mut value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let schema = value.as_object_mut().and_then(|fields| fields.remove("schema"));
    match schema {
        Some(schema) if schema == super::SCHEMA => from_value(value),
        Some(schema) => Err(format!("its schema is {schema}, not {}", super::SCHEMA)),
        None => Err("missing field `schema`".to_owned()),
    }
}

/// The first thing that one value has and the other has not.
fn difference(written: &Value, read: &Value, at: &str) -> Option<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            let place = |field: &str| {
                if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") }
            };
            let unknown = written.keys().find(|field| !read.contains_key(*field));
            let missing = read.keys().find(|field| !written.contains_key(*field));
            unknown
                .map(|field| format!("unknown field `{}`", place(field)))
                .or_else(|| missing.map(|field| format!("missing field `{}`", place(field))))
                .or_else(|| {
                    let both = written
                        .iter()
                        .filter_map(|(field, value)| Some((field, value, read.get(field)?)));
                    both.into_iter()
                        .find_map(|(field, one, other)| difference(one, other, &place(field)))
                })
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            let both = written.iter().zip(read).enumerate();
            both.into_iter()
                .find_map(|(index, (one, other))| difference(one, other, &format!("{at}[{index}]")))
        }
        _ if written == read => None,
        _ => Some(format!("`{at}` is {written}, which is not understood")),
    }
}
