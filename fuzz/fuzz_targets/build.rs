#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cachedeck_fuzz::build(data));
