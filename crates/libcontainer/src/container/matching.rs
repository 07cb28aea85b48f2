//! Containers by a regular expression, as crun's `kill` and `delete` take one.

use std::ffi::CString;

use super::Store;
use crate::error::{Error, Kind, Result};
use crate::sys::pattern::Pattern;

/// The ids, sorted, that the POSIX extended regular expression `expression` matches somewhere.
///
/// # Errors
/// [`Kind::Invalid`] if it is none.
pub fn ids_matching(store: &Store, expression: &str) -> Result<Vec<String>> {
    let pattern = compile(expression)?;
    let matches = |id: &String| CString::new(id.as_str()).is_ok_and(|id| pattern.matches(&id));
    Ok(store.ids()?.into_iter().filter(matches).collect())
}

fn compile(expression: &str) -> Result<Pattern> {
    let refused = |why: &str| Error::new(Kind::Invalid, format!("invalid regular expression \"{expression}\": {why}"));
    let text = CString::new(expression).map_err(|_| refused("it contains a NUL character"))?;
    Pattern::compile(&text).map_err(|why| refused(&why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_posix_extended_ones() {
        let matches = |expression: &str, id: &str| {
            compile(expression).expect(expression).matches(&CString::new(id).expect("an id"))
        };
        assert!(matches("b", "abc") && matches("^web-[0-9]+$", "web-12") && matches("^(a|b)$", "b"));
        assert!(!matches("^web-[0-9]+$", "web-x") && !matches("^b", "abc") && matches("", "anything"));
        for (expression, why) in [("(", "Unmatched ( or \\("), ("[a", "Unmatched [")] {
            let error = compile(expression).map(drop).expect_err(expression);
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(compile("a\0").map(drop).expect_err("NUL").to_string().contains("NUL"));
    }
}
