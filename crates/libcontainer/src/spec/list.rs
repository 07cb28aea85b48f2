//! Lists of CPUs and memory nodes such as `0-3,7` (cpuset(7) "List format").

/// Beyond what any machine has; it bounds what a config can have us allocate.
const MOST: usize = 1 << 16;

/// A bit for each number of the list, the lowest first; as in the kernel, blanks and empty parts are allowed.
///
/// # Errors
/// Says which part is wrong, or that the list names nothing.
pub fn list_to_bits(list: &str) -> Result<Vec<u8>, String> {
    let mut bytes: Vec<u8> = Vec::new();
    let wrong = |part: &str| format!("\"{part}\" is no number, nor a range of numbers, below {MOST}");
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number < MOST).ok_or_else(|| wrong(part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong(part));
        }
        bytes.resize(bytes.len().max(last / 8 + 1), 0);
        for number in first..=last {
            bytes.iter_mut().skip(number / 8).take(1).for_each(|byte| *byte |= 1 << (number % 8));
        }
    }
    if bytes.is_empty() { Err(format!("\"{list}\" names nothing")) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_bits() {
        for (list, bits) in [("0", vec![0x01]), ("0-2, 4,,", vec![0x17]), ("1,8-9", vec![0x02, 0x03])] {
            assert_eq!(list_to_bits(list), Ok(bits));
        }
        for wrong in ["", ",", "a", "3-1", "1-", "-1", "99999999999", "65536"] {
            list_to_bits(wrong).expect_err(wrong);
        }
    }
}
