//! Messages to and from their wire form (D-Bus specification, "Message Protocol"). Encoding and checking values is the
//! library's; here is what is around them.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{Endian, LE, StructureBuilder, Type, Variant, to_bytes};
use zbus::{ObjectPath, Signature};

use super::{Fault, Value};

/// What is fixed in length at the beginning of a message.
const FIXED: usize = 16;
/// More than systemd ever sends; the specification permits eight times that.
const LONGEST: usize = 16 << 20;

const METHOD_CALL: u8 = 1;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

// The header's fields that are of interest.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A header as it is received.
type Header<'a> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Variant<'a>)>);

/// A field of a header that is sent.
#[derive(Serialize)]
struct Field<'a>(u8, Content<'a>);

enum Content<'a> {
    Value(Variant<'a>),
    /// A sequence of types. The library would put it in parentheses, as one type.
    BodySignature(String),
}

impl Type for Field<'_> {
    const SIGNATURE: &'static Signature = <(u8, Variant<'_>)>::SIGNATURE;
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Content::Value(value) => value.serialize(serializer),
            // The form in which the library serialises its own variants.
            Content::BodySignature(text) => {
                let mut variant = serializer.serialize_struct("Variant", 2)?;
                variant.serialize_field("signature", &Signature::Signature)?;
                variant.serialize_field("value", text)?;
                variant.end()
            }
        }
    }
}

/// A method and what it is called with.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// The peer on a bus; none on a direct connection.
    pub(super) destination: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) arguments: &'a [Value],
}

impl Call<'_> {
    /// The message with this serial number, which the reply will name.
    pub(super) fn encode(&self, serial: u32) -> Result<Vec<u8>, Fault> {
        let context = Context::new(LE, 0);
        let mut fields = vec![
            Field(PATH, Content::Value(Variant::ObjectPath(ObjectPath::try_from(self.path)?))),
            Field(INTERFACE, Content::Value(self.interface.into())),
            Field(MEMBER, Content::Value(self.member.into())),
        ];
        fields.extend(self.destination.map(|name| Field(DESTINATION, Content::Value(name.into()))));
        let mut body = Vec::new();
        if !self.arguments.is_empty() {
            let mut builder = StructureBuilder::new();
            for argument in self.arguments {
                builder.push_value(argument.to_wire()?);
            }
            // A body is laid out as the fields of a structure are.
            let arguments = builder.build()?;
            fields.push(Field(SIGNATURE, Content::BodySignature(arguments.signature().to_string_no_parens())));
            body.extend_from_slice(to_bytes(context, &arguments)?.bytes());
        }
        let header = (b'l', METHOD_CALL, 0u8, 1u8, body.len() as u32, serial, fields);
        let mut message = to_bytes(context, &header)?.bytes().to_vec();
        message.resize(message.len().next_multiple_of(8), 0);
        message.append(&mut body);
        Ok(message)
    }
}

/// A message that was received.
#[derive(Debug)]
pub(super) struct Message {
    kind: u8,
    pub(super) reply_to: Option<u32>,
    pub(super) member: String,
    error: String,
    signature: String,
    body: Data<'static, 'static>,
}

impl Message {
    /// How long the message at the beginning of `bytes` is; none if too little is there to tell.
    pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let Some(fixed) = bytes.first_chunk::<FIXED>() else { return Ok(None) };
        let [order, _, _, version, a, b, c, d, _, _, _, _, w, x, y, z] = *fixed;
        let number = |bytes| match order {
            b'l' => Ok(u32::from_le_bytes(bytes) as usize),
            b'B' => Ok(u32::from_be_bytes(bytes) as usize),
            _ => Err(Fault::Garbled),
        };
        let (body, fields) = (number([a, b, c, d])?, number([w, x, y, z])?);
        if version != 1 || body > LONGEST || fields > LONGEST {
            return Err(Fault::Garbled);
        }
        Ok(Some((FIXED + fields).next_multiple_of(8) + body))
    }

    /// Reads a message that is there in its full [`Message::length`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Message, Fault> {
        let endian = if bytes.first() == Some(&b'B') { Endian::Big } else { Endian::Little };
        let context = Context::new(endian, 0);
        let head = Data::new(bytes.to_vec(), context);
        let ((_, kind, _, _, body, _, fields), _): (Header<'_>, usize) = head.deserialize()?;
        let start = bytes.len().checked_sub(body as usize).ok_or(Fault::Garbled)?;
        let body = Data::new(bytes.get(start..).unwrap_or_default().to_vec(), context);
        let (member, error, signature) = (String::new(), String::new(), String::new());
        let mut message = Message { kind, reply_to: None, member, error, signature, body };
        for (field, value) in fields {
            match (field, value) {
                (REPLY_SERIAL, Variant::U32(serial)) => message.reply_to = Some(serial),
                (MEMBER, Variant::Str(name)) => message.member = name.to_string(),
                (ERROR_NAME, Variant::Str(name)) => message.error = name.to_string(),
                (SIGNATURE, Variant::Signature(signature)) => message.signature = signature.to_string_no_parens(),
                _ => {}
            }
        }
        Ok(message)
    }

    pub(super) fn is_signal(&self) -> bool {
        self.kind == SIGNAL
    }

    /// The reply itself, or the error that it is.
    pub(super) fn into_reply(self) -> Result<Message, Fault> {
        if self.kind != ERROR {
            return Ok(self);
        }
        let text = self.body::<String>().unwrap_or_default();
        Err(Fault::Remote { name: self.error, text })
    }

    /// The body, if it is of this type.
    pub(super) fn body<'a, T: Deserialize<'a> + Type>(&'a self) -> Result<T, Fault> {
        if T::SIGNATURE.to_string_no_parens() != self.signature {
            return Err(Fault::Garbled);
        }
        Ok(self.body.deserialize::<T>()?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out by hand.
    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let arguments = [Value::from("a"), Value::Bool(true)];
        let call = Call { destination: None, path: "/o", interface: "i.j", member: "M", arguments: &arguments };
        let bytes = call.encode(7).expect("encode");
        let expected: &[u8] = b"l\x01\0\x01\x0c\0\0\0\x07\0\0\0\x38\0\0\0\
            \x01\x01o\0\x02\0\0\0/o\0\0\0\0\0\0\
            \x02\x01s\0\x03\0\0\0i.j\0\0\0\0\0\
            \x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0\
            \x08\x01g\0\x02sb\0\
            \x01\0\0\0a\0\0\0\x01\0\0\0";
        assert_eq!(bytes, expected, "{bytes:?}");
        assert_eq!(Message::length(&bytes), Ok(Some(bytes.len())));
        assert_eq!(Message::length(&bytes[..15]), Ok(None));
        assert_eq!(Message::length(b"x\x01\0\x01\x0c\0\0\0\x07\0\0\0\x39\0\0\0"), Err(Fault::Garbled));
        assert_eq!(Message::length(b"l\x01\0\x01\xff\xff\xff\x7f\x07\0\0\0\x39\0\0\0"), Err(Fault::Garbled));

        let message = Message::decode(&bytes).expect("decode");
        assert_eq!(message.body::<(String, bool)>().expect("body"), ("a".to_owned(), true));
        assert_eq!(message.body::<String>(), Err(Fault::Garbled));
        assert!(Message::decode(&bytes[..40]).is_err());
    }
}
