//! Packets in the format `MsgPack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    isomer_fuzz::read_packet(&isomer_host::serializer::MsgPack, data);
});
