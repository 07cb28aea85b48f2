//! A filter that the caller has compiled itself: crun's annotation `run.oci.seccomp_bpf_data`, a BPF program in base64.

use super::validate::MOST_INSTRUCTIONS;
use crate::error::{Error, Result};
use crate::sys::seccomp::INSTRUCTION_SIZE;

pub(super) const ANNOTATION: &str = "run.oci.seccomp_bpf_data";

/// The program that the annotation holds.
pub(super) fn program(text: &str) -> Result<Vec<u8>> {
    let refuse = |why: String| Error::invalid(format!("annotations[\"{ANNOTATION}\"]"), why);
    let program = decode(text).ok_or_else(|| refuse("it is not base64".to_owned()))?;
    let count = program.len() / INSTRUCTION_SIZE;
    if !program.len().is_multiple_of(INSTRUCTION_SIZE) || count == 0 || count > MOST_INSTRUCTIONS {
        let why = format!("{} bytes are no BPF program of 1 to {MOST_INSTRUCTIONS} instructions", program.len());
        return Err(refuse(why));
    }
    Ok(program)
}

/// RFC 4648, section 4; line breaks, which base64(1) makes, are skipped.
fn decode(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for digit in text.get(..text.len() - padding)? {
        bits = bits << 6 | ALPHABET.iter().position(|letter| letter == digit)? as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9v\nYmFy\n", b"foobar"),
            ("+/8A", b"\xfb\xff\0"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes), "{text}");
        }
        for wrong in ["Z", "Zg=", "Zg===", "Z===", "Zm9-", "Z=g="] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_program_is_whole_instructions() {
        assert_eq!(program("BgAAAAAA/38=").expect("one instruction").len(), 8);
        for wrong in ["", "Zg==", "%"] {
            let error = program(wrong).expect_err(wrong).to_string();
            assert!(error.contains("annotations[\"run.oci.seccomp_bpf_data\"]: "), "{error}");
        }
        assert!(program(&"AAAA".repeat(4097 * 8 / 3)).is_err(), "too long");
    }
}
