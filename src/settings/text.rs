//! Serde for values that settings write as text for people: times (`"30s"`), sizes (`"32MiB"`),
//! addresses and networks. A field names this module by `#[serde(with = "text")]`, whether it
//! holds one value, an optional one or a list. What is printed reads back as the same value.

use std::{fmt, marker::PhantomData, net::SocketAddr, time::Duration};

use bytesize::ByteSize;
use ipnet::IpNet;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Unexpected},
};

/// Reads a field.
///
/// # Errors
/// What stands there and what would be right.
pub fn deserialize<'de, F: Field, D: Deserializer<'de>>(deserializer: D) -> Result<F, D::Error> {
    F::read(deserializer)
}

/// Writes a field.
///
/// # Errors
/// None of its own.
pub fn serialize<F: Field, S: Serializer>(field: &F, serializer: S) -> Result<S::Ok, S::Error> {
    field.write(serializer)
}

/// A value with a text form.
pub trait Text: Sized {
    /// What would be right, with an example.
    const FORM: &'static str;

    /// The value of its text form.
    fn parse(text: &str) -> Option<Self>;

    /// The value of a number, for those that may be written as one.
    fn of_number(_number: u64) -> Option<Self> {
        None
    }

    /// The text form, which [`Text::parse`] reads as the same value.
    fn print(&self) -> String;
}

impl Text for Duration {
    const FORM: &'static str = "a time such as \"30s\"";

    fn parse(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }

    fn print(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

impl Text for ByteSize {
    const FORM: &'static str = "a size such as \"32MiB\"";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn of_number(number: u64) -> Option<Self> {
        Some(Self(number))
    }

    fn print(&self) -> String {
        let short = format!("{:.0}", self.display().iec()).replace(' ', "");
        if short.parse() == Ok(*self) { short } else { self.as_u64().to_string() }
    }
}

impl Text for SocketAddr {
    const FORM: &'static str = "an address such as \"127.0.0.1:3000\"";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Text for IpNet {
    const FORM: &'static str = "a network such as \"10.0.0.0/8\"";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

/// What a field may hold: a value with a text form, an optional one, or a list of them.
pub trait Field: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What stands there and what would be right.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;

    /// Writes it.
    ///
    /// # Errors
    /// None of its own.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

impl<T: Text> Field for T {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.print())
    }
}

impl<T: Text> Field for Option<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<Piece<T>>::deserialize(deserializer)?.map(|piece| piece.0))
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().map(Piece).serialize(serializer)
    }
}

impl<T: Text> Field for Vec<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pieces = Vec::<Piece<T>>::deserialize(deserializer)?;
        Ok(pieces.into_iter().map(|piece| piece.0).collect())
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Piece))
    }
}

/// One value within an option or a list.
struct Piece<T>(T);

impl<'de, T: Text> Deserialize<'de> for Piece<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
    }
}

impl<T: Text> Serialize for Piece<&T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: Text> de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::FORM)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        T::of_number(number).ok_or_else(|| E::invalid_type(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let value = u64::try_from(number).ok().and_then(T::of_number);
        value.ok_or_else(|| E::invalid_type(Unexpected::Signed(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_as_they_were() {
        let cases = [
            (0, "0B"),
            (1000, "1000B"),
            (1024, "1KiB"),
            (1536, "1536"),
            (32 << 20, "32MiB"),
            (33_000_000, "33000000"),
            (5 << 30, "5GiB"),
            ((1 << 60) + 1, "1152921504606846977"),
        ];
        for (bytes, text) in cases {
            assert_eq!(ByteSize(bytes).print(), text);
            assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)));
        }
    }

    #[test]
    fn times_read_back_as_they_were() {
        for text in ["0s", "500ms", "30s", "1m 30s", "2days", "1s 1ns"] {
            let time = Duration::parse(text).unwrap();
            assert_eq!(time.print(), text);
        }
        for text in ["", "30", "soon", "-1s"] {
            assert_eq!(Duration::parse(text), None, "{text}");
        }
    }
}
