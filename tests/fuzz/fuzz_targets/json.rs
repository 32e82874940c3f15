//! Packets in the format `Json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isomer_fuzz::read_packet(&isomer_host::serializer::Json, data);
});
