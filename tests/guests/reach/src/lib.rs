//! A service that reaches for the machine as a test asks: files and TCP through the standard library, HTTP through
//! WASI. What it gets is its result, what is refused comes back as the text of the error.

use std::fmt::Display;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};

use serde_json::{Value, json};

use crate::exports::isomer::service::handler::{Context, Failure, Guest, Payload};

/// The generated side of the contract.
#[expect(unsafe_code, reason = "generated code")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "service" });
    export!(Reach);
    use crate::Reach;
}
use bindings::exports;

mod http;

struct Reach;

/// What an attempt ends with: a value, or why it was refused.
type Tried = Result<Value, String>;

impl Guest for Reach {
    fn describe() -> String {
        json!({
            "name": "reach",
            "actions": { "read": {}, "write": {}, "list": {}, "remove": {}, "make": {}, "tcp": {}, "listen": {},
                "udp": {}, "http": {}, "http_many": {} },
            "events": { "user.*": {}, "order.created": {} },
        })
        .to_string()
    }

    fn started(_: &Context) -> Result<(), Failure> {
        Ok(())
    }

    fn stopped(_: &Context) -> Result<(), Failure> {
        Ok(())
    }

    fn call_action(_: &Context, action: String, params: Payload) -> Result<Payload, Failure> {
        let params = match params {
            Payload::Json(text) => serde_json::from_str(&text).unwrap_or_default(),
            _ => Value::Null,
        };
        let text = |key: &str| params.get(key).and_then(Value::as_str).unwrap_or_default();
        let tried = match action.as_str() {
            "read" => std::fs::read_to_string(text("path")).map(Value::from).map_err(shown),
            "write" => {
                std::fs::write(text("path"), text("text")).map(|()| Value::Null).map_err(shown)
            }
            "list" => list(text("path")),
            "remove" => std::fs::remove_file(text("path")).map(|()| Value::Null).map_err(shown),
            "make" => std::fs::create_dir(text("path")).map(|()| Value::Null).map_err(shown),
            "tcp" => tcp(text("to")),
            "listen" => TcpListener::bind("127.0.0.1:0").map(|_| Value::Null).map_err(shown),
            "udp" => UdpSocket::bind("127.0.0.1:0").map(|_| Value::Null).map_err(shown),
            "http" => http::request(&params),
            "http_many" => http::many(&params),
            _ => Err("no such action".into()),
        };
        let result = match tried {
            Ok(value) => json!({ "ok": value }),
            Err(error) => json!({ "error": error }),
        };
        Ok(Payload::Json(result.to_string()))
    }

    fn handle_event(_: &Context, _: String, _: Payload) -> Result<(), Failure> {
        Ok(())
    }
}

fn shown(error: impl Display) -> String {
    error.to_string()
}

fn list(path: &str) -> Tried {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(shown)? {
        names.push(entry.map_err(shown)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.into())
}

/// Says hello, and gives what is said back.
fn tcp(to: &str) -> Tried {
    let mut stream = TcpStream::connect(to).map_err(shown)?;
    stream.write_all(b"hello\n").map_err(shown)?;
    stream.shutdown(std::net::Shutdown::Write).map_err(shown)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(shown)?;
    Ok(answer.into())
}
