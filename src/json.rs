//! Partial JSON parsing: only the needed fields are parsed; the rest is skipped without being stored.

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

/// The maximum length in bytes of a string that is kept in full.
pub(crate) const LONGEST_TEXT: usize = 1024;

/// How many bytes of a longer one are kept.
const KEPT: usize = 512;

/// Calls `visit` for each field of a JSON object, in order, with its name and the text of its value. `null` has no
/// fields.
pub(crate) fn each_field<'a>(text: &'a str, visit: impl FnMut(&str, &'a RawValue)) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_any(Fields(visit))?;
    json.end()
}

struct Fields<F>(F);

impl<'de, F: FnMut(&str, &'de RawValue)> Visitor<'de> for Fields<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((Name(name), value)) = map.next_entry()? {
            (self.0)(&name, value);
        }
        Ok(())
    }
}

/// A field name. It is copied only if it contains escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A JSON value. The content of arrays and objects is dropped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Text(Arc<str>),
    /// What [`bounded`] keeps of a string longer than [`LONGEST_TEXT`].
    LongText(Arc<str>),
    Number(Number),
    Other,
}

impl Scalar {
    /// Parses the text of a value.
    pub(crate) fn of(value: &RawValue) -> Scalar {
        serde_json::from_str(value.get()).unwrap_or(Scalar::Other)
    }

    pub(crate) fn text(&self) -> Option<&Arc<str>> {
        match self {
            Scalar::Text(text) | Scalar::LongText(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Scalar::Number(number) => number.as_u64(),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(AnyScalar)
    }
}

struct AnyScalar;

impl<'de> Visitor<'de> for AnyScalar {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
        Ok(Number::from_f64(number).map_or(Scalar::Other, Scalar::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        let kept = bounded(text);
        Ok(if text.len() > LONGEST_TEXT { Scalar::LongText(kept) } else { Scalar::Text(kept) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Scalar, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// A copy of `text` that changes whenever `text` changes. Of a string longer than [`LONGEST_TEXT`] it keeps the
/// beginning, the length and a hash of the whole.
pub(crate) fn bounded(text: &str) -> Arc<str> {
    if text.len() <= LONGEST_TEXT {
        return text.into();
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    let beginning = &text[..text.floor_char_boundary(KEPT)];
    format!("{beginning}… ({} bytes, hash {:016x})", text.len(), hasher.finish()).into()
}

/// Writes a JSON object field by field.
pub(crate) struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl ObjectWriter<'_> {
    /// Writes an object with the fields that `fields` writes.
    pub(crate) fn write(out: &mut Vec<u8>, fields: impl FnOnce(&mut ObjectWriter)) {
        out.push(b'{');
        fields(&mut ObjectWriter { out, is_empty: true });
        out.push(b'}');
    }

    /// Writes a field whose value is an object.
    pub(crate) fn object(&mut self, name: &str, fields: impl FnOnce(&mut ObjectWriter)) {
        self.name(name);
        ObjectWriter::write(self.out, fields);
    }

    /// Writes a field.
    pub(crate) fn value(&mut self, name: &str, value: &serde_json::Value) {
        self.name(name);
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    /// Copies the fields of an object without parsing their values, except those in `names`, whose values it returns.
    /// Of several fields with the same name in `names`, the last one counts.
    pub(crate) fn copy_except<'a, const N: usize>(
        &mut self,
        object: &'a str,
        names: [&str; N],
    ) -> [Option<&'a str>; N] {
        let mut passed_over = [None; N];
        // The object was parsed before, so there is no error.
        let _ = each_field(object, |name, value| match names.iter().position(|it| *it == name) {
            Some(index) => passed_over[index] = Some(value.get()),
            None => self.copy(name, value),
        });
        passed_over
    }

    /// Copies the fields of an object whose names are wanted, without parsing their values.
    pub(crate) fn copy_if(&mut self, object: &str, is_wanted: impl Fn(&str) -> bool) {
        // The object was parsed before, so there is no error.
        let _ = each_field(object, |name, value| {
            if is_wanted(name) {
                self.copy(name, value);
            }
        });
    }

    fn copy(&mut self, name: &str, value: &RawValue) {
        self.name(name);
        self.out.extend_from_slice(value.get().as_bytes());
    }

    fn name(&mut self, name: &str) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(b',');
        }
        self.out.extend_from_slice(serde_json::Value::from(name).to_string().as_bytes());
        self.out.push(b':');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> Scalar {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn non_scalars_are_skipped_at_any_depth() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["[1,[2,{\"a\":3}]]", r#"{"a":{"b":[]}}"#, "true", &deep] {
            assert_eq!(scalar(text), Scalar::Other);
        }
        assert_eq!(scalar("null"), Scalar::Null);
        assert_eq!(scalar(r#""a\"b""#), Scalar::Text("a\"b".into()));
        assert_eq!(scalar("18446744073709551615").as_u64(), Some(u64::MAX));
    }

    #[test]
    fn a_long_text_is_bounded_and_every_change_of_it_shows() {
        let longest = "é".repeat(LONGEST_TEXT / 2);
        assert_eq!(&*bounded(&longest), longest);
        let long = "é".repeat(1_000_000);
        let mut others = vec![long.clone() + "é", long[2..].to_owned()];
        for at in [0, 1_000_000, 1_999_998] {
            others.push(format!("{}x\u{1}{}", &long[..at], &long[at + 2..]));
        }
        assert!(bounded(&long).starts_with("éé") && bounded(&long).len() < LONGEST_TEXT);
        for other in others {
            assert_ne!(bounded(&long), bounded(&other));
        }
        assert!(matches!(scalar(&format!("{long:?}")), Scalar::LongText(text) if text == bounded(&long)));
    }

    #[test]
    fn an_object_is_copied_as_it_is_but_for_what_is_passed_over() {
        let object = r#" { "a" : 1.0 , "b":{"x": [ ]}, "a\u0062\n":"<\u003c", "b":2 ,"c":null}"#;
        let mut out = Vec::new();
        let mut passed_over = [None; 2];
        ObjectWriter::write(&mut out, |it| {
            passed_over = it.copy_except(object, ["b", "d"]);
            it.object("d", |it| it.value("e", &"\"".into()));
        });
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":1.0,"ab\n":"<\u003c","c":null,"d":{"e":"\""}}"#);
        assert_eq!(passed_over, [Some("2"), None]);
    }
}
