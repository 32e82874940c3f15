//! What addresses of all servers have in common: host, port and percent escapes.
//!
//! Which schemes there are, and what stands for a login, is each transporter's own business.

/// Splits `host`, `host:port` or `[host]:port`; the brackets of IPv6 go away.
///
/// # Errors
/// What is wrong with it.
pub(super) fn host_port(text: &str, default_port: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("the ']' is missing")?,
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| "the port is not a number up to 65535")?,
        None if port.is_empty() => default_port,
        None => return Err("what follows the host is not a port"),
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    if host.contains(|c: char| c.is_whitespace() || "/?#".contains(c)) {
        return Err("the host is not a name");
    }
    Ok((host.to_owned(), port))
}

/// `scheme://host:port`, with the brackets that IPv6 needs.
pub(super) fn shown(scheme: &str, host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("{scheme}://[{host}]:{port}")
    } else {
        format!("{scheme}://{host}:{port}")
    }
}

/// Undoes the escapes that a URL needs for characters such as `@`; what is no escape stays.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let decoded = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (decoded, part.get(2..)) {
            (Some(byte), Some(rest)) => {
                bytes.push(byte);
                bytes.extend_from_slice(rest.as_bytes());
            }
            _ => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
