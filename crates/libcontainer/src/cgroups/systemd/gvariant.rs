//! GVariant's text form (docs.gtk.org/glib/gvariant-text-format.html), as far as systemd's properties need it: no
//! dictionaries, maybes and variants.

use crate::dbus::Value;

/// Reads a value, such as `uint64 5`, `'text'`, `[1, 2]`, `@as []` or `[('/dev/sda', uint64 5)]`.
///
/// # Errors
/// Says what is wrong, and where.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(None)?;
    parser.space();
    if parser.rest().is_empty() { Ok(value) } else { Err(parser.expected("the end")) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn expected(&self, what: &str) -> String {
        format!("{what} was expected at \"{}\"", self.rest())
    }

    fn take(&mut self, token: &str) -> bool {
        self.space();
        let there = self.rest().starts_with(token);
        self.at += if there { token.len() } else { 0 };
        there
    }

    fn word(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        self.space();
        let rest = self.rest();
        let end = rest.find(|character| !fits(character)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    /// A value of the type that is `wanted`, if one is.
    fn value(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        self.space();
        match self.rest().chars().next() {
            Some('@') => {
                self.take("@");
                let signature = self.word(|character| !character.is_whitespace()).to_owned();
                self.value(Some(&signature))
            }
            Some('[') => self.array(wanted),
            Some('(') => self.structure(wanted),
            Some('\'' | '"') => text_value(self.quoted()?, wanted.unwrap_or("s")),
            Some('b') if self.rest().starts_with("b'") || self.rest().starts_with("b\"") => {
                self.take("b");
                let mut bytes = self.quoted()?.into_bytes();
                bytes.push(0); // as C's strings have it, and GVariant's byte strings
                Ok(Value::bytes(&bytes))
            }
            Some(first) if first.is_ascii_digit() || matches!(first, '+' | '-' | '.') => {
                self.number(wanted.unwrap_or(""))
            }
            Some(first) if first.is_ascii_alphabetic() => self.keyword(),
            _ => Err(self.expected("a value")),
        }
    }

    fn keyword(&mut self) -> Result<Value, String> {
        let start = self.at;
        let signature = match self.word(|character| character.is_ascii_alphanumeric()) {
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            _ => {
                self.at = start;
                return Err(self.expected("a value or a type's name"));
            }
        };
        let value = self.value(Some(signature))?;
        if value.signature() == signature { Ok(value) } else { Err(format!("{value} is not of type \"{signature}\"")) }
    }

    fn number(&mut self, wanted: &str) -> Result<Value, String> {
        let start = self.at;
        let text = self.word(|character| character.is_ascii_alphanumeric() || "+-.".contains(character));
        let hexadecimal = text.trim_start_matches(['+', '-']).starts_with("0x");
        let real = wanted == "d" || (wanted.is_empty() && text.contains(['.', 'e', 'E']) && !hexadecimal);
        let value = if real {
            text.parse().ok().map(Value::Double)
        } else {
            integer(text).and_then(|number| whole(number, wanted))
        };
        value.ok_or_else(|| {
            self.at = start;
            let kind = if wanted.is_empty() { "int32 (such as uint64 has to be named)" } else { wanted };
            self.expected(&format!("a number that fits type {kind}"))
        })
    }

    fn quoted(&mut self) -> Result<String, String> {
        let start = self.at;
        let mut characters = self.rest().char_indices();
        let quote = characters.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((at, character)) = characters.next() {
            match character {
                _ if Some(character) == quote => {
                    self.at += at + character.len_utf8();
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, plain @ ('\\' | '\'' | '"'))) => text.push(plain),
                    _ => break,
                },
                plain => text.push(plain),
            }
        }
        self.at = start;
        Err(self.expected("a whole string"))
    }

    fn array(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        let element =
            wanted.map(|wanted| wanted.strip_prefix('a').ok_or_else(|| self.expected(&format!("type {wanted}"))));
        let mut element = element.transpose()?.map(str::to_owned);
        self.take("[");
        let mut items: Vec<Value> = Vec::new();
        while !self.take("]") {
            if !items.is_empty() && !self.take(",") {
                return Err(self.expected("a comma or ]"));
            }
            let item = self.value(element.as_deref())?;
            let signature = element.get_or_insert_with(|| item.signature());
            if *signature != item.signature() {
                return Err(format!("{item} is not of type \"{signature}\", as what is before it"));
            }
            items.push(item);
        }
        element
            .map(|element| Value::Array(element, items))
            .ok_or_else(|| "[] needs its type, such as @as []".to_owned())
    }

    /// The types of its fields stand in front of them, or follow from them.
    fn structure(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        let mut types =
            wanted.map(|wanted| wanted.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or("?"));
        self.take("(");
        let mut fields = Vec::new();
        while !self.take(")") {
            if !fields.is_empty() && !self.take(",") {
                return Err(self.expected("a comma or )"));
            }
            if !fields.is_empty() && self.take(")") {
                break;
            }
            let (first, rest) = types.map(first_type).unzip();
            fields.push(self.value(first)?);
            types = rest;
        }
        let value = Value::Struct(fields);
        match wanted {
            _ if value.signature() == "()" => Err("() has no value in it".to_owned()),
            Some(wanted) if wanted != value.signature() => Err(format!("{value} is not of type \"{wanted}\"")),
            _ => Ok(value),
        }
    }
}

/// Divides a sequence of types after the first complete one.
fn first_type(types: &str) -> (&str, &str) {
    let mut depth = 0;
    for (at, character) in types.char_indices() {
        depth += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 && character != 'a' {
            return types.split_at(at + character.len_utf8());
        }
    }
    (types, "")
}

fn text_value(text: String, wanted: &str) -> Result<Value, String> {
    match wanted {
        "s" => Ok(Value::String(text)),
        "o" => Ok(Value::ObjectPath(text)),
        "g" => Ok(Value::Signature(text)),
        other => Err(format!("\"{text}\" is not of type \"{other}\"")),
    }
}

/// Decimal, hexadecimal (`0x`) or octal (`0`).
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let number = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
        (Some(hexadecimal), _) => i128::from_str_radix(hexadecimal, 16).ok()?,
        (None, Some(octal)) if !octal.is_empty() => i128::from_str_radix(octal, 8).ok()?,
        _ => digits.parse().ok()?,
    };
    Some(if negative { -number } else { number })
}

/// The number as a value of this type, if it fits.
fn whole(number: i128, signature: &str) -> Option<Value> {
    match signature {
        "y" => number.try_into().ok().map(Value::Byte),
        "n" => number.try_into().ok().map(Value::Int16),
        "q" => number.try_into().ok().map(Value::Uint16),
        "" | "i" => number.try_into().ok().map(Value::Int32),
        "u" => number.try_into().ok().map(Value::Uint32),
        "x" => number.try_into().ok().map(Value::Int64),
        "t" => number.try_into().ok().map(Value::Uint64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_types_are_read() {
        for (text, signature, shown) in [
            ("true", "b", "true"),
            (" false ", "b", "false"),
            ("5", "i", "5"),
            ("-0x10", "i", "-16"),
            ("017", "i", "15"),
            ("0", "i", "0"),
            ("1.5", "d", "1.5"),
            ("1e3", "d", "1000.0"),
            ("double 3", "d", "3.0"),
            ("byte 0xff", "y", "byte 0xff"),
            ("int16 -3", "n", "int16 -3"),
            ("uint16 3", "q", "uint16 3"),
            ("uint32 3", "u", "uint32 3"),
            ("int64 -9223372036854775808", "x", "int64 -9223372036854775808"),
            ("uint64 18446744073709551615", "t", "uint64 18446744073709551615"),
            ("@t 3", "t", "uint64 3"),
            ("'it\\'s'", "s", "\"it's\""),
            ("\"a\"", "s", "\"a\""),
            ("objectpath '/a'", "o", "objectpath \"/a\""),
            ("signature 'as'", "g", "signature \"as\""),
            ("['a', 'b']", "as", "[\"a\", \"b\"]"),
            ("@as []", "as", "@as []"),
            ("@au [1,2]", "au", "[uint32 1, uint32 2]"),
            ("[uint64 1, uint64 2]", "at", "[uint64 1, uint64 2]"),
            ("[('/dev/sda', uint64 5)]", "a(st)", "[(\"/dev/sda\", uint64 5)]"),
            ("@a(st) [('/dev/sda', 5)]", "a(st)", "[(\"/dev/sda\", uint64 5)]"),
            ("@(iayas) (1, [2], @as [])", "(iayas)", "(1, [byte 0x02], @as [])"),
            ("(1,)", "(i)", "(1,)"),
            ("[[1], [2]]", "aai", "[[1], [2]]"),
            ("b'ab'", "ay", "[byte 0x61, byte 0x62, byte 0x00]"),
        ] {
            let value = parse(text).expect(text);
            assert_eq!((value.signature().as_str(), value.to_string().as_str()), (signature, shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_told_where() {
        for (text, why) in [
            ("", "a value was expected"),
            ("5 6", "the end was expected at \"6\""),
            ("yes", "a value or a type's name was expected at \"yes\""),
            ("5000000000", "a number that fits type int32"),
            ("uint32 -1", "a number that fits type u"),
            ("byte 256", "a number that fits type y"),
            ("uint64 'x'", "is not of type \"t\""),
            ("string 5", "a number that fits type s"),
            ("'open", "a whole string was expected at \"'open\""),
            ("[1, 'a']", "is not of type \"i\""),
            ("[1", "a comma or ]"),
            ("[]", "needs its type"),
            ("()", "has no value"),
            ("@(st) ('a', 'b')", "is not of type \"t\""),
            ("@(st) ('a',)", "is not of type \"(st)\""),
            ("@s [1]", "type s was expected"),
            ("{'a': 1}", "a value was expected"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
