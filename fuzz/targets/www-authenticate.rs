#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| creel_image::fuzzing::www_authenticate(input));
