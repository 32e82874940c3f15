//! Packets in the format `Notepack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isomer_fuzz::read_packet(&isomer_host::serializer::Notepack, data);
});
