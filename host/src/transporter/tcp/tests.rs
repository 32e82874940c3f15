//! Connections between transporters and with clients that behave badly, on loopback.
