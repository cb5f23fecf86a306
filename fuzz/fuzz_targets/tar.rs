#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| cachedeck_fuzz::tar(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    // Packed ones have no headers to repair; and some wrong checksums are to be seen, too.
    let is_packed = data.starts_with(&[0x1f, 0x8b]) || data.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    if !is_packed && seed % 8 != 0 {
        cachedeck_fuzz::repair(&mut data[..size]);
    }
    size
});
