//! regcomp(3): POSIX extended regular expressions, in the C library's dialect, which is crun's too.

use std::ffi::CStr;
use std::mem::MaybeUninit;

/// A compiled expression.
pub struct Pattern(libc::regex_t);

impl Pattern {
    /// Compiles `text`; the error is the C library's words for what is wrong with it.
    pub fn compile(text: &CStr) -> Result<Pattern, String> {
        let mut compiled = MaybeUninit::<libc::regex_t>::uninit();
        // SAFETY: `text` is null-terminated and outlives the call, which initialises `compiled` if it succeeds.
        let code = unsafe { libc::regcomp(compiled.as_mut_ptr(), text.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB) };
        if code != 0 {
            return Err(explain(code));
        }
        // SAFETY: regcomp has succeeded. What it made may be moved: glibc and musl keep everything behind pointers.
        Ok(Pattern(unsafe { compiled.assume_init() }))
    }

    /// Whether it matches anywhere in `text`.
    pub fn matches(&self, text: &CStr) -> bool {
        // SAFETY: `self` is compiled, `text` null-terminated, and no place for matches is asked to be filled in.
        unsafe { libc::regexec(&self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        // SAFETY: compiled, and not used after this.
        unsafe { libc::regfree(&mut self.0) }
    }
}

fn explain(code: libc::c_int) -> String {
    let mut text = [0u8; 128];
    // SAFETY: the buffer's length is passed along; the C library truncates and terminates what it writes. Without an
    // expression it explains the code alone.
    unsafe { libc::regerror(code, std::ptr::null(), text.as_mut_ptr().cast(), text.len()) };
    CStr::from_bytes_until_nul(&text).map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}
